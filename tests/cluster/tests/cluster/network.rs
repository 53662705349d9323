//! Nodes on hosts of their own, over a network that is slow, loses packets, or lets some of them through.

use std::collections::BTreeSet;
use std::time::Duration;

use ringside_client::Arrival;
use ringside_test_support::cluster::Cluster;
use ringside_test_support::network::Quality;

use crate::player::Player;

/// 20 ms one way, one in a hundred lost.
const SLOW: Quality = Quality { delay: Duration::from_millis(20), loss_permille: 10 };

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_settle_place_and_route_over_a_slow_network_that_loses() {
    let network = ringside_test_support::network!(3, SLOW);
    let cluster = Cluster::start_on(network, 3).await;
    let pushed = cluster.node(1).push("echo");
    assert_eq!(pushed["covers"]["answered"], 3, "{pushed}");
    for key in 0..12 {
        let by = cluster.node(key % 3 + 1);
        by.ringside(&["session", "create", "echo", "--key", &format!("k{key}")]).succeeded();
    }
    let sessions = cluster.sessions(1);
    let leaders: BTreeSet<&String> = sessions.iter().map(|(_, node)| node).collect();
    assert_eq!((sessions.len(), leaders.len()), (12, 3), "{sessions:?}");
    let (mut players, mut relayed) = (Vec::new(), 0);
    for (at, (session, leader)) in sessions.iter().enumerate() {
        let target = session.split('@').next().expect("a name");
        let door = cluster.node(at as u64 % 3 + 1);
        let player = Player::join(door, &format!("player-{at}"), target).await;
        assert_eq!(format!("{:x}", player.attachment().node), *leader, "{session}");
        match player.attachment().arrival {
            Arrival::Direct | Arrival::Redirected(1) => {}
            // A handshake whose first packet is lost takes longer than a second: then a player is relayed.
            Arrival::Relayed => relayed += 1,
            arrival => panic!("{session}: {arrival:?}"),
        }
        players.push(player);
    }
    assert!(relayed < players.len() / 2, "{relayed} of {} are relayed", players.len());
    let playing: Vec<_> =
        players.into_iter().map(|mut player| tokio::spawn(async move { player.exchange(100).await })).collect();
    for player in playing {
        player.await.expect("nothing is lost or doubled");
    }
    cluster.agreed().await;
}
