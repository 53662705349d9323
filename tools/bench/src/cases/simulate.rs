//! How fast the simulators of pure decisions are, of sessions with followers and of whole clusters: virtual time against the
//! CPU time that it took.

use ringside_cluster_simulation::sessions::{self, Mode};

use crate::bench::{BenchError, Context};
use crate::figure::Figure;
use crate::machine::{SERVER_CORE, on_core, thread_time};
use crate::statistics::Paired;

/// The run of a seed: its virtual time, µs, and why it fails if it does.
type Run = fn(u64) -> (u64, Option<String>);

/// Seeds of a measurement.
const SEEDS: u64 = 20;
/// Cases: what is simulated, and a run. The main one comes last.
const CASES: [(&str, Run); 3] = [
    ("sessions, one fault at a time", |seed| run_sessions(seed, Mode::Bounded)),
    ("sessions, whatever comes", |seed| run_sessions(seed, Mode::Unbounded)),
    ("cluster", |seed| {
        let outcome = ringside_cluster_simulation::run(seed, None, 0);
        (outcome.ended, outcome.failure())
    }),
];

fn run_sessions(seed: u64, mode: Mode) -> (u64, Option<String>) {
    let outcome = sessions::run(seed, mode, None, 0);
    (outcome.ended, outcome.failure())
}

/// Measures. The reference is real time: one second a second.
pub fn speed(context: &Context) -> Result<Vec<Figure>, BenchError> {
    on_core(SERVER_CORE, || CASES.into_iter().map(|case| measure(context, case)).collect())
}

fn measure(context: &Context, (case, run): (&str, Run)) -> Result<Figure, BenchError> {
    let mut first = 0;
    let ours = || {
        let begun = thread_time();
        let mut simulated_us = 0;
        for seed in first..first + SEEDS {
            let (ended, failure) = run(seed);
            if let Some(failure) = failure {
                return Err(BenchError::Setup(format!("seed {seed} of {case} fails: {failure}")));
            }
            simulated_us += ended;
        }
        first += SEEDS;
        Ok(simulated_us as f64 / 1e6 / (thread_time() - begun).as_secs_f64())
    };
    let pairs = Paired::measure(context.pairs(7), ours, || Ok(1.0))?;
    let figure = Figure::paired("simulate_speed", case, "s/s", &pairs);
    Ok(figure.with("seeds", SEEDS * pairs.len() as u64).with_target(300.0, false))
}
