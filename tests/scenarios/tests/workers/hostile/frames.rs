//! Peers that send frames which no client sends.

use bytes::BytesMut;
use ringside_protocol::frame::{ClientFrame, ServerFrame, VERSION};
use ringside_protocol::limits;
use ringside_protocol::reason::Reason;
use ringside_protocol::varint;
use ringside_test_support::random::Random;

use super::{PINNED_BYTES, ROOM, Room};
use crate::raw::{Raw, echo_message};

/// A frame that announces so many bytes.
fn announced(bytes: usize) -> BytesMut {
    let mut frame = BytesMut::new();
    varint::put(&mut frame, bytes as u64);
    frame
}

#[tokio::test]
async fn garbage_before_the_open_frame_ends_the_connection() {
    let mut room = Room::new().await;
    let mut random = Random::new(5);
    for _ in 0..40 {
        let mut raw = Raw::connect(&room.bench).await;
        // A length in shortest form, then a kind that does not exist, then anything.
        let mut garbage = announced(60);
        garbage.extend_from_slice(&[0x70]);
        garbage.extend_from_slice(&random.bytes(59));
        raw.write(&garbage).await;
        assert_eq!(raw.ended().await, Reason::Protocol);
    }
    room.ended(Reason::Protocol, 40).await;
    room.is_unharmed().await;
}

#[tokio::test]
async fn any_bytes_before_the_open_frame_end_the_connection() {
    let mut room = Room::new().await;
    let mut random = Random::new(6);
    let mut ended = 0;
    for _ in 0..40 {
        let mut raw = Raw::connect(&room.bench).await;
        raw.write(&random.bytes(limits::OPEN_FRAME_BYTES + 8)).await;
        let reason = raw.ended().await;
        assert!(matches!(reason, Reason::Protocol | Reason::TooLarge), "{reason}");
        ended += 1;
        assert_eq!(room.bench.ended(Reason::Protocol) + room.bench.ended(Reason::TooLarge), ended);
    }
    room.is_unharmed().await;
}

#[tokio::test]
async fn frames_out_of_place_end_the_connection() {
    let mut room = Room::new().await;
    let open = || ClientFrame::Open(Box::new(room.bench.open("odd", ROOM)));
    let before_open = [echo_message(1, b"x"), ClientFrame::Acknowledge { up_to: 0 }, ClientFrame::Leave];
    let once_attached = [open(), echo_message(2, b"a gap"), ClientFrame::Acknowledge { up_to: 99 }];
    for frame in &before_open {
        let mut raw = Raw::connect(&room.bench).await;
        raw.say(frame).await;
        assert_eq!(raw.ended().await, Reason::Protocol, "{frame:?}");
    }
    for frame in &once_attached {
        let (mut raw, _) = Raw::attach(&room.bench, "odd", ROOM).await;
        raw.say(frame).await;
        assert_eq!(raw.ended().await, Reason::Protocol, "{frame:?}");
    }
    room.ended(Reason::Protocol, 6).await;
    room.is_unharmed().await;
}

#[tokio::test]
async fn a_frame_that_is_too_large_is_refused_by_its_length() {
    let mut room = Room::new().await;
    let before = room.bench.live_bytes().await;
    let mut raw = Raw::connect(&room.bench).await;
    raw.write(&announced(limits::OPEN_FRAME_BYTES + 1)).await;
    assert_eq!(raw.ended().await, Reason::TooLarge, "before it is attached");
    let (mut raw, _) = Raw::attach(&room.bench, "large", ROOM).await;
    raw.write(&announced(limits::CLIENT_FRAME_BYTES + 1)).await;
    assert_eq!(raw.ended().await, Reason::TooLarge, "once it is attached");
    room.ended(Reason::TooLarge, 2).await;
    let pinned = room.bench.live_bytes().await - before;
    assert!(pinned < PINNED_BYTES, "{pinned} bytes are held");
    room.is_unharmed().await;
}

#[tokio::test]
async fn the_largest_frames_are_taken() {
    let room = Room::new().await;
    let (mut raw, _) = Raw::attach(&room.bench, "large", ROOM).await;
    // With its own length (3 bytes) the body is as long as a message may be.
    raw.say(&echo_message(1, &vec![7; limits::MESSAGE_BYTES - 3])).await;
    let reply = loop {
        if let ServerFrame::Message { body, .. } = raw.hear().await.expect("a reply") {
            break body;
        }
    };
    assert!(reply.len() > limits::MESSAGE_BYTES);
}

#[tokio::test]
async fn a_message_that_is_sent_again_has_its_effect_once() {
    let mut room = Room::new().await;
    let (mut raw, _) = Raw::attach(&room.bench, "again", ROOM).await;
    for number in [1, 1, 2, 1, 2, 2, 3] {
        raw.say(&echo_message(number, &[number as u8])).await;
    }
    let mut replies = Vec::new();
    while replies.len() < 3 {
        if let ServerFrame::Message { number, body } = raw.hear().await.expect("a reply") {
            let reply: echo::Reply = postcard::from_bytes(&body).unwrap();
            replies.push((number, reply.number, reply.body.0[0]));
        }
    }
    assert_eq!(replies, [(1, 1, 1), (2, 2, 2), (3, 3, 3)]);
    let report = room.bench.report(&room.session).await.unwrap();
    assert_eq!(report.players[1].last_input, 3);
    room.is_unharmed().await;
}

#[tokio::test]
async fn another_version_and_another_mode_are_refused() {
    let mut room = Room::new().await;
    let mut newer = room.bench.open("newer", ROOM);
    newer.version = VERSION + 1;
    assert_eq!(Raw::connect(&room.bench).await.refused(newer).await, Reason::Version);
    let mut standby = room.bench.open("standby", ROOM);
    standby.mode = ringside_protocol::frame::Mode::Standby;
    assert_eq!(Raw::connect(&room.bench).await.refused(standby).await, Reason::ModeUnsupported);
    room.ended(Reason::Version, 1).await;
    room.ended(Reason::ModeUnsupported, 1).await;
    room.is_unharmed().await;
}

#[tokio::test]
async fn messages_beyond_the_games_rate_wait_and_cost_nobody_else() {
    let mut room = Room::new().await;
    let (mut raw, attached) = Raw::attach(&room.bench, "eager", ROOM).await;
    let burst = attached.input_rate as usize * limits::INPUT_BURST_FACTOR;
    for number in 1..=burst as u64 + 300 {
        raw.say(&echo_message(number, b"")).await;
        if number % 200 == 0 {
            let up_to = heard_up_to(&mut raw, number).await;
            raw.say(&ClientFrame::Acknowledge { up_to }).await;
        }
    }
    heard_up_to(&mut raw, burst as u64 + 300).await;
    room.is_unharmed().await;
    assert_eq!(room.bench.report(&room.session).await.unwrap().players[1].last_input, burst as u64 + 300);
}

/// Hears until reply `number` has come; answers the number of the last.
async fn heard_up_to(raw: &mut Raw, number: u64) -> u64 {
    loop {
        if let ServerFrame::Message { number: heard, .. } = raw.hear().await.expect("a reply")
            && heard == number
        {
            return heard;
        }
    }
}
