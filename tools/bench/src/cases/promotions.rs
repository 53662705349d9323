//! Who is promoted when a node that leads sessions stands still, or is heard by half: for 0.3 s, and where a fifth of all
//! packets is lost, nobody may be; for 1.5 s all must be, which shows that promotions are seen. Players talk all the while. Each stall is held against its own length as it was: one that the machine made
//! longer than it was to be does not count, and neither does a loss during which the machine itself stood still.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ringside_client::Options;

use crate::bench::{BenchError, Context};
use crate::figure::{Figure, rounded};
use crate::machine::{LOAD_CORE, on_core};
use crate::nodes::{Cluster, PATIENCE};
use crate::player::Players;
use crate::talk::Talk;

const GAME: &str = "echo-replicated";
const NODES: u64 = 3;
/// Who stands still, and leads all sessions at first.
const LEADER: u64 = 2;
const SESSIONS: usize = 8;
const PLAYERS: usize = 2;
/// Between two messages of a player.
const PAUSE: Duration = Duration::from_millis(50);
/// A stall that deposes nobody, and the longest that still counts as one.
const SHORT: Duration = Duration::from_millis(300);
const SPOILT: Duration = Duration::from_millis(320);
/// One that deposes.
const LONG: Duration = Duration::from_millis(1500);
/// Between two stalls, or after a loss: longer than any promotion takes.
const BETWEEN: Duration = Duration::from_secs(1);
/// One packet in five, for many times what a promotion takes.
const LOSS_PERMILLE: u64 = 200;
const LOSSY: Duration = Duration::from_secs(4);
/// Least and most of a thousand packets that are lost by such a chance.
const LOST_PERMILLE: std::ops::RangeInclusive<f64> = 180.0..=220.0;
/// How long this process may be kept from running for what it sees to count.
const STOOD_STILL: Duration = Duration::from_millis(250);
/// Between two looks at that.
const LOOK: Duration = Duration::from_millis(5);

/// Measures.
pub fn measure(context: &Context) -> Result<Vec<Figure>, BenchError> {
    on_core(LOAD_CORE, || {
        let mut figures = match losses(context) {
            Err(BenchError::Skipped(why)) => {
                eprintln!("skipped: false_promotions, loss: {why}");
                Vec::new()
            }
            figures => figures?,
        };
        figures.extend(stalls(context)?);
        Ok(figures)
    })
}

fn stalls(context: &Context) -> Result<Vec<Figure>, BenchError> {
    let scene = Scene::begin(context, Cluster::start(context, "promotions", NODES, &[])?)?;
    let none = rounds(context.pairs(10), || {
        let (promoted, length) = scene.promoted_in(|| stall(&scene.cluster, SHORT))?;
        Ok((promoted, length <= SPOILT))
    })?;
    let replies = scene.replies();
    let (deposed, _) = scene.promoted_in(|| stall(&scene.cluster, LONG))?;
    scene.players.finish()?;
    Ok(vec![
        Figure::counted(
            "false_promotions",
            "promoted in a stall of 1.5 s, rightly",
            "sessions",
            (deposed, SESSIONS as u64),
        )
        .with_target(1.0, false),
        falsely("stalls of 0.3 s", &none).with("stalls", none.counted).with("replies", replies),
    ])
}

fn losses(context: &Context) -> Result<Vec<Figure>, BenchError> {
    let scene = Scene::begin(context, Cluster::start_on_hosts(context, "promotions-loss", NODES)?)?;
    let (mut sent, mut lost, mut replies) = (0, 0, 0);
    let none = rounds(context.pairs(8), || {
        let (before, said) = (scene.cluster.packets()?, scene.replies());
        let (promoted, stood) = scene.promoted_in(|| {
            scene.cluster.lose(LOSS_PERMILLE)?;
            let stood = wait(LOSSY);
            scene.cluster.lose(0)?;
            let after = scene.cluster.packets()?;
            (sent, lost) = (sent + after.sent - before.sent, lost + after.lost - before.lost);
            replies += scene.replies() - said;
            Ok(stood)
        })?;
        Ok((promoted, stood <= STOOD_STILL))
    })?;
    let lost_permille = lost as f64 * 1e3 / sent as f64;
    if !LOST_PERMILLE.contains(&lost_permille) || replies == 0 {
        return Err(BenchError::Child(format!("{lost} of {sent} packets lost, {replies} replies: that shows nothing")));
    }
    scene.players.finish()?;
    let figure = falsely("losses of 20 %", &none)
        .with("seconds", (LOSSY * none.counted as u32).as_secs())
        .with("packets", sent)
        .with("lost", lost)
        .with("lost_permille", rounded(lost_permille))
        .with("replies", replies);
    Ok(vec![figure])
}

fn falsely(of: &str, rounds: &Rounds) -> Figure {
    let (case, most) = (format!("promoted in {of}"), (SESSIONS * rounds.counted) as u64);
    Figure::counted("false_promotions", case, "sessions", (rounds.promoted, most))
        .with("spoilt", rounds.spoilt)
        .with_target(0.0, true)
}

/// What rounds came to that should promote nobody.
#[derive(Debug, Default)]
struct Rounds {
    counted: usize,
    spoilt: usize,
    promoted: u64,
}

/// Goes on until so many rounds count. A round answers how many sessions were promoted, and whether it counts.
fn rounds(count: usize, mut round: impl FnMut() -> Result<(u64, bool), BenchError>) -> Result<Rounds, BenchError> {
    let mut rounds = Rounds::default();
    while rounds.counted < count {
        if rounds.spoilt > 2 * count {
            return Err(BenchError::Setup(format!("the machine stands still too often: {rounds:?}")));
        }
        match round()? {
            (promoted, true) => (rounds.counted, rounds.promoted) = (rounds.counted + 1, rounds.promoted + promoted),
            (_, false) => rounds.spoilt += 1,
        }
    }
    Ok(rounds)
}

/// A cluster, followed sessions of one of its nodes, and players who talk in them.
struct Scene {
    cluster: Cluster,
    names: Vec<String>,
    players: Players<()>,
    replies: Arc<AtomicU64>,
}

impl Scene {
    fn begin(context: &Context, cluster: Cluster) -> Result<Scene, BenchError> {
        cluster.push(context, GAME)?;
        let names: Vec<String> = (0..SESSIONS).map(|number| format!("{GAME}/s{number}")).collect();
        for number in 0..SESSIONS {
            cluster.create_of(1, GAME, &format!("s{number}"), LEADER)?;
        }
        for name in &names {
            cluster.followed(1, name)?;
        }
        let (replies, seated) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let (said, sits) = (Arc::clone(&replies), Arc::clone(&seated));
        let does = move |options, stop| talk(options, stop, Arc::clone(&sits), Arc::clone(&said));
        let each = names.iter().map(|name| (name.clone(), PLAYERS)).collect();
        let players = Players::start(cluster.door(1)?, each, does)?;
        let deadline = Instant::now() + PATIENCE;
        while seated.load(Ordering::Relaxed) < (SESSIONS * PLAYERS) as u64 {
            if Instant::now() > deadline {
                players.finish()?;
                return Err(BenchError::Child("did not let all players in".into()));
            }
            std::thread::sleep(LOOK);
        }
        Ok(Scene { cluster, names, players, replies })
    }

    /// What players were answered so far.
    fn replies(&self) -> u64 {
        self.replies.load(Ordering::Relaxed)
    }

    /// How many sessions are led in another epoch after something, and what it answers.
    fn promoted_in<T>(&self, happens: impl FnOnce() -> Result<T, BenchError>) -> Result<(u64, T), BenchError> {
        let before = self.epochs()?;
        let answer = happens()?;
        std::thread::sleep(BETWEEN);
        let promoted = self.epochs()?.iter().zip(&before).filter(|(after, before)| after != before).count();
        Ok((promoted as u64, answer))
    }

    /// The numbers of all sessions' epochs.
    fn epochs(&self) -> Result<Vec<u64>, BenchError> {
        let epoch = |name: &String| {
            let said = self.cluster.show(1, name)?;
            let number = said.pointer("/detail/replication/epoch/number").and_then(serde_json::Value::as_u64);
            number.ok_or_else(|| BenchError::Child(format!("shows no epoch: {said}")))
        };
        self.names.iter().map(epoch).collect()
    }
}

/// The leader stands still; answers for how long it did.
fn stall(cluster: &Cluster, length: Duration) -> Result<Duration, BenchError> {
    let begun = Instant::now();
    cluster.node(LEADER)?.stand_still()?;
    std::thread::sleep(length);
    cluster.node(LEADER)?.go_on()?;
    Ok(begun.elapsed())
}

/// Waits; answers the longest time for which the machine did not let this thread run.
fn wait(length: Duration) -> Duration {
    let (begun, mut last, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
    while begun.elapsed() < length {
        std::thread::sleep(LOOK);
        longest = longest.max(last.elapsed());
        last = Instant::now();
    }
    longest
}

/// Says something, waits for its reply and a pause, and says the next, until told to stop. Nothing may be lost.
async fn talk(
    options: Options,
    stop: Arc<AtomicBool>,
    seated: Arc<AtomicU64>,
    replies: Arc<AtomicU64>,
) -> Result<(), BenchError> {
    let mut talk = Talk::begin(options).await?;
    seated.fetch_add(1, Ordering::Relaxed);
    while !stop.load(Ordering::Relaxed) {
        talk.exchange().await?;
        replies.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
