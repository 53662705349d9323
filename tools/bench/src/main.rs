//! `ringside-bench`: measures figures beside their references, each side in a process on a core of its own. The
//! subcommands `serve` and `load` are those processes; people use `run` and `list` (or `cargo xtask bench`).

mod batch;
mod bench;
mod bots;
mod cases;
mod child;
mod colyseus;
mod delay;
mod figure;
mod identity;
mod load;
mod machine;
mod nodes;
mod plain;
mod play;
mod player;
mod process;
mod random;
mod serve;
mod statistics;
mod talk;
mod tls;
mod traffic;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::bench::{BenchError, Context};

#[derive(Parser)]
#[command(name = "ringside-bench", about = "Ringside's figures, each beside its reference")]
struct Arguments {
    /// Keep this process on one core.
    #[arg(long, global = true, value_name = "N")]
    core: Option<usize>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure the named benchmarks, or all.
    Run {
        /// Their names.
        names: Vec<String>,
        /// At least 15 pairs each: for the record.
        #[arg(long)]
        full: bool,
        /// One JSON line a figure.
        #[arg(long)]
        json: bool,
    },
    /// Print the names of the benchmarks and what each measures.
    List,
    /// Be a server that something is compared with.
    #[command(subcommand)]
    Serve(serve::Kind),
    /// Be the load of a server.
    #[command(subcommand)]
    Load(load::Kind),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(core) = arguments.core
        && !machine::pin(core)
    {
        eprintln!("cannot stay on core {core}: figures will be noisier");
    }
    let result = match arguments.command {
        Command::Run { names, full, json } => run(&names, full, json),
        Command::List => {
            cases::ALL.iter().for_each(|case| println!("{:<24} {}", case.name, case.about));
            cases::BESIDE.iter().for_each(|(figure, case)| println!("{figure:<24} measured with {case}"));
            Ok(true)
        }
        Command::Serve(kind) => serve::run(kind).map(|()| true),
        Command::Load(kind) => load::run(kind).map(|()| true),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures; goes on after a benchmark that failed. Says whether all went well.
fn run(names: &[String], full: bool, json: bool) -> Result<bool, BenchError> {
    let asked = |name| cases::find(name).map(|case| (name, case));
    let cases: Vec<(&str, &cases::Case)> = if names.is_empty() {
        cases::ALL.iter().map(|case| (case.name, case)).collect()
    } else {
        names.iter().map(|name| asked(name.as_str())).collect::<Result<_, _>>()?
    };
    let context = Context::from_environment(full)?;
    let mut good = true;
    for (name, case) in cases {
        eprintln!("--- {}: {}", case.name, case.about);
        match (case.measure)(&context) {
            Ok(figures) => (cases::in_order(figures, name).iter())
                .for_each(|figure| println!("{}", if json { figure.json() } else { figure.row() })),
            Err(BenchError::Skipped(why)) => eprintln!("skipped: {}: {why}", case.name),
            Err(error) => {
                good = false;
                eprintln!("failed: {}: {error}", case.name);
            }
        }
    }
    Ok(good)
}
