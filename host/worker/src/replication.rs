//! Replication: a session's log on several workers, so that another goes on where its leader ends. The decisions are
//! [`ringside_core::leadership`]'s; here is what a worker does for them: who is told what over links, which entries are
//! kept for whom, what waits for a release, and how a follower becomes a leader.

mod act;
mod arrivals;
mod branches;
mod comparing;
mod following;
mod gates;
mod job;
mod keeping;
mod kept;
mod lead;
mod phase;
mod unsent;
mod wire;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ringside_core::ids::{Epoch, Node, PlayerId, Position, SessionId, WorkerId};
use ringside_core::leadership::leader::Lag;
use ringside_core::leadership::record::{Cause, Member, Record, Terms};
use ringside_core::membership::PeerPorts;
use ringside_protocol::frame::Certificate;
use ringside_sandbox::Module;
use serde::{Deserialize, Serialize};

pub(crate) use act::{Moving, Replication};
pub(crate) use branches::{Branches, Fork};
pub(crate) use following::{Following, Remains};
pub(crate) use gates::Freed;
pub use job::{Done, Job};
pub(crate) use keeping::{Keeping, keeps_log};
pub use kept::Kept;
pub(crate) use lead::{Lead, Rested};
pub(crate) use phase::Phase;
pub(crate) use unsent::Unsent;
pub(crate) use wire::CheckpointHead;
pub use wire::VERSION as WORDS;

/// The clock that leadership goes by: µs of this machine's own. It begins well above zero, for times are subtracted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    base: Instant,
}

impl Clock {
    const BEGIN: Duration = Duration::from_secs(1_000);

    /// One that begins now.
    pub fn new(base: Instant) -> Clock {
        Clock { base }
    }

    /// What it says.
    pub fn us(self, now: Instant) -> u64 {
        (now.saturating_duration_since(self.base) + Clock::BEGIN).as_micros() as u64
    }

    /// When it says so.
    pub fn instant(self, us: u64) -> Instant {
        self.base + Duration::from_micros(us).saturating_sub(Clock::BEGIN)
    }
}

/// A session that another worker leads and this one is to follow.
pub struct Follow {
    /// The module that it runs.
    pub module: Module,
    /// What does not change while it lives.
    pub terms: Terms,
    /// Who leads it, as far as the node knows.
    pub leader: Member,
}

/// Where the workers of a run of a node are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contacts {
    /// By workers of other nodes.
    pub peers: PeerPorts,
    /// By players, by number.
    pub workers: Vec<SocketAddr>,
    /// What players expect there.
    pub certificate: Certificate,
    /// The era of its tickets, as last heard.
    pub era: u32,
}

impl Contacts {
    /// Where workers of other nodes reach a worker, if they can.
    pub fn peer(&self, worker: WorkerId) -> Option<SocketAddr> {
        let port = self.peers.ports.get(usize::from(worker.0))?;
        Some(SocketAddr::new(self.peers.address, *port))
    }
}

/// All nodes that are there, this one included.
pub type Nodes = Arc<BTreeMap<Node, Contacts>>;

/// A session that was followed here is led here now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promoted {
    /// Which.
    pub session: SessionId,
    /// By this record.
    pub record: Arc<Record>,
    /// Who sits in it.
    pub players: Vec<PlayerId>,
}

/// How a worker stands to a session that is replicated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicationReport {
    /// The newest record that it knows; none in a follower that has not been introduced.
    pub record: Option<Arc<Record>>,
    /// What the session promises.
    pub terms: Terms,
    /// Whether it leads.
    pub is_leader: bool,
    /// Whether nobody else has what is appended now, against the session's tier.
    pub is_degraded: bool,
    /// The end of its log.
    pub end: Position,
    /// Nothing up to here is ever withdrawn.
    pub committed: Position,
    /// The position of its last checkpoint.
    pub checkpoint: Position,
    /// Of a durable session that is led here: up to where the store has its log.
    pub stored: Option<Position>,
    /// How far a leader's followers are behind.
    pub lags: Vec<Lag>,
    /// Whether these keep the log and do not replay it before they lead.
    pub keeps_log: bool,
    /// Changes of the leader that it knows of, oldest first.
    pub history: Vec<Change>,
}

/// The greatest number of an epoch in what the workers of a node's run have forgotten of sessions: all of them share it.
#[derive(Debug, Clone, Default)]
pub struct Epochs(Arc<AtomicU64>);

impl Epochs {
    /// A session in which epochs were seen up to this number is forgotten.
    pub(crate) fn forget(&self, number: u64) {
        self.0.fetch_max(number, Ordering::Relaxed);
    }

    /// What is followed from now on begins after this number.
    pub(crate) fn forgotten(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A change of a session's leader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Who leads since then.
    pub leader: Member,
    /// In which epoch.
    pub epoch: Epoch,
    /// After which entry.
    pub position: Position,
    /// Why.
    pub cause: Cause,
}
