//! Famous games, move by move by two players over QUIC: facts that the rules of the board, the guest, the log, the
//! channel and the client must all leave as they are.

use chess::games::{FamousGame, famous_games};
use chess::{Input, Outcome, Output, Reason};
use ringside_client::{Client, Event};
use ringside_guest::Slot;
use ringside_test_support::wait::within;

use crate::bench::Bench;

/// A black pawn that has just come to the fifth rank, or a white one to the fourth, and is taken where it passed.
fn is_en_passant(before: &str, capture: &str) -> bool {
    let [file, rank @ (b'4' | b'5')] = before.as_bytes() else { return false };
    let passed = if *rank == b'5' { b'6' } else { b'3' };
    let capture = capture.trim_end_matches(['+', '#']).as_bytes();
    matches!(capture, [b'a'..=b'h', b'x', to, row] if to == file && *row == passed)
}

#[test]
fn the_games_have_every_special_move() {
    let games = famous_games();
    assert!(games.len() >= 10);
    let has = |is: &dyn Fn(&str) -> bool| games.iter().any(|game| game.moves.iter().any(|text| is(text)));
    let plain = |text: &str| text.trim_end_matches(['+', '#']).to_owned();
    assert!(has(&|text| plain(text) == "O-O"), "castling on the king's side");
    assert!(has(&|text| plain(text) == "O-O-O"), "castling on the queen's side");
    assert!(has(&|text| plain(text).ends_with("=Q")), "promotion");
    assert!(has(&|text| plain(text).ends_with(['N', 'R', 'B'])), "underpromotion");
    let passes = |game: &FamousGame| game.moves.windows(2).any(|pair| is_en_passant(pair[0], pair[1]));
    assert!(games.iter().any(passes), "en passant");
    assert!(!is_en_passant("d5", "exd5") && !is_en_passant("Nd5", "exd6") && is_en_passant("d5", "exd6+"));
}

async fn say(client: &Client, input: Input) {
    client.send(postcard::to_stdvec(&input).unwrap()).unwrap();
}

/// Takes events until the board says that this move was played.
async fn played(client: &mut Client, number: usize, expected: &str, game: &str) {
    loop {
        match within("the move", client.next()).await.expect("the match goes on") {
            Event::Message { body, .. } => {
                let output: Output = postcard::from_bytes(&body).unwrap();
                assert_eq!(output, Output::Played { ply: number as u32, san: expected.into() }, "{game}");
                return;
            }
            event => assert!(!event.is_last(), "{game}, move {number}: {event:?}"),
        }
    }
}

async fn outcome(client: &mut Client) -> Outcome {
    loop {
        match within("the end of the match", client.next()).await.expect("an outcome") {
            Event::Finished { outcome } => return postcard::from_bytes(&outcome).unwrap(),
            event => assert!(!event.is_last(), "{event:?}"),
        }
    }
}

async fn replay(mut players: [Client; 2], record: &FamousGame) {
    assert_eq!(players.each_ref().map(|player| player.attachment().slot.0), [0, 1], "white is in slot 0");
    for (ply, text) in record.moves.iter().enumerate() {
        say(&players[ply % 2], Input::Move((*text).into())).await;
        for player in &mut players {
            played(player, ply + 1, text, record.name).await;
        }
    }
    let mated = record.moves.last().is_some_and(|last| last.ends_with('#'));
    let winner = match record.result {
        "1-0" => Some(0),
        "0-1" => Some(1),
        _ => None,
    };
    match winner {
        _ if mated => {}
        Some(winner) => say(&players[1 - winner], Input::Resign).await,
        None => {
            say(&players[0], Input::OfferDraw).await;
            say(&players[1], Input::OfferDraw).await;
        }
    }
    let reason = match winner {
        _ if mated => Reason::Checkmate,
        Some(_) => Reason::Resignation,
        None => Reason::Agreement,
    };
    let winner = winner.map(|slot| Slot(slot as u16));
    let expected = Outcome { winner, reason, fen: record.final_fen.into(), moves: record.moves.join(" ") };
    for player in &mut players {
        assert_eq!(outcome(player).await, expected, "{}", record.name);
    }
}

#[tokio::test]
async fn famous_games_end_over_quic_as_they_did() {
    let bench = Bench::start();
    bench.serve("chess");
    let mut games = tokio::task::JoinSet::new();
    for record in famous_games() {
        let target = format!("chess/{}", record.name);
        bench.create(&target).await;
        let players = [bench.join("white", &target).await, bench.join("black", &target).await];
        games.spawn(async move { replay(players, &record).await });
    }
    let count = games.len();
    assert_eq!(games.join_all().await.len(), count);
}
