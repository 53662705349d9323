//! `cargo xtask bench`: builds what is measured and hands over to the benchmark program.

use std::process::ExitCode;

use clap::Args;

use crate::steps;
use crate::workspace::{Error, Workspace};
use crate::{guests, steps::headline};

/// What to measure, and how.
#[derive(Args)]
pub struct Options {
    /// Names of benchmarks; `list` prints them.
    names: Vec<String>,
    /// At least 15 pairs of measurements each: for the record.
    #[arg(long)]
    full: bool,
    /// One JSON line a figure on standard output, nothing else.
    #[arg(long)]
    json: bool,
}

impl Options {
    /// What the benchmark program is told.
    fn arguments(&self) -> Vec<&str> {
        if self.names == ["list"] {
            return vec!["list"];
        }
        let names = self.names.iter().map(String::as_str);
        let switches = [(self.full, "--full"), (self.json, "--json")];
        let switches = switches.into_iter().filter_map(|(on, switch)| on.then_some(switch));
        std::iter::once("run").chain(names).chain(switches).collect()
    }
}

/// Builds and measures.
pub fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode, Error> {
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--package", "ringside-node", "--package", "ringside-bench", "--bins"]);
    steps::require("build", &mut build)?;
    headline("guests");
    guests::build(workspace.root()).map_err(|error| Error::Step(format!("building guests ({error})")))?;
    let program = workspace.program("ringside-bench");
    let mut bench = std::process::Command::new(&program);
    bench
        .args(options.arguments())
        .current_dir(workspace.root())
        .env("RINGSIDE_BIN", workspace.program("ringside"))
        .env("RINGSIDE_GUESTS", workspace.root().join("target-guests"))
        .env("RINGSIDE_SCRATCH", workspace.target().join("bench"));
    let status =
        bench.status().map_err(|source| Error::Start { program: program.to_string_lossy().into_owned(), source })?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_is_no_benchmark() {
        let options =
            |names: &[&str], full| Options { names: names.iter().map(|&n| n.to_owned()).collect(), full, json: true };
        assert_eq!(options(&["list"], false).arguments(), ["list"]);
        assert_eq!(
            options(&["echo_p50", "dispatch"], true).arguments(),
            ["run", "echo_p50", "dispatch", "--full", "--json"]
        );
        assert_eq!(options(&[], false).arguments(), ["run", "--json"]);
    }
}
