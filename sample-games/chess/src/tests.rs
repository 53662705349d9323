use ringside_guest::{LeaveReason, Match, Slot};

use super::*;
use crate::games::famous_games;

const WHITE: Slot = Slot(0);
const BLACK: Slot = Slot(1);

fn begun(config: &Config) -> Match<Chess> {
    let mut game = Match::<Chess>::with_config(1, config);
    assert_eq!(game.join("white"), Ok(WHITE));
    assert_eq!(game.join("black"), Ok(BLACK));
    game
}

fn play(game: &mut Match<Chess>, moves: &[&str]) {
    for text in moves {
        let slot = if game.view(WHITE).unwrap().fen.contains(" w ") { WHITE } else { BLACK };
        game.message(slot, &Input::Move((*text).into()));
    }
}

fn rejected(game: &mut Match<Chess>, slot: Slot) -> String {
    match game.outputs(slot).pop() {
        Some(Output::Rejected { reason }) => reason,
        other => panic!("expected a rejection, got {other:?}"),
    }
}

#[test]
fn famous_games_end_as_recorded() {
    let games = famous_games();
    assert!(games.len() >= 10);
    for record in games {
        let mut game = begun(&Config::default());
        play(&mut game, &record.moves);
        let view = game.view(WHITE).unwrap();
        assert_eq!(view.fen, record.final_fen, "{}", record.name);
        let mated = record.moves[record.moves.len() - 1].ends_with('#');
        assert_eq!(game.is_finished(), mated, "{}", record.name);
        if let Some(Outcome { winner, reason, moves, .. }) = view.result {
            assert_eq!(reason, Reason::Checkmate);
            assert_eq!(winner, Some(if record.result == "1-0" { WHITE } else { BLACK }));
            assert_eq!(moves, record.moves.join(" "));
        }
        let played = game.outputs(BLACK).into_iter().map(|output| match output {
            Output::Played { san, .. } => san,
            other => panic!("{}: {other:?}", record.name),
        });
        assert!(played.eq(record.moves.iter().copied()), "{}", record.name);
    }
}

#[test]
fn famous_games_have_every_special_move() {
    let games = famous_games();
    let has = |what: &dyn Fn(&str) -> bool| games.iter().any(|game| game.moves.iter().any(|text| what(text)));
    assert!(has(&|text| text == "O-O"));
    assert!(has(&|text| text == "O-O-O"));
    assert!(has(&|text| text.contains("=Q")));
    assert!(has(&|text| text.contains("=N")));
    // Gundersen mates en passant: h5 takes g6, where nobody stands.
    assert_eq!(games.iter().find(|game| game.name == "gundersen-faul").unwrap().moves[27..], ["g5", "hxg6#"]);
}

#[test]
fn moves_are_read_in_uci_too() {
    let mut game = begun(&Config::default());
    play(&mut game, &["e2e4", "e7e5", "g1f3", "b8c6", "f1c4", "g8f6", "e1g1"]);
    assert_eq!(game.view(WHITE).unwrap().last.unwrap(), "O-O");
}

#[test]
fn what_is_no_legal_move_is_rejected_and_changes_nothing() {
    let mut game = begun(&Config::default());
    let before = game.view(WHITE);
    for text in
        ["e5", "K", "Kx", "Kxx", "Ke2", "e2e5", "0000", "--", "", "🐎f3", "Nf3 and a lot more", "O-O", "e2e4q", "\0"]
    {
        game.message(WHITE, &Input::Move(text.into()));
        assert!(!rejected(&mut game, WHITE).is_empty());
        assert_eq!(game.view(WHITE), before, "{text:?}");
    }
    assert!(game.outputs(BLACK).is_empty());
}

#[test]
fn players_move_in_turn() {
    let mut game = begun(&Config::default());
    game.message(BLACK, &Input::Move("e5".into()));
    assert_eq!(rejected(&mut game, BLACK), "it is the other player's turn");
}

#[test]
fn nobody_moves_before_both_are_there() {
    let mut game = Match::<Chess>::new(1);
    game.join("white").unwrap();
    game.message(WHITE, &Input::Move("e4".into()));
    assert_eq!(rejected(&mut game, WHITE), "the other player is not here yet");
    game.advance(Duration::from_secs(3600));
    assert!(!game.is_finished());
}

#[test]
fn time_runs_out() {
    let mut game = begun(&Config { time_ms: 60_000, increment_ms: 1_000 });
    game.advance(Duration::from_secs(20));
    play(&mut game, &["e4"]);
    assert_eq!(game.view(BLACK).unwrap().clocks_ms, [41_000, 60_000]);
    game.advance(Duration::from_millis(59_999));
    assert!(!game.is_finished());
    game.advance(Duration::from_millis(1));
    let outcome: Outcome = game.outcome().unwrap();
    assert_eq!((outcome.winner, outcome.reason), (Some(WHITE), Reason::Time));
    assert_eq!(game.view(BLACK).unwrap().clocks_ms, [41_000, 0]);
}

#[test]
fn players_resign_leave_and_agree() {
    let ended = |how: &dyn Fn(&mut Match<Chess>)| {
        let mut game = begun(&Config::default());
        how(&mut game);
        let outcome: Outcome = game.outcome().unwrap();
        (outcome.winner, outcome.reason)
    };
    assert_eq!(ended(&|game| game.message(WHITE, &Input::Resign)), (Some(BLACK), Reason::Resignation));
    assert_eq!(ended(&|game| game.leave(BLACK, LeaveReason::TimedOut)), (Some(WHITE), Reason::Abandoned));
    let agreed = ended(&|game| {
        game.message(BLACK, &Input::OfferDraw);
        assert_eq!(game.outputs(WHITE), [Output::DrawOffered]);
        game.message(WHITE, &Input::OfferDraw);
    });
    assert_eq!(agreed, (None, Reason::Agreement));
}

#[test]
fn a_move_declines_an_offer() {
    let mut game = begun(&Config::default());
    game.message(BLACK, &Input::OfferDraw);
    play(&mut game, &["e4"]);
    game.message(WHITE, &Input::OfferDraw);
    assert!(!game.is_finished());
}

#[test]
fn a_draw_is_claimed_at_the_third_time_and_comes_by_itself_at_the_fifth() {
    let round = ["Nf3", "Nf6", "Ng1", "Ng8"];
    let mut game = begun(&Config::default());
    play(&mut game, &round);
    game.message(WHITE, &Input::ClaimDraw);
    assert_eq!(rejected(&mut game, WHITE), "there is no draw to claim");
    play(&mut game, &round);
    game.message(WHITE, &Input::ClaimDraw);
    assert_eq!(game.outcome::<Outcome>().unwrap().reason, Reason::Repetition);

    let mut game = begun(&Config::default());
    (0..3).for_each(|_| play(&mut game, &round));
    assert!(!game.is_finished());
    play(&mut game, &round);
    assert_eq!(game.outcome::<Outcome>().unwrap().reason, Reason::Repetition);
}

#[test]
fn the_shortest_stalemate_is_a_draw() {
    let mut game = begun(&Config::default());
    let moves = "e3 a5 Qh5 Ra6 Qxa5 h5 Qxc7 Rah6 h4 f6 Qxd7+ Kf7 Qxb7 Qd3 Qxb8 Qh7 Qxc8 Kg6 Qe6";
    play(&mut game, &moves.split(' ').collect::<Vec<_>>());
    let outcome: Outcome = game.outcome().unwrap();
    assert_eq!((outcome.winner, outcome.reason), (None, Reason::Stalemate));
}

#[test]
fn a_match_without_time_is_refused() {
    let config = ringside_guest::encode(&Config { time_ms: 0, increment_ms: 0 });
    assert_eq!(Match::<Chess>::start(1, &config).err().unwrap(), "nobody can play without time");
}

proptest::proptest! {
    #[test]
    fn no_text_breaks_the_match(texts in proptest::collection::vec("[NBRQKOa-h1-8x=+#0-]{0,7}|.{0,12}", 1..40)) {
        let mut game = begun(&Config::default());
        for text in texts {
            for slot in [WHITE, BLACK] {
                if !game.is_finished() {
                    game.message(slot, &Input::Move(text.clone()));
                }
            }
        }
    }
}
