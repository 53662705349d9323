//! A session that this node leads: what it is, who sits in it, and what is said of it.

use std::collections::BTreeSet;

use super::super::message::{Charter, Entry as Admission, Lead, Name, Seating, name_of};
use super::super::types::{GameFacts, SessionEntry};
use super::super::workers::Pace;
use crate::ids::{Epoch, Node, PlayerId, SessionId, WorkerId};
use crate::leadership::record::Member;
use crate::placement::Policy;

#[derive(Debug)]
pub(in crate::directory) enum Phase {
    /// The worker was told; these homes wait for an answer.
    Creating {
        homes: BTreeSet<Node>,
    },
    Live,
}

/// A session that is led here.
#[derive(Debug)]
pub(in crate::directory) struct Session {
    pub charter: Charter,
    pub worker: WorkerId,
    pub epoch: Epoch,
    pub inputs: u64,
    pub created_us: u64,
    /// Since when it is led here, and whether it was elsewhere before.
    pub since_us: u64,
    pub was_moved: bool,
    /// What its calls took.
    pub calls: Calls,
    /// Since when nobody sits in one that ends when empty.
    pub empty_since: Option<u64>,
    /// It gave way to another of its key: what it says for itself does not grow any more.
    pub gave_way: bool,
    /// It was empty for so long that nobody is sent there any more.
    pub is_closing: bool,
    pub phase: Phase,
    pub seats: Seats,
}

/// How long a session's calls take.
#[derive(Debug, Default)]
pub(in crate::directory) struct Calls {
    /// In all, µs, as heard last, and when that was.
    total_us: u64,
    at_us: u64,
    /// In a second, µs.
    pub per_second_us: u64,
}

/// The seats of a session.
#[derive(Debug)]
pub(in crate::directory) struct Seats {
    pub min: usize,
    pub max: u32,
    pub late_join: bool,
    pub joined: BTreeSet<PlayerId>,
    pub begun: bool,
    pub entry: Admission,
}

impl Session {
    /// Of what is to be led on a worker in an epoch.
    pub fn new(
        charter: Charter,
        worker: WorkerId,
        epoch: Epoch,
        (created_us, since_us): (u64, u64),
        phase: Phase,
    ) -> Session {
        let seats = Seats::new(&charter.facts);
        Session {
            charter,
            worker,
            epoch,
            inputs: 0,
            created_us,
            since_us,
            was_moved: created_us != since_us,
            calls: Calls::default(),
            empty_since: None,
            gave_way: false,
            is_closing: false,
            phase,
            seats,
        }
    }

    /// Which.
    pub fn id(&self) -> &SessionId {
        &self.charter.session
    }

    /// How it uses its worker.
    pub fn pace(&self) -> Pace {
        self.charter.facts.pace
    }

    /// Whether its worker has it.
    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live)
    }

    /// Whether it is about to go on from the store: the homes that ordered it were told so, and a session that begins has some
    /// that wait.
    pub fn is_activated(&self) -> bool {
        matches!(&self.phase, Phase::Creating { homes } if homes.is_empty())
    }

    /// Whether it stays here whatever the ring says: it is pinned, has not begun, or is about to end.
    pub fn stays(&self) -> bool {
        let is_over = self.is_closing || self.gave_way || self.seats.entry == Admission::Closed;
        is_over || !self.is_live() || self.charter.decision.policy != Policy::Ring
    }

    /// The worker that leads it, as its followers see it.
    pub fn leader(&self, me: Node) -> Member {
        Member { node: me, worker: self.worker }
    }

    /// What is said of it.
    pub fn lead(&self, me: Node) -> Lead {
        let listing = self.charter.listed.as_ref().map(|criteria| Seating {
            criteria: criteria.clone(),
            seats: self.seats.max,
            joined: self.seats.joined.iter().cloned().collect(),
            entry: self.entry(),
        });
        Lead {
            session: self.id().clone(),
            leader: me,
            worker: self.worker,
            epoch: self.epoch,
            inputs: self.inputs,
            config: self.charter.config,
            is_live: self.is_live(),
            listing,
        }
    }

    fn entry(&self) -> Admission {
        match self.seats.entry {
            // About to end unless somebody comes who is on the way.
            Admission::Open if self.is_closing => Admission::Closed,
            entry => entry,
        }
    }

    /// What it is found by.
    pub fn name(&self) -> Name {
        name_of(self.id())
    }

    /// As listings show it.
    pub fn public(&self, reserved: usize) -> SessionEntry<'_> {
        SessionEntry {
            id: self.id(),
            worker: self.worker,
            created_us: self.created_us,
            live: self.is_live(),
            players: self.seats.joined.len(),
            reserved,
            seats: self.seats.max,
            record: self.charter.record,
            followers: self.charter.facts.replicas.followers,
            decision: &self.charter.decision,
        }
    }
}

impl Calls {
    /// So long in all by now.
    pub fn note(&mut self, now: u64, total_us: u64) {
        let elapsed = u128::from(now.saturating_sub(self.at_us).max(1));
        // It begins anew where a session comes to another worker.
        let spent = u128::from(total_us.saturating_sub(self.total_us));
        self.per_second_us = u64::try_from(spent * 1_000_000 / elapsed).unwrap_or(u64::MAX);
        (self.total_us, self.at_us) = (total_us, now);
    }
}

impl Seats {
    fn new(facts: &GameFacts) -> Self {
        Seats {
            min: facts.min_players.max(1) as usize,
            max: facts.max_players,
            late_join: facts.late_join,
            joined: BTreeSet::new(),
            begun: false,
            entry: Admission::Open,
        }
    }

    pub fn join(&mut self, player: &PlayerId) {
        self.joined.insert(player.clone());
        self.begun |= self.joined.len() >= self.min;
    }

    pub fn leave(&mut self, player: &PlayerId) {
        if self.joined.remove(player) {
            let is_over = self.begun && !self.late_join;
            self.entry = if is_over { Admission::Closed } else { Admission::Open };
        }
    }
}
