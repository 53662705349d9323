//! A cluster of two releases, as it is while it is upgraded: what is written everybody reads, sessions go both ways, and
//! whoever dies, the others go on with what it led. `ringside-next` is the later one: its checkpoints have another version.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ringside_core::durable::object::{Content, Item, Object};
use ringside_core::envelope;
use ringside_test_support::cluster::Cluster;
use ringside_test_support::guests::program;
use ringside_test_support::wait::until;

use crate::durable::{objects_of, player};
use crate::failover::{create, last_change, led_and_followed, shown};
use crate::idle::visit;
use crate::moves::long_matches;
use crate::player::Match;
use crate::upgrade::{Orphans, checkpoints_in, next_release, upgrade, versions_in};

/// Followers that fold and such that keep the log, a chain of records in the store, and a log there.
const GAMES: [&str; 4] = ["echo-replicated", "echo-kept", "echo-consistent", "echo-durable"];
/// Matches by the names of their sessions.
type Matches = BTreeMap<String, Match>;

/// A match of each game on a node, so long that nobody has it without a checkpoint.
async fn begin(cluster: &Cluster, node: u64) -> Matches {
    let mut players = Vec::new();
    for game in GAMES {
        let (key, session) = (format!("m{node}"), format!("{game}/m{node}"));
        let at = node.to_string();
        cluster.node(1).ringside(&["session", "create", game, "--key", &key, "--node", &at]).succeeded();
        let player = player(cluster, &format!("in-{game}-{node}"), &session).await;
        players.push((session, player));
    }
    long_matches(cluster, node, players).await.into_iter().collect()
}

async fn go_on(matches: &Matches) {
    for one in matches.values() {
        one.goes_on(20).await;
    }
}

/// Where sessions are led, each with a follower that counts.
async fn places(cluster: &Cluster, by: u64, matches: &Matches) -> BTreeMap<String, u64> {
    let mut places = BTreeMap::new();
    for session in matches.keys() {
        places.insert(session.clone(), led_and_followed(cluster, by, session).await.0);
    }
    places
}

/// Has the sessions of one node go to another, which is not to be noticed by anybody.
async fn give(cluster: &Cluster, matches: &Matches, (from, to): (u64, u64)) {
    let led = places(cluster, to, matches).await;
    for (session, _) in led.iter().filter(|(_, at)| **at == from) {
        let moved = cluster.node(to).ringside(&["session", "move", session, "--to", &to.to_string(), "--json"]).json();
        assert_eq!((&moved["from"], &moved["to"]), (&from.to_string().into(), &to.to_string().into()), "{moved}");
    }
    go_on(matches).await;
}

/// Ends a node as a crash would; what it led goes on at the others.
async fn kill(cluster: &mut Cluster, victim: u64, matches: &Matches) {
    let by = victim % 3 + 1;
    let led = places(cluster, by, matches).await;
    if led.values().all(|at| *at != victim) {
        give(cluster, matches, (by, victim)).await;
    }
    cluster.take(victim).kill();
    go_on(matches).await;
    let led = places(cluster, by, matches).await;
    assert!(led.values().all(|at| *at != victim), "{led:?}");
}

/// What each node reads at most and writes, as it says.
fn versions(cluster: &Cluster, by: u64) -> Vec<(u64, u64)> {
    let list = cluster.node(by).ringside(&["node", "list", "--json"]).json();
    let number = |value: &serde_json::Value| value.as_u64().expect("a version");
    let nodes = list["nodes"].as_array().expect("nodes");
    nodes.iter().map(|node| (number(&node["checkpoints"]["newest"]), number(&node["checkpoints"]["written"]))).collect()
}

async fn all_write(cluster: &Cluster, by: u64, version: u64) {
    until("every node to write what all read", async || {
        versions(cluster, by).iter().all(|(_, written)| *written == version).then_some(())
    })
    .await;
}

/// Whether no process has a node's state directory.
fn is_free(cluster: &Cluster, node: u64) -> bool {
    let lock = std::fs::File::open(cluster.state_of(node).join("lock")).expect("its lock");
    lock.try_lock().is_ok()
}

/// In which version the log of durable sessions has the newest state of one.
fn newest_version(cluster: &Cluster, session: &str) -> Option<u16> {
    let logs = objects_of(&cluster.store().join("logs"));
    let objects = logs.iter().flat_map(|log| objects_of(log)).filter_map(|path| std::fs::read(path).ok());
    let objects = objects.filter_map(|bytes| Object::decode(&bytes).ok());
    let items = objects.flat_map(|object| match object.content {
        Content::Items(items) => items,
        Content::Seal { .. } => Vec::new(),
    });
    let states = items.filter_map(|item| match item {
        Item::Checkpoint(state) if state.session.to_string() == session => Some(state),
        _ => None,
    });
    // The last of equals.
    let newest = states.max_by_key(|state| (state.epoch.number, state.position))?;
    envelope::version(&newest.state)
}

/// Those of the later version in a directory's files.
fn later_in(directory: &Path) -> BTreeSet<(u16, PathBuf, usize)> {
    checkpoints_in(directory).into_iter().filter(|(version, ..)| *version == 2).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_upgraded_node_by_node_and_one_goes_back() {
    let mut orphans = Orphans::default();
    let mut cluster = Cluster::start_at_rest(None, 2).await;
    cluster.add_running(next_release(), 3, &[]);
    cluster.agreed().await;
    cluster.keep_ports();
    GAMES.iter().for_each(|game| _ = cluster.node(1).push(game));
    let mut matches = Matches::new();
    for node in 1..=3 {
        matches.extend(begin(&cluster, node).await);
    }
    assert_eq!(versions(&cluster, 1), [(1, 1), (1, 1), (2, 1)]);
    let said = cluster.node(1).ringside(&["node", "list"]).succeeded();
    assert!(said.contains("Nodes of two releases: 1 2 read checkpoints of version 1 and write 1; 3 read"), "{said}");

    // One whose player says nothing for long: its state is written anew only where it must be.
    let silent = create(cluster.node(1), "echo-durable", "silent");
    let mut bob = player(&cluster, "bob", "echo-durable/silent").await;

    // Both ways, and whoever dies.
    give(&cluster, &matches, (3, 1)).await;
    give(&cluster, &matches, (1, 3)).await;
    give(&cluster, &matches, (2, 3)).await;
    kill(&mut cluster, 3, &matches).await;
    cluster.add_running(next_release(), 3, &[]);
    cluster.agreed().await;
    kill(&mut cluster, 1, &matches).await;
    cluster.add(1, &[]);
    cluster.agreed().await;
    places(&cluster, 1, &matches).await;
    assert_eq!(versions(&cluster, 1), [(1, 1), (1, 1), (2, 1)]);
    assert_eq!(versions_in(&cluster.store()), [1].into(), "there were always some that read no other");

    // The others are upgraded, and from the last on the later version is written.
    for node in [1, 2] {
        let written = versions(&cluster, 3);
        assert!(written.iter().all(|(_, written)| *written == 1), "{written:?}");
        assert_eq!(versions_in(&cluster.store()), [1].into());
        upgrade(&cluster, 3, node, next_release()).await.succeeded();
        orphans.0.extend(cluster.status(3, node).and_then(|status| status["pid"].as_u64()));
        cluster.agreed().await;
        go_on(&matches).await;
    }
    all_write(&cluster, 3, 2).await;
    assert_eq!(versions(&cluster, 3), [(2, 2), (2, 2), (2, 2)]);
    bob.exchange(20).await;
    let is_written = async |version| (newest_version(&cluster, &silent)? == version).then_some(());
    until("its state in the later version", async || is_written(2).await).await;

    // One goes back: it leads and follows as before, and everybody writes what it reads.
    cluster.node(3).ringside(&["node", "drain", "2", "--grace", "1h"]).succeeded();
    until("its process to let go of its directory", async || is_free(&cluster, 2).then_some(())).await;
    // The process that it was at first has ended before.
    cluster.take(2).wait_for_end();
    cluster.add(2, &[]);
    cluster.agreed().await;
    all_write(&cluster, 3, 1).await;
    let is_written = async |version| (newest_version(&cluster, &silent)? == version).then_some(());
    until("its state in the version that all read", async || is_written(1).await).await;
    let later = later_in(&cluster.store());
    go_on(&matches).await;
    let led = places(&cluster, 1, &matches).await;
    let from = *led.values().next().expect("some");
    give(&cluster, &matches, (from, 2)).await;
    let since: Vec<_> = later_in(&cluster.store()).difference(&later).cloned().collect();
    assert_eq!(since, [], "no more of the later version");
    let other = [1, 3].into_iter().find(|node| *node != from).expect("another");
    give(&cluster, &matches, (other, 2)).await;
    let led = places(&cluster, 2, &matches).await;
    assert!(led.values().all(|at| *at == 2), "{led:?}");
    // All of it was in the old node's hands, and goes to where it came from.
    kill(&mut cluster, 2, &matches).await;
    for one in matches.into_values() {
        one.end().await;
    }
    bob.exchange(20).await;
}

/// All nodes were upgraded, and then they went back at once: what they have in the store is in a version that none of them
/// reads. It is not taken for lost, and goes on where somebody reads it.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_node_finds_in_a_later_version_is_left_to_one_that_reads_it() {
    const IDLE: [&str; 2] = ["--idle-after-s", "1"];
    const NORTH: [&str; 6] = ["session", "create", "tally", "--key", "north", "--private"];
    let mut cluster = Cluster::start(0).await;
    cluster.add_running(next_release(), 1, &IDLE);
    cluster.agreed().await;
    all_write(&cluster, 1, 2).await;
    ["tally", "echo-durable"].iter().for_each(|game| _ = cluster.node(1).push(game));
    let made = cluster.node(1).ringside(&[&NORTH[..], &["--json"]].concat()).json();
    let asleep = made["session"].as_str().expect("a session").to_owned();
    assert_eq!(visit(cluster.node(1), "tally/north", &["add 3"]).await, ["sum 3, rang 0, told 0"]);
    let is_asleep = async || shown(&cluster, 1, "tally/north").filter(|shown| shown["state"] == "evicted");
    until("the session to be in the store", is_asleep).await;
    let logs = cluster.store().join("logs");
    let of_others = later_in(&logs);
    let durable = create(cluster.node(1), "echo-durable", "final");
    let mut ada = player(&cluster, "ada", "echo-durable/final").await;
    ada.exchange(50).await;
    // Objects of others may go meanwhile: only what is new is its own.
    until("its state in the log", async || later_in(&logs).difference(&of_others).next().cloned()).await;
    cluster.keep_ports();
    cluster.take(1).kill();

    cluster.add_running(program(), 1, &IDLE);
    let said = cluster.node(1).logged("a durable session goes on later");
    assert!(said.contains(&durable) && said.contains("the checkpoint has version 2, this node reads 1 to 1"), "{said}");
    let refused = cluster.node(1).ringside(&NORTH).failed();
    assert!(refused.contains("the checkpoint has version 2, this node reads 1 to 1"), "{refused}");
    let ended = cluster.node(1).ringside(&["session", "list", "--ended"]).succeeded();
    assert!(!ended.contains(&asleep) && !ended.contains(&durable), "{ended}");

    // Of the two the other is asked, by whichever door somebody comes.
    cluster.add_running(next_release(), 2, &IDLE);
    cluster.agreed().await;
    assert_eq!(visit(cluster.node(1), "tally/north", &["add 1"]).await, ["sum 4, rang 0, told 0"]);
    let led = until("the durable session to go on", async || {
        shown(&cluster, 1, &durable).filter(|shown| shown["state"] == "live" && shown["node"] == "2")
    })
    .await;
    assert_eq!(last_change(&led["detail"]["replication"])["cause"], "recovered", "{led:#}");
    ada.exchange(20).await;
    assert_eq!(versions(&cluster, 1), [(1, 1), (2, 1)]);
}

/// A leader's node has not heard yet that an older one has come, and one that follows there is sent what it cannot read: it
/// says so, and is sent what it can when that is known.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_of_an_older_release_is_sent_again_what_it_could_not_read() {
    let mut cluster = Cluster::start_at_rest(None, 0).await;
    let (deaf, script) = (cluster.state_of(0), cluster.state_of(9));
    std::fs::write(&deaf, "").expect("a file");
    let line = format!("NEXT_IS_DEAF_WHILE='{}' exec '{}' \"$@\"", deaf.display(), next_release().display());
    std::fs::write(&script, format!("#!/bin/sh\n{line}\n")).expect("a script");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).expect("a program");
    cluster.add_running(script, 1, &[]);
    cluster.agreed().await;
    cluster.keep_ports();
    GAMES.iter().for_each(|game| _ = cluster.node(1).push(game));
    let matches = begin(&cluster, 1).await;
    cluster.add(2, &[]);
    cluster.agreed().await;
    let mut unread: BTreeSet<&String> = matches.keys().collect();
    while !unread.is_empty() {
        let said = cluster.node(2).logged("a checkpoint cannot be read");
        assert!(said.contains("the checkpoint has version 2, this node reads 1 to 1"), "{said}");
        unread.retain(|session| !said.contains(&**session));
    }
    go_on(&matches).await;
    std::fs::remove_file(&deaf).expect("it was there");
    for session in matches.keys() {
        assert_eq!(led_and_followed(&cluster, 1, session).await, (1, 2));
    }
    cluster.take(1).kill();
    for one in matches.into_values() {
        one.end().await;
    }
}
