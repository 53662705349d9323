//! `cargo xtask simulate`: a simulator from a seed, to search for failures or to repeat one: the worker's, or with
//! `--cluster` that of whole clusters, which needs no guests and builds in seconds.

use std::process::{Command, ExitCode};

use clap::Args;

use crate::steps;
use crate::workspace::{Error, Workspace};
use crate::{guests, steps::headline};

/// Which runs.
#[derive(Args)]
pub struct Options {
    /// The first seed.
    #[arg(long)]
    seed: u64,
    /// How many seeds, counting up from the first.
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// The cluster's simulator.
    #[arg(long)]
    cluster: bool,
}

/// Builds the simulator and runs it.
pub fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode, Error> {
    let (package, program) = match options.cluster {
        true => ("ringside-cluster-simulation", "ringside-simulate-cluster"),
        false => ("ringside-simulation", "ringside-simulate"),
    };
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--package", package, "--bins"]);
    steps::require("build", &mut build)?;
    if !options.cluster {
        headline("guests");
        guests::build(workspace.root()).map_err(|error| Error::Step(format!("building guests ({})", error.full())))?;
    }
    let program = workspace.program(program);
    let status = Command::new(&program)
        .args(["--seed", &options.seed.to_string(), "--count", &options.count.to_string()])
        .current_dir(workspace.root())
        .env("RINGSIDE_GUESTS", workspace.root().join("target-guests"))
        .status()
        .map_err(|source| Error::Start { program: program.to_string_lossy().into_owned(), source })?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
