//! `ringside-chaos`: a run of chaos, for `cargo xtask chaos`. Prints its seed first and its figures last; exit code 1 if a
//! promise was broken.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use ringside_cluster_tests::chaos::{Plan, run};

/// Runs faults against a cluster of real nodes.
#[derive(Parser)]
struct Options {
    /// For how many minutes there are faults.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// What draws the faults [default: the time].
    #[arg(long)]
    seed: Option<u64>,
    /// Sessions, each with one to three players.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    sessions: u64,
    /// Where histories of broken promises are written.
    #[arg(long, default_value = "target/chaos")]
    directory: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |time| time.as_secs());
    let seed = options.seed.unwrap_or(now);
    println!("seed {seed}");
    let length = Duration::from_secs_f64(options.minutes.clamp(0.0, 24.0 * 60.0) * 60.0);
    let plan = Plan { seed, length, sessions: options.sessions, directory: options.directory };
    let report = run(&plan).await;
    println!("{report}");
    if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
