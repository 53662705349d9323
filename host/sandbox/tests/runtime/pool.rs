//! The pool: its end is an error that says so, its slots come back, and the kernel's mappings suffice.

use ringside_core::log::{Input, Outcome, SkipCause};
use ringside_sandbox::{Fold, FoldError, Sandbox, SandboxConfig};

use crate::play::{LEADER, Play, REPLAY, small_sandbox};
use crate::toy::Toy;

#[test]
fn exhaustion_is_an_error_and_slots_come_back() {
    let sandbox = small_sandbox(4);
    let module = sandbox.upload(&Toy::default().wasm()).expect("a module");
    for _ in 0..50 {
        let mut folds = Vec::new();
        let error = loop {
            match Fold::new(&module, LEADER) {
                Ok(fold) => folds.push(fold),
                Err(error) => break error,
            }
        };
        assert!(folds.len() >= 4, "{}", folds.len());
        assert!(folds.len() <= 16, "{}", folds.len());
        let FoldError::Instance(words) = error else { panic!("{error}") };
        assert!(words.contains("limit"), "{words}");
        Fold::new(&module, REPLAY).expect("replays have no pool");
    }
}

#[test]
fn a_full_house_can_be_rebuilt() {
    let sandbox = small_sandbox(4);
    let module = sandbox.upload(&Toy::default().wasm()).expect("a module");
    let mut plays: Vec<Play> = (0..4).map(|_| Play::begin(&module)).collect();
    for play in &mut plays {
        play.join(0, "ann");
        assert!(matches!(play.message(0, 'T', &[]), Outcome::Skipped(_)));
    }
    for play in &mut plays {
        play.rebuild(None);
        assert_eq!(play.run(Input::Tick), Outcome::Applied);
    }
}

fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps").map_or(0, |text| text.lines().count())
}

/// Mappings that a played session takes. The engine's figure for how many sessions there may be rests on it.
#[test]
fn mappings_of_a_session() {
    const SESSIONS: usize = 100;
    let sandbox = small_sandbox(SESSIONS as u32);
    let module = sandbox.upload(&Toy::default().wasm()).expect("a module");
    let play = || {
        let mut play = Play::begin(&module);
        play.join(0, "ann");
        play.does(0, 'x', &1_u32.to_le_bytes());
        play.run(Input::Tick);
        play.fails(0, 'L', &[0], SkipCause::Runaway);
        play.rebuild(None);
        play.does(0, 'm', &[&(4 * 65_536_u32).to_le_bytes()[..], &[3]].concat());
        play
    };
    drop(play());
    let before = mappings();
    let plays: Vec<Play> = (0..SESSIONS).map(|_| play()).collect();
    let each = (mappings() - before) as f64 / SESSIONS as f64;
    println!("{each:.2} mappings a session");
    assert_eq!(each.ceil() as u64, ringside_sandbox::MAPPINGS_PER_SESSION, "{each:.2}");
    drop(plays);
}

#[test]
fn the_default_fits_this_machine() {
    let sandbox = Sandbox::new(SandboxConfig::default()).expect("a sandbox");
    assert!((16..=8_000).contains(&sandbox.warm_sessions()));
    let module = sandbox.upload(&Toy::default().wasm()).expect("a module");
    Play::begin(&module);
}
