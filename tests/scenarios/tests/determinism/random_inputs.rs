//! Whatever comes in, sense or not, in whatever order: both builds do the same, and the log gives it again.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use ringside_core::limits;
use ringside_sandbox::{Fold, FoldOptions, Role};

use crate::leader::{Act, Leader};
use crate::recordings::{fold_all, rest_from};
use crate::samples::{self, Sample};

/// What happens next.
#[derive(Debug, Clone)]
enum Event {
    Act(Act),
    /// What the game's own players do.
    Script,
    Step,
    /// Time in a game without ticks, µs.
    Wait(u64),
    Capture,
}

fn acts() -> impl Strategy<Value = Act> {
    let slot = || 0..10_u16;
    let bytes = || prop::collection::vec(prop_oneof![any::<u8>(), 0..4_u8], 0..24);
    prop_oneof![
        3 => slot().prop_map(Act::Join),
        1 => slot().prop_map(Act::Leave),
        5 => (slot(), bytes()).prop_map(|(slot, bytes)| Act::Message(slot, bytes)),
        3 => (slot(), bytes()).prop_map(|(slot, bytes)| Act::Datagram(slot, bytes)),
        2 => slot().prop_map(Act::Acknowledge),
    ]
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        10 => acts().prop_map(Event::Act),
        4 => Just(Event::Script),
        6 => Just(Event::Step),
        1 => (0..400_000_000_u64).prop_map(Event::Wait),
        1 => Just(Event::Capture),
    ];
    prop::collection::vec(event, 0..120)
}

fn run(sample: &Sample, events: &[Event]) {
    let mut leader = Leader::begin(sample);
    let mut script = (sample.script)(events.len() as u64);
    let mut asked = 0;
    for event in events {
        if leader.is_over() {
            break;
        }
        let acts = match event {
            Event::Act(act) => vec![act.clone()],
            Event::Script => {
                asked += 1;
                script.acts(asked - 1, 50, &leader)
            }
            Event::Step => {
                sample.step(&mut leader);
                Vec::new()
            }
            Event::Wait(time_us) => {
                if sample.pause_us > 0 {
                    leader.wait(*time_us);
                }
                Vec::new()
            }
            Event::Capture => {
                leader.capture();
                Vec::new()
            }
        };
        for act in acts {
            if !leader.is_over() && leader.allows(&act) {
                leader.act(act);
            }
        }
    }
    let session = leader.finish();
    let options = FoldOptions { role: Role::Replay, guest_memory_bytes: limits::GUEST_MEMORY_BYTES };
    let mut fold = Fold::new(&sample.module, options).expect("a fold");
    assert_eq!(fold_all(&mut fold, &session.log), session.last());
    for state in &session.states {
        let rest = session.after(state.position());
        assert_eq!(rest_from(&sample.module, state, Role::Replay, rest), session.last(), "from {}", state.position());
    }
}

fn random_inputs(sample: &Sample) {
    let mut runner = TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
    let result = runner.run(&events(), |events| {
        run(sample, &events);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{}: {failure}", sample.name);
    }
}

#[test]
fn to_pong() {
    random_inputs(&samples::pong());
}

#[test]
fn to_arena() {
    random_inputs(&samples::arena());
}

#[test]
fn to_arena_at_sixty_ticks() {
    random_inputs(&samples::arena60());
}

#[test]
fn to_chess() {
    random_inputs(&samples::chess());
}

#[test]
fn to_echo() {
    random_inputs(&samples::echo());
}

/// Lengths with more digits than they need: a reader that asks how wide `usize` is takes them natively and not as
/// WebAssembly.
#[test]
fn lengths_that_only_some_platforms_would_read() {
    let sample = samples::echo();
    let message = |digits: &[u8]| Event::Act(Act::Message(0, digits.to_vec()));
    let mut events = vec![Event::Act(Act::Join(0))];
    for digits in [&[0x81, 0, 7][..], &[0x80, 0x80, 0x80, 0x80, 0x80, 0], &[0xff, 0xff, 0xff, 0xff, 0x1f], &[0xff; 12]]
    {
        events.push(message(digits));
    }
    run(&sample, &events);
}
