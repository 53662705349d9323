//! Players who are relayed to another node: how many there may be, and how much of each may be under way.

use bytes::Bytes;
use ringside_client::core::LinkId;
use ringside_core::ids::{Incarnation, SessionId};
use ringside_core::routing::REDIRECTS;
use ringside_protocol::frame::{ClientFrame, ServerFrame};
use ringside_protocol::limits;
use ringside_protocol::reason::Reason;
use ringside_worker::relay::Relayed;
use ringside_worker::{Command, Event};

use crate::stage::{SECOND, Stage, address, open, open_with_ticket};

/// A player who asks to be relayed to a session of another node.
fn relayed(stage: &mut Stage, number: usize) -> LinkId {
    let session = SessionId {
        game: "echo".parse().expect("a game"),
        key: "far".parse().expect("a key"),
        incarnation: Incarnation(1),
    };
    let id = stage.connected(address(1 + (number / 200) as u8, number % 200));
    let ClientFrame::Open(mut asked) = open(&format!("player-{number}"), &session) else { panic!("an open frame") };
    asked.relay = true;
    stage.say(id, &ClientFrame::Open(asked));
    id
}

fn orders(stage: &Stage) -> usize {
    stage.events.iter().filter(|event| matches!(event, Event::Relay(_))).count()
}

#[test]
fn players_who_are_relayed_are_bounded() {
    let mut stage = Stage::new(|_| {});
    stage.elsewhere = true;
    for number in 0..limits::RELAYS {
        relayed(&mut stage, number);
        stage.until("the order", SECOND, |stage| (orders(stage) == number + 1).then_some(()));
    }
    let beyond = relayed(&mut stage, limits::RELAYS);
    let cause = stage.until("a refusal", SECOND, |stage| match stage.link(beyond).frames.first() {
        Some(ServerFrame::Refused(refused)) => Some(refused.cause),
        _ => None,
    });
    assert_eq!((cause, orders(&stage)), (Reason::Overloaded, limits::RELAYS));
}

#[test]
fn a_relayed_stream_is_not_read_on_until_what_is_under_way_has_arrived() {
    let mut stage = Stage::new(|_| {});
    stage.elsewhere = true;
    let id = relayed(&mut stage, 0);
    let relay = stage.until("the order", SECOND, |stage| {
        stage.events.iter().find_map(|event| match event {
            Event::Relay(order) => Some(order.relay),
            _ => None,
        })
    });
    let body = Bytes::from(vec![7; limits::MESSAGE_BYTES]);
    let messages = 4 * limits::RELAY_BYTES / limits::MESSAGE_BYTES;
    for number in 1..=messages as u64 {
        stage.say(id, &ClientFrame::Message { number, body: body.clone() });
    }
    let under_way = |stage: &Stage| -> usize {
        let bytes = |event: &Event| match event {
            Event::Relayed { what: Relayed::Stream(bytes), .. } => bytes.len(),
            _ => 0,
        };
        stage.events.iter().map(bytes).sum()
    };
    stage.pass(SECOND);
    let first = under_way(&stage);
    assert!((limits::RELAY_BYTES..2 * limits::RELAY_BYTES).contains(&first), "{first}");
    stage.pass(SECOND);
    assert_eq!(under_way(&stage), first, "nothing is read on");
    stage.tell(Command::Relayed { relay, what: Relayed::Took(first) });
    stage.pass(SECOND);
    assert!(under_way(&stage) > first, "there is room again");
}

/// What becomes of a player who shows a ticket for a session that has gone to another node, after so many redirects.
fn sent_on(redirects: u8) -> (Option<ServerFrame>, usize) {
    let mut stage = Stage::new(|_| {});
    stage.elsewhere = true;
    let session: SessionId = "echo/far@0000000000000001".parse().expect("a session");
    let id = stage.connected(address(1, 0));
    stage.say(id, &open_with_ticket("ann", &session, redirects));
    stage.pass(SECOND);
    (stage.link(id).frames.first().cloned(), orders(&stage))
}

#[test]
fn circles_of_redirects_end_in_a_relay_and_relays_in_a_refusal() {
    for redirects in 0..REDIRECTS {
        let (frame, relays) = sent_on(redirects);
        assert!(matches!(frame, Some(ServerFrame::Redirect(_))) && relays == 0, "{redirects}: {frame:?}");
    }
    let (frame, relays) = sent_on(REDIRECTS);
    assert!(frame.is_none() && relays == 1, "{frame:?}");
    let (frame, relays) = sent_on(REDIRECTS + 1);
    let is_refused = matches!(&frame, Some(ServerFrame::Refused(refused)) if refused.cause == Reason::NotHere);
    assert!(is_refused && relays == 0, "relays make no chain: {frame:?}");
}
