//! `ringside-simulate-sessions`: runs of sessions with logs from a seed. One run prints its trace, several a line for each
//! that fails and a summary.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use ringside_cluster_simulation::sessions::{Condition, Mode, Plant, run};
use ringside_simulation_kit::checks::Checks;

/// Lines of the trace that one run prints, at most.
const LINES: usize = 1_000_000;

/// Runs sessions with leaders and followers.
#[derive(Parser)]
struct Options {
    /// The first seed.
    #[arg(long)]
    seed: u64,
    /// How many seeds, counting up from the first.
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// Faults one at a time, after each of which everything must go on.
    #[arg(long)]
    bounded: bool,
    /// A machine is away for an hour.
    #[arg(long, conflicts_with = "bounded")]
    away: bool,
    /// Plant a bug, by its name, and see how it is caught.
    #[arg(long, value_parser = plant)]
    plant: Option<Plant>,
}

fn plant(name: &str) -> Result<Plant, String> {
    let all = Plant::ALL.iter().map(|(plant, _)| *plant);
    let names = || all.clone().map(|plant| format!("{plant:?}")).collect::<Vec<_>>().join(", ");
    all.clone().find(|plant| format!("{plant:?}") == name).ok_or_else(|| format!("the plants are {}", names()))
}

fn main() -> ExitCode {
    let Options { seed, count, bounded, away, plant } = Options::parse();
    let mode = match (bounded, away) {
        (true, _) => Mode::Bounded,
        (_, true) => Mode::Away,
        _ => Mode::Unbounded,
    };
    let mut all = Checks::of(Condition::ALL);
    let (mut failed, mut simulated_us) = (0_u64, 0);
    let begun = Instant::now();
    for seed in seed..seed.saturating_add(count) {
        let outcome = run(seed, mode, plant, if count == 1 { LINES } else { 0 });
        outcome.trace.lines().for_each(|line| println!("{line}"));
        simulated_us += outcome.ended;
        let (lines, digest) = outcome.trace.digest();
        if let Some(failure) = outcome.failure() {
            failed += 1;
            println!("seed {seed}: FAILED after {} ms: {failure}", outcome.ended / 1000);
        } else if count == 1 {
            println!("seed {seed}: {lines} lines, digest {digest:016x}");
        }
        all.absorb(&outcome.checks);
    }
    println!();
    for (condition, evaluated) in all.evaluated() {
        println!("{evaluated:>12}  {condition:?}");
    }
    let speed = simulated_us as f64 / 1e6 / begun.elapsed().as_secs_f64();
    println!("{} of {count} runs passed, {speed:.0} times as fast as real time", count - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
