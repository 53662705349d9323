//! Identities: newtypes that are checked once, at the edge, and trusted inside.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use ringside_protocol::frame::Certificate;
pub use ringside_protocol::ids::{
    Epoch, GameName, IdError, Incarnation, PlayerId, SessionId, SessionKey, Slot, WorkerId,
};

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
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
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

/// A node's number, fixed for as long as its state directory lives. Two nodes of a cluster never share one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u64);

/// In hexadecimal, without leading zeros.
impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl FromStr for NodeId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let malformed = || IdError::new("node", text, "expected 1 to 16 hexadecimal digits");
        if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(malformed());
        }
        u64::from_str_radix(text, 16).map(NodeId).map_err(|_| malformed())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{self}")
    }
}

/// One run of a node's process. The generation grows with each start: milliseconds since 1970, or one more than the
/// last where the clock went back (the state directory remembers it).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Node {
    /// Which node.
    pub id: NodeId,
    /// Which run of it.
    pub generation: u64,
}

impl Node {
    /// The epoch in which this node is a session's first leader.
    pub fn first_epoch(self) -> Epoch {
        Epoch { number: 1, node: self.id.0, node_generation: self.generation }
    }

    /// The run of a node that leads in an epoch.
    pub fn of_epoch(epoch: Epoch) -> Node {
        Node { id: NodeId(epoch.node), generation: epoch.node_generation }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.id, self.generation)
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{self}")
    }
}

/// An item's place in a session's log; the first entry, `Start`, has position 1 and a state before it position 0.
pub type Position = u64;

/// Session time in microseconds since `Start`.
pub type SessionTime = u64;
