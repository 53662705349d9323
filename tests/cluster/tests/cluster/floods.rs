//! Players who open more than there is room for: refused by name, bounded, and nobody else's concern.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ringside_client::{Client, ConnectError};
use ringside_protocol::reason::Reason;
use ringside_test_support::cluster::Cluster;
use ringside_test_support::wait::within;
use tokio::sync::Semaphore;

use crate::player::{Player, options};

/// Sessions that a node takes.
const ROOM: usize = 40;
/// Keys that are opened, each a session if there were room.
const KEYS: usize = 1000;
/// Clients at a time: half of the connections that an address may have before they are let in.
const CLIENTS: usize = 128;
/// How long each goes on trying.
const PERSISTENCE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn who_opens_thousands_of_keys_gets_what_there_is_and_others_play_on() {
    let mut cluster = Cluster::start(0).await;
    for number in 1..=2 {
        cluster.add(number, &["--sessions", &ROOM.to_string()]);
    }
    cluster.agreed().await;
    cluster.node(1).push("echo");
    let mut honest = Vec::new();
    for on in ["1", "2"] {
        cluster
            .node(1)
            .ringside(&["session", "create", "echo", "--key", &format!("on-{on}"), "--node", on])
            .succeeded();
        honest.push(Player::join(cluster.node(1), &format!("ada-{on}"), &format!("echo/on-{on}")).await);
    }
    let memory: Vec<u64> = cluster.nodes().map(|(_, node)| node.memory()).collect();

    let turns = Arc::new(Semaphore::new(CLIENTS));
    // One player, however many the keys.
    let tokens: Vec<String> = cluster.nodes().map(|(_, node)| node.token("mallory")).collect();
    let endpoint = ringside_client::shell::endpoint(cluster.node(1).address()).expect("a socket");
    let flood: Vec<_> = (0..KEYS)
        .map(|number| {
            let (at, turns) = (number % 2, Arc::clone(&turns));
            let mut options = options(cluster.node(at as u64 + 1), &tokens[at], &format!("echo/flood-{number}"));
            options.give_up_after = PERSISTENCE;
            options.endpoint = Some(endpoint.clone());
            tokio::spawn(async move {
                let _turn = turns.acquire().await.expect("a turn");
                // Who was let in stays, for as long as the flood lasts.
                within("an answer", Client::connect(options)).await
            })
        })
        .collect();
    let playing: Vec<_> = honest
        .into_iter()
        .map(|mut player| {
            tokio::spawn(async move {
                player.exchange(300).await;
                player
            })
        })
        .collect();
    // While it lasts, somebody else comes to a match that is there.
    let mut late = Player::join(cluster.node(2), "bob", "echo/on-1").await;
    late.exchange(50).await;

    let (mut inside, mut refused, mut unanswered) = (Vec::new(), BTreeMap::<String, usize>::new(), 0);
    for answer in flood {
        match answer.await.expect("an answer") {
            Ok(client) => inside.push(client),
            Err(ConnectError::Refused { reason: Reason::Overloaded, message }) => {
                *refused.entry(message).or_default() += 1;
            }
            // On a busy machine somebody had no answer in time.
            Err(ConnectError::Refused { reason: Reason::Unreachable, .. }) => unanswered += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(inside.len() <= 2 * ROOM, "{} are in", inside.len());
    assert_eq!(inside.len() + refused.values().sum::<usize>() + unanswered, KEYS, "{refused:?}");
    assert!(refused.keys().any(|message| message.contains("has its 40 sessions")), "{refused:?}");
    for player in playing {
        player.await.expect("nothing is lost or doubled").exchange(50).await;
    }
    assert!(cluster.sessions(1).len() <= 2 * ROOM);
    for ((number, node), before) in cluster.nodes().zip(memory) {
        let now = node.memory();
        assert!(now < before + (128 << 20), "node {number} grew from {before} to {now} bytes");
    }
    cluster.directories_agree().await;
}
