//! Seats: kept for a while, given up, found, and full.

use std::time::Duration;

use ringside_client::{Client, ConnectError, Event};
use ringside_protocol::reason::Reason;
use ringside_test_support::wait::within;

use crate::bench::Bench;
use crate::bots::Echoist;

const ROOM: &str = "echo/room";

async fn room(seat_window: Duration) -> (Bench, ringside_core::ids::SessionId) {
    let bench = Bench::with_seat_window(seat_window);
    bench.serve("echo");
    let session = bench.create(ROOM).await;
    (bench, session)
}

fn reason(refused: Result<Client, ConnectError>) -> Reason {
    match refused {
        Err(ConnectError::Refused { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

/// Says `what`, and answers which of the player's messages the game takes it for.
async fn count(client: &mut Client, what: u8) -> u64 {
    client.send(postcard::to_stdvec(&ringside_guest::Bytes(vec![what])).unwrap()).unwrap();
    loop {
        // What another client of the player took and had not acknowledged comes before it.
        if let Event::Message { body, .. } = within("a reply", client.next()).await.expect("a reply") {
            let reply: echo::Reply = postcard::from_bytes(&body).unwrap();
            if reply.body.0 == [what] {
                return reply.number;
            }
        }
    }
}

#[tokio::test]
async fn who_comes_back_within_the_window_has_seat_and_state() {
    let (bench, session) = room(Duration::from_secs(3600)).await;
    let other = bench.join("bob", ROOM).await;
    let mut ada = bench.join("ada", ROOM).await;
    let first = ada.attachment().clone();
    assert!(first.joined && first.slot != other.attachment().slot);
    assert_eq!(count(&mut ada, b'a').await, 1);
    drop(ada);
    bench
        .report_when("the worker to see that she is gone", &session, |report| {
            report.players.iter().any(|player| player.player.as_str() == "ada" && !player.connected)
        })
        .await;
    let mut ada = bench.join("ada", ROOM).await;
    let second = ada.attachment();
    assert_eq!((second.joined, second.slot, second.last_input), (false, first.slot, 1));
    assert_eq!(count(&mut ada, b'b').await, 2, "the game knows her");
}

#[tokio::test]
async fn who_stays_away_for_longer_is_a_new_player() {
    let (bench, session) = room(Duration::from_millis(200)).await;
    let mut ada = bench.join("ada", ROOM).await;
    assert_eq!(count(&mut ada, b'a').await, 1);
    drop(ada);
    bench.report_when("the seat to be given up", &session, |report| report.players.is_empty()).await;
    let mut ada = bench.join("ada", ROOM).await;
    assert!(ada.attachment().joined);
    assert_eq!(count(&mut ada, b'b').await, 1, "the game does not know her");
}

#[tokio::test]
async fn who_leaves_frees_the_seat_at_once() {
    let bench = Bench::with_seat_window(Duration::from_secs(3600));
    bench.serve("bad-citizens");
    let target = "bad-citizens/full";
    bench.create(target).await;
    let mut players = Vec::new();
    for number in 0..8 {
        players.push(bench.join(&format!("player-{number}"), target).await);
    }
    let ninth = bench.try_join(bench.address(), "ninth", target).await;
    assert_eq!(reason(ninth), Reason::SessionFull);
    assert_eq!(bench.ended(Reason::SessionFull), 1);
    let leaving = players.swap_remove(3);
    let slot = leaving.attachment().slot;
    let farewell = within("the farewell", leaving.leave()).await;
    assert!(matches!(farewell, Some(Event::Detached { reason: Reason::Left, .. })), "{farewell:?}");
    let ninth = bench.join("ninth", target).await;
    assert_eq!((ninth.attachment().slot, ninth.attachment().joined), (slot, true));
    let refused = bench.try_join(bench.address(), "refused-by-the-game", target).await;
    assert_eq!(reason(refused), Reason::SessionFull, "before the game is asked");
    assert!(ninth.is_attached());
}

#[tokio::test]
async fn the_game_may_refuse_a_player() {
    let bench = Bench::start();
    bench.serve("bad-citizens");
    let session = bench.create("bad-citizens/choosy").await;
    let refused = bench.try_join(bench.address(), "refused-one", "bad-citizens/choosy").await;
    assert_eq!(reason(refused), Reason::JoinRefused);
    assert!(bench.report(&session).await.unwrap().players.is_empty());
    bench.join("welcome", "bad-citizens/choosy").await;
}

#[tokio::test]
async fn players_who_ask_for_any_match_meet_by_their_criteria() {
    let bench = Bench::start();
    bench.serve("pong");
    bench.serve("echo");
    let ann = bench.join("ann", "pong?eu").await;
    let bob = bench.try_join(bench.handles[1].address(), "bob", "pong?eu").await.unwrap();
    assert_eq!(ann.attachment().session, bob.attachment().session, "at whichever door they ask");
    let far = bench.join("cid", "pong?us").await;
    assert_ne!(far.attachment().session, ann.attachment().session);
    let third = bench.join("dan", "pong?eu").await;
    assert_ne!(third.attachment().session, ann.attachment().session, "two play pong");
    let fourth = bench.join("eve", "pong?eu").await;
    assert_eq!(fourth.attachment().session, third.attachment().session);
    let another_game = bench.join("ann", "echo?eu").await;
    assert_eq!(another_game.attachment().session.game.as_str(), "echo");
}

#[tokio::test]
async fn a_token_that_may_not_create_finds_what_is_there() {
    let bench = Bench::start();
    bench.serve("echo");
    let mut claims = Bench::claims("ann");
    claims.capabilities.clear();
    let options = || {
        let mut options = bench.options(bench.address(), "ann", "echo?any");
        options.token = bench.sign(&claims);
        options
    };
    assert_eq!(reason(within("an answer", Client::connect(options())).await), Reason::TokenForbids);
    let host = bench.join("host", "echo?any").await;
    let ann = within("to be let in", Client::connect(options())).await.unwrap();
    assert_eq!(ann.attachment().session, host.attachment().session);
    Echoist::new(ann, "ann", 4).exchange(5, 5).await;
}
