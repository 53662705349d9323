//! Members of the cluster that lie, and strangers at the socket for peers. Players do not notice.

use std::net::UdpSocket;
use std::sync::atomic::Ordering::Relaxed;

use ringside_core::ids::WorkerId;
use ringside_test_support::members::{Authority, peer};
use ringside_test_support::wait::until;
use ringside_worker::limits::{PEER_FRAME_BYTES, PEER_GREETING_BYTES, PEER_LONG_BYTES};
use ringside_worker::peers::End;
use ringside_worker::peers::Peer;
use ringside_worker::peers::frame::{Greeting, VERSIONS};

use super::{PINNED_BYTES, Room};
use crate::stranger::Stranger;

fn greeting(from: u64) -> Greeting {
    let to = Peer { worker: WorkerId(0), ..peer(1, 1) };
    Greeting { versions: VERSIONS, from: peer(from, 1), to, dial: 1 }
}

fn head(length: usize, kind: u8) -> Vec<u8> {
    [&(length as u32).to_le_bytes()[..], &[kind]].concat()
}

#[tokio::test]
async fn frames_that_are_too_long_or_no_frames_close_the_link_with_a_reason() {
    let cluster = Authority::new();
    let mut room = Room::with_peers(cluster.member(1)).await;
    let at = room.bench.handles[0].peer_address().unwrap();
    for (greeted, bytes, end) in [
        (false, head(PEER_GREETING_BYTES + 2, 1), End::TooLong),
        (false, vec![0xff; 2_000], End::TooLong),
        (false, head(1, 3), End::Malformed),
        (true, head(PEER_FRAME_BYTES + 2, 3), End::TooLong),
        (true, head(1, 77), End::Malformed),
        (true, vec![0; 100], End::Malformed),
    ] {
        let mut liar = Stranger::connect(&cluster, Some(2), at).await.unwrap();
        if greeted {
            liar.greet(&greeting(2)).await;
            assert!(liar.is_welcome().await);
        }
        liar.say(&bytes).await;
        assert_eq!(liar.ended().await.0, end);
    }
    assert_eq!(room.bench.counters().peers_refused.load(Relaxed), 6);
    room.is_unharmed().await;
}

#[tokio::test]
async fn something_long_without_end_closes_the_link() {
    let cluster = Authority::new();
    let mut room = Room::with_peers(cluster.member(1)).await;
    let at = room.bench.handles[0].peer_address().unwrap();
    let mut liar = Stranger::connect(&cluster, Some(2), at).await.unwrap();
    liar.greet(&greeting(2)).await;
    assert!(liar.is_welcome().await);
    let mut long = liar.connection.open_uni().await.unwrap();
    let piece = vec![7; 1 << 20];
    let mut sent = 0;
    while long.write_all(&piece).await.is_ok() {
        sent += piece.len();
        assert!(sent <= PEER_LONG_BYTES + (16 << 20), "it takes everything");
    }
    assert!(sent >= PEER_LONG_BYTES / 2, "{sent} bytes were taken");
    assert_eq!(liar.ended().await.0, End::TooLong);
    room.is_unharmed().await;
}

#[tokio::test]
async fn a_silent_peer_is_closed_in_time() {
    let cluster = Authority::new();
    let mut room = Room::with_peers(cluster.member(1)).await;
    let at = room.bench.handles[0].peer_address().unwrap();
    let silent = Stranger::connect(&cluster, Some(2), at).await.unwrap();
    let mut halting = Stranger::connect(&cluster, Some(3), at).await.unwrap();
    halting.say(&head(51, 1)).await;
    room.is_unharmed().await;
    assert_eq!(silent.ended().await.0, End::Silent);
    assert_eq!(halting.ended().await.0, End::Silent);
}

/// Noise and handshakes of strangers, as many as the worker takes: bounded in memory, and players go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_and_handshakes_without_end_harm_nobody() {
    let cluster = Authority::new();
    let mut room = Room::with_peers(cluster.member(1)).await;
    let at = room.bench.handles[0].peer_address().unwrap();
    let before = room.bench.live_bytes().await;
    let stranger = Authority::new();
    let flood: Vec<_> = (0..4)
        .map(|_| {
            let member = stranger.member(2);
            let (cluster, at) = (cluster.certificate(), at);
            tokio::spawn(async move {
                loop {
                    Stranger::knock(&cluster, &member, at).await;
                }
            })
        })
        .collect();
    let noise = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut random = ringside_test_support::random::Random::new(7);
    for _ in 0..20 {
        for _ in 0..100 {
            let packet: Vec<u8> = (0..1_200).map(|_| random.below(256) as u8).collect();
            let _ = noise.send_to(&packet, at);
        }
        room.is_unharmed().await;
    }
    until("handshakes to be refused", async || (room.bench.counters().peers_refused.load(Relaxed) > 20).then_some(()))
        .await;
    let pinned = room.bench.live_bytes().await - before;
    assert!(pinned < PINNED_BYTES, "{pinned} bytes are held");
    // A member gets in all the same.
    let mut member = Stranger::connect(&cluster, Some(2), at).await.unwrap();
    member.greet(&greeting(2)).await;
    assert!(member.is_welcome().await);
    flood.iter().for_each(|task| task.abort());
    room.is_unharmed().await;
}
