//! Players enter by any node and end on the worker that leads their match.

use std::collections::BTreeSet;

use ringside_client::Arrival;
use ringside_test_support::cluster::Cluster;

use crate::player::{Player, options};

#[tokio::test(flavor = "multi_thread")]
async fn players_enter_by_each_node_and_end_on_the_right_worker() {
    let cluster = Cluster::start(3).await;
    let pids: BTreeSet<u32> = cluster.nodes().map(|(_, node)| node.pid()).collect();
    assert_eq!(pids.len(), 3);
    let pushed = cluster.node(2).push("echo");
    assert_eq!(pushed["covers"]["answered"], 3, "all serve it when the push is answered: {pushed}");
    // Keys enough that every node leads some.
    for key in 0..12 {
        let by = cluster.node(key % 3 + 1);
        by.ringside(&["session", "create", "echo", "--key", &format!("k{key}")]).succeeded();
    }
    let sessions = cluster.sessions(1);
    assert_eq!((cluster.sessions(2), cluster.sessions(3)), (sessions.clone(), sessions.clone()), "all list the same");
    let leaders: BTreeSet<&String> = sessions.iter().map(|(_, node)| node).collect();
    assert_eq!((sessions.len(), leaders.len()), (12, 3), "{sessions:?}");
    for (session, leader) in &sessions {
        let target = session.split('@').next().expect("a name");
        for (number, node) in cluster.nodes() {
            let mut player = Player::join(node, &format!("by-{number}"), target).await;
            let attachment = player.attachment().clone();
            assert_eq!(attachment.session.to_string(), *session);
            assert_eq!(format!("{:x}", attachment.node), *leader, "{session} by node {number}");
            let here = format!("{number:x}") == *leader;
            let expected = if here { Arrival::Direct } else { Arrival::Redirected(1) };
            assert_eq!(attachment.arrival, expected, "on a settled ring one redirect is enough");
            player.exchange(20).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn players_who_ask_for_any_match_meet_whichever_node_they_enter_by() {
    let cluster = Cluster::start(3).await;
    cluster.node(1).push("arena");
    let mut players = Vec::new();
    for number in 0..8 {
        let node = cluster.node(number % 3 + 1);
        let mut options = options(node, &node.token(&format!("player-{number}")), "arena/any");
        let game = "arena".parse().expect("a game");
        options.target = ringside_protocol::frame::Target::FindOrCreate { game, criteria: String::new() };
        players.push(Player::join_with(options, "player").await);
    }
    let sessions: BTreeSet<String> = players.iter().map(|player| player.attachment().session.to_string()).collect();
    assert_eq!(sessions.len(), 1, "eight seats, eight players: {sessions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn players_who_ask_for_it_are_relayed_and_lose_nothing() {
    let cluster = Cluster::start(2).await;
    cluster.node(1).push("echo");
    cluster.node(1).ringside(&["session", "create", "echo", "--key", "far", "--node", "2"]).succeeded();
    let node = cluster.node(1);
    let mut options = options(node, &node.token("ada"), "echo/far");
    options.relay = true;
    let mut player = Player::join_with(options, "ada").await;
    let attachment = player.attachment();
    assert_eq!((attachment.node, attachment.arrival), (2, Arrival::Relayed));
    player.exchange(200).await;
}

#[test]
fn the_terminal_says_where_the_match_is_and_how_the_player_came_there() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let cluster = runtime.block_on(Cluster::start(2));
    cluster.node(1).push("arena");
    cluster.node(1).ringside(&["session", "create", "arena", "--key", "far", "--node", "2"]).succeeded();
    let play = |by: u64, more: &[&str]| {
        let mut arguments = vec!["play", "arena", "--session", "far", "--bots", "1", "--headless", "--seconds", "1"];
        arguments.extend(more);
        cluster.node(by).ringside(&arguments).succeeded()
    };
    for (said, where_to) in [
        (play(2, &[]), "node 2, worker 0 (direct)"),
        (play(1, &[]), "node 2, worker 0 (redirected)"),
        (play(1, &["--relay"]), "node 2, worker 0 (relayed)"),
    ] {
        assert!(said.contains(where_to), "{said}");
    }
    let explained = cluster.node(1).ringside(&["session", "explain", "arena/far"]).succeeded();
    assert!(explained.contains("pinned to node 2") && explained.contains("chosen"), "{explained}");
}
