//! What players notice when their node's process is replaced under them (`ringside node upgrade`): the longest time that a
//! player waits for a reply while it is, against the same player's longest in as long a time before. A node, sessions with
//! a player each, all talking; each reply is numbered and hashed over all that was said, so what is lost or doubled ends
//! the run. Beside it: how long it takes in all.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringside_client::Options;
use tokio::task::JoinHandle;

use crate::bench::{BenchError, Context};
use crate::figure::{Figure, rounded};
use crate::machine::{LOAD_CORE, on_core};
use crate::nodes::{Cluster, PATIENCE};
use crate::player::{Talk, endpoint, options_of, runtime};
use crate::statistics::{Paired, quantile};

const GAME: &str = "echo";
/// Cases: sessions, and the time between two messages of a player. The main one comes last.
const CASES: [(usize, Duration); 2] = [(50, Duration::from_millis(20)), (1_000, Duration::from_millis(400))];
/// How long it goes on after the old process has ended.
const AFTERWARDS: Duration = Duration::from_millis(500);
/// Between two players who come.
const COMING: Duration = Duration::from_millis(3);
/// How long players talk before they are watched.
const BEFORE: Duration = Duration::from_secs(2);

/// What the players are at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Coming,
    Calm,
    Replacing,
    Over,
}

/// Measures.
pub fn measure(context: &Context) -> Result<Vec<Figure>, BenchError> {
    on_core(LOAD_CORE, || CASES.into_iter().map(|(sessions, pause)| case(context, sessions, pause)).collect())
}

fn case(context: &Context, sessions: usize, pause: Duration) -> Result<Figure, BenchError> {
    let (mut turns, mut gaps, mut calm, mut took) = (Paired::default(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..context.pairs(2) {
        let mut cluster = Cluster::start(context, &format!("handover-{sessions}-{round}"), 1, &[])?;
        cluster.push(context, GAME)?;
        let (before, during, all) = replace(&mut cluster, context, (sessions, pause))?;
        turns.push(quantile(during.clone(), 0.99), quantile(before.clone(), 0.99));
        gaps.extend(during);
        calm.extend(before);
        took.push(all.as_secs_f64() * 1e3);
    }
    let case = format!("{sessions} sessions, a player each");
    let figure = Figure::paired("handover_pause_ms", case, "ms", &turns)
        .with("p50", rounded(quantile(gaps.clone(), 0.5)))
        .with("p99", rounded(quantile(gaps.clone(), 0.99)))
        .with("longest", rounded(quantile(gaps, 1.0)))
        .with("calm_p50", rounded(quantile(calm.clone(), 0.5)))
        .with("calm_p99", rounded(quantile(calm, 0.99)))
        .with("took_ms", quantile(took, 0.5).round())
        .with("lost_or_doubled", 0);
    Ok(figure)
}

/// Lets players talk, and replaces their node's process. Their longest waits before and meanwhile, ms, and how long it took.
fn replace(
    cluster: &mut Cluster,
    context: &Context,
    (sessions, pause): (usize, Duration),
) -> Result<(Vec<f64>, Vec<f64>, Duration), BenchError> {
    for number in 0..sessions {
        cluster.create_of(1, GAME, &format!("m{number}"), 1)?;
    }
    let runtime = runtime()?;
    let door = cluster.door(1)?;
    let phase = Rc::new(Cell::new(Phase::Coming));
    let seated = Rc::<Cell<usize>>::default();
    runtime.block_on(tokio::task::LocalSet::new().run_until(async {
        let endpoint = endpoint(([127, 0, 0, 1], 0).into())?;
        let mut talks = Vec::new();
        for number in 0..sessions {
            let options = options_of(&endpoint, &door, &format!("p-{number}"), &format!("{GAME}/m{number}"))?;
            talks.push(tokio::task::spawn_local(talk(options, pause, Rc::clone(&phase), Rc::clone(&seated))));
            tokio::time::sleep(COMING).await;
        }
        let deadline = Instant::now() + PATIENCE;
        while seated.get() < sessions && Instant::now() < deadline && !talks.iter().any(JoinHandle::is_finished) {
            tokio::time::sleep(COMING).await;
        }
        tokio::time::sleep(BEFORE).await;
        phase.set(Phase::Calm);
        tokio::time::sleep(BEFORE).await;
        phase.set(Phase::Replacing);
        let begun = Instant::now();
        let replaced = cluster.replace(1, context.program()).await;
        let took = begun.elapsed();
        tokio::time::sleep(AFTERWARDS).await;
        phase.set(Phase::Over);
        replaced?;
        let (mut before, mut during) = (Vec::new(), Vec::new());
        for talk in talks {
            let (calm, replacing) = talk.await.map_err(BenchError::setup)??;
            before.push(calm.as_secs_f64() * 1e3);
            during.push(replacing.as_secs_f64() * 1e3);
        }
        Ok((before, during, took))
    }))
}

/// Says something, waits for its reply and a pause, and says the next, until it is over: the longest waits before the process
/// is replaced, and while it is.
async fn talk(
    options: Options,
    pause: Duration,
    phase: Rc<Cell<Phase>>,
    seated: Rc<Cell<usize>>,
) -> Result<(Duration, Duration), BenchError> {
    let mut talk = Talk::begin(options).await?;
    seated.set(seated.get() + 1);
    let (mut calm, mut replacing) = (Duration::ZERO, Duration::ZERO);
    while phase.get() != Phase::Over {
        let asked = Instant::now();
        talk.exchange().await?;
        match phase.get() {
            Phase::Coming => {}
            Phase::Calm => calm = calm.max(asked.elapsed()),
            Phase::Replacing | Phase::Over => replacing = replacing.max(asked.elapsed()),
        }
        tokio::time::sleep(pause).await;
    }
    Ok((calm, replacing))
}
