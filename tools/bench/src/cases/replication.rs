//! What followers cost: CPU time of the node that leads arena matches which another node follows, against a node that leads
//! the same alone, and of the node that follows them: one that replays their logs, and one that keeps them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ringside_client::{Client, Event, Options};

use crate::bench::{BenchError, Context};
use crate::bots::Sample;
use crate::figure::{Figure, rounded};
use crate::machine::{LOAD_CORE, on_core};
use crate::nodes::Cluster;
use crate::player::{Players, patiently};
use crate::statistics::{Paired, median, quantile};
use crate::traffic::{INTERVAL, PLAYERS};

const REPLAYED: &str = "arena";
const KEPT: &str = "arena-kept";
/// About half of what a core carries: a node's own upkeep is spread over them as where it is in use.
const MATCHES: usize = 96;
/// How long players play before they are watched, and how long once all of them wait at the follower, too.
const WARM_UP: Duration = Duration::from_secs(5);
const SETTLING: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_secs(4);
/// For how long the nodes are watched before there is a match.
const IDLE: Duration = Duration::from_secs(2);

/// CPU milliseconds a match and second: of the leader, and of the follower if there is one; and what players see of it.
struct Cost {
    leader: f64,
    follower: f64,
    /// Of the follower's, what it spends where there is no match: gossip, links, looking after itself.
    upkeep: f64,
    /// The 99th percentile of times between two views of a player, ms: a tick that is delayed shows there.
    gap: f64,
}

/// Measures.
pub fn cpu(context: &Context) -> Result<Vec<Figure>, BenchError> {
    on_core(LOAD_CORE, || {
        let (mut leaders, mut followers) = (Paired::default(), Paired::default());
        let (mut leaders_of_keepers, mut keepers) = (Paired::default(), Paired::default());
        let (mut upkeeps, mut keeping) = (Vec::new(), Vec::new());
        let (mut gaps, mut gaps_of_keepers) = (Paired::default(), Paired::default());
        for _ in 0..context.pairs(3) {
            let (followed, alone) = (matches(context, REPLAYED, 2)?, matches(context, REPLAYED, 1)?);
            let kept = matches(context, KEPT, 2)?;
            leaders.push(followed.leader, alone.leader);
            followers.push(followed.follower, followed.leader);
            leaders_of_keepers.push(kept.leader, alone.leader);
            keepers.push(kept.follower, kept.leader);
            gaps.push(followed.gap, alone.gap);
            gaps_of_keepers.push(kept.gap, alone.gap);
            upkeeps.push(kept.upkeep);
            keeping.push((kept.follower - kept.upkeep) / (kept.leader - kept.upkeep));
        }
        let case = |what: &str| format!("{what}, {MATCHES} arenas at 20 Hz");
        let follower = |what, pairs| Figure::paired("replication_follower_cpu", case(what), "ms", pairs);
        // Nothing that followers cost may delay a tick.
        let leader = |what, pairs, gaps: &Paired| {
            Figure::paired("replication_leader_cpu", case(what), "ms", pairs)
                .with("view_gap_p99", rounded(gaps.ours()))
                .with("view_gap_p99_alone", rounded(gaps.reference()))
        };
        Ok(vec![
            follower("keeps the log / leads", &keepers)
                .with_target(0.1, true)
                .with("upkeep", rounded(median(upkeeps)))
                .with("ratio_without_upkeep", rounded(median(keeping))),
            follower("replays / leads", &followers).with_target(0.3, true),
            leader("followed by a log / alone", &leaders_of_keepers, &gaps_of_keepers).with_target(1.1, true),
            leader("followed / alone", &leaders, &gaps).with_target(1.1, true),
        ])
    })
}

fn matches(context: &Context, game: &str, nodes: u64) -> Result<Cost, BenchError> {
    let cluster = Cluster::start(context, "replication", nodes, &[])?;
    let used = || (1..=nodes).map(|number| cluster.node(number)?.cpu_time()).collect::<Result<Vec<_>, _>>();
    let used_in = |window: Duration| -> Result<Vec<f64>, BenchError> {
        let (before, begun) = (used()?, Instant::now());
        std::thread::sleep(window);
        let (after, seconds) = (used()?, begun.elapsed().as_secs_f64());
        let each = after.into_iter().zip(before).map(|(after, before)| after.saturating_sub(before).as_secs_f64());
        Ok(each.map(|spent| spent * 1e3 / seconds / MATCHES as f64).collect())
    };
    // Of the others nobody asks.
    let idle = if game == KEPT { used_in(IDLE)? } else { Vec::new() };
    cluster.push(context, game)?;
    let key = |number: usize| format!("match-{number}");
    for number in 0..MATCHES {
        cluster.create_of(1, game, &key(number), 1)?;
    }
    for number in (0..MATCHES).filter(|_| nodes > 1) {
        cluster.followed(1, &format!("{game}/{}", key(number)))?;
    }
    let sessions = (0..MATCHES).map(|number| (format!("{game}/{}", key(number)), PLAYERS)).collect();
    let players = Players::start(cluster.door(1)?, sessions, fight)?;
    std::thread::sleep(WARM_UP);
    if nodes > 1 {
        // Their handshakes are no part of what following costs.
        cluster.connected(2, (MATCHES * PLAYERS) as u64)?;
        std::thread::sleep(SETTLING);
    }
    if nodes == 1 {
        cluster.connected(1, (MATCHES * PLAYERS) as u64)?;
    }
    let spent = used_in(WINDOW)?;
    for number in (0..MATCHES).filter(|_| nodes > 1) {
        cluster.is_followed(1, &format!("{game}/{}", key(number)))?;
    }
    let gaps: Vec<f64> = players.finish()?.into_iter().flatten().collect();
    if gaps.is_empty() {
        return Err(BenchError::Child("showed no player anything".into()));
    }
    let of = |all: &[f64], at: usize| all.get(at).copied().unwrap_or(f64::NAN);
    Ok(Cost { leader: of(&spent, 0), follower: of(&spent, 1), upkeep: of(&idle, 1), gap: quantile(gaps, 0.99) })
}

/// Plays: sends an input twenty times a second; answers the times between the views that it saw when all had come, ms.
async fn fight(options: Options, stop: Arc<AtomicBool>) -> Result<Vec<f64>, BenchError> {
    let begun = Instant::now();
    let mut client = patiently(Client::connect(options)).await?.map_err(BenchError::setup)?;
    let slot = client.attachment().slot;
    let (mut gaps, mut view, mut last) = (Vec::new(), Vec::new(), None::<Instant>);
    let mut due = tokio::time::interval(INTERVAL);
    while !stop.load(Ordering::Relaxed) {
        tokio::select! {
            _ = due.tick() => {
                // Before the first view there is nothing to go by.
                if !view.is_empty() {
                    let input = Sample::Arena.input(slot.0, &view)?;
                    client.send_datagram(input).map_err(BenchError::setup)?;
                }
            }
            event = client.next() => match event {
                Some(Event::View(seen)) => {
                    let now = Instant::now();
                    let gap = last.replace(now).map(|last| now - last).filter(|_| begun.elapsed() >= WARM_UP);
                    gaps.extend(gap.map(|gap| gap.as_secs_f64() * 1e3));
                    view = seen.body.to_vec();
                }
                Some(event) if !event.is_last() => {}
                event => return Err(BenchError::Child(format!("{event:?} in place of a view"))),
            }
        }
    }
    Ok(gaps)
}
