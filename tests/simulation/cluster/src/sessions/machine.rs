//! A machine, its process, and the sessions on it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ringside_core::ids::{Epoch, Node, NodeId, Position, WorkerId};
use ringside_core::leadership::leader::{Leader, NodeLog};
use ringside_core::leadership::message::Release;
use ringside_core::leadership::record::{Copy, Member, Record, Terms};
use ringside_core::leadership::suspect::Suspect;
use ringside_core::leadership::{Follower, LastRecords, newer};
use ringside_simulation_kit::scheduler::Micros;

use super::log::Log;
use super::releases::Known;
use super::world::Event;

/// A machine.
#[derive(Debug)]
pub struct Machine {
    /// The number of its node.
    pub id: NodeId,
    /// The last generation of it.
    pub generation: u64,
    /// What runs on it.
    pub process: Option<Process>,
    /// Its clock at the beginning, jumps included.
    pub clock: Micros,
    /// How much faster its clock runs, parts in a million.
    pub rate: i64,
    /// Stands still from when to when, last.
    pub stall: (Micros, Micros),
    /// When its clock jumped last.
    pub jumped_at: Option<Micros>,
    /// What came while it stood still.
    pub backlog: VecDeque<Event>,
    /// Of the release before: it leaves out and ignores what is new. Another run of it may be of the other release.
    pub is_old: bool,
}

impl Machine {
    /// What its clock says.
    pub fn clock(&self, now: Micros) -> u64 {
        (self.clock as i64 + now as i64 + now as i64 * self.rate / 1_000_000) as u64
    }

    /// The virtual time at which its clock says so.
    pub fn real(&self, clock: u64) -> Micros {
        let since = clock as i64 - self.clock as i64;
        (since * 1_000_000 / (1_000_000 + self.rate)).max(0) as Micros
    }

    /// Whether it stands still.
    pub fn is_still(&self, now: Micros) -> bool {
        now < self.stall.1
    }

    /// A session on it.
    pub fn replica(&self, session: usize) -> Option<&Replica> {
        self.process.as_ref()?.replicas[session].as_ref()
    }

    /// Whether a member is what runs on it.
    pub fn runs(&self, member: Member) -> bool {
        self.process.as_ref().is_some_and(|process| process.node == member.node)
    }
}

/// A run of a node.
#[derive(Debug)]
pub struct Process {
    /// Which.
    pub node: Node,
    /// Its sessions.
    pub replicas: Vec<Option<Replica>>,
    /// Copies of records of the sessions whose home it is.
    pub copies: Vec<Copy>,
    /// Turns so far.
    pub turns: u64,
    /// What it has heard of each machine, itself included.
    pub heard: Vec<Option<Known>>,
    /// When it began.
    pub began: Micros,
    /// The greatest number of an epoch in sessions that it has forgotten.
    pub forgotten: u64,
    /// Of those the last records.
    pub last: LastRecords,
    /// Its log.
    pub node_log: NodeLog,
}

impl Process {
    /// A new run.
    pub fn new(now: Micros, node: Node, sessions: usize, machines: usize) -> Process {
        let replicas = (0..sessions).map(|_| None).collect();
        let (copies, heard) = (vec![Copy::default(); sessions], vec![None; machines]);
        let node_log = NodeLog::First;
        let last = LastRecords::default();
        Process { node, replicas, copies, turns: 0, heard, began: now, forgotten: 0, last, node_log }
    }

    /// It has nothing of a session any more in which epochs were seen up to this number.
    pub fn forget(&mut self, number: u64) {
        self.forgotten = self.forgotten.max(number);
    }

    /// It has nothing of a session any more, which goes on elsewhere.
    pub fn let_go(&mut self, terms: &Terms, seen: u64, record: Option<&Arc<Record>>) {
        self.forget(seen);
        if let Some(record) = record {
            self.last.let_go(terms, record);
        }
    }

    /// A session is over. Whether it remembers so.
    pub fn end(&mut self, session: usize, terms: &Terms, remembers: bool) {
        let Some(Replica { role: Some(role), log, .. }) = self.replicas[session].take() else { return };
        match role {
            Role::Leader(leader) => {
                self.forget(leader.seen());
                if remembers {
                    self.last.end(terms, leader.last_record(), |since| log.inputs_since(since));
                }
            }
            Role::Follower(follower) => {
                let last = follower.last_record().filter(|_| remembers);
                self.let_go(terms, follower.seen(), last.as_ref());
            }
        }
    }

    /// Its worker.
    pub fn member(&self) -> Member {
        Member { node: self.node, worker: WorkerId(0) }
    }
}

/// What a replica is.
#[derive(Debug)]
pub enum Role {
    /// It leads.
    Leader(Box<Leader>),
    /// It follows.
    Follower(Box<Follower>),
}

/// A session on a machine.
#[derive(Debug)]
pub struct Replica {
    /// What it is; none only while it changes.
    pub role: Option<Role>,
    /// Its log.
    pub log: Log,
    /// The newest epoch that it was told of.
    pub saw: Option<Epoch>,
    /// What it released last.
    pub release: Option<Release>,
    /// Up to where its players' messages are safe at the session's tier.
    pub safe: Position,
    /// Whether its views pause.
    pub is_paused: bool,
    /// Who is attached.
    pub players: BTreeMap<usize, usize>,
    /// Messages that are held back for a move: the last one's number.
    pub held: BTreeMap<usize, u64>,
    /// What was sent to the store up to where, and when; and what it has.
    pub storing: (Position, Micros),
    /// The store has the log up to here.
    pub stored: Position,
    /// Its memory is damaged from this position on, and whether it said so.
    pub damage: Option<Position>,
    /// When anybody spoke to it last.
    pub spoken_to_at: Option<Micros>,
    /// The epoch that it acknowledged in this turn.
    pub acknowledged: Option<Epoch>,
    /// Whether a divergence was reported.
    pub has_diverged: bool,
    /// When each player came back since it leads, by its clock.
    pub back: BTreeMap<usize, u64>,
    /// Messages that wait because they may end the process.
    pub suspects: VecDeque<Suspect>,
    /// The first of what it is being told, as a follower.
    pub warning: Option<Suspect>,
    /// What it was told, as a follower, would run next.
    pub warned: BTreeSet<Suspect>,
    /// Its process ends of what it was about to append.
    pub is_dying: bool,
    /// To whom a checkpoint was sent last, when, and in which version first.
    pub sending: BTreeMap<Member, (Micros, u16)>,
    /// Since when it was sent nothing that it can read.
    pub unreadable_since: Option<Micros>,
}

impl Replica {
    /// One that has nothing.
    pub fn new(role: Role) -> Replica {
        Replica { role: Some(role), ..Replica::empty() }
    }

    /// The same, before it is anything.
    pub fn empty() -> Replica {
        Replica {
            role: None,
            log: Log::default(),
            saw: None,
            release: None,
            safe: 0,
            is_paused: false,
            players: BTreeMap::new(),
            held: BTreeMap::new(),
            storing: (0, 0),
            stored: 0,
            damage: None,
            spoken_to_at: None,
            acknowledged: None,
            has_diverged: false,
            back: BTreeMap::new(),
            suspects: VecDeque::new(),
            warning: None,
            warned: BTreeSet::new(),
            is_dying: false,
            sending: BTreeMap::new(),
            unreadable_since: None,
        }
    }

    /// If it leads.
    pub fn leader(&self) -> Option<&Leader> {
        match &self.role {
            Some(Role::Leader(leader)) => Some(leader),
            _ => None,
        }
    }

    /// If it leads.
    pub fn leader_mut(&mut self) -> Option<&mut Leader> {
        match &mut self.role {
            Some(Role::Leader(leader)) => Some(leader),
            _ => None,
        }
    }

    /// If it follows.
    pub fn follower(&self) -> Option<&Follower> {
        match &self.role {
            Some(Role::Follower(follower)) => Some(follower),
            _ => None,
        }
    }

    /// It was told of an epoch.
    pub fn sees(&mut self, epoch: Epoch) {
        if self.saw.is_none_or(|saw| newer(epoch, saw)) {
            self.saw = Some(epoch);
        }
    }
}
