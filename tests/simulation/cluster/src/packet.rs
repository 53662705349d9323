//! What travels between machines.

use std::rc::Rc;

use ringside_core::directory;
use ringside_core::ids::{Node, SessionId};
use ringside_core::membership;
use ringside_core::routing::Arrival;
use ringside_core::routing::tickets::Stamp;

use crate::gossip::Rumour;

/// A packet.
#[derive(Debug, Clone)]
pub enum Packet {
    /// Gossip.
    Gossip(Rc<[Rumour]>),
    /// Who is there. Goes to an address, whichever run listens there.
    Member(membership::Sender, membership::Message),
    /// Between directories. A link knows which runs are at its ends.
    Directory {
        /// The sender.
        from: Node,
        /// The run that it is for.
        to: Node,
        /// What is said.
        message: Box<directory::Message>,
    },
    /// A player comes to a worker.
    Visit(Box<Visit>),
}

/// A player who was sent on.
#[derive(Debug, Clone)]
pub struct Visit {
    /// Who.
    pub player: u64,
    /// To which session.
    pub session: SessionId,
    /// With which ticket; none if they are relayed, or had no way to go.
    pub stamp: Option<Stamp>,
    /// How they came.
    pub arrival: Arrival,
    /// How often they were really sent on.
    pub sent_on: u32,
}
