//! Identities: newtypes that are checked once, at the edge, and trusted inside.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use ringside_protocol::ids::{GameName, IdError, PlayerId, SessionKey, Slot};

/// Which incarnation of a key: drawn when the session is created, so that a key used again is another session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub u64);

/// A session: game, key and incarnation. Written `game/key@incarnation` with the incarnation in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId {
    /// The game that it runs.
    pub game: GameName,
    /// Its key within the game.
    pub key: SessionKey,
    /// Which session of that key.
    pub incarnation: Incarnation,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{:016x}", self.game, self.key, self.incarnation.0)
    }
}

impl FromStr for SessionId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let malformed = || IdError::new("session id", text, "expected game/key@incarnation");
        let (name, incarnation) = text.rsplit_once('@').ok_or_else(malformed)?;
        let (game, key) = name.split_once('/').ok_or_else(malformed)?;
        if incarnation.len() != 16 {
            return Err(malformed());
        }
        let incarnation = u64::from_str_radix(incarnation, 16).map_err(|_| malformed())?;
        Ok(SessionId { game: game.parse()?, key: key.parse()?, incarnation: Incarnation(incarnation) })
    }
}

/// A module's identity: the SHA-256 of the bytes that were uploaded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ModuleHash(pub [u8; 32]);

impl fmt::Display for ModuleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ModuleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModuleHash({self})")
    }
}

impl FromStr for ModuleHash {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let malformed = || IdError::new("module hash", text, "expected 64 hexadecimal digits");
        if text.len() != 64 || !text.is_ascii() {
            return Err(malformed());
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| malformed())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| malformed())?;
        }
        Ok(ModuleHash(hash))
    }
}

/// A hash of a session's state or outputs: BLAKE3, 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StateHash(pub [u8; 32]);

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateHash({self})")
    }
}

/// A worker of a node, from 0. Its number is a byte of every connection id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkerId(pub u8);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Leadership's generation: whoever has seen a greater epoch accepts nothing of a smaller one. The node and its
/// generation are part of it, so that two leaders never share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch {
    /// Counts promotions, from 1.
    pub number: u64,
    /// The leader's node.
    pub node: u64,
    /// That node's generation (milliseconds since 1970 at its start).
    pub node_generation: u64,
}

/// An item's place in a session's log; the first entry, `Start`, has position 1 and a state before it position 0.
pub type Position = u64;

/// Session time in microseconds since `Start`.
pub type SessionTime = u64;
