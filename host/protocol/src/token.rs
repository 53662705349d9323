//! What tokens and tickets claim, and whether a claim is good for something now. Signing and verifying are the
//! node's: nothing here knows a key.

use serde::{Deserialize, Serialize};

use crate::frame::Target;
use crate::ids::{GameName, PlayerId, SessionId, SessionKey, Slot, WorkerId};
use crate::reason::Reason;

/// How far clocks may differ, s.
pub const CLOCK_LEEWAY_S: u64 = 30;

/// What a session token allows beside playing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Capability {
    /// Opening a session by key, or by criteria, may create it.
    Create,
    /// Watching without a seat.
    Spectate,
}

/// Claims of a session token: the payload of an EdDSA-signed JWT. A bearer token, good until it expires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionClaims {
    /// Who.
    #[serde(rename = "sub")]
    pub player: PlayerId,
    /// Valid until, seconds since 1970.
    #[serde(rename = "exp")]
    pub expires_s: u64,
    /// Issued at, seconds since 1970.
    #[serde(rename = "iat")]
    pub issued_s: u64,
    /// The only game that it is good for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub game: Option<GameName>,
    /// The only session key that it is good for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionKey>,
    /// What else it allows.
    #[serde(default, rename = "can", skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<Capability>,
}

impl SessionClaims {
    /// Whether the holder may ask for `target` at `now_s` (seconds since 1970). Whether a session may be *created* is
    /// [`SessionClaims::can`].
    ///
    /// # Errors
    /// The reason for the refusal.
    pub fn permits(&self, now_s: u64, target: &Target) -> Result<(), Reason> {
        self.valid_at(now_s)?;
        self.covers(target)
    }

    /// Whether the holder may ask for `target` at all, whatever the time: for whoever shows a ticket too. The door that
    /// wrote the ticket has looked at the time, and its clock and this one need not agree.
    ///
    /// # Errors
    /// The reason for the refusal.
    pub fn covers(&self, target: &Target) -> Result<(), Reason> {
        if self.game.as_ref().is_some_and(|game| game != target.game()) {
            return Err(Reason::TokenForbids);
        }
        match (&self.session, target) {
            (None, _) => Ok(()),
            (Some(allowed), Target::Session { key, .. }) if allowed == key => Ok(()),
            (Some(_), _) => Err(Reason::TokenForbids),
        }
    }

    /// Whether it has not ended. When it was issued does not count: a clock that is behind the issuer's would refuse
    /// every new token.
    ///
    /// # Errors
    /// The reason for the refusal.
    pub fn valid_at(&self, now_s: u64) -> Result<(), Reason> {
        if now_s >= self.expires_s.saturating_add(CLOCK_LEEWAY_S) { Err(Reason::TokenExpired) } else { Ok(()) }
    }

    /// Whether it allows `capability`.
    pub fn can(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability)
    }
}

/// Claims of a ticket: this player may open this session at this worker, once. It speaks of the time in the target's own
/// count, so that no two nodes' clocks have to agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketClaims {
    /// Who.
    pub player: PlayerId,
    /// What.
    pub session: SessionId,
    /// The worker's node.
    pub node: u64,
    /// Which run of it: its start, ms since 1970.
    pub generation: u64,
    /// The worker.
    pub worker: WorkerId,
    /// In which era of that run it was written.
    pub era: u32,
    /// Redirects that its holder has followed with this one: circles end.
    pub redirects: u8,
    /// What the holder's session token expires at, s: a ticket does not prolong it.
    pub token_expires_s: u64,
    /// Makes it single-use.
    pub nonce: [u8; 16],
}

/// Claims of a resume token: this player had this seat at this worker, and may come back once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumeClaims {
    /// Who.
    pub player: PlayerId,
    /// What.
    pub session: SessionId,
    /// The slot.
    pub slot: Slot,
    /// The worker's node.
    pub node: u64,
    /// The worker.
    pub worker: WorkerId,
    /// Valid until, ms since 1970.
    pub expires_ms: u64,
    /// Makes it single-use.
    pub nonce: [u8; 16],
}

/// Why bytes are not claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// They are claims of another kind, or of another version.
    #[error("claims of another kind or version")]
    Kind,
    /// They are cut short, or something follows them.
    #[error("malformed claims")]
    Malformed,
}

/// Claims that are sealed by a node: a byte that names their kind and version comes first, so that what authenticates
/// one kind never passes as another.
pub trait SealedClaims: Serialize + for<'de> Deserialize<'de> {
    /// The first byte.
    const KIND: u8;

    /// The bytes to authenticate.
    fn to_bytes(&self) -> Vec<u8> {
        // Serializing these fixed types into memory cannot fail.
        postcard::to_extend(self, vec![Self::KIND]).unwrap_or_default()
    }

    /// Claims from exactly their bytes. Authenticate the bytes first.
    ///
    /// # Errors
    /// [`ClaimsError`].
    fn from_bytes(bytes: &[u8]) -> Result<Self, ClaimsError> {
        let (&kind, rest) = bytes.split_first().ok_or(ClaimsError::Malformed)?;
        if kind != Self::KIND {
            return Err(ClaimsError::Kind);
        }
        match postcard::take_from_bytes(rest) {
            Ok((claims, [])) => Ok(claims),
            _ => Err(ClaimsError::Malformed),
        }
    }
}

impl SealedClaims for TicketClaims {
    const KIND: u8 = 0x11;
}

impl SealedClaims for ResumeClaims {
    const KIND: u8 = 0x21;
}

#[cfg(test)]
mod tests;
