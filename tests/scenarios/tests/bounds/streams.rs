//! What a player may send at a time.

use bytes::{Bytes, BytesMut};
use ringside_client::core::LinkId;
use ringside_protocol::datagram::encode_input;
use ringside_protocol::frame::ClientFrame;
use ringside_protocol::limits;
use ringside_simulation::scheduler::Micros;
use ringside_worker::limits::STREAM_WAITING_BYTES;

use crate::stage::{SECOND, Stage, echo_message};

fn datagram(number: u64, bytes: usize) -> Bytes {
    let body = ringside_guest::encode(&ringside_guest::Bytes(vec![7; bytes]));
    let mut datagram = BytesMut::new();
    encode_input(number, 0, &body, &mut datagram);
    datagram.freeze()
}

/// The time until so many messages have come back.
fn answered(stage: &mut Stage, id: LinkId, messages: usize) -> Micros {
    let began = stage.now;
    stage.until("the replies", 20 * SECOND, |stage| (stage.link(id).messages() >= messages).then_some(()));
    stage.now - began
}

#[test]
fn frames_beyond_the_rate_wait_unread() {
    let mut stage = Stage::new(|_| {});
    let session = stage.create("echo");
    let (id, _) = stage.attach("ann", &session);
    stage.pass(2 * SECOND);
    for _ in 0..3 * limits::FRAME_RATE {
        stage.say(id, &ClientFrame::Acknowledge { up_to: 0 });
    }
    stage.say(id, &echo_message(1, 1));
    let took = answered(&mut stage, id, 1);
    assert!((2 * SECOND..3 * SECOND).contains(&took), "a second's frames at once, then two seconds': {took}");
    assert!(stage.link(id).lost.is_none());
}

#[test]
fn messages_beyond_the_games_rate_wait_unread() {
    let mut stage = Stage::new(|_| {});
    let session = stage.create("chess");
    let (id, attached) = stage.attach("ann", &session);
    let rate = u64::from(attached.input_rate);
    stage.pass(SECOND * limits::INPUT_BURST_FACTOR as u64);
    let burst = rate * limits::INPUT_BURST_FACTOR as u64;
    for number in 1..=burst + 3 * rate {
        stage.say(id, &ClientFrame::Message { number, body: Bytes::from_static(b"?") });
    }
    let taken = |stage: &mut Stage| stage.report(&session).players[0].last_input;
    stage.pass(100_000);
    let at_once = taken(&mut stage);
    assert!((burst..=burst + rate / 5 + 1).contains(&at_once), "{at_once} of a burst of {burst}");
    stage.pass(SECOND);
    let later = taken(&mut stage) - at_once;
    assert!((rate - 1..=rate + 1).contains(&later), "{later} in a second at {rate}");
}

#[test]
fn what_is_not_read_is_held_back_at_the_peer() {
    let mut stage = Stage::new(|_| {});
    let session = stage.create("chess");
    let (id, attached) = stage.attach("ann", &session);
    let burst = u64::from(attached.input_rate) * limits::INPUT_BURST_FACTOR as u64;
    // The rest of a frame that may be long: none of these is taken for a message soon.
    let body = Bytes::from(vec![7; 1024]);
    let beyond = 3 * limits::RECEIVE_WINDOW_BYTES as u64 / body.len() as u64;
    for number in 1..=burst + beyond {
        stage.say(id, &ClientFrame::Message { number, body: body.clone() });
    }
    stage.pass(SECOND);
    let sent = stage.stats(id);
    assert!(sent.frame_tx.data_blocked + sent.frame_tx.stream_data_blocked > 0, "QUIC holds it back");
    let taken = stage.report(&session).players[0].last_input * body.len() as u64;
    let most = taken + 2 * limits::RECEIVE_WINDOW_BYTES as u64;
    assert!(sent.udp_tx.bytes < most, "{} bytes were sent, {taken} taken", sent.udp_tx.bytes);
    assert!(stage.link(id).lost.is_none());
}

#[test]
fn datagrams_beyond_the_rate_are_dropped() {
    let mut stage = Stage::new(|_| {});
    let session = stage.create("echo");
    let (id, _) = stage.attach("ann", &session);
    stage.pass(2 * SECOND);
    let sent = 3 * limits::DATAGRAM_RATE as u64;
    for number in 1..=sent {
        stage.send_datagram(id, datagram(number, 1));
        stage.pass(100);
    }
    stage.pass(SECOND);
    let taken = stage.report(&session).usage.datagrams_in;
    let most = limits::DATAGRAM_RATE as u64 + sent / 10 * limits::DATAGRAM_RATE as u64 / 1000 + 2;
    assert!((limits::DATAGRAM_RATE as u64..=most).contains(&taken), "{taken} of {sent}, at most {most}");
    assert!(stage.link(id).lost.is_none());
}

#[test]
fn datagrams_that_a_late_worker_has_no_room_for_drop_the_oldest() {
    let mut stage = Stage::new(|_| {});
    let session = stage.create("echo");
    let (id, _) = stage.attach("ann", &session);
    // Until QUIC trusts the path with more than the buffer.
    for number in 1..=40 {
        stage.say(id, &echo_message(number, 8_000));
    }
    answered(&mut stage, id, 40);
    let before = stage.report(&session).usage.datagrams_in;
    stage.hold(SECOND / 5);
    for number in 1..=30 {
        stage.send_datagram(id, datagram(number, 900));
        stage.pass(1_000);
    }
    stage.pass(SECOND);
    let taken = stage.report(&session).usage.datagrams_in - before;
    let room = limits::DATAGRAM_RECEIVE_BYTES as u64 / 900;
    assert!(taken <= room, "{taken} were kept, there is room for {room}");
    assert!(taken >= room - 2, "{taken} of {room}");
    assert!(stage.link(id).lost.is_none());
}

#[test]
fn outputs_that_a_stream_does_not_take_stay_in_the_state() {
    let mut stage = Stage::new(|_| {});
    let session = stage.create("bad-citizens");
    let (id, _) = stage.attach("ann", &session);
    stage.mute = true;
    let bytes = 20 << 10;
    let flood = bad_citizens::Command::FloodMessages(20, bytes);
    stage.say(id, &ClientFrame::Message { number: 1, body: Bytes::from(ringside_guest::encode(&flood)) });
    stage.pass(SECOND);
    let held = stage.host.worker.held().frame_bytes;
    assert!((STREAM_WAITING_BYTES..STREAM_WAITING_BYTES + limits::SERVER_FRAME_BYTES).contains(&held), "{held}");
    assert_eq!(stage.report(&session).players[0].unacknowledged, 20);
    stage.mute = false;
    assert!(answered(&mut stage, id, 20) < 5 * SECOND, "nothing is lost");
}
