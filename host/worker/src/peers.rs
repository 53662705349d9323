//! Links between workers: one connection a pair of workers, opened with the first session that links them and closed after
//! the last, over a socket and an endpoint of their own in the worker's loop. This module names who is meant and what is
//! said to and heard from peers; [`links`] decides who dials and which connection counts, [`frame`] is what is said on one,
//! `driver` carries it over QUIC, [`tls`] says whom a worker believes.
//!
//! ```text
//!  Order ─► Worker ─► driver ─ hello/welcome, frames ─► stream ─┐
//!                       │      datagrams (the newest counts)    ├─► QUIC ─► the other worker ─► News
//!                     Links    parts of what is long, last      ┘
//! ```

mod driver;
mod end;
pub mod frame;
pub mod links;
pub mod tls;

use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;
use ringside_core::ids::{Node, SessionId, WorkerId};

use crate::command::Reply;

pub(crate) use driver::Peers;
pub use driver::{PeerCounts, PeersConfig};
pub use end::End;
pub use links::LinkError;

/// A worker of one run of a node. A later run is another peer: whoever means this one never speaks to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// Which run of which node.
    pub node: Node,
    /// Which worker there.
    pub worker: WorkerId,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.node, self.worker)
    }
}

/// What a worker is told about peers.
pub enum Order {
    /// A session needs this peer: a connection is made where there is none, and again when it is lost. Said twice it counts
    /// once.
    Link {
        /// The session.
        session: SessionId,
        /// The peer.
        peer: Peer,
        /// Where the peer's socket for peers is reached.
        address: SocketAddr,
        /// Why it is not linked, if so.
        reply: Reply<Result<(), LinkError>>,
    },
    /// A session needs this peer no longer. After the last session of both ends the connection is closed; what was sent
    /// before arrives.
    Unlink {
        /// The session.
        session: SessionId,
        /// The peer.
        peer: Peer,
    },
    /// Send a frame: it arrives in order, whole and once, or the link goes down.
    Frame {
        /// To whom.
        peer: Peer,
        /// At most [`limits::PEER_FRAME_BYTES`](crate::limits::PEER_FRAME_BYTES).
        body: Bytes,
        /// Whether it waits to be sent.
        reply: Reply<Result<(), SendError>>,
    },
    /// Send a datagram: it may be lost, and the oldest is where too many wait.
    Datagram {
        /// To whom.
        peer: Peer,
        /// At most what fits a packet.
        body: Bytes,
        /// Whether it waits to be sent.
        reply: Reply<Result<(), SendError>>,
    },
    /// Send something long behind everything else, in parts.
    Long {
        /// To whom.
        peer: Peer,
        /// At most [`limits::PEER_LONG_BYTES`](crate::limits::PEER_LONG_BYTES).
        body: Bytes,
        /// Whether it is on its way.
        reply: Reply<Result<(), SendError>>,
    },
}

/// What is heard from or about a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// There is a connection now; frames begin anew.
    Up {
        /// The version that both speak.
        version: u16,
    },
    /// There is no connection now, or a try to make one failed. It is tried again as long as a session needs it, unless
    /// [`End::is_final`].
    Down {
        /// Why.
        end: End,
        /// Whether the peer said so.
        by_peer: bool,
        /// The reason in words, as whoever ended it says it.
        detail: String,
    },
    /// A frame.
    Frame(Bytes),
    /// A datagram.
    Datagram(Bytes),
    /// The next part of something long.
    Long {
        /// Tells apart what comes at the same time on a connection.
        stream: u64,
        /// The part; it may be empty where it is the last.
        part: Bytes,
        /// Whether it is the last.
        last: bool,
    },
}

impl News {
    /// Bytes that it holds beside itself.
    pub(crate) fn body_bytes(&self) -> usize {
        match self {
            News::Frame(body) | News::Datagram(body) | News::Long { part: body, .. } => body.len(),
            News::Down { detail, .. } => detail.len(),
            News::Up { .. } => 0,
        }
    }
}

/// Why something is not sent to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is no connection at the moment.
    #[error("there is no link to the worker at the moment")]
    NotLinked,
    /// It is longer than can be sent; nothing changed.
    #[error("it is longer than a link carries")]
    TooLong,
    /// The peer takes too little: the link is down, so that whoever follows begins anew instead of missing a frame.
    #[error("the worker takes too little: the link was closed")]
    TooSlow,
    /// As much of this kind is on its way as may be; try again.
    #[error("too much is on its way to the worker")]
    Busy,
}
