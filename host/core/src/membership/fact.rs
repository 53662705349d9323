//! What a node says of itself, spread by gossip. One writer: the node; everything in it may be forged, too long or old,
//! so it is checked before it is believed.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::Reads;
use crate::ids::{Certificate, Node, WorkerId};
use crate::limits;
use crate::ring::{Weight, Zone};

/// Where a node is in its life, as it says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum State {
    /// It is not ready for sessions yet, or keeps away for a while because it came and went too often.
    Joining,
    /// It takes sessions and keeps entries.
    Active,
    /// It takes no new sessions and keeps no entries; those that it leads go on.
    Draining,
    /// It has left.
    Gone,
}

impl State {
    /// Whether it is more than joining, and there.
    pub(super) fn is_active(self) -> bool {
        matches!(self, State::Active | State::Draining)
    }
}

/// Where a node can be reached. Advertised addresses, which may differ from those that it is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Its control link.
    pub control: SocketAddr,
    /// Its front door, for first contact of players.
    pub door: SocketAddr,
    /// Its workers, by number, for players.
    pub workers: Vec<SocketAddr>,
    /// Its workers, by number, for workers of other nodes.
    pub peers: PeerPorts,
    /// What players expect of its workers.
    pub certificate: Certificate,
}

/// Where a node's workers are reached by workers of other nodes: one address for all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PeerPorts {
    /// The node's address.
    pub address: IpAddr,
    /// Each worker's port, by number. None where the node's release has no such links.
    pub ports: Vec<u16>,
}

impl PeerPorts {
    /// Those of a node whose workers have no links.
    pub fn none(address: IpAddr) -> PeerPorts {
        PeerPorts { address, ports: Vec::new() }
    }
}

impl Contact {
    /// Everything at one address, and no workers.
    pub fn at(address: SocketAddr, certificate: Certificate) -> Contact {
        let peers = PeerPorts::none(address.ip());
        Contact { control: address, door: address, workers: Vec::new(), peers, certificate }
    }

    /// Whether it is the same place: all but the certificate, which changes while a node runs.
    pub fn is_at(&self, other: &Contact) -> bool {
        self.place() == other.place()
    }

    /// The place, in an order that is the same everywhere.
    pub(super) fn place(&self) -> impl Ord + use<'_> {
        (self.control, self.door, &self.workers, &self.peers)
    }

    /// Where workers of other nodes reach a worker, if they can.
    pub fn peer(&self, worker: WorkerId) -> Option<SocketAddr> {
        let port = self.peers.ports.get(usize::from(worker.0))?;
        Some(SocketAddr::new(self.peers.address, *port))
    }

    /// A worker's address.
    pub fn worker(&self, worker: WorkerId) -> Option<SocketAddr> {
        self.workers.get(usize::from(worker.0)).copied()
    }
}

/// A stay that somebody presumes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Presumed {
    /// Whose.
    pub node: Node,
    /// Up to which.
    pub stay: u32,
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// Which node, in which run.
    pub node: Node,
    /// Grows with each change of this fact within a run.
    pub version: u64,
    /// Which stay of that run in the cluster: one more whenever others presumed the one before over.
    pub stay: u32,
    /// Where it is in its life.
    pub state: State,
    /// How much of the cluster it takes.
    pub weight: Weight,
    /// What it fails together with.
    pub zone: Zone,
    /// Where it can be reached.
    pub contact: Contact,
    /// What its sessions cost, CPU µs a second.
    pub load_us: u64,
    /// The era of its tickets.
    pub era: u32,
    /// Whom it presumes gone, so that they hear of it and come back under a new stay. At most
    /// [`limits::PRESUMED_GONE`].
    pub presumed_gone: Vec<Presumed>,
    /// Which checkpoints it reads: said behind the rest, so that releases which know nothing of it pass it over.
    #[serde(skip)]
    pub reads: Reads,
}

/// Why a fact is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FactError {
    /// More workers than [`limits::NODE_WORKERS`].
    #[error("a node has at most {} workers", limits::NODE_WORKERS)]
    Workers,
    /// More presumptions than [`limits::PRESUMED_GONE`].
    #[error("a node names at most {} nodes as gone", limits::PRESUMED_GONE)]
    Presumed,
    /// Versions of checkpoints that no node can read.
    #[error("a node reads checkpoints of version 1 or later, and the oldest is not after the newest")]
    Reads,
}

impl Fact {
    /// What a node says of itself when its run begins: it joins, with the weight of any other, in no zone, and nothing to
    /// do yet.
    pub fn new(node: Node, contact: Contact) -> Fact {
        Fact {
            node,
            version: 0,
            stay: 0,
            state: State::Joining,
            weight: Weight::NORMAL,
            zone: Zone::default(),
            contact,
            load_us: 0,
            era: 0,
            presumed_gone: Vec::new(),
            reads: Reads::FIRST,
        }
    }

    /// Whether it keeps the bounds.
    ///
    /// # Errors
    /// [`FactError`]: it must be ignored.
    pub fn check(&self) -> Result<(), FactError> {
        if self.contact.workers.len().max(self.contact.peers.ports.len()) > limits::NODE_WORKERS {
            return Err(FactError::Workers);
        }
        if self.presumed_gone.len() > limits::PRESUMED_GONE {
            return Err(FactError::Presumed);
        }
        if !self.reads.is_sound() {
            return Err(FactError::Reads);
        }
        Ok(())
    }
}
