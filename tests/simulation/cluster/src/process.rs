//! A node's process: the pure core of one node, and what stands in for its workers and callers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ringside_core::directory::{self, Directory, GameFacts, Limits, Pace, Replicas, RequestId};
use ringside_core::ids::{Certificate, GameName, ModuleHash, Node, SessionId, WorkerId};
use ringside_core::leadership::record::{PartitionPolicy, Record, Tier};
use ringside_core::membership::{Config, Contact, Fact, Membership, Reads};
use ringside_core::ring::{RingDigest, Weight, Zone};
use ringside_core::routing::Arrival;
use ringside_core::routing::tickets::Tickets;
use ringside_simulation_kit::scheduler::Micros;

use crate::gossip::{Key, Rumours};
use crate::world::Event;

/// Workers of a node.
pub const WORKERS: u8 = 2;
/// Sessions of a node, with those that it follows: more than any run has, so that each may have its followers.
pub const SESSIONS: usize = 128;

/// Followers of a session whose game asks for any.
pub const FOLLOWERS: usize = 1;

/// A session on a worker.
#[derive(Debug, Default)]
pub struct Play {
    /// Its leadership record, if its game asks for followers.
    pub record: Option<Record>,
    /// Who is in it.
    pub players: BTreeSet<u64>,
    /// Player inputs accepted.
    pub inputs: u64,
}

/// A request that a caller of this node waits with.
#[derive(Debug, Clone)]
pub struct Request {
    /// For whom.
    pub player: u64,
    /// Since when.
    pub asked_at: Micros,
    /// How long the node had stood still in all by then.
    pub stood_us: Micros,
    /// How they came.
    pub arrival: Arrival,
    /// How often they were sent on.
    pub sent_on: u32,
    /// Whether it is one of those that must be served at the end.
    pub must_be_served: bool,
}

/// A process.
#[derive(Debug)]
pub struct Process {
    /// Which run of which node.
    pub node: Node,
    /// Its machine's clock since boot against virtual time.
    offset: Micros,
    /// When it began.
    pub started: Micros,
    /// Who is there.
    pub membership: Membership,
    /// Which sessions there are.
    pub directory: Directory,
    /// What gossip has told.
    pub rumours: Rumours,
    /// What each worker took.
    pub tickets: Vec<Tickets>,
    /// The sessions that run.
    pub plays: BTreeMap<SessionId, Play>,
    /// The sessions that are followed, and on which worker each.
    pub follows: BTreeMap<SessionId, WorkerId>,
    /// Callers who wait.
    pub requests: BTreeMap<RequestId, Request>,
    /// Requests so far.
    pub asked: RequestId,
    /// Stands still until then.
    pub stalled_until: Micros,
    /// How long it stood still in all, the present stall to its end included.
    pub stood_us: Micros,
    /// Stalled last from when to when.
    pub last_stall: (Micros, Micros),
    /// What came while it stood still.
    pub backlog: VecDeque<Event>,
    /// When it is woken next.
    pub wake_at: Option<Micros>,
    /// Whether it is on its way out.
    pub is_leaving: bool,
    /// The ring that its directory goes by, the one before, and since when.
    pub ring: (RingDigest, Option<RingDigest>, Micros),
    /// The version of checkpoints that it writes.
    pub writes: u16,
    /// Since when it sees each node without a break.
    pub sees: BTreeMap<Node, Micros>,
    /// What a planted bug adds to its tables.
    pub leaked: usize,
}

impl Process {
    /// A new run on a machine.
    pub fn new(
        now: Micros,
        offset: Micros,
        slot: usize,
        node: Node,
        weight: u16,
        games: &[(GameName, u32, bool)],
    ) -> Process {
        let address = |port: usize| ([10, 0, 0, 1], (slot * 10 + port) as u16).into();
        let contact = Contact {
            door: address(1),
            workers: (0..usize::from(WORKERS)).map(|worker| address(2 + worker)).collect(),
            ..Contact::at(address(0), Certificate([0; 32]))
        };
        let fact = Fact {
            weight: Weight::percent(weight).unwrap_or_default(),
            zone: Zone::new(["a", "b"][slot % 2]).unwrap_or_default(),
            reads: reads(node),
            ..Fact::new(node, contact)
        };
        let mut membership = Membership::new(now + offset, Config { fact, has_seeds: true, succeeds: false });
        membership.activate(now + offset);
        let mut directory = Directory::new(node, Limits { sessions: SESSIONS });
        for (game, max_players, late_join) in games {
            let facts = GameFacts {
                module: ModuleHash([0; 32]),
                replicas: replicas(game),
                pace: Pace::Ticking,
                min_players: 2,
                max_players: *max_players,
                late_join: *late_join,
            };
            directory.handle_game(game.clone(), facts);
        }
        (0..WORKERS).for_each(|worker| directory.handle_worker(WorkerId(worker)));
        let ring = (directory.ring(), None, now);
        Process {
            node,
            offset,
            started: now,
            membership,
            directory,
            rumours: Rumours::default(),
            tickets: (0..WORKERS).map(|worker| Tickets::new(node, WorkerId(worker))).collect(),
            plays: BTreeMap::new(),
            follows: BTreeMap::new(),
            requests: BTreeMap::new(),
            asked: 0,
            stalled_until: 0,
            stood_us: 0,
            last_stall: (0, 0),
            backlog: VecDeque::new(),
            wake_at: None,
            is_leaving: false,
            ring,
            writes: reads(node).oldest,
            sees: BTreeMap::from([(node, now)]),
            leaked: 0,
        }
    }

    /// The machine's clock.
    pub fn clock(&self, now: Micros) -> Micros {
        now + self.offset
    }

    /// What gossip knows the run by.
    pub fn key(&self) -> Key {
        (self.node.id, self.node.generation, self.membership.own().contact.control)
    }

    /// When something is due next, in virtual time.
    pub fn next_timeout(&self, with_directory: bool) -> Option<Micros> {
        let due = [self.membership.next_timeout(), self.directory.next_timeout().filter(|_| with_directory)];
        due.into_iter().flatten().min().map(|at| at.saturating_sub(self.offset))
    }

    /// A new request's number.
    pub fn request(&mut self, request: Request) -> RequestId {
        self.asked += 1;
        self.requests.insert(self.asked, Request { stood_us: self.stood_us, ..request });
        self.asked
    }

    /// Whether it stood still for so long within a while before now that others could have missed it.
    pub fn was_still(&self, now: Micros) -> bool {
        let (from, to) = self.last_stall;
        now < self.stalled_until || to + 3_000_000 > now && to - from > 500_000
    }
}

/// Which checkpoints a run of a node reads: some are of the release before, whose facts say nothing of that.
fn reads(node: Node) -> Reads {
    if (node.generation ^ node.id.0).is_multiple_of(5) { Reads::FIRST } else { Reads { oldest: 1, newest: 2 } }
}

/// What a directory's name is in text.
pub fn name_text((game, key): &directory::Name) -> String {
    format!("{game}/{key}")
}

/// How a game's sessions are replicated: those of one of the two are.
pub fn replicas(game: &GameName) -> Replicas {
    match game.as_str() {
        "arena" => Replicas { tier: Tier::Replicated, policy: PartitionPolicy::Available, followers: FOLLOWERS },
        _ => Replicas::default(),
    }
}
