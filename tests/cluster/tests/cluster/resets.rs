//! A node that was killed and is started again on the same port: who is still connected to the run before hears from the
//! new one, at once, that that is over.

use std::time::{Duration, Instant};

use ringside_test_support::cluster::Cluster;

use crate::failover::create;
use crate::player::Player;

const PLAYERS: usize = 40;
/// A connection that hears nothing is lost by itself after 5 s: a round in which the node took so long to come back shows
/// nothing.
const SPOILT: Duration = Duration::from_secs(3);
const ROUNDS: u64 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_started_again_ends_the_connections_of_the_run_before_at_once() {
    let mut cluster = Cluster::start(1).await;
    cluster.node(1).push("echo-durable");
    create(cluster.node(1), "echo-durable", "final");
    cluster.keep_ports();
    let mut players = Vec::new();
    for number in 0..PLAYERS {
        let mut player = Player::join(cluster.node(1), &format!("player-{number}"), "echo-durable/final").await;
        player.exchange(2).await;
        players.push(player);
    }
    for _ in 0..ROUNDS {
        let began = Instant::now();
        cluster.take(1).kill();
        cluster.add(1, &[]);
        let is_spoilt = began.elapsed() > SPOILT;
        let mut causes = Vec::new();
        for player in &mut players {
            // Something for the connection to say; the end of it follows.
            player.send();
            causes.push(player.lost().await);
        }
        for player in &mut players {
            player.exchange(2).await;
        }
        if !is_spoilt {
            assert!(causes.iter().all(|cause| cause.contains("reset")), "{causes:?}");
            return;
        }
    }
    ringside_test_support::skip!("this machine is too busy: the node was never back within {SPOILT:?}");
}
