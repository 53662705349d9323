//! How soon players are answered again whose sessions were led by a node that is killed (`kill -9`) or stands still: real
//! nodes, some sessions led by the one that fails and as many by another, eight players in each, all talking. Players who
//! keep a connection at the follower, against players who do not and ask a door; the two take turns, a node that failed is
//! whole again in between. Each reply is numbered and hashed over all that was said, so what is lost or doubled ends the run.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringside_client::Options;
use ringside_core::leadership::timing::PROMISE_US;

use crate::bench::{BenchError, Context};
use crate::figure::Figure;
use crate::machine::{LOAD_CORE, on_core};
use crate::nodes::{Cluster, PATIENCE};
use crate::player::{Talk, endpoint, options_of, runtime};
use crate::statistics::{Paired, quantile};

const GAME: &str = "echo-replicated";
/// Cases: how the node fails, of how many, and how often with each kind of player. The main one comes last.
const CASES: [(Fault, u64, usize); 3] = [(Fault::Stands, 3, 1), (Fault::Killed, 5, 1), (Fault::Killed, 3, 2)];
const PLAYERS: usize = 8;
/// Between two messages of a player.
const PAUSE: Duration = Duration::from_millis(20);
/// How long players talk before the node dies: those who wait at a follower have gone there by then.
const BEFORE: Duration = Duration::from_secs(6);
/// A player who is not answered for so long was interrupted.
const INTERRUPTED: Duration = Duration::from_millis(300);

/// How a node fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// `kill -9`; it is started again.
    Killed,
    /// `SIGSTOP` until all players were answered elsewhere.
    Stands,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Fault::Killed => "kill -9",
            Fault::Stands => "SIGSTOP",
        }
    }
}

/// What a death did.
#[derive(Default)]
struct Death {
    /// Until each player of the dead node's sessions was answered again, ms.
    back_ms: Vec<f64>,
    /// Sessions of the dead node, and sessions whose players were interrupted.
    led: usize,
    interrupted: usize,
    replies: u64,
}

/// Measures.
pub fn measure(context: &Context) -> Result<Vec<Figure>, BenchError> {
    on_core(LOAD_CORE, || {
        let (mut figures, mut replies, mut led, mut interrupted) = (Vec::new(), 0, 0, 0);
        for (fault, nodes, usual) in CASES {
            let mut cluster = Cluster::start(context, "failover", nodes, &[])?;
            cluster.push(context, GAME)?;
            let (figure, deaths) = case(context, &mut cluster, (fault, nodes, context.pairs(usual)))?;
            figures.push(figure);
            replies += deaths.iter().map(|death| death.replies).sum::<u64>();
            if fault == Fault::Killed {
                led += deaths.iter().map(|death| death.led).sum::<usize>();
                interrupted += deaths.iter().map(|death| death.interrupted).sum::<usize>();
            }
        }
        let count = |name, case: &str, value: f64, unit, reference: f64| {
            let (case, ratio) = (case.to_owned(), value / reference);
            Figure { name, case, value, unit, reference, ratio, spread: 0.0, extra: Default::default() }
        };
        let (led, interrupted) = (led as f64, interrupted as f64);
        let collateral =
            count("failover_collateral", "interrupted / led by the dead node", interrupted, "sessions", led);
        // A reply that was lost or came twice would have ended the run.
        let lost = count("failover_lost_acked", "lost or doubled / replies", 0.0, "messages", replies as f64);
        figures.insert(0, collateral.with_target(1.0, true));
        figures.insert(1, lost.with_target(0.0, true));
        Ok(figures)
    })
}

/// A case: a figure, and what each failure did.
fn case(
    context: &Context,
    cluster: &mut Cluster,
    (fault, nodes, pairs): (Fault, u64, usize),
) -> Result<(Figure, Vec<Death>), BenchError> {
    let sessions = context.pairs(3) * 2;
    let (mut round, mut waiting, mut asking) = (0, Vec::new(), Vec::new());
    let mut turns = Paired::default();
    for _ in 0..pairs {
        let mut tails = [0.0; 2];
        for (tail, standby) in tails.iter_mut().zip([true, false]) {
            round += 1;
            let death = die(cluster, fault, round, sessions, standby)?;
            *tail = quantile(death.back_ms.clone(), 0.99);
            if standby { waiting.push(death) } else { asking.push(death) }
        }
        turns.push(tails[0], tails[1]);
    }
    let all = |deaths: &[Death]| deaths.iter().flat_map(|death| death.back_ms.clone()).collect::<Vec<f64>>();
    let (ours, theirs) = (all(&waiting), all(&asking));
    let case = format!("{}, {nodes} nodes, {sessions} sessions, {} players", fault.name(), sessions * PLAYERS);
    let p99 = quantile(ours.clone(), 0.99);
    let figure = Figure { value: p99, ..Figure::paired("failover_ms", case, "ms", &turns) }
        .with("p50", quantile(ours, 0.5).round())
        .with("asking_p50", quantile(theirs.clone(), 0.5).round())
        .with("asking_p99", quantile(theirs, 0.99).round())
        .with("promise", PROMISE_US / 1000)
        .with("after_promise", (p99 - PROMISE_US as f64 / 1e3).round());
    waiting.append(&mut asking);
    Ok((figure, waiting))
}

/// Lets players talk, has the node fail that leads half of their sessions, and makes it whole again.
fn die(cluster: &mut Cluster, fault: Fault, round: u64, sessions: usize, standby: bool) -> Result<Death, BenchError> {
    let (dead, other) = (2, 3);
    let name = |on: u64, number: usize| format!("round-{round}-{on}-{number}");
    for on in [dead, other] {
        for number in 0..sessions {
            cluster.create_of(1, GAME, &name(on, number), on)?;
        }
    }
    for on in [dead, other] {
        for number in 0..sessions {
            cluster.followed(1, &format!("{GAME}/{}", name(on, number)))?;
        }
    }
    let runtime = runtime()?;
    let door = cluster.door(1)?;
    let killed: Rc<Cell<Option<Instant>>> = Rc::default();
    let death = runtime.block_on(tokio::task::LocalSet::new().run_until(async {
        let endpoint = endpoint(([127, 0, 0, 1], 0).into())?;
        let mut talks = Vec::new();
        for on in [dead, other] {
            for number in 0..sessions {
                for player in 0..PLAYERS {
                    let target = format!("{GAME}/{}", name(on, number));
                    let who = format!("p-{on}-{number}-{player}");
                    let options = Options { standby, ..options_of(&endpoint, &door, &who, &target)? };
                    talks.push((on, number, tokio::task::spawn_local(talk(options, Rc::clone(&killed)))));
                }
            }
        }
        tokio::time::sleep(BEFORE).await;
        match fault {
            Fault::Killed => cluster.kill(dead),
            Fault::Stands => cluster.node(dead)?.stand_still()?,
        }
        killed.set(Some(Instant::now()));
        let mut death = Death { led: sessions, ..Death::default() };
        let mut interrupted = std::collections::BTreeSet::new();
        for (on, number, talk) in talks {
            let (back, replies) = talk.await.map_err(BenchError::setup)??;
            death.replies += replies;
            if on == dead {
                death.back_ms.push(back.as_secs_f64() * 1e3);
            }
            if back > INTERRUPTED {
                interrupted.insert((on, number));
            }
        }
        death.interrupted = interrupted.len();
        Ok::<Death, BenchError>(death)
    }))?;
    if fault == Fault::Stands {
        cluster.node(dead)?.go_on()?;
        cluster.agreed()?;
    }
    for on in [dead, other] {
        for number in 0..sessions {
            let session = format!("{GAME}/{}", name(on, number));
            cluster.ask(1, &["session", "end", &session, "--reason", "the round is over"])?;
        }
    }
    if fault == Fault::Killed {
        cluster.add(dead)?;
    }
    cluster.agreed()?;
    Ok(death)
}

/// Says something, waits for its reply and a pause, and says the next, until the node is dead and the player was answered
/// for a while. Answers the longest time without a reply around the death, from the death on, and the replies.
async fn talk(options: Options, killed: Rc<Cell<Option<Instant>>>) -> Result<(Duration, u64), BenchError> {
    let mut talk = Talk::begin(options).await?;
    let (mut longest, mut last) = (Duration::ZERO, Instant::now());
    loop {
        talk.exchange().await?;
        let now = Instant::now();
        if let Some(killed) = killed.get() {
            longest = longest.max(now.saturating_duration_since(last.max(killed)));
            let is_over = now.saturating_duration_since(killed) > Duration::from_secs(3) || longest > INTERRUPTED;
            if is_over || now.saturating_duration_since(killed) > PATIENCE {
                return Ok((longest, talk.said()));
            }
        }
        last = now;
        tokio::time::sleep(PAUSE).await;
    }
}
