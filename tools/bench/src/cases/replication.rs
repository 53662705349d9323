//! What followers cost: two nodes, the same echo sessions with the same players on the first, replicated to the second or
//! volatile. CPU of the leader's process against its own without replication; CPU of the (replaying) follower's process
//! beyond what it uses anyway, against the leader's. The two sides take turns.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ringside_client::{Client, Event};

use crate::bench::{BenchError, Context};
use crate::figure::Figure;
use crate::machine::{LOAD_CORE, on_core};
use crate::nodes::Cluster;
use crate::player::{endpoint, options_of, patiently, runtime};
use crate::statistics::Paired;

const SESSIONS: usize = 10;
const PLAYERS: usize = 8;
/// Between two messages of a player: 20 a second.
const PAUSE: Duration = Duration::from_millis(50);
/// How long players talk before anything is measured, and then.
const BEFORE: Duration = Duration::from_secs(2);
const MEASURED: Duration = Duration::from_secs(6);

/// CPU of both nodes, s.
struct Spent {
    leader: f64,
    other: f64,
}

/// The leader's.
pub fn leader(context: &Context) -> Result<Vec<Figure>, BenchError> {
    let (leader, _) = both(context)?;
    Ok(vec![leader.with_target(1.10, true)])
}

/// The follower's.
pub fn follower(context: &Context) -> Result<Vec<Figure>, BenchError> {
    let (_, follower) = both(context)?;
    Ok(vec![follower.with_target(0.30, true)])
}

fn both(context: &Context) -> Result<(Figure, Figure), BenchError> {
    on_core(LOAD_CORE, || {
        let cluster = Cluster::start(context, "replication", 2, &[])?;
        for game in ["echo", "echo-replicated"] {
            cluster.push(context, game)?;
        }
        let (mut leaders, mut followers) = (Paired::default(), Paired::default());
        for round in 0..context.pairs(5) {
            let replicated = spend(&cluster, "echo-replicated", round)?;
            let alone = spend(&cluster, "echo", round)?;
            let matches = SESSIONS as f64 * MEASURED.as_secs_f64() / 1e3;
            leaders.push(replicated.leader / matches, alone.leader / matches);
            followers.push((replicated.other - alone.other).max(0.0) / matches, replicated.leader / matches);
        }
        let case = format!("echo, {SESSIONS} sessions, {PLAYERS} players, 20 messages a second");
        Ok((
            Figure::paired("replication_leader_cpu", case.clone(), "ms/match/s", &leaders),
            Figure::paired("replication_follower_cpu", format!("warm, {case}"), "ms/match/s", &followers),
        ))
    })
}

/// Lets players talk in sessions that the first node leads.
fn spend(cluster: &Cluster, game: &str, round: usize) -> Result<Spent, BenchError> {
    let name = |number: usize| format!("r{round}-{number}");
    for number in 0..SESSIONS {
        cluster.create_of(1, game, &name(number), 1)?;
        if game != "echo" {
            cluster.followed(1, &format!("{game}/{}", name(number)))?;
        }
    }
    let door = cluster.door(1)?;
    let ends: Rc<Cell<bool>> = Rc::default();
    let spent = runtime()?.block_on(tokio::task::LocalSet::new().run_until(async {
        let endpoint = endpoint(([127, 0, 0, 1], 0).into())?;
        let mut talks = Vec::new();
        for number in 0..SESSIONS {
            for player in 0..PLAYERS {
                let target = format!("{game}/{}", name(number));
                let options = options_of(&endpoint, &door, &format!("p{number}-{player}"), &target)?;
                let client = patiently(Client::connect(options)).await?.map_err(BenchError::setup)?;
                talks.push(tokio::task::spawn_local(talk(client, Rc::clone(&ends))));
            }
        }
        tokio::time::sleep(BEFORE).await;
        let cpu = |number| cluster.node(number).and_then(|node| node.cpu_time());
        let before = (cpu(1)?, cpu(2)?);
        tokio::time::sleep(MEASURED).await;
        let after = (cpu(1)?, cpu(2)?);
        ends.set(true);
        for talk in talks {
            talk.await.map_err(BenchError::setup)??;
        }
        let seconds = |after: Duration, before: Duration| (after - before).as_secs_f64();
        Ok::<Spent, BenchError>(Spent { leader: seconds(after.0, before.0), other: seconds(after.1, before.1) })
    }))?;
    for number in 0..SESSIONS {
        cluster.ask(1, &["session", "end", &format!("{game}/{}", name(number)), "--reason", "the round is over"])?;
    }
    Ok(spent)
}

async fn talk(mut client: Client, ends: Rc<Cell<bool>>) -> Result<(), BenchError> {
    let mut clock = tokio::time::interval(PAUSE);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    while !ends.get() {
        tokio::select! {
            _ = clock.tick() => {
                let body = ringside_guest::encode(&ringside_guest::Bytes(vec![7; 32]));
                client.send(body).map_err(BenchError::setup)?;
            }
            event = client.next() => match event {
                Some(Event::Message { .. }) => {}
                Some(event) if !event.is_last() => {}
                event => return Err(BenchError::Child(format!("{event:?} in place of a reply"))),
            }
        }
    }
    Ok(())
}
