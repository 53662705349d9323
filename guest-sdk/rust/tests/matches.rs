//! The harness keeps the rules of the contract, and the SDK those of its own documentation.

use std::time::Duration;

use ringside_guest::{
    Context, DecodeError, Description, Effect, Game, LeaveReason, LogLevel, Match, Refusal, Slot, Timer, decode, encode,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Say {
    Hello,
    Arm(u64),
    Disarm(u64),
    Kick(u16),
    Finish(String),
    Broadcast(u8),
    Whisper(u16, u8),
    Shuffle(u8),
}

/// Does what it is told and writes down what it saw.
struct Probe {
    seen: Vec<String>,
}

impl Probe {
    fn saw(&mut self, what: impl Into<String>) {
        self.seen.push(what.into());
    }
}

impl Game for Probe {
    type Config = u32;
    type Input = Say;
    type Output = u8;
    type View = (Slot, Vec<String>);

    const DESCRIPTION: Description = Description::new("probe").tick_rate(10).view_rate(5).players(1, 3);

    fn start(config: u32, _: &mut Context<Self>) -> Result<Self, Refusal> {
        if config == 13 { Err("unlucky".into()) } else { Ok(Probe { seen: vec![format!("start {config}")] }) }
    }

    fn join(&mut self, slot: Slot, player: &str, context: &mut Context<Self>) -> Result<(), Refusal> {
        context.send(slot, &99);
        if player == "mallory" {
            return Err(format!("{player} is not welcome").into());
        }
        self.saw(format!("join {slot} {:?}", context.joined()));
        Ok(())
    }

    fn leave(&mut self, slot: Slot, reason: LeaveReason, context: &mut Context<Self>) {
        context.send(slot, &98);
        self.saw(format!("leave {slot} {reason:?} {}", context.is_joined(slot)));
    }

    fn message(&mut self, slot: Slot, input: Say, context: &mut Context<Self>) {
        match input {
            Say::Hello => self.saw(format!("hello {slot}")),
            Say::Arm(ms) => self.saw(format!("armed {:?}", context.set_timer(Duration::from_millis(ms)))),
            Say::Disarm(id) => context.cancel_timer(Timer(id)),
            Say::Kick(slot) => context.kick(Slot(slot), "told to"),
            Say::Finish(outcome) => context.finish(&outcome),
            Say::Broadcast(number) => context.broadcast(&number),
            Say::Whisper(slot, number) => context.send_datagram(Slot(slot), &number),
            Say::Shuffle(count) => {
                let mut items: Vec<u8> = (0..count).collect();
                context.shuffle(&mut items);
                items.iter().for_each(|item| context.send(slot, item));
            }
        }
    }

    fn timer(&mut self, timer: Timer, context: &mut Context<Self>) {
        self.saw(format!("timer {} at {}", timer.0, context.now().as_millis()));
    }

    fn tick(&mut self, number: u64, context: &mut Context<Self>) {
        self.saw(format!("tick {number} at {}", context.now().as_millis()));
    }

    fn signal(&mut self, source: &str, bytes: &[u8], context: &mut Context<Self>) {
        context.signal(source, &[bytes, b"!"].concat());
    }

    fn view(&self, slot: Slot) -> (Slot, Vec<String>) {
        (slot, self.seen.clone())
    }

    fn save(&self) -> Result<Vec<u8>, Refusal> {
        Ok(encode(&self.seen))
    }

    fn restore(saved: &[u8], _: &mut Context<Self>) -> Result<Self, Refusal> {
        Ok(Probe { seen: decode(saved)? })
    }
}

fn seen(game: &Match<Probe>) -> Vec<&str> {
    game.game().seen.iter().map(String::as_str).collect()
}

#[test]
fn ticks_lie_on_their_grid_and_timers_fire_between_them() {
    let mut game = Match::<Probe>::new(1);
    let ann = game.join("ann").unwrap();
    game.message(ann, &Say::Arm(150));
    game.message(ann, &Say::Arm(120));
    game.message(ann, &Say::Arm(120));
    game.message(ann, &Say::Arm(110));
    game.message(ann, &Say::Disarm(4));
    game.ticks(2);
    assert_eq!(
        seen(&game)[6..],
        ["tick 1 at 100", "timer 2 at 120", "timer 3 at 120", "timer 1 at 150", "tick 2 at 200"]
    );
}

#[test]
fn time_advances_by_whole_ticks_and_the_rest() {
    let mut game = Match::<Probe>::new(1);
    game.advance(Duration::from_millis(250));
    assert_eq!((game.tick_number(), game.now().as_millis()), (2, 250));
    game.advance(Duration::from_millis(50));
    assert_eq!((game.tick_number(), game.now().as_millis()), (3, 300));
}

#[test]
fn a_joining_player_is_reached_and_a_refused_one_was_never_there() {
    let mut game = Match::<Probe>::new(1);
    assert_eq!(game.join("mallory"), Err("mallory is not welcome".to_owned()));
    let ann = game.join("ann").unwrap();
    assert_eq!(ann, Slot(0));
    assert_eq!(game.outputs(ann), [99]);
    assert_eq!(seen(&game), ["start 0", "join 0 [Slot(0)]"]);
}

#[test]
fn a_full_session_takes_nobody() {
    let mut game = Match::<Probe>::new(1);
    for player in ["a", "b", "c"] {
        game.join(player).unwrap();
    }
    assert!(game.join("d").is_err());
    game.leave(Slot(1), LeaveReason::Left);
    assert_eq!(game.join("d"), Ok(Slot(1)));
}

#[test]
fn who_leaves_is_not_reached_and_who_is_kicked_leaves() {
    let mut game = Match::<Probe>::new(1);
    let (ann, bob) = (game.join("ann").unwrap(), game.join("bob").unwrap());
    game.outputs(bob);
    game.message(ann, &Say::Kick(1));
    game.message(ann, &Say::Kick(1));
    game.message(ann, &Say::Broadcast(5));
    assert_eq!(seen(&game)[3..], ["leave 1 Kicked false"]);
    assert_eq!((game.outputs(ann), game.outputs(bob)), (vec![99, 5], vec![]));
}

#[test]
fn messages_are_numbered_by_player_and_in_order_of_slots() {
    let mut game = Match::<Probe>::new(1);
    let (ann, _) = (game.join("ann").unwrap(), game.join("bob").unwrap());
    game.effects();
    game.message(ann, &Say::Broadcast(7));
    game.message(ann, &Say::Whisper(1, 8));
    let send = |slot, number| Effect::Send { slot: Slot(slot), number, body: vec![7] };
    assert_eq!(game.effects(), [send(0, 2), send(1, 2), Effect::Datagram { slot: Slot(1), body: vec![8] }]);
    assert_eq!(game.datagrams(Slot(1)), [8]);
}

#[test]
fn views_are_written_at_the_view_rate_to_each_player() {
    let mut game = Match::<Probe>::new(1);
    let (ann, bob) = (game.join("ann").unwrap(), game.join("bob").unwrap());
    game.tick();
    assert!(game.view(ann).is_none());
    game.tick();
    assert_eq!(game.view(ann).unwrap().0, ann);
    assert_eq!(game.view(bob).unwrap().0, bob);
    game.effects();
    game.ticks(4);
    assert_eq!(game.effects().iter().filter(|effect| matches!(effect, Effect::View { .. })).count(), 4);
}

#[test]
fn the_last_view_shows_the_end() {
    let mut game = Match::<Probe>::new(1);
    let ann = game.join("ann").unwrap();
    game.message(ann, &Say::Finish("done".into()));
    assert_eq!(game.outcome(), Some("done".to_owned()));
    assert!(game.view(ann).is_some());
}

#[test]
#[should_panic(expected = "nothing more reaches it")]
fn nothing_reaches_a_finished_game() {
    let mut game = Match::<Probe>::new(1);
    let ann = game.join("ann").unwrap();
    game.message(ann, &Say::Finish(String::new()));
    game.tick();
}

#[test]
fn what_is_no_input_is_ignored_and_logged_ever_more_rarely() {
    let mut game = Match::<Probe>::new(1);
    let ann = game.join("ann").unwrap();
    let mut long = encode(&Say::Hello);
    long.push(0);
    for bytes in [&[][..], &[200], &long, &[1, 0xff]] {
        game.message_bytes(ann, bytes);
    }
    assert_eq!(seen(&game).len(), 2);
    let lines = game.log_lines();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0].0, LogLevel::Warn);
    assert!(lines[2].1.contains("(4 so far)"), "{lines:?}");
}

#[test]
fn a_configuration_is_decoded_defaulted_or_refused() {
    assert_eq!(seen(&Match::<Probe>::with_config(1, &7))[0], "start 7");
    assert_eq!(seen(&Match::<Probe>::new(1))[0], "start 0");
    assert_eq!(Match::<Probe>::start(1, &encode(&13u32)).err().unwrap(), "unlucky");
    assert!(Match::<Probe>::start(1, &[0xff]).err().unwrap().contains("cannot be decoded"));
}

#[test]
fn an_upgrade_keeps_time_players_and_state() {
    let mut game = Match::<Probe>::new(1);
    let ann = game.join("ann").unwrap();
    game.ticks(3);
    let mut upgraded = Match::<Probe>::upgraded(game).unwrap();
    upgraded.message(ann, &Say::Broadcast(1));
    upgraded.tick();
    assert_eq!(
        seen(&upgraded)[1..],
        ["join 0 [Slot(0)]", "tick 1 at 100", "tick 2 at 200", "tick 3 at 300", "tick 4 at 400"]
    );
    assert_eq!(upgraded.outputs(ann), [99, 1]);
}

#[test]
fn signals_and_scripted_players_play() {
    let mut game = Match::<Probe>::new(1);
    game.signal("lobby/main", b"hi");
    assert_eq!(game.effects(), [Effect::Signal { session: "lobby/main".into(), body: b"hi!".to_vec() }]);
    let ann = game.join("ann").unwrap();
    game.play(ann, |(_, seen)| (!seen.iter().any(|line| line == "hello 0")).then_some(Say::Hello));
    game.ticks(10);
    assert_eq!(seen(&game).iter().filter(|line| **line == "hello 0").count(), 2, "a view is two ticks old at most");
}

#[test]
fn a_game_without_answers_says_so() {
    assert_eq!(Match::<Probe>::new(1).query(b"?"), Err("this game answers no questions".to_owned()));
}

#[test]
fn matches_in_one_thread_do_not_meet() {
    let (mut one, mut two) = (Match::<Probe>::new(1), Match::<Probe>::new(1));
    one.join("ann").unwrap();
    one.ticks(3);
    two.tick();
    assert_eq!((one.now().as_millis(), two.now().as_millis()), (300, 100));
    assert_eq!(seen(&two), ["start 0", "tick 1 at 100"]);
}

/// Bets on random numbers with its own idea of bad inputs.
struct Strict(Vec<DecodeError>);

impl Game for Strict {
    type Config = ();
    type Input = u8;
    type Output = ();
    type View = u64;

    const DESCRIPTION: Description = Description::new("strict").shared_view();

    fn start(_: (), _: &mut Context<Self>) -> Result<Self, Refusal> {
        Ok(Strict(Vec::new()))
    }

    fn undecodable(&mut self, slot: Slot, _: &[u8], error: DecodeError, context: &mut Context<Self>) {
        self.0.push(error);
        context.kick(slot, "speak properly");
    }

    fn message(&mut self, _: Slot, bound: u8, context: &mut Context<Self>) {
        for _ in 0..1000 {
            let bound = u64::from(bound) + 1;
            assert!(context.random_below(bound) < bound);
            assert!((-5..7).contains(&context.random_range(-5..7)));
            assert!((0.0..1.0).contains(&context.random_unit()));
            assert!(context.pick(&[1, 2, 3]).is_some());
        }
        assert_eq!(context.pick::<u8>(&[]), None);
        let mut rolls = [0u32; 6];
        (0..60_000).for_each(|_| rolls[context.random_below(6) as usize] += 1);
        assert!(rolls.iter().all(|count| (9_600..10_400).contains(count)), "{rolls:?}");
    }

    fn view(&self, _: Slot) -> u64 {
        self.0.len() as u64
    }
}

#[test]
fn random_helpers_stay_in_their_bounds() {
    let mut game = Match::<Strict>::new(5);
    let ann = game.join("ann").unwrap();
    (0..=255).step_by(51).for_each(|bound| game.message(ann, &bound));
}

#[test]
fn a_game_may_be_strict_and_an_event_driven_view_comes_after_each_call() {
    let mut game = Match::<Strict>::new(5);
    let (ann, bob) = (game.join("ann").unwrap(), game.join("bob").unwrap());
    assert_eq!((game.view(ann), game.view(bob)), (Some(0), Some(0)));
    game.message_bytes(bob, &[1, 2]);
    assert_eq!((game.view(ann), game.game().0.len()), (Some(1), 1));
    assert_eq!(game.join("eve"), Ok(bob));
}

#[test]
fn a_shuffle_keeps_everything() {
    let mut game = Match::<Probe>::new(9);
    let ann = game.join("ann").unwrap();
    game.outputs(ann);
    game.message(ann, &Say::Shuffle(50));
    let mut items = game.outputs(ann);
    assert_ne!(items, (0..50).collect::<Vec<_>>());
    items.sort_unstable();
    assert_eq!(items, (0..50).collect::<Vec<_>>());
}

proptest::proptest! {
    #[test]
    fn what_a_player_sends_is_either_read_or_counted(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..8)) {
        let mut game = Match::<Probe>::new(1);
        let ann = game.join("ann").unwrap();
        let reads = decode::<Say>(&bytes).is_ok();
        game.message_bytes(ann, &bytes);
        let ignored = game.log_lines().iter().any(|(_, line)| line.starts_with("ignored"));
        proptest::prop_assert_eq!(ignored, !reads);
    }
}
