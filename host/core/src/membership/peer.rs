//! What is known of a node that is present.

use super::Fact;

/// How far the doubt of a node has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// It is heard.
    No,
    /// It was asked itself.
    Directly,
    /// Others were asked to try it.
    ThroughOthers,
}

/// A node that is present.
#[derive(Debug)]
pub(super) struct Peer {
    /// What it says of itself.
    pub fact: Fact,
    /// The newest sign of life, in this node's time, µs.
    pub heard_at: u64,
    pub asked: Asked,
    /// Whether it was ever more than joining, as far as this node heard.
    pub was_active: bool,
}

impl Peer {
    pub fn new(fact: Fact, heard_at: u64) -> Peer {
        let was_active = fact.state.is_active();
        Peer { fact, heard_at, asked: Asked::No, was_active }
    }
}
