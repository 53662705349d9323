//! Who is promoted when a node that leads sessions stands still: for 0.3 s nobody may be, for 1.5 s all must be. Each stall is
//! held against its own length as it was: one that the machine made longer than it was to be does not count.

use std::time::{Duration, Instant};

use crate::bench::{BenchError, Context};
use crate::figure::Figure;
use crate::machine::{LOAD_CORE, on_core};
use crate::nodes::Cluster;

const GAME: &str = "echo-replicated";
const NODES: u64 = 3;
const SESSIONS: usize = 8;
/// A stall that deposes nobody, and the longest that still counts as one.
const SHORT: Duration = Duration::from_millis(300);
const SPOILT: Duration = Duration::from_millis(320);
/// One that deposes.
const LONG: Duration = Duration::from_millis(1500);
/// Between two stalls.
const BETWEEN: Duration = Duration::from_secs(1);

/// Measures.
pub fn measure(context: &Context) -> Result<Vec<Figure>, BenchError> {
    on_core(LOAD_CORE, || {
        let cluster = Cluster::start(context, "promotions", NODES, &[])?;
        cluster.push(context, GAME)?;
        let names: Vec<String> = (0..SESSIONS).map(|number| format!("s{number}")).collect();
        for name in &names {
            cluster.create_of(1, GAME, name, 2)?;
        }
        for name in &names {
            cluster.followed(1, &format!("{GAME}/{name}"))?;
        }
        let stalls = context.pairs(10);
        let (mut counted, mut spoilt, mut promoted) = (0, 0, 0);
        while counted < stalls && spoilt < 2 * stalls {
            let before = epochs(&cluster, &names)?;
            let length = stall(&cluster, SHORT)?;
            std::thread::sleep(BETWEEN);
            let changed = epochs(&cluster, &names)? - before;
            if length > SPOILT {
                spoilt += 1;
                continue;
            }
            counted += 1;
            promoted += changed;
        }
        let before = epochs(&cluster, &names)?;
        stall(&cluster, LONG)?;
        std::thread::sleep(BETWEEN);
        let deposed = epochs(&cluster, &names)? - before;
        let of = |case: &str, value: u64, reference: usize| Figure {
            name: "false_promotions",
            case: case.to_owned(),
            value: value as f64,
            unit: "sessions",
            reference: reference as f64,
            ratio: value as f64 / reference.max(1) as f64,
            spread: 0.0,
            extra: Default::default(),
        };
        Ok(vec![
            of("promoted in a stall of 1.5 s, rightly", deposed, SESSIONS).with_target(1.0, false),
            of("promoted in stalls of 0.3 s", promoted, SESSIONS * counted)
                .with("stalls", counted)
                .with("spoilt", spoilt)
                .with_target(0.0, true),
        ])
    })
}

/// Node 2 stands still; answers for how long it did.
fn stall(cluster: &Cluster, length: Duration) -> Result<Duration, BenchError> {
    let begun = Instant::now();
    cluster.node(2)?.stand_still()?;
    std::thread::sleep(length);
    cluster.node(2)?.go_on()?;
    Ok(begun.elapsed())
}

/// The sum of the numbers of all sessions' epochs.
fn epochs(cluster: &Cluster, names: &[String]) -> Result<u64, BenchError> {
    let mut sum = 0;
    for name in names {
        let said = cluster.ask(1, &["session", "show", &format!("{GAME}/{name}")])?;
        let number = said.pointer("/detail/replication/epoch/number").and_then(serde_json::Value::as_u64);
        sum += number.ok_or_else(|| BenchError::Child(format!("shows no epoch: {said}")))?;
    }
    Ok(sum)
}
