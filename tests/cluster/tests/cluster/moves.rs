//! A move, phase by phase: as soon as a node says that it has come to a phase it is killed, stands still, or is cut off from
//! the other side, or from all. Packets take long enough for the fault to come before the next phase.
//!
//! Whatever happens, the session has one leader afterwards, its player has lost and doubled nothing, who comes late is let
//! in, and a source that has granted is not heard of again in its old epoch.

use std::process::{Child, Stdio};
use std::time::Duration;

use ringside_test_support::cluster::Cluster;
use ringside_test_support::network::{Cut, Network, Quality};
use ringside_test_support::wait::until;
use serde_json::Value;

use crate::durable::player;
use crate::failover::create;
use crate::player::{Match, Player};

const SLOW: Quality = Quality { delay: Duration::from_millis(10), loss_permille: 0 };
/// Nodes say phases.
const NODE: [&str; 2] = ["--log", "info,ringside_worker::replication::phase=debug"];
/// How long a node stands still, or is cut off: longer than a promotion takes.
const FAULT: Duration = Duration::from_millis(1500);

/// Messages after whose entries a leader does not keep the whole log any more: who is to follow begins with a checkpoint.
const LONG: u64 = 5_100;

/// A phase, in the order in which a move goes through them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Offer,
    Checkpoint,
    CatchUp,
    Announce,
    Grant,
    Switch,
    Release,
}

const PHASES: [Phase; 7] =
    [Phase::Offer, Phase::Checkpoint, Phase::CatchUp, Phase::Announce, Phase::Grant, Phase::Switch, Phase::Release];

impl Phase {
    /// As nodes write it.
    fn name(self) -> &'static str {
        match self {
            Phase::Offer => "offer",
            Phase::Checkpoint => "checkpoint",
            Phase::CatchUp => "catch up",
            Phase::Announce => "announce",
            Phase::Grant => "grant",
            Phase::Switch => "switch",
            Phase::Release => "release",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Source,
    Target,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The process ends; what it has sent arrives.
    Kill,
    /// The machine is gone, with all that is on its way to and from it.
    Crash,
    /// The process does not run for a while.
    Stop,
    /// The two hear nothing of each other for a while, and others hear both.
    Cut,
    /// Nobody hears anything of it for a while.
    CutOff,
}

/// The phase, and whose turn it is.
type Case = (Phase, Side);

fn both_sides() -> impl Iterator<Item = Case> {
    PHASES.into_iter().flat_map(|phase| [(phase, Side::Source), (phase, Side::Target)])
}

/// Three nodes and a match of each of some games.
struct Stage {
    cluster: Cluster,
    /// Whether an *available* session may go on at both sides of a fault.
    may_fork: bool,
    matches: Vec<(String, Match)>,
}

/// Who has to do with a session.
#[derive(Debug)]
struct Parts {
    /// The session, with its incarnation.
    id: String,
    source: u64,
    target: u64,
    /// Who follows it.
    other: u64,
    epoch: u64,
}

/// Plays sessions of a node for so long that nobody has one without a checkpoint, and on.
pub async fn long_matches(cluster: &Cluster, node: u64, players: Vec<(String, Player)>) -> Vec<(String, Match)> {
    let play = |(session, mut player): (String, Player)| {
        let much = async move {
            player.exchange_at_once(LONG, 100).await;
            player
        };
        (session, tokio::spawn(much))
    };
    let played: Vec<_> = players.into_iter().map(play).collect();
    let mut matches = Vec::new();
    for (session, played) in played {
        let player = played.await.expect("it was played");
        let one = Match::play(player, 5, Duration::from_millis(5));
        until("a checkpoint that a follower cannot do without", async || {
            let shown = cluster.node(node).try_get(&format!("/v1/sessions/{session}"))?;
            (shown["detail"]["replication"]["checkpoint"].as_u64()? > LONG).then_some(())
        })
        .await;
        matches.push((session, one));
    }
    matches
}

impl Stage {
    /// On a network, or on loopback where there is none to be had, unless links are to be cut. Where a side is cut off from all,
    /// an *available* session may go on at both.
    async fn begin(games: &[&str], network: Option<Network>, may_fork: bool) -> Stage {
        let mut cluster = Cluster::start_at_rest(network, 0).await;
        for number in 1..=3 {
            cluster.add(number, &NODE);
        }
        cluster.keep_ports();
        cluster.agreed().await;
        let mut players = Vec::new();
        for game in games {
            cluster.node(1).push(game);
            create(cluster.node(1), game, "final");
            let session = format!("{game}/final");
            let mut ada = player(&cluster, &format!("ada-{game}"), &session).await;
            ada.may_fork = may_fork && forks(&session);
            players.push((session, ada));
        }
        let matches = long_matches(&cluster, 1, players).await;
        Stage { cluster, may_fork, matches }
    }

    /// How the nodes show a session, all alike: one leader, one epoch.
    async fn agreed(&self, session: &str) -> (String, u64, u64) {
        let mut last = Vec::new();
        let shown = until("all to show the same leader", async || {
            let path = format!("/v1/sessions/{session}");
            last = self.cluster.nodes().map(|(_, node)| node.try_get(&path)).collect::<Option<Vec<_>>>()?;
            let first = leader(last.first()?)?;
            last.iter().all(|shown| leader(shown).as_ref() == Some(&first)).then_some(first)
        });
        match tokio::time::timeout(Duration::from_secs(55), shown).await {
            Ok(shown) => shown,
            Err(_) => panic!("{session} is not shown alike: {last:#?}"),
        }
    }

    /// Waits until a session is whole: led, and followed if it is to be. Whom it is to move to has nothing of it.
    async fn parts(&self, session: &str) -> Parts {
        let (id, source, epoch) = self.agreed(session).await;
        let by = self.cluster.node(source);
        let others = [source % 3 + 1, (source + 1) % 3 + 1];
        if session.starts_with("echo/") {
            self.has_nothing(others[0], &id).await;
            return Parts { id, source, target: others[0], other: others[1], epoch };
        }
        let other = until("a follower that counts", async || {
            let shown = by.try_get(&format!("/v1/sessions/{session}"))?;
            let followers = shown["detail"]["replication"]["followers"].as_array()?;
            // No more than it asks for: the one before has been let go of.
            let one = followers.iter().find(|follower| follower["in_sync"] == true).filter(|_| followers.len() == 1)?;
            one["node"].as_str()?.parse().ok()
        })
        .await;
        let target = others.into_iter().find(|node| *node != other).expect("a third");
        self.has_nothing(target, &id).await;
        Parts { id, source, target, other, epoch }
    }

    /// Waits until a node does not follow a session any more.
    async fn has_nothing(&self, node: u64, id: &str) {
        until("a node to let go of what it followed", async || {
            let shown = self.cluster.node(node).try_get("/v1/directory")?;
            shown["follows"].as_array()?.iter().all(|one| one["session"] != id).then_some(())
        })
        .await;
    }

    fn cut(&self, parts: &Parts, is_cut: bool) {
        let (source, target) = (parts.source as u8, parts.target as u8);
        for (from, to) in [(source, target), (target, source)] {
            self.cluster.network().set_cut(Cut::OneWay { from, to }, is_cut);
        }
    }

    /// Has a session move, and does the one or other node a wrong in a phase of that.
    async fn case(&mut self, at: usize, (phase, side): Case, fault: Fault) {
        let (session, _) = &self.matches[at];
        let session = session.clone();
        let parts = self.parts(&session).await;
        eprintln!("case: {session}, {fault:?} of the {side:?} in {phase:?}, {parts:?}");
        self.cluster.nodes().for_each(|(_, node)| drop(node.log_so_far()));
        let mut order = self.order(&session, &parts);
        // The one phase that the target alone says, whoever's turn it is.
        let says = if phase == Phase::Release { Side::Target } else { side };
        let id = &parts.id;
        let line = format!("session={id} phase=\"{}\" side=\"{}\"", phase.name(), format!("{says:?}").to_lowercase());
        let of = |side| if side == Side::Source { parts.source } else { parts.target };
        self.cluster.node(of(says)).logged(&line);
        let victim = of(side);
        match fault {
            Fault::Kill | Fault::Crash => self.kill(victim, fault == Fault::Crash, at).await,
            Fault::Stop => {
                self.cluster.node(victim).signal("-STOP");
                // The length of the fault, not a wait for anything.
                tokio::time::sleep(FAULT).await;
                self.cluster.node(victim).signal("-CONT");
            }
            Fault::Cut => {
                self.cut(&parts, true);
                tokio::time::sleep(FAULT).await;
                self.cut(&parts, false);
            }
            Fault::CutOff => {
                self.cluster.network().set_cut(Cut::Host(victim as u8), true);
                tokio::time::sleep(FAULT).await;
                self.cluster.network().set_cut(Cut::Host(victim as u8), false);
            }
        }
        self.matches[at].1.goes_on(20).await;
        // Who comes to where it was is sent on.
        let mut late =
            Player::join(self.cluster.node(parts.source), &format!("late-{phase:?}-{side:?}"), &session).await;
        late.may_fork = self.may_fork && forks(&session);
        late.exchange(5).await;
        let is_killed = matches!(fault, Fault::Kill | Fault::Crash);
        if is_killed && side == Side::Source {
            // Whoever would carry it out is gone.
            order.kill().expect("the order");
        }
        let answer = tokio::task::block_in_place(|| order.wait_with_output()).expect("the order");
        eprintln!("the order: {}", String::from_utf8_lossy(&[answer.stdout, answer.stderr].concat()).trim());
        self.are_active().await;
        let (id, led, epoch) = self.agreed(&session).await;
        assert_eq!(id, parts.id, "it is the same session");
        let has_granted = phase >= Phase::Switch || phase == Phase::Grant && side == Side::Target;
        if has_granted {
            assert!(epoch > parts.epoch, "what was granted is over: {led} leads in epoch {epoch}");
        }
        // Where both sides may go on, a target that counts does so alone.
        let may_fork = fault == Fault::CutOff && forks(&session);
        // If this machine kept the source from running, its follower has it.
        if side == Side::Target && led == parts.target && epoch > parts.epoch && !may_fork {
            let granted = format!("session={id} phase=\"grant\" side=\"source\"");
            let said = self.cluster.node(parts.source).log_so_far();
            let has_granted = said.iter().any(|line| line.contains(&granted));
            assert!(has_granted, "before the grant the source leads whatever happens: {led} leads, {said:#?}");
        }
        self.matches[at].1.goes_on(20).await;
    }

    /// Ends a node; the others go on without it before it is started again.
    async fn kill(&mut self, victim: u64, is_crash: bool, at: usize) {
        let is_crash = is_crash && self.cluster.has_network();
        if is_crash {
            self.cluster.network().set_cut(Cut::Host(victim as u8), true);
        }
        self.cluster.take(victim).kill();
        self.matches[at].1.goes_on(20).await;
        if is_crash {
            self.cluster.network().set_cut(Cut::Host(victim as u8), false);
        }
        tokio::task::block_in_place(|| self.cluster.add(victim, &NODE));
    }

    /// Given by the third node, which has nothing to fear.
    fn order(&self, session: &str, parts: &Parts) -> Child {
        let to = parts.target.to_string();
        let mut order = self.cluster.node(parts.other).command(&["session", "move", session, "--to", &to]);
        order.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command line")
    }

    /// Waits until the nodes see each other, be there something that they have not told of yet.
    async fn are_active(&self) {
        until("all nodes to be active", async || {
            let seen = self.cluster.get_of_all("/v1/cluster");
            let is_active = |node: &Value| node["state"] == "active";
            let all = |seen: &Value| {
                seen["nodes"].as_array().is_some_and(|nodes| nodes.iter().filter(|it| is_active(it)).count() == 3)
            };
            seen.iter().all(|seen| seen["agree"] == true && all(seen)).then_some(())
        })
        .await;
    }

    /// When all have told of everything, each session has one leader, which its home knows.
    async fn end(self) {
        self.cluster.agreed().await;
        let places = self.cluster.directories_agree().await;
        for (session, one) in self.matches {
            let led = places.keys().filter(|name| name.starts_with(&format!("{session}@"))).count();
            assert_eq!(led, 1, "{session}: {places:?}");
            one.end().await;
        }
    }
}

/// The session, its leader's node and epoch.
fn leader(shown: &Value) -> Option<(String, u64, u64)> {
    let replication = &shown["detail"]["replication"];
    if shown["state"] != "live" {
        return None;
    }
    let node = shown["node"].as_str()?.parse().ok()?;
    // One that asks for no followers has no record but while it moves.
    Some((shown["session"].as_str()?.to_owned(), node, replication["epoch"]["number"].as_u64().unwrap_or(1)))
}

/// What is moved: a match of 60 Hz and 4 MiB each second time, those of other tiers in between.
const GAMES: [&str; 4] = ["echo-ticking", "echo-consistent", "echo-durable", "echo-kept"];

/// Whether a session goes on at both sides of a cut.
fn forks(session: &str) -> bool {
    ["echo-ticking/", "echo-kept/"].iter().any(|game| session.starts_with(game))
}

/// Of which game the session of a case is: each meets faults of either side.
fn game(number: usize) -> usize {
    let (phase, side) = (number / 2, number % 2);
    if (phase + side).is_multiple_of(2) { 0 } else { (phase / 2 + side) % 3 + 1 }
}

fn slow_network() -> Option<Network> {
    Network::new(3, SLOW).inspect_err(|why| eprintln!("on loopback: {why}")).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn either_side_of_a_move_is_killed_in_each_phase() {
    let mut stage = Stage::begin(&GAMES, slow_network(), false).await;
    for (number, case) in both_sides().enumerate() {
        let fault = if number / 2 % 2 == 0 { Fault::Kill } else { Fault::Crash };
        stage.case(game(number), case, fault).await;
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn either_side_of_a_move_stands_still_in_each_phase() {
    let mut stage = Stage::begin(&GAMES, slow_network(), false).await;
    for (number, case) in both_sides().enumerate() {
        stage.case(game(number + 1), case, Fault::Stop).await;
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn either_side_of_a_move_is_cut_off_in_each_phase() {
    let network = ringside_test_support::network!(3, SLOW);
    let mut stage = Stage::begin(&GAMES, Some(network), true).await;
    for (number, case) in both_sides().enumerate() {
        stage.case(game(number), case, Fault::CutOff).await;
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_two_sides_of_a_move_lose_each_other() {
    let network = ringside_test_support::network!(3, SLOW);
    let mut stage = Stage::begin(&GAMES, Some(network), false).await;
    for (number, phase) in PHASES.into_iter().enumerate() {
        stage.case(game(number), (phase, Side::Source), Fault::Cut).await;
    }
    stage.end().await;
}
