//! Calls that do not end are stopped; calls after them are not.

use ringside_core::log::{Input, Outcome, SkipCause};
use ringside_core::output::Output;
use ringside_protocol::fuzz::Mutator;

use crate::play::{Play, replayed, small_sandbox, toy};
use crate::toy::Toy;

#[test]
fn every_kind_stops_wherever_it_runs() {
    for kind in 0..7_u8 {
        let mut play = Play::with_players(1);
        play.fails(0, 'L', &[kind], SkipCause::Runaway);
        play.rebuild(None);
        assert_eq!(play.run(Input::Tick), Outcome::Applied);
        assert_eq!(
            play.run(Input::Signal { source: "toy/a".into(), body: vec![b'L', kind].into() }),
            Outcome::Skipped(SkipCause::Runaway)
        );
        play.rebuild(None);
        assert_eq!(play.hashes(), replayed(toy(), &play.log));
    }
    let mut play = Play::unstarted(toy());
    assert_eq!(play.run(crate::play::start(toy(), b"L\0")), Outcome::Skipped(SkipCause::Runaway));
}

/// Calls that end about where the limit is, in slots that were used by stopped ones: each is whole or skipped, none
/// is stopped for the one before it, and every log replays.
#[test]
fn calls_near_the_limit_on_several_threads() {
    let sandbox = small_sandbox(4);
    let module = sandbox.upload(&Toy::default().wasm()).expect("a module");
    let (stopped, whole) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3_u64)
            .map(|seed| {
                scope.spawn({
                    let module = &module;
                    move || near_the_limit(module, seed)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    });
    println!("{stopped} stopped, {whole} whole");
    assert!(stopped > 10 && whole > 10, "{stopped} {whole}");
}

fn near_the_limit(module: &ringside_sandbox::Module, seed: u64) -> (u32, u32) {
    let mut mutator = Mutator::new(seed);
    let (mut stopped, mut whole) = (0, 0);
    // So many turns of the loop take about the limit; adjusted as it goes.
    let mut turns = 4_000_000_u32;
    for _ in 0..40 {
        let mut play = Play::begin(module);
        play.join(0, "ann");
        for _ in 0..10 {
            let around = turns / 2 + mutator.below(turns as usize) as u32;
            match play.message(0, 'w', &around.to_le_bytes()) {
                Outcome::Applied => {
                    whole += 1;
                    turns += turns / 50;
                }
                Outcome::Skipped(cause) => {
                    assert_eq!(cause, SkipCause::Runaway);
                    stopped += 1;
                    turns -= turns / 10;
                    // The slot is dropped right after the kill, now and then.
                    if mutator.below(2) == 0 {
                        break;
                    }
                    play.rebuild(None);
                }
            }
            let sent = play.does(0, 'e', b"short");
            assert!(matches!(sent, [Output::Send { .. }]));
        }
        if !play.fold.is_poisoned() {
            assert_eq!(play.hashes(), replayed(module, &play.log));
        }
    }
    (stopped, whole)
}

/// What a leader accepted, a rebuild on a slower day must not stop: it replays a long call without a limit.
#[test]
fn a_rebuild_has_no_limit() {
    let sandbox = small_sandbox(2);
    let module = sandbox.upload(&Toy::default().wasm()).expect("a module");
    let mut play = Play::begin(&module);
    play.join(0, "ann");
    play.does(0, 'w', &10_u32.to_le_bytes());
    // As if this machine had been a hundred times as fast.
    let Some(record) = play.log.last_mut() else { panic!("a log") };
    let Input::Message { body, .. } = &mut record.input else { panic!("{record:?}") };
    *body = [&b"w"[..], &200_000_000_u32.to_le_bytes()].concat().into();
    play.rebuild(None);
    assert_eq!(play.hashes(), replayed(&module, &play.log));
}

#[test]
fn cost_is_told() {
    let mut play = Play::with_players(1);
    play.does(0, 'e', b"x");
    assert!(!play.fold.last_call().over_budget);
    play.fails(0, 'L', &[0], SkipCause::Runaway);
    assert!(play.fold.last_call().over_budget);
    assert!(play.fold.last_call().wall >= play.fold.call_budget());
}
