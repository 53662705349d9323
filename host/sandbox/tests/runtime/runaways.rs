//! Calls that do not end are stopped; calls after them are not.

use std::time::Duration;

use ringside_core::log::{Input, Outcome, SkipCause};
use ringside_core::output::Output;
use ringside_protocol::fuzz::Mutator;

use crate::cpu_clock::CpuClock;
use crate::play::{Play, replayed, sandbox, small_sandbox, toy};
use crate::shapes::{CALLS, CONTENTS, ITEMS, LOCALS, loops};
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

/// Processor time beyond its limit that a call may use before it is stopped.
const GRACE: Duration = Duration::from_millis(10);

/// How often a shape is tried: who shares the machine's memory bus and its caches makes an operator slow that is quick
/// alone, now and then. A hole would be one each time.
const TRIES: usize = 3;

/// Runs shapes, one a tick, and answers how much longer than its limit each ran.
fn overruns(items: &str, shapes: &[String]) -> Vec<Duration> {
    let count = shapes.len();
    let functions = (1..).zip(shapes).map(|(number, shape)| format!("(func $shape-{number} {LOCALS} {shape})"));
    let choice = (1..=count)
        .map(|number| format!("(if (i32.eq (local.get $which) (i32.const {number})) (then (call $shape-{number})))"));
    let choice = format!(
        "(func $choose (param $tick i32) (local $which i32)
            (local.set $which (i32.add (i32.rem_u (i32.sub (local.get $tick) (i32.const 1)) (i32.const {count})) (i32.const 1)))
            {})",
        choice.collect::<String>()
    );
    let toy = Toy {
        tick: "(call $choose (i32.wrap_i64 (local.get $number)))",
        items: format!("{ITEMS} {items} {} {choice}", functions.collect::<String>()),
        ..Toy::default()
    };
    let module = sandbox().upload(&toy.wasm()).expect("a module");
    let mut play = Play::begin(&module);
    let limit = play.fold.call_budget() * 2;
    let clock = CpuClock::of_this_thread();
    let mut least = vec![Duration::MAX; count];
    for _ in 0..TRIES {
        for (least, shape) in least.iter_mut().zip(shapes) {
            let begun = clock.now().expect("this thread runs");
            assert_eq!(play.run(Input::Tick), Outcome::Skipped(SkipCause::Runaway), "{items} {shape}");
            let used = clock.now().expect("this thread runs") - begun;
            play.rebuild(None);
            *least = used.saturating_sub(limit).min(*least);
        }
        if least.iter().all(|least| *least < GRACE) {
            break;
        }
    }
    least
}

#[test]
fn every_shape_stops_within_ten_milliseconds_of_its_limit() {
    let mut found = Vec::new();
    for content in CONTENTS {
        found.extend(overruns("", &loops(content)));
    }
    for (items, call) in CALLS {
        found.extend(overruns(items, &[call.to_string()]));
    }
    found.sort_unstable();
    let (median, most) = (found[found.len() / 2], found[found.len() - 1]);
    println!("{} shapes; beyond the limit: {median:?} at the median, {most:?} at most", found.len());
    assert!(found.len() > 450, "{}", found.len());
    assert!(most < GRACE, "{:?}", &found[found.len() - 9..]);
}

/// Calls that end about where the limit is, in slots that were used by stopped ones: each is whole or skipped, none
/// is stopped for the one before it, and every log replays. `RINGSIDE_CALLS_NEAR_LIMIT` says how many calls; a million
/// take an hour.
#[test]
fn calls_near_the_limit_on_several_threads() {
    let sandbox = small_sandbox(4);
    let module = sandbox.upload(&Toy::default().wasm()).expect("a module");
    // About eight calls a round.
    let rounds = calls_near_the_limit(1_000) / THREADS / 8;
    let (stopped, whole) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|seed| {
                scope.spawn({
                    let module = &module;
                    move || near_the_limit(module, seed, rounds)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    });
    println!("{stopped} stopped, {whole} whole");
    assert!(stopped > 10 && whole > 10, "{stopped} {whole}");
}

const THREADS: u64 = 3;

fn calls_near_the_limit(default: u64) -> u64 {
    std::env::var("RINGSIDE_CALLS_NEAR_LIMIT").map_or(default, |text| text.parse().expect("a number"))
}

fn near_the_limit(module: &ringside_sandbox::Module, seed: u64, rounds: u64) -> (u32, u32) {
    let mut mutator = Mutator::new(seed);
    let (mut stopped, mut whole) = (0, 0);
    // So many turns of the loop take about the limit; adjusted as it goes.
    let mut turns = 4_000_000_u32;
    for _ in 0..rounds {
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
