//! `ringside-simulate`: runs of the worker's simulator from a seed. One run prints its trace, several a line for each
//! and a summary; a run that fails prints how to repeat it.

use std::process::ExitCode;

use clap::Parser;
use ringside_simulation::checks::Checks;
use ringside_simulation::worker::{Condition, Guests, run};

/// Lines of the trace that one run prints, at most.
const LINES: usize = 1_000_000;

/// Runs the worker's simulator.
#[derive(Parser)]
struct Options {
    /// The first seed.
    #[arg(long)]
    seed: u64,
    /// How many seeds, counting up from the first.
    #[arg(long, default_value_t = 1)]
    count: u64,
}

fn main() -> ExitCode {
    let Options { seed, count } = Options::parse();
    let guests = Guests::load();
    let mut all = Checks::of(Condition::ALL);
    let mut failed = 0;
    for seed in seed..seed.saturating_add(count) {
        let outcome = run(&guests, seed, None, if count == 1 { LINES } else { 0 });
        outcome.trace.lines().for_each(|line| println!("{line}"));
        let (lines, digest) = outcome.trace.digest();
        let seconds = outcome.ended / 1_000_000;
        match outcome.failure() {
            None => println!("seed {seed}: {seconds} s of virtual time, {lines} events, digest {digest:016x}"),
            Some(failure) => {
                failed += 1;
                println!("seed {seed}: FAILED after {seconds} s: {failure}");
                println!("  repeat it with: cargo xtask simulate --seed {seed}");
            }
        }
        all.absorb(&outcome.checks);
    }
    println!();
    for (condition, evaluated) in all.evaluated() {
        println!("{evaluated:>12}  {condition:?}");
    }
    println!("{} of {count} runs passed", count - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
