//! Peers that connect and then do nothing, or half of something.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use quinn::TransportConfig;
use ringside_protocol::frame::{ClientFrame, WireFrame};
use ringside_protocol::limits;
use ringside_protocol::reason::Reason;
use ringside_test_support::proxy::{Faults, Proxy};
use ringside_test_support::wait::until;

use super::{PINNED_BYTES, ROOM, Room};
use crate::puppet::{Puppet, Strings};
use crate::raw::Raw;

#[tokio::test]
async fn a_peer_that_connects_and_stays_silent_is_closed_in_time() {
    let mut room = Room::new().await;
    let silent = Raw::connect(&room.bench).await;
    room.is_unharmed().await;
    assert_eq!(silent.ended().await, Reason::OpenTimeout);
    room.ended(Reason::OpenTimeout, 1).await;
    room.is_unharmed().await;
}

#[tokio::test]
async fn half_an_open_frame_is_no_open_frame() {
    let mut room = Room::new().await;
    let mut slow = Raw::connect(&room.bench).await;
    let frame = ClientFrame::Open(Box::new(room.bench.open("slow", ROOM))).to_bytes();
    slow.write(&frame[..frame.len() / 2]).await;
    room.is_unharmed().await;
    assert_eq!(slow.ended().await, Reason::OpenTimeout);
    room.ended(Reason::OpenTimeout, 1).await;
}

#[tokio::test]
async fn half_a_handshake_is_given_up() {
    let mut room = Room::new().await;
    let counters = room.bench.counters();
    let before = counters.accepted.load(Relaxed);
    let strings = Strings::new(&room.bench);
    let half = tokio::task::spawn_blocking(move || {
        let mut puppet = Puppet::new(&strings);
        puppet.send_all();
        // The Retry, which asks for the address to be shown; then nothing more is said, whatever comes.
        assert!(puppet.receive());
        puppet.send_all();
        puppet
    });
    let half = half.await.unwrap();
    until("the handshake to begin", async || (counters.accepted.load(Relaxed) == before + 1).then_some(())).await;
    room.is_unharmed().await;
    room.ended(Reason::OpenTimeout, 1).await;
    assert!(half.connection.is_handshaking());
    room.is_unharmed().await;
}

#[tokio::test]
async fn an_attached_peer_that_goes_silent_is_given_up_and_its_seat_kept() {
    let mut room = Room::new().await;
    let proxy = Proxy::start(room.bench.address(), Faults::default(), 1).await.unwrap();
    let mut raw = Raw::connect_with(&room.bench, proxy.address(), TransportConfig::default()).await;
    raw.attached(room.bench.open("gone", ROOM)).await;
    let seated = room.bench.report(&room.session).await.unwrap().players.len();
    // From here on it is as if its machine had lost power.
    proxy.cut_all(Duration::from_secs(3600));
    room.ended(Reason::Idle, 1).await;
    let gone = room.bench.report_when("the seat to wait", &room.session, |report| {
        report.players.iter().any(|player| player.player.as_str() == "gone" && !player.connected)
    });
    assert_eq!(gone.await.players.len(), seated);
    room.is_unharmed().await;
}

#[tokio::test]
async fn unattached_connections_of_one_address_are_bounded() {
    let mut room = Room::new().await;
    let before = room.bench.live_bytes().await;
    let mut silent = Vec::new();
    for _ in 0..=limits::UNATTACHED_PER_ADDRESS {
        silent.push(Raw::connect_with(&room.bench, room.bench.address(), TransportConfig::default()).await);
    }
    let last = silent.pop().unwrap();
    assert_eq!(last.ended().await, Reason::AddressLimit);
    room.ended(Reason::AddressLimit, 1).await;
    let pinned = room.bench.live_bytes().await - before;
    assert!(pinned < PINNED_BYTES * silent.len() as isize / 16, "{pinned} bytes for {} peers", silent.len());
    for raw in silent {
        assert_eq!(raw.ended().await, Reason::OpenTimeout);
    }
    room.is_unharmed().await;
}
