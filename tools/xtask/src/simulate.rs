//! `cargo xtask simulate`: a simulator from a seed, to search for failures or to repeat one: the worker's, or with
//! `--cluster` that of whole clusters, which needs no guests and builds in seconds. Without a seed: a thousand clusters.

use std::process::{Command, ExitCode};

use clap::Args;

use crate::steps;
use crate::workspace::{Error, Workspace};
use crate::{guests, steps::headline};

/// Which runs.
#[derive(Args)]
pub struct Options {
    /// The first seed [default: the cluster's simulator from seed 1 on].
    #[arg(long)]
    seed: Option<u64>,
    /// How many seeds, counting up from the first [default: one; without a seed 1000].
    #[arg(long)]
    count: Option<u64>,
    /// The cluster's simulator. Says at the end how much faster than real time it was.
    #[arg(long)]
    cluster: bool,
}

/// Seeds of the cluster that are run where none is named.
const SEEDS: u64 = 1000;

impl Options {
    /// Whether it is the cluster's simulator, the first seed, and how many.
    fn resolved(&self) -> (bool, u64, u64) {
        match self.seed {
            Some(seed) => (self.cluster, seed, self.count.unwrap_or(1)),
            None => (true, 1, self.count.unwrap_or(SEEDS)),
        }
    }
}

/// Builds the simulator and runs it.
pub fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode, Error> {
    let (is_cluster, seed, count) = options.resolved();
    let (package, program) = match is_cluster {
        true => ("ringside-cluster-simulation", "ringside-simulate-cluster"),
        false => ("ringside-simulation", "ringside-simulate"),
    };
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--package", package, "--bins"]);
    steps::require("build", &mut build)?;
    if !is_cluster {
        headline("guests");
        guests::build(workspace.root()).map_err(|error| Error::Step(format!("building guests ({})", error.full())))?;
    }
    let program = workspace.program(program);
    let status = Command::new(&program)
        .args(["--seed", &seed.to_string(), "--count", &count.to_string()])
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
    fn without_a_seed_a_thousand_clusters_are_simulated() {
        let options = |seed, count, cluster| Options { seed, count, cluster };
        assert_eq!(options(None, None, false).resolved(), (true, 1, 1000));
        assert_eq!(options(None, Some(5), false).resolved(), (true, 1, 5));
        assert_eq!(options(Some(7), None, false).resolved(), (false, 7, 1));
        assert_eq!(options(Some(7), Some(9), true).resolved(), (true, 7, 9));
    }
}
