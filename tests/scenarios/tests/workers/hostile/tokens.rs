//! Peers with tokens that are damaged, stale, somebody else's, or used before.

use ringside_core::ids::{Node, NodeId, WorkerId};
use ringside_core::routing::tickets::era;
use ringside_protocol::frame::{Attached, ClientFrame, Opaque, Open, Resume, Seat, ServerFrame};
use ringside_protocol::limits;
use ringside_protocol::reason::Reason;
use ringside_test_support::wait::{until, within};
use ringside_worker::Resolved;
use ringside_worker::authority::{Authority, Keys};

use super::{ROOM, Room};
use crate::bench::{Bench, TICKET_KEY, sign, signing_key};
use crate::raw::Raw;

/// The reason with which a session token is refused.
async fn refused(room: &Room, token: String) -> Reason {
    let open = Open { token, ..room.bench.open("mallory", ROOM) };
    Raw::connect(&room.bench).await.refused(open).await
}

#[tokio::test]
async fn session_tokens_are_refused_for_what_is_wrong_with_them() {
    let mut room = Room::new().await;
    let good = Bench::claims("mallory");
    let token = room.bench.sign(&good);
    let mut ended = 0;
    for at in [0, token.len() / 3, token.len() / 2, token.len() - 1] {
        let mut damaged = token.clone().into_bytes();
        damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
        assert_eq!(refused(&room, String::from_utf8(damaged).unwrap()).await, Reason::TokenInvalid, "byte {at}");
        ended += 1;
    }
    let (other_key, _) = signing_key();
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", token.split('.').nth(1).unwrap());
    for token in [sign(&other_key, &good), unsigned, String::new(), "a.b.c".into(), "x".repeat(limits::TOKEN_BYTES)] {
        assert_eq!(refused(&room, token).await, Reason::TokenInvalid);
        ended += 1;
    }
    room.ended(Reason::TokenInvalid, ended).await;
    let mut expired = good.clone();
    expired.expires_s = 1_000_000_000;
    assert_eq!(refused(&room, room.bench.sign(&expired)).await, Reason::TokenExpired);
    room.ended(Reason::TokenExpired, 1).await;
    let mut of_another_game = good.clone();
    of_another_game.game = Some("pong".parse().unwrap());
    assert_eq!(refused(&room, room.bench.sign(&of_another_game)).await, Reason::TokenForbids);
    let mut of_another_session = good.clone();
    of_another_session.session = Some("attic".parse().unwrap());
    assert_eq!(refused(&room, room.bench.sign(&of_another_session)).await, Reason::TokenForbids);
    room.ended(Reason::TokenForbids, 2).await;
    assert_eq!(room.bench.report(&room.session).await.unwrap().players.len(), 1, "nobody got in");
    room.is_unharmed().await;
}

#[tokio::test]
async fn a_session_token_that_is_too_long_breaks_the_protocol() {
    let mut room = Room::new().await;
    let mut raw = Raw::connect(&room.bench).await;
    let open = Open { token: "x".repeat(limits::TOKEN_BYTES + 1), ..room.bench.open("long", ROOM) };
    raw.say(&ringside_protocol::frame::ClientFrame::Open(Box::new(open))).await;
    assert_eq!(raw.ended().await, Reason::Protocol);
    room.ended(Reason::Protocol, 1).await;
    room.is_unharmed().await;
}

#[tokio::test]
async fn targets_that_do_not_exist_are_refused() {
    let mut room = Room::new().await;
    let mut nobody = Bench::claims("ann");
    nobody.capabilities.clear();
    for (target, reason) in [("echo/attic", Reason::NoSuchSession), ("poker/room", Reason::NoSuchGame)] {
        let open = Open { token: room.bench.sign(&nobody), ..room.bench.open("ann", target) };
        assert_eq!(Raw::connect(&room.bench).await.refused(open).await, reason, "{target}");
        room.ended(reason, 1).await;
    }
    room.is_unharmed().await;
}

fn resuming(room: &Room, player: &str, attached: &Attached, token: &Opaque) -> Open {
    let resume = Resume {
        token: token.clone(),
        incarnation: attached.session.incarnation,
        joined: attached.joined,
        branch: attached.branch,
        last_output: 0,
    };
    Open { resume: Some(resume), ..room.bench.open(player, ROOM) }
}

#[tokio::test]
async fn a_resume_token_is_good_once_and_for_its_player() {
    let mut room = Room::new().await;
    let (raw, first) = Raw::attach(&room.bench, "ada", ROOM).await;
    raw.close();
    let stolen = resuming(&room, "mallory", &first, &first.resume_token);
    assert_eq!(Raw::connect(&room.bench).await.refused(stolen).await, Reason::ResumeInvalid);
    // The thief has spent it; its owner is let in by the session token.
    let back = resuming(&room, "ada", &first, &first.resume_token);
    assert_eq!(Raw::connect(&room.bench).await.refused(back).await, Reason::ResumeInvalid);
    let mut raw = Raw::connect(&room.bench).await;
    let second = raw.attached(resuming(&room, "ada", &first, &Opaque::default())).await;
    assert_eq!((second.slot, second.seat), (first.slot, Seat::Kept));
    raw.close();
    let mut raw = Raw::connect(&room.bench).await;
    let third = raw.attached(resuming(&room, "ada", &first, &second.resume_token)).await;
    assert_eq!((third.slot, third.seat), (first.slot, Seat::Kept));
    let replayed = resuming(&room, "ada", &first, &second.resume_token);
    assert_eq!(Raw::connect(&room.bench).await.refused(replayed).await, Reason::ResumeInvalid);
    let mut damaged = third.resume_token.as_bytes().to_vec();
    damaged[20] ^= 1;
    let damaged = resuming(&room, "ada", &first, &Opaque::new(damaged).unwrap());
    assert_eq!(Raw::connect(&room.bench).await.refused(damaged).await, Reason::ResumeInvalid);
    room.ended(Reason::ResumeInvalid, 4).await;
    // None of them has touched the connection that is attached.
    raw.say(&crate::raw::echo_message(1, b"still here")).await;
    while !matches!(raw.hear().await.expect("a reply"), ServerFrame::Message { .. }) {}
    room.is_unharmed().await;
}

#[tokio::test]
async fn what_another_session_or_branch_sent_cannot_be_resumed() {
    let mut room = Room::new().await;
    let (raw, attached) = Raw::attach(&room.bench, "ada", ROOM).await;
    raw.close();
    let mut other = resuming(&room, "ada", &attached, &Opaque::default());
    other.resume.as_mut().unwrap().incarnation.0 += 1;
    assert_eq!(Raw::connect(&room.bench).await.refused(other).await, Reason::SessionEnded);
    let mut ahead = resuming(&room, "ada", &attached, &Opaque::default());
    ahead.resume.as_mut().unwrap().last_output = 77;
    assert_eq!(Raw::connect(&room.bench).await.refused(ahead).await, Reason::ResumeImpossible);
    room.ended(Reason::ResumeImpossible, 1).await;
    room.is_unharmed().await;
}

#[tokio::test]
async fn numbers_of_a_stay_that_is_over_are_not_taken_for_those_of_another() {
    let mut room = Room::new().await;
    let (mut raw, first) = Raw::attach(&room.bench, "ada", ROOM).await;
    raw.say(&ClientFrame::Leave).await;
    assert_eq!(raw.ended().await, Reason::Left);
    // Nobody has the seat: a move's target would find messages of the old numbering behind the open frame.
    let resuming_first = resuming(&room, "ada", &first, &Opaque::default());
    assert_eq!(Raw::connect(&room.bench).await.refused(resuming_first.clone()).await, Reason::SeatExpired);
    // Another process of the player has another seat.
    let (raw, second) = Raw::attach(&room.bench, "ada", ROOM).await;
    assert!(second.seat == Seat::New && second.joined > first.joined);
    raw.close();
    assert_eq!(Raw::connect(&room.bench).await.refused(resuming_first).await, Reason::SeatExpired);
    room.ended(Reason::SeatExpired, 2).await;
    let mut raw = Raw::connect(&room.bench).await;
    let third = raw.attached(resuming(&room, "ada", &second, &Opaque::default())).await;
    assert_eq!((third.seat, third.joined), (Seat::Kept, second.joined));
    room.is_unharmed().await;
}

/// The ticket with which the second worker sends a player to the first.
async fn ticket(room: &Room, player: &str) -> Opaque {
    let mut raw = Raw::connect_with(&room.bench, room.bench.handles[1].address(), Default::default()).await;
    match raw.opened(room.bench.open(player, ROOM)).await {
        ServerFrame::Redirect(place) => {
            assert_eq!(place.address, room.bench.address());
            place.ticket
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_ticket_is_good_once_for_its_player_at_its_worker() {
    let mut room = Room::new().await;
    let with = |player: &str, ticket: &Opaque| Open { ticket: Some(ticket.clone()), ..room.bench.open(player, ROOM) };
    let ticket_of_ada = ticket(&room, "ada").await;
    let elsewhere = room.bench.handles[1].address();
    let mut wrong_door = Raw::connect_with(&room.bench, elsewhere, Default::default()).await;
    assert_eq!(wrong_door.refused(with("ada", &ticket_of_ada)).await, Reason::TicketInvalid);
    let mut raw = Raw::connect(&room.bench).await;
    raw.attached(with("ada", &ticket_of_ada)).await;
    assert_eq!(Raw::connect(&room.bench).await.refused(with("ada", &ticket_of_ada)).await, Reason::TicketInvalid);
    let another = ticket(&room, "ada").await;
    assert_eq!(Raw::connect(&room.bench).await.refused(with("mallory", &another)).await, Reason::TicketInvalid);
    let mut damaged = ticket(&room, "ada").await.as_bytes().to_vec();
    damaged[5] ^= 1;
    let damaged = with("ada", &Opaque::new(damaged).unwrap());
    assert_eq!(Raw::connect(&room.bench).await.refused(damaged).await, Reason::TicketInvalid);
    room.ended(Reason::TicketInvalid, 3).await;
    room.is_unharmed().await;
}

#[tokio::test]
async fn a_ticket_of_an_era_that_is_over_or_has_not_come_is_refused() {
    let eras = 4;
    let bench = Bench::that_has_run_for(limits::TICKET_LIFETIME * eras);
    bench.serve("echo");
    let session = bench.create(ROOM).await;
    // Another node, which sends players here as long as it has heard of this one's era.
    let other = Node { id: NodeId(2), generation: 1 };
    let mut other = Authority::new(Keys::new(&[], &TICKET_KEY), other, WorkerId(0), &[1; 32]);
    let mut written = |era| {
        let place = Resolved {
            session: session.clone(),
            node: 1,
            generation: 1,
            era,
            worker: WorkerId(0),
            address: bench.address(),
            certificate: ringside_protocol::frame::Certificate([0; 32]),
        };
        let ticket = other.ticket(&"ada".parse().unwrap(), &place, 1, 4_000_000_000);
        Open { ticket: Some(ticket), ..bench.open("ada", ROOM) }
    };
    for (ended, era) in (1..).zip([0, eras - 2, eras + 100]) {
        assert_eq!(Raw::connect(&bench).await.refused(written(era)).await, Reason::TicketInvalid, "era {era}");
        until("the end to be counted", async || (bench.ended(Reason::TicketInvalid) == ended).then_some(())).await;
    }
    // What is fresh is let in; on a busy machine an era may have passed since it began.
    until("a fresh ticket to be taken", async || {
        let era = era(bench.age().as_micros() as u64);
        let answer = Raw::connect(&bench).await.opened(written(era)).await;
        matches!(answer, ServerFrame::Attached(_)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_newest_connection_of_a_player_wins() {
    let mut room = Room::new().await;
    let (mut older, first) = Raw::attach(&room.bench, "ada", ROOM).await;
    let (mut newer, second) = Raw::attach(&room.bench, "ada", ROOM).await;
    assert_eq!((second.slot, second.seat), (first.slot, Seat::Kept));
    let last = loop {
        match older.hear().await {
            Some(ServerFrame::Detached { reason, .. }) => break reason,
            Some(_) => {}
            None => panic!("the older connection is told why"),
        }
    };
    assert_eq!(last, Reason::Replaced);
    room.ended(Reason::Replaced, 1).await;
    // What the older one still says is heard by nobody.
    older.say(&crate::raw::echo_message(1, b"older")).await;
    newer.say(&crate::raw::echo_message(1, b"newer")).await;
    let reply = loop {
        if let ServerFrame::Message { body, .. } = within("a reply", newer.hear()).await.expect("a reply") {
            break postcard::from_bytes::<echo::Reply>(&body).unwrap();
        }
    };
    assert_eq!(reply.body.0, b"newer");
    room.is_unharmed().await;
}
