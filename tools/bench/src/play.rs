//! A session folded in virtual time, as a leader would: for what is measured inside one process.

use bytes::Bytes;
use ringside_core::ids::Slot;
use ringside_core::log::{Input, Outcome, Record};
use ringside_core::output::Output;
use ringside_sandbox::{Fold, FoldOptions, Module, Sandbox, SandboxConfig};

use crate::bench::BenchError;

/// Pools as large as any benchmark here needs.
const SESSIONS: u32 = 256;

/// A sandbox without a cache.
pub fn sandbox() -> Result<Sandbox, BenchError> {
    Sandbox::new(SandboxConfig { cache_directory: None, warm_sessions: Some(SESSIONS) }).map_err(BenchError::setup)
}

/// A session.
pub struct Play {
    /// Its state.
    pub fold: Fold,
    time_us: u64,
    outputs: Vec<Output>,
}

impl Play {
    /// A session that has started.
    pub fn start(module: &Module, config: &[u8]) -> Result<Play, BenchError> {
        let fold = Fold::new(module, FoldOptions::default()).map_err(BenchError::setup)?;
        let mut play = Play { fold, time_us: 0, outputs: Vec::new() };
        play.run(start(module, config))?;
        Ok(play)
    }

    /// Time passes.
    pub fn pass(&mut self, time_us: u64) {
        self.time_us += time_us;
    }

    /// Session time, µs.
    pub fn time_us(&self) -> u64 {
        self.time_us
    }

    /// A player takes a slot.
    pub fn join(&mut self, slot: u16) -> Result<Record, BenchError> {
        let player = format!("player-{slot}").parse().map_err(BenchError::setup)?;
        self.run(Input::Join { slot: Slot(slot), player })
    }

    /// A player sends a datagram.
    pub fn datagram(&mut self, slot: u16, body: &[u8]) -> Result<Record, BenchError> {
        self.run(Input::Datagram { slot: Slot(slot), body: Bytes::copy_from_slice(body) })
    }

    /// Runs an entry, which must be applied.
    pub fn run(&mut self, input: Input) -> Result<Record, BenchError> {
        self.apply(&input)?;
        Ok(Record { position: self.fold.position(), time_us: self.time_us, input, outcome: Outcome::Applied })
    }

    /// The same without a record: what is measured.
    pub fn apply(&mut self, input: &Input) -> Result<(), BenchError> {
        self.outputs.clear();
        match self.fold.apply(self.time_us, input, &mut self.outputs).map_err(BenchError::setup)? {
            Outcome::Applied => Ok(()),
            Outcome::Skipped(_) => {
                Err(BenchError::Setup(format!("the guest fails: {}", self.fold.last_fault().unwrap_or("?"))))
            }
        }
    }

    /// Every player has everything that was sent.
    pub fn acknowledge(&mut self) -> Result<Vec<Record>, BenchError> {
        let behind = self.fold.slots().filter(|state| state.outputs.first() <= state.outputs.last());
        let inputs = behind.map(|state| Input::Acknowledge { slot: state.slot, up_to: state.outputs.last() });
        let inputs: Vec<Input> = inputs.collect();
        inputs.into_iter().map(|input| self.run(input)).collect()
    }
}

/// The entry that begins a session.
pub fn start(module: &Module, config: &[u8]) -> Input {
    Input::Start {
        module: module.hash(),
        rewriter: module.rewriter_version(),
        seed: [3; 32],
        config: Bytes::copy_from_slice(config),
    }
}
