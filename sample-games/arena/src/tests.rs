use ringside_guest::{LeaveReason, Match};

use super::*;
use crate::world::{DAMAGE, HEALTH, RADIUS, SIDE};

type Game20 = Match<Arena20>;

fn with_players<const HZ: u32>(seed: u64, count: usize) -> Match<Arena<HZ>> {
    let mut game = Match::<Arena<HZ>>::new(seed);
    for player in 0..count {
        game.join(&format!("player-{player}")).unwrap();
    }
    game
}

fn with_bots<const HZ: u32>(seed: u64) -> Match<Arena<HZ>> {
    let mut game = with_players::<HZ>(seed, PLAYERS);
    for slot in (0..PLAYERS as u16).map(Slot) {
        game.play(slot, move |view| Some(bot::policy(slot, view)));
    }
    game
}

fn player<const HZ: u32>(game: &Match<Arena<HZ>>, slot: u16) -> world::Player {
    game.game().world().players[usize::from(slot)].clone().unwrap()
}

#[test]
fn a_second_of_walking_is_the_speed_at_every_rate() {
    fn walked<const HZ: u32>() -> f64 {
        let mut game = with_players::<HZ>(5, 1);
        let go = if player(&game, 0).at.0 < SIDE / 2.0 { 127 } else { -127 };
        let before = player(&game, 0).at.0;
        game.message(Slot(0), &Input { go: (go, 0), ..Input::default() });
        game.ticks(HZ.into());
        (player(&game, 0).at.0 - before).abs()
    }
    assert!((walked::<20>() - world::SPEED).abs() < 1e-9);
    assert!((walked::<60>() - world::SPEED).abs() < 1e-9);
}

#[test]
fn nobody_is_faster_diagonally_or_leaves_the_arena() {
    let mut game: Game20 = with_players(5, 1);
    let before = player(&game, 0).at;
    game.message(Slot(0), &Input { go: (-128, -128), ..Input::default() });
    game.tick();
    let after = player(&game, 0).at;
    let way = ((after.0 - before.0).powf(2.0) + (after.1 - before.1).powf(2.0)).sqrt();
    assert!((way - world::SPEED / 20.0).abs() < 1e-9, "{way}");
    game.ticks(400);
    assert_eq!(player(&game, 0).at, (RADIUS, RADIUS));
}

#[test]
fn five_hits_kill_and_two_seconds_later_the_dead_are_back() {
    let mut game: Game20 = with_players(2, 2);
    game.play(Slot(0), |view| Some(bot::policy(Slot(0), view)));
    let mut health = vec![HEALTH];
    while health[health.len() - 1] > 0 {
        game.tick();
        let now = player(&game, 1).health;
        if now != health[health.len() - 1] {
            health.push(now);
        }
        assert!(game.tick_number() < 2000, "the bot never hits");
    }
    assert_eq!(health, (0..=5).map(|hits| HEALTH - hits * DAMAGE).collect::<Vec<_>>());
    assert_eq!(game.outputs(Slot(1)), [Output::Kill { by: Slot(0), whom: Slot(1) }]);
    assert_eq!(player(&game, 0).score, 1);
    game.ticks(39);
    assert_eq!(player(&game, 1).health, 0);
    game.tick();
    assert_eq!(player(&game, 1).health, HEALTH);
}

#[test]
fn a_gun_fires_four_times_a_second() {
    fn shots<const HZ: u32>() -> usize {
        let mut game = with_players::<HZ>(2, 1);
        game.message(Slot(0), &Input { fire: true, ..Input::default() });
        let mut shots = 0;
        for _ in 0..HZ {
            game.tick();
            shots += usize::from(player(&game, 0).reload == world::World::<HZ>::RELOAD);
        }
        shots
    }
    assert_eq!((shots::<20>(), shots::<60>()), (4, 4));
}

#[test]
fn who_leaves_takes_the_bullets_along() {
    let mut game: Game20 = with_players(2, 2);
    let aim = if player(&game, 0).at.0 < SIDE / 2.0 { (1, 0) } else { (-1, 0) };
    game.message(Slot(0), &Input { aim, fire: true, ..Input::default() });
    game.ticks(2);
    assert_eq!(game.view(Slot(1)).unwrap().bullets.len(), 1);
    game.leave(Slot(0), LeaveReason::Left);
    game.tick();
    let view = game.view(Slot(1)).unwrap();
    assert!(view.bullets.is_empty());
    assert_eq!(view.players.iter().map(|player| player.slot).collect::<Vec<_>>(), [1]);
}

#[test]
fn eight_bots_fight_and_views_stay_small() {
    let mut game = with_bots::<20>(11);
    let (mut bytes, mut largest) = (0, 0);
    for _ in 0..20 * 60 {
        game.tick();
        let size = game.view_bytes(Slot(0)).unwrap().len();
        (bytes, largest) = (bytes + size, largest.max(size));
    }
    let view = game.view(Slot(0)).unwrap();
    assert!(view.players.iter().map(|player| u32::from(player.score)).sum::<u32>() > 10);
    assert!((100..=200).contains(&(bytes / 1200)), "{} bytes on average", bytes / 1200);
    assert!(largest < 300, "{largest} bytes");
}

#[test]
fn a_view_survives_its_encoding_within_the_arena() {
    let mut game = with_bots::<60>(3);
    for _ in 0..600 {
        game.tick();
        let view = game.view(Slot(3)).unwrap();
        assert_eq!(view, game.game().world().view());
        let places = view.players.iter().map(|player| player.at).chain(view.bullets);
        places.for_each(|(x, y)| assert!(x <= 16_000 && y <= 16_000));
    }
}

#[test]
fn bytes_that_are_no_input_are_ignored_counted_and_logged() {
    let mut game: Game20 = with_players(2, 2);
    game.ticks(2);
    let before = player(&game, 0).input;
    for _ in 0..5 {
        game.message_bytes(Slot(0), &[1, 2, 3]);
        game.datagram_bytes(Slot(0), &[0; 100]);
    }
    assert_eq!(player(&game, 0).input, before);
    // Counts 1, 2, 4 and 8 are logged.
    assert_eq!(game.log_lines().len(), 4);
    game.tick();
    assert!(game.view(Slot(1)).is_some());
}
