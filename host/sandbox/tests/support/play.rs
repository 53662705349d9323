//! Playing a session as a leader would: numbers messages, keeps the log, rebuilds after a skip.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use ringside_core::ids::{PlayerId, Slot, StateHash};
use ringside_core::log::{Input, LeaveReason, Outcome, Record, SkipCause};
use ringside_core::output::Output;
use ringside_sandbox::{Fold, FoldOptions, Module, Rebuild, Role, Sandbox, SandboxConfig, State, Step};

use crate::toy::Toy;

/// The sandbox that tests share, as a process does.
pub fn sandbox() -> &'static Sandbox {
    static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| small_sandbox(64));
    &SANDBOX
}

/// A sandbox of its own with so many sessions.
pub fn small_sandbox(warm_sessions: u32) -> Sandbox {
    let config = SandboxConfig { cache_directory: None, warm_sessions: Some(warm_sessions) };
    Sandbox::new(config).expect("a sandbox")
}

/// The toy as it is.
pub fn toy() -> &'static Module {
    static TOY: LazyLock<Module> = LazyLock::new(|| sandbox().upload(&Toy::default().wasm()).expect("the toy"));
    &TOY
}

pub const LEADER: FoldOptions = FoldOptions { role: Role::Leader, guest_memory_bytes: 4 << 20 };
pub const REPLAY: FoldOptions = FoldOptions { role: Role::Replay, guest_memory_bytes: 4 << 20 };

pub fn start(module: &Module, config: &[u8]) -> Input {
    Input::Start {
        module: module.hash(),
        rewriter: module.rewriter_version(),
        seed: [9; 32],
        config: Bytes::copy_from_slice(config),
    }
}

pub fn player(name: &str) -> PlayerId {
    name.parse().expect("a player's name")
}

pub fn deed(letter: char, arguments: &[u8]) -> Vec<u8> {
    [&[letter as u8], arguments].concat()
}

/// A session with its log.
pub struct Play {
    pub fold: Fold,
    pub log: Vec<Record>,
    pub outputs: Vec<Output>,
    pub time_us: u64,
}

impl Play {
    /// A session before `Start`.
    pub fn unstarted(module: &Module) -> Play {
        let fold = Fold::new(module, LEADER).expect("an instance");
        Play { fold, log: Vec::new(), outputs: Vec::new(), time_us: 0 }
    }

    /// A session that has begun.
    pub fn begin(module: &Module) -> Play {
        let mut play = Play::unstarted(module);
        assert_eq!(play.run(start(module, b"")), Outcome::Applied, "{:?}", play.fold.last_fault());
        play
    }

    /// A session with players in slots 0 to `players` - 1.
    pub fn with_players(players: u16) -> Play {
        let mut play = Play::begin(toy());
        for slot in 0..players {
            play.join(slot, &format!("player-{slot}"));
        }
        play
    }

    /// Runs and logs an entry; what it puts out replaces `outputs`.
    pub fn run(&mut self, input: Input) -> Outcome {
        self.outputs.clear();
        let outcome = self.fold.apply(self.time_us, &input, &mut self.outputs).expect("an entry that follows");
        self.log.push(Record { position: self.fold.position(), time_us: self.time_us, input, outcome });
        outcome
    }

    pub fn join(&mut self, slot: u16, name: &str) -> Outcome {
        self.run(Input::Join { slot: Slot(slot), player: player(name) })
    }

    pub fn leave(&mut self, slot: u16) -> Outcome {
        self.run(Input::Leave { slot: Slot(slot), reason: LeaveReason::Left })
    }

    pub fn next_message(&self, slot: u16, letter: char, arguments: &[u8]) -> Input {
        let number = self.fold.slot(Slot(slot)).map_or(0, |state| state.last_input) + 1;
        Input::Message { slot: Slot(slot), number, body: deed(letter, arguments).into() }
    }

    /// The slot's next message.
    pub fn message(&mut self, slot: u16, letter: char, arguments: &[u8]) -> Outcome {
        let input = self.next_message(slot, letter, arguments);
        self.run(input)
    }

    /// The same, which must be applied.
    #[track_caller]
    pub fn does(&mut self, slot: u16, letter: char, arguments: &[u8]) -> &[Output] {
        let outcome = self.message(slot, letter, arguments);
        assert_eq!(outcome, Outcome::Applied, "{letter}: {:?}", self.fold.last_fault());
        &self.outputs
    }

    /// The same, which must be skipped; answers the fault's words.
    #[track_caller]
    pub fn fails(&mut self, slot: u16, letter: char, arguments: &[u8], cause: SkipCause) -> String {
        let outcome = self.message(slot, letter, arguments);
        let words = self.fold.last_fault().unwrap_or_default().to_string();
        assert_eq!(outcome, Outcome::Skipped(cause), "{letter}: {words}");
        assert!(self.outputs.is_empty());
        words
    }

    /// The number that a message to a slot carries, of the last entry's outputs.
    #[track_caller]
    pub fn told(&self) -> u64 {
        let Some(Output::Send { body, .. }) = self.outputs.last() else {
            panic!("nothing was sent: {:?}", self.outputs)
        };
        u64::from_le_bytes(body[..8].try_into().expect("eight bytes"))
    }

    /// Replaces a poisoned fold, from a state (`None`: the log's start).
    pub fn rebuild(&mut self, from: Option<Arc<State>>) {
        let after = from.as_ref().map_or(0, |state| state.position());
        let rest = self.log.iter().filter(|record| record.position > after).cloned().collect();
        let module = self.fold.module().clone();
        let mut rebuild = Rebuild::new(&module, from, rest, LEADER);
        self.fold = loop {
            if let Step::Done(fold) = rebuild.step(Duration::from_micros(50)).expect("a rebuild") {
                break *fold;
            }
        };
    }

    pub fn hashes(&mut self) -> (StateHash, StateHash) {
        (self.fold.state_hash(), self.fold.output_hash())
    }
}

/// Folds records into a new replay; state hash and output hash after the last.
pub fn replayed(module: &Module, records: &[Record]) -> (StateHash, StateHash) {
    let mut fold = Fold::new(module, REPLAY).expect("an instance");
    replay_into(&mut fold, records)
}

/// Folds records into a fold.
pub fn replay_into(fold: &mut Fold, records: &[Record]) -> (StateHash, StateHash) {
    let mut outputs = Vec::new();
    for record in records {
        fold.replay(record, &mut outputs).expect("a record that folds");
    }
    (fold.state_hash(), fold.output_hash())
}
