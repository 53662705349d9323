//! What gossip costs a node that has nothing to do: the node's own layer, sealed and with the snapshots that membership
//! eats, against bare chitchat with the same settings, saying the same things. Many nodes in a process, each on a thread
//! and a loopback socket of its own; the processes take turns.

use std::time::{Duration, Instant};

use crate::bench::{BenchError, Context};
use crate::child::Running;
use crate::figure::Figure;
use crate::machine::SERVER_CORE;
use crate::statistics::Paired;

/// Sizes of the cluster.
const NODES: [u32; 3] = [3, 10, 50];
/// How long a cluster that has found itself is left alone before it is looked at.
const SETTLING: Duration = Duration::from_millis(1500);
/// How long it is looked at.
const SLICE: Duration = Duration::from_secs(3);

/// What gossip costs a node in a second.
struct Cost {
    cpu_us: f64,
    bytes: f64,
}

/// CPU time.
pub fn cpu(context: &Context) -> Result<Vec<Figure>, BenchError> {
    figures(context, "gossip_cpu", "us/s", |cost| cost.cpu_us)
}

/// Bytes that are sent, without the headers of UDP and IP.
pub fn bytes(context: &Context) -> Result<Vec<Figure>, BenchError> {
    figures(context, "gossip_bytes", "B/s", |cost| cost.bytes)
}

fn figures(
    context: &Context,
    name: &'static str,
    unit: &'static str,
    pick: fn(&Cost) -> f64,
) -> Result<Vec<Figure>, BenchError> {
    let mut figures = Vec::new();
    for nodes in NODES {
        let side = |side| move || cost(side, nodes).map(|cost| pick(&cost));
        let pairs = Paired::measure(context.pairs(5), side("ours"), side("bare"))?;
        figures.push(Figure::paired(name, format!("a node of {nodes}"), unit, &pairs));
    }
    Ok(figures)
}

fn cost(side: &str, nodes: u32) -> Result<Cost, BenchError> {
    let mut process = Running::start(SERVER_CORE, &["serve", "gossip", side, "--nodes", &nodes.to_string()])?;
    std::thread::sleep(SETTLING);
    let (before, cpu, begun) = (process.counts()?, process.cpu_time()?, Instant::now());
    std::thread::sleep(SLICE);
    let (after, used) = (process.counts()?, process.cpu_time()?.saturating_sub(cpu));
    let each = begun.elapsed().as_secs_f64() * f64::from(nodes);
    let sent = after.since(&before).sent_bytes as f64;
    Ok(Cost { cpu_us: used.as_secs_f64() * 1e6 / each, bytes: sent / each })
}
