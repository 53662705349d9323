//! What a session that is replicated has beside its log and fold while this worker leads it: the core's leader, entries
//! that followers may still lack, what waits for a release.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use ringside_core::ids::{Epoch, Position, Slot};
use ringside_core::leadership::message::{Mark, Output};
use ringside_core::leadership::record::{Member, Terms};
use ringside_core::leadership::{Leader, record};
use ringside_core::log::{Input, Record};
use ringside_core::output::Output as GuestOutput;
use ringside_protocol::reason::Reason;
use ringside_sandbox::State;

use super::gates::{self, Gates};
use super::{Branches, Change, Clock, ReplicationReport};
use crate::limits::{UNRELEASED_ENTRIES, WINDOW_ENTRIES};

/// A session's leadership.
pub(crate) struct Lead {
    pub core: Leader,
    pub terms: Terms,
    clock: Clock,
    /// What the core said that the worker has not done yet; good for the turn in which it was said.
    pub todo: VecDeque<Output>,
    pub gates: Gates,
    /// Entries before the session's checkpoint that a follower may still lack.
    window: VecDeque<Record>,
    /// Player inputs in the log so far, at entries that matter: where a record was put in.
    counts: VecDeque<(Position, u64)>,
    inputs: u64,
    pub branches: Branches,
    pub history: Vec<Change>,
    /// To whom a checkpoint is on its way, since when.
    pub sending: BTreeMap<Member, Instant>,
    /// Whose links it holds.
    pub linked: BTreeSet<Member>,
    /// Views pause: somebody else may be showing others.
    pub is_paused: bool,
    /// Whether it took no inputs when this was looked at last.
    pub was_stopped: bool,
    /// Number and epoch of the record that the node was told last.
    pub told: Option<(Epoch, u64)>,
}

impl Lead {
    pub fn new(core: Leader, terms: Terms, clock: Clock, branches: Branches, history: Vec<Change>, tick: u64) -> Lead {
        let gates = Gates::new(core.committed(), tick);
        Lead {
            core,
            terms,
            clock,
            todo: VecDeque::new(),
            gates,
            window: VecDeque::new(),
            counts: VecDeque::new(),
            inputs: 0,
            branches,
            history,
            sending: BTreeMap::new(),
            linked: BTreeSet::new(),
            is_paused: false,
            was_stopped: false,
            told: None,
        }
    }

    /// Whether an input may be appended now.
    pub fn takes_inputs(&self) -> bool {
        let is_bounded = self.core.end() < self.gates.release().up_to.saturating_add(UNRELEASED_ENTRIES);
        is_bounded && self.core.may_append().is_ok()
    }

    /// Whether something waits for followers or the store.
    pub fn waits(&self) -> bool {
        !self.gates.is_released(self.core.end())
    }

    /// What the core's clock says.
    pub fn us(&self, now: Instant) -> u64 {
        self.clock.us(now)
    }

    /// When the core wants its turn.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.core.next_timeout().map(|us| self.clock.instant(us))
    }

    /// An entry was applied, and put these out: it is appended, and what it caused waits for it.
    pub fn append(&mut self, now: Instant, position: Position, input: &Input, outputs: &[GuestOutput], tick: u64) {
        let appended = self.core.handle_append(self.clock.us(now));
        debug_assert_eq!(appended.ok(), Some(position), "the core and the fold count alike");
        self.note(position, input, outputs, tick);
    }

    /// What an entry in the log causes when it is released.
    pub fn note(&mut self, position: Position, input: &Input, outputs: &[GuestOutput], tick: u64) {
        match input {
            Input::Tick => self.gates.tick(position, tick),
            Input::Message { .. } | Input::Datagram { .. } => self.inputs += 1,
            _ => {}
        }
        for output in outputs {
            if let GuestOutput::Send { slot, number, .. } = output {
                self.gates.output(position, *slot, *number);
            }
        }
    }

    /// A player's message is an entry: it is acknowledged when that is released.
    pub fn acknowledge_later(&mut self, position: Position, slot: Slot, number: u64, rejected: Option<Reason>) {
        self.gates.input(position, gates::Input { slot, number, rejected });
    }

    /// A record was put into the log.
    pub fn recorded(&mut self, record: &record::Record) {
        self.counts.push_back((record.position, self.inputs));
        if self.counts.len() > ringside_core::limits::LINEAGE {
            self.counts.pop_front();
        }
    }

    /// Player inputs after a position: exact from the newest record before it on, for forks begin at records.
    pub fn inputs_after(&self, since: Position) -> u64 {
        let before = self.counts.iter().rev().find(|(position, _)| *position <= since.saturating_add(1));
        self.inputs - before.map_or(0, |(_, inputs)| *inputs)
    }

    /// The fold is at its end, with this hash of outputs; the turn's entries are sent.
    pub fn flush(&mut self, now: Instant, mark: Mark) {
        self.core.handle_mark(mark);
        self.core.handle_flush(self.clock.us(now));
    }

    /// A checkpoint was taken: the entries before it may still be wanted for a while.
    pub fn keep(&mut self, log: &mut Vec<Record>) {
        self.window.extend(log.drain(..));
        while self.window.len() > WINDOW_ENTRIES {
            self.window.pop_front();
        }
    }

    /// The entries after one position up to another; none if they are not kept any more.
    pub fn entries(&self, log: &[Record], from: Position, to: Position) -> Option<Vec<Record>> {
        if from == to {
            return Some(Vec::new());
        }
        let all = self.window.iter().chain(log);
        let found: Vec<Record> =
            all.skip_while(|entry| entry.position <= from).take_while(|entry| entry.position <= to).cloned().collect();
        let is_whole = found.first()?.position == from + 1 && found.last()?.position == to;
        is_whole.then_some(found)
    }

    /// Somebody leads in a new epoch.
    pub fn changed(history: &mut Vec<Change>, record: &record::Record) {
        let position = record.position;
        history.push(Change { leader: record.leader, epoch: record.epoch, position, cause: record.cause });
        if history.len() > crate::limits::HISTORY {
            history.remove(0);
        }
    }

    /// What is known of it, given its last checkpoint.
    pub fn report(&self, checkpoint: Option<&State>) -> ReplicationReport {
        ReplicationReport {
            record: Some(self.core.record().clone()),
            terms: self.terms.clone(),
            is_leader: true,
            is_degraded: self.core.is_degraded(),
            end: self.core.end(),
            committed: self.core.committed(),
            checkpoint: checkpoint.map_or(0, State::position),
            lags: self.core.lags().collect(),
            history: self.history.clone(),
        }
    }
}
