//! Packets that come in masses, from anywhere.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use ringside_test_support::random::Random;
use ringside_test_support::wait::until;

use super::{PINNED_BYTES, Room};
use crate::puppet::{Puppet, Strings};

/// First packets of so many handshakes, none of which shows its address.
fn first_packets(strings: &Strings, count: usize) -> Vec<Vec<u8>> {
    (0..count).flat_map(|_| Puppet::new(strings).packets()).collect()
}

#[tokio::test]
async fn spoofed_first_packets_get_a_retry_at_most_and_leave_nothing_behind() {
    let mut room = Room::new().await;
    let counters = room.bench.counters();
    let accepted = counters.accepted.load(Relaxed);
    let before = room.bench.live_bytes().await;
    let strings = Strings::new(&room.bench);
    let packets = tokio::task::spawn_blocking(move || first_packets(&strings, 400)).await.unwrap();
    let (at, sender) = (room.bench.address(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let mut sent = 0;
    // Until the worker has had more than it has time for.
    until("first packets to be dropped unparsed", async || {
        for packet in &packets {
            sent += u64::from(sender.send_to(packet, at).is_ok());
        }
        let (retried, dropped) = (counters.retried.load(Relaxed), counters.handshakes_dropped.load(Relaxed));
        (retried > 1000 && dropped > 1000).then_some(())
    })
    .await;
    let pinned = room.bench.live_bytes().await - before;
    assert!(pinned < PINNED_BYTES, "{pinned} bytes are held for {sent} packets");
    assert_eq!(counters.accepted.load(Relaxed), accepted, "none began a handshake");
    room.is_unharmed().await;
}

#[tokio::test]
async fn players_get_in_while_first_packets_pour_in() {
    let mut room = Room::new().await;
    let strings = Strings::new(&room.bench);
    let packets = tokio::task::spawn_blocking(move || first_packets(&strings, 200)).await.unwrap();
    let (at, sender) = (room.bench.address(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let flood = std::thread::spawn({
        let (stop, sent) = (stop.clone(), sent.clone());
        move || {
            for packet in packets.iter().cycle().take_while(|_| !stop.load(Relaxed)) {
                sent.fetch_add(u64::from(sender.send_to(packet, at).is_ok()), Relaxed);
            }
        }
    });
    let mut rounds = 0;
    // Fewer packets are no flood.
    while rounds < 3 || sent.load(Relaxed) < 1000 {
        room.is_unharmed().await;
        rounds += 1;
    }
    stop.store(true, Relaxed);
    flood.join().unwrap();
    assert!(room.bench.counters().retried.load(Relaxed) > 0);
}

#[tokio::test]
async fn noise_is_dropped() {
    let mut room = Room::new().await;
    let mut random = Random::new(9);
    let before = room.bench.live_bytes().await;
    let (at, sender) = (room.bench.address(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let counters = room.bench.counters();
    let received = counters.packets_in.load(Relaxed);
    until("the noise to be heard", async || {
        for _ in 0..500 {
            let length = random.below(1500) as usize;
            let _ = sender.send_to(&random.bytes(length), at);
        }
        (counters.packets_in.load(Relaxed) > received + 5000).then_some(())
    })
    .await;
    let pinned = room.bench.live_bytes().await - before;
    assert!(pinned < PINNED_BYTES, "{pinned} bytes are held");
    room.is_unharmed().await;
}
