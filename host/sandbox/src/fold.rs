//! The fold: a session's state, and the one way to change it. Leader, follower, replay and query all have one; they
//! differ in who chooses the entries.
//!
//! An entry's *host effects* (position, time, tick count, a message's number, a slot freed) always happen. Its guest
//! call happens or, where it fails, the entry is skipped: then the guest's half is in pieces and the fold is poisoned
//! until it is rebuilt without that call.

use std::time::Duration;

use bytes::Bytes;

use ringside_core::ids::{PlayerId, Position, SessionTime, Slot, StateHash};
use ringside_core::limits;
use ringside_core::log::{Input, Outcome, Record};
use ringside_core::output::Output;
use ringside_core::random::Generator;

use crate::context::{Allowed, Context, Staged};
use crate::cost::{CallCost, Meter};
use crate::error::FoldError;
use crate::host_state::{Ending, HostState, SlotState};
use crate::instance::{Fault, Instance, Verdict, Watched};
use crate::module::Module;
use crate::state::{self, State};

/// Who folds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Appends entries: calls have a limit of time, the instance is pooled.
    Leader,
    /// Folds what a leader appended: no limit of time, twice the stack.
    Replay,
}

/// How a fold is set up.
#[derive(Debug, Clone, Copy)]
pub struct FoldOptions {
    /// Who folds.
    pub role: Role,
    /// Guest memory, bytes; at most [`limits::GUEST_MEMORY_BYTES`].
    pub guest_memory_bytes: usize,
}

impl Default for FoldOptions {
    fn default() -> Self {
        FoldOptions { role: Role::Leader, guest_memory_bytes: limits::GUEST_MEMORY_BYTES }
    }
}

/// A session's state.
pub struct Fold {
    module: Module,
    options: FoldOptions,
    instance: Instance,
    budget: Duration,
    poisoned: bool,
    cost: CallCost,
    fault: Option<String>,
}

impl Fold {
    /// A fold before its first entry, which must be `Start`. Nothing of the guest's runs.
    ///
    /// # Errors
    /// [`FoldError::Instance`] where no instance is to be had.
    pub fn new(module: &Module, options: FoldOptions) -> Result<Fold, FoldError> {
        Fold::with_host(module, HostState::new(), options)
    }

    /// A fold that goes on from a state.
    ///
    /// # Errors
    /// A state of another module or rewriter, or no instance.
    pub fn restore(module: &Module, state: &State, options: FoldOptions) -> Result<Fold, FoldError> {
        let mut fold = Fold::begin_restore(module, state, options)?;
        let mut next = 0;
        while let Some(after) = fold.restore_pages(state, next) {
            next = after;
        }
        Ok(fold)
    }

    /// A fold whose guest's pages are not written yet.
    pub(crate) fn begin_restore(module: &Module, state: &State, options: FoldOptions) -> Result<Fold, FoldError> {
        state.check_fits(module)?;
        let mut fold = Fold::with_host(module, state.host().clone(), options)?;
        state.begin_guest(&mut fold.instance, module.initial_memory_bytes())?;
        Ok(fold)
    }

    /// Writes some pages, from one of them on; answers where to go on, if there are more.
    pub(crate) fn restore_pages(&mut self, state: &State, from: usize) -> Option<usize> {
        state.write_pages(&mut self.instance, from)
    }

    fn with_host(module: &Module, host: HostState, options: FoldOptions) -> Result<Fold, FoldError> {
        let context = Context::new(host, Allowed::All, options.guest_memory_bytes);
        let instance = match options.role {
            Role::Leader => module.live(context)?,
            Role::Replay => module.offline(context)?,
        };
        let budget = call_budget(module.description().tick_rate);
        let cost = CallCost::default();
        Ok(Fold { module: module.clone(), options, instance, budget, poisoned: false, cost, fault: None })
    }

    /// Runs one input as the next entry at this session time, appending its outputs to `outputs`.
    ///
    /// A skipped entry has no outputs and poisons the fold.
    ///
    /// # Errors
    /// An entry that cannot follow the state; nothing was done.
    pub fn apply(
        &mut self,
        time_us: SessionTime,
        input: &Input,
        outputs: &mut Vec<Output>,
    ) -> Result<Outcome, FoldError> {
        self.run(time_us, input, outputs, self.options.role == Role::Leader)
    }

    /// Checks and runs an entry, with or without a limit of time.
    fn run(
        &mut self,
        time_us: SessionTime,
        input: &Input,
        outputs: &mut Vec<Output>,
        limited: bool,
    ) -> Result<Outcome, FoldError> {
        self.check(time_us, input)?;
        let over = self.host().ending.is_some();
        self.enter(time_us, input);
        if over {
            return Ok(Outcome::Applied);
        }
        let meter = Meter::begin();
        let result = self.call(input, limited);
        self.cost = meter.end(self.budget);
        match result {
            Ok(verdict) => {
                self.commit(input, verdict, outputs);
                Ok(Outcome::Applied)
            }
            Err(fault) => {
                self.skip(input);
                self.poisoned = true;
                self.fault = Some(fault.message);
                Ok(Outcome::Skipped(fault.cause))
            }
        }
    }

    /// Folds a record that a leader appended: an entry that it skipped has its host effects only. Calls have no limit of
    /// time, whatever the role: the leader has accepted them.
    ///
    /// # Errors
    /// A record that cannot follow the state (nothing was done), or one that was applied there and fails here
    /// (the fold is poisoned).
    pub fn replay(&mut self, record: &Record, outputs: &mut Vec<Output>) -> Result<(), FoldError> {
        let expected = self.position() + 1;
        if record.position != expected {
            return Err(FoldError::Position { found: record.position, expected });
        }
        match record.outcome {
            Outcome::Applied => match self.run(record.time_us, &record.input, outputs, false)? {
                Outcome::Applied => Ok(()),
                Outcome::Skipped(cause) => Err(FoldError::Diverged {
                    position: record.position,
                    cause,
                    message: self.fault.clone().unwrap_or_default(),
                }),
            },
            Outcome::Skipped(_) => {
                self.check(record.time_us, &record.input)?;
                self.enter(record.time_us, &record.input);
                self.skip(&record.input);
                Ok(())
            }
        }
    }

    /// Whether the entry can follow the state.
    fn check(&self, time_us: SessionTime, input: &Input) -> Result<(), FoldError> {
        let host = self.host();
        if self.poisoned {
            return Err(FoldError::Poisoned);
        }
        if time_us < host.time_us {
            return Err(FoldError::Invalid("session time would decrease"));
        }
        let is_of_the_host =
            matches!(input, Input::Acknowledge { .. } | Input::Leave { .. } | Input::Leadership { .. });
        if host.ending.is_some() && !is_of_the_host {
            return Err(FoldError::Finished);
        }
        let is_start = matches!(input, Input::Start { .. });
        if is_start != (host.position == 0) {
            return Err(FoldError::Invalid("`Start` is the first entry and no other"));
        }
        let joined = |slot| host.slot(slot).ok_or(FoldError::Invalid("nobody has the slot"));
        let require = |holds: bool, what| if holds { Ok(()) } else { Err(FoldError::Invalid(what)) };
        require(fits(input), "it is too large for a guest")?;
        match input {
            Input::Start { module, rewriter, .. } => {
                require(*module == self.module.hash(), "it is the log of another module")?;
                require(*rewriter == self.module.rewriter_version(), "it is the log of another rewriter")
            }
            Input::Join { slot, .. } => {
                require(host.slot(*slot).is_none(), "the slot is taken")?;
                let most = self.module.description().max_players;
                require(u32::from(slot.0) < most, "the slot is beyond the game's players")
            }
            Input::Leave { slot, .. } | Input::Datagram { slot, .. } => joined(*slot).map(drop),
            Input::Message { slot, number, .. } => {
                require(joined(*slot)?.last_input + 1 == *number, "the message is out of order")
            }
            Input::Acknowledge { slot, up_to } => {
                require(joined(*slot)?.outputs.last() >= *up_to, "what was never sent is acknowledged")
            }
            Input::Tick => require(self.module.description().tick_rate > 0, "the game has no ticks"),
            Input::Timer { id } => require(host.timers.is_due(*id, time_us), "the timer is not due"),
            Input::Signal { .. } | Input::End { .. } | Input::Leadership { .. } => Ok(()),
        }
    }

    /// Host effects that come before the guest's call.
    fn enter(&mut self, time_us: SessionTime, input: &Input) {
        let host = &mut self.instance.context_mut().host;
        host.position += 1;
        host.time_us = time_us;
        match input {
            Input::Start { seed, .. } => host.generator = Generator::new(*seed),
            Input::Join { slot, player } => host.take_slot(*slot, PlayerId::clone(player)),
            Input::Leave { slot, .. } => host.free(*slot),
            Input::Message { slot, number, .. } => {
                if let Some(state) = host.slot_mut(*slot) {
                    state.last_input = *number;
                }
            }
            Input::Tick => host.tick += 1,
            Input::Timer { id } => {
                host.timers.disarm(*id);
            }
            Input::Acknowledge { slot, up_to } => {
                if let Some(state) = host.slot_mut(*slot) {
                    // `check` has seen that it was sent.
                    let _ = state.outputs.acknowledge(*up_to);
                }
            }
            Input::End { reason } => host.ending = Some(Ending::Ended(reason.clone())),
            Input::Datagram { .. } | Input::Signal { .. } | Input::Leadership { .. } => {}
        }
    }

    /// The guest's part of an entry.
    fn call(&mut self, input: &Input, limited: bool) -> Result<Verdict, Fault> {
        let tick = self.host().tick;
        let limit = self.budget * limits::CALL_LIMIT_FACTOR as u32;
        let watched = limited.then(|| Watched { watchdog: &self.module.sandbox().watchdog, limit });
        let instance = &mut self.instance;
        match input {
            Input::Start { config, .. } => return instance.start(watched, config),
            Input::Join { slot, player } => return instance.join(watched, slot.0, player.as_str()),
            Input::Leave { slot, reason } => instance.leave(watched, slot.0, *reason)?,
            Input::Message { slot, body, .. } => instance.message(watched, slot.0, body)?,
            Input::Datagram { slot, body } => instance.datagram(watched, slot.0, body)?,
            Input::Tick => instance.tick(watched, tick)?,
            Input::Timer { id } => instance.timer(watched, *id)?,
            Input::Signal { source, body } => instance.signal(watched, source, body)?,
            Input::Acknowledge { .. } | Input::End { .. } | Input::Leadership { .. } => {
                instance.context_mut().begin_call();
            }
        }
        Ok(Ok(()))
    }

    /// Host effects of an entry whose call did not count.
    fn skip(&mut self, input: &Input) {
        let host = &mut self.instance.context_mut().host;
        match input {
            Input::Start { .. } => host.ending = Some(Ending::Refused("`start` failed".into())),
            Input::Join { slot, .. } => host.free(*slot),
            _ => {}
        }
    }

    /// Makes a returned call's outputs count.
    fn commit(&mut self, input: &Input, verdict: Verdict, outputs: &mut Vec<Output>) {
        let first = outputs.len();
        let context = self.instance.context_mut();
        if let Err(reason) = verdict {
            match input {
                Input::Join { slot, .. } => {
                    context.host.free(*slot);
                    outputs.push(Output::JoinRefused { slot: *slot, reason });
                }
                _ => {
                    context.host.ending = Some(Ending::Refused(reason.clone()));
                    outputs.push(Output::StartRefused { reason });
                }
            }
        }
        let staged = std::mem::take(&mut context.staged);
        for item in &staged {
            commit_one(context, item, outputs);
        }
        context.staged = staged;
        if let Some(new) = outputs.get(first..) {
            context.host.hash_outputs(new);
        }
    }

    fn host(&self) -> &HostState {
        &self.instance.context().host
    }

    /// What the last applied entry's call cost.
    pub fn last_call(&self) -> CallCost {
        self.cost
    }

    /// The last skipped call's fault in words, for the game's author.
    pub fn last_fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Whether a skipped entry has left the guest in pieces.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Processor time that a call may take before it is counted, as the game's tick rate sets it.
    pub fn call_budget(&self) -> Duration {
        self.budget
    }

    /// The last entry's position.
    pub fn position(&self) -> Position {
        self.host().position
    }

    /// The last entry's session time, µs.
    pub fn time_us(&self) -> SessionTime {
        self.host().time_us
    }

    /// Ticks so far.
    pub fn tick(&self) -> u64 {
        self.host().tick
    }

    /// How the session ended, if it has.
    pub fn ending(&self) -> Option<&Ending> {
        self.host().ending.as_ref()
    }

    /// The module.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// How it is set up.
    pub fn options(&self) -> FoldOptions {
        self.options
    }

    /// The joined players, by slot.
    pub fn slots(&self) -> impl Iterator<Item = &SlotState> {
        self.host().joined()
    }

    /// Who has a slot.
    pub fn slot(&self, slot: Slot) -> Option<&SlotState> {
        self.host().slot(slot)
    }

    /// The lowest slot that a further player may have.
    pub fn free_slot(&self) -> Option<Slot> {
        self.host().free_slot(self.module.description().max_players as usize)
    }

    /// A player's newest view.
    pub fn view(&self, slot: Slot) -> Option<&[u8]> {
        self.slot(slot)?.view()
    }

    /// The row of statistics.
    pub fn stats(&self) -> &Bytes {
        &self.host().stats
    }

    /// The timer that is due next: its id and when, µs of session time.
    pub fn next_timer(&self) -> Option<(u64, SessionTime)> {
        self.host().timers.next()
    }

    /// Guest memory at present, bytes.
    pub fn memory_bytes(&self) -> usize {
        self.instance.memory().len()
    }

    /// The running hash of all outputs.
    pub fn output_hash(&self) -> StateHash {
        self.host().output_hash()
    }

    /// Hash of the full state. (Of a poisoned fold's pieces it means nothing.)
    pub fn state_hash(&mut self) -> StateHash {
        state::hash_fold(&self.module, &mut self.instance)
    }

    /// A copy of the full state.
    ///
    /// # Errors
    /// A poisoned fold has no state.
    pub fn capture(&mut self) -> Result<State, FoldError> {
        if self.poisoned { Err(FoldError::Poisoned) } else { Ok(State::capture(&self.module, &mut self.instance)) }
    }
}

impl std::fmt::Debug for Fold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fold({:?} at {})", self.module, self.position())
    }
}

/// Whether what an entry carries may cross the guest's boundary.
fn fits(input: &Input) -> bool {
    match input {
        Input::Datagram { body, .. } => body.len() <= limits::DATAGRAM_BYTES,
        Input::Start { config: body, .. } | Input::Message { body, .. } | Input::Signal { body, .. } => {
            body.len() <= limits::GUEST_VALUE_BYTES
        }
        _ => true,
    }
}

/// Two milliseconds, and at most a quarter of the tick.
fn call_budget(tick_rate: u32) -> Duration {
    let most = Duration::from_micros(limits::CALL_BUDGET_US);
    match tick_rate {
        0 => most,
        rate => most.min(Duration::from_secs(1) / rate / 4),
    }
}

fn commit_one(context: &mut Context, item: &Staged, outputs: &mut Vec<Output>) {
    match item {
        Staged::Send { slot, body } => {
            let body = context.owned(body);
            send(&mut context.host, *slot, body, outputs);
        }
        Staged::Broadcast { body } => {
            let body = context.owned(body);
            for index in 0..context.host.slots.len() {
                send(&mut context.host, Slot(index as u16), body.clone(), outputs);
            }
        }
        Staged::Datagram { slot, body } => {
            if context.host.slot(*slot).is_some() {
                outputs.push(Output::Datagram { slot: *slot, body: context.owned(body) });
            }
        }
        Staged::View { slot, view } => {
            let Context { host, arena, .. } = context;
            set_view(host, *slot, &arena[view.clone()], outputs);
        }
        Staged::ViewAll { view } => {
            let Context { host, arena, .. } = context;
            for index in 0..host.slots.len() {
                set_view(host, Slot(index as u16), &arena[view.clone()], outputs);
            }
        }
        Staged::Stats { row } => {
            context.host.stats = context.owned(row);
            outputs.push(Output::Stats);
        }
        Staged::Event { body } => outputs.push(Output::Event { body: context.owned(body) }),
        Staged::Log { level, line } => outputs.push(Output::Log { level: *level, line: context.text(line) }),
        Staged::Signal { session, body } => {
            outputs.push(Output::Signal { session: context.text(session), body: context.owned(body) });
        }
        Staged::Kick { slot, reason } => {
            if context.host.slot(*slot).is_some() {
                outputs.push(Output::Kick { slot: *slot, reason: context.text(reason) });
            }
        }
        Staged::Finish { outcome } => {
            if context.host.ending.is_none() {
                let outcome = context.owned(outcome);
                context.host.ending = Some(Ending::Finished(outcome.clone()));
                outputs.push(Output::Finish { outcome });
            }
        }
    }
}

fn send(host: &mut HostState, slot: Slot, body: Bytes, outputs: &mut Vec<Output>) {
    let Some(state) = host.slot_mut(slot).filter(|state| !state.too_slow) else { return };
    match state.outputs.push(body.clone()) {
        Ok(number) => outputs.push(Output::Send { slot, number, body }),
        Err(_) => {
            // Nothing may overtake the message that is lost.
            state.too_slow = true;
            outputs.push(Output::TooSlow { slot });
        }
    }
}

fn set_view(host: &mut HostState, slot: Slot, view: &[u8], outputs: &mut Vec<Output>) {
    let position = host.position;
    if let Some(state) = host.slot_mut(slot) {
        state.set_view(view, position);
        outputs.push(Output::View { slot });
    }
}

// A fold moves between workers.
const _: fn() = || {
    fn assert_send<T: Send>() {}
    assert_send::<Fold>();
};
