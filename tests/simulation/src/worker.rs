//! The worker's simulator: real workers with real QUIC (in plain text, with fixed seeds) and real guests, real client
//! cores, in virtual time. A seed decides who plays what, over which paths, and what goes wrong when.
//!
//! Real time plays no part: a call's cost is decided by the input ([`ringside_worker::WorkerConfig::cost_of`]), a
//! rebuild goes by records, and only endless loops are stopped by the watchdog, which they reach on any machine.

pub mod conditions;
pub mod dialer;
pub mod guests;
pub mod host;
pub mod identity;
pub mod ledger;
pub mod node;
pub mod path;
mod plaintext;
mod plan;
pub mod plant;
pub mod player;
pub mod quiet;
mod watch;
mod world;

use crate::checks::Checks;
use crate::scheduler::Micros;
use crate::trace::Trace;

pub use conditions::Condition;
pub use guests::Guests;
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
}

impl Outcome {
    /// Why the run fails, if it does: a violated condition, or one that was never looked at.
    pub fn failure(&self) -> Option<String> {
        if let Some(violation) = self.checks.violation() {
            return Some(format!("{:?}: {}", violation.condition, violation.seen));
        }
        let idle = self.checks.idle();
        (!idle.is_empty()).then(|| format!("never looked at: {idle:?}"))
    }
}

/// The run of a seed, with a bug if one is to be planted; the trace keeps so many of its last lines.
pub fn run(guests: &Guests, seed: u64, plant: Option<Plant>, lines: usize) -> Outcome {
    world::World::new(guests, seed, plant, lines).run()
}
