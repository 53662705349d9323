//! Peers that send datagrams which no client sends, or as many as no client sends.

use std::sync::atomic::Ordering::Relaxed;

use bytes::{Bytes, BytesMut};
use ringside_protocol::datagram::encode_input;
use ringside_protocol::frame::ServerFrame;
use ringside_protocol::limits;
use ringside_test_support::random::Random;
use ringside_test_support::wait::until;

use super::{PINNED_BYTES, ROOM, Room};
use crate::raw::{Raw, echo_message};

fn input(number: u64, body: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    encode_input(number, 0, body, &mut bytes);
    bytes.freeze()
}

/// Datagrams travel beside the stream: a message that comes back says that the worker is past them, or nearly.
async fn round_trip(raw: &mut Raw, number: u64) {
    raw.say(&echo_message(number, b"?")).await;
    while !matches!(raw.hear().await.expect("a reply"), ServerFrame::Message { number: got, .. } if got == number) {}
}

#[tokio::test]
async fn malformed_datagrams_are_counted_and_dropped() {
    let mut room = Room::new().await;
    let (mut raw, _) = Raw::attach(&room.bench, "odd", ROOM).await;
    let too_long = input(1, &[0; limits::DATAGRAM_BODY_BYTES + 1]);
    let mut malformed: Vec<Bytes> =
        vec![too_long, Bytes::new(), Bytes::from_static(&[0x01]), Bytes::from_static(&[2, 1, 1])];
    let mut random = Random::new(3);
    malformed.extend((0..60).map(|_| {
        let mut bytes = random.bytes(40);
        bytes[0] |= 0x80;
        Bytes::from(bytes)
    }));
    let counters = room.bench.counters();
    for (sent, datagram) in malformed.iter().enumerate() {
        raw.connection.send_datagram(datagram.clone()).unwrap();
        let counted = async || (counters.malformed_datagrams.load(Relaxed) == sent as u64 + 1).then_some(());
        until("the datagram to be counted", counted).await;
    }
    round_trip(&mut raw, 1).await;
    assert_eq!(room.bench.report(&room.session).await.unwrap().usage.datagrams_in, 0);
    room.is_unharmed().await;
}

#[tokio::test]
async fn a_datagram_that_comes_again_or_too_late_is_taken_once() {
    let mut room = Room::new().await;
    let (mut raw, _) = Raw::attach(&room.bench, "again", ROOM).await;
    let body = postcard::to_stdvec(&ringside_guest::Bytes(vec![1])).unwrap();
    for number in [1, 1, 3, 2, 3, 5, 4, 5, u64::MAX >> 2, 6] {
        raw.connection.send_datagram(input(number, &body)).unwrap();
    }
    // 1, 3, 5 and the greatest.
    let taken = room.bench.report_when("the inputs", &room.session, |report| report.usage.datagrams_in >= 4);
    assert_eq!(taken.await.usage.datagrams_in, 4);
    round_trip(&mut raw, 1).await;
    assert_eq!(room.bench.report(&room.session).await.unwrap().usage.datagrams_in, 4);
    room.is_unharmed().await;
}

#[tokio::test]
async fn a_flood_of_datagrams_is_dropped_beyond_the_rate() {
    let mut room = Room::new().await;
    let before = room.bench.live_bytes().await;
    let (mut raw, _) = Raw::attach(&room.bench, "flood", ROOM).await;
    let body = postcard::to_stdvec(&ringside_guest::Bytes(vec![1; 30])).unwrap();
    let counters = room.bench.counters();
    let mut number = 0;
    until("datagrams to be dropped", async || {
        for _ in 0..200 {
            number += 1;
            raw.connection.send_datagram(input(number, &body)).unwrap();
        }
        (counters.inputs_dropped.load(Relaxed) > 1000).then_some(())
    })
    .await;
    let pinned = room.bench.live_bytes().await - before;
    assert!(pinned < PINNED_BYTES, "{pinned} bytes are held");
    room.is_unharmed().await;
    round_trip(&mut raw, 1).await;
}
