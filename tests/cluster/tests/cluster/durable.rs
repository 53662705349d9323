//! Durable sessions outlive all nodes that have them: they go on from the store.

use std::path::{Path, PathBuf};

use ringside_client::{Options, Trust};
use ringside_test_support::cluster::Cluster;
use ringside_test_support::node::Node;
use ringside_test_support::object_server::ObjectServer;
use ringside_test_support::skip;
use ringside_test_support::wait::until;
use serde_json::Value;

use crate::failover::{create, last_change, led_and_followed, third};
use crate::player::Player;

pub fn show(node: &Node, session: &str) -> Option<Value> {
    let answer = node.ringside(&["session", "show", session, "--json"]);
    (answer.code == Some(0)).then(|| answer.json()).filter(|shown| shown["state"] == "live")
}

/// How a player enters by any node of a cluster.
pub fn by_any(cluster: &Cluster, name: &str, target: &str) -> Options {
    let nodes: Vec<&Node> = cluster.nodes().map(|(_, node)| node).collect();
    let trust = Trust::CertificateSha256(nodes.iter().map(|node| node.certificate()).collect());
    let doors: Vec<_> = nodes.iter().map(|node| node.address()).collect();
    Options::new(doors, trust, nodes[0].token(name), target).expect("a target")
}

/// A player who may enter by any node of a cluster.
pub async fn player(cluster: &Cluster, name: &str, target: &str) -> Player {
    Player::join_with(by_any(cluster, name, target), name).await
}

/// Ends nodes as a crash would; answers where each was.
pub fn kill_all(cluster: &mut Cluster) -> Vec<(u64, String)> {
    let places: Vec<(u64, String)> =
        cluster.nodes().map(|(number, node)| (number, node.address().to_string())).collect();
    let nodes: Vec<Node> = places.iter().map(|(number, _)| cluster.take(*number)).collect();
    nodes.iter().for_each(|node| node.signal("-STOP"));
    nodes.into_iter().for_each(Node::kill);
    places
}

pub fn start_again(cluster: &mut Cluster, places: &[(u64, String)]) {
    for (number, address) in places {
        cluster.add(*number, &["--listen", address]);
    }
}

/// Nothing of it was stored but its record: no log names it.
#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_session_that_left_nothing_but_its_record_is_free_again() {
    let mut cluster = Cluster::start(2).await;
    cluster.node(1).push("echo-durable");
    cluster.agreed().await;
    let create = |node: &Node| {
        let answer = node.ringside(&["session", "create", "echo-durable", "--key", "final", "--json"]);
        (answer.code == Some(0)).then(|| answer.json())
    };
    let first = create(cluster.node(1)).expect("a session");
    let leader: u64 = first["node"].as_str().and_then(|node| node.parse().ok()).expect("a node");
    // One that stays away, with whoever followed it.
    for node in [leader, 3 - leader] {
        cluster.take(node).kill();
    }
    std::fs::remove_dir_all(cluster.store().join("logs")).expect("logs");
    cluster.begin(3, &[]);
    let again = until("the key to be free", async || create(cluster.node(3))).await;
    assert_ne!(again["session"], first["session"]);
}

/// The objects of the logs of a store, in order.
pub fn objects(store: &Path) -> Vec<PathBuf> {
    objects_of(&store.join("logs")).iter().flat_map(|log| objects_of(log)).collect()
}

/// What is in a directory, in order.
pub fn objects_of(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| !is_being_written(path));
    paths.sort();
    paths
}

/// Whether a file of a store in a directory is an object that is not there yet: it has a name of its own until it is.
pub fn is_being_written(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains('#'))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_durable_session_goes_on_when_its_only_node_was_killed() {
    let mut cluster = Cluster::start(1).await;
    cluster.node(1).push("echo-durable");
    let session = create(cluster.node(1), "echo-durable", "final");
    let mut ada = player(&cluster, "ada", "echo-durable/final").await;
    ada.exchange(50).await;
    for run in 1..=2 {
        let places = kill_all(&mut cluster);
        start_again(&mut cluster, &places);
        ada.exchange(50).await;
        let shown = show(cluster.node(1), &session).expect("it is live");
        let replication = &shown["detail"]["replication"];
        assert_eq!(replication["epoch"]["number"], 1 + run, "{shown:#}");
        assert_eq!(last_change(replication)["cause"], "recovered", "{shown:#}");
        assert!(replication["stored"].as_u64() > Some(0), "{shown:#}");
    }
    // One that ended does not come back.
    cluster.node(1).ringside(&["session", "end", "echo-durable/final"]).succeeded();
    until("its end", async || show(cluster.node(1), &session).is_none().then_some(())).await;
    let again = create(cluster.node(1), "echo-durable", "final");
    assert_ne!(again, session);
    let places = kill_all(&mut cluster);
    start_again(&mut cluster, &places);
    until("the session of that key", async || show(cluster.node(1), &again)).await;
    assert!(show(cluster.node(1), &session).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_was_killed_altogether_has_its_durable_sessions_again_and_says_which_others_were_lost() {
    let mut cluster = Cluster::start(3).await;
    for game in ["echo-durable", "echo-replicated", "echo"] {
        cluster.node(1).push(game);
    }
    cluster.agreed().await;
    let durable: Vec<String> = (0..12)
        .map(|number| create(cluster.node(1 + number % 3), "echo-durable", &format!("match-{number}")))
        .collect();
    let others = [create(cluster.node(1), "echo-replicated", "lost"), create(cluster.node(2), "echo", "lost")];
    let mut players = Vec::new();
    for number in 0..3 {
        let mut player = player(&cluster, "ada", &format!("echo-durable/match-{number}")).await;
        player.exchange(30).await;
        players.push(player);
    }
    let led_before = cluster.sessions(1);
    let leaders = led_before.iter().map(|(_, node)| node).collect::<std::collections::BTreeSet<_>>();
    assert!(leaders.len() > 1, "{led_before:?}");
    // Notes of those that are not durable go with what is, soon.
    until("all of them to be noted", async || {
        let noted: String = objects(&cluster.store()).iter().map(|path| lossy(path)).collect();
        others.iter().all(|session| noted.contains(incarnation(session))).then_some(())
    })
    .await;
    let places = kill_all(&mut cluster);
    start_again(&mut cluster, &places);
    for session in &durable {
        until("each of them", async || show(cluster.node(1), session)).await;
    }
    for player in &mut players {
        player.exchange(30).await;
    }
    for session in &others {
        until("it to be named", async || {
            let lists = cluster.nodes().map(|(_, node)| node.ringside(&["session", "list", "--ended"]).succeeded());
            lists
                .into_iter()
                .any(|list| list.lines().any(|line| line.contains(&**session) && line.contains("lost")))
                .then_some(())
        })
        .await;
        assert!(show(cluster.node(1), session).is_none());
    }
    let places = cluster.directories_agree().await;
    assert_eq!(places.len(), durable.len());
}

/// What a file has in it, as text.
fn lossy(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

/// The key of a session, which an object has in it as it is written.
fn incarnation(session: &str) -> &str {
    session.split(['/', '@']).nth(1).expect("a key")
}

/// Who led it and who followed it are not started again: the node that the ring names takes their logs over after a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_nodes_that_stay_away_goes_on_at_another() {
    let mut cluster = Cluster::start(3).await;
    cluster.node(1).push("echo-durable");
    cluster.agreed().await;
    let session = create(cluster.node(1), "echo-durable", "final");
    let (leader, follower) = led_and_followed(&cluster, 1, &session).await;
    let third = third(leader, follower);
    let mut ada = player(&cluster, "ada", "echo-durable/final").await;
    ada.exchange(30).await;
    let gone = [leader, follower].map(|number| cluster.take(number));
    gone.iter().for_each(|node| node.signal("-STOP"));
    gone.into_iter().for_each(Node::kill);
    let shown = until("the session to go on", async || show(cluster.node(third), &session)).await;
    assert_eq!(shown["node"], third.to_string(), "{shown:#}");
    assert_eq!(last_change(&shown["detail"]["replication"])["cause"], "recovered", "{shown:#}");
    ada.exchange(30).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_object_of_a_log_is_named_and_the_others_are_recovered() {
    let mut cluster = Cluster::start(1).await;
    cluster.node(1).push("echo-durable");
    let first = create(cluster.node(1), "echo-durable", "first");
    until("its beginning to be stored", async || {
        show(cluster.node(1), &first)?["detail"]["replication"]["stored"].as_u64().filter(|stored| *stored > 0)
    })
    .await;
    let damaged = objects(&cluster.store()).pop().expect("an object");
    let second = create(cluster.node(1), "echo-durable", "second");
    let mut ada = player(&cluster, "ada", "echo-durable/second").await;
    ada.exchange(10).await;
    let missing = objects(&cluster.store()).pop().expect("an object");
    ada.exchange(10).await;
    let places = kill_all(&mut cluster);
    let mut bytes = std::fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    std::fs::remove_file(&missing).unwrap();
    start_again(&mut cluster, &places);
    let node = cluster.node(1);
    let number = |path: &Path| path.file_name().unwrap().to_string_lossy().trim_start_matches('0').to_owned();
    let named = node.logged(&format!("object {} of the log of node", number(&damaged)));
    assert!(named.contains("checksum"), "{named}");
    node.logged(&format!("object {} of the log of node", number(&missing)));
    // What was in the first is gone, what was in the second as well, and all that came before it is there.
    node.logged(&first);
    let shown = until("the second", async || show(node, &second)).await;
    let position = shown["detail"]["position"].as_u64().unwrap_or_default();
    // How many of the messages under way were in one object is not known; that the second ten came after it is.
    assert!(position > 2 && position < 22, "{shown:#}");
    assert!(show(node, &first).is_none());
    let list = node.ringside(&["session", "list", "--ended"]).succeeded();
    assert!(list.lines().any(|line| line.contains(&*first) && line.contains("cannot go on")), "{list}");
}

/// Objects that hold what changed of a state since its checkpoint before: what the second format has beside the first.
fn incremental(cluster: &Cluster) -> Vec<PathBuf> {
    let is_second = |path: &PathBuf| std::fs::read(path).is_ok_and(|bytes| bytes.get(5..7) == Some(&[2, 0]));
    objects(&cluster.store()).into_iter().filter(is_second).collect()
}

/// A player has a session of three checkpoints, the second and third of which are increments, each in an object without
/// entries; and what came after them.
async fn with_increments(cluster: &Cluster) -> Player {
    cluster.node(1).push("echo-durable");
    let session = create(cluster.node(1), "echo-durable", "final");
    let mut ada = player(cluster, "ada", "echo-durable/final").await;
    for increments in 0..=2 {
        ada.exchange(20).await;
        let position = async || {
            let shown = show(cluster.node(1), &session)?;
            let replication = &shown["detail"]["replication"];
            Some((replication["checkpoint"].as_u64()?, replication["position"].as_u64()?))
        };
        until("a checkpoint", async || position().await.filter(|(checkpoint, end)| checkpoint == end)).await;
        until("it to be stored", async || (incremental(cluster).len() == increments).then_some(())).await;
    }
    ada.exchange(20).await;
    ada
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_from_a_checkpoint_and_what_changed_since() {
    let mut cluster = Cluster::start(1).await;
    let mut ada = with_increments(&cluster).await;
    let places = kill_all(&mut cluster);
    start_again(&mut cluster, &places);
    ada.exchange(20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_what_changed_is_damaged_a_session_goes_on_from_the_checkpoint_before_and_its_log() {
    let mut cluster = Cluster::start(1).await;
    let mut ada = with_increments(&cluster).await;
    let damaged = incremental(&cluster).remove(0);
    let places = kill_all(&mut cluster);
    let mut bytes = std::fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    start_again(&mut cluster, &places);
    let number = damaged.file_name().unwrap().to_string_lossy().trim_start_matches('0').to_owned();
    let named = cluster.node(1).logged(&format!("object {number} of the log of node"));
    assert!(named.contains("checksum"), "{named}");
    // Each reply carries the hash over all that was said.
    ada.exchange(20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_away_what_is_durable_waits_and_the_rest_goes_on() {
    let mut cluster = Cluster::start(1).await;
    cluster.node(1).push("echo-durable");
    cluster.node(1).push("echo");
    let session = create(cluster.node(1), "echo-durable", "final");
    let mut ada = player(&cluster, "ada", "echo-durable/final").await;
    let mut bob = player(&cluster, "bob", "echo/any").await;
    ada.exchange(10).await;
    let away = cluster.without_store();
    let before = show(cluster.node(1), &session).expect("it is live")["detail"]["replication"]["stored"].clone();
    ada.send();
    cluster.node(1).logged("the store does not take the log");
    bob.exchange(50).await;
    assert_eq!(cluster.node(1).metric("ringside_log_store_away"), 1);
    let shown = show(cluster.node(1), &session).expect("it is live");
    let replication = &shown["detail"]["replication"];
    assert_eq!(replication["stored"], before, "{shown:#}");
    assert!(replication["position"].as_u64() > before.as_u64(), "it goes on, and waits: {shown:#}");
    drop(away);
    ada.exchange(10).await;
    cluster.node(1).logged("the store takes the log again");
    assert_eq!(cluster.node(1).metric("ringside_log_store_away"), 0);
    let places = kill_all(&mut cluster);
    start_again(&mut cluster, &places);
    ada.exchange(10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn durable_sessions_go_on_from_a_bucket_and_wait_while_its_server_does_not_answer() {
    let server = match ObjectServer::start() {
        Ok(server) => server,
        Err(why) => skip!("{why}"),
    };
    let mut cluster = Cluster::start_with_bucket(2, server).await;
    cluster.node(1).push("echo-durable");
    cluster.agreed().await;
    let session = create(cluster.node(1), "echo-durable", "final");
    let mut ada = player(&cluster, "ada", "echo-durable/final").await;
    ada.exchange(30).await;
    let places = kill_all(&mut cluster);
    start_again(&mut cluster, &places);
    ada.exchange(30).await;
    until("the session where it was", async || show(cluster.node(1), &session)).await;
    // What is said now comes back when the server answers again, and not before.
    cluster.server().signal("-STOP");
    ada.send();
    until("a node to say so", async || {
        cluster.nodes().any(|(_, node)| node.metric("ringside_log_store_away") == 1).then_some(())
    })
    .await;
    cluster.server().signal("-CONT");
    ada.exchange(10).await;
    let logs = cluster.server().objects().into_iter().filter(|name| name.starts_with("cluster/logs/")).count();
    assert!(logs > 0);
}
