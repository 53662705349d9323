//! What it costs to be relayed: messages to a session on another node, passed on by the node that the player reaches,
//! against messages straight to it. Two real nodes share the server's core; the loads take turns in slices.

use std::time::Duration;

use crate::bench::{BenchError, Context};
use crate::child::Running;
use crate::figure::Figure;
use crate::load::echo::Latencies;
use crate::machine::LOAD_CORE;
use crate::nodes::Cluster;
use crate::statistics::Paired;

/// One turn of a load.
const SLICE: Duration = Duration::from_secs(2);
/// How long the idle nodes are looked at before each pair.
const IDLE: Duration = Duration::from_secs(1);
/// Time between two messages, µs.
const INTERVAL_US: &str = "1250";

/// Measures.
pub fn measure(context: &Context) -> Result<Vec<Figure>, BenchError> {
    let cluster = Cluster::start(context, "relay", 2, &[])?;
    cluster.push(context, "echo")?;
    cluster.create(1, "relayed", 2)?;
    cluster.create(1, "direct", 2)?;
    let (mut relayed, mut direct) = (load(&cluster, 1, &["relayed", "--relay"])?, load(&cluster, 2, &["direct"])?);
    turn(&cluster, &mut relayed, 0.0)?;
    turn(&cluster, &mut direct, 0.0)?;
    let (mut latency, mut cpu) = (Paired::default(), Paired::default());
    for _ in 0..context.pairs(9) {
        let idle = idle(&cluster)?;
        let (ours, reference) = (turn(&cluster, &mut relayed, idle)?, turn(&cluster, &mut direct, idle)?);
        latency.push(ours.p50_us, reference.p50_us);
        cpu.push(ours.cpu_us, reference.cpu_us);
    }
    let figure = |case: &str, pairs| Figure::paired("relay_vs_direct", case, "us", pairs);
    Ok(vec![
        figure("CPU of all nodes a message", &cpu).with("without", "what idle nodes use"),
        figure("echo p50, 64 B, 800 a second", &latency),
    ])
}

/// What a message took.
struct Turn {
    p50_us: f64,
    cpu_us: f64,
}

fn load(cluster: &Cluster, by: u64, seat: &[&str]) -> Result<Running, BenchError> {
    let door = cluster.door(by)?.to_string();
    let words = ["load", "worker-echo", &door, "--interval-us", INTERVAL_US, "--key"];
    Running::start(LOAD_CORE, &[&words, seat].concat())
}

/// CPU time of all nodes, seconds.
fn cpu_s(cluster: &Cluster) -> Result<f64, BenchError> {
    cluster.nodes().map(|(_, node)| Ok(node.cpu_time()?.as_secs_f64())).sum()
}

/// CPU seconds a second of nodes that nobody uses.
fn idle(cluster: &Cluster) -> Result<f64, BenchError> {
    let (before, begun) = (cpu_s(cluster)?, std::time::Instant::now());
    std::thread::sleep(IDLE);
    Ok((cpu_s(cluster)? - before) / begun.elapsed().as_secs_f64())
}

/// Lets a load work for a slice. Every message must come back.
fn turn(cluster: &Cluster, load: &mut Running, idle: f64) -> Result<Turn, BenchError> {
    let (before, begun) = (cpu_s(cluster)?, std::time::Instant::now());
    let latencies: Latencies = load.slice(SLICE)?;
    let used = cpu_s(cluster)? - before - idle * begun.elapsed().as_secs_f64();
    if latencies.answered < latencies.sent {
        return Err(BenchError::Child(format!("answered {} of {}", latencies.answered, latencies.sent)));
    }
    Ok(Turn { p50_us: latencies.p50, cpu_us: used * 1e6 / latencies.answered.max(1) as f64 })
}
