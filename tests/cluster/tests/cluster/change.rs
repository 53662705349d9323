//! Nodes come and go while sessions are created and players join.

use std::collections::{BTreeMap, BTreeSet};

use ringside_test_support::cluster::Cluster;
use ringside_test_support::wait::until;

use crate::player::Player;

/// What was created, by key: which session was answered, on which node.
type Created = BTreeMap<String, (String, String)>;

/// Creates sessions by way of a node, a player in each second one. Whatever is refused is asked for again: the cluster
/// is changing.
async fn load(cluster: &Cluster, by: u64, name: &str, count: usize, created: &mut Created, players: &mut Vec<Player>) {
    for number in 0..count {
        let key = format!("{name}-{number}");
        let answer = until("a session", async || {
            let answer = cluster.node(by).ringside(&["session", "create", "echo", "--key", &key, "--json"]);
            (answer.code == Some(0)).then(|| answer.json())
        })
        .await;
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        created.insert(key.clone(), (text("session"), text("node")));
        if number % 2 == 0 {
            let mut player = Player::join(cluster.node(by), &format!("in-{key}"), &format!("echo/{key}")).await;
            player.exchange(5).await;
            players.push(player);
        }
    }
}

/// Each session has one leader, and all nodes say which.
fn check(cluster: &Cluster, created: &Created, gone: &BTreeSet<String>) {
    let lists: Vec<_> = cluster.nodes().map(|(number, _)| cluster.sessions(number)).collect();
    for list in &lists {
        assert_eq!(*list, lists[0], "all nodes list the same");
    }
    let names: BTreeSet<&str> = lists[0].iter().filter_map(|(session, _)| session.split('@').next()).collect();
    assert_eq!(names.len(), lists[0].len(), "one leader each: {:?}", lists[0]);
    let live: BTreeMap<&String, &String> = lists[0].iter().map(|(session, node)| (session, node)).collect();
    for (key, (session, node)) in created {
        let expected = (!gone.contains(node)).then_some(node);
        assert_eq!(live.get(session).copied(), expected, "{key} was created as {session} on node {node}");
    }
    assert_eq!(live.len(), created.values().filter(|(_, node)| !gone.contains(node)).count());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_session_has_one_leader_while_nodes_join_die_and_leave() {
    let mut cluster = Cluster::start(3).await;
    cluster.node(1).push("echo");
    let (mut created, mut players) = (Created::new(), Vec::new());
    let mut gone = BTreeSet::new();
    for by in 1..=3 {
        load(&cluster, by, &format!("before-{by}"), 6, &mut created, &mut players).await;
    }

    // A fourth joins, and takes its share.
    cluster.add(4, &[]);
    load(&cluster, 4, "joined-4", 8, &mut created, &mut players).await;
    load(&cluster, 1, "joined-1", 8, &mut created, &mut players).await;
    cluster.agreed().await;
    check(&cluster, &created, &gone);
    load(&cluster, 2, "settled", 12, &mut created, &mut players).await;
    assert!(created.values().any(|(_, node)| node == "4"), "it takes its share: {created:?}");

    // One dies. What it led is lost, nothing else.
    let dead = cluster.take(3);
    let pid = dead.pid();
    dead.kill();
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    gone.insert("3".to_owned());
    players.retain(|player| player.attachment().node != 3);
    load_beside_the_dead(&cluster, &mut created, &mut players).await;
    cluster.agreed().await;
    check(&cluster, &created, &gone);

    // One leaves.
    cluster.node(1).ringside(&["node", "drain", "2", "--grace", "0s", "--no-wait"]).succeeded();
    players.retain(|player| player.attachment().node != 2);
    load(&cluster, 1, "leaving", 6, &mut created, &mut players).await;
    let status = cluster.take(2).wait_for_end();
    assert!(status.success(), "{status}");
    gone.insert("2".to_owned());
    load(&cluster, 4, "left", 6, &mut created, &mut players).await;
    cluster.agreed().await;
    check(&cluster, &created, &gone);

    // Whoever was with the others noticed nothing.
    for player in &mut players {
        player.exchange(10).await;
    }
}

/// While the others do not know yet that a node is dead, a session may be placed there: then it is asked for again.
async fn load_beside_the_dead(cluster: &Cluster, created: &mut Created, players: &mut Vec<Player>) {
    load(cluster, 1, "dead-1", 6, created, players).await;
    load(cluster, 4, "dead-4", 6, created, players).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_killed_comes_back_as_a_later_run_of_itself() {
    let mut cluster = Cluster::start(3).await;
    cluster.node(1).push("echo");
    cluster.node(1).ringside(&["session", "create", "echo", "--key", "lost", "--node", "3"]).succeeded();
    cluster.node(1).ringside(&["session", "create", "echo", "--key", "kept", "--node", "2"]).succeeded();
    cluster.take(3).kill();
    cluster.add(3, &[]);
    cluster.agreed().await;
    let names: Vec<String> = cluster.sessions(3).into_iter().map(|(session, _)| session).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(names[0].starts_with("echo/kept@"), "{names:?}");
    let again = cluster.node(2).ringside(&["session", "create", "echo", "--key", "lost", "--json"]).json();
    assert_eq!(again["created"], true, "the key is free again: {again}");
}
