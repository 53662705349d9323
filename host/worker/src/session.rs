//! A session on its worker: the fold, the log since its last checkpoint, the clock that chooses session time, the
//! seats, and what happens after a fault. Appends an entry after it ran, with its outcome. Knows no connections but
//! by their ids, and sends nothing.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringside_core::ids::{Epoch, Position, SessionId, SessionTime, Slot};
use ringside_core::leadership;
use ringside_core::leadership::Leader;
use ringside_core::leadership::message::{Mark, Output as Said};
use ringside_core::leadership::record::{Member, Terms, Tier};
use ringside_core::limits;
use ringside_core::log::{Input, LeaveReason, Outcome, Record, SkipCause};
use ringside_core::output::Output;
use ringside_core::recording::{EndReason, Header};
use ringside_protocol::frame::ServerFrame;
use ringside_protocol::ids::Branch;
use ringside_protocol::reason::Reason;
use ringside_sandbox::{CallCost, Ending, Fold, FoldError, FoldOptions, Hashing, Rebuild, SlotState, State, Step};

use crate::accounting::Usage;
use crate::arena::Arena;
use crate::bucket::Bucket;
use crate::command::{Create, Pause, PlayerReport, Reply, SessionReport};
use crate::endpoint::LinkId;
use crate::recording::{PartHead, Piece, Recording};
use crate::replication::{Branches, Clock, Fork, Lead, Rested};
use crate::suspects::Suspected;
use crate::worker::PHASE;

/// A node that dies takes at most about this much of a recording with it, and what the store has not written.
const PIECE_AGE: Duration = Duration::from_secs(1);
/// Bodies of datagrams are copied into chunks of this size, so that an input costs no allocation and pins no packet.
const ARENA_BYTES: usize = 16 << 10;
/// Who waits for the end of a session to be safe; beyond, who has waited longest gets no answer.
const ENDERS: usize = 8;
/// What a guest may tell the node at once, as time at its rate.
const NEWS_BURST: Duration = Duration::from_secs(2);

/// A player's seat, as the worker sees it.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    /// The attached connection.
    pub(crate) link: Option<LinkId>,
    /// Its player sat there before this worker led the session.
    pub(crate) was_there: bool,
    /// When its first connection came.
    pub(crate) back_at: Option<Instant>,
    /// Since when there is none.
    pub(crate) away_since: Instant,
    /// Whether the view was written since it was last offered.
    pub(crate) view_due: bool,
    /// When a further view may be offered.
    pub(crate) next_view: Instant,
    /// Whether the next view is a connection's first: its player may have seen that where the session was, and is not to
    /// wait for the one after it.
    pub(crate) is_first_view: bool,
    /// Number of the newest datagram that was taken.
    pub(crate) last_datagram: u64,
    /// What may be acknowledged to the player, and what may be sent, where that waits for a release.
    pub(crate) released_input: u64,
    pub(crate) released_output: u64,
    /// Messages without effect, the newest of them: told again to who comes back, for the news may be lost with its
    /// connection. More than [`limits::TRAPS`] outlive no session.
    rejected: VecDeque<(u64, Reason)>,
}

impl Seat {
    fn new(now: Instant) -> Seat {
        Seat {
            link: None,
            was_there: false,
            back_at: None,
            away_since: now,
            view_due: false,
            next_view: now,
            is_first_view: true,
            last_datagram: 0,
            released_input: 0,
            released_output: 0,
            rejected: VecDeque::new(),
        }
    }

    /// A connection is attached to it.
    pub(crate) fn attach(&mut self, now: Instant, link: LinkId) {
        self.link = Some(link);
        (self.view_due, self.next_view, self.is_first_view) = (true, now, true);
        self.back_at.get_or_insert(now);
    }

    /// A message of the player had no effect.
    pub(crate) fn reject(&mut self, number: u64, cause: Reason) {
        if self.rejected.len() == limits::TRAPS {
            self.rejected.pop_front();
        }
        self.rejected.push_back((number, cause));
    }

    /// The newest messages without effect, as frames.
    pub(crate) fn rejections(&self) -> impl Iterator<Item = ServerFrame> {
        self.rejected.iter().map(|&(number, cause)| ServerFrame::Rejected { number, cause })
    }
}

/// What the author of a message is told that was skipped.
pub(crate) fn rejection(cause: SkipCause) -> Reason {
    match cause {
        SkipCause::Trap => Reason::MessageTrapped,
        SkipCause::Runaway => Reason::MessageRanAway,
        SkipCause::OutputQuota => Reason::MessageFlooded,
        SkipCause::Contract => Reason::MessageBrokeContract,
        SkipCause::Suspect => Reason::MessageSuspected,
    }
}

/// Messages in a log that had no effect, of players who are in the session since: their slots, numbers and why. What came before
/// the log begins, a few seconds ago, is not there.
fn rejections_in(
    log: &[Record],
    joined: impl Fn(Slot) -> Option<Position>,
) -> impl Iterator<Item = (Slot, u64, Reason)> {
    log.iter().filter_map(move |entry| match (&entry.input, entry.outcome) {
        (Input::Message { slot, number, .. }, Outcome::Skipped(cause)) => {
            joined(*slot).filter(|joined| *joined < entry.position)?;
            Some((*slot, *number, rejection(cause)))
        }
        _ => None,
    })
}

/// What the call that an input made counts for, given what it was measured to cost.
pub type CostOf = fn(&Input, &CallCost) -> CallCost;

/// A leave that was decided while the session could take no entry.
#[derive(Debug)]
pub(crate) struct OwedLeave {
    pub(crate) slot: Slot,
    pub(crate) why: LeaveReason,
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

/// What became of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ran {
    /// It is an entry.
    Applied,
    /// It is a skipped entry; the session is paused for a rebuild.
    Skipped(SkipCause),
    /// The session cannot take it: it is over, paused, or the input does not fit. Nothing was done.
    Refused,
}

/// A session that this worker leads.
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) epoch: Epoch,
    pub(crate) fold: Fold,
    pub(crate) seats: Vec<Option<Seat>>,
    pub(crate) usage: Usage,
    /// Messages that it had taken from those who sat in it when it came to be led here.
    inputs_before: u64,
    /// Its leadership, where others follow.
    pub(crate) lead: Option<Box<Lead>>,
    /// What is left of the last one, where it has none now.
    rested: Option<Box<Rested>>,
    rebuild: Option<Rebuild>,
    pub(crate) checkpoint: Option<Arc<State>>,
    checkpointed: Instant,
    pub(crate) log: Vec<Record>,
    /// Whether whoever leads it records its log.
    is_recorded: bool,
    pub(crate) recording: Option<Recording>,
    /// The hash of the last checkpoint on its way into the recording; what came after waits for it.
    hashing: Option<Hashing>,
    /// Whether its recording is to have the hash.
    is_hash_recorded: bool,
    /// When a piece of it was handed on last.
    handed_on: Instant,
    base: Instant,
    period: Option<Duration>,
    next_tick: Instant,
    view_interval: Duration,
    traps: VecDeque<Instant>,
    overruns: VecDeque<Instant>,
    cost_of: CostOf,
    was_over_budget: bool,
    second: Second,
    /// When its last entry was appended, and when it was last said that it is idle.
    pub(crate) quiet_since: Instant,
    pub(crate) said_idle: Option<Instant>,
    /// Nobody was told that it is created: a durable session is when the store has its beginning.
    pub(crate) is_unconfirmed: bool,
    /// A tick has left no time for what else was due.
    pub(crate) rest_waits: bool,
    /// When something of it is due that is not its leader's.
    pub(crate) own_wake: Option<Instant>,
    /// Real time of calls that nobody has asked for.
    spent: Duration,
    /// How often its guest may tell the node something.
    pub(crate) news: Bucket,
    owed: Vec<OwedLeave>,
    /// Who is told when it has ended.
    enders: VecDeque<Reply<bool>>,
    /// Messages that wait because they may kill the process.
    pub(crate) suspects: Suspected,
    arena: Arena<ARENA_BYTES>,
}

impl Session {
    /// Begins a session. The first tick is due at `first_tick`, where the game ticks.
    ///
    /// # Errors
    /// The guest refuses its configuration or fails, or no instance is to be had; in words for the creator.
    pub(crate) fn start(
        create: Create,
        now: Instant,
        first_tick: Instant,
        cost_of: CostOf,
        (me, clock): (Member, Clock),
        outputs: &mut Vec<Output>,
    ) -> Result<Session, String> {
        let fold = Fold::new(&create.module, FoldOptions::default()).map_err(|error| error.to_string())?;
        let options = fold.options();
        let is_recorded = create.record;
        let recording = is_recorded.then(|| Recording::new(&create, options.guest_memory_bytes));
        let description = create.module.description();
        let is_followed = create.followers > 0 && description.tier == Tier::Replicated;
        let terms = (is_followed || description.tier == Tier::Durable).then(|| Terms {
            session: create.session.clone(),
            tier: description.tier,
            policy: description.partition_policy,
            followers: create.followers,
            is_recorded,
        });
        let lead = terms.map(|terms| {
            let leader = Leader::create(clock.us(now), me, terms.clone());
            Box::new(Lead::new(leader, terms, clock, Branches::new(create.epoch), Vec::new(), 0))
        });
        let mut session = Session::with(create.session, create.epoch, fold, now, (first_tick, cost_of));
        (session.recording, session.is_recorded, session.lead) = (recording, is_recorded, lead);
        session.is_unconfirmed = description.tier == Tier::Durable;
        session.pump();
        let start = Input::Start {
            module: create.module.hash(),
            rewriter: create.module.rewriter_version(),
            seed: create.seed,
            config: create.config,
        };
        match session.run(now, start, outputs) {
            Ran::Applied => {}
            Ran::Skipped(_) => {
                let fault = session.fold.last_fault().unwrap_or("it failed");
                return Err(format!("the game's `start` failed: {fault}"));
            }
            Ran::Refused => return Err("the session cannot start".into()),
        }
        match session.fold.ending() {
            Some(Ending::Refused(reason)) => Err(format!("the game refuses the configuration: {reason}")),
            _ => Ok(session),
        }
    }

    /// A session that has this state now.
    fn with(
        id: SessionId,
        epoch: Epoch,
        fold: Fold,
        now: Instant,
        (first_tick, cost_of): (Instant, CostOf),
    ) -> Session {
        let description = fold.module().description();
        let period = (description.tick_rate > 0).then(|| Duration::from_secs(1) / description.tick_rate);
        let view_interval = Duration::from_secs(1) / description.view_rate.max(1) * 9 / 10;
        Session {
            id,
            epoch,
            base: now - Duration::from_micros(fold.time_us()),
            fold,
            seats: Vec::new(),
            usage: Usage::default(),
            inputs_before: 0,
            lead: None,
            rested: None,
            rebuild: None,
            checkpoint: None,
            checkpointed: now,
            log: Vec::new(),
            is_recorded: false,
            recording: None,
            hashing: None,
            is_hash_recorded: false,
            handed_on: now,
            period,
            next_tick: first_tick,
            // A little less than the interval, so that views of a game that ticks at its view rate all leave.
            view_interval,
            traps: VecDeque::new(),
            overruns: VecDeque::new(),
            cost_of,
            was_over_budget: false,
            quiet_since: now,
            said_idle: None,
            second: Second::default(),
            is_unconfirmed: false,
            rest_waits: false,
            own_wake: None,
            spent: Duration::ZERO,
            news: Bucket::new(limits::NEWS_RATE, NEWS_BURST),
            owed: Vec::new(),
            enders: VecDeque::new(),
            suspects: Suspected::default(),
            arena: Arena::new(),
        }
    }

    /// A session that was followed here, and is led from now on: who sat in it is away.
    pub(crate) fn promoted(
        id: SessionId,
        (fold, checkpoint, log): (Fold, Option<Arc<State>>, Vec<Record>),
        (lead, is_complete): (Box<Lead>, bool),
        now: Instant,
        (first_tick, cost_of): (Instant, CostOf),
    ) -> Session {
        let record = Arc::clone(lead.core.record());
        let before = record.lineage.before_newest().unwrap_or(record.epoch);
        let mut session = Session::with(id, before, fold, now, (first_tick, cost_of));
        session.is_recorded = lead.terms.is_recorded;
        (session.checkpoint, session.log, session.lead) = (checkpoint, log, Some(lead));
        let slots: Vec<(Slot, u64, u64)> =
            session.fold.slots().map(|state| (state.slot, state.last_input, state.outputs.last())).collect();
        let end = session.fold.position();
        session.inputs_before = slots.iter().map(|(_, last_input, _)| last_input).sum();
        for (slot, last_input, last_output) in slots {
            session.take_seat(slot, now);
            session.seat_mut(slot).into_iter().for_each(|seat| seat.was_there = true);
            if let Some(lead) = &mut session.lead {
                lead.acknowledge_later(end, slot, last_input, None);
                lead.gates.output(end, slot, last_output);
            }
        }
        let joined = |slot| session.fold.slot(slot).map(|state| state.joined);
        for (slot, number, cause) in rejections_in(&session.log, joined).collect::<Vec<_>>() {
            session.seat_mut(slot).into_iter().for_each(|seat| seat.reject(number, cause));
        }
        session.pump();
        // Where the chain of records is in the store, the log does not say so.
        if session.epoch != record.epoch {
            session.lead_changed(&record, !is_complete);
        }
        session
    }

    /// Its leader has begun an epoch by this record, whether or not the log says so.
    pub(crate) fn enter_epoch(&mut self, record: &Arc<leadership::record::Record>) {
        if record.epoch != self.epoch {
            self.lead_changed(record, Branches::begins(record.cause));
        }
    }

    /// Gives it a leadership, where it has none, because it is to have a follower. What left before has left.
    pub(crate) fn begin_lead(&mut self, now: Instant, (me, clock): (Member, Clock)) {
        if self.lead.is_some() {
            return;
        }
        let policy = self.fold.module().description().partition_policy;
        let terms = Terms {
            session: self.id.clone(),
            tier: Tier::Volatile,
            policy,
            followers: 0,
            is_recorded: self.is_recorded,
        };
        let rested = self.rested.take();
        let rested = rested.map_or_else(|| Rested::begin(&self.id, me, self.epoch), |rested| *rested);
        let lead = rested.resume(now, (me, clock), terms, self.end(), self.fold.tick());
        self.lead = Some(Box::new(lead));
        let slots: Vec<(Slot, u64, u64)> =
            self.fold.slots().map(|state| (state.slot, state.last_input, state.outputs.last())).collect();
        for (slot, last_input, last_output) in slots {
            if let Some(seat) = self.seat_mut(slot) {
                (seat.released_input, seat.released_output) = (last_input, last_output);
            }
        }
        self.pump();
    }

    /// Lets go of a leadership that is not needed any more, if so. Whose links it held.
    pub(crate) fn rest_lead(&mut self, now: Instant) -> Option<BTreeSet<Member>> {
        let mut lead = self.lead.take_if(|lead| lead.may_rest(now))?;
        let linked = std::mem::take(&mut lead.linked);
        self.rested = Some(Box::new(lead.rest()));
        Some(linked)
    }

    /// Player inputs that it has taken, as far as whoever leads it can know: of two sessions of a key the one with more goes on.
    pub(crate) fn inputs(&self) -> u64 {
        self.inputs_before + self.usage.messages_in + self.usage.datagrams_in
    }

    /// The branch that its numbers belong to.
    pub(crate) fn branch(&self) -> Branch {
        self.branches().map_or(Branch(self.epoch), Branches::current)
    }

    /// What a client from another branch is told, be it one of which nothing is known here: both sides of a cut may have gone on
    /// with it, and whoever led the one that lost is not there to tell.
    pub(crate) fn fork(&self, branch: Branch, state: &SlotState) -> Option<Fork> {
        let known = self.branches()?.fork(branch, state.slot, state.joined);
        Some(known.unwrap_or_else(|| Branches::fork_of_unknown(state)))
    }

    fn branches(&self) -> Option<&Branches> {
        let rested = self.rested.as_ref().map(|rested| &rested.branches);
        self.lead.as_ref().map(|lead| &lead.branches).or(rested)
    }

    /// Another epoch has begun, and perhaps a branch.
    fn lead_changed(&mut self, record: &Arc<leadership::record::Record>, begins_branch: bool) {
        self.epoch = record.epoch;
        if let Some(lead) = &mut self.lead {
            Lead::changed(&mut lead.history, record);
            if begins_branch {
                lead.branches.begin(record.epoch, &self.fold);
            }
        }
    }

    /// What is left of it for a follower: its state, its last checkpoint and the log since.
    pub(crate) fn into_parts(self) -> (Fold, Option<Arc<State>>, Vec<Record>, Option<Rebuild>) {
        (self.fold, self.checkpoint, self.log, self.rebuild)
    }

    /// The end of its log.
    pub(crate) fn end(&self) -> Position {
        self.log.last().map_or_else(|| self.fold.position(), |last| last.position)
    }

    /// Does something with its leader, in a turn that has begun for it; what the leader says is done next.
    pub(crate) fn with_leader(&mut self, now: Instant, act: impl FnOnce(&mut Leader, u64)) {
        let Some(lead) = &mut self.lead else { return };
        let us = lead.us(now);
        lead.core.handle_turn(us);
        self.pump();
        let Some(lead) = &mut self.lead else { return };
        act(&mut lead.core, us);
        self.pump();
    }

    /// The turn's entries are in the log: followers are sent them.
    pub(crate) fn flush_leader(&mut self, now: Instant) {
        if let Some(lead) = &mut self.lead {
            let us = lead.us(now);
            lead.core.handle_turn(us);
        }
        self.pump();
        let mark = Mark { position: self.fold.position(), hash: self.fold.output_hash() };
        if let Some(lead) = &mut self.lead {
            lead.flush(now, mark);
        }
        self.pump();
    }

    /// Puts records into the log, where the leader has made some, before anything else is appended; the rest of what it
    /// says is the worker's to do.
    fn pump(&mut self) {
        while let Some(said) = self.lead.as_mut().and_then(|lead| lead.core.poll()) {
            match said {
                Said::Record(record) => self.log_record(&record),
                said => {
                    if let Some(lead) = &mut self.lead {
                        lead.todo.push_back(said);
                    }
                }
            }
        }
    }

    fn log_record(&mut self, record: &Arc<leadership::record::Record>) {
        let input = Input::Leadership { record: Box::new((**record).clone()) };
        let position = self.end() + 1;
        debug_assert_eq!(position, record.position, "the core and the log count alike");
        let time_us = self.log.last().map_or_else(|| self.fold.time_us(), |last| last.time_us);
        if self.rebuild.is_none() {
            // It can always follow, and calls no guest.
            let _ = self.fold.apply(time_us, &input, &mut Vec::new());
        }
        let entry = Record { position, time_us, input, outcome: Outcome::Applied };
        if let Some(lead) = &mut self.lead {
            lead.note(position, &entry.input, &[], self.fold.tick());
            lead.recorded(record);
        }
        self.enter_epoch(record);
        self.log.push(entry);
    }

    /// Whether it stands still for a rebuild.
    pub(crate) fn is_rebuilding(&self) -> bool {
        self.rebuild.is_some()
    }

    /// Whether it takes no inputs at the moment: for a rebuild, because it is about to move, or because it is not settled
    /// who leads.
    pub(crate) fn is_paused(&self) -> bool {
        self.is_rebuilding() || self.lead.as_ref().is_some_and(|lead| !lead.takes_inputs())
    }

    /// Why it stands still, if it does.
    pub(crate) fn pause(&self) -> Option<Pause> {
        if self.is_rebuilding() { Some(Pause::Rebuilding) } else { self.lead.as_ref()?.pause() }
    }

    /// Session time at `now`, µs.
    pub(crate) fn time_at(&self, now: Instant) -> SessionTime {
        let elapsed = now.saturating_duration_since(self.base).as_micros() as u64;
        elapsed.max(self.fold.time_us())
    }

    /// A copy of an input's bytes that lives as long as the log.
    pub(crate) fn keep(&mut self, body: &[u8]) -> Bytes {
        self.arena.copy(body)
    }

    /// Appends an entry of an input that is not run.
    pub(crate) fn skip(&mut self, now: Instant, input: Input, cause: SkipCause) -> Ran {
        if self.is_paused() {
            return Ran::Refused;
        }
        self.slip(now);
        let (position, time_us) = (self.fold.position() + 1, self.time_at(now));
        let entry = Record { position, time_us, input, outcome: Outcome::Skipped(cause) };
        if self.fold.replay(&entry, &mut Vec::new()).is_err() {
            return Ran::Refused;
        }
        if let Some(lead) = &mut self.lead {
            lead.append(now, position, &entry.input, &[], self.fold.tick());
        }
        self.quiet_since = now;
        self.log.push(entry);
        self.count_fault(now);
        Ran::Skipped(cause)
    }

    fn count_fault(&mut self, now: Instant) {
        self.usage.skipped += 1;
        note(&mut self.traps, now, limits::TRAP_WINDOW_US, limits::TRAPS);
    }

    /// Runs an input and appends it as an entry.
    pub(crate) fn run(&mut self, now: Instant, input: Input, outputs: &mut Vec<Output>) -> Ran {
        // Before the time is read: it must not run ahead of ticks that are about to be given up.
        self.slip(now);
        self.run_at(now, self.time_at(now), input, outputs)
    }

    fn run_at(&mut self, now: Instant, time_us: SessionTime, input: Input, outputs: &mut Vec<Output>) -> Ran {
        if self.is_paused() {
            return Ran::Refused;
        }
        let first = outputs.len();
        let outcome = match self.fold.apply(time_us, &input, outputs) {
            Ok(outcome) => outcome,
            Err(_) => return Ran::Refused,
        };
        if let Some(lead) = &mut self.lead {
            let new = outputs.get(first..).unwrap_or_default();
            lead.append(now, self.fold.position(), &input, new, self.fold.tick());
        }
        self.quiet_since = now;
        self.usage.calls += 1;
        let cost = (self.cost_of)(&input, &self.fold.last_call());
        self.charge(now, &cost);
        self.log.push(Record { position: self.fold.position(), time_us, input, outcome });
        match outcome {
            Outcome::Applied => Ran::Applied,
            Outcome::Skipped(cause) => {
                self.count_fault(now);
                let module = self.fold.module().clone();
                let options = self.fold.options();
                self.rebuild = Some(Rebuild::new(&module, self.checkpoint.clone(), self.log.clone(), options));
                Ran::Skipped(cause)
            }
        }
    }

    /// Counts what a call, or a slice of what is long, has cost.
    fn charge(&mut self, now: Instant, cost: &CallCost) {
        self.usage.call_us += cost.wall.as_micros() as u64;
        self.spent += cost.wall;
        let second_is_over_budget = self.second.add(now, cost.cpu);
        if cost.over_budget || second_is_over_budget {
            self.was_over_budget = true;
            self.usage.overruns += 1;
            note(&mut self.overruns, now, limits::BUDGET_WINDOW_US, limits::BUDGET_OVERRUNS);
        }
    }

    /// Real time of its calls since this was asked last.
    pub(crate) fn take_spent(&mut self) -> Duration {
        std::mem::take(&mut self.spent)
    }

    /// Whether there is something that is done in slices.
    pub(crate) fn has_long_work(&self) -> bool {
        self.rebuild.is_some() || self.hashing.is_some()
    }

    /// Goes on for about `budget` with what is done in slices; answers whether that ended a pause.
    ///
    /// # Errors
    /// The session cannot be rebuilt: it must end.
    pub(crate) fn work(&mut self, now: Instant, budget: Duration) -> Result<bool, FoldError> {
        let begun = Instant::now();
        let worked = self.work_uncharged(now, budget);
        // Without a slice of real time, real time does not count.
        if !budget.is_zero() {
            let took = begun.elapsed();
            self.charge(now, &CallCost { wall: took, cpu: took, over_budget: false });
        }
        worked
    }

    fn work_uncharged(&mut self, now: Instant, budget: Duration) -> Result<bool, FoldError> {
        if let Some(rebuild) = &mut self.rebuild {
            let Step::Done(fold) = rebuild.step(budget)? else { return Ok(false) };
            self.fold = *fold;
            self.rebuild = None;
            // Records of leadership were put in meanwhile.
            for entry in
                self.log.iter().filter(|entry| entry.position > self.fold.position()).cloned().collect::<Vec<_>>()
            {
                self.fold.replay(&entry, &mut Vec::new())?;
            }
            // What the pause took is slipped, not made up.
            self.slip(now);
            return Ok(true);
        }
        self.hash(budget);
        Ok(false)
    }

    /// Goes on with the hash of the last checkpoint.
    fn hash(&mut self, budget: Duration) {
        if let Some((position, state)) = self.hashing.as_mut().and_then(|hashing| hashing.step(budget)) {
            self.hashing = None;
            if let Some(recording) = self.recording.as_mut().filter(|_| self.is_hash_recorded) {
                recording.checkpoint(position, state);
            }
            if let Some(lead) = &mut self.lead {
                lead.compared.hashed(Mark { position, hash: state });
            }
        }
    }

    /// Whether it failed too often lately.
    pub(crate) fn has_failed_too_often(&self, now: Instant) -> bool {
        recent(&self.traps, now, limits::TRAP_WINDOW_US) >= limits::TRAPS
    }

    /// Whether a call was over its budget since the last time that this was asked.
    pub(crate) fn take_over_budget(&mut self) -> bool {
        std::mem::take(&mut self.was_over_budget)
    }

    /// Whether it was over its budget too often lately; asking forgets it.
    pub(crate) fn take_overrun_too_often(&mut self, now: Instant) -> bool {
        let often = recent(&self.overruns, now, limits::BUDGET_WINDOW_US) >= limits::BUDGET_OVERRUNS;
        if often {
            self.overruns.clear();
        }
        often
    }

    /// How late the next tick would be.
    pub(crate) fn tick_lateness(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.next_tick)
    }

    /// When the next tick is due, if it may run and that is within this time.
    pub(crate) fn tick_within(&self, now: Instant, time: Duration) -> Option<Instant> {
        let may_run = self.period.is_some() && self.fold.ending().is_none() && !self.is_paused();
        Some(self.next_tick).filter(|tick| may_run && *tick > now && *tick < now + time)
    }

    /// Runs the next tick if it is due; answers whether one ran (or was tried).
    pub(crate) fn run_due_tick(&mut self, now: Instant, outputs: &mut Vec<Output>) -> Option<Ran> {
        let period = self.period?;
        if now < self.next_tick || self.fold.ending().is_some() || self.is_paused() {
            return None;
        }
        self.slip(now);
        self.usage.count_tick(now.saturating_duration_since(self.next_tick));
        let scheduled = self.next_tick.saturating_duration_since(self.base).as_micros() as u64;
        self.next_tick += period;
        Some(self.run_at(now, scheduled.max(self.fold.time_us()), Input::Tick, outputs))
    }

    /// Gives up session time for ticks that were missed beyond those that are made up.
    fn slip(&mut self, now: Instant) {
        let Some(period) = self.period else { return };
        let late = now.saturating_duration_since(self.next_tick);
        if late < period || self.is_paused() {
            return;
        }
        let missed = (late.as_nanos() / period.as_nanos().max(1)) as u64;
        if let Some(lost) = missed.checked_sub(limits::TICKS_MADE_UP).filter(|&lost| lost > 0) {
            let slipped = period * u32::try_from(lost).unwrap_or(u32::MAX);
            self.next_tick += slipped;
            self.base += slipped;
            self.usage.slipped_us += slipped.as_micros() as u64;
        }
    }

    /// Runs the next timer if it is due.
    pub(crate) fn run_due_timer(&mut self, now: Instant, outputs: &mut Vec<Output>) -> Option<Ran> {
        let (id, due) = self.fold.next_timer()?;
        if self.is_paused() || self.fold.ending().is_some() || self.time_at(now) < due {
            return None;
        }
        Some(self.run(now, Input::Timer { id }, outputs))
    }

    /// A seat whose player was away for longer than the seat window.
    pub(crate) fn expired_seat(&self, now: Instant, window: Duration) -> Option<Slot> {
        if self.is_paused() {
            return None;
        }
        let expired = |seat: &Option<Seat>| {
            seat.as_ref().is_some_and(|seat| seat.link.is_none() && now >= seat.away_since + window)
        };
        self.seats.iter().position(expired).map(|index| Slot(index as u16))
    }

    /// When it wants to be looked at again. Views that were due by `written` leave with this turn and wake nobody.
    pub(crate) fn next_wake(
        &self,
        window: Duration,
        written: Option<Instant>,
        idle_at: Option<Instant>,
    ) -> Option<Instant> {
        let views = self.seats.iter().flatten().filter(|seat| seat.link.is_some() && seat.view_due);
        let views = views.map(|seat| seat.next_view).filter(|&next| written.is_none_or(|written| next > written));
        if self.is_paused() || self.fold.ending().is_some() {
            // What was shown last is shown in time.
            return views.min();
        }
        if self.owes_leaves() || self.lead.as_ref().is_some_and(|lead| lead.has_suspects_due()) {
            return Some(self.base);
        }
        let tick = self.period.map(|_| self.next_tick);
        let timer = self.fold.next_timer().map(|(_, due)| self.base + Duration::from_micros(due));
        let away = self.seats.iter().flatten().filter(|seat| seat.link.is_none()).map(|seat| seat.away_since + window);
        let checkpoint = (!self.log.is_empty()).then(|| self.checkpoint_due());
        let suspects = self.lead.as_ref().and_then(|lead| lead.suspects_due());
        tick.into_iter().chain(timer).chain(views).chain(away).chain(checkpoint).chain(suspects).chain(idle_at).min()
    }

    /// When its leader wants its turn.
    pub(crate) fn leader_wake(&self) -> Option<Instant> {
        self.lead.as_ref()?.next_timeout()
    }

    /// Whether its leader wants its turn and nothing else is due.
    pub(crate) fn waits_for_its_leader_alone(&self, now: Instant) -> bool {
        let leads = self.lead.as_ref().is_some_and(|lead| lead.moving.is_none() && lead.is_due(now));
        leads && self.own_wake.is_none_or(|wake| wake > now) && !self.rest_waits && self.recording.is_none()
    }

    fn checkpoint_due(&self) -> Instant {
        if self.log.len() as u64 >= limits::CHECKPOINT_ENTRIES {
            return self.checkpointed;
        }
        // Off phase between sessions: by up to a fifth of the interval, decided by the incarnation.
        let spread = self.id.incarnation.0 % (limits::CHECKPOINT_INTERVAL_US / 5);
        self.checkpointed + Duration::from_micros(limits::CHECKPOINT_INTERVAL_US - spread)
    }

    /// Takes a checkpoint if one is due and forgets the log before it.
    pub(crate) fn checkpoint_if_due(&mut self, now: Instant) {
        if self.log.is_empty() || self.is_rebuilding() || now < self.checkpoint_due() {
            return;
        }
        self.checkpoint_now(now);
    }

    /// Takes a checkpoint of where it is, unless the last one is that, or it is in pieces.
    pub(crate) fn checkpoint_for_log(&mut self, now: Instant) {
        let has_one = self.checkpoint.as_ref().is_some_and(|state| state.position() == self.fold.position());
        if !has_one && !self.is_rebuilding() {
            self.checkpoint_now(now);
        }
    }

    fn checkpoint_now(&mut self, now: Instant) {
        let Ok(state) = self.fold.capture() else { return };
        let state = Arc::new(state);
        self.hash(Duration::MAX);
        if let Some(recording) = &mut self.recording {
            recording.take(&self.log, self.fold.output_hash());
        }
        self.is_hash_recorded = self.recording.is_some();
        let lead = self.lead.as_mut();
        let is_compared = lead.is_some_and(|lead| lead.compares(self.fold.module(), state.position()));
        if self.is_hash_recorded || is_compared {
            self.hashing = Some(Hashing::new(Arc::clone(&state)));
        }
        self.checkpoint = Some(state);
        self.checkpointed = now;
        match &mut self.lead {
            Some(lead) => lead.keep(&mut self.log),
            None => self.log.clear(),
        }
    }

    /// Its leader was another: its recording goes on in a part of this one.
    pub(crate) fn record_from_here(&mut self) -> PartHead {
        let first = self.log.first().map_or(self.end() + 1, |record| record.position);
        let (module, rewriter) = (self.fold.module().hash(), self.fold.module().rewriter_version());
        let guest_memory_bytes = self.fold.options().guest_memory_bytes as u64;
        let header = Header { session: self.id.clone(), module, rewriter, epoch: self.epoch, guest_memory_bytes };
        let lineage = self.lead.as_ref().map(|lead| lead.core.record().lineage.clone());
        self.recording = Some(Recording::going_on(self.epoch, first));
        PartHead { header, lineage: lineage.unwrap_or_default(), base: self.checkpoint.clone() }
    }

    /// The recording's next piece, where enough has come together or the last one is [`PIECE_AGE`] old.
    pub(crate) fn recorded_lately(&mut self, now: Instant) -> Option<Piece> {
        if self.hashing.is_some() {
            return None;
        }
        let is_old = now.saturating_duration_since(self.handed_on) >= PIECE_AGE;
        let piece = self.recorded(is_old);
        if piece.is_some() {
            self.handed_on = now;
        }
        piece
    }

    /// The recording's next piece, where enough has come together or `all` is asked for.
    pub(crate) fn recorded(&mut self, all: bool) -> Option<Piece> {
        if all {
            self.hash(Duration::MAX);
        }
        let recording = self.recording.as_mut()?;
        // A skipped entry puts nothing out, so the hash of outputs is good even where the guest is in pieces.
        recording.take_if_many(&self.log, self.fold.output_hash(), all);
        recording.piece(all)
    }

    /// The last piece of the recording: the rest of the log, the hash of the last state, and the end marker.
    pub(crate) fn finish_recording(&mut self, now: Instant, reason: EndReason) -> Option<Piece> {
        // Where it goes on its log and the checkpoint before that are still wanted.
        let is_over = matches!(reason, EndReason::SessionEnded | EndReason::WorkerStopped);
        if is_over && self.recording.is_some() && !self.log.is_empty() && !self.is_rebuilding() {
            self.checkpoint_now(now);
        }
        self.hash(Duration::MAX);
        let recording = self.recording.as_mut()?;
        recording.take(&self.log, self.fold.output_hash());
        recording.end(reason);
        recording.piece(true)
    }

    /// The time after a view was offered at which the next may be.
    pub(crate) fn view_interval(&self) -> Duration {
        self.view_interval
    }

    /// By when a view that may leave from `earliest` on has left with its tick, where the game ticks.
    pub(crate) fn view_after(&self, earliest: Instant) -> Option<Instant> {
        let period = self.period?;
        let tick = if self.next_tick >= earliest { self.next_tick } else { earliest + period };
        Some(tick + PHASE * 2)
    }

    /// Whether a player has not acknowledged everything that was sent.
    pub(crate) fn owes(&self, slot: Slot) -> bool {
        self.fold.slot(slot).is_some_and(|state| state.outputs.first() <= state.outputs.last())
    }

    pub(crate) fn seat_mut(&mut self, slot: Slot) -> Option<&mut Seat> {
        self.seats.get_mut(usize::from(slot.0))?.as_mut()
    }

    pub(crate) fn take_seat(&mut self, slot: Slot, now: Instant) {
        let index = usize::from(slot.0);
        if self.seats.len() <= index {
            self.seats.resize_with(index + 1, || None);
        }
        self.seats[index] = Some(Seat::new(now));
    }

    /// Remembers a leave until the session takes entries again; a slot leaves once.
    pub(crate) fn owe_leave(&mut self, leave: OwedLeave) {
        if self.owed.iter().all(|owed| owed.slot != leave.slot) {
            self.owed.push(leave);
        }
    }

    /// The leave that is owed longest.
    pub(crate) fn take_owed_leave(&mut self) -> Option<OwedLeave> {
        let first = self.owed.iter().position(|owed| self.may_leave(owed)).filter(|_| !self.is_paused())?;
        Some(self.owed.remove(first))
    }

    /// Whether players are about to leave.
    pub(crate) fn owes_leaves(&self) -> bool {
        self.owed.iter().any(|owed| self.may_leave(owed))
    }

    /// Who leaves of their own accord does so after what they have said.
    fn may_leave(&self, owed: &OwedLeave) -> bool {
        owed.why != LeaveReason::Left || !self.suspects.holds(owed.slot)
    }

    /// Whether the player of a slot is about to leave: nothing that it sends matters any longer.
    pub(crate) fn is_leaving(&self, slot: Slot) -> bool {
        self.owed.iter().any(|owed| owed.slot == slot)
    }

    /// Somebody is to hear when it has ended.
    pub(crate) fn tell_end(&mut self, reply: Reply<bool>) {
        if self.enders.len() == ENDERS {
            self.enders.pop_front();
        }
        self.enders.push_back(reply);
    }

    /// It has ended.
    pub(crate) fn has_ended(&mut self) {
        self.enders.drain(..).for_each(|reply| reply(true));
    }

    /// Frees a seat; answers the connection that was attached to it.
    pub(crate) fn free_seat(&mut self, slot: Slot) -> Option<LinkId> {
        self.suspects.drop_of(slot);
        if let Some(lead) = &mut self.lead {
            lead.core.handle_left(slot);
        }
        self.seats.get_mut(usize::from(slot.0))?.take()?.link
    }

    /// The slot of a player.
    pub(crate) fn slot_of(&self, player: &str) -> Option<Slot> {
        self.fold.slots().find(|state| state.player.as_str() == player).map(|state| state.slot)
    }

    /// Whether nobody sits in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.fold.slots().next().is_none()
    }

    /// Whether it ticks.
    pub(crate) fn is_ticking(&self) -> bool {
        self.period.is_some()
    }

    /// In how long its next timer is due.
    pub(crate) fn timer_in(&self, now: Instant) -> Option<Duration> {
        let (_, due) = self.fold.next_timer()?;
        Some(Duration::from_micros(due.saturating_sub(self.time_at(now))))
    }

    /// Its time went on while nobody led it.
    pub(crate) fn has_slept(&mut self, slept: Duration) {
        self.base = self.base.checked_sub(slept).unwrap_or(self.base);
    }

    /// Whether players' packets should be handled at once rather than at the next tick.
    pub(crate) fn is_prompt(&self) -> bool {
        self.period.is_none()
    }

    /// What is known of it.
    pub(crate) fn report(&self, now: Instant) -> SessionReport {
        let connected = |slot: Slot| {
            self.seats.get(usize::from(slot.0)).and_then(Option::as_ref).is_some_and(|seat| seat.link.is_some())
        };
        SessionReport {
            session: self.id.clone(),
            module: self.fold.module().hash().to_string(),
            epoch: self.epoch,
            position: self.fold.position(),
            tick: self.fold.tick(),
            time_us: self.fold.time_us(),
            pause: self.pause(),
            stats: self.fold.stats().clone(),
            memory_bytes: self.fold.memory_bytes(),
            usage: self.usage.clone(),
            players: (self.fold.slots())
                .map(|state| PlayerReport {
                    slot: state.slot.0,
                    player: state.player.clone(),
                    connected: connected(state.slot),
                    last_input: state.last_input,
                    unacknowledged: state.outputs.len(),
                })
                .collect(),
            replication: (self.lead.as_ref())
                .map(|lead| Box::new(lead.report(now, self.fold.module(), self.checkpoint.as_deref()))),
        }
    }
}

/// The CPU time of a session's calls within the second that is running.
#[derive(Debug, Default)]
struct Second {
    began: Option<Instant>,
    used: Duration,
}

impl Second {
    /// Adds a call's; answers whether it was the one with which the second came to be over its budget.
    fn add(&mut self, now: Instant, cpu: Duration) -> bool {
        if self.began.is_none_or(|began| now.saturating_duration_since(began) >= Duration::from_secs(1)) {
            *self = Second { began: Some(now), used: Duration::ZERO };
        }
        let budget = Duration::from_micros(limits::SESSION_CPU_US);
        let before = self.used;
        self.used += cpu;
        before <= budget && self.used > budget
    }
}

/// Remembers when something happened, as many times as matter.
fn note(times: &mut VecDeque<Instant>, now: Instant, window_us: u64, most: usize) {
    times.push_back(now);
    let window = Duration::from_micros(window_us);
    while times.len() > most || times.front().is_some_and(|&first| now.saturating_duration_since(first) > window) {
        times.pop_front();
    }
}

fn recent(times: &VecDeque<Instant>, now: Instant, window_us: u64) -> usize {
    let window = Duration::from_micros(window_us);
    times.iter().filter(|&&time| now.saturating_duration_since(time) <= window).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_had_no_effect_is_told_again_to_whoever_said_it() {
        let message = |position, slot, number, outcome| Record {
            position,
            time_us: position,
            input: Input::Message { slot: Slot(slot), number, body: Bytes::new() },
            outcome,
        };
        let trapped = Outcome::Skipped(SkipCause::Trap);
        let log = [
            message(7, 0, 3, trapped),
            message(8, 0, 4, Outcome::Applied),
            message(9, 1, 1, Outcome::Skipped(SkipCause::Suspect)),
            // Of who sat there before.
            message(10, 2, 5, trapped),
            message(11, 3, 1, trapped),
        ];
        let joined = |slot: Slot| [Some(2), Some(8), Some(12), None][usize::from(slot.0)];
        let found: Vec<_> = rejections_in(&log, joined).collect();
        assert_eq!(found, [(Slot(0), 3, Reason::MessageTrapped), (Slot(1), 1, Reason::MessageSuspected)]);
    }
}
