//! `cargo xtask chaos`: faults that a seed draws against a cluster of real nodes, whose players verify what they were
//! promised. Ends with code 1 if a promise was broken, and says where the history of that session is.

use std::process::{Command, ExitCode};

use clap::Args;

use crate::steps;
use crate::workspace::{Error, Workspace};
use crate::{guests, steps::headline};

/// Which run.
#[derive(Args)]
pub struct Options {
    /// For how many minutes there are faults.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// What draws the faults [default: the time; it is printed].
    #[arg(long)]
    seed: Option<u64>,
    /// Sessions, each with one to three players.
    #[arg(long, default_value_t = 100)]
    sessions: u64,
}

/// Builds everything that takes part, and runs it.
pub fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode, Error> {
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--package", "ringside-node", "--package", "ringside-cluster-tests", "--bins"]);
    steps::require("build", &mut build)?;
    headline("guests");
    guests::build(workspace.root()).map_err(|error| Error::Step(format!("building guests ({})", error.full())))?;
    let program = workspace.program("ringside-chaos");
    let status = Command::new(&program)
        .args(["--minutes", &options.minutes.to_string(), "--sessions", &options.sessions.to_string()])
        .args(options.seed.map(|seed| format!("--seed={seed}")))
        .arg("--directory")
        .arg(workspace.target().join("chaos"))
        .current_dir(workspace.root())
        .env("RINGSIDE_BIN", workspace.program("ringside"))
        .env("RINGSIDE_GUESTS", workspace.root().join("target-guests"))
        .status()
        .map_err(|source| Error::Start { program: program.to_string_lossy().into_owned(), source })?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
