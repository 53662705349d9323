//! How soon players are answered again whose sessions were led by a node that is killed (`kill -9`), stands still, or whose
//! cable is pulled: real nodes, fifty sessions led by the one that fails and some by another, eight players in each, all
//! talking. Half of them keep a connection at the follower, and are compared with the other half, who do not and ask a door;
//! a node that failed is whole again before the next failure. Each reply is numbered and hashed over all that was said, so
//! what is lost or doubled is counted. The part of it that comes after a session was promoted, by the follower's own log, is a
//! field.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringside_client::Options;
use ringside_core::leadership::timing::PROMISE_US;

use crate::bench::{BenchError, Context};
use crate::figure::Figure;
use crate::machine::{LOAD_CORE, on_core};
use crate::nodes::{Cluster, PATIENCE, PAUSE as LOOK};
use crate::player::{endpoint, options_of, runtime};
use crate::statistics::{Paired, quantile};
use crate::talk::{Account, Talk};

const GAME: &str = "echo-replicated";
/// Cases: of how many nodes one fails, how, and how often. The main one comes last.
const CASES: [(u64, [(Fault, usize); 3]); 2] = [
    (5, [(Fault::Stands, 1), (Fault::Cut, 1), (Fault::Killed, 1)]),
    (3, [(Fault::Stands, 1), (Fault::Cut, 1), (Fault::Killed, 2)]),
];
/// Sessions of the node that fails, and of another.
const LED: usize = 50;
const BESIDE: usize = 10;
const PLAYERS: usize = 8;
/// Between two messages of a player.
const PAUSE: Duration = Duration::from_millis(250);
/// Between two players who come.
const COMING: Duration = Duration::from_millis(5);
/// How long players talk before the node fails, when those who keep a connection at the follower have one.
const BEFORE: Duration = Duration::from_secs(1);
/// For how long after the failure players talk who are not interrupted, and after they are back those who are.
const AFTER: Duration = Duration::from_secs(3);
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
    /// Until each player of the dead node's sessions was answered again, ms: who kept a connection at the follower, and who
    /// asked.
    waiting_ms: Vec<f64>,
    asking_ms: Vec<f64>,
    /// Until each of its sessions was promoted, ms, and from then until each player who waited was answered.
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
        for (nodes, faults) in CASES {
            let (mut cluster, has_links) = match Cluster::start_on_hosts(context, "failover", nodes) {
                Err(BenchError::Skipped(why)) => {
                    eprintln!("skipped: failover_ms, {}: {why}", Fault::Cut.name());
                    (Cluster::start(context, "failover", nodes, &[])?, false)
                }
                cluster => (cluster?, true),
            };
            cluster.push(context, GAME)?;
            for (fault, usual) in faults.into_iter().filter(|(fault, _)| has_links || *fault != Fault::Cut) {
                let (figure, deaths) = case(&mut cluster, (fault, nodes, context.pairs(usual)))?;
                figures.push(figure.with("network", if has_links { "hosts" } else { "loopback" }));
                all.extend(deaths.into_iter().map(|death| (fault, death)));
            }
        }
        let killed = all.iter().filter(|(fault, _)| *fault == Fault::Killed).map(|(_, death)| death);
        let (led, interrupted) =
            killed.fold((0, 0), |(led, interrupted), death| (led + death.led, interrupted + death.interrupted));
        if led == 0 {
            return Err(BenchError::Child("the node that was killed led nothing by then".into()));
        }
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
    let (mut deaths, mut turns) = (Vec::new(), Paired::default());
    for round in 0..pairs {
        let death = die(cluster, fault, round)?;
        turns.push(quantile(death.waiting_ms.clone(), 0.99), quantile(death.asking_ms.clone(), 0.99));
        deaths.push(death);
    }
    let all = |of: fn(&Death) -> &Vec<f64>| deaths.iter().flat_map(of).copied().collect::<Vec<f64>>();
    let (ours, theirs) = (all(|death| &death.waiting_ms), all(|death| &death.asking_ms));
    let (promoted, after) = (all(|death| &death.promoted_ms), all(|death| &death.after_ms));
    let case = format!("{}, {nodes} nodes, {LED} sessions, {} players", fault.name(), LED * PLAYERS);
    let p99 = quantile(ours.clone(), 0.99);
    let figure = Figure { value: p99, ..Figure::paired("failover_ms", case, "ms", &turns) }
        .with("waiting", ours.len())
        .with("p50", quantile(ours, 0.5).round())
        .with("asking_p50", quantile(theirs.clone(), 0.5).round())
        .with("asking_p99", quantile(theirs, 0.99).round())
        .with("promise", PROMISE_US / 1000)
        .with("promoted_p50", quantile(promoted.clone(), 0.5).round())
        .with("promoted_p99", quantile(promoted, 0.99).round())
        .with("promoted_before", deaths.iter().map(|death| death.early).sum::<usize>())
        .with("after_p50", quantile(after.clone(), 0.5).round())
        .with("after_p99", quantile(after, 0.99).round())
        .with("put_out", deaths.iter().map(|death| death.put_out).sum::<usize>());
    let figure = if fault == Fault::Killed { figure.with_p99_target(TARGET_MS) } else { figure };
    Ok((figure, deaths))
}

/// Whether a player of a session keeps a connection at its follower.
fn waits(player: usize) -> bool {
    player.is_multiple_of(2)
}

/// Lets players talk, has the node fail that leads most of their sessions, and makes it whole again.
fn die(cluster: &mut Cluster, fault: Fault, round: usize) -> Result<Death, BenchError> {
    let dead = 2;
    let key = |on: u64, number: usize| format!("{fault:?}-{round}-{on}-{number}");
    let sessions: Vec<(u64, String)> = [(dead, LED), (3, BESIDE)]
        .into_iter()
        .flat_map(|(on, count)| (0..count).map(move |number| (on, key(on, number))))
        .collect();
    cluster.for_all(&sessions, |cluster, (on, key)| {
        cluster.create_of(1, GAME, key, *on)?;
        cluster.followed(1, &format!("{GAME}/{key}"))
    })?;
    let runtime = runtime()?;
    let door = cluster.door(1)?;
    cluster.nodes().for_each(|(_, node)| node.logged().for_each(drop));
    let (failed, standing): (Rc<Cell<Option<Instant>>>, Rc<Cell<usize>>) = Default::default();
    let death = runtime.block_on(tokio::task::LocalSet::new().run_until(async {
        let endpoint = endpoint(door.address)?;
        let mut talks = Vec::new();
        for (at, (_, key)) in sessions.iter().enumerate() {
            for player in 0..PLAYERS {
                let who = format!("p-{at}-{player}");
                let options = options_of(&endpoint, &door, &who, &format!("{GAME}/{key}"))?;
                let options = Options { standby: waits(player), ..options };
                let talk = talk(options, Rc::clone(&failed), Rc::clone(&standing));
                talks.push((at, player, tokio::task::spawn_local(talk)));
                tokio::time::sleep(COMING).await;
            }
        }
        let (all, since) = (talks.iter().filter(|(_, player, _)| waits(*player)).count(), Instant::now());
        while standing.get() < all {
            if since.elapsed() > PATIENCE {
                return Err(BenchError::Child(format!("{} of {all} have come to a follower", standing.get())));
            }
            tokio::time::sleep(LOOK).await;
        }
        tokio::time::sleep(BEFORE).await;
        // Where the machine stood still, a follower leads already.
        let is_led = |key: &String| sessions.iter().any(|(on, of)| *on == dead && of == key);
        let mut early = promoted(cluster, Instant::now());
        early.retain(|key, _| is_led(key));
        let began = Instant::now();
        match fault {
            Fault::Killed => cluster.kill(dead),
            Fault::Stands => cluster.node(dead)?.stand_still()?,
            Fault::Cut => cluster.cut(dead, true)?,
        }
        failed.set(Some(began));
        let mut told = Vec::new();
        for (at, player, talk) in talks {
            told.push((at, player, talk.await.map_err(BenchError::setup)??));
        }
        let mut promoted = promoted(cluster, began);
        promoted.retain(|key, _| is_led(key));
        let mut death = Death { led: LED.saturating_sub(early.len()), early: early.len(), ..Death::default() };
        let mut interrupted = std::collections::BTreeSet::new();
        for (at, player, Told { back, account }) in told {
            let (on, key) = &sessions[at];
            death.accounts.push(account);
            death.put_out += usize::from(back.is_none());
            // Who is put out is never back.
            let back = back.unwrap_or(PATIENCE);
            if *on == dead && !early.contains_key(key) {
                let back_ms = back.as_secs_f64() * 1e3;
                if waits(player) {
                    let promoted = promoted.get(key);
                    let promoted = promoted.ok_or_else(|| BenchError::Child(format!("{key} was not promoted")))?;
                    death.waiting_ms.push(back_ms);
                    death.after_ms.push(back.saturating_sub(*promoted).as_secs_f64() * 1e3);
                } else {
                    death.asking_ms.push(back_ms);
                }
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
    cluster.for_all(&sessions, |cluster, (_, key)| {
        let session = format!("{GAME}/{key}");
        cluster.end(1, &session)
    })?;
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
async fn talk(
    options: Options,
    failed: Rc<Cell<Option<Instant>>>,
    standing: Rc<Cell<usize>>,
) -> Result<Told, BenchError> {
    let mut talk = Talk::begin(options).await?;
    let (mut longest, mut last, mut has_stood) = (Duration::ZERO, Instant::now(), false);
    let mut back = None;
    loop {
        if !has_stood && talk.is_standing_by() {
            has_stood = true;
            standing.set(standing.get() + 1);
        }
        if !talk.exchange_and_count().await? {
            eprintln!("put out: {}", talk.put_out().unwrap_or_default());
            return Ok(Told { back: None, account: talk.account() });
        }
        let now = Instant::now();
        if let Some(failed) = failed.get() {
            let wait = now.saturating_duration_since(last.max(failed));
            longest = longest.max(wait);
            // Whoever is interrupted twice was not back.
            if wait > INTERRUPTED {
                back = Some(now);
            }
            if now.saturating_duration_since(back.unwrap_or(failed)) > AFTER {
                return Ok(Told { back: Some(longest), account: talk.account() });
            }
        }
        last = now;
        tokio::time::sleep(PAUSE).await;
    }
}
