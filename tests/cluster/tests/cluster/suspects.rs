//! A message that ends the process that leads its session: two nodes die of it, the third does not.

use std::time::Duration;

use ringside_client::{Client, Event};
use ringside_cluster_tests::POISON;
use ringside_protocol::reason::Reason;
use ringside_test_support::cluster::Cluster;
use ringside_test_support::wait::{until, within};

use crate::failover::{create, led_and_followed, shown, third};
use crate::player::{Match, Player, options};
use crate::upgrade::counted;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_ends_two_nodes_is_skipped_by_the_third_and_play_goes_on() {
    survives("echo-replicated").await;
}

/// Its chain of records is in the store.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_ends_two_nodes_of_a_consistent_session_is_skipped_by_the_third() {
    survives("echo-consistent").await;
}

async fn survives(game: &str) {
    let name = format!("{game}/final");
    let mut cluster = Cluster::start_running(env!("CARGO_BIN_EXE_ringside-fragile").into(), 3).await;
    cluster.node(1).push(game);
    cluster.agreed().await;
    let session = create(cluster.node(1), game, "final");
    let (leader, follower) = led_and_followed(&cluster, 1, &name).await;
    let third = third(leader, follower);
    let mut matches = Vec::new();
    for who in ["ada", "bob"] {
        let mut player = Player::join(cluster.node(third), who, &name).await;
        player.exchange(20).await;
        matches.push(Match::play(player, 2, Duration::from_millis(20)));
    }
    // Eve waits at no follower, and is back when the session is followed again: else the second node would die alone.
    let door = cluster.node(third);
    let mut how = options(door, &door.token("eve"), &name);
    how.standby = false;
    let mut eve = within("eve to be attached", Client::connect(how)).await.expect("she is let in");
    let say = |eve: &Client, body: &[u8]| {
        eve.send(postcard::to_stdvec(&ringside_guest::Bytes(body.to_vec())).expect("plain bytes")).expect("room");
    };
    say(&eve, b"before");
    assert_eq!(answer(&mut eve).await.map(|reply| reply.number), Ok(1));
    say(&eve, POISON);
    say(&eve, b"after");
    assert!(!cluster.take(leader).wait_for_end().success());
    assert!(!cluster.take(follower).wait_for_end().success());
    assert_eq!(answer(&mut eve).await, Err((2, Reason::MessageSuspected)));
    let reply = answer(&mut eve).await.expect("what she said then was heard");
    let hash = [b"before".as_slice(), b"after"].into_iter().fold(echo::EMPTY, echo::extend);
    assert_eq!((reply.number, reply.hash), (2, hash), "and the other was not");
    for one in matches {
        one.end().await;
    }
    let told = tokio::task::block_in_place(|| cluster.node(third).logged("a message is skipped"));
    assert!(told.contains(&session) && told.contains("eve") && told.contains("number=2"), "{told}");
    let shown = shown(&cluster, third, &name).expect("it is shown");
    assert_eq!((&shown["session"], &shown["node"]), (&session.into(), &third.to_string().into()), "{shown:#}");
    assert_eq!(counted(&cluster, third, "ringside_worker_suspects_skipped_total"), 1);
}

/// The next reply, or the number of a message that had no effect and why.
async fn answer(client: &mut Client) -> Result<echo::Reply, (u64, Reason)> {
    loop {
        match within("an answer", client.next()).await.expect("the session goes on") {
            Event::Message { body, .. } => return Ok(postcard::from_bytes(&body).expect("a reply of the echo game")),
            Event::Rejected { number, cause } => return Err((number, cause)),
            event => assert!(!event.is_last(), "{event:?}"),
        }
    }
}

/// Two leaders stand still, one after the other, while what was sent to them is sent again: neither of them died, so what
/// waited when they fell silent is innocent.
#[tokio::test(flavor = "multi_thread")]
async fn leaders_that_stand_still_one_after_the_other_are_not_taken_for_dead() {
    let cluster = Cluster::start(3).await;
    cluster.node(1).push("echo-replicated");
    cluster.agreed().await;
    create(cluster.node(1), "echo-replicated", "final");
    let name = "echo-replicated/final";
    let (leader, follower) = led_and_followed(&cluster, 1, name).await;
    let third = third(leader, follower);
    let mut matches = Vec::new();
    for number in 0..8 {
        let mut player = Player::join(cluster.node(third), &format!("player-{number}"), name).await;
        player.exchange(20).await;
        matches.push(Match::play(player, 2, Duration::from_millis(2)));
    }
    cluster.node(leader).signal("-STOP");
    until("the other to lead, followed", async || {
        (led_and_followed(&cluster, third, name).await == (follower, third)).then_some(())
    })
    .await;
    cluster.node(follower).signal("-STOP");
    for one in &matches {
        one.goes_on(20).await;
    }
    for stopped in [leader, follower] {
        cluster.node(stopped).signal("-CONT");
    }
    for one in matches {
        one.end().await;
    }
    for node in 1..=3 {
        assert_eq!(counted(&cluster, node, "ringside_worker_suspects_skipped_total"), 0, "node {node}");
    }
}
