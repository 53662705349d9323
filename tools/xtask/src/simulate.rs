//! `cargo xtask simulate`: a simulator from a seed, to search for failures or to repeat one: the worker's, or with
//! `--cluster` that of whole clusters, with `--sessions` that of sessions with followers; these two need no guests and build
//! in seconds. Without a seed: a thousand of them.

use std::process::{Command, ExitCode};

use clap::Args;

use crate::steps;
use crate::workspace::{Error, Workspace};
use crate::{guests, steps::headline};

/// Which runs.
#[derive(Args)]
pub struct Options {
    /// The first seed [default: 1, and the cluster's simulator unless another is named].
    #[arg(long)]
    seed: Option<u64>,
    /// How many seeds, counting up from the first [default: one; without a seed 1000].
    #[arg(long)]
    count: Option<u64>,
    /// The cluster's simulator. Says at the end how much faster than real time it was.
    #[arg(long, conflicts_with = "sessions")]
    cluster: bool,
    /// The simulator of sessions with leaders, followers and players.
    #[arg(long)]
    sessions: bool,
    /// One fault of sessions at a time, after each of which all must go on.
    #[arg(long, requires = "sessions")]
    bounded: bool,
    /// A machine is away for an hour, while its sessions end, go on and are evicted.
    #[arg(long, requires = "sessions", conflicts_with = "bounded")]
    away: bool,
}

/// Seeds that are run where none is named.
const SEEDS: u64 = 1000;

/// A simulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Simulator {
    Worker,
    Cluster,
    Sessions,
}

impl Simulator {
    /// Its package and its program.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Simulator::Worker => ("ringside-simulation", "ringside-simulate"),
            Simulator::Cluster => ("ringside-cluster-simulation", "ringside-simulate-cluster"),
            Simulator::Sessions => ("ringside-cluster-simulation", "ringside-simulate-sessions"),
        }
    }
}

impl Options {
    /// Which simulator, the first seed, and how many.
    fn resolved(&self) -> (Simulator, u64, u64) {
        let simulator = match (self.sessions, self.cluster || self.seed.is_none()) {
            (true, _) => Simulator::Sessions,
            (false, true) => Simulator::Cluster,
            (false, false) => Simulator::Worker,
        };
        let count = if self.seed.is_some() { 1 } else { SEEDS };
        (simulator, self.seed.unwrap_or(1), self.count.unwrap_or(count))
    }
}

/// Builds the simulator and runs it.
pub fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode, Error> {
    let (simulator, seed, count) = options.resolved();
    let (package, program) = simulator.names();
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--package", package, "--bins"]);
    steps::require("build", &mut build)?;
    if simulator == Simulator::Worker {
        headline("guests");
        guests::build(workspace.root()).map_err(|error| Error::Step(format!("building guests ({})", error.full())))?;
    }
    let program = workspace.program(program);
    let status = Command::new(&program)
        .args(["--seed", &seed.to_string(), "--count", &count.to_string()])
        .args(options.bounded.then_some("--bounded"))
        .args(options.away.then_some("--away"))
        .current_dir(workspace.root())
        .env("RINGSIDE_GUESTS", workspace.root().join("target-guests"))
        .status()
        .map_err(|source| Error::Start { program: program.to_string_lossy().into_owned(), source })?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_seed_a_thousand_are_simulated() {
        let options = |seed, count, cluster, sessions| {
            Options { seed, count, cluster, sessions, bounded: false, away: false }.resolved()
        };
        assert_eq!(options(None, None, false, false), (Simulator::Cluster, 1, 1000));
        assert_eq!(options(None, Some(5), false, false), (Simulator::Cluster, 1, 5));
        assert_eq!(options(Some(7), None, false, false), (Simulator::Worker, 7, 1));
        assert_eq!(options(Some(7), Some(9), true, false), (Simulator::Cluster, 7, 9));
        assert_eq!(options(None, None, false, true), (Simulator::Sessions, 1, 1000));
        assert_eq!(options(Some(7), None, false, true), (Simulator::Sessions, 7, 1));
    }
}
