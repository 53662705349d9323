//! Nodes come and go while sessions are created and players join.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ringside_test_support::cluster::Cluster;
use ringside_test_support::node::Node;
use ringside_test_support::wait::until;

use crate::player::Player;

/// Matches at a time, and how long each is played.
const MATCHES: u64 = 200;
const MATCH: Duration = Duration::from_secs(30);
/// How long nodes come and go under load.
const CHANGE: Duration = Duration::from_secs(60);

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

/// Each session has one leader, all nodes say which, and the directory of each session's home knows the same.
async fn check(cluster: &Cluster, created: &Created, gone: &BTreeSet<String>) {
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
    let kept = cluster.directories_agree().await;
    let listed = lists[0].iter().cloned().collect();
    let kept: BTreeMap<_, _> = kept.into_iter().map(|(session, (node, _))| (session, node)).collect();
    assert_eq!(kept, listed, "homes keep what leaders lead and operators see");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_session_has_one_leader_while_nodes_join_die_and_leave() {
    let began = Instant::now();
    let mut cluster = Cluster::start_at_rest(None, 3).await;
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
    check(&cluster, &created, &gone).await;
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
    check(&cluster, &created, &gone).await;

    // One leaves.
    cluster.node(1).ringside(&["node", "drain", "2", "--grace", "0s", "--no-wait"]).succeeded();
    players.retain(|player| player.attachment().node != 2);
    load(&cluster, 1, "leaving", 6, &mut created, &mut players).await;
    let status = cluster.take(2).wait_for_end();
    assert!(status.success(), "{status}");
    gone.insert("2".to_owned());
    load(&cluster, 4, "left", 6, &mut created, &mut players).await;
    let mut rounds = 0;
    while began.elapsed() < CHANGE {
        rounds += 1;
        load(&cluster, [1, 4][rounds % 2], &format!("round-{rounds}"), 4, &mut created, &mut players).await;
        for player in &mut players {
            player.exchange(5).await;
        }
    }
    cluster.agreed().await;
    check(&cluster, &created, &gone).await;

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

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_started_again_without_a_word_finds_its_cluster() {
    let mut cluster = Cluster::start(3).await;
    cluster.node(1).push("echo");
    let keys: Vec<String> = (0..6).map(|number| format!("k{number}")).collect();
    for key in &keys {
        cluster.node(1).ringside(&["session", "create", "echo", "--key", key, "--node", "2"]).succeeded();
    }
    cluster.take(1).kill();
    let again = cluster.begin(1, &[]);
    // At once: alone it would lead each of these keys a second time.
    for key in &keys {
        let answer = again.ringside(&["session", "create", "echo", "--key", key, "--json"]).json();
        assert_eq!((answer["created"].as_bool(), answer["node"].as_str()), (Some(false), Some("2")), "{answer}");
    }
    cluster.agreed().await;
    assert_eq!(cluster.sessions(1).len(), keys.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_cluster_is_gone_begins_alone() {
    let mut cluster = Cluster::start(2).await;
    cluster.take(2).kill();
    cluster.take(1).kill();
    cluster.begin(1, &[]);
    cluster.agreed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stands_still_for_two_seconds_keeps_its_matches() {
    let cluster = Cluster::start(3).await;
    cluster.node(1).push("echo");
    let mut players = Vec::new();
    for number in 0..6 {
        let (by, key) = (cluster.node(number % 3 + 1), format!("k{number}"));
        let on = (number % 3 + 1).to_string();
        by.ringside(&["session", "create", "echo", "--key", &key, "--node", &on]).succeeded();
        let mut player = Player::join(by, &format!("player-{number}"), &format!("echo/{key}")).await;
        player.exchange(5).await;
        players.push(player);
    }
    let before = cluster.sessions(1);
    cluster.node(3).signal("-STOP");
    // The stall itself, not a wait for anything.
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster.node(3).signal("-CONT");
    for player in &mut players {
        player.exchange(20).await;
    }
    cluster.agreed().await;
    for node in 1..=3 {
        assert_eq!(cluster.sessions(node), before, "node {node} says");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn players_of_a_match_whose_node_dies_are_told_that_it_is_lost() {
    let mut cluster = Cluster::start(3).await;
    cluster.node(1).push("echo");
    cluster.node(1).ringside(&["session", "create", "echo", "--key", "pinned", "--node", "3"]).succeeded();
    let mut players = vec![Player::join(cluster.node(1), "ada", "echo/pinned").await];
    // By the ring the leader is its own home as a rule: who is left has never heard of the session.
    for key in (0..).map(|number| format!("by-ring-{number}")) {
        let made = cluster.node(1).ringside(&["session", "create", "echo", "--key", &key, "--json"]).json();
        if made["node"] == "3" {
            players.push(Player::join(cluster.node(1), "bob", &format!("echo/{key}")).await);
            break;
        }
    }
    for player in &mut players {
        player.exchange(10).await;
    }
    cluster.take(3).kill();
    for player in &mut players {
        assert!(player.is_lost().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_matches_lose_and_double_nothing_while_a_node_joins() {
    let mut cluster = Cluster::start(3).await;
    cluster.node(1).push("echo");
    let mut players = Vec::new();
    for number in 0..MATCHES {
        let (by, key) = (cluster.node(number % 3 + 1), format!("m{number}"));
        by.ringside(&["session", "create", "echo", "--key", &key]).succeeded();
        let other = cluster.node((number + 1) % 3 + 1);
        players.push(Player::join(other, &format!("player-{number}"), &format!("echo/{key}")).await);
    }
    let playing: Vec<_> = players
        .into_iter()
        .map(|mut player| {
            tokio::spawn(async move {
                let end = Instant::now() + MATCH;
                while Instant::now() < end {
                    player.exchange(10).await;
                }
                player
            })
        })
        .collect();
    tokio::task::block_in_place(|| cluster.add(4, &[]));
    cluster.agreed().await;
    for player in playing {
        player.await.expect("nothing is lost or doubled").exchange(50).await;
    }
    assert_eq!(cluster.sessions(4).len() as u64, MATCHES);
}

/// Ports that nobody uses at the moment.
fn free_ports(count: usize) -> Vec<String> {
    let sockets: Vec<_> = (0..count).map(|_| std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket")).collect();
    sockets.iter().map(|socket| socket.local_addr().expect("an address").to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_was_down_comes_up_though_each_node_waits_for_another() {
    let cluster = Cluster::start(0).await;
    cluster.init(1);
    cluster.init(2);
    let links = free_ports(2);
    let start = |number: u64| {
        let (state, own, other) =
            (cluster.state_of(number), links[number as usize - 1].clone(), links[2 - number as usize].clone());
        tokio::task::spawn_blocking(move || Node::start(&state, &["--links", &own, "--join", &other]))
    };
    let (first, second) = (start(1), start(2));
    let nodes = [first.await.expect("it is ready"), second.await.expect("it is ready")];
    for node in &nodes {
        until("both to agree", async || {
            let list = node.ringside(&["node", "list", "--json"]).json();
            let active = list["nodes"].as_array()?.iter().filter(|node| node["state"] == "active").count();
            (list["agree"] == true && active == 2).then_some(())
        })
        .await;
    }
}
