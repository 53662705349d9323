//! What links ask for and tell: closed lists.

use std::net::SocketAddr;

use crate::limits::{PEER_SESSIONS, PEERS};
use crate::peers::{End, Peer};

/// A connection, by a number that is not used again.
pub type Channel = u64;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Connect to a peer, then call [`dialed`](super::Links::dialed), or [`failed`](super::Links::failed) where that is not even begun.
    Dial {
        /// Whom.
        peer: Peer,
        /// Where.
        address: SocketAddr,
        /// To be said in the greeting.
        dial: u64,
    },
    /// Close a connection. Nothing is to be told of it any more.
    Close {
        /// Which.
        channel: Channel,
        /// Why.
        end: End,
    },
    /// Say on a connection, behind everything else, that nobody here needs it.
    SayDone {
        /// Which.
        channel: Channel,
    },
}

/// What became of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// There is a connection, on this channel.
    Up {
        /// The channel.
        channel: Channel,
        /// The version that both speak.
        version: u16,
    },
    /// There is none, or a try failed.
    Down {
        /// Why.
        end: End,
        /// Whether the peer said so.
        by_peer: bool,
    },
}

/// Why a session is not linked to a peer; nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The peer is this worker.
    #[error("a worker has no link to itself")]
    Itself,
    /// A later run of the node is known: this one is over.
    #[error("a later run of the node is known")]
    OldRun,
    /// As many peers as may be.
    #[error("a worker has links to at most {PEERS} others")]
    Peers,
    /// As many sessions as may be.
    #[error("sessions of a worker have at most {PEER_SESSIONS} links")]
    Sessions,
    /// The worker stops, or has no socket for peers.
    #[error("the worker makes no links")]
    Stopped,
}
