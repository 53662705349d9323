//! One function for each decoder of this crate, for a fuzzer or a seeded mutator: it feeds bytes of nobody in
//! particular and asserts what must hold for all of them. Not part of the public interface.

use bytes::BytesMut;
use ring::signature::{Ed25519KeyPair, KeyPair};
use ringside_core::ids::{Node, NodeId, WorkerId};
use ringside_protocol::frame::Opaque;
use ringside_protocol::token::Capability;

use crate::authority::{Authority, Keys};
use crate::peers::frame::{self, Decoder};

pub use ringside_protocol::fuzz::Target;

/// Every decoder of this crate.
pub const TARGETS: &[Target] =
    &[("session_token", fuzz_session_token), ("sealed", fuzz_sealed), ("peer_frames", fuzz_peer_frames)];

/// The seed of the key that signs what [`fuzz_session_token`] believes.
pub const TOKEN_SEED: [u8; 32] = [0x51; 32];

/// The node whose authority it is.
const NODE: Node = Node { id: NodeId(1), generation: 1 };

/// An authority that knows one key.
pub fn authority() -> Authority {
    let pair = Ed25519KeyPair::from_seed_unchecked(&TOKEN_SEED).ok();
    let public = pair.and_then(|pair| pair.public_key().as_ref().try_into().ok());
    Authority::new(Keys::new(public.as_slice(), &[3; 32]), NODE, WorkerId(0), &[4; 32])
}

/// A session token: whatever it claims can be asked for.
pub fn fuzz_session_token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(claims) = authority().verify(text) {
        for now_s in [0, claims.issued_s, claims.expires_s, u64::MAX] {
            let _ = claims.valid_at(now_s);
        }
        assert!(text.is_ascii(), "what is signed is base64");
        let _ = claims.can(Capability::Create);
    }
}

/// A ticket or a resume token: it is one of them at most, and good once.
pub fn fuzz_sealed(bytes: &[u8]) {
    let Some(sealed) = Opaque::new(bytes.to_vec()) else { return };
    let mut authority = authority();
    let ticket = authority.redeem_ticket(&sealed, 0).is_ok();
    let resume = authority.redeem_resume(&sealed, 0).is_ok();
    assert!(!(ticket && resume));
    assert!(authority.redeem_ticket(&sealed, 0).is_err() && authority.redeem_resume(&sealed, 0).is_err());
}

/// Frames of another worker: what is read is written the same but for what a later release says more in a greeting, and
/// a stream that is wrong stays so, however it is cut.
pub fn fuzz_peer_frames(bytes: &[u8]) {
    let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
        for piece in pieces {
            decoder.push(piece);
            loop {
                match decoder.next_frame() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(decoder.next_frame(), Err(error));
                        return frames;
                    }
                }
            }
        }
        frames
    };
    let frames = read(&mut std::iter::once(bytes));
    assert_eq!(read(&mut bytes.chunks(3)), frames);
    let mut again = BytesMut::new();
    frames.iter().for_each(|frame| frame::encode(frame, &mut again));
    assert!(again.len() <= bytes.len());
    assert_eq!(read(&mut std::iter::once(&again[..])), frames);
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    use ringside_core::ids::{SessionId, Slot};
    use ringside_protocol::frame::Certificate;
    use ringside_protocol::fuzz::hammer;
    use ringside_protocol::token::SessionClaims;

    use super::*;
    use crate::command::Resolved;
    use crate::peers::Peer;
    use crate::peers::frame::{Frame, Greeting, VERSIONS};

    /// PKCS #8, version 1, of an Ed25519 key (RFC 8410, section 7), up to the 32 bytes of the seed.
    const PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

    fn token() -> Vec<u8> {
        let claims = SessionClaims {
            player: "ada".parse().unwrap(),
            expires_s: u64::MAX,
            issued_s: 1,
            game: Some("pong".parse().unwrap()),
            session: None,
            capabilities: vec![Capability::Create],
        };
        let key = EncodingKey::from_ed_der(&[&PKCS8[..], &TOKEN_SEED].concat());
        encode(&Header::new(Algorithm::EdDSA), &claims, &key).unwrap().into_bytes()
    }

    #[test]
    fn decoders_survive_broken_input() {
        let mut authority = authority();
        let (player, session): (_, SessionId) =
            ("ada".parse().unwrap(), "pong/final@00000000000000aa".parse().unwrap());
        let place = Resolved {
            session: session.clone(),
            node: NODE.id.0,
            generation: NODE.generation,
            era: 0,
            worker: WorkerId(0),
            address: "127.0.0.1:1".parse().unwrap(),
            certificate: Certificate([0; 32]),
        };
        let ticket = authority.ticket(&player, &place, 1, 99);
        let resume = authority.resume_token(&player, &session, Slot(3), 0);
        let own = Peer { node: NODE, worker: WorkerId(0) };
        let greeting = Greeting { versions: VERSIONS, from: own, to: own, dial: 1 };
        let mut frames = BytesMut::new();
        for frame in [Frame::Hello(greeting), Frame::Body(vec![7; 40].into()), Frame::Done] {
            frame::encode(&frame, &mut frames);
        }
        let corpus = [token(), ticket.as_bytes().to_vec(), resume.as_bytes().to_vec(), frames.to_vec()];
        assert!(authority.verify(std::str::from_utf8(&corpus[0]).unwrap()).is_ok(), "the honest one is good");
        for (_, target) in TARGETS {
            corpus.iter().for_each(|honest| target(honest));
        }
        hammer(TARGETS, &corpus, 20_000);
    }
}
