//! Hundreds of players who lose their node at the same moment, and come back: each exactly once, and no connection of anybody
//! else is lost.

use std::time::Duration;

use ringside_client::Options;
use ringside_test_support::cluster::Cluster;
use ringside_test_support::wait::until;

use crate::failover::shown;
use crate::player::{Match, Player, options};

const SESSIONS: usize = 8;
const PLAYERS: usize = 32;
const GAME: &str = "echo-replicated";

/// None of them waits at a follower: each needs a door and a handshake at the new leader.
#[tokio::test(flavor = "multi_thread")]
async fn the_players_of_a_dead_node_come_back_and_others_do_not_notice() {
    let mut cluster = Cluster::start_at_rest(None, 3).await;
    cluster.node(1).push(GAME);
    cluster.agreed().await;
    let on = |key: &str, node: &str| {
        cluster.node(1).ringside(&["session", "create", GAME, "--key", key, "--node", node]).succeeded();
    };
    let names: Vec<String> = (0..SESSIONS).map(|number| format!("{GAME}/led-{number}")).collect();
    (0..SESSIONS).for_each(|number| on(&format!("led-{number}"), "2"));
    on("beside", "3");
    let door = cluster.node(1);
    let (mut players, mut beside) = (Vec::new(), Vec::new());
    for (at, name) in names.iter().enumerate() {
        for number in 0..PLAYERS {
            let who = format!("player-{at}-{number}");
            let options = Options { standby: false, ..options(door, &door.token(&who), name) };
            players.push(Player::join_with(options, &who).await);
        }
    }
    for number in 0..4 {
        let who = format!("bystander-{number}");
        let player = Player::join(door, &who, &format!("{GAME}/beside")).await;
        beside.push(Match::play(player, 4, Duration::from_millis(5)));
    }
    for player in &mut players {
        player.exchange(2).await;
    }
    for name in &names {
        until("a follower that counts", async || {
            let shown = shown(&cluster, 1, name)?;
            let followers = shown["detail"]["replication"]["followers"].as_array()?.clone();
            followers.iter().any(|follower| follower["in_sync"] == true).then_some(())
        })
        .await;
    }
    cluster.take(2).kill();
    let coming: Vec<_> = players
        .into_iter()
        .map(|mut player| {
            tokio::spawn(async move {
                player.exchange(5).await;
                player.disconnected
            })
        })
        .collect();
    let mut lost = 0;
    for player in coming {
        lost += player.await.expect("nothing is lost or doubled");
    }
    assert!(lost as usize >= SESSIONS * PLAYERS, "each lost its connection: {lost}");
    for player in beside {
        let player = player.end().await;
        assert_eq!(player.disconnected, 0, "nobody else does");
    }
}
