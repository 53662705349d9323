use ringside_guest::{Match, encode};

use super::*;

fn begun() -> (Match<BadCitizens>, Slot) {
    let mut game = Match::<BadCitizens>::new(1);
    let slot = game.join("ann").unwrap();
    (game, slot)
}

#[test]
fn it_behaves_when_told_to() {
    let (mut game, slot) = begun();
    game.message(slot, &Command::Behave);
    game.ticks(2);
    let view = game.view(slot).unwrap();
    assert_eq!((view.tick, view.commands[0]), (2, 1));
    assert_eq!(game.query(&[]), Ok(encode(&2u64)));
}

#[test]
#[should_panic(expected = "told to")]
fn it_panics_when_told_to() {
    let (mut game, slot) = begun();
    game.message(slot, &Command::Panic);
}

#[test]
fn floods_have_the_size_that_was_asked_for() {
    let (mut game, slot) = begun();
    game.message(slot, &Command::FloodMessages(3, 100));
    assert_eq!(game.outputs(slot).iter().map(|body| body.0.len()).collect::<Vec<_>>(), [100; 3]);
    game.message(slot, &Command::BigView(5000));
    game.tick();
    assert!(game.view_bytes(slot).unwrap().len() > 5000);
}

#[test]
fn it_does_as_configured() {
    let config = Config { tick: Some((3, Command::Finish(9))), ..Config::default() };
    let mut game = Match::<BadCitizens>::with_config(1, &config);
    game.ticks(3);
    assert!(game.is_finished());
    let refusing = Config { refuse: Some("not today".into()), ..Config::default() };
    assert_eq!(Match::<BadCitizens>::start(1, &encode(&refusing)).err().unwrap(), "not today");
    let (mut game, _) = begun();
    assert!(game.join("refused-bob").is_err());
}

#[test]
fn its_state_survives_an_upgrade() {
    let (mut game, slot) = begun();
    game.message(slot, &Command::Behave);
    game.ticks(5);
    let mut upgraded = Match::<BadCitizens>::upgraded(game).unwrap();
    upgraded.tick();
    let view = upgraded.view(slot).unwrap();
    assert_eq!((view.tick, view.commands[0]), (6, 1));
}

#[test]
fn a_timer_for_ever_fires_for_ever() {
    let (mut game, slot) = begun();
    game.message(slot, &Command::TimerForEver(1_000));
    game.ticks(60);
    assert_eq!(game.view(slot).unwrap().tick, 60);
}
