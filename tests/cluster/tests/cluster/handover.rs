//! One of the two processes of a handover ends as a crash ends it, at each of its turns.

use std::time::Duration;

use ringside_cluster_tests::between::{Moment, RUNS, UNTIL};
use ringside_test_support::cluster::Cluster;
use ringside_test_support::guests;
use ringside_test_support::node::{Answer, Node};
use ringside_test_support::wait::until;
use serde_json::Value;

use crate::failover::{last_change, led_and_followed, shown};
use crate::player::{Match, Player};
use crate::upgrade::{Orphans, begin, script, upgrade};

/// The node whose process is replaced.
const NODE: u64 = 2;
/// For how long a process does not run, beside what others need to go on without it.
const STANDS_STILL: Duration = Duration::from_secs(4);
/// Games whose sessions have followers at other nodes.
const FOLLOWED: [&str; 3] = ["echo-replicated", "echo-consistent", "echo-durable"];

/// Three nodes, and matches that one of them leads.
struct Scene {
    cluster: Cluster,
    /// Those that are followed, and played without a pause.
    followed: Vec<(String, Match)>,
    /// Those that nobody follows.
    volatile: Vec<(String, Player)>,
    orphans: Orphans,
}

impl Scene {
    async fn begin(volatile: u64) -> Scene {
        let cluster = Cluster::start_at_rest(None, 3).await;
        FOLLOWED.into_iter().chain(["echo"]).for_each(|game| _ = cluster.node(1).push(game));
        cluster.agreed().await;
        let mut scene = Scene { cluster, followed: Vec::new(), volatile: Vec::new(), orphans: Orphans::default() };
        for game in FOLLOWED {
            scene.followed.push((format!("{game}/m"), begin(&scene.cluster, game, "m", NODE).await));
            let led = led_and_followed(&scene.cluster, 1, &format!("{game}/m")).await;
            assert_eq!(led.0, NODE);
        }
        let node = NODE.to_string();
        for number in 0..volatile {
            let key = format!("v{number}");
            let created = ["session", "create", "echo", "--key", &key, "--node", &node, "--json"];
            let created = scene.cluster.node(1).ringside(&created).json();
            let session = created["session"].as_str().expect("a session").to_owned();
            let mut player = Player::join(scene.cluster.node(1), &format!("in-{key}"), &format!("echo/{key}")).await;
            player.exchange(10).await;
            scene.volatile.push((session, player));
        }
        scene
    }

    fn status(&self) -> Option<Value> {
        self.cluster.status(1, NODE)
    }

    /// Has the node handed over, until one of the two processes ends.
    async fn upgrade_until(&self, moment: Moment) -> Answer {
        upgrade_until(&self.cluster, NODE, moment).await
    }

    /// Signals the old process when some sessions are at the successor and some are not.
    async fn signal_in_the_middle(&self, before: &Value, signal: &str) {
        until("some sessions to be there, and not all", async || {
            let status = self.status()?;
            assert_eq!(status["pid"], before["pid"], "it was too fast for this test");
            (status["upgrade"]["moved"].as_u64()? > 0).then(|| self.cluster.node(NODE).signal(signal))
        })
        .await;
    }

    /// Another process is the node, and ends with the test.
    fn is_succeeded(&mut self, before: &Value) {
        let after = self.status().expect("the node");
        self.orphans.0.extend(after["pid"].as_u64());
        assert_ne!(before["pid"], after["pid"]);
    }

    /// All that are followed are played on, each word answered once and in order.
    async fn followed_go_on(&self) {
        for (_, one) in &self.followed {
            one.goes_on(20).await;
        }
    }

    /// All matches go on at the node, and so does what begins there now.
    async fn all_go_on(mut self) {
        self.followed_go_on().await;
        for (_, player) in &mut self.volatile {
            player.exchange(10).await;
        }
        // Those that others follow as well may have gone on there.
        let led = self.cluster.sessions(1);
        assert_eq!(led.len(), self.followed.len() + self.volatile.len(), "{led:?}");
        let node = NODE.to_string();
        let is_there = |session: &String| led.contains(&(session.clone(), node.clone()));
        assert!(self.volatile.iter().all(|(session, _)| is_there(session)), "{led:?}");
        let new = ["session", "create", "echo", "--key", "new", "--node", &node];
        self.cluster.node(1).ringside(&new).succeeded();
        Player::join(self.cluster.node(1), "late", "echo/new").await.exchange(10).await;
        for (_, one) in self.followed {
            one.end().await;
        }
    }
}

/// Has a node hand over, until one of the two processes ends.
async fn upgrade_until(cluster: &Cluster, node: u64, moment: Moment) -> Answer {
    let (program, between) = (guests::program(), env!("CARGO_BIN_EXE_ringside-between"));
    let line = format!("{UNTIL}={} {RUNS}={} exec {between} \"$@\"", moment.name(), program.display());
    upgrade(cluster, 1, node, script(cluster, "between", &line)).await
}

/// Waits until an operator is shown that a session was lost.
async fn is_named(cluster: &Cluster, session: &str) {
    let is_it = |line: &str| line.contains(session) && line.contains("lost");
    until("the session to be named", async || {
        let mut nodes = cluster.nodes().filter(|(number, _)| *number != NODE);
        let says = |node: &Node| node.ringside(&["session", "list", "--ended"]).succeeded().lines().any(is_it);
        nodes.any(|(_, node)| says(node)).then_some(())
    })
    .await;
}

/// The successor dies before the old process knows that it has everything.
async fn the_old_process_goes_on(moment: Moment) {
    let scene = Scene::begin(2).await;
    let before = scene.status().expect("the node");
    let said = scene.upgrade_until(moment).await.failed();
    assert!(said.contains("goes on") && said.contains("it ended before it had the sockets"), "{said}");
    scene.cluster.node(NODE).logged("the successor was abandoned");
    let after = scene.status().expect("the node");
    assert_eq!((&before["pid"], &after["upgrade"]["phase"]), (&after["pid"], &"abandoned".into()), "{after:#}");
    scene.all_go_on().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_that_dies_just_before_it_gets_the_sockets_loses_nothing() {
    the_old_process_goes_on(Moment::SuccessorBeforeTake).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_that_dies_just_after_it_got_the_sockets_loses_nothing() {
    the_old_process_goes_on(Moment::SuccessorAfterTake).await;
}

/// The old process has ended by then, as it should: it is like the death of any node.
#[tokio::test(flavor = "multi_thread")]
async fn a_successor_that_dies_when_the_node_is_its_own_loses_what_a_killed_node_does() {
    let mut scene = Scene::begin(1).await;
    let said = scene.upgrade_until(Moment::SuccessorAfterTaken).await.failed();
    assert!(said.contains("neither process of node 2 answers"), "{said}");
    assert!(scene.cluster.take(NODE).wait_for_end().success(), "the old process had given everything");
    scene.followed_go_on().await;
    for (name, _) in &scene.followed {
        let led = shown(&scene.cluster, 1, name).expect("it is shown");
        assert_ne!(led["node"], NODE.to_string(), "{led:#}");
        assert_eq!(last_change(&led["detail"]["replication"])["cause"], "promoted", "{led:#}");
    }
    let (session, mut player) = scene.volatile.remove(0);
    assert!(player.is_lost().await, "nobody had it");
    assert!(shown(&scene.cluster, 1, &session).is_none_or(|shown| shown["state"] == "ended"));
    for (_, one) in scene.followed {
        one.end().await;
    }
}

/// Durable sessions need no follower at the old process when all is given, which takes a while to put into the records of many:
/// it is done before that process ends. Should the successor die then they go on from the store.
#[tokio::test(flavor = "multi_thread")]
async fn a_successor_that_does_without_the_old_process_loses_nothing_that_is_durable() {
    const SESSIONS: usize = 8;
    let cluster = Cluster::start(1).await;
    cluster.node(1).push("echo-durable");
    cluster.node(1).push("echo-consistent");
    let mut matches = Vec::new();
    for number in 0..SESSIONS {
        matches.push(begin(&cluster, "echo-durable", &format!("m{number}"), 1).await);
    }
    // The store has nothing of it but who leads: it is followed to the end.
    matches.push(begin(&cluster, "echo-consistent", "kept", 1).await);
    let said = upgrade_until(&cluster, 1, Moment::SuccessorBeforeTake).await.failed();
    assert!(said.contains("goes on"), "{said}");
    for one in &matches {
        one.goes_on(20).await;
    }
    let cause = |session: &str| {
        let shown = cluster.node(1).ringside(&["session", "show", session, "--json"]).json();
        last_change(&shown["detail"]["replication"])["cause"].as_str().expect("a cause").to_owned()
    };
    for number in 0..SESSIONS {
        assert_eq!(cause(&format!("echo-durable/m{number}")), "recovered");
    }
    assert_eq!(cause("echo-consistent/kept"), "promoted");
    for one in matches {
        one.end().await;
    }
}

/// Whether a process has not ended, be it that it stands still.
fn runs(process: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()).is_some_and(|state| state != "Z")
}

/// The successor has all sessions, and is the node.
async fn the_successor_is_the_node(moment: Moment) {
    let mut scene = Scene::begin(2).await;
    let before = scene.status().expect("the node");
    let old = before["pid"].as_u64().expect("a process");
    let answers = async {
        let is_another = |now: &Value| now["pid"] != before["pid"];
        until("the successor to answer", async || scene.status().filter(is_another)).await;
        assert!(!runs(old), "two processes never read one socket");
    };
    let (answer, ()) = tokio::join!(scene.upgrade_until(moment), answers);
    answer.succeeded();
    scene.is_succeeded(&before);
    assert!(!scene.cluster.take(NODE).wait_for_end().success(), "it was killed");
    scene.all_go_on().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_process_that_dies_before_it_gave_the_sockets_loses_nothing() {
    the_successor_is_the_node(Moment::OldBeforeTake).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_process_that_dies_when_it_gave_the_sockets_loses_nothing() {
    the_successor_is_the_node(Moment::OldAfterTake).await;
}

/// It keeps the state directory and the sockets, which are the successor's by then, and is ended for it.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_process_that_stands_still_when_it_gave_the_sockets_is_ended() {
    the_successor_is_the_node(Moment::OldStandsStill).await;
}

/// Some sessions are at the successor and some are not, and their old process does not run for a while: others lead meanwhile
/// what they follow. Then it goes on where it stood.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_process_that_stands_still_in_the_middle_loses_nothing() {
    let mut scene = Scene::begin(40).await;
    let before = scene.status().expect("the node");
    let ordered = upgrade(&scene.cluster, 1, NODE, guests::program());
    let stopped = async {
        scene.signal_in_the_middle(&before, "-STOP").await;
        scene.followed_go_on().await;
        // The length of the fault, not a wait for anything.
        tokio::time::sleep(STANDS_STILL).await;
        scene.cluster.node(NODE).signal("-CONT");
    };
    let (answer, ()) = tokio::join!(ordered, stopped);
    answer.succeeded();
    scene.is_succeeded(&before);
    assert!(scene.cluster.take(NODE).wait_for_end().success(), "it has given everything");
    scene.all_go_on().await;
}

/// Some sessions are at the successor and some are not: those that are followed go on, of the others those that were there.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_process_that_dies_in_the_middle_loses_what_it_led_and_nobody_followed() {
    let mut scene = Scene::begin(40).await;
    let before = scene.status().expect("the node");
    let ordered = upgrade(&scene.cluster, 1, NODE, guests::program());
    let killed = scene.signal_in_the_middle(&before, "-KILL");
    let (answer, ()) = tokio::join!(ordered, killed);
    let said = answer.failed();
    assert!(said.contains("the process before ended in the middle of it"), "{said}");
    scene.is_succeeded(&before);
    scene.cluster.node(NODE).logged("the process before ended in the middle of the handover");
    scene.followed_go_on().await;
    let mut lost = Vec::new();
    for (session, player) in &mut scene.volatile {
        if player.is_lost().await {
            lost.push(session.clone());
        }
    }
    assert!(!lost.is_empty() && lost.len() < 40, "{lost:?}");
    for session in &lost {
        is_named(&scene.cluster, session).await;
    }
    for (_, one) in scene.followed {
        one.end().await;
    }
}
