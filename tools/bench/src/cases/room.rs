//! What a match costs its server: CPU time of the server's process a match and second, eight players at 20 Hz.

use std::time::{Duration, Instant};

use crate::bench::{BenchError, Context};
use crate::child::{Counts, Running};
use crate::figure::Figure;
use crate::machine::{LOAD_CORE, SERVER_CORE};
use crate::statistics::Paired;
use crate::traffic::Traffic;

/// Not measured after everybody is seated: caches, first packets, path discovery.
const WARM_UP: Duration = Duration::from_millis(1500);
/// Measured.
const WINDOW: Duration = Duration::from_secs(4);

/// One side's measurement.
#[derive(Debug)]
struct Cost {
    /// CPU milliseconds a match and second.
    milliseconds: f64,
    /// What the server counted.
    server: Counts,
    /// What the load counted.
    load: Counts,
}

/// Bare UDP against ordinary quinn.
pub fn floor_vs_quinn(context: &Context) -> Result<Vec<Figure>, BenchError> {
    let traffic = Traffic { matches: 50, up: 24, down: 100 };
    let mut counts = Vec::new();
    let mut measure = |server: &str, load: &str| {
        let cost = reference(server, load, traffic)?;
        counts.push(format!("{server}: {} in {} out", cost.server.received, cost.server.sent));
        Ok::<f64, BenchError>(cost.milliseconds)
    };
    let mut pairs = Paired::default();
    for _ in 0..context.pairs(3) {
        let floor = measure("floor", "floor")?;
        pairs.push(floor, measure("quinn-room", "quinn-room")?);
    }
    let figure = Figure::paired("reference_floor_vs_quinn", "50 matches", "ms", &pairs);
    Ok(vec![figure.with("counts", counts.join("; "))])
}

/// Measures a reference server once, in fresh processes.
fn reference(server: &str, load: &str, traffic: Traffic) -> Result<Cost, BenchError> {
    let arguments = traffic.arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut serving = Running::start(SERVER_CORE, &[&["serve", server], &arguments[..]].concat())?;
    let address = serving.ready().to_owned();
    let mut loading = Running::start(LOAD_CORE, &[&["load", load, &address], &arguments[..]].concat())?;
    std::thread::sleep(WARM_UP);
    let (server, load, cpu) = (serving.counts()?, loading.counts()?, serving.cpu_time()?);
    let started = Instant::now();
    std::thread::sleep(WINDOW);
    let used = serving.cpu_time()?.saturating_sub(cpu);
    let elapsed = started.elapsed();
    Ok(Cost {
        milliseconds: used.as_secs_f64() * 1e3 / elapsed.as_secs_f64() / traffic.matches as f64,
        server: serving.counts()?.since(&server),
        load: loading.counts()?.since(&load),
    })
}
