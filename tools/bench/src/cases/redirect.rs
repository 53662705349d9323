//! What it costs to knock at the wrong node: time until a player has a seat, entering by a node that must send them on
//! against entering by the one that holds their match. On loopback, and over a path with a known delay, where the time is
//! counted in round trips.

use std::time::Duration;

use ringside_client::Arrival;

use crate::bench::{BenchError, Context};
use crate::delay::Delayed;
use crate::figure::{Figure, rounded};
use crate::identity::Door;
use crate::machine::{LOAD_CORE, on_core};
use crate::nodes::Cluster;
use crate::player;
use crate::statistics::{Paired, quantile};

/// Nodes; the last one leads the session.
const NODES: u64 = 3;
/// Entries of a turn; the median counts.
const ENTRIES: usize = 10;
/// The same over the delayed path.
const DELAYED_ENTRIES: usize = 3;
/// What the path delays a packet, each way.
const DELAY: Duration = Duration::from_millis(20);
/// Where the nodes of the delayed cluster are reached: the same ports as where they listen.
const FAR: [u8; 4] = [127, 0, 0, 2];
/// Round trips that a redirect may add: a handshake, and the question again.
const MORE: f64 = 2.0;

/// Measures.
pub fn cost(context: &Context) -> Result<Vec<Figure>, BenchError> {
    on_core(LOAD_CORE, || {
        let runtime = player::runtime()?;
        let near = runtime.block_on(pairs(context, "redirect", false, context.pairs(11), ENTRIES))?;
        let far = runtime.block_on(pairs(context, "redirect-far", true, context.pairs(5), DELAYED_ENTRIES))?;
        let trips = |far: f64, near: f64| (far - near) / (2.0 * DELAY.as_secs_f64() * 1e3);
        let (ours, reference) = (trips(far.ours(), near.ours()), trips(far.reference(), near.reference()));
        let (more, delay) = (ours - reference, 2 * DELAY.as_millis() as u64);
        let counted = Figure {
            name: "redirect_cost",
            case: format!("round trips of {delay} ms"),
            value: ours,
            unit: "trips",
            reference,
            ratio: ours / reference,
            spread: far.spread(),
            extra: Default::default(),
        };
        let counted = counted.with("more", rounded(more)).with("pairs", far.len());
        // A timer's granularity adds to each of them.
        let counted = counted.with("target", format!("more <= {MORE}")).with("met", more.round() <= MORE);
        Ok(vec![counted, Figure::paired("redirect_cost", "time to a seat on loopback", "ms", &near)])
    })
}

/// Milliseconds to a seat by the wrong door and by the right one, in turns.
async fn pairs(
    context: &Context,
    name: &str,
    is_far: bool,
    count: usize,
    entries: usize,
) -> Result<Paired, BenchError> {
    let options: &[&str] =
        if is_far { &["--advertise", "127.0.0.2", "--links", "127.0.0.2:0", "--gossip", "127.0.0.2:0"] } else { &[] };
    let cluster = Cluster::start(context, name, NODES, options)?;
    cluster.push(context, "echo")?;
    cluster.create(1, "far", NODES)?;
    let doors = (1..=NODES).map(|number| cluster.door(number)).collect::<Result<Vec<Door>, _>>()?;
    let mut paths = Vec::new();
    for door in doors.iter().filter(|_| is_far) {
        let (front, server) = ((FAR, door.address.port()), ([127, 0, 0, 1], door.address.port()));
        paths.push(Delayed::start(front.into(), server.into(), DELAY).await?);
    }
    let endpoint = player::endpoint(([127, 0, 0, 1], 0).into())?;
    let turn = async |number: u64, expected: Arrival| {
        let door = &doors[number as usize - 1];
        let mut taken = Vec::new();
        for _ in 0..entries {
            let (time, arrival) = player::enter(&endpoint, door, "ada", "far").await?;
            if arrival != expected {
                return Err(BenchError::Child(format!("let a player in as {arrival:?}, not as {expected:?}")));
            }
            taken.push(time.as_secs_f64() * 1e3);
        }
        Ok(quantile(taken, 0.5))
    };
    // The first of each finds the path and fills the caches.
    turn(1, Arrival::Redirected(1)).await?;
    turn(NODES, Arrival::Direct).await?;
    let mut pairs = Paired::default();
    for _ in 0..count {
        let wrong = turn(1, Arrival::Redirected(1)).await?;
        pairs.push(wrong, turn(NODES, Arrival::Direct).await?);
    }
    Ok(pairs)
}
