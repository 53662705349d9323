//! The log of a machine is sealed by others that believe its run to be gone. If it is not, it finds that out when it writes,
//! and begins a log anew, which takes what is of epochs that begin after that. Meanwhile, what it led that is durable and that
//! nobody follows may be taken over: whoever does reads the session's newest record, then looks whether nothing of its
//! epoch is stored any more, and makes the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringside_core::ids::{Epoch, Node};
use ringside_core::leadership::leader::NodeLog;
use ringside_core::leadership::message::Promotion;
use ringside_core::leadership::record::{Cause, ChainHome, Record, Tier};
use ringside_core::leadership::{Leader, newer};
use ringside_simulation_kit::scheduler::Micros;

use super::log::Log;
use super::machine::Replica;
use super::outputs::Act;
use super::plan::StoreMood;
use super::world::{Event, World};

/// How long it is tried to take over what somebody follows yet, and how often.
const PATIENCE: Micros = 4_000_000;
const AGAIN: Micros = 500_000;

/// The log of a run that was sealed.
#[derive(Debug)]
pub struct Seal {
    /// What it has of each session: up to where, in which epoch.
    logs: BTreeMap<usize, (Epoch, Log)>,
    /// How long the run takes to begin another one once it knows.
    reopens_after: Micros,
    /// The epochs that began before it did, by session; none if it has not yet.
    before: Option<BTreeMap<usize, Epoch>>,
}

impl Seal {
    /// Whether the run's log takes what is of an epoch.
    fn takes(&self, session: usize, epoch: Epoch) -> bool {
        let before = self.before.as_ref().map(|before| before.get(&session));
        before.is_some_and(|before| before.is_none_or(|before| newer(epoch, *before)))
    }
}

/// A session that is about to be taken over.
#[derive(Debug, Clone)]
pub struct TakeOver {
    session: usize,
    /// From whom.
    from: Node,
    /// Until when it is tried.
    until: Micros,
    /// By whom, and the record that was read: it is known that nothing of its epoch is stored any more.
    by: Option<(usize, Node, Arc<Record>)>,
}

impl World {
    /// The log of the machine that leads a session, or of the first that follows it, is sealed.
    pub fn seal(&mut self, session: usize, follows: bool, reopens_after: Micros) {
        let Some(slot) = self.place_of(session, follows) else { return };
        let Some(process) = self.machines[slot].process.as_ref() else { return };
        let node = process.node;
        if self.seals.get(&node).is_some_and(|seal| seal.before.is_none()) {
            return;
        }
        self.say(slot, format_args!("the log of {node} is sealed"));
        let durable: Vec<usize> =
            (0..self.terms.len()).filter(|session| self.terms[*session].tier == Tier::Durable).collect();
        let mut logs = BTreeMap::new();
        for session in durable {
            let Some(replica) = self.machines[slot].replica(session) else { continue };
            let Some(epoch) = replica.leader().map(Leader::epoch) else { continue };
            let mut log = replica.log.clone();
            while log.end() > 0 && !self.store.has(session, log.end(), log.newest().hash) {
                log.truncate(log.end() - 1);
            }
            logs.insert(session, (epoch, log));
            let take_over = TakeOver { session, from: node, until: self.now() + PATIENCE, by: None };
            let after = self.store_delay();
            self.scheduler.after(after, Event::TakeOver(take_over));
        }
        self.seals.insert(node, Seal { logs, reopens_after, before: None });
    }

    /// Whether the store takes what a run writes of an epoch. A run whose log was sealed finds it out so.
    pub fn takes(&mut self, slot: usize, node: Node, session: usize, epoch: Epoch) -> bool {
        let Some(seal) = self.seals.get(&node) else { return true };
        if seal.takes(session, epoch) {
            return true;
        }
        if seal.before.is_none() {
            let (now, after) = (self.now(), self.store_delay());
            self.troubled_until = self.troubled_until.max(now + after);
            self.scheduler.after(after, Event::NodeLog { slot, node, is: NodeLog::Sealed });
        }
        false
    }

    /// A run finds out that its log was sealed, or has begun another.
    pub fn node_log_is(&mut self, slot: usize, is: NodeLog) {
        let now = self.now();
        let Some(process) = self.machines[slot].process.as_mut() else { return };
        let node = process.node;
        let Some(seal) = self.seals.get_mut(&node).filter(|seal| seal.before.is_none()) else { return };
        if process.node_log == NodeLog::Sealed && is == NodeLog::Sealed {
            return;
        }
        process.node_log = is;
        let leader = |replica: &Option<Replica>| replica.as_ref()?.leader().map(Leader::epoch);
        match is {
            NodeLog::Reopened => {
                let epochs = process.replicas.iter().enumerate();
                seal.before = Some(epochs.filter_map(|(at, replica)| Some((at, leader(replica)?))).collect());
            }
            _ => {
                let after = seal.reopens_after;
                // A leader goes on when it has an epoch, and its log is stored again.
                self.troubled_until = self.troubled_until.max(now + after + 1_500_000);
                self.scheduler.after(after, Event::NodeLog { slot, node, is: NodeLog::Reopened });
            }
        }
        self.say(slot, format_args!("its log: {is:?}"));
        (0..self.terms.len()).for_each(|session| self.act(slot, session, Act::NodeLog(is)));
    }

    /// Somebody tries to take over a session of a run whose log is sealed.
    pub fn take_over(&mut self, mut take_over: TakeOver) {
        let TakeOver { session, from, until, ref by } = take_over;
        let Some(seal) = self.seals.get(&from) else { return };
        let Some((epoch, log)) = seal.logs.get(&session).cloned() else { return };
        let is_away = self.store.mood(self.now()) != StoreMood::Well;
        if let Some((slot, heir, record)) = by.clone() {
            let is_it = self.machines[slot].process.as_ref().is_some_and(|process| process.node == heir);
            return if is_it && !is_away {
                self.recover(slot, session, &record, log)
            };
        }
        let Some(record) = self.store.newest(session).filter(|record| record.leader.node == from).cloned() else {
            return;
        };
        let is_over = record.is_at_rest() || record.cause == Cause::Ended || record.epoch != epoch;
        if is_over || seal.takes(session, record.epoch) {
            return;
        }
        let is_followed = record.in_sync.iter().any(|who| self.machines[self.slot_of(*who)].runs(*who));
        let heirs: Vec<(usize, Node)> = (self.machines.iter().enumerate())
            .filter(|(slot, machine)| machine.id != from.id && !machine.is_still(self.now()) && !self.is_away(*slot))
            .filter_map(|(slot, machine)| Some((slot, machine.process.as_ref()?.node)))
            .collect();
        if is_followed || heirs.is_empty() || is_away {
            if self.now() < until {
                self.scheduler.after(AGAIN, Event::TakeOver(take_over));
            }
            return;
        }
        let (slot, heir) = heirs[self.random.below(heirs.len() as u64) as usize];
        take_over.by = Some((slot, heir, record));
        let after = self.store_delay();
        self.scheduler.after(after, Event::TakeOver(take_over));
    }

    /// Makes the record by which a session goes on from a log, and leads it if it is the next.
    fn recover(&mut self, slot: usize, session: usize, before: &Arc<Record>, log: Log) {
        let Some(me) = self.machines[slot].process.as_ref().map(|process| process.member()) else { return };
        let (epoch, cause) = (me.epoch_after(before.epoch.number), Cause::Recovered { seal: 1 });
        let end = log.end();
        let record = Arc::new(before.succeeded(me, epoch, Default::default(), end, (cause, ChainHome::Store)));
        // One at a time, on a machine.
        if self.machines[slot].replica(session).is_some_and(|replica| replica.leader().is_some()) {
            return;
        }
        self.create(session, &record);
        if self.store.newest(session) == Some(&record) {
            self.lead_from_store(slot, session, record, log);
        }
    }

    /// A session goes on on a machine with what the store has of it. What followed it there is of no use any more.
    pub fn lead_from_store(&mut self, slot: usize, session: usize, record: Arc<Record>, log: Log) {
        let follower = self.machines[slot].replica(session).and_then(|replica| replica.follower());
        if follower.is_some_and(|follower| follower.knows_newer(&record)) {
            self.say(slot, format_args!("{session}: what is in the store is of a branch that is over"));
            return;
        }
        let replica = self.machines[slot].process.as_mut().and_then(|it| it.replicas[session].take());
        let saw = replica.and_then(|replica| replica.saw);
        let (end, former, killers) = (log.end(), Default::default(), Vec::new());
        let mut replica = Replica { log, saw, role: None, ..Replica::empty() };
        let (committed, is_complete, has_stalled, has_died) = (end, true, false, false);
        let promotion = Promotion { record, end, committed, is_complete, former, has_stalled, has_died, killers };
        self.promoted(slot, session, &mut replica, promotion);
        self.drain_all(slot, session, &mut replica);
        if let Some(process) = self.machines[slot].process.as_mut() {
            process.replicas[session] = Some(replica);
        }
    }
}
