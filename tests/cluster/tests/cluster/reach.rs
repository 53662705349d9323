//! Nodes that reach each other by half: gossip without links, links without gossip, or neither, while their players
//! reach them all.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ringside_client::Arrival;
use ringside_test_support::cluster::Cluster;
use ringside_test_support::network::{Cut, Network, Quality};
use ringside_test_support::node::Node;
use ringside_test_support::wait::until;
use serde_json::Value;

use crate::player::Player;

const LAN: Quality = Quality { delay: Duration::from_millis(1), loss_permille: 0 };
/// How long gossip is cut: more than two eras of tickets, which are gossiped.
const TWO_ERAS: Duration = Duration::from_secs(21);
/// How long links are cut: they time out after five seconds.
const LOST: Duration = Duration::from_secs(8);

/// Three nodes, each leading a match with a player who came by another.
async fn begin(network: Network) -> (Cluster, Vec<Player>) {
    let cluster = Cluster::start_on(network, 3).await;
    cluster.node(1).push("echo");
    let mut players = Vec::new();
    for number in 1..=3_u64 {
        let (key, leader) = (format!("on-{number}"), number.to_string());
        cluster.node(1).ringside(&["session", "create", "echo", "--key", &key, "--node", &leader]).succeeded();
        let door = cluster.node(number % 3 + 1);
        players.push(Player::join(door, &format!("player-{number}"), &format!("echo/{key}")).await);
    }
    (cluster, players)
}

fn port(node: &Node, what: &str) -> u16 {
    let address: Option<std::net::SocketAddr> = node.ready()[what].as_str().and_then(|text| text.parse().ok());
    address.expect("an address").port()
}

/// Which runs and stays each node sees: a node that was believed gone, however briefly, comes back in another stay.
fn stays(cluster: &Value) -> BTreeSet<String> {
    let nodes = cluster["nodes"].as_array().expect("nodes");
    nodes.iter().map(|node| node["sees"].to_string()).collect()
}

/// Plays on for as long as the fault lasts: it is the length of the fault, not a wait for anything.
async fn play_for(players: &mut [Player], length: Duration) {
    let end = Instant::now() + length;
    while Instant::now() < end {
        for player in &mut *players {
            player.exchange(10).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_gossip_is_not_heard_is_asked_and_stays() {
    let network = ringside_test_support::network!(3, LAN);
    let (cluster, mut players) = begin(network).await;
    let before = cluster.agreed().await;
    let gossip = Cut::Port { host: 3, port: port(cluster.node(3), "gossip") };
    cluster.network().set_cut(gossip, true);
    play_for(&mut players, TWO_ERAS).await;
    // Everything that goes by links is as it was, tickets for it included.
    for (door, on) in [(1, 3), (3, 2)] {
        let key = format!("later-{on}");
        let leader = on.to_string();
        cluster.node(door).ringside(&["session", "create", "echo", "--key", &key, "--node", &leader]).succeeded();
        let mut player = Player::join(cluster.node(door), "bob", &format!("echo/{key}")).await;
        assert_eq!((player.attachment().node, player.attachment().arrival), (on, Arrival::Redirected(1)));
        player.exchange(10).await;
    }
    assert_eq!(stays(&cluster.agreed().await), stays(&before), "nobody was believed gone at any time");
    cluster.network().set_cut(gossip, false);
    play_for(&mut players, Duration::from_secs(1)).await;
    assert_eq!(stays(&cluster.agreed().await), stays(&before));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_links_are_cut_is_heard_of_and_keeps_its_matches() {
    let network = ringside_test_support::network!(3, LAN);
    let (cluster, mut players) = begin(network).await;
    let before = cluster.agreed().await;
    let links = Cut::Port { host: 3, port: port(cluster.node(3), "links") };
    cluster.network().set_cut(links, true);
    play_for(&mut players, LOST).await;
    let list = cluster.node(1).get("/v1/cluster");
    assert_eq!((&list["covers"]["answered"], &list["covers"]["silent"][0]), (&2.into(), &"3".into()), "{list}");
    // What cannot be asked is not made up: the caller is told, or the match is led by one that can be reached.
    let created = cluster.node(1).ringside(&["session", "create", "echo", "--key", "far", "--node", "3", "--json"]);
    assert_ne!(created.code, Some(0), "{created:?}");
    cluster.network().set_cut(links, false);
    assert_eq!(stays(&cluster.agreed().await), stays(&before), "nobody was believed gone at any time");
    for player in &mut players {
        player.exchange(10).await;
    }
    cluster.node(1).ringside(&["session", "create", "echo", "--key", "far", "--node", "3"]).succeeded();
    Player::join(cluster.node(1), "bob", "echo/far").await.exchange(10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sides_of_a_cut_lead_one_key_and_settle_it_when_they_meet() {
    let network = ringside_test_support::network!(3, LAN);
    let (cluster, mut players) = begin(network).await;
    let set_cut = |is_cut| {
        for other in [1, 2] {
            cluster.network().set_cut(Cut::OneWay { from: 3, to: other }, is_cut);
            cluster.network().set_cut(Cut::OneWay { from: other, to: 3 }, is_cut);
        }
    };
    set_cut(true);
    // Each side believes that the other is gone, and is whole for itself.
    for (by, count) in [(1, 2), (2, 2), (3, 1)] {
        until("a side to settle", async || {
            let own = cluster.node(by).get("/v1/cluster");
            let settled = own["nodes"].as_array().is_some_and(|nodes| nodes.iter().all(|node| node["settled"] == true));
            (own["covers"]["nodes"] == count && own["covers"]["answered"] == count && settled).then_some(())
        })
        .await;
    }
    for by in [1, 3] {
        cluster.node(by).ringside(&["session", "create", "echo", "--key", "both"]).succeeded();
        cluster.node(by).ringside(&["session", "create", "echo", "--key", &format!("only-{by}")]).succeeded();
    }
    for player in &mut players {
        player.exchange(10).await;
    }
    set_cut(false);
    cluster.agreed().await;
    // The one that gives way takes a moment to end.
    until("one session of each key", async || {
        let lists: Vec<_> = (1..=3).map(|by| cluster.sessions(by)).collect();
        let names: Vec<&str> = lists[0].iter().filter_map(|(session, _)| session.split('@').next()).collect();
        let wanted = ["echo/both", "echo/on-1", "echo/on-2", "echo/on-3", "echo/only-1", "echo/only-3"];
        (names == wanted && lists.iter().all(|list| *list == lists[0])).then_some(())
    })
    .await;
    cluster.directories_agree().await;
    for player in &mut players {
        player.exchange(10).await;
    }
    Player::join(cluster.node(3), "bob", "echo/both").await.exchange(10).await;
}
