//! A machine that is away for an hour: asleep with all that it knew, cut off, or down; what becomes of its sessions
//! meanwhile; and what must not become of them when it is back.

use std::sync::Arc;

use ringside_core::ids::Epoch;
use ringside_core::leadership::record::PartitionPolicy;
use ringside_core::leadership::{Leader, newer};
use ringside_simulation_kit::scheduler::Micros;

use super::conditions::Condition;
use super::machine::Replica;
use super::plan::{Absence, Deed, HOUR, LAPSE, LEAVES};
use super::plant::Plant;
use super::world::{Event, World};

/// What waits for a machine that sleeps, at most: sockets hold no more.
const WAITING: usize = 200;
/// How long who is back may take to find out that somebody else leads what it led.
const FINDS_OUT: Micros = 2_000_000;

/// A machine that is away, or was.
#[derive(Debug)]
pub struct Away {
    slot: usize,
    absence: Absence,
    until: Micros,
    /// The newest epoch of each session when it went.
    epochs: Vec<Option<Epoch>>,
}

impl World {
    /// The machine that leads a session, or the first that follows it, goes.
    pub fn go_away(&mut self, session: usize, follows: bool, absence: Absence, length: Micros) {
        let Some(slot) = self.place_of(session, follows) else { return };
        let until = self.now() + length;
        let epochs = self.truth.newest.iter().map(|newest| newest.map(|(epoch, _)| epoch)).collect();
        self.away = Some(Away { slot, absence, until, epochs });
        self.troubled_until = self.troubled_until.max(until);
        self.say(slot, format_args!("is away: {absence:?}"));
        match absence {
            Absence::Asleep => self.stall(slot, length),
            Absence::CutOff => self.network.cut(self.scheduler.now(), 1 << slot, false, length),
            Absence::Down => self.crash(slot, length),
        }
        self.scheduler.at(until, Event::Back);
    }

    /// The machine that leads a session, or the first that follows it where somebody does.
    pub fn place_of(&self, session: usize, follows: bool) -> Option<usize> {
        let leader = self.leader_of(session)?;
        let record = self.machines[leader].replica(session).and_then(Replica::leader).map(Leader::record);
        let first = record.and_then(|record| record.in_sync.first().copied()).map(|who| self.slot_of(who));
        Some(first.filter(|_| follows).unwrap_or(leader))
    }

    /// It is back.
    pub fn back(&mut self) {
        let Some(slot) = self.away.as_ref().map(|away| away.slot) else { return };
        self.say(slot, format_args!("is back"));
    }

    /// A machine that slept wakes: it was an hour.
    pub fn wake(&mut self, slot: usize) {
        let now = self.now();
        if !self.away.as_ref().is_some_and(|away| away.slot == slot && away.absence == Absence::Asleep) {
            return;
        }
        let stands = self.is_planted(Plant::SleepsWithItsClock);
        let machine = &mut self.machines[slot];
        if stands {
            machine.clock = machine.clock.saturating_sub(now - machine.stall.0);
        } else {
            machine.clock += HOUR - (now - machine.stall.0);
        }
        machine.jumped_at = Some(now);
        machine.backlog.truncate(WAITING);
    }

    /// Time passes faster for a machine that is cut off, so that it lives through an hour.
    pub fn lapse(&mut self, slot: usize) {
        let now = self.now();
        if self.is_cut_off(slot) {
            self.machines[slot].clock += LAPSE;
            self.machines[slot].jumped_at = Some(now);
        }
    }

    /// Whether a machine is away.
    pub fn is_away(&self, slot: usize) -> bool {
        self.away.as_ref().is_some_and(|away| away.slot == slot && self.scheduler.now() < away.until)
    }

    /// Whether a machine reaches neither the others nor the store.
    pub fn is_cut_off(&self, slot: usize) -> bool {
        self.is_away(slot) && self.away.as_ref().is_some_and(|away| away.absence == Absence::CutOff)
    }

    /// Whether nobody asks for what is evicted: it rests until whoever was away has been back for a while.
    pub fn is_nobody_asking(&self) -> bool {
        self.away.as_ref().is_some_and(|away| self.now() < away.until + FINDS_OUT)
    }

    /// Whether something cannot be done yet: who is away ends nothing, and a key is used again when its session is over.
    pub fn is_premature(&self, deed: &Deed) -> bool {
        match deed {
            Deed::End { session } => self.leader_of(*session).is_none_or(|slot| self.is_away(slot)),
            Deed::Begin { .. } => !self.over.iter().any(|is_over| *is_over),
            _ => false,
        }
    }

    /// A session is over: its chain says so, or who led it; its home forgets it, and whoever follows it and is there lets go
    /// of it.
    pub fn end_session(&mut self, session: usize) {
        let Some(leader) = self.leader_of(session) else { return };
        self.settle(session);
        self.over[session] = true;
        self.say(leader, format_args!("{session}: is over"));
        if let Some(newest) = self.store.newest(session).cloned()
            && !self.is_planted(Plant::ForgetsTheEnd)
        {
            self.create(session, &Arc::new(newest.ended(newest.position)));
        }
        let remembers = !self.is_planted(Plant::ForgetsTheEnd);
        let away = self.away.as_ref().map(|away| away.slot);
        for slot in (0..self.machines.len()).filter(|slot| Some(*slot) != away) {
            let Some(process) = self.machines[slot].process.as_mut() else { continue };
            process.copies[session] = Default::default();
            process.end(session, &self.terms[session], remembers);
        }
    }

    /// The key of a session that is over is used again.
    pub fn begin_again(&mut self, session: usize) {
        let away = self.away.as_ref().map(|away| away.slot);
        let is_there = |slot: &usize| Some(*slot) != away && self.machines[*slot].process.is_some();
        if let Some(slot) = (0..self.machines.len()).find(is_there) {
            self.begin_session(session, slot);
        }
    }

    /// Somebody releases in an epoch.
    pub fn stale_releases_nothing(&mut self, slot: usize, session: usize, epoch: Epoch) {
        let Some(away) = &self.away else { return };
        // Sides of an available session go on.
        if self.terms[session].policy == PartitionPolicy::Available {
            return;
        }
        let is_back = slot == away.slot && self.scheduler.now() >= away.until;
        let newest = self.truth.newest[session].map(|(newest, _)| newest);
        let is_stale = is_back && newest.is_some_and(|newest| newer(newest, epoch));
        let is_over = self.over[session];
        self.checks.check(Condition::StaleLeadsNothing, !is_stale && !is_over, || {
            format!("m{slot} releases {session} in {epoch:?}, of {newest:?}, over: {is_over}")
        });
    }

    /// Nobody leads what is over, and who is back leads nothing that went on without it. A side that was cut off may have
    /// gone on where that is the policy: then it is settled who does.
    pub fn stale_leads_nothing(&mut self) {
        let Some(away) = self.away.as_ref().filter(|away| self.scheduler.now() > away.until + FINDS_OUT) else {
            return;
        };
        for (session, before) in away.epochs.iter().enumerate() {
            let went_on = self.truth.newest[session].map(|(epoch, _)| epoch) > *before;
            for (slot, machine) in self.machines.iter().enumerate() {
                let leader = machine.replica(session).and_then(Replica::leader).filter(|leader| !leader.is_over());
                let Some(epoch) = leader.map(Leader::epoch) else { continue };
                let is_stale = slot == away.slot && went_on && Some(epoch) <= *before;
                let is_over = self.over[session];
                self.checks.check(Condition::StaleLeadsNothing, !is_stale && !is_over, || {
                    format!("m{slot} leads {session} in {epoch:?}, over: {is_over}")
                });
            }
        }
    }
}

// A machine that goes away has led or followed for a while.
const _: () = assert!(LEAVES > 3_000_000);
