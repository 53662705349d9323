//! The store is away: for a minute under load, and while the leader of a consistent session dies.

use std::time::{Duration, Instant};

use ringside_client::Options;
use ringside_core::limits::LOG_BACKLOG_BYTES;
use ringside_protocol::limits;
use ringside_test_support::cluster::Cluster;
use ringside_test_support::wait::until;

use crate::durable::{by_any, kill_all, player, show, start_again};
use crate::failover::{create, last_change, led_and_followed, shown, third};
use crate::player::Player;
use crate::upgrade::begin;

/// How long it is away.
const MINUTE: Duration = Duration::from_secs(60);
/// Much longer than a follower takes to lead where the store is there, and than a home waits for one that needs no store.
const AWHILE: Duration = Duration::from_secs(20);
/// What each player of a durable session says meanwhile: nearly as much as a client keeps.
const SAID: u64 = limits::CLIENT_UNRETIRED_MESSAGES as u64 - 6;
/// Durable sessions.
const DURABLE: usize = 16;
/// What a node may have more in memory than before, beside what waits for the store: what its sessions keep of their logs and
/// owe their players, and what the allocator keeps.
const BESIDE_BYTES: u64 = 32 << 20;

/// A node creates a session and leads it.
async fn join(cluster: &Cluster, game: &str, key: &str, node: u64) -> Player {
    let at = node.to_string();
    cluster.node(1).ringside(&["session", "create", game, "--key", key, "--node", &at]).succeeded();
    let mut player = player(cluster, &format!("in-{key}"), &format!("{game}/{key}")).await;
    player.exchange(20).await;
    player
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_for_a_minute_holds_up_what_is_durable_and_nothing_else() {
    let mut cluster = Cluster::start_at_rest(None, 2).await;
    ["echo", "echo-replicated", "echo-durable", "echo-durable-ticking"]
        .iter()
        .for_each(|game| _ = cluster.node(1).push(game));
    cluster.agreed().await;
    let mut durable = Vec::new();
    for number in 0..DURABLE {
        durable.push(join(&cluster, "echo-durable", &format!("d{number}"), 1).await);
    }
    let mut watching = join(&cluster, "echo-durable-ticking", "w", 1).await;
    led_and_followed(&cluster, 1, "echo-durable-ticking/w").await;
    let playing = [begin(&cluster, "echo", "m", 1).await, begin(&cluster, "echo-replicated", "m", 1).await];
    let stored = |cluster: &Cluster| {
        let shown = show(cluster.node(1), "echo-durable/d0").expect("it is live");
        (shown["detail"]["replication"]["stored"].as_u64(), shown["detail"]["replication"]["position"].as_u64())
    };

    let memory = cluster.node(1).memory();
    let away = cluster.without_store();
    let end = Instant::now() + MINUTE;
    let (before, _) = stored(&cluster);
    for player in &mut durable {
        (0..SAID).for_each(|_| player.send());
    }
    cluster.node(1).logged("the store does not take the log");
    watching.send();
    watching.sees_it_go_on(100).await;
    assert_eq!(watching.outstanding(), 1, "it is seen, and what is not stored is not answered");
    let (mut waiting, mut most) = (0, 0);
    while Instant::now() < end {
        for one in &playing {
            one.goes_on(100).await;
        }
        waiting = cluster.node(1).metric("ringside_log_waiting_bytes");
        most = most.max(cluster.node(1).memory());
        assert!(waiting <= LOG_BACKLOG_BYTES as u64, "{waiting} bytes wait");
        assert_eq!(cluster.node(1).metric("ringside_log_store_away"), 1);
    }
    assert!(waiting > 0 && most <= memory + waiting + BESIDE_BYTES, "{most} bytes after {memory}, {waiting} wait");
    let (after, position) = stored(&cluster);
    assert_eq!(after, before, "nothing was stored");
    assert!(position >= before.map(|before| before + SAID), "it went on: {position:?} after {before:?}");
    for player in &mut durable {
        assert!(player.is_not_answered().await, "what is not stored is not answered");
    }
    eprintln!("{waiting} bytes wait, {memory} bytes of memory came to {most}");

    drop(away);
    cluster.node(1).logged("the store takes the log again");
    assert_eq!(cluster.node(1).metric("ringside_log_store_away"), 0);
    for player in durable.iter_mut().chain([&mut watching]) {
        player.answered().await;
    }
    for one in playing {
        one.end().await;
    }
    // What was answered is in the store.
    let places = kill_all(&mut cluster);
    start_again(&mut cluster, &places);
    for player in &mut durable {
        player.exchange(20).await;
    }
}

/// Whoever leads it next must be in the store: until that is back nobody does, and the session is not called lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_consistent_session_whose_leader_dies_while_the_store_is_away_goes_on_when_it_is_back() {
    const NAME: &str = "echo-consistent/final";
    let mut cluster = Cluster::start_at_rest(None, 3).await;
    cluster.node(1).push("echo-consistent");
    cluster.agreed().await;
    let session = create(cluster.node(1), "echo-consistent", "final");
    let (leader, follower) = led_and_followed(&cluster, 1, NAME).await;
    let other = third(leader, follower);
    // One waits at the follower, the other asks all nodes again and again.
    let options = |name: &str| Options { give_up_after: 3 * MINUTE, ..by_any(&cluster, name, NAME) };
    let mut waiting = Player::join_with(options("ada"), "ada").await;
    let mut asking = Player::join_with(Options { standby: false, ..options("bob") }, "bob").await;
    waiting.exchange(20).await;
    asking.exchange(20).await;

    let away = cluster.without_store();
    let end = Instant::now() + AWHILE;
    cluster.take(leader).kill();
    waiting.send();
    asking.send();
    while Instant::now() < end {
        assert!(shown(&cluster, other, NAME).is_none_or(|shown| shown["state"] != "live"), "nobody may lead it");
        assert!(waiting.is_not_answered().await && asking.is_not_answered().await);
    }
    drop(away);
    waiting.answered().await;
    asking.answered().await;
    let led = until("the session", async || show(cluster.node(other), &session)).await;
    assert_eq!(led["node"], follower.to_string(), "{led:#}");
    assert_eq!(last_change(&led["detail"]["replication"])["cause"], "promoted", "{led:#}");
    waiting.exchange(20).await;
    asking.exchange(20).await;
}
