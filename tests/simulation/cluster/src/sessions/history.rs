//! The checks on what the core's outputs mean against what really is.

use std::sync::Arc;

use ringside_core::ids::{Epoch, Position};
use ringside_core::leadership::message::{Promotion, Release};
use ringside_core::leadership::record::{Cause, Member, PartitionPolicy, Record, Tier};
use ringside_core::leadership::{Leader, newer};

use super::conditions::Condition;
use super::log::PLAYERS;
use super::machine::Replica;
use super::plan::Mode;
use super::plant::Plant;
use super::world::World;

impl World {
    fn is_consistent(&self, session: usize) -> bool {
        self.terms[session].policy == PartitionPolicy::Consistent
    }

    /// Whether nothing committed may be withdrawn: of a consistent session never, of an available one only if the cluster
    /// was cut in two, which in a bounded run it is not.
    fn keeps_committed(&self, session: usize) -> bool {
        self.is_consistent(session) || self.plan.mode == Mode::Bounded
    }

    /// A leader releases.
    pub fn released(&mut self, slot: usize, session: usize, replica: &mut Replica, mut release: Release) {
        let Some(leader) = replica.leader() else { return };
        let (epoch, record, end) = (leader.epoch(), leader.record().clone(), replica.log.end());
        let (before, is_degraded) = (replica.release, leader.is_degraded());
        self.stale_releases_nothing(slot, session, epoch);
        if self.is_planted(Plant::ReleasesEarly) && !is_degraded {
            (release.up_to, release.committed) = (end, end);
        }
        if is_degraded && self.is_planted(Plant::CommitsWhileDegraded) {
            release.committed = release.up_to;
        }
        if is_degraded && self.is_planted(Plant::NamesTheWrongTier) {
            release.tier = self.terms[session].tier;
        }
        self.honest_when_degraded(session, is_degraded, before, release);
        if release.tier != Tier::Volatile {
            self.safe_everywhere(slot, session, replica, &record, release.up_to);
        }
        self.may_release(slot, session, epoch, &record);
        if release.tier == self.terms[session].tier {
            replica.safe = replica.safe.max(release.up_to);
        }
        let hash = replica.log.state(release.committed).map_or(0, |state| state.hash);
        if release.committed > self.truth.committed[session].0 {
            self.truth.committed[session] = (release.committed, hash);
            self.truth.committed_in[session] = Some(epoch);
        }
        replica.release = Some(release);
    }

    /// A leader may release now: nobody else leads, and nobody who counts may come to.
    pub fn may_release(&mut self, slot: usize, session: usize, epoch: Epoch, record: &Record) {
        self.right_is_good(session, slot, record);
        // What is released of a sealed log was in it before, and whoever took it over has it.
        if self.is_consistent(session) && !self.truth.is_taken_over(session, epoch) {
            let newest = self.truth.newest[session].map(|(newest, _)| newest);
            self.checks.check(Condition::OneReleases, newest == Some(epoch), || {
                format!("m{slot} may release {session} in {epoch:?}, {newest:?} leads")
            });
        }
    }

    fn honest_when_degraded(&mut self, session: usize, is_degraded: bool, before: Option<Release>, release: Release) {
        let stood = before.is_none_or(|before| before.committed == release.committed);
        let is_honest = !is_degraded || release.tier == Tier::Volatile && stood;
        self.checks.check(Condition::DegradedSaysSo, is_honest, || format!("{session}: {before:?}, then {release:?}"));
    }

    fn safe_everywhere(&mut self, slot: usize, session: usize, mine: &Replica, record: &Record, up_to: Position) {
        let Some(state) = mine.log.state(up_to) else { return };
        for who in &record.in_sync {
            let machine = &self.machines[self.slot_of(*who)];
            let Some(theirs) = machine.replica(session).filter(|_| machine.runs(*who)) else { continue };
            if theirs.saw.is_some_and(|saw| newer(saw, record.epoch)) {
                // It follows another leader. Whether it may is another condition's.
                continue;
            }
            let has = theirs.log.state(up_to).map(|state| state.hash);
            self.checks.check(Condition::ReleaseSafe, has == Some(state.hash), || {
                format!("m{slot} releases {session} up to {up_to}, {who} has {has:?} of {:x}", state.hash)
            });
        }
        if self.terms[session].tier == Tier::Durable && up_to > 0 {
            let is_stored = self.store.has(session, up_to, state.hash);
            self.checks.check(Condition::ReleaseSafe, is_stored, || format!("{up_to} of {session} is not stored"));
        }
    }

    /// The right that somebody releases by ends before the promise of whoever counts.
    fn right_is_good(&mut self, session: usize, slot: usize, record: &Record) {
        let now = self.now();
        for who in &record.in_sync {
            let machine = &self.machines[self.slot_of(*who)];
            let jumped = machine.jumped_at.is_some_and(|at| at + 1_000_000 > now);
            let Some(follower) = machine.replica(session).filter(|_| machine.runs(*who) && !jumped) else { continue };
            let Some(follower) = follower.follower() else { continue };
            let until = machine.real(follower.promised_until());
            self.checks.check(Condition::PromiseOutlastsRight, until >= now, || {
                format!("m{slot} releases {session}, the promise of {who} is over since {until}")
            });
        }
    }

    /// Somebody begins to lead in a new epoch.
    pub fn begins(&mut self, slot: usize, session: usize, replica: &mut Replica, record: &Arc<Record>) {
        let is_first = self.truth.leads(session, record.epoch, record.leader);
        self.checks
            .check(Condition::OneLeaderPerEpoch, is_first, || format!("m{slot} in {:?} of {session}", record.epoch));
        replica.sees(record.epoch);
        self.end_gap(session);
    }

    /// Whoever comes to lead a consistent session has what was committed in the epochs before. One that stood still since its
    /// record was made hears at once of the epoch that followed, in which more may have been committed.
    pub fn inherits(&mut self, session: usize, replica: &Replica, epoch: Epoch) {
        let (position, hash) = self.truth.committed[session];
        let has = replica.log.state(position).map(|state| state.hash);
        let is_later = self.truth.committed_in[session].is_some_and(|committed_in| newer(committed_in, epoch));
        if self.keeps_committed(session) && !is_later {
            self.checks.check(Condition::CommittedKept, position == 0 || has == Some(hash), || {
                format!("{session}: {position} was committed as {hash:x}, the new leader has {has:x?}")
            });
        }
    }

    /// A follower forgets entries.
    pub fn truncated(&mut self, slot: usize, session: usize, replica: &Replica, to: Position) {
        let (position, hash) = self.truth.committed[session];
        let had = position > 0 && replica.log.state(position).is_some_and(|state| state.hash == hash);
        self.say(slot, format_args!("{session}: truncates to {to}"));
        if self.keeps_committed(session) && had {
            self.checks.check(Condition::CommittedKept, to >= position, || {
                format!("m{slot} truncates {session} to {to}, {position} was committed")
            });
        }
    }

    /// A follower was told what the leader's fold came to.
    pub fn compared(&mut self, slot: usize, session: usize, replica: &Replica, mark: Option<(Epoch, Position)>) {
        let Some((epoch, position)) = mark.filter(|(epoch, _)| replica.acknowledged == Some(*epoch)) else { return };
        let differs = replica.damage.is_some_and(|from| from <= position && position <= replica.log.end());
        if differs && replica.follower().is_some() {
            self.checks.check(Condition::DivergenceReported, replica.has_diverged, || {
                format!("m{slot} has another state of {session} at {position} than {epoch:?} says")
            });
        }
    }

    /// Of two branches one was found to go on.
    pub fn healed(&mut self, session: usize, replica: &Replica, record: &Record, verdict: Option<Epoch>) {
        let Cause::Healed { over } = record.cause else { return };
        // Whoever waited in vain was not told a verdict.
        if verdict != Some(over) {
            return;
        }
        let losers = self.machines.iter().filter_map(|machine| machine.replica(session));
        let Some(loser) = losers.into_iter().find(|it| it.leader().is_some_and(|it| it.epoch() == over)) else {
            return;
        };
        let fork = record.lineage.common(
            replica.log.end(),
            &loser.leader().map(Leader::record).map_or_else(Default::default, |it| it.lineage.clone()),
            loser.log.end(),
        );
        let (mine, theirs) = (replica.log.inputs_since(fork), loser.log.inputs_since(fork));
        self.checks.check(Condition::HealedRight, mine >= theirs, || {
            format!("{session}: a branch of {mine} inputs goes on over one of {theirs}")
        });
    }

    /// A follower promotes itself: within the bounds only over one that is gone.
    pub fn false_promotion(&mut self, session: usize, me: Member, promotion: &Promotion) {
        if self.plan.mode != Mode::Bounded || promotion.record.cause != Cause::Promoted {
            return;
        }
        let now = self.now();
        let before = promotion.record.number - 1;
        let Some(before) = self.truth.records[session].iter().rev().find(|record| record.number == before) else {
            return;
        };
        let machine = &self.machines[self.slot_of(before.leader)];
        let (from, to) = machine.stall;
        let is_stalled = to - from > 300_000 && to + 1_500_000 > now;
        let is_justified = !machine.runs(before.leader) || is_stalled;
        let leader = before.leader;
        self.checks.check(Condition::NoFalsePromotion, is_justified, || format!("{me} over {leader} of {session}"));
    }

    /// At the end: what players were promised against the logs that there are.
    pub fn settle_histories(&mut self) {
        (0..self.terms.len()).for_each(|session| self.settle(session));
    }

    /// The same of a session.
    pub fn settle(&mut self, session: usize) {
        let Some(slot) = self.leader_of(session) else { return };
        let Some(replica) = self.machines[slot].replica(session) else { return };
        let mut log = replica.log.clone();
        if self.is_planted(Plant::LosesTheTail) {
            log.truncate(log.end().saturating_sub(20));
        }
        let mut settled: Vec<Vec<(u64, Position)>> = vec![Vec::new(); PLAYERS];
        for (at, entry) in log.entries().iter().enumerate() {
            if let super::log::Item::Input { player, number } = entry.item {
                settled[player].push((number, at as Position + 1));
            }
        }
        let last = log.newest().last;
        let Some(epoch) = replica.leader().map(Leader::epoch) else { return };
        for player in 0..PLAYERS {
            self.settle_history(session, player, epoch, &settled[player], last[player]);
        }
    }
}
