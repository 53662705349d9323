//! Moves of sessions while they are played. Of a 60 Hz match: a player's longest gap between two views in a move, beside the
//! same player's 99th percentile when nothing moves. Of echo sessions: that nothing is lost or doubled while they move on
//! and on, for every reply is numbered and hashed over all that was said.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringside_client::{Client, Event};

use crate::bench::{BenchError, Context};
use crate::figure::Figure;
use crate::machine::{LOAD_CORE, on_core};
use crate::nodes::Cluster;
use crate::player::{endpoint, options_of, patiently, runtime};
use crate::statistics::quantile;

const NODES: u64 = 3;
const MATCH: &str = "arena60";
const PLAYERS: usize = 8;
/// Before the first move, and between moves: what is counted as no move.
const CALM: Duration = Duration::from_secs(3);
/// Around an order to move, what is counted as the move.
const AROUND: Duration = Duration::from_millis(500);
/// The share of a target that a view may come late: one frame of 60 Hz.
const FRAME_MS: f64 = 16.7;
/// Messages of a player on their way.
const WINDOW: u64 = 8;

/// Gaps between views.
pub fn gap(context: &Context) -> Result<Vec<Figure>, BenchError> {
    on_core(LOAD_CORE, || {
        let cluster = Cluster::start(context, "migration", NODES, &[])?;
        cluster.push(context, MATCH)?;
        cluster.create_of(1, MATCH, "moves", 1)?;
        let session = format!("{MATCH}/moves");
        cluster.followed(1, &session)?;
        let moves = context.pairs(12);
        let door = cluster.door(3)?;
        let ends: Rc<Cell<bool>> = Rc::default();
        let (views, windows) = runtime()?.block_on(tokio::task::LocalSet::new().run_until(async {
            let endpoint = endpoint(([127, 0, 0, 1], 0).into())?;
            let mut players = Vec::new();
            for player in 0..PLAYERS {
                let options = options_of(&endpoint, &door, &format!("p{player}"), &session)?;
                let client = patiently(Client::connect(options)).await?.map_err(BenchError::setup)?;
                players.push(tokio::task::spawn_local(watch(client, Rc::clone(&ends))));
            }
            let mut windows = Vec::new();
            tokio::time::sleep(2 * CALM).await;
            for number in 0..moves {
                let to = (number % 2 + 2).to_string();
                let from = Instant::now();
                let mut order = cluster.begin(1, &["session", "move", &session, "--to", &to])?;
                while order.try_wait().map_err(BenchError::Process)?.is_none() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                windows.push((from, Instant::now() + AROUND));
                tokio::time::sleep(CALM).await;
            }
            ends.set(true);
            let mut views = Vec::new();
            for player in players {
                views.push(player.await.map_err(BenchError::setup)??);
            }
            Ok::<_, BenchError>((views, windows))
        }))?;
        let said = cluster.ask(1, &["session", "show", &session])?;
        let memory = said.pointer("/detail/memory_bytes").and_then(serde_json::Value::as_u64).unwrap_or(0);
        let (mut over, mut longest, mut calm) = (Vec::new(), Vec::new(), Vec::new());
        for at in &views {
            let gaps: Vec<(Instant, Instant)> = at.windows(2).map(|pair| (pair[0], pair[1])).collect();
            let ms = |(from, to): &(Instant, Instant)| (*to - *from).as_secs_f64() * 1e3;
            let meets = |gap: &(Instant, Instant), window: &(Instant, Instant)| gap.0 < window.1 && gap.1 > window.0;
            let still = gaps.iter().filter(|gap| !windows.iter().any(|window| meets(gap, window))).map(ms);
            let p99 = quantile(still.collect(), 0.99);
            calm.push(p99);
            for window in &windows {
                let most = gaps.iter().filter(|gap| meets(gap, window)).map(ms).fold(0.0, f64::max);
                longest.push(most);
                over.push(most - p99);
            }
        }
        let (value, reference) = (quantile(over.clone(), 0.99), FRAME_MS);
        let figure = Figure {
            name: "migration_gap_over_ms",
            case: format!("{MATCH}, {} KiB, {PLAYERS} players, {} moves", memory >> 10, windows.len()),
            value,
            unit: "ms",
            reference,
            ratio: value / reference,
            spread: 0.0,
            extra: Default::default(),
        };
        Ok(vec![
            figure
                .with("p50", quantile(over, 0.5).round())
                .with("longest_p99", quantile(longest, 0.99).round())
                .with("calm_p99", quantile(calm, 0.5).round())
                .with_target(1.0, true),
        ])
    })
}

/// When each view came.
async fn watch(mut client: Client, ends: Rc<Cell<bool>>) -> Result<Vec<Instant>, BenchError> {
    let mut views = Vec::new();
    while !ends.get() {
        match patiently(client.next()).await? {
            Some(Event::View(_)) => views.push(Instant::now()),
            Some(event) if !event.is_last() => {}
            event => return Err(BenchError::Child(format!("{event:?} in place of a view"))),
        }
    }
    Ok(views)
}

/// Messages that are lost or doubled.
pub fn lost(context: &Context) -> Result<Vec<Figure>, BenchError> {
    const GAME: &str = "echo-replicated";
    on_core(LOAD_CORE, || {
        let cluster = Cluster::start(context, "migration", NODES, &[])?;
        cluster.push(context, GAME)?;
        let sessions = 4;
        for number in 0..sessions {
            cluster.create_of(1, GAME, &format!("m{number}"), 1)?;
        }
        for number in 0..sessions {
            cluster.followed(1, &format!("{GAME}/m{number}"))?;
        }
        let door = cluster.door(3)?;
        let ends: Rc<Cell<bool>> = Rc::default();
        let moves = context.pairs(10);
        let replies = runtime()?.block_on(tokio::task::LocalSet::new().run_until(async {
            let endpoint = endpoint(([127, 0, 0, 1], 0).into())?;
            let mut players = Vec::new();
            for player in 0..sessions * PLAYERS {
                let target = format!("{GAME}/m{}", player / PLAYERS);
                let options = options_of(&endpoint, &door, &format!("p{player}"), &target)?;
                let client = patiently(Client::connect(options)).await?.map_err(BenchError::setup)?;
                players.push(tokio::task::spawn_local(exchange(client, Rc::clone(&ends))));
            }
            for number in 0..moves {
                for session in 0..sessions {
                    let (to, session) = ((number % 2 + 2).to_string(), format!("{GAME}/m{session}"));
                    let mut order = cluster.begin(1, &["session", "move", &session, "--to", &to])?;
                    while order.try_wait().map_err(BenchError::Process)?.is_none() {
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                }
                tokio::time::sleep(CALM / 3).await;
            }
            ends.set(true);
            let mut replies = 0;
            for player in players {
                replies += player.await.map_err(BenchError::setup)??;
            }
            Ok::<u64, BenchError>(replies)
        }))?;
        let figure = |name, case: &str| Figure {
            name,
            case: format!("{case} / answered, {} moves", moves * sessions),
            // One that was would have ended the run.
            value: 0.0,
            unit: "messages",
            reference: replies as f64,
            ratio: 0.0,
            spread: 0.0,
            extra: Default::default(),
        };
        Ok(vec![
            figure("migration_doubled", "doubled").with_target(0.0, true),
            figure("migration_lost", "lost").with_target(0.0, true),
        ])
    })
}

/// Says words, a few at a time on their way, and takes their replies; answers how many.
async fn exchange(mut client: Client, ends: Rc<Cell<bool>>) -> Result<u64, BenchError> {
    let (mut said, mut answered, mut hash) = (0_u64, 0_u64, echo::EMPTY);
    while !ends.get() || answered < said {
        while !ends.get() && said < answered + WINDOW {
            said += 1;
            let body = ringside_guest::Bytes(said.to_le_bytes().to_vec());
            client.send(ringside_guest::encode(&body)).map_err(BenchError::setup)?;
        }
        match patiently(client.next()).await? {
            Some(Event::Message { body, .. }) => {
                let reply: echo::Reply = ringside_guest::decode(&body).map_err(BenchError::setup)?;
                answered += 1;
                hash = echo::extend(hash, &answered.to_le_bytes());
                if (reply.number, reply.hash) != (answered, hash) {
                    return Err(BenchError::Child(format!("reply {} where {answered} was due", reply.number)));
                }
            }
            Some(event) if !event.is_last() => {}
            event => return Err(BenchError::Child(format!("{event:?} in place of a reply"))),
        }
    }
    Ok(answered)
}
