//! Who may do what: verifies session tokens, makes and checks tickets and resume tokens, and remembers which of them
//! were spent. Knows keys; reads no clock and draws no numbers but from its seeded counter.
//!
//! A session token that was verified is remembered by its hash: players who all come back at once, as after an outage of
//! their network, cost no signatures again.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use ring::{digest, hmac};
use ringside_core::ids::{Node, NodeId, PlayerId, SessionId, Slot, WorkerId};
use ringside_core::routing::tickets::{Stamp, TicketError, Tickets};
use ringside_protocol::frame::{Opaque, Target};
use ringside_protocol::limits;
use ringside_protocol::reason::Reason;
use ringside_protocol::token::{ResumeClaims, SealedClaims, SessionClaims, TicketClaims};

use crate::addresses::AddressTokens;
use crate::command::Resolved;

const TAG_BYTES: usize = 32;

/// Keys that all workers of a node share.
#[derive(Clone)]
pub struct Keys {
    tokens: Vec<DecodingKey>,
    sealing: hmac::Key,
    secret: [u8; 32],
}

impl Keys {
    /// Session tokens are verified with any of these Ed25519 public keys; tickets and resume tokens are sealed with
    /// the secret, which all workers that redirect to each other share.
    pub fn new(token_keys: &[[u8; 32]], secret: &[u8; 32]) -> Keys {
        Keys {
            tokens: token_keys.iter().map(|key| DecodingKey::from_ed_der(key)).collect(),
            sealing: hmac::Key::new(hmac::HMAC_SHA256, secret),
            secret: *secret,
        }
    }

    /// What one worker proves and believes addresses with: all that have these keys believe each other.
    pub fn addresses(&self) -> AddressTokens {
        AddressTokens::shared(&self.secret)
    }

    /// The key by which the worker whose socket is at this address ends connections that it does not know (stateless
    /// resets). It is the same for whoever has that socket next: clients of a worker that died hear it from its successor,
    /// at once. No two sockets share one, or a connection of one could be ended by asking the other (RFC 9000, 21.11).
    pub fn resets(&self, node: NodeId, address: SocketAddr) -> hmac::Key {
        let socket = format!("ringside resets {:x} {address}", node.0);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.secret), socket.as_bytes());
        hmac::Key::new(hmac::HMAC_SHA256, tag.as_ref())
    }
}

/// A worker's authority.
pub struct Authority {
    keys: Keys,
    validation: Validation,
    node: Node,
    worker: WorkerId,
    tickets: Tickets,
    nonces: hmac::Key,
    drawn: u64,
    spent: HashSet<[u8; 16]>,
    spent_order: VecDeque<[u8; 16]>,
    verified: HashMap<[u8; 32], SessionClaims>,
    verified_order: VecDeque<[u8; 32]>,
}

impl Authority {
    /// The authority of this worker. `seed` makes its nonces unforeseeable.
    pub fn new(keys: Keys, node: Node, worker: WorkerId, seed: &[u8; 32]) -> Authority {
        let mut validation = Validation::new(Algorithm::EdDSA);
        // Time is an argument here: the claims are checked by `SessionClaims::permits`.
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        validation.validate_aud = false;
        Authority {
            keys,
            validation,
            node,
            worker,
            tickets: Tickets::new(node, worker),
            nonces: hmac::Key::new(hmac::HMAC_SHA256, seed),
            drawn: 0,
            spent: HashSet::new(),
            spent_order: VecDeque::new(),
            verified: HashMap::new(),
            verified_order: VecDeque::new(),
        }
    }

    /// The claims of a session token whose signature is right. Whether they are good now is theirs to say.
    ///
    /// # Errors
    /// [`Reason::TokenInvalid`].
    pub fn verify(&mut self, token: &str) -> Result<SessionClaims, Reason> {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
        if let Some(claims) = self.verified.get(&hash) {
            return Ok(claims.clone());
        }
        let decode = |key| jsonwebtoken::decode::<SessionClaims>(token, key, &self.validation).ok();
        let claims = self.keys.tokens.iter().find_map(decode).map(|token| token.claims).ok_or(Reason::TokenInvalid)?;
        self.remember(hash, claims.clone());
        Ok(claims)
    }

    /// The claims of whoever comes to a door without a ticket, if they may ask for `target` at `now_s`, seconds since 1970
    /// by this node's clock.
    ///
    /// # Errors
    /// The reason for the refusal, in words too.
    pub fn admit(&mut self, token: &str, target: &Target, now_s: u64) -> Result<SessionClaims, (Reason, String)> {
        let plain = |reason: Reason| (reason, reason.text().to_owned());
        let claims = self.verify(token).map_err(plain)?;
        match claims.permits(now_s, target) {
            Ok(()) => Ok(claims),
            Err(Reason::TokenExpired) => {
                let ago = now_s.saturating_sub(claims.expires_s);
                let text =
                    format!("the token expired {ago} s ago by this node's clock; if it is new, the clocks differ");
                Err((Reason::TokenExpired, text))
            }
            Err(reason) => Err(plain(reason)),
        }
    }

    fn remember(&mut self, hash: [u8; 32], claims: SessionClaims) {
        self.verified.insert(hash, claims);
        self.verified_order.push_back(hash);
        if self.verified_order.len() > limits::VERIFIED_TOKENS
            && let Some(oldest) = self.verified_order.pop_front()
        {
            self.verified.remove(&oldest);
        }
    }

    /// A ticket for a player to open a session at the worker that leads it, after so many `redirects`.
    pub fn ticket(&mut self, player: &PlayerId, to: &Resolved, redirects: u8, token_expires_s: u64) -> Opaque {
        let claims = TicketClaims {
            player: player.clone(),
            session: to.session.clone(),
            node: to.node,
            generation: to.generation,
            worker: to.worker,
            era: to.era,
            redirects,
            token_expires_s,
            nonce: self.nonce(),
        };
        self.seal(&claims)
    }

    /// The claims of a ticket for this worker, which is spent by this; `era` is this node's at the moment.
    ///
    /// # Errors
    /// [`Reason::TicketInvalid`], or [`Reason::Overloaded`] where more tickets come than are remembered.
    pub fn redeem_ticket(&mut self, ticket: &Opaque, era: u32) -> Result<TicketClaims, Reason> {
        let claims: TicketClaims = self.unseal(ticket).ok_or(Reason::TicketInvalid)?;
        let stamp = Stamp {
            node: Node { id: NodeId(claims.node), generation: claims.generation },
            worker: claims.worker,
            era: claims.era,
            nonce: claims.nonce,
            redirects: claims.redirects,
        };
        self.tickets.handle_era(era);
        match self.tickets.redeem(&stamp) {
            Ok(()) => Ok(claims),
            Err(TicketError::TooMany) => Err(Reason::Overloaded),
            Err(TicketError::Elsewhere | TicketError::Expired | TicketError::Used) => Err(Reason::TicketInvalid),
        }
    }

    /// A resume token for a seat at this worker.
    pub fn resume_token(&mut self, player: &PlayerId, session: &SessionId, slot: Slot, now_ms: u64) -> Opaque {
        let claims = ResumeClaims {
            player: player.clone(),
            session: session.clone(),
            slot,
            node: self.node.id.0,
            worker: self.worker,
            expires_ms: now_ms + limits::RESUME_TOKEN_LIFETIME.as_millis() as u64,
            nonce: self.nonce(),
        };
        self.seal(&claims)
    }

    /// The claims of a resume token, which is spent by this; one of another worker is good where its session is now.
    ///
    /// # Errors
    /// [`Reason::ResumeInvalid`].
    pub fn redeem_resume(&mut self, token: &Opaque, now_ms: u64) -> Result<ResumeClaims, Reason> {
        let claims: ResumeClaims = self.unseal(token).ok_or(Reason::ResumeInvalid)?;
        if now_ms >= claims.expires_ms || !self.spend(claims.nonce) {
            return Err(Reason::ResumeInvalid);
        }
        Ok(claims)
    }

    fn nonce(&mut self) -> [u8; 16] {
        self.drawn += 1;
        let tag = hmac::sign(&self.nonces, &self.drawn.to_le_bytes());
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&tag.as_ref()[..16]);
        nonce
    }

    /// Remembers a nonce; answers whether it was new. The oldest is forgotten at the bound.
    fn spend(&mut self, nonce: [u8; 16]) -> bool {
        if !self.spent.insert(nonce) {
            return false;
        }
        self.spent_order.push_back(nonce);
        if self.spent_order.len() > limits::SPENT_TOKENS
            && let Some(oldest) = self.spent_order.pop_front()
        {
            self.spent.remove(&oldest);
        }
        true
    }

    fn seal(&self, claims: &impl SealedClaims) -> Opaque {
        let mut bytes = claims.to_bytes();
        let tag = hmac::sign(&self.keys.sealing, &bytes);
        bytes.extend_from_slice(tag.as_ref());
        // Claims at their longest and the tag are below the bound of opaque bytes.
        Opaque::new(bytes).unwrap_or_default()
    }

    fn unseal<C: SealedClaims>(&self, sealed: &Opaque) -> Option<C> {
        let bytes = sealed.as_bytes();
        let (claims, tag) = bytes.split_at_checked(bytes.len().checked_sub(TAG_BYTES)?)?;
        hmac::verify(&self.keys.sealing, claims, tag).ok()?;
        C::from_bytes(claims).ok()
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    #[test]
    fn a_socket_has_one_key_for_resets_and_no_two_have_the_same() {
        let signed = |secret, node, address: &str| {
            let key = Keys::new(&[], &[secret; 32]).resets(NodeId(node), address.parse().unwrap());
            hmac::sign(&key, b"id").as_ref().to_vec()
        };
        let sockets = [(7, 1, "10.0.0.1:1"), (7, 1, "10.0.0.1:2"), (7, 2, "10.0.0.1:1"), (8, 1, "10.0.0.1:1")];
        let keys: HashSet<Vec<u8>> = sockets.iter().map(|(secret, node, at)| signed(*secret, *node, at)).collect();
        assert_eq!(keys.len(), sockets.len());
        assert!(keys.contains(&signed(7, 1, "10.0.0.1:1")), "the same for each run");
    }

    fn authority(worker: u8) -> Authority {
        Authority::new(Keys::new(&[], &[9; 32]), NODE, WorkerId(worker), &[worker; 32])
    }

    const NODE: Node = Node { id: NodeId(5), generation: 1 };

    fn session() -> SessionId {
        "pong/final@00000000000000aa".parse().unwrap()
    }

    fn leader_place() -> Resolved {
        let address = "127.0.0.1:1".parse().unwrap();
        let certificate = ringside_protocol::frame::Certificate([0; 32]);
        Resolved { session: session(), node: 5, generation: 1, era: 7, worker: WorkerId(1), address, certificate }
    }

    #[test]
    fn a_ticket_is_good_once_at_its_worker_in_its_time() {
        let (mut front, mut leader) = (authority(0), authority(1));
        let player: PlayerId = "ada".parse().unwrap();
        let ticket = front.ticket(&player, &leader_place(), 1, 99);
        assert_eq!(front.redeem_ticket(&ticket, 7), Err(Reason::TicketInvalid), "another worker");
        let mut later = Authority::new(Keys::new(&[], &[9; 32]), Node { generation: 2, ..NODE }, WorkerId(1), &[1; 32]);
        assert_eq!(later.redeem_ticket(&ticket, 7), Err(Reason::TicketInvalid), "a later run of the node");
        let claims = leader.redeem_ticket(&ticket, 8).unwrap();
        assert_eq!((claims.player.clone(), claims.session), (player.clone(), session()), "of the era before this one");
        assert_eq!(leader.redeem_ticket(&ticket, 8), Err(Reason::TicketInvalid), "used");
        let old = front.ticket(&player, &leader_place(), 1, 99);
        assert_eq!(leader.redeem_ticket(&old, 9), Err(Reason::TicketInvalid), "expired");
        let early = front.ticket(&player, &Resolved { era: 10, ..leader_place() }, 1, 99);
        assert_eq!(leader.redeem_ticket(&early, 9), Err(Reason::TicketInvalid), "of an era that has not come");
    }

    #[test]
    fn claims_of_one_kind_never_pass_as_another_and_damage_is_refused() {
        let mut authority = authority(1);
        let player: PlayerId = "ada".parse().unwrap();
        let resume = authority.resume_token(&player, &session(), Slot(3), 0);
        assert_eq!(authority.redeem_ticket(&resume, 0), Err(Reason::TicketInvalid));
        for at in 0..resume.as_bytes().len() {
            let mut damaged = resume.as_bytes().to_vec();
            damaged[at] ^= 1;
            let damaged = Opaque::new(damaged).unwrap();
            assert_eq!(authority.redeem_resume(&damaged, 0), Err(Reason::ResumeInvalid), "byte {at}");
        }
        let lifetime_ms = limits::RESUME_TOKEN_LIFETIME.as_millis() as u64;
        assert_eq!(authority.redeem_resume(&resume, lifetime_ms), Err(Reason::ResumeInvalid), "expired");
        assert_eq!(authority.redeem_resume(&resume, lifetime_ms - 1).unwrap().slot, Slot(3));
        assert_eq!(authority.redeem_resume(&resume, 0), Err(Reason::ResumeInvalid), "used");
    }

    #[test]
    fn the_table_of_spent_tokens_is_bounded() {
        let mut authority = authority(1);
        let player: PlayerId = "ada".parse().unwrap();
        for _ in 0..limits::SPENT_TOKENS + 100 {
            let token = authority.resume_token(&player, &session(), Slot(0), 0);
            authority.redeem_resume(&token, 0).unwrap();
        }
        assert_eq!(authority.spent.len(), limits::SPENT_TOKENS);
        assert_eq!(authority.spent_order.len(), limits::SPENT_TOKENS);
    }

    fn issuer() -> (Authority, impl Fn(u64) -> String) {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
        let mut public = [0; 32];
        public.copy_from_slice(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap().public_key().as_ref());
        let signing = jsonwebtoken::EncodingKey::from_ed_der(pkcs8.as_ref());
        let sign = move |issued_s| {
            let player = "ada".parse().unwrap();
            let claims =
                SessionClaims { player, expires_s: 9, issued_s, game: None, session: None, capabilities: vec![] };
            jsonwebtoken::encode(&jsonwebtoken::Header::new(Algorithm::EdDSA), &claims, &signing).unwrap()
        };
        (Authority::new(Keys::new(&[public], &[9; 32]), NODE, WorkerId(1), &[1; 32]), sign)
    }

    #[test]
    fn a_session_token_is_verified_once_and_no_other_passes_for_it() {
        let (mut authority, sign) = issuer();
        let (token, other) = (sign(1), sign(2));
        let claims = authority.verify(&token).unwrap();
        // Nothing can be verified any longer: what is good is remembered.
        authority.keys.tokens.clear();
        assert_eq!(authority.verify(&token), Ok(claims));
        assert_eq!(authority.verify(&other), Err(Reason::TokenInvalid));
        for at in 0..token.len() {
            let mut damaged = token.clone().into_bytes();
            damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(
                authority.verify(std::str::from_utf8(&damaged).unwrap()),
                Err(Reason::TokenInvalid),
                "byte {at}"
            );
        }
    }

    #[test]
    fn the_table_of_verified_tokens_is_bounded_and_holds_only_good_ones() {
        let (mut authority, sign) = issuer();
        assert!(authority.verify("a.b.c").is_err());
        assert_eq!(authority.verified.len(), 0);
        let first = sign(0);
        for issued_s in 0..=limits::VERIFIED_TOKENS as u64 {
            authority.verify(&sign(issued_s)).unwrap();
        }
        assert_eq!(
            (authority.verified.len(), authority.verified_order.len()),
            (limits::VERIFIED_TOKENS, limits::VERIFIED_TOKENS)
        );
        authority.keys.tokens.clear();
        assert_eq!(authority.verify(&first), Err(Reason::TokenInvalid), "the oldest is forgotten");
    }
}
