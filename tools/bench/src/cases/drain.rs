//! How long a node takes to give all of its matches to others (`ringside node drain`), and what players of other nodes notice.
//! Three real nodes, matches on one of them, and a 60 Hz match on another whose players watch: many small matches with a
//! player each who talks and knows each reply, and few that are nearly as large as one may be. Against the time in which
//! the bytes that go over would cross one QUIC connection between two processes; and against the same players' views before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ringside_client::Options;

use crate::bench::{BenchError, Context};
use crate::child::Running;
use crate::figure::{Figure, rounded};
use crate::load::pour;
use crate::machine::{LOAD_CORE, SERVER_CORE, on_core};
use crate::nodes::Cluster;
use crate::player::{Players, gaps, see};
use crate::statistics::{Paired, quantile};
use crate::talk::Talk;

const NODES: u64 = 3;
/// Who is drained, and who is watched meanwhile.
const DRAINED: u64 = 2;
const WATCHED: u64 = 3;
const WATCHED_GAME: &str = "arena60";
const WATCHERS: usize = 4;
/// Many matches that have little each; fewer unless it is for the record.
const MANY: Load = Load { game: "echo", matches: 150, has_players: true };
const MANY_IN_FULL: Load = Load { matches: 1_000, ..MANY };
/// Few that have much, of 60 Hz.
const LARGE: Load = Load { game: "arena60-alone", matches: 12, has_players: false };
/// Matches that are moved before, to learn how many bytes one takes.
const PROBES: usize = 8;
/// Between two messages of a player.
const PAUSE: Duration = Duration::from_millis(100);
/// Until the memory of a large match is all there.
const FILLING: Duration = Duration::from_secs(5);
/// How long players play before they are watched, and how long they are before the drain.
const SETTLING: Duration = Duration::from_secs(3);
const CALM: Duration = Duration::from_secs(5);
/// Bytes that are sent to learn how many go in a second, at least.
const POURED: u64 = 64 << 20;
/// What a node says of each match that has left.
const LEFT: &str = "the session left";

/// What a node leads that is drained.
#[derive(Clone, Copy)]
struct Load {
    game: &'static str,
    matches: usize,
    /// Whether each match has a player who talks.
    has_players: bool,
}

/// What a drain came to.
struct Drained {
    took: Duration,
    /// Bytes of all matches, and how long they take alone.
    bytes: u64,
    alone: Duration,
    /// The watchers' gaps between views, ms.
    calm: Vec<f64>,
    meanwhile: Vec<f64>,
}

/// How long it takes, in the time that its bytes would take alone.
pub fn against_bytes(context: &Context) -> Result<Vec<Figure>, BenchError> {
    let many = many(context);
    Ok(vec![figure_of(LARGE, &measure(context, LARGE)?), figure_of(many, &measure(context, many)?)])
}

fn many(context: &Context) -> Load {
    if context.is_full() { MANY_IN_FULL } else { MANY }
}

fn figure_of(Load { game, matches, has_players }: Load, drains: &[Drained]) -> Figure {
    let players = if has_players { "a player each" } else { "nobody in them" };
    let mut pairs = Paired::default();
    drains.iter().for_each(|drain| pairs.push(drain.took.as_secs_f64() * 1e3, drain.alone.as_secs_f64() * 1e3));
    let mean = |of: &dyn Fn(&Drained) -> f64| drains.iter().map(of).sum::<f64>() / drains.len() as f64;
    let a_second = mean(&|drain| matches as f64 / drain.took.as_secs_f64());
    let rate = mean(&|drain| drain.bytes as f64 / drain.alone.as_secs_f64() / 1e6);
    Figure::paired("drain_vs_bytes", format!("{matches} matches of {game}, {players}"), "ms", &pairs)
        .with("matches_per_s", rounded(a_second))
        .with("bytes_per_match", rounded(mean(&|drain| drain.bytes as f64 / matches as f64)))
        .with("link_mb_per_s", rounded(rate))
        .with_target(3.0, true)
}

/// What players of another node notice, which takes some of the matches.
pub fn bystanders(context: &Context) -> Result<Vec<Figure>, BenchError> {
    let many = many(context);
    let (drains, matches) = (measure(context, many)?, many.matches);
    let mut pairs = Paired::default();
    let (mut calm, mut meanwhile) = (Vec::new(), Vec::new());
    for drain in drains {
        pairs.push(quantile(drain.meanwhile.clone(), 0.99), quantile(drain.calm.clone(), 0.99));
        calm.extend(drain.calm);
        meanwhile.extend(drain.meanwhile);
    }
    let case = format!("views at 60 Hz beside {matches} matches");
    let figure = Figure::paired("drain_bystander_p99", case, "ms", &pairs)
        .with("p50", rounded(quantile(meanwhile.clone(), 0.5)))
        .with("calm_p50", rounded(quantile(calm.clone(), 0.5)))
        .with("longest", rounded(quantile(meanwhile, 1.0)))
        .with("calm_longest", rounded(quantile(calm, 1.0)))
        .with_target(1.2, true);
    Ok(vec![figure])
}

fn measure(context: &Context, load: Load) -> Result<Vec<Drained>, BenchError> {
    let rounds = if context.is_full() { 5 } else { 3 };
    on_core(LOAD_CORE, || (0..rounds).map(|round| drain(context, round, load)).collect())
}

fn drain(context: &Context, round: usize, load: Load) -> Result<Drained, BenchError> {
    let Load { game, matches, has_players } = load;
    let cluster = Cluster::start(context, &format!("drain-{round}"), NODES, &[])?;
    cluster.push(context, game)?;
    cluster.push(context, WATCHED_GAME)?;
    let bytes = bytes_of_one(&cluster, game)? * matches as u64;
    cluster.create_of(1, WATCHED_GAME, "watched", WATCHED)?;
    cluster.followed(1, &format!("{WATCHED_GAME}/watched"))?;
    let mut played = Vec::new();
    for number in 0..matches {
        cluster.create_of(1, game, &format!("m{number}"), DRAINED)?;
        played.extend(has_players.then(|| (format!("{game}/m{number}"), 1)));
    }
    let watchers = Players::start(cluster.door(1)?, vec![(format!("{WATCHED_GAME}/watched"), WATCHERS)], see)?;
    let talkers = Players::start(cluster.door(1)?, played, talk)?;
    std::thread::sleep(SETTLING);
    let calm = (Instant::now(), Instant::now() + CALM);
    std::thread::sleep(CALM);
    let drained = cluster.node(DRAINED)?;
    drained.logged().for_each(drop);
    let begun = Instant::now();
    cluster.ask(1, &["node", "drain", &format!("{DRAINED:x}"), "--grace", "1h"])?;
    let left: Vec<Instant> =
        drained.last_logged().filter(|line| line.text.contains(LEFT)).map(|line| line.at).collect();
    if left.len() != matches {
        return Err(BenchError::Child(format!("gave {} of {matches} matches away", left.len())));
    }
    let over = left.into_iter().max().unwrap_or(begun);
    let arrivals = watchers.finish()?;
    talkers.finish()?;
    let gaps_in = |within| arrivals.iter().flat_map(|views| gaps(views, within)).collect::<Vec<f64>>();
    let (calm, meanwhile) = (gaps_in(calm), gaps_in((begun, over)));
    // The nodes share a core, and so do these two.
    let sink = Running::start(SERVER_CORE, &["serve", "quinn-sink"])?;
    let address = sink.ready().parse().map_err(BenchError::setup)?;
    let poured = bytes.max(POURED);
    let alone = on_core(SERVER_CORE, || pour::run(address, poured))?;
    let alone = alone.mul_f64(bytes as f64 / poured as f64);
    Ok(Drained { took: over - begun, bytes, alone, calm, meanwhile })
}

/// Bytes that go from one node to another when a match moves, by its counter of all that it says to other workers.
fn bytes_of_one(cluster: &Cluster, game: &str) -> Result<u64, BenchError> {
    for number in 0..PROBES {
        cluster.create_of(1, game, &format!("probe-{number}"), DRAINED)?;
    }
    std::thread::sleep(FILLING);
    let sent = || -> Result<u64, BenchError> {
        let said = cluster.ask(DRAINED, &["node", "show"])?;
        let sent = said.pointer("/workers/0/counters/peer_bytes_out").and_then(serde_json::Value::as_u64);
        sent.ok_or_else(|| BenchError::Child(format!("does not say what it has sent: {said}")))
    };
    let before = sent()?;
    for number in 0..PROBES {
        let session = format!("{game}/probe-{number}");
        cluster.ask(1, &["session", "move", &session, "--to", &format!("{WATCHED:x}")])?;
    }
    let bytes = (sent()? - before) / PROBES as u64;
    for number in 0..PROBES {
        cluster.end(1, &format!("{game}/probe-{number}"))?;
    }
    Ok(bytes)
}

/// Says something, waits for its reply and a pause, and says the next, until told to stop.
async fn talk(options: Options, stop: Arc<AtomicBool>) -> Result<u64, BenchError> {
    let mut talk = Talk::begin(options).await?;
    while !stop.load(Ordering::Relaxed) {
        talk.exchange().await?;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(talk.account().acknowledged)
}
