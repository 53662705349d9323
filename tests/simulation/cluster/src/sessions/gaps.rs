//! For how long nobody leads a session whose leader is gone, stands still, or has granted it to one that is: in a bounded run,
//! where somebody is left who counts, no longer than a failover takes.

use ringside_core::leadership::record::{ChainHome, Member, Record};
use ringside_core::leadership::timing::{HEARTBEAT_US, PROMISE_US};
use ringside_simulation_kit::scheduler::Micros;

use super::conditions::Condition;
use super::plan::Mode;
use super::world::{TURN, World};

/// What two turns of a worker add to the longest promise, µs.
const TURNS: Micros = 2 * TURN;
/// What making a record in the store, and reading the chain after that, add, µs: two ways each.
const STORE: Micros = 4 * 16_000;

/// A session that nobody leads.
#[derive(Debug, Clone, Copy)]
pub struct Gap {
    since: Micros,
}

impl World {
    /// A machine ends, or stands still for longer than any promise lasts: what it led nobody leads, and what was about to be
    /// led by it has to wait for another from now on.
    pub fn leads_are_lost_at(&mut self, slot: usize) {
        for session in 0..self.terms.len() {
            let is_member = |record: &std::sync::Arc<Record>| {
                record.members().chain([record.leader]).any(|member| self.slot_of(member) == slot)
            };
            let matters = self.truth.records[session].last().is_some_and(is_member);
            if self.gaps[session].is_some() && matters || self.leader_of(session) == Some(slot) {
                self.begin_gap(session, slot);
            }
        }
    }

    /// A session was granted to somebody, who may be gone or stand still by now.
    pub fn granted(&mut self, session: usize, to: Member) {
        let slot = self.slot_of(to);
        if !self.machines[slot].runs(to) || self.machines[slot].is_still(self.now()) {
            self.begin_gap(session, slot);
        }
    }

    /// Nobody has come to lead a session in time, though somebody could.
    pub fn no_gap_is_open(&mut self) {
        for session in 0..self.terms.len() {
            if let Some(Gap { since }) = self.gaps[session].filter(|_| !self.over[session]) {
                let (took, bound) = (self.now() - since, self.bound(session));
                self.checks.check(Condition::LedInTime, took <= bound, || {
                    format!("{session}: nobody has led for {took} of {bound} µs")
                });
            }
        }
    }

    fn bound(&self, session: usize) -> Micros {
        let in_store = self.terms[session].home() == ChainHome::Store;
        PROMISE_US + HEARTBEAT_US + TURNS + if in_store { STORE } else { 0 }
    }

    fn begin_gap(&mut self, session: usize, slot: usize) {
        let now = self.now();
        let newest = self.truth.records[session].last();
        let counts = newest.is_some_and(|record| {
            record.members().any(|member| {
                let other = self.slot_of(member);
                let machine = &self.machines[other];
                let is_sound = machine.replica(session).is_some_and(|replica| replica.damage.is_none());
                other != slot && machine.runs(member) && is_sound && !machine.is_still(now)
            })
        });
        let is_bound = self.plan.mode == Mode::Bounded && counts && now >= self.network.beyond_bounds_until;
        self.gaps[session] = is_bound.then_some(Gap { since: now });
    }

    /// Somebody leads a session.
    pub fn end_gap(&mut self, session: usize) {
        let Some(Gap { since }) = self.gaps[session].take() else { return };
        let (bound, took) = (self.bound(session), self.now() - since);
        self.checks
            .check(Condition::LedInTime, took <= bound, || format!("{session}: nobody led for {took} of {bound} µs"));
    }
}
