//! Where a worker's packets go and where its time comes from: the two things that it may ask of its surroundings
//! during a turn. The shell answers with a socket and a clock, tests with a queue and a number.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// A worker's surroundings during a turn.
pub trait Outlet {
    /// The time now. Never goes back.
    fn now(&mut self) -> Instant;

    /// An empty buffer for the next packet, of the caller's until [`commit`](Outlet::commit). Asking again without
    /// a commit takes back what was written.
    fn buffer(&mut self) -> &mut Vec<u8>;

    /// Sends what the buffer holds, now or with the batch. Never blocks: what the socket refuses is lost, as on
    /// any network.
    fn commit(&mut self, to: Destination);
}

/// Where a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// The peer.
    pub address: SocketAddr,
    /// Our address that the peer knows, where the socket is bound to several.
    pub source: Option<IpAddr>,
}
