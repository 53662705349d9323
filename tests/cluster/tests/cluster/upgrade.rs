//! A node's process is replaced while its matches go on.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ringside_core::envelope::{Kind, MAGIC};
use ringside_test_support::cluster::Cluster;
use ringside_test_support::guests;
use ringside_test_support::node::Answer;
use ringside_test_support::wait::until;
use serde_json::Value;

use crate::durable::is_being_written;
use crate::player::{Match, Player};

/// Processes that nobody else ends.
#[derive(Default)]
pub struct Orphans(pub Vec<u64>);

impl Drop for Orphans {
    fn drop(&mut self) {
        for pid in &self.0 {
            // One that has ended is nobody's.
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
    }
}

/// A match on a node, played without a pause.
pub async fn begin(cluster: &Cluster, game: &str, key: &str, node: u64) -> Match {
    let at = node.to_string();
    cluster.node(1).ringside(&["session", "create", game, "--key", key, "--node", &at]).succeeded();
    let player = Player::join(cluster.node(1), &format!("in-{key}"), &format!("{game}/{key}")).await;
    Match::play(player, 5, Duration::ZERO)
}

/// Has a node hand over to a run of another program.
pub async fn upgrade(cluster: &Cluster, by: u64, node: u64, binary: PathBuf) -> Answer {
    let mut command = ringside_test_support::node::command(cluster.node(by).state());
    command.args(["node", "upgrade", &node.to_string(), "--binary"]).arg(binary).stdin(std::process::Stdio::null());
    tokio::task::spawn_blocking(move || Answer::of(&mut command)).await.expect("the command line")
}

/// A program that does what a line of shell says.
pub fn script(cluster: &Cluster, name: &str, line: &str) -> PathBuf {
    let path = cluster.node(1).state().join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{line}\n")).expect("a script");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).expect("a program");
    path
}

async fn replaced(nodes: u64, node: u64, games: &[&str]) {
    let mut orphans = Orphans::default();
    let cluster = Cluster::start(nodes).await;
    games.iter().for_each(|game| _ = cluster.node(1).push(game));
    cluster.agreed().await;
    let mut matches = Vec::new();
    for number in 0..6 {
        let game = games[number % games.len()];
        matches.push(begin(&cluster, game, &format!("m{number}"), node).await);
    }
    // Twice: the successor has a successor, and neither has the addresses that it began with.
    for _ in 0..2 {
        let before = cluster.status(1, node).expect("the node");
        let answer = upgrade(&cluster, 1, node, guests::program()).await;
        assert!(answer.err.contains("sessions that went over"), "{answer:#?}");
        let said = answer.succeeded();
        let after = cluster.status(1, node).expect("the node");
        orphans.0.extend(after["pid"].as_u64());
        assert!(said.contains(&format!("is process {} now", after["pid"])), "{said}");
        assert_ne!(before["pid"], after["pid"]);
        assert_eq!(
            (&before["links"], &before["admin"]),
            (&after["links"], &after["admin"]),
            "the addresses are the node's"
        );
        assert_eq!(after["sessions"], 6, "{after:#}");
        cluster.agreed().await;
    }
    for one in matches {
        assert_eq!(one.end().await.disconnected, 0, "nobody lost a connection");
    }
    // Who comes now is let in, at the same door.
    let at = node.to_string();
    cluster.node(node).ringside(&["session", "create", games[0], "--key", "new", "--node", &at]).succeeded();
    let mut late = Player::join(cluster.node(node), "late", &format!("{}/new", games[0])).await;
    late.exchange(10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_alone_is_replaced_under_its_matches() {
    replaced(1, 1, &["echo"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_a_cluster_is_replaced_under_its_matches() {
    replaced(3, 2, &["echo", "echo-replicated", "echo-consistent", "echo-durable"]).await;
}

/// What a node's workers have counted, all together.
pub fn counted(cluster: &Cluster, node: u64, name: &str) -> u64 {
    let page = cluster.node(node).ask("GET", "/metrics", &Value::Null);
    let of_workers = page.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
    of_workers.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_of_a_node_that_is_replaced_go_through_memory() {
    let cluster = Cluster::start(1).await;
    cluster.node(1).push("echo-replicated");
    let mut matches = Vec::new();
    for number in 0..3 {
        matches.push(begin(&cluster, "echo-replicated", &format!("m{number}"), 1).await);
    }
    // A younger session has none: all of its log goes.
    for number in 0..3 {
        let session = format!("echo-replicated/m{number}");
        until("a checkpoint", async || {
            let shown = cluster.node(1).ringside(&["session", "show", &session, "--json"]).json();
            (shown["detail"]["replication"]["checkpoint"].as_u64()? > 0).then_some(())
        })
        .await;
    }
    upgrade(&cluster, 1, 1, guests::program()).await.succeeded();
    let _orphans = Orphans(cluster.status(1, 1).and_then(|status| status["pid"].as_u64()).into_iter().collect());
    assert_eq!(counted(&cluster, 1, "ringside_worker_checkpoints_passed_total"), 3);
    for one in matches {
        assert_eq!(one.end().await.disconnected, 0, "nobody lost a connection");
    }
}

/// Checkpoints in a directory's files, in the log of durable sessions and of those that are asleep: of which version, and
/// where in which file each begins.
pub fn checkpoints_in(directory: &Path) -> BTreeSet<(u16, PathBuf, usize)> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(checkpoints_in(&entry.path()));
        }
        if is_being_written(&entry.path()) {
            continue;
        }
        let bytes = std::fs::read(entry.path()).unwrap_or_default();
        let is_head = |head: &[u8]| head.starts_with(MAGIC) && head[4] == Kind::Checkpoint as u8;
        let heads = bytes.windows(7).enumerate().filter(|(_, head)| is_head(head));
        found.extend(heads.map(|(at, head)| (u16::from_le_bytes([head[5], head[6]]), entry.path(), at)));
    }
    found
}

/// The versions of those.
pub fn versions_in(directory: &Path) -> BTreeSet<u16> {
    checkpoints_in(directory).into_iter().map(|(version, ..)| version).collect()
}

/// The program as the next release may be: its checkpoints have a later version, and it reads both.
pub fn next_release() -> PathBuf {
    env!("CARGO_BIN_EXE_ringside-next").into()
}

/// A node goes from one release to the next and on to another run of that, and not back: each way it is the checkpoint
/// that says so, in a match that goes on.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_release_takes_over_and_the_one_before_does_not() {
    let mut orphans = Orphans::default();
    let cluster = Cluster::start_with(1, false).await;
    let store = cluster.node(1).state().join("store");
    cluster.node(1).push("echo-durable");
    let one = begin(&cluster, "echo-durable", "m", 1).await;
    let logged = |version| {
        let store = store.clone();
        until("a checkpoint in the log", async move || versions_in(&store).contains(&version).then_some(()))
    };
    logged(1).await;
    for round in 1..=2 {
        upgrade(&cluster, 1, 1, next_release()).await.succeeded();
        orphans.0.extend(cluster.status(1, 1).and_then(|status| status["pid"].as_u64()));
        // The first was read as the release before wrote it, the second as this one does.
        assert_eq!(counted(&cluster, 1, "ringside_worker_checkpoints_passed_total"), 1, "round {round}");
        logged(2).await;
    }
    let before = cluster.status(1, 1).expect("the node");
    let said = upgrade(&cluster, 1, 1, guests::program()).await.failed();
    assert!(said.contains("goes on") && said.contains("checkpoints: it has version 1, this node 2"), "{said}");
    let after = cluster.status(1, 1).expect("the node");
    assert_eq!((&before["pid"], &after["sessions"]), (&after["pid"], &1.into()), "{after:#}");
    assert_eq!(one.end().await.disconnected, 0, "nobody lost a connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_take_over_is_abandoned_and_the_node_goes_on() {
    let cluster = Cluster::start(1).await;
    cluster.node(1).push("echo");
    let one = begin(&cluster, "echo", "m", 1).await;
    let pid = cluster.node(1).pid();
    let hello = r#"{"hello":{"release":"9.9.9","formats":{"handover":1,"links":[2,2],"peers":[1,1],"words":1,"checkpoint":99,"rewriter":1}}}"#;
    let own = r#"{"hello":{"release":"0.1.0","formats":{"handover":1,"links":[2,2],"peers":[1,1],"words":1,"checkpoint":1,"rewriter":1}}}"#;
    let says = |text: &str| format!(r"printf '\000\{:03o}\000\000\000%s' '{text}' >&0", text.len());
    for (program, why) in [
        (PathBuf::from("/bin/false"), "it ended, or did not say what it is"),
        (PathBuf::from("/nowhere/ringside"), "cannot be started"),
        (script(&cluster, "hangs", "exec sleep 600"), "did not say what it is within"),
        (script(&cluster, "other", &format!("{}; exec sleep 600", says(hello))), "checkpoints: it has version 99"),
        (script(&cluster, "gives-up", &format!("{}; exit 3", says(own))), "was not ready"),
    ] {
        let said = upgrade(&cluster, 1, 1, program.clone()).await.failed();
        assert!(said.contains("goes on") && said.contains(why), "{}: {said}", program.display());
        let status = cluster.status(1, 1).expect("the node");
        assert_eq!((&status["pid"], &status["upgrade"]["phase"]), (&pid.into(), &"abandoned".into()), "{status:#}");
    }
    assert_eq!(one.end().await.disconnected, 0);
    // And one that can may.
    let answer = upgrade(&cluster, 1, 1, guests::program()).await;
    let _orphans = Orphans(cluster.status(1, 1).and_then(|status| status["pid"].as_u64()).into_iter().collect());
    answer.succeeded();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_that_dies_in_the_middle_loses_nothing() {
    ends_in_the_middle("KILL").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_that_hangs_in_the_middle_loses_nothing() {
    ends_in_the_middle("STOP").await;
}

/// What it was granted goes on where it came from.
async fn ends_in_the_middle(signal: &str) {
    let cluster = Cluster::start(1).await;
    cluster.node(1).push("echo");
    let mut matches = Vec::new();
    for number in 0..40 {
        matches.push(begin(&cluster, "echo", &format!("m{number}"), 1).await);
    }
    let pid = cluster.node(1).pid();
    let ordered = upgrade(&cluster, 1, 1, guests::program());
    let killed = until("some sessions to be there, and not all", async || {
        let status = cluster.status(1, 1)?;
        let moved = status["upgrade"]["moved"].as_u64()?;
        assert_eq!(status["pid"], pid, "it was too fast for this test");
        if moved == 0 {
            return None;
        }
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let all = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
        let of_threads = all.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
        let children: String = children.into_iter().chain(of_threads).collect();
        let child: u32 = children.split_whitespace().next()?.parse().ok()?;
        Command::new("kill").args([&format!("-{signal}"), &child.to_string()]).status().ok()?;
        Some(moved)
    });
    let (answer, killed) = tokio::join!(ordered, killed);
    let said = answer.failed();
    assert!(killed < 40 && said.contains("goes on"), "{killed}: {said}");
    for one in matches {
        one.end().await;
    }
    let status = cluster.status(1, 1).expect("the node");
    assert_eq!((&status["pid"], &status["sessions"]), (&pid.into(), &40.into()), "{status:#}");
}
