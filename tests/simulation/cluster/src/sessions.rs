//! Sessions with logs: leaders and followers of the pure core, players that send and watch, a store, and a network, in
//! virtual time. What a node does is the production code of `ringside_core::leadership`; its worker is a model: a turn
//! every 10 ms, a log in memory, a fold that hashes what it is given.
//!
//! Three modes. *Bounded*: one fault at a time, with time to recover; no session may be lost, each is led again in time and
//! whoever stood still or lost packets within the bounds is not deposed. *Unbounded*: whatever comes; sessions may stop,
//! and must not be wrong. *Away*: a machine is away for an hour, while its sessions end, go on and are evicted.

mod away;
mod conditions;
mod gaps;
mod history;
mod log;
mod machine;
mod network;
mod outputs;
mod packet;
mod plan;
mod plant;
mod players;
mod releases;
mod seals;
mod store;
mod suspects;
mod truth;
mod world;

#[cfg(test)]
mod tests;

use ringside_simulation_kit::checks::Checks;
use ringside_simulation_kit::scheduler::Micros;
use ringside_simulation_kit::trace::Trace;

pub use conditions::Condition;
pub use plan::Mode;
pub use plant::Plant;

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What was looked at, and the first condition that did not hold.
    pub checks: Checks<Condition>,
    /// What happened.
    pub trace: Trace,
    /// When it ended.
    pub ended: Micros,
    /// Events of the run.
    pub events: u64,
}

impl Outcome {
    /// Why the run fails, if it does: a violated condition.
    pub fn failure(&self) -> Option<String> {
        self.checks.violation().map(|violation| format!("{:?}: {}", violation.condition, violation.seen))
    }
}

/// The run of a seed, with a bug if one is to be planted; the trace keeps so many of its last lines.
pub fn run(seed: u64, mode: Mode, plant: Option<Plant>, lines: usize) -> Outcome {
    world::World::new(seed, mode, plant, lines).run()
}
