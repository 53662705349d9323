//! How soon a new node is of use: from the start of its process until the first session that was placed on it has answered
//! its first player. A fourth node that joins three, against a node alone; both with nothing in their directories but
//! number and secret, both with the game in their store and compiled by nobody for them.

use std::time::Instant;

use crate::bench::{BenchError, Context};
use crate::figure::Figure;
use crate::machine::{LOAD_CORE, on_core};
use crate::nodes::{Cluster, PATIENCE, PAUSE};
use crate::player;
use crate::statistics::Paired;

/// Nodes that are there.
const NODES: u64 = 3;

/// Measures.
pub fn serving(context: &Context) -> Result<Vec<Figure>, BenchError> {
    on_core(LOAD_CORE, || {
        let mut cluster = Cluster::start(context, "join", NODES, &[])?;
        cluster.push(context, "echo")?;
        let mut alone = Cluster::start(context, "alone", 1, &[])?;
        alone.push(context, "echo")?;
        alone.stop(1)?;
        // Each node is another one: numbers, like directories, are not used again.
        let (mut fourth, mut lone) = (NODES, 1);
        let pairs = Paired::measure(
            context.pairs(7),
            || {
                fourth += 1;
                start_to_answer_ms(&mut cluster, 1, fourth)
            },
            || {
                lone += 1;
                start_to_answer_ms(&mut alone, lone, lone)
            },
        )?;
        Ok(vec![Figure::paired("join_to_serving_ms", format!("node {} joins", NODES + 1), "ms", &pairs)])
    })
}

/// Starts a node, has node `by` place a session on it, and plays; then the node leaves.
fn start_to_answer_ms(cluster: &mut Cluster, by: u64, number: u64) -> Result<f64, BenchError> {
    let runtime = player::runtime()?;
    let endpoint = runtime.block_on(async { player::endpoint(([127, 0, 0, 1], 0).into()) })?;
    cluster.prepare(number)?;
    let begun = Instant::now();
    cluster.add(number)?;
    let door = cluster.door(number)?;
    let key = format!("first-of-{number}");
    // Others may not count on it yet.
    while let Err(error) = cluster.create(by, &key, number) {
        if begun.elapsed() > PATIENCE {
            return Err(error);
        }
        std::thread::sleep(PAUSE);
    }
    runtime.block_on(player::echo(&endpoint, &door, "ada", &key))?;
    let taken = begun.elapsed();
    cluster.stop(number)?;
    if cluster.nodes().next().is_some() {
        cluster.agreed()?;
    }
    Ok(taken.as_secs_f64() * 1e3)
}
