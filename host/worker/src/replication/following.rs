//! A session that another worker leads: the core's follower, the log since a checkpoint, the fold as far as it has come.
//! Restores and folds in slices, off everybody's path; keeps two checkpoints, of which the older is one that nothing can
//! withdraw.
//!
//! One of a game that says so **keeps the log**, and folds it only before it leads: its checkpoints are its leader's.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringside_core::ids::{Position, SessionId};
use ringside_core::leadership::message::{Mark, Message, Output, Party, Promotion};
use ringside_core::leadership::record::{Cause, Member, Terms};
use ringside_core::leadership::{Follower, newer};
use ringside_core::limits;
use ringside_core::log::{Input, Record};
use ringside_core::recording::About;
use ringside_sandbox::{Fold, FoldError, FoldOptions, Module, Rebuild, State, Step};

use super::comparing::{Comparing, Comparison};
use super::wire::CheckpointHead;
use super::{Branches, Change, Clock, Keeping, Kept, Lead, Phase, keeps_log};
use crate::arena::Arena;
use crate::limits::HISTORY;
use crate::standby::Standbys;

/// Of the chunks that bodies of its log are copied into: smaller than a leader's, for a node follows as many quiet sessions.
const ARENA_BYTES: usize = 4 << 10;

/// A session that is followed.
pub(crate) struct Following {
    pub id: SessionId,
    pub module: Module,
    pub terms: Terms,
    pub core: Follower,
    clock: Clock,
    fold: Option<Fold>,
    restore: Option<Rebuild>,
    /// The state that the log begins after.
    base: Option<Arc<State>>,
    /// A later one, for when everything before it is committed.
    next_base: Option<Arc<State>>,
    /// One that came before its entries did.
    ahead: Option<(Member, CheckpointHead, Arc<State>)>,
    captured: Instant,
    log: VecDeque<Record>,
    pub branches: Branches,
    pub history: Vec<Change>,
    /// A promotion that waits until the fold has all of the log.
    pub promotion: Option<Promotion>,
    /// What the core said that the worker has not done yet.
    pub todo: VecDeque<Output>,
    /// The entries that came with the message that is being handled.
    batch: (Position, Vec<Record>),
    /// Whether packets about it are handled at once.
    pub is_prompt: bool,
    /// Bodies of its log: copied into chunks of its own, so that an entry costs no allocation and pins no frame.
    arena: Arena<ARENA_BYTES>,
    pub linked: BTreeSet<Member>,
    /// Connections that wait here for a promotion.
    pub standbys: Standbys,
    /// When it was spoken to last.
    pub heard: Instant,
    /// When the entry of its last tick came.
    pub ticked: Option<Instant>,
    /// It begins again from the store, by its promotion, and follows nobody.
    pub is_restored: bool,
    /// It keeps the log, and folds it only where it must; none where it replays.
    pub keeping: Option<Keeping>,
    /// For how long nobody led it then.
    pub slept: Duration,
    comparing: Comparing,
}

/// What is left of a session, or begins one, for a follower.
pub(crate) struct Remains {
    pub fold: Option<Fold>,
    pub restore: Option<Rebuild>,
    pub base: Option<Arc<State>>,
    pub log: Vec<Record>,
    pub branches: Branches,
    pub history: Vec<Change>,
}

impl Following {
    pub fn new(
        id: SessionId,
        module: Module,
        terms: Terms,
        (core, clock): (Follower, Clock),
        remains: Remains,
        now: Instant,
    ) -> Following {
        let keeping = keeps_log(&module, &terms).then(Keeping::default);
        Following {
            id,
            module,
            terms,
            core,
            clock,
            fold: remains.fold,
            restore: remains.restore,
            base: remains.base,
            next_base: None,
            ahead: None,
            captured: now,
            log: remains.log.into(),
            branches: remains.branches,
            history: remains.history,
            promotion: None,
            todo: VecDeque::new(),
            batch: (0, Vec::new()),
            is_prompt: false,
            arena: Arena::new(),
            linked: BTreeSet::new(),
            standbys: Standbys::default(),
            heard: now,
            ticked: None,
            is_restored: false,
            keeping,
            slept: Duration::ZERO,
            comparing: Comparing::default(),
        }
    }

    /// Whether it folds what it has.
    fn folds(&self, now: Instant) -> bool {
        let leads = self.promotion.is_some() || self.is_restored;
        self.keeping.as_ref().is_none_or(|keeping| keeping.folds(now, leads, self.log.len()))
    }

    /// Lets go of a fold that is not kept up.
    pub fn rest(&mut self, now: Instant) {
        let has_one = self.fold.is_some() || self.restore.is_some();
        if has_one && !self.folds(now) {
            (self.fold, self.restore) = (None, None);
            self.core.handle_unfolded(self.base_position());
        }
    }

    /// Does something with the core, in a turn that has begun for it; what it says is done next.
    pub fn with_core(&mut self, now: Instant, act: impl FnOnce(&mut Follower, u64)) {
        if self.is_restored {
            return;
        }
        let us = self.clock.us(now);
        self.core.handle_turn(us);
        self.pump();
        act(&mut self.core, us);
        self.pump();
    }

    /// A message has come, with the entries that a batch brings.
    pub fn hear(&mut self, now: Instant, from: Party, message: Message, entries: Vec<Record<&[u8]>>) {
        self.heard = now;
        if let Message::Append(append) = &message {
            let own = entries.into_iter().map(|entry| entry.map(|body| self.arena.copy(body)));
            self.batch = (append.from, own.collect());
        }
        self.with_core(now, |core, us| core.handle_message(us, from, message));
        self.batch = (0, Vec::new());
        let end = self.core.end();
        if let Some((from, head, state)) = self.ahead.take_if(|(_, head, _)| head.position <= end) {
            self.update(from, head, state);
        } else if self.keeping.is_some() {
            self.cut();
        }
    }

    /// When the core wants its turn.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.core.next_timeout().filter(|_| !self.is_restored).map(|us| self.clock.instant(us))
    }

    /// Keeps and forgets entries as the core says; the rest is the worker's to do.
    fn pump(&mut self) {
        while let Some(output) = self.core.poll() {
            match output {
                Output::Keep { from, to } => self.keep(from, to),
                Output::Truncate { to } => self.truncate(to),
                Output::Lead(promotion) => {
                    Phase::Grant.at_target(&self.id);
                    self.promotion = Some(promotion);
                }
                output => self.todo.push_back(output),
            }
        }
    }

    fn keep(&mut self, from: Position, to: Position) {
        let (before, entries) = (self.batch.0, std::mem::take(&mut self.batch.1));
        let skipped = (from - 1 - before) as usize;
        for entry in entries.into_iter().skip(skipped).take((to + 1 - from) as usize) {
            self.core.handle_entry(&entry.input);
            if matches!(entry.input, Input::Tick) {
                self.ticked = Some(self.heard);
            }
            self.log.push_back(entry);
        }
    }

    /// Entries after a position never were: the fold goes back to a checkpoint where it has had some of them.
    fn truncate(&mut self, to: Position) {
        self.log.retain(|entry| entry.position <= to);
        if self.next_base.as_ref().is_some_and(|state| state.position() > to) {
            self.next_base = None;
        }
        self.ahead = None;
        self.comparing.truncate(to);
        if self.applied() > to || self.restore.is_some() {
            (self.fold, self.restore) = (None, None);
        }
        if self.base_position() > to {
            // What it began with never was, either: it has nothing.
            (self.base, self.next_base) = (None, None);
            self.comparing = Comparing::default();
            self.log.clear();
            self.core.handle_lost();
        }
    }

    /// Up to where its fold is.
    pub fn applied(&self) -> Position {
        self.fold.as_ref().map_or(0, Fold::position)
    }

    fn base_position(&self) -> Position {
        self.base.as_ref().map_or(0, |state| state.position())
    }

    /// The newest state that it has, of which the next one may be an increment.
    pub fn newest_base(&self) -> Option<Arc<State>> {
        let ahead = self.ahead.as_ref().map(|(_, _, state)| state);
        ahead.or(self.next_base.as_ref()).or(self.base.as_ref()).cloned()
    }

    /// Whether there is something to fold.
    pub fn has_work(&self, now: Instant) -> bool {
        if !self.folds(now) {
            return false;
        }
        let end = self.log.back().map_or(self.base_position(), |entry| entry.position);
        end > self.applied() || self.restore.is_some() || self.comparing.has_work()
    }

    /// Folds for about `budget`.
    ///
    /// # Errors
    /// An entry that its leader has folded and this worker cannot.
    pub fn work(&mut self, now: Instant, budget: Duration) -> Result<(), FoldError> {
        let begun = Instant::now();
        self.restore(budget)?;
        let Some(fold) = &mut self.fold else { return Ok(()) };
        let mut outputs = Vec::new();
        let first = self.log.front().map_or(0, |entry| entry.position);
        let mut at = (fold.position() + 1).saturating_sub(first) as usize;
        while let Some(entry) = self.log.get(at) {
            outputs.clear();
            note_change(&mut self.history, entry);
            if let Input::Leadership { record } = &entry.input
                && Branches::begins(record.cause)
                && !self.branches.knows(record.epoch)
            {
                self.branches.begin(record.epoch, fold);
            }
            fold.replay(entry, &mut outputs)?;
            self.core.handle_applied(Mark { position: entry.position, hash: fold.output_hash() });
            self.comparing.pass(fold);
            at += 1;
            if begun.elapsed() >= budget {
                break;
            }
        }
        self.comparing.work(budget.saturating_sub(begun.elapsed()));
        self.compare();
        self.pump();
        self.capture_if_due(now);
        Ok(())
    }

    /// Its leader says something of a state that is compared. One that does not fold takes no part.
    pub fn take_comparison(&mut self, from: Member, said: Comparison) {
        if !self.may_lead(from) {
            return;
        }
        let Some(fold) = &mut self.fold else { return };
        self.comparing.told(said);
        self.comparing.pass(fold);
        self.compare();
        self.pump();
    }

    fn compare(&mut self) {
        if let Some((leader, own)) = self.comparing.difference() {
            self.core.handle_difference(leader, own);
        }
    }

    fn restore(&mut self, budget: Duration) -> Result<(), FoldError> {
        if self.fold.is_some() {
            return Ok(());
        }
        if self.base.is_none() && self.log.front().is_none_or(|entry| entry.position != 1) {
            return Ok(());
        }
        // A log that is folded from its beginning has its branches from there on, whoever leads now: its leader says more.
        if let (None, None, Some(first)) = (&self.restore, &self.base, self.core.lineage().terms().first())
            && !self.branches.knows(first.epoch)
        {
            self.branches = Branches::new(first.epoch);
        }
        let (module, base) = (&self.module, &self.base);
        let restore =
            self.restore.get_or_insert_with(|| Rebuild::new(module, base.clone(), Vec::new(), FoldOptions::default()));
        if let Step::Done(fold) = restore.step(budget)? {
            (self.fold, self.restore) = (Some(*fold), None);
        }
        Ok(())
    }

    /// Begins the log after the last checkpoint that is committed, unless a fold needs what is before it.
    fn cut(&mut self) {
        let committed = self.core.committed();
        let next = self.next_base.as_ref().map_or(0, |state| state.position());
        if self.restore.is_some() || self.fold.as_ref().is_some_and(|fold| fold.position() < next) {
            return;
        }
        // Should the states differ, this tells since when; but not for ever.
        if self.comparing.is_pending() && (self.log.len() as u64) < 2 * limits::CHECKPOINT_ENTRIES {
            return;
        }
        if let Some(state) = self.next_base.take_if(|state| state.position() <= committed) {
            let position = state.position();
            self.base = Some(state);
            let cut = self.log.partition_point(|entry| entry.position <= position);
            self.log.drain(..cut).for_each(|entry| note_change(&mut self.history, &entry));
            if self.fold.is_none() {
                self.core.handle_unfolded(position);
            }
        }
    }

    /// Takes a checkpoint now and then.
    fn capture_if_due(&mut self, now: Instant) {
        self.cut();
        let interval = Duration::from_micros(limits::CHECKPOINT_INTERVAL_US);
        let is_due = self.log.len() as u64 >= limits::CHECKPOINT_ENTRIES || now >= self.captured + interval;
        if is_due
            && self.next_base.is_none()
            && let Some(fold) = &mut self.fold
            && fold.position() > self.base.as_ref().map_or(0, |state| state.position())
        {
            self.captured = now;
            self.next_base = fold.capture().ok().map(Arc::new);
        }
    }

    /// Whether somebody leads it, as far as is known here.
    fn may_lead(&self, who: Member) -> bool {
        self.core.record().is_none_or(|record| record.leader == who)
    }

    /// The leader's branches have come. Whoever leads knows all that there are.
    pub fn take_branches(&mut self, from: Member, branches: Branches) {
        if self.may_lead(from) {
            self.replace_branches(branches);
        }
    }

    /// What was on its way for long may lack what was said since then.
    fn replace_branches(&mut self, branches: Branches) {
        let before = std::mem::replace(&mut self.branches, branches);
        self.branches.learn(&before);
    }

    /// Who has led, as the leader knows.
    pub fn take_history(&mut self, from: Member, mut changes: Vec<Change>) {
        if self.may_lead(from) {
            let beyond = changes.len().saturating_sub(HISTORY);
            self.history = changes.split_off(beyond);
        }
    }

    /// The leader's checkpoint has come.
    pub fn restore_from(&mut self, now: Instant, from: Member, head: CheckpointHead, state: Arc<State>) {
        if head.position <= self.core.end() {
            // It had caught up meanwhile, or keeps the log and is sent each.
            if self.keeping.is_some() {
                self.update(from, head, state);
            }
            return;
        }
        if !self.core.wants_checkpoint(head.position, &head.lineage) {
            return;
        }
        if self.keeping.is_some() && self.core.counts() {
            // It is about to get the entries, and whoever counts lets go of none that may be committed.
            self.ahead = Some((from, head, state));
            return;
        }
        self.heard = now;
        (self.fold, self.restore, self.next_base, self.ahead) = (None, None, None, None);
        self.comparing = Comparing::default();
        self.log.clear();
        self.base = Some(state);
        self.replace_branches(head.branches);
        self.with_core(now, |core, us| core.handle_checkpoint(us, head.position, head.lineage));
    }

    /// A later state of the log that it keeps, if it is one of it: entries before it are not needed once it is committed.
    fn update(&mut self, from: Member, head: CheckpointHead, state: Arc<State>) {
        let newest = self.next_base.as_ref().or(self.base.as_ref()).map_or(0, |state| state.position());
        let end = self.core.end();
        let is_ours = self.core.lineage().common(end, &head.lineage, head.position) == head.position;
        if is_ours && head.position > newest {
            self.next_base = Some(state);
            self.take_branches(from, head.branches);
            self.cut();
        }
    }

    /// Its side of a divergence; none while it has no fold.
    pub fn divergence(&mut self, about: About) -> Option<Kept> {
        let epoch = self.core.record()?.epoch;
        let fold = self.fold.as_mut()?;
        let (records, base) = (self.log.iter().cloned().collect(), self.base.clone());
        Some(Kept::new((self.id.clone(), epoch), about, fold, base, records, self.core.marks()))
    }

    /// Whether it has folded everything, so that it may lead.
    pub fn is_ready(&self) -> bool {
        self.fold.is_some() && self.applied() == self.core.end()
    }

    /// What a leader goes on from: the fold, its last checkpoint and the log since. None before it has a fold.
    pub fn take_parts(&mut self) -> Option<(Fold, Option<Arc<State>>, Vec<Record>)> {
        Some((self.fold.take()?, self.base.take(), std::mem::take(&mut self.log).into()))
    }

    /// Whether packets about it are to be handled at once: its leader answers players at once and not at the next tick, or it
    /// has not caught up.
    pub fn wants_packets(&self) -> bool {
        self.module.description().tick_rate == 0 || !self.core.counts()
    }

    /// Whether the session is over, as far as it has folded.
    pub fn has_ended(&self) -> bool {
        self.fold.as_ref().is_some_and(|fold| fold.ending().is_some())
    }

    /// Whether players who wait here are to be told that they do; once.
    pub fn begins_pause(&mut self) -> bool {
        let is_folding = self.promotion.is_some() && !self.is_ready();
        self.keeping.as_mut().is_some_and(|keeping| is_folding && !std::mem::replace(&mut keeping.has_paused, true))
    }

    /// What it has cannot be folded: it must not count.
    pub fn give_up(&mut self, now: Instant) {
        (self.fold, self.restore) = (None, None);
        self.with_core(now, |core, _| core.handle_lost());
    }
}

/// Remembers that an entry changes the leader, unless that is known: a log may be folded again.
fn note_change(history: &mut Vec<Change>, entry: &Record) {
    let Input::Leadership { record } = &entry.input else { return };
    let is_change = !matches!(record.cause, Cause::Admitted | Cause::Removed);
    if is_change && history.last().is_none_or(|last| newer(record.epoch, last.epoch)) {
        Lead::changed(history, record);
    }
}

#[cfg(test)]
mod tests {
    use ringside_core::ids::{Node, NodeId, WorkerId};
    use ringside_core::leadership::record;
    use ringside_core::log::Outcome;

    use super::*;

    #[test]
    fn a_log_that_is_folded_again_changes_no_history() {
        let leader = Member { node: Node { id: NodeId(1), generation: 1 }, worker: WorkerId(0) };
        let first = record::Record::first("arena/a@0000000000000001".parse().unwrap(), leader);
        let entry = |position, cause| {
            let epoch = leader.node.first_epoch();
            let epoch = ringside_core::ids::Epoch { number: epoch.number + position, ..epoch };
            let record = Box::new(record::Record { position, epoch, cause, ..first.clone() });
            Record { position, time_us: 0, input: Input::Leadership { record }, outcome: Outcome::Applied }
        };
        let log = [entry(1, Cause::Promoted), entry(2, Cause::Admitted), entry(3, Cause::Promoted)];
        let mut history = Vec::new();
        log.iter().chain(&log).for_each(|entry| note_change(&mut history, entry));
        assert_eq!(history.iter().map(|change: &Change| change.position).collect::<Vec<_>>(), [1, 3]);
    }
}
