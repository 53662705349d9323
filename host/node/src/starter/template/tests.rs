//! Matches played natively by `cargo test`: no node, no network, and no waiting, for time passes
//! only when a test says so.

use ringside_guest::{LeaveReason, Match, Slot};

use super::*;

/// A match with the dice of seed 7, and two players in it.
fn two_players() -> (Match<Pig>, [Slot; 2]) {
    let mut game = Match::<Pig>::new(7);
    let players = ["ann", "bob"].map(|name| game.join(name).unwrap());
    (game, players)
}

fn say(game: &mut Match<Pig>, slot: Slot, line: &str) {
    game.message(slot, &line.to_owned());
}

/// What the player sees.
fn seen(game: &Match<Pig>, slot: Slot) -> String {
    game.view(slot).unwrap_or_default()
}

#[test]
fn two_players_play_to_the_end() {
    let (mut game, players) = two_players();
    while !game.is_finished() {
        let slot = players[game.game().turn];
        assert!(seen(&game, slot).ends_with("your turn: roll or hold?"));
        let line = if game.game().pot < 12 { "roll" } else { "hold" };
        say(&mut game, slot, line);
    }
    let outcome: String = game.outcome().unwrap();
    assert!(outcome.contains(" wins with "), "{outcome}");
    assert!(game.game().points.iter().any(|points| *points >= GOAL));
}

#[test]
fn a_roll_goes_into_the_pot_and_hold_keeps_it() {
    let (mut game, [ann, bob]) = two_players();
    say(&mut game, ann, "roll");
    let pot = game.game().pot;
    assert!(
        (2..=6).contains(&pot),
        "seed 7 begins with something better than a 1"
    );
    say(&mut game, ann, "hold");
    assert_eq!(game.game().points, [pot, 0]);
    assert!(seen(&game, bob).contains("your turn"));
}

#[test]
fn nobody_plays_out_of_turn() {
    let (mut game, [ann, bob]) = two_players();
    say(&mut game, bob, "roll");
    assert_eq!(game.outputs(bob).last().unwrap(), "It is not your turn.");
    say(&mut game, bob, "rol");
    assert_eq!(game.outputs(bob).last().unwrap(), "Type roll or hold.");
    assert!(seen(&game, ann).contains("your turn"));
}

#[test]
fn the_computer_plays_with_whoever_is_alone() {
    let mut game = Match::<Pig>::new(7);
    let ann = game.join("ann").unwrap();
    assert!(seen(&game, ann).starts_with("Waiting"));
    say(&mut game, ann, "bot");
    while !game.is_finished() {
        // Ann never rolls, so she cannot win.
        if game.game().turn == ann.index() {
            say(&mut game, ann, "hold");
        } else {
            game.advance(THINKING);
        }
    }
    let outcome: String = game.outcome().unwrap();
    assert!(outcome.starts_with("the computer wins with "), "{outcome}");
}

#[test]
fn a_player_takes_over_from_the_computer() {
    let mut game = Match::<Pig>::new(7);
    let ann = game.join("ann").unwrap();
    say(&mut game, ann, "bot");
    say(&mut game, ann, "hold");
    let bob = game.join("bob").unwrap();
    game.advance(10 * THINKING);
    assert_eq!(
        seen(&game, bob),
        "[ann 0, bob 0, pot 0] your turn: roll or hold?"
    );
}

#[test]
fn who_leaves_loses() {
    let (mut game, [ann, _]) = two_players();
    game.leave(ann, LeaveReason::Left);
    assert_eq!(
        game.outcome::<String>().unwrap(),
        "bob wins: the other player has left."
    );
}
