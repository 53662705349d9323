//! How fast the cluster's simulator is: virtual time against the CPU time that it took.

use crate::bench::{BenchError, Context};
use crate::figure::Figure;
use crate::machine::{SERVER_CORE, on_core, thread_time};
use crate::statistics::Paired;

/// Seeds of a measurement.
const SEEDS: u64 = 20;

/// Measures. The reference is real time: one second a second.
pub fn speed(context: &Context) -> Result<Vec<Figure>, BenchError> {
    on_core(SERVER_CORE, || {
        let mut first = 0;
        let ours = || {
            let begun = thread_time();
            let mut simulated_us = 0;
            for seed in first..first + SEEDS {
                let outcome = ringside_cluster_simulation::run(seed, None, 0);
                if let Some(failure) = outcome.failure() {
                    return Err(BenchError::Setup(format!("seed {seed} fails: {failure}")));
                }
                simulated_us += outcome.ended;
            }
            first += SEEDS;
            Ok(simulated_us as f64 / 1e6 / (thread_time() - begun).as_secs_f64())
        };
        let pairs = Paired::measure(context.pairs(7), ours, || Ok(1.0))?;
        Ok(vec![Figure::paired("simulate_speed", "cluster", "s/s", &pairs).with_target(300.0, false)])
    })
}
