//! The cluster's simulator: whole clusters of the pure core (membership, directory, ring, routing) in virtual time over
//! a model network and model gossip. A seed decides how many nodes there are, who asks them for what, and what goes
//! wrong when: crashes, departures, arrivals, ways that are cut (one-way, too), loss, delay, doubling, reordering,
//! stalls, clocks an hour apart that jump, a second node with a number that is taken.
//!
//! Everything a node does is the production code of `ringside-core`; what surrounds it (workers, links, gossip, players)
//! is a model that fits on a few pages. A run has three parts: trouble; peace, until all agree; and then everybody is
//! asked for the same sessions, and everything that is known is compared with what is.

mod callers;
pub mod conditions;
mod drive;
mod gossip;
mod network;
mod packet;
mod plan;
pub mod plant;
mod process;
mod replicas;
pub mod sessions;
mod truth;
mod watch;
mod world;

#[cfg(test)]
mod tests;

use ringside_simulation_kit::checks::Checks;
use ringside_simulation_kit::scheduler::Micros;
use ringside_simulation_kit::trace::Trace;

pub use conditions::Condition;
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
pub fn run(seed: u64, plant: Option<Plant>, lines: usize) -> Outcome {
    world::World::new(seed, plant, lines).run()
}
