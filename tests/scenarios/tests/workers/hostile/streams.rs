//! Peers that misuse QUIC's streams.

use quinn::{TransportConfig, VarInt};
use ringside_core::limits::UNACKNOWLEDGED_MESSAGES;
use ringside_protocol::frame::WireFrame;
use ringside_protocol::limits;
use ringside_protocol::reason::Reason;
use ringside_test_support::wait::until;

use super::{PINNED_BYTES, ROOM, Room};
use crate::puppet::{Puppet, Strings};
use crate::raw::{Raw, echo_message};

/// A peer whose QUIC takes a few frames from the worker and no more, since nobody reads them.
async fn deaf(room: &Room) -> Raw {
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(VarInt::from_u32(4096));
    let mut raw = Raw::connect_with(&room.bench, room.bench.address(), transport).await;
    raw.attached(room.bench.open("deaf", ROOM)).await;
    raw
}

#[tokio::test]
async fn a_peer_that_never_reads_is_put_out_as_too_slow() {
    let mut room = Room::new().await;
    let before = room.bench.live_bytes().await;
    let mut raw = deaf(&room).await;
    for number in 1..=UNACKNOWLEDGED_MESSAGES as u64 + 1 {
        raw.say(&echo_message(number, &[7; 500])).await;
    }
    assert_eq!(raw.ended().await, Reason::TooSlow);
    room.ended(Reason::TooSlow, 1).await;
    let gone = room.bench.report_when("its seat to be free", &room.session, |report| report.players.len() == 1);
    assert_eq!(gone.await.players[0].player.as_str(), "decent");
    let pinned = room.bench.live_bytes().await - before;
    assert!(pinned < PINNED_BYTES, "{pinned} bytes are held");
    room.is_unharmed().await;
}

#[tokio::test]
async fn a_peer_that_takes_nothing_for_too_long_is_closed_and_keeps_its_seat() {
    let mut room = Room::new().await;
    let mut raw = deaf(&room).await;
    for number in 1..=60 {
        raw.say(&echo_message(number, &[7; 500])).await;
    }
    assert_eq!(raw.ended().await, Reason::TooSlow);
    room.ended(Reason::TooSlow, 1).await;
    assert_eq!(room.bench.report(&room.session).await.unwrap().players.len(), 2);
    room.is_unharmed().await;
}

#[tokio::test]
async fn streams_that_are_opened_and_reset_for_ever_end_each_connection() {
    let mut room = Room::new().await;
    let before = room.bench.live_bytes().await;
    for round in 1..=30_u32 {
        let mut raw = Raw::connect(&room.bench).await;
        raw.write(b"\x01").await;
        if round % 2 == 0 {
            raw.send.reset(VarInt::from_u32(round)).unwrap();
        } else {
            raw.send.finish().unwrap();
        }
        assert_eq!(raw.ended().await, Reason::Protocol);
    }
    room.ended(Reason::Protocol, 30).await;
    let pinned = room.bench.live_bytes().await - before;
    assert!(pinned < PINNED_BYTES, "{pinned} bytes are held");
    room.is_unharmed().await;
}

#[tokio::test]
async fn a_stream_that_the_peer_stops_ends_its_connection() {
    let mut room = Room::new().await;
    let (mut raw, _) = Raw::attach(&room.bench, "stopping", ROOM).await;
    raw.stop();
    assert_eq!(raw.ended().await, Reason::Protocol);
    room.ended(Reason::Protocol, 1).await;
    room.is_unharmed().await;
}

#[tokio::test]
async fn further_streams_are_not_to_be_had() {
    let mut room = Room::new().await;
    let (raw, _) = Raw::attach(&room.bench, "many", ROOM).await;
    let (connection, other) = (raw.connection.clone(), raw.connection.clone());
    let second = tokio::spawn(async move { connection.open_bi().await.map(drop) });
    let one_way = tokio::spawn(async move { other.open_uni().await.map(drop) });
    room.is_unharmed().await;
    assert!(!second.is_finished() && !one_way.is_finished(), "they wait for ever");
    raw.close();
    assert!(second.await.unwrap().is_err() && one_way.await.unwrap().is_err());
}

/// Writes a frame's first bytes one by one, each in a packet of its own, and keeps every second packet to itself.
fn gaps(strings: &Strings, frame: &[u8]) -> Puppet {
    let mut puppet = Puppet::new(strings);
    puppet.shake_hands();
    while puppet.receive() {}
    puppet.send_all();
    let stream = puppet.open_stream();
    for (place, byte) in frame.iter().enumerate() {
        if puppet.connection.send_stream(stream).write(&[*byte]) != Ok(1) {
            break;
        }
        let packets = puppet.packets();
        if place % 2 == 1 {
            packets.iter().for_each(|packet| puppet.send(packet));
        }
    }
    puppet
}

#[tokio::test]
async fn one_byte_stream_frames_with_gaps_pin_little() {
    let mut room = Room::new().await;
    let before = room.bench.live_bytes().await;
    let strings = Strings::new(&room.bench);
    let frame = echo_message(1, &vec![7; limits::MESSAGE_BYTES - 16]).to_bytes().repeat(4);
    let puppet = tokio::task::spawn_blocking(move || gaps(&strings, &frame)).await.unwrap();
    let pinned = room.bench.live_bytes().await - before;
    assert!(pinned < PINNED_BYTES, "{pinned} bytes are held");
    room.is_unharmed().await;
    // QUIC refuses the crumbs, or the open frame never comes: either way it ends.
    until("the worker to end it", async || {
        (room.bench.ended(Reason::Protocol) + room.bench.ended(Reason::OpenTimeout) == 1).then_some(())
    })
    .await;
    drop(puppet);
    room.is_unharmed().await;
}
