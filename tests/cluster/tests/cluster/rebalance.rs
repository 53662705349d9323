//! Sessions go to other nodes by themselves: to one that came, and from one that carries too much.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringside_core::ids::{Node, NodeId};
use ringside_core::ring::{Member, Position, Ring, Weight, Zone};
use ringside_test_support::cluster::Cluster;
use ringside_test_support::wait::until;
use serde_json::Value;

use crate::player::{Match, Player};

/// Longer than a node's load must be too much, and than homes need after a change of the ring.
const QUIET: Duration = Duration::from_secs(15);
const GAMES: [&str; 3] = ["echo", "echo-replicated", "echo-durable"];

/// The ring of a cluster that agrees.
fn ring(agreed: &Value) -> Ring {
    let members = agreed["nodes"].as_array().expect("nodes").iter().map(|node| Member {
        node: Node {
            id: node["node"].as_str().and_then(|id| id.parse::<NodeId>().ok()).expect("a number"),
            generation: node["generation"].as_u64().expect("a generation"),
        },
        stay: 0,
        weight: Weight::NORMAL,
        zone: Zone::default(),
    });
    Ring::new(members)
}

fn home(ring: &Ring, game: &str, key: &str) -> String {
    let position = Position::of_key(&game.parse().expect("a game"), &key.parse().expect("a key"));
    ring.home(position).expect("a node").node.id.to_string()
}

/// Where each session is, without its incarnation.
fn places(cluster: &Cluster) -> BTreeMap<String, String> {
    let name = |session: String| session.split('@').next().unwrap_or_default().to_owned();
    cluster.sessions(1).into_iter().map(|(session, node)| (name(session), node)).collect()
}

/// A counter of all nodes together.
fn counted(cluster: &Cluster, name: &str) -> u64 {
    cluster.nodes().map(|(_, node)| node.metric(name)).sum()
}

/// Causes of what `session show` says that a session has been through.
fn causes(cluster: &Cluster, session: &str) -> Vec<String> {
    let shown = cluster.node(1).ringside(&["session", "show", session, "--json"]).json();
    let history = shown["detail"]["replication"]["history"].as_array().cloned().unwrap_or_default();
    history.iter().map(|change| change["cause"].as_str().unwrap_or_default().to_owned()).collect()
}

async fn end(matches: Vec<Match>) {
    for one in matches {
        one.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_gets_what_the_ring_gives_it_and_its_players_lose_nothing() {
    let mut cluster = Cluster::start(3).await;
    GAMES.iter().for_each(|game| _ = cluster.node(1).push(game));
    let before = ring(&cluster.agreed().await);
    let mut matches = Vec::new();
    for number in 0..30 {
        let (game, key) = (GAMES[number % GAMES.len()], format!("m{number}"));
        cluster.node(1).ringside(&["session", "create", game, "--key", &key]).succeeded();
        let by = cluster.node(number as u64 % 3 + 1);
        let player = Player::join(by, &format!("in-{key}"), &format!("{game}/{key}")).await;
        // Little enough for every node to have room, on a slow machine too.
        matches.push(Match::play(player, 2, Duration::from_millis(500)));
    }
    // Where operators want it it stays.
    cluster.node(1).ringside(&["session", "create", "echo", "--key", "pinned", "--node", "2"]).succeeded();
    let old = places(&cluster);
    tokio::task::block_in_place(|| cluster.add(4, &[]));
    let after = ring(&cluster.agreed().await);
    let meant = |session: &str| {
        let (game, key) = session.split_once('/').expect("a name");
        let (from, to) = (home(&before, game, key), home(&after, game, key));
        if session != "echo/pinned" && to == "4" && old[session] == from { to } else { old[session].clone() }
    };
    let expected: BTreeMap<String, String> = old.keys().map(|session| (session.clone(), meant(session))).collect();
    let moved: BTreeSet<&String> = old.keys().filter(|session| expected[*session] != old[*session]).collect();
    assert!(!moved.is_empty(), "the ring gives it some of {old:?}");
    until("those to be there, and no others", async || (places(&cluster) == expected).then_some(())).await;
    for session in &moved {
        let causes = causes(&cluster, session);
        assert_eq!(causes.last().map(String::as_str), Some("rebalanced"), "{session}: {causes:?}");
    }
    // Time in which something might go on, not a wait for anything.
    tokio::time::sleep(QUIET).await;
    assert_eq!(places(&cluster), expected, "it has come to rest");
    assert_eq!(counted(&cluster, "ringside_sessions_rebalanced_total"), moved.len() as u64);
    assert_eq!(counted(&cluster, "ringside_sessions_relieved_total"), 0);
    cluster.directories_agree().await;
    end(matches).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_told_to_keeps_what_it_has() {
    let mut cluster = Cluster::start(0).await;
    cluster.add(1, &["--rebalance", "false"]);
    cluster.agreed().await;
    cluster.node(1).push("echo");
    for number in 0..20 {
        cluster.node(1).ringside(&["session", "create", "echo", "--key", &format!("m{number}")]).succeeded();
    }
    let old = places(&cluster);
    cluster.add(2, &[]);
    cluster.agreed().await;
    // Time in which something might go, not a wait for anything.
    tokio::time::sleep(QUIET).await;
    assert_eq!(places(&cluster), old);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_over_its_bound_is_relieved_and_its_players_lose_nothing() {
    let cluster = Cluster::start(3).await;
    cluster.node(1).push("echo");
    let ring = ring(&cluster.agreed().await);
    let mut matches = Vec::new();
    let keys = (0..).map(|number| format!("m{number}")).filter(|key| home(&ring, "echo", key) == "1");
    for key in keys.take(16) {
        cluster.node(1).ringside(&["session", "create", "echo", "--key", &key]).succeeded();
        let player = Player::join(cluster.node(1), &format!("in-{key}"), &format!("echo/{key}")).await;
        matches.push((key, player));
    }
    assert!(places(&cluster).values().all(|node| node == "1"), "an idle node has room for its own");
    // Now they cost something: a multiple of what every node has room for.
    let matches: Vec<Match> =
        matches.into_iter().map(|(_, player)| Match::play(player, 64, Duration::from_millis(5))).collect();
    until("others to have some of them", async || {
        let places = places(&cluster);
        ["2", "3"].iter().all(|node| places.values().any(|at| at == node)).then_some(())
    })
    .await;
    // They have it before it is counted.
    let relieved = until("that to be counted", async || {
        Some(cluster.node(1).metric("ringside_sessions_relieved_total")).filter(|relieved| *relieved > 0)
    })
    .await;
    assert!((1..16).contains(&relieved), "{relieved} of them went");
    let moved = places(&cluster).into_iter().find(|(_, node)| node != "1").expect("one that went").0;
    let causes = causes(&cluster, &moved);
    assert_eq!(causes.last().map(String::as_str), Some("relieved"), "{moved}: {causes:?}");
    // Whoever took some has not too much, and gives none back.
    tokio::time::sleep(QUIET).await;
    let gave = |node: u64| cluster.node(node).metric("ringside_sessions_relieved_total");
    assert_eq!((gave(2), gave(3)), (0, 0));
    assert_eq!(counted(&cluster, "ringside_sessions_rebalanced_total"), 0);
    cluster.directories_agree().await;
    end(matches).await;
}
