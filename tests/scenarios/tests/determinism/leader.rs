//! A leader in virtual time: runs what players do as entries of a session's log, and the same natively beside it. Every
//! output and every view of both is compared as it appears.

use ringside_core::ids::{PlayerId, Slot, StateHash};
use ringside_core::log::{Input, LeaveReason, Outcome, Record};
use ringside_core::output::Output;
use ringside_guest::Effect;
use ringside_sandbox::{Fold, FoldOptions, Role, State};

use crate::native::{Native, effects_of};
use crate::samples::Sample;

/// Seed of every session's random numbers.
pub const SEED: [u8; 32] = [42; 32];

/// Something that a player does, or has done to it.
#[derive(Debug, Clone)]
pub enum Act {
    Join(u16),
    Leave(u16),
    Message(u16, Vec<u8>),
    Datagram(u16, Vec<u8>),
    /// The player has got all messages up to now.
    Acknowledge(u16),
}

/// A session that is played.
pub struct Leader {
    pub fold: Fold,
    native: Box<dyn Native>,
    session: Session,
    time_us: u64,
    tick_rate: u64,
}

/// A session that was played.
#[derive(Default)]
pub struct Session {
    pub log: Vec<Record>,
    /// Running hash of outputs after each record.
    pub outputs: Vec<StateHash>,
    /// State hashes, by the record after which they were taken.
    pub checkpoints: Vec<(u64, StateHash)>,
    /// Full states from which the rest is folded again.
    pub states: Vec<State>,
}

impl Session {
    /// State and outputs at the end.
    pub fn last(&self) -> (StateHash, StateHash) {
        let state = self.checkpoints.last().expect("a checkpoint at the end").1;
        (state, *self.outputs.last().expect("a record"))
    }

    /// The records after a position.
    pub fn after(&self, position: u64) -> &[Record] {
        &self.log[position as usize..]
    }
}

impl Leader {
    pub fn begin(sample: &Sample) -> Leader {
        let options = FoldOptions { role: Role::Leader, ..FoldOptions::default() };
        let fold = Fold::new(&sample.module, options).expect("an instance");
        let native = (sample.native)(SEED, &sample.config);
        let tick_rate = u64::from(sample.module.description().tick_rate);
        let mut leader = Leader { fold, native, session: Session::default(), time_us: 0, tick_rate };
        let start = Input::Start {
            module: sample.module.hash(),
            rewriter: sample.module.rewriter_version(),
            seed: SEED,
            config: sample.config.clone().into(),
        };
        let folded = leader.apply(start);
        assert_eq!(folded, leader.native.effects());
        leader
    }

    pub fn is_over(&self) -> bool {
        self.fold.ending().is_some()
    }

    /// Whether an act can follow.
    pub fn allows(&self, act: &Act) -> bool {
        match act {
            Act::Join(slot) => {
                u32::from(*slot) < self.fold.module().description().max_players && self.fold.slot(Slot(*slot)).is_none()
            }
            Act::Leave(slot) | Act::Message(slot, _) | Act::Datagram(slot, _) | Act::Acknowledge(slot) => {
                self.fold.slot(Slot(*slot)).is_some()
            }
        }
    }

    /// A player acts.
    pub fn act(&mut self, act: Act) {
        let input = match act {
            Act::Join(slot) => Input::Join { slot: Slot(slot), player: name(slot) },
            Act::Leave(slot) => Input::Leave { slot: Slot(slot), reason: LeaveReason::Left },
            Act::Message(slot, body) => {
                let number = self.fold.slot(Slot(slot)).expect("joined").last_input + 1;
                Input::Message { slot: Slot(slot), number, body: body.into() }
            }
            Act::Datagram(slot, body) => Input::Datagram { slot: Slot(slot), body: body.into() },
            Act::Acknowledge(slot) => Input::Acknowledge {
                slot: Slot(slot),
                up_to: self.fold.slot(Slot(slot)).expect("joined").outputs.last(),
            },
        };
        self.run(input);
    }

    /// The next point of the tick grid.
    pub fn tick(&mut self) {
        self.time_us = (self.fold.tick() + 1) * 1_000_000 / self.tick_rate;
        self.run(Input::Tick);
    }

    /// Lets time pass in an event-driven game: its due timers fire.
    pub fn wait(&mut self, time_us: u64) {
        let until = self.time_us + time_us;
        let mut folded = Vec::new();
        while let Some((id, due)) = self.fold.next_timer().filter(|(_, due)| *due <= until && !self.is_over()) {
            self.time_us = self.time_us.max(due);
            folded.extend(self.apply(Input::Timer { id }));
        }
        self.time_us = until;
        self.native.wait_until(until);
        self.compare(folded);
    }

    /// A full state, from which the rest is to be folded again.
    pub fn capture(&mut self) {
        let state = self.fold.capture().expect("a state");
        self.session.states.push(state);
    }

    pub fn checkpoint(&mut self) {
        let hash = self.fold.state_hash();
        self.session.checkpoints.push((self.fold.position(), hash));
    }

    pub fn finish(mut self) -> Session {
        self.checkpoint();
        self.session
    }

    /// Runs an entry on both sides, and the leaves of who is kicked by it.
    fn run(&mut self, input: Input) {
        let natively = self.native.input(&input);
        let folded = self.apply(input);
        assert_eq!(natively, Ok(()), "no sample refuses a player");
        self.compare(folded);
    }

    /// Runs an entry as WebAssembly; answers what was put out.
    fn apply(&mut self, input: Input) -> Vec<Effect> {
        let mut outputs = Vec::new();
        let outcome = self.fold.apply(self.time_us, &input, &mut outputs).expect("an entry that follows");
        assert_eq!(outcome, Outcome::Applied, "{input:?}: {:?}", self.fold.last_fault());
        let position = self.fold.position();
        self.session.log.push(Record { position, time_us: self.time_us, input, outcome });
        self.session.outputs.push(self.fold.output_hash());
        let mut effects = effects_of(&self.fold, &outputs);
        for output in outputs {
            if let Output::Kick { slot, .. } = output
                && self.fold.slot(slot).is_some()
                && !self.is_over()
            {
                effects.extend(self.apply(Input::Leave { slot, reason: LeaveReason::Kicked }));
            }
        }
        effects
    }

    fn compare(&mut self, folded: Vec<Effect>) {
        let position = self.fold.position();
        assert_eq!(folded, self.native.effects(), "up to {position}");
        assert_eq!(self.is_over(), self.native.is_finished());
        for state in self.fold.slots() {
            let view = self.native.view(ringside_guest::Slot(state.slot.0));
            assert_eq!(state.view(), view, "the view of slot {} at {position}", state.slot.0);
        }
    }
}

fn name(slot: u16) -> PlayerId {
    format!("player-{slot}").parse().expect("a name")
}
