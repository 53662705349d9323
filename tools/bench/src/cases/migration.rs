//! What players notice of a move: a 60 Hz match goes to and fro between two real nodes while eight players watch it, small
//! and as large as a session may be; and a million messages are answered while their sessions move.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ringside_client::Options;
use serde_json::Value;

use crate::bench::{BenchError, Context};
use crate::figure::{Figure, rounded};
use crate::machine::{LOAD_CORE, on_core};
use crate::nodes::Cluster;
use crate::player::{Players, gaps, see};
use crate::statistics::quantile;
use crate::talk::{Account, Talk};

const NODES: u64 = 2;
const PLAYERS: usize = 8;
/// Until players wait at the follower, who go there at times of their own.
const SETTLING: Duration = Duration::from_secs(6);
/// How long a match is watched that does not move.
const CALM: Duration = Duration::from_secs(5);
/// How long it is watched from the beginning of a move.
const MOVING: Duration = Duration::from_secs(3);
/// Moves of a match.
const MOVES: usize = 4;
/// What a move may add to the longest gap between two views, ms: a frame at 60 Hz for one in a hundred, less for most.
const MORE_P99: f64 = 16.7;
const MORE_P50: f64 = 5.0;

/// What eight players saw of a match.
struct Seen {
    /// When each had its views.
    arrivals: Vec<Vec<Instant>>,
    calm: (Instant, Instant),
    moves: Vec<(Instant, Instant)>,
    took_ms: Vec<f64>,
    /// Of the game's memory.
    bytes: f64,
}

/// How much longer the longest gap between views is in a move than 99 in 100 of the same player's gaps without one.
pub fn gap(context: &Context) -> Result<Vec<Figure>, BenchError> {
    on_core(LOAD_CORE, || Ok(vec![gaps_of(context, "arena60-heavy")?, gaps_of(context, "arena60-mebibyte")?]))
}

fn gaps_of(context: &Context, game: &str) -> Result<Figure, BenchError> {
    let cluster = Cluster::start(context, "migration", NODES, &[])?;
    cluster.push(context, game)?;
    let rounds = context.pairs(2);
    let mut bytes = 0.0;
    let (mut over, mut longest, mut calm, mut took) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let seen = watch(&cluster, game, &format!("round-{round}"))?;
        for arrivals in &seen.arrivals {
            let usual = quantile(gaps(arrivals, seen.calm), 0.99);
            calm.push(usual);
            for &within in &seen.moves {
                let most = gaps(arrivals, within).into_iter().fold(0.0, f64::max);
                longest.push(most);
                over.push(most - usual);
            }
        }
        took.extend(seen.took_ms);
        bytes = seen.bytes;
    }
    let (p50, p99) = (quantile(over.clone(), 0.5), quantile(over.clone(), 0.99));
    let figure = Figure {
        name: "migration_gap_over_ms",
        case: format!("{:.1} MiB, 60 Hz, {PLAYERS} players", bytes / f64::from(1 << 20)),
        value: p99,
        unit: "ms",
        reference: quantile(calm.clone(), 0.5),
        ratio: quantile(longest, 0.99) / quantile(calm.clone(), 0.5),
        spread: quantile(over.clone(), 0.75) - quantile(over.clone(), 0.25),
        extra: Default::default(),
    };
    Ok(figure
        .with("p50", rounded(p50))
        .with("target", format!("p99 <= {MORE_P99}, p50 <= {MORE_P50}"))
        .with("met", p99 <= MORE_P99 && p50 <= MORE_P50)
        .with("moves", over.len() / PLAYERS)
        .with("move_took_ms_p50", rounded(quantile(took, 0.5))))
}

/// Has a match watched, at rest and while it moves.
fn watch(cluster: &Cluster, game: &str, key: &str) -> Result<Seen, BenchError> {
    cluster.create_of(1, game, key, 1)?;
    let session = format!("{game}/{key}");
    cluster.followed(1, &session)?;
    let players = Players::start(cluster.door(1)?, vec![(session.clone(), PLAYERS)], see)?;
    std::thread::sleep(SETTLING);
    let begun = Instant::now();
    std::thread::sleep(CALM);
    let calm = (begun, Instant::now());
    let (mut moves, mut took_ms) = (Vec::new(), Vec::new());
    for number in 0..MOVES {
        cluster.followed(1, &session)?;
        let begun = Instant::now();
        move_to(cluster, &session, if number % 2 == 0 { 2 } else { 1 })?;
        took_ms.push(begun.elapsed().as_secs_f64() * 1e3);
        std::thread::sleep(MOVING.saturating_sub(begun.elapsed()));
        moves.push((begun, Instant::now()));
    }
    let bytes = cluster.show(1, &session)?.pointer("/detail/memory_bytes").and_then(Value::as_f64).unwrap_or_default();
    let arrivals = players.finish()?;
    cluster.end(1, &session)?;
    Ok(Seen { arrivals, calm, moves, took_ms, bytes })
}

fn move_to(cluster: &Cluster, session: &str, node: u64) -> Result<(), BenchError> {
    cluster.ask(1, &["session", "move", session, "--to", &format!("{node:x}")]).map(drop)
}

const ECHO: &str = "echo-replicated";
/// Sessions that move in turns.
const SESSIONS: usize = 3;
/// Messages of a player that are not answered yet, at most.
const PENDING: u64 = 24;
/// Messages that must be answered, and moves there must be, at least.
const MESSAGES: u64 = 1_000_000;
const MOVES_OF_ALL: usize = 90;
/// How long that may take: many times what it does.
const PATIENCE_FOR_ALL: Duration = Duration::from_secs(1800);

/// Messages that were lost, and that were applied or answered twice, while their sessions moved.
pub fn exactly_once(context: &Context) -> Result<Vec<Figure>, BenchError> {
    on_core(LOAD_CORE, || {
        let cluster = Cluster::start(context, "migration-lost", NODES, &[])?;
        cluster.push(context, ECHO)?;
        let sessions: Vec<String> = (0..SESSIONS).map(|number| format!("{ECHO}/match-{number}")).collect();
        for (number, session) in sessions.iter().enumerate() {
            cluster.create_of(1, ECHO, &format!("match-{number}"), 1)?;
            cluster.followed(1, session)?;
        }
        let each = sessions.iter().map(|session| (session.clone(), PLAYERS)).collect();
        let answered = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&answered);
        let does = move |options, stop| talk(options, stop, Arc::clone(&counted));
        let players = Players::start(cluster.door(1)?, each, does)?;
        let begun = Instant::now();
        let mut moves = 0;
        while answered.load(Ordering::Relaxed) < MESSAGES || moves < MOVES_OF_ALL {
            if begun.elapsed() > PATIENCE_FOR_ALL {
                let answered = answered.load(Ordering::Relaxed);
                players.finish()?;
                return Err(BenchError::Child(format!("answered {answered} of {MESSAGES} messages in time")));
            }
            for session in &sessions {
                cluster.followed(1, session)?;
                move_to(&cluster, session, if (moves / SESSIONS).is_multiple_of(2) { 2 } else { 1 })?;
                moves += 1;
            }
        }
        let accounts = players.finish()?;
        let sum = |of: fn(&Account) -> u64| accounts.iter().map(of).sum::<u64>();
        let (seconds, messages) = (begun.elapsed().as_secs_f64(), sum(|account| account.acknowledged));
        let figure = |name, value: u64| {
            let case = format!("{messages} messages, {moves} moves");
            Figure::counted(name, case, "messages", (value, messages))
                .with("messages", messages)
                .with("moves", moves)
                .with("messages_per_s", rounded(messages as f64 / seconds))
                .with_target(0.0, true)
        };
        let doubled = figure("migration_doubled", sum(|account| account.doubled));
        Ok(vec![doubled, figure("migration_lost", sum(|account| account.lost))])
    })
}

/// Says one thing after the other, several before the first is answered. All players count together what was answered.
async fn talk(options: Options, stop: Arc<AtomicBool>, answered: Arc<AtomicU64>) -> Result<Account, BenchError> {
    let mut talk = Talk::begin(options).await?;
    loop {
        while talk.pending() < PENDING && !stop.load(Ordering::Relaxed) {
            talk.say()?;
        }
        if talk.pending() == 0 {
            return Ok(talk.account());
        }
        if !talk.hear().await? {
            return talk.all_is_well().map(|()| talk.account());
        }
        answered.fetch_add(1, Ordering::Relaxed);
    }
}
