//! What players notice when their node's process is replaced under them (`ringside node upgrade`): the longest time that a
//! player waits for a reply while it is, or between two views of a match with ticks, against the same player's longest in
//! some seconds before. A node, sessions, and players in all of them who talk, or in some of them who watch. Each reply is
//! numbered and hashed over all that was said and ticks never go back: what is lost or doubled ends the run. Beside it: how
//! long it takes in all.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringside_client::{Client, Event, Options};
use tokio::task::JoinHandle;

use crate::bench::{BenchError, Context};
use crate::figure::{Figure, rounded};
use crate::machine::{LOAD_CORE, on_core};
use crate::nodes::{Cluster, PATIENCE};
use crate::player::{endpoint, options_of, patiently, runtime};
use crate::statistics::{Paired, quantile};
use crate::talk::Talk;

/// Sessions of a node, and how many of them have a player, who does what.
#[derive(Debug, Clone, Copy)]
struct Scene {
    game: &'static str,
    sessions: usize,
    players: usize,
    does: Does,
}

/// What players do.
#[derive(Debug, Clone, Copy)]
enum Does {
    /// They talk: one in so many without a pause to speak of, and is measured, the others now and then.
    Talk(usize),
    /// They watch a match that ticks so often a second.
    Watch(u32),
}

/// Cases. The main one comes last. Of matches at 60 Hz as many as a core ticks in time with the other process beside it: a
/// thousand were late before they were handed over, on a machine of two cores that others used as well. At 20 Hz it ticks a
/// thousand.
const CASES: [Scene; 4] = [
    Scene { game: "echo", sessions: 50, players: 50, does: Does::Talk(1) },
    Scene { game: "arena60", sessions: 200, players: 100, does: Does::Watch(60) },
    Scene { game: "arena", sessions: 1_000, players: 100, does: Does::Watch(20) },
    Scene { game: "echo", sessions: 1_000, players: 1_000, does: Does::Talk(10) },
];
/// What a session may stand still, ms: from its last tick in the old process to its first in the new one.
const TARGET_MS: f64 = 100.0;
/// How long it goes on after the old process has ended.
const AFTERWARDS: Duration = Duration::from_millis(500);
/// Between two players who come.
const COMING: Duration = Duration::from_millis(3);
/// How long players talk before they are watched.
const BEFORE: Duration = Duration::from_secs(2);
/// How long they are watched before the process is replaced: about as long as that takes.
const CALM: Duration = Duration::from_secs(5);
/// Between two messages of a player who is measured, and of another.
const PAUSE: Duration = Duration::from_millis(40);
const OTHERS_PAUSE: Duration = Duration::from_secs(1);

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
    on_core(LOAD_CORE, || CASES.into_iter().map(|scene| case(context, scene)).collect())
}

fn case(context: &Context, scene: Scene) -> Result<Figure, BenchError> {
    let (mut turns, mut gaps, mut calm, mut took) = (Paired::default(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..context.pairs(2) {
        let name = format!("handover-{}-{}-{round}", scene.game, scene.sessions);
        let mut cluster = Cluster::start(context, &name, 1, &[])?;
        cluster.push(context, scene.game)?;
        let (before, during, all) = replace(&mut cluster, context, scene)?;
        turns.push(quantile(during.clone(), 0.99), quantile(before.clone(), 0.99));
        gaps.extend(during);
        calm.extend(before);
        took.push(all.as_secs_f64() * 1e3);
    }
    let Scene { sessions, players, does, .. } = scene;
    let case = match does {
        Does::Talk(1) => format!("{sessions} sessions, a player each"),
        Does::Talk(every) => format!("{sessions} sessions, a player each, {} measured", players.div_ceil(every)),
        Does::Watch(hz) => format!("{sessions} sessions at {hz} Hz, {players} of them watched"),
    };
    let p99 = quantile(gaps.clone(), 0.99);
    let figure = Figure { value: p99, ..Figure::paired("handover_pause_ms", case, "ms", &turns) }
        .with("p50", rounded(quantile(gaps.clone(), 0.5)))
        .with("longest", rounded(quantile(gaps, 1.0)))
        .with("calm_p50", rounded(quantile(calm.clone(), 0.5)))
        .with("calm_p99", rounded(quantile(calm, 0.99)))
        .with("took_ms", quantile(took, 0.5).round())
        .with_p99_target(TARGET_MS);
    Ok(figure)
}

/// Lets players play, and replaces their node's process. Their longest waits before and meanwhile, ms, and how long it took.
fn replace(
    cluster: &mut Cluster,
    context: &Context,
    Scene { game, sessions, players, does }: Scene,
) -> Result<(Vec<f64>, Vec<f64>, Duration), BenchError> {
    for number in 0..sessions {
        cluster.create_of(1, game, &format!("m{number}"), 1)?;
    }
    let runtime = runtime()?;
    let door = cluster.door(1)?;
    let phase = Rc::new(Cell::new(Phase::Coming));
    let seated = Rc::<Cell<usize>>::default();
    runtime.block_on(tokio::task::LocalSet::new().run_until(async {
        let endpoint = endpoint(([127, 0, 0, 1], 0).into())?;
        let mut all: Vec<JoinHandle<Result<(Duration, Duration), BenchError>>> = Vec::new();
        for number in 0..players {
            let options = options_of(&endpoint, &door, &format!("p-{number}"), &format!("{game}/m{number}"))?;
            let (phase, seated) = (Rc::clone(&phase), Rc::clone(&seated));
            all.push(match does {
                Does::Talk(every) => {
                    let pause = if number.is_multiple_of(every) { PAUSE } else { OTHERS_PAUSE };
                    tokio::task::spawn_local(talk(options, pause, phase, seated))
                }
                Does::Watch(_) => tokio::task::spawn_local(watch(options, phase, seated)),
            });
            tokio::time::sleep(COMING).await;
        }
        let deadline = Instant::now() + PATIENCE;
        while seated.get() < players && Instant::now() < deadline && !all.iter().any(JoinHandle::is_finished) {
            tokio::time::sleep(COMING).await;
        }
        if seated.get() < players && !all.iter().any(JoinHandle::is_finished) {
            return Err(BenchError::Child(format!("{} of {players} players sit", seated.get())));
        }
        tokio::time::sleep(BEFORE).await;
        phase.set(Phase::Calm);
        tokio::time::sleep(CALM).await;
        phase.set(Phase::Replacing);
        let begun = Instant::now();
        let replaced = cluster.replace(1, context.program()).await;
        let took = begun.elapsed();
        tokio::time::sleep(AFTERWARDS).await;
        phase.set(Phase::Over);
        replaced?;
        let (mut before, mut during) = (Vec::new(), Vec::new());
        let is_measured = |number: usize| !matches!(does, Does::Talk(every) if !number.is_multiple_of(every));
        for (number, player) in all.into_iter().enumerate() {
            let (calm, replacing) = player.await.map_err(BenchError::setup)??;
            if !is_measured(number) {
                continue;
            }
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
    let mut waits = Waits::default();
    while phase.get() != Phase::Over {
        let asked = Instant::now();
        talk.exchange().await?;
        waits.add(phase.get(), asked.elapsed());
        tokio::time::sleep(pause).await;
    }
    Ok((waits.calm, waits.replacing))
}

/// Watches until it is over, like [`talk`]: the longest times between two views.
async fn watch(
    options: Options,
    phase: Rc<Cell<Phase>>,
    seated: Rc<Cell<usize>>,
) -> Result<(Duration, Duration), BenchError> {
    let mut client = patiently(Client::connect(options)).await?.map_err(BenchError::setup)?;
    seated.set(seated.get() + 1);
    let (mut waits, mut last) = (Waits::default(), None::<(Instant, u64)>);
    while phase.get() != Phase::Over {
        match patiently(client.next()).await? {
            Some(Event::View(view)) => {
                if let Some((at, tick)) = last {
                    if view.tick < tick {
                        return Err(BenchError::Child(format!("shows tick {} after tick {tick}", view.tick)));
                    }
                    // A new connection begins with what the player has seen.
                    if view.tick == tick {
                        continue;
                    }
                    waits.add(phase.get(), at.elapsed());
                }
                last = Some((Instant::now(), view.tick));
            }
            Some(event) if !event.is_last() => {}
            event => return Err(BenchError::Child(format!("{event:?} in place of a view"))),
        }
    }
    Ok((waits.calm, waits.replacing))
}

/// A player's longest waits.
#[derive(Default)]
struct Waits {
    calm: Duration,
    replacing: Duration,
}

impl Waits {
    fn add(&mut self, phase: Phase, wait: Duration) {
        match phase {
            Phase::Coming => {}
            Phase::Calm => self.calm = self.calm.max(wait),
            Phase::Replacing | Phase::Over => self.replacing = self.replacing.max(wait),
        }
    }
}
