use ringside_guest::{LeaveReason, Match};

use super::*;

const LEFT: Slot = Slot(0);
const RIGHT: Slot = Slot(1);

fn begun(seed: u64) -> Match<Pong> {
    let mut game = Match::<Pong>::new(seed);
    assert_eq!(game.join("left"), Ok(LEFT));
    assert_eq!(game.join("right"), Ok(RIGHT));
    game
}

#[test]
fn the_ball_rests_until_both_are_there() {
    let mut game = Match::<Pong>::new(1);
    game.join("left").unwrap();
    game.ticks(600);
    let resting = game.view(LEFT).unwrap().ball;
    assert_eq!(resting, (0.8, 0.5));
    game.join("right").unwrap();
    game.ticks(59);
    assert_eq!(game.view(LEFT).unwrap().ball, resting);
    game.ticks(2);
    assert_ne!(game.view(LEFT).unwrap().ball, resting);
}

#[test]
fn a_paddle_moves_and_stops_at_the_wall() {
    let mut game = begun(1);
    game.message(LEFT, &Input::Up);
    game.ticks(6);
    assert!((game.view(RIGHT).unwrap().paddles[0] - 0.41).abs() < 1e-6);
    game.message(RIGHT, &Input::Down);
    game.ticks(60);
    assert_eq!(game.view(LEFT).unwrap().paddles, [0.1, 0.9]);
}

#[test]
fn who_holds_still_loses_to_who_plays() {
    for seed in 0..20 {
        let mut game = begun(seed);
        game.message(LEFT, &Input::Up);
        game.play(RIGHT, |view| Some(bot::policy(RIGHT, view)));
        while !game.is_finished() {
            game.tick();
            assert!(game.tick_number() < 60 * 3600, "nobody wins");
        }
        let outcome: Outcome = game.outcome().unwrap();
        assert_eq!((outcome.winner, outcome.score[1]), (RIGHT, 11), "seed {seed}");
    }
}

#[test]
fn bots_play_a_match_to_its_end() {
    let mut game = begun(7);
    game.play(LEFT, |view| Some(bot::policy(LEFT, view)));
    game.play(RIGHT, |view| Some(bot::policy(RIGHT, view)));
    let mut scores = 0;
    while !game.is_finished() {
        game.tick();
        let view = game.view(LEFT).unwrap();
        let (x, y) = view.ball;
        assert!((-0.1..=1.7).contains(&x) && (0.0..=1.0).contains(&y));
        scores += game.outputs(LEFT).len() as u32;
        assert!(game.tick_number() < 60 * 3600, "nobody ever misses the ball");
    }
    let outcome: Outcome = game.outcome().unwrap();
    assert_eq!(scores, outcome.score.iter().sum::<u32>());
    assert_eq!(outcome.score[outcome.winner.index()], 11);
}

#[test]
fn who_leaves_loses() {
    let mut game = begun(1);
    game.leave(LEFT, LeaveReason::TimedOut);
    assert_eq!(game.outcome::<Outcome>().unwrap().winner, RIGHT);
}

#[test]
fn a_match_to_no_points_is_refused() {
    let config = ringside_guest::encode(&Config { points: 0 });
    assert!(Match::<Pong>::start(1, &config).is_err());
}

#[test]
fn the_same_seed_and_inputs_give_the_same_match() {
    let run = |seed| {
        let mut game = begun(seed);
        game.play(LEFT, |view| Some(bot::policy(LEFT, view)));
        game.ticks(2000);
        game.effects()
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}
