//! What a session that is replicated has beside its log and fold while this worker leads it: the core's leader, entries
//! that followers may still lack, what waits for a release.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use ringside_core::ids::{Epoch, Position, SessionId, Slot};
use ringside_core::leadership::leader::NotNow;
use ringside_core::leadership::lineage::Lineage;
use ringside_core::leadership::message::{Mark, Output};
use ringside_core::leadership::record::{Member, Terms, Tier};
use ringside_core::leadership::{Leader, record};
use ringside_core::log::{Input, Record};
use ringside_core::output::Output as GuestOutput;
use ringside_protocol::reason::Reason;
use ringside_sandbox::{Module, State};

use super::comparing::Compared;
use super::gates::{self, Gates};
use super::{Branches, Change, Clock, Moving, Phase, ReplicationReport, keeps_log};
use crate::command::Pause;
use crate::limits::{CHECKPOINT_SENDING, UNRELEASED_ENTRIES, WINDOW_ENTRIES};

/// Player inputs of a log before a record in it.
struct Count {
    position: Position,
    inputs: u64,
    /// Where those of them are that were not released then: at most [`UNRELEASED_ENTRIES`], and in all counts together few, for
    /// a record that is made says who has what.
    unreleased: Vec<Position>,
}

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
    counts: VecDeque<Count>,
    inputs: u64,
    /// Where those of them are that may not have been released; some that were may be among them.
    unreleased: VecDeque<Position>,
    pub branches: Branches,
    pub history: Vec<Change>,
    /// To whom a checkpoint is on its way, since when.
    pub sending: BTreeMap<Member, Instant>,
    /// The newest checkpoint that was sent to followers which keep the log, and the position of the one that each has.
    pub sent: Option<Arc<State>>,
    pub updated: BTreeMap<Member, Position>,
    /// Whose links it holds.
    pub linked: BTreeSet<Member>,
    /// The last checkpoint of which one side of a divergence was kept: once is enough.
    pub diverged_since: Option<Position>,
    /// What followers are told of states that are compared.
    pub compared: Compared,
    /// Views pause: somebody else may be showing others.
    pub is_paused: bool,
    /// Whether it is among those of the turn whose entries are to be sent, and among those whose are gathered.
    pub is_unflushed: bool,
    pub is_gathered: bool,
    /// Whether it took no inputs when this was looked at last.
    pub was_stopped: bool,
    /// How many players wait at each follower.
    pub standing: BTreeMap<Member, u64>,
    /// It is about to go to a follower.
    pub moving: Option<Moving>,
    /// Where its players were told to stand by.
    pub first: Option<Member>,
    /// Number and epoch of the record that the node was told last.
    pub told: Option<(Epoch, u64)>,
    /// Who counts by that.
    in_sync: BTreeSet<Member>,
    /// Up to where the log of the node was handed the entries of a durable session.
    pub logged: Position,
    /// The newest checkpoint that it was handed, and how many increments follow the last whole one there.
    pub kept: Option<Arc<State>>,
    pub increments: u32,
    /// The one that it is to be handed when followers are as far.
    pub keeping: Option<Arc<State>>,
    /// Up to where the store has its log.
    pub stored: Position,
}

/// What is kept of a leadership while a session that asks for no followers has none: such a session runs without one, for
/// nothing waits for anybody, and has another when it is to move.
pub(crate) struct Rested {
    record: Arc<record::Record>,
    pub branches: Branches,
    history: Vec<Change>,
}

impl Rested {
    /// Of a session that never had followers, in the epoch in which it began.
    pub fn begin(session: &SessionId, leader: Member, epoch: Epoch) -> Rested {
        let first = record::Record::first(session.clone(), leader);
        let record = Arc::new(record::Record { epoch, lineage: Lineage::new(epoch), ..first });
        Rested { record, branches: Branches::new(epoch), history: Vec::new() }
    }

    /// Goes on after `end`, at a tick.
    pub fn resume(self, now: Instant, (me, clock): (Member, Clock), terms: Terms, end: Position, tick: u64) -> Lead {
        let core = Leader::resumed(clock.us(now), me, terms.clone(), self.record, end);
        Lead::new(core, terms, clock, self.branches, self.history, tick)
    }
}

impl Lead {
    /// What is left of one that is not needed now.
    pub fn rest(self) -> Rested {
        Rested { record: Arc::clone(self.core.record()), branches: self.branches, history: self.history }
    }

    /// Whether the session can go on without it: nobody follows, or is to, and nothing waits.
    pub fn may_rest(&self, now: Instant) -> bool {
        self.terms.followers == 0
            && self.terms.tier == Tier::Volatile
            && self.moving.is_none()
            && self.todo.is_empty()
            && !(self.is_unflushed || self.is_gathered)
            && !self.is_paused
            && self.gates.is_empty()
            && self.core.is_alone(self.us(now))
    }

    pub fn new(core: Leader, terms: Terms, clock: Clock, branches: Branches, history: Vec<Change>, tick: u64) -> Lead {
        let gates = Gates::new(core.committed(), tick);
        let (logged, stored) = (core.end(), core.committed());
        let in_sync = core.record().in_sync.clone();
        Lead {
            core,
            terms,
            clock,
            todo: VecDeque::new(),
            gates,
            window: VecDeque::new(),
            counts: VecDeque::new(),
            inputs: 0,
            unreleased: VecDeque::new(),
            branches,
            history,
            sending: BTreeMap::new(),
            sent: None,
            updated: BTreeMap::new(),
            linked: BTreeSet::new(),
            is_paused: false,
            is_unflushed: false,
            is_gathered: false,
            was_stopped: false,
            standing: BTreeMap::new(),
            moving: None,
            diverged_since: None,
            compared: Compared::default(),
            first: None,
            told: None,
            in_sync,
            logged,
            kept: None,
            increments: 0,
            keeping: None,
            stored,
        }
    }

    /// Whether an input may be appended now.
    pub fn takes_inputs(&self) -> bool {
        self.is_bounded() && self.core.may_append().is_ok()
    }

    fn is_bounded(&self) -> bool {
        self.core.end() < self.gates.release().up_to.saturating_add(UNRELEASED_ENTRIES)
    }

    /// Why it takes no inputs, or its players see nothing new.
    pub fn pause(&self) -> Option<Pause> {
        match self.core.may_append() {
            Err(NotNow::Moving) => Some(Pause::Moving),
            Err(NotNow::Unsettled | NotNow::Over) => Some(Pause::Unsettled),
            Ok(()) if self.is_paused => Some(Pause::CutOff),
            Ok(()) => (!self.is_bounded()).then_some(Pause::Unreleased),
        }
    }

    /// Whether what it appends goes into the log of its node.
    pub fn writes_log(&self) -> bool {
        self.terms.tier == Tier::Durable && !self.core.is_fenced()
    }

    /// Whether something waits for followers or the store.
    pub fn waits(&self) -> bool {
        !self.gates.is_released(self.core.end())
    }

    /// Whether the core is to have its turn, or a move goes on.
    pub fn is_due(&self, now: Instant) -> bool {
        self.next_timeout().is_some_and(|due| due <= now)
    }

    /// Whether what was appended may leave a little later: nobody waits for it, the lead stays where it is, and nothing is
    /// due that leaves only with a flush.
    pub fn may_gather(&self, now: Instant) -> bool {
        !self.is_due(now) && self.gates.is_empty() && self.moving.is_none() && self.core.is_calm()
    }

    /// Whether a flush has something to say, be it only what the core holds back.
    pub fn has_to_flush(&self) -> bool {
        self.has_unsent() || self.core.has_to_flush()
    }

    /// Whether there is something for followers or the log of the node.
    pub fn has_unsent(&self) -> bool {
        self.core.has_unsent() || self.writes_log() && self.logged < self.core.end()
    }

    /// What the core's clock says.
    pub fn us(&self, now: Instant) -> u64 {
        self.clock.us(now)
    }

    /// When the core wants its turn, or a move goes on.
    pub fn next_timeout(&self) -> Option<Instant> {
        let core = self.core.next_timeout().map(|us| self.clock.instant(us));
        let moving = self.moving.as_ref().and_then(Moving::next_wake);
        [core, moving].into_iter().flatten().min()
    }

    /// When a message that is held back because it may kill the process may run, if the clock is what it waits for.
    pub fn suspects_due(&self) -> Option<Instant> {
        self.core.suspects_due().filter(|due| *due > 0).map(|us| self.clock.instant(us))
    }

    /// Whether one may run now.
    pub fn has_suspects_due(&self) -> bool {
        self.core.suspects_due() == Some(0)
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
            Input::Message { .. } | Input::Datagram { .. } => {
                self.inputs += 1;
                self.unreleased.push_back(position);
                self.forget_released();
            }
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

    fn forget_released(&mut self) {
        let up_to = self.gates.release().up_to;
        while self.unreleased.front().is_some_and(|position| *position <= up_to) {
            self.unreleased.pop_front();
        }
    }

    /// A record was put into the log.
    pub fn recorded(&mut self, record: &record::Record) {
        self.forget_released();
        let unreleased = self.unreleased.iter().copied().collect();
        self.counts.push_back(Count { position: record.position, inputs: self.inputs, unreleased });
        if self.counts.len() > ringside_core::limits::LINEAGE {
            self.counts.pop_front();
        }
    }

    /// Player inputs after a position in which a fork begins: before a record of this branch that the other lacks, but not
    /// right before it, for the other has what came to it until it was lost. Whatever was released until then it has.
    pub fn inputs_after(&self, since: Position) -> u64 {
        match self.counts.iter().find(|count| count.position > since) {
            Some(first) => {
                let before = first.unreleased.iter().filter(|position| **position > since).count() as u64;
                self.inputs - first.inputs + before
            }
            None => self.inputs - self.counts.back().map_or(0, |last| last.inputs),
        }
    }

    /// Its record is another: who has come to count, and who does not any more.
    pub fn note_phases(&mut self, session: &SessionId) {
        let before = std::mem::replace(&mut self.in_sync, self.core.record().in_sync.clone());
        for &come in self.in_sync.difference(&before) {
            Phase::CatchUp.at_source(session, come);
        }
        if !before.is_subset(&self.in_sync) {
            Phase::Release.at_target(session);
        }
    }

    /// The fold is at its end, with this hash of outputs; the turn's entries are sent.
    pub fn flush(&mut self, now: Instant, mark: Mark) {
        self.core.handle_mark(mark);
        self.core.handle_flush(self.clock.us(now));
    }

    /// A checkpoint was taken. Whether followers who replay the session are to compare its hash with theirs.
    pub fn compares(&mut self, module: &Module, position: Position) -> bool {
        let is_replayed = !self.core.record().in_sync.is_empty() && !keeps_log(module, &self.terms);
        is_replayed && self.compared.begin(position)
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
        if from >= to {
            return (from == to).then(Vec::new);
        }
        // Positions have no gaps: how many entries of a part of the log are not after one.
        let until = |first: Option<&Record>, length: usize, position: Position| {
            let count = first.map_or(0, |first| position.saturating_add(1).saturating_sub(first.position));
            usize::try_from(count).unwrap_or(usize::MAX).min(length)
        };
        let after = |position| {
            let in_window = until(self.window.front(), self.window.len(), position);
            (in_window, until(log.first(), log.len(), position))
        };
        let ((in_window, in_log), (window_end, log_end)) = (after(from), after(to));
        let found: Vec<Record> =
            self.window.range(in_window..window_end).chain(&log[in_log..log_end]).cloned().collect();
        let is_whole = found.first()?.position == from + 1 && found.last()?.position == to;
        is_whole.then_some(found)
    }

    /// Whether a checkpoint is to be sent to somebody now: none is on its way that may still arrive.
    pub fn sends_checkpoint(&mut self, now: Instant, to: Member) -> bool {
        let is_free = self.sending.get(&to).is_none_or(|since| now >= *since + CHECKPOINT_SENDING);
        if is_free {
            self.sending.insert(to, now);
        }
        is_free
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
    pub fn report(&self, now: Instant, module: &Module, checkpoint: Option<&State>) -> ReplicationReport {
        ReplicationReport {
            record: Some(self.core.record().clone()),
            terms: self.terms.clone(),
            is_leader: true,
            is_degraded: self.core.is_degraded(),
            end: self.core.end(),
            committed: self.core.committed(),
            checkpoint: checkpoint.map_or(0, State::position),
            stored: (self.terms.tier == Tier::Durable).then_some(self.stored),
            lags: self.core.lags(self.us(now)).collect(),
            keeps_log: keeps_log(module, &self.terms),
            history: self.history.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use ringside_core::ids::{Node, NodeId, WorkerId};
    use ringside_core::leadership::message::{Ack, Message, Party, Release};
    use ringside_core::leadership::record::PartitionPolicy;
    use ringside_core::log::Outcome;

    use super::*;
    use crate::limits::HISTORY;

    fn member(id: u64) -> Member {
        Member { node: Node { id: NodeId(id), generation: 1 }, worker: WorkerId(0) }
    }

    fn lead(now: Instant) -> Lead {
        let terms = Terms {
            session: "arena/a@0000000000000001".parse().unwrap(),
            tier: Tier::Replicated,
            policy: PartitionPolicy::Available,
            followers: 1,
            is_recorded: false,
        };
        let clock = Clock::new(now);
        let core = Leader::create(clock.us(now), member(1), terms.clone());
        let branches = Branches::new(core.epoch());
        Lead::new(core, terms, clock, branches, Vec::new(), 0)
    }

    fn entry(position: Position) -> Record {
        Record { position, time_us: position, input: Input::Tick, outcome: Outcome::Applied }
    }

    #[test]
    fn inputs_wait_where_too_much_is_not_released() {
        let now = Instant::now();
        let mut lead = lead(now);
        for position in 1..=UNRELEASED_ENTRIES {
            assert!(lead.takes_inputs(), "at {position}");
            lead.append(now, position, &Input::Tick, &[], position);
        }
        assert!(!lead.takes_inputs());
        // Nobody follows: what is appended is released with the turn.
        lead.core.handle_flush(lead.us(now));
        let release = std::iter::from_fn(|| lead.core.poll()).find_map(|output| match output {
            Output::Release(release) => Some(release),
            _ => None,
        });
        lead.gates.open(release.unwrap(), &mut Vec::new());
        assert!(lead.takes_inputs());
    }

    #[test]
    fn only_inputs_after_a_fork_are_counted_wherever_it_begins() {
        let now = Instant::now();
        let mut lead = lead(now);
        let record = lead.core.record().clone();
        let put = |lead: &mut Lead, position| {
            lead.recorded(&record::Record { position, ..(*record).clone() });
        };
        let say = |lead: &mut Lead, positions: std::ops::RangeInclusive<u64>| {
            for position in positions {
                let input = Input::Message { slot: Slot(0), number: position, body: Default::default() };
                lead.note(position, &input, &[], 0);
            }
        };
        say(&mut lead, 1..=10);
        put(&mut lead, 11);
        say(&mut lead, 12..=20);
        // The other side has entries up to 18, of which 16 were acknowledged.
        lead.gates.open(Release { up_to: 16, tier: Tier::Replicated, committed: 16 }, &mut Vec::new());
        put(&mut lead, 21);
        say(&mut lead, 22..=24);
        lead.gates.open(Release { up_to: 24, tier: Tier::Volatile, committed: 16 }, &mut Vec::new());
        put(&mut lead, 25);
        say(&mut lead, 26..=26);
        let after = |since| lead.inputs_after(since);
        assert_eq!([16, 18, 20].map(after), [8, 6, 4]);
        assert_eq!([24, 25].map(after), [1, 1]);
    }

    #[test]
    fn of_records_beyond_the_bound_the_oldest_is_forgotten_and_inputs_since_the_next_count() {
        let mut lead = lead(Instant::now());
        let record = lead.core.record().clone();
        let bound = ringside_core::limits::LINEAGE as u64;
        for number in 1..=bound + 10 {
            let input = Input::Message { slot: Slot(0), number, body: Default::default() };
            lead.note(2 * number, &input, &[], 0);
            lead.gates.open(Release { up_to: 2 * number, tier: Tier::Replicated, committed: 0 }, &mut Vec::new());
            lead.recorded(&record::Record { position: 2 * number + 1, ..(*record).clone() });
        }
        assert_eq!(lead.counts.len() as u64, bound);
        assert_eq!([1, 2 * bound].map(|since| lead.inputs_after(since)), [bound - 1, 10]);
    }

    #[test]
    fn what_somebody_waits_for_is_not_gathered() {
        let now = Instant::now();
        let mut lead = lead(now);
        assert!(!lead.may_gather(now), "its heartbeat is due");
        lead.core.handle_turn(lead.us(now));
        lead.append(now, 1, &Input::Tick, &[], 1);
        assert!(!lead.may_gather(now), "nobody follows: it is flushed at no cost");
        lead.core.handle_recruit(lead.us(now), member(2));
        assert!(!lead.may_gather(now), "one is not introduced");
        let epoch = lead.core.epoch();
        let ack = Ack { epoch, stamp_us: None, received: 0, applied: 0, record: 1, has_diverged: false };
        lead.core.handle_message(lead.us(now), Party::Member(member(2)), Message::Ack(ack));
        assert!(lead.may_gather(now) && lead.has_unsent());
        assert!(!lead.may_gather(now + CHECKPOINT_SENDING), "the next is due");
        lead.acknowledge_later(1, Slot(0), 1, None);
        assert!(!lead.may_gather(now), "a player waits to be acknowledged");
        lead.gates.open(Release { up_to: 1, tier: Tier::Replicated, committed: 1 }, &mut Vec::new());
        assert!(lead.may_gather(now));
        lead.core.handle_flush(lead.us(now));
        assert!(!lead.has_unsent());
    }

    #[test]
    fn entries_before_a_checkpoint_are_kept_up_to_the_bound() {
        let mut lead = lead(Instant::now());
        let count = WINDOW_ENTRIES as u64;
        let mut log: Vec<Record> = (1..=count + 10).map(entry).collect();
        lead.keep(&mut log);
        assert!(log.is_empty());
        log.extend((count + 11..=count + 20).map(entry));
        assert_eq!(lead.entries(&log, 9, count + 15), None, "the oldest are gone");
        let found = lead.entries(&log, 10, count + 15).unwrap();
        assert_eq!((found.first(), found.last()), (Some(&entry(11)), Some(&entry(count + 15))));
        assert_eq!(lead.entries(&log, 10, count + 21), None, "it is not there yet");
        assert_eq!(lead.entries(&log, 7, 7), Some(Vec::new()));
        assert_eq!(lead.entries(&log, count + 12, count + 11), None, "there is nothing backwards");
    }

    #[test]
    fn a_checkpoint_is_sent_again_after_its_time() {
        let now = Instant::now();
        let mut lead = lead(now);
        assert!(lead.sends_checkpoint(now, member(2)) && lead.sends_checkpoint(now, member(3)));
        assert!(!lead.sends_checkpoint(now + CHECKPOINT_SENDING / 2, member(2)));
        assert!(lead.sends_checkpoint(now + CHECKPOINT_SENDING, member(2)));
    }

    #[test]
    fn changes_beyond_the_bound_are_not_shown() {
        let first = record::Record::first("arena/a@0000000000000001".parse().unwrap(), member(1));
        let mut history = Vec::new();
        for position in 0..=HISTORY as u64 {
            Lead::changed(&mut history, &record::Record { position, ..first.clone() });
        }
        assert_eq!((history.len(), history[0].position), (HISTORY, 1));
    }
}
