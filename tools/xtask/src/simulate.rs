//! `cargo xtask simulate`: the worker simulator from a seed, to search for failures or to repeat one.

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
}

/// Builds the simulator and runs it.
pub fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode, Error> {
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--package", "ringside-simulation", "--bins"]);
    steps::require("build", &mut build)?;
    headline("guests");
    guests::build(workspace.root()).map_err(|error| Error::Step(format!("building guests ({})", error.full())))?;
    let program = workspace.program("ringside-simulate");
    let status = Command::new(&program)
        .args(["--seed", &options.seed.to_string(), "--count", &options.count.to_string()])
        .current_dir(workspace.root())
        .env("RINGSIDE_GUESTS", workspace.root().join("target-guests"))
        .status()
        .map_err(|source| Error::Start { program: program.to_string_lossy().into_owned(), source })?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
