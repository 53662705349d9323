//! How soon players are answered again whose sessions were led by a node that is killed (`kill -9`), stands still, or whose
//! cable is pulled: real nodes, fifty sessions led by the one that fails and some by another, eight players in each, all
//! talking. Players who keep a connection at the follower, against players who do not and ask a door; the two take turns, a
//! node that failed is whole again in between. Each reply is numbered and hashed over all that was said, so what is lost or
//! doubled is counted. The part of it that comes after a session was promoted, by the follower's own log, is a field.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringside_client::Options;
use ringside_core::leadership::timing::PROMISE_US;

use crate::bench::{BenchError, Context};
use crate::figure::Figure;
use crate::machine::{LOAD_CORE, on_core};
use crate::nodes::{Cluster, PATIENCE};
use crate::player::{endpoint, options_of, runtime};
use crate::statistics::{Paired, quantile};
use crate::talk::{Account, Talk};

const GAME: &str = "echo-replicated";
/// Cases: how the node fails, of how many, and how often with each kind of player. The main one comes last.
const CASES: [(Fault, u64, usize); 6] = [
    (Fault::Stands, 5, 1),
    (Fault::Stands, 3, 1),
    (Fault::Cut, 5, 1),
    (Fault::Cut, 3, 1),
    (Fault::Killed, 5, 1),
    (Fault::Killed, 3, 2),
];
/// Sessions of the node that fails, and of another.
const LED: usize = 50;
const BESIDE: usize = 10;
const PLAYERS: usize = 8;
/// Between two messages of a player.
const PAUSE: Duration = Duration::from_millis(250);
/// Between two players who come.
const COMING: Duration = Duration::from_millis(5);
/// How long players talk before the node fails who wait at a follower: they have gone there by then. And those who do not.
const BEFORE: Duration = Duration::from_secs(9);
const BEFORE_ASKING: Duration = Duration::from_secs(3);
/// What a follower says that leads a session from now on.
const PROMOTED: &str = "the session is led here from now on";
/// A player who is not answered for so long was interrupted: longer than replies wait for a follower that is gone (0.3 s, and
/// what it takes to go on without), shorter than any promotion takes.
const INTERRUPTED: Duration = Duration::from_millis(450);
/// What 99 of 100 players of a node that was killed may take until they are answered again, ms.
const TARGET_MS: f64 = 1000.0;

/// How a node fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// `kill -9`; it is started again.
    Killed,
    /// `SIGSTOP` until all players were answered elsewhere.
    Stands,
    /// Its host's cable is pulled, until the same.
    Cut,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Fault::Killed => "kill -9",
            Fault::Stands => "SIGSTOP",
            Fault::Cut => "cut link",
        }
    }
}

/// What a death did.
#[derive(Default)]
struct Death {
    /// Until each player of the dead node's sessions was answered again, ms.
    back_ms: Vec<f64>,
    /// Until each of its sessions was promoted, ms, and from then until each of its players was answered.
    promoted_ms: Vec<f64>,
    after_ms: Vec<f64>,
    /// Sessions of the dead node, those that it led no longer when it died, and sessions whose players were interrupted.
    led: usize,
    early: usize,
    interrupted: usize,
    /// Players whose session was lost, and what became of all that was said.
    put_out: usize,
    accounts: Vec<Account>,
}

/// Measures.
pub fn measure(context: &Context) -> Result<Vec<Figure>, BenchError> {
    on_core(LOAD_CORE, || {
        let (mut figures, mut all) = (Vec::new(), Vec::new());
        for (fault, nodes, usual) in CASES {
            let cluster = match fault {
                Fault::Cut => Cluster::start_on_hosts(context, "failover", nodes),
                _ => Cluster::start(context, "failover", nodes, &[]),
            };
            let mut cluster = match cluster {
                Ok(cluster) => cluster,
                Err(BenchError::Skipped(why)) => {
                    eprintln!("skipped: failover_ms, {}: {why}", fault.name());
                    continue;
                }
                Err(error) => return Err(error),
            };
            cluster.push(context, GAME)?;
            let (figure, deaths) = case(&mut cluster, (fault, nodes, context.pairs(usual)))?;
            figures.push(figure);
            all.extend(deaths.into_iter().map(|death| (fault, death)));
        }
        let killed = all.iter().filter(|(fault, _)| *fault == Fault::Killed).map(|(_, death)| death);
        let (led, interrupted) =
            killed.fold((0, 0), |(led, interrupted), death| (led + death.led, interrupted + death.interrupted));
        let case = "interrupted / led by the dead node";
        let collateral = Figure::counted("failover_collateral", case, "sessions", (interrupted as u64, led as u64));
        let accounts = || all.iter().flat_map(|(_, death)| &death.accounts);
        let sum = |of: fn(&Account) -> u64| accounts().map(of).sum::<u64>();
        let (acknowledged, lost) = (sum(|account| account.acknowledged), sum(|account| account.lost));
        let lost = Figure::counted("failover_lost_acked", "lost / acknowledged", "messages", (lost, acknowledged))
            .with("doubled", sum(|account| account.doubled))
            .with("players", accounts().count())
            .with("failures", all.len());
        figures.insert(0, collateral.with_target(1.0, true));
        figures.insert(1, lost.with_target(0.0, true));
        Ok(figures)
    })
}

/// A case: a figure, and what each failure did.
fn case(cluster: &mut Cluster, (fault, nodes, pairs): (Fault, u64, usize)) -> Result<(Figure, Vec<Death>), BenchError> {
    let (mut round, mut waiting, mut asking) = (0, Vec::new(), Vec::new());
    let mut turns = Paired::default();
    for _ in 0..pairs {
        let mut tails = [0.0; 2];
        for (tail, standby) in tails.iter_mut().zip([true, false]) {
            round += 1;
            let death = die(cluster, fault, round, standby)?;
            *tail = quantile(death.back_ms.clone(), 0.99);
            if standby { waiting.push(death) } else { asking.push(death) }
        }
        turns.push(tails[0], tails[1]);
    }
    let all = |deaths: &[Death], of: fn(&Death) -> &Vec<f64>| deaths.iter().flat_map(of).copied().collect::<Vec<f64>>();
    let (ours, theirs) = (all(&waiting, |death| &death.back_ms), all(&asking, |death| &death.back_ms));
    let promoted = [all(&waiting, |death| &death.promoted_ms), all(&asking, |death| &death.promoted_ms)].concat();
    let after = all(&waiting, |death| &death.after_ms);
    let case = format!("{}, {nodes} nodes, {LED} sessions, {} players", fault.name(), LED * PLAYERS);
    let p99 = quantile(ours.clone(), 0.99);
    let figure = Figure { value: p99, ..Figure::paired("failover_ms", case, "ms", &turns) }
        .with("p50", quantile(ours, 0.5).round())
        .with("asking_p50", quantile(theirs.clone(), 0.5).round())
        .with("asking_p99", quantile(theirs, 0.99).round())
        .with("promise", PROMISE_US / 1000)
        .with("promoted_p50", quantile(promoted.clone(), 0.5).round())
        .with("promoted_p99", quantile(promoted, 0.99).round())
        .with("promoted_before", waiting.iter().chain(&asking).map(|death| death.early).sum::<usize>())
        .with("after_p50", quantile(after.clone(), 0.5).round())
        .with("after_p99", quantile(after, 0.99).round())
        .with("put_out", waiting.iter().chain(&asking).map(|death| death.put_out).sum::<usize>());
    let figure = if fault == Fault::Killed { figure.with_p99_target(TARGET_MS) } else { figure };
    waiting.append(&mut asking);
    Ok((figure, waiting))
}

/// Lets players talk, has the node fail that leads most of their sessions, and makes it whole again.
fn die(cluster: &mut Cluster, fault: Fault, round: u64, standby: bool) -> Result<Death, BenchError> {
    let dead = 2;
    let key = |on: u64, number: usize| format!("round-{round}-{on}-{number}");
    let sessions: Vec<(u64, String)> = [(dead, LED), (3, BESIDE)]
        .into_iter()
        .flat_map(|(on, count)| (0..count).map(move |number| (on, key(on, number))))
        .collect();
    for (on, key) in &sessions {
        cluster.create_of(1, GAME, key, *on)?;
    }
    for (_, key) in &sessions {
        cluster.followed(1, &format!("{GAME}/{key}"))?;
    }
    let runtime = runtime()?;
    let door = cluster.door(1)?;
    cluster.nodes().for_each(|(_, node)| node.logged().for_each(drop));
    let killed: Rc<Cell<Option<Instant>>> = Rc::default();
    let death = runtime.block_on(tokio::task::LocalSet::new().run_until(async {
        let endpoint = endpoint(door.address)?;
        let mut talks = Vec::new();
        for (at, (_, key)) in sessions.iter().enumerate() {
            for player in 0..PLAYERS {
                let who = format!("p-{at}-{player}");
                let options = options_of(&endpoint, &door, &who, &format!("{GAME}/{key}"))?;
                let options = Options { standby, ..options };
                talks.push((at, tokio::task::spawn_local(talk(options, Rc::clone(&killed)))));
                tokio::time::sleep(COMING).await;
            }
        }
        tokio::time::sleep(if standby { BEFORE } else { BEFORE_ASKING }).await;
        // Where the machine stood still, a follower leads already.
        let early = promoted(cluster, Instant::now());
        let began = Instant::now();
        match fault {
            Fault::Killed => cluster.kill(dead),
            Fault::Stands => cluster.node(dead)?.stand_still()?,
            Fault::Cut => cluster.cut(dead, true)?,
        }
        killed.set(Some(began));
        let mut backs = Vec::new();
        for (at, talk) in talks {
            backs.push((at, talk.await.map_err(BenchError::setup)??));
        }
        let promoted = promoted(cluster, began);
        let mut death = Death { led: LED - early.len(), early: early.len(), ..Death::default() };
        let mut interrupted = std::collections::BTreeSet::new();
        for (at, Told { back, account }) in backs {
            let (on, key) = &sessions[at];
            death.accounts.push(account);
            death.put_out += usize::from(back.is_none());
            // Who is put out is never back.
            let back = back.unwrap_or(PATIENCE);
            if *on == dead && !early.contains_key(key) {
                death.back_ms.push(back.as_secs_f64() * 1e3);
                let promoted = promoted.get(key).ok_or_else(|| BenchError::Child(format!("{key} was not promoted")))?;
                death.after_ms.push(back.saturating_sub(*promoted).as_secs_f64() * 1e3);
            }
            if back > INTERRUPTED {
                interrupted.insert(at);
            }
        }
        death.interrupted = interrupted.len();
        death.promoted_ms = promoted.values().map(|promoted| promoted.as_secs_f64() * 1e3).collect();
        Ok::<Death, BenchError>(death)
    }))?;
    match fault {
        Fault::Killed => {}
        Fault::Stands => cluster.node(dead)?.go_on()?,
        Fault::Cut => cluster.cut(dead, false)?,
    }
    if fault != Fault::Killed {
        cluster.agreed()?;
    }
    for (_, key) in &sessions {
        cluster.ask(1, &["session", "end", &format!("{GAME}/{key}"), "--reason", "the round is over"])?;
    }
    if fault == Fault::Killed {
        cluster.add(dead)?;
    }
    cluster.agreed()?;
    Ok(death)
}

/// How long after the fault each session was led by its follower, by its key.
fn promoted(cluster: &Cluster, began: Instant) -> BTreeMap<String, Duration> {
    let mut promoted = BTreeMap::new();
    for line in cluster.nodes().flat_map(|(_, node)| node.logged()).filter(|line| line.text.contains(PROMOTED)) {
        if let Some(key) = line.text.split(&format!("{GAME}/")).nth(1).and_then(|rest| rest.split('@').next()) {
            promoted.entry(key.to_owned()).or_insert(line.at.saturating_duration_since(began));
        }
    }
    promoted
}

/// What became of a player.
struct Told {
    /// The longest time without a reply from the failure on; nothing if the session was lost.
    back: Option<Duration>,
    account: Account,
}

/// Says something, waits for its reply and a pause, and says the next, until the node has failed and the player was answered
/// for a while.
async fn talk(options: Options, killed: Rc<Cell<Option<Instant>>>) -> Result<Told, BenchError> {
    let mut talk = Talk::begin(options).await?;
    let (mut longest, mut last) = (Duration::ZERO, Instant::now());
    loop {
        if !talk.exchange_and_count().await? {
            eprintln!("put out: {}", talk.put_out().unwrap_or_default());
            return Ok(Told { back: None, account: talk.account() });
        }
        let now = Instant::now();
        if let Some(killed) = killed.get() {
            longest = longest.max(now.saturating_duration_since(last.max(killed)));
            let is_over = now.saturating_duration_since(killed) > Duration::from_secs(3) || longest > INTERRUPTED;
            if is_over || now.saturating_duration_since(killed) > PATIENCE {
                return Ok(Told { back: Some(longest), account: talk.account() });
            }
        }
        last = now;
        tokio::time::sleep(PAUSE).await;
    }
}
