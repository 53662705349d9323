//! `cargo xtask`: what people do with this repository, as commands. Builds, checks and starts things; holds no logic
//! of the product, and needs only a Rust toolchain and a C compiler.

mod bench;
mod chaos;
mod dev;
mod guests;
mod interrupt;
mod libfuzzer;
mod simulate;
mod steps;
mod tally;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Build, test, run and measure Ringside")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build everything, start three nodes with the sample games, and say what to type next. Ctrl-C ends it all.
    Dev(dev::Options),
    /// Check everything: format, lints, documentation, guests, tests, dependencies. The last line counts.
    Test {
        /// Run only the tests whose name contains this, without the other checks; none is a failure.
        filter: Option<String>,
    },
    /// Build the sample games as WebAssembly modules into `target-guests/modules`.
    Guests,
    /// Measure, each figure beside its reference. Without names: all of them.
    Bench(bench::Options),
    /// Run real nodes, players who verify every promise, and faults that a seed draws.
    Chaos(chaos::Options),
    /// Run a simulator with a seed; the same seed gives the same trace. Without one: a thousand clusters.
    Simulate(simulate::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = Workspace::find().and_then(|workspace| match arguments.command {
        Command::Dev(options) => dev::run(&workspace, options),
        Command::Test { filter } => test::run(&workspace, filter.as_deref()),
        Command::Guests => guests::command(workspace.root()),
        Command::Bench(options) => bench::run(&workspace, &options),
        Command::Chaos(options) => chaos::run(&workspace, &options),
        Command::Simulate(options) => simulate::run(&workspace, &options),
    });
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
