//! Every way to break the contract ends one call, with the right cause, and the session goes on without it.

use std::sync::Arc;

use ringside_core::ids::Slot;
use ringside_core::limits;
use ringside_core::log::{Input, Outcome, SkipCause};
use ringside_core::output::Output;
use ringside_sandbox::FoldError;

use crate::play::{Play, replayed, sandbox, toy};
use crate::toy::Toy;

const OUTSIDE: u32 = 0x7fff_0000;

fn raw(which: u8, arguments: [u32; 4]) -> Vec<u8> {
    [vec![which], arguments.iter().flat_map(|word| word.to_le_bytes()).collect()].concat()
}

/// Each fault at a session with a past: refused, poisoned, rebuilt from the start and from a checkpoint to the state
/// that a replay of the log has.
#[track_caller]
fn skips(letter: char, arguments: &[u8], cause: SkipCause, words: &str) {
    let mut play = Play::with_players(3);
    play.does(1, 'G', &7_u32.to_le_bytes());
    play.does(2, 't', &500_u64.to_le_bytes());
    play.run(Input::Tick);
    let checkpoint = Arc::new(play.fold.capture().expect("a state"));
    play.does(0, 'r', &[]);
    let said = play.fails(1, letter, arguments, cause);
    assert!(said.contains(words), "`{words}` is not in: {said}");

    assert!(play.fold.is_poisoned());
    let position = play.fold.position();
    let next = play.next_message(0, 'e', b"x");
    assert_eq!(play.fold.apply(0, &next, &mut Vec::new()), Err(FoldError::Poisoned));
    assert_eq!(play.fold.apply(0, &Input::Tick, &mut Vec::new()), Err(FoldError::Poisoned));
    assert!(play.fold.capture().is_err());
    assert_eq!(play.fold.position(), position);

    let expected = replayed(toy(), &play.log);
    for from in [None, Some(checkpoint)] {
        play.rebuild(from);
        assert!(!play.fold.is_poisoned());
        assert_eq!(play.hashes(), expected);
        assert_eq!(play.fold.position(), position);
        assert_eq!(play.fold.slot(Slot(1)).expect("joined").last_input, 2, "the message used up its number");
    }
    play.does(1, 'e', b"on we go");
    play.run(Input::Tick);
    assert_eq!(play.hashes(), replayed(toy(), &play.log));
}

#[test]
fn traps() {
    skips('T', &[], SkipCause::Trap, "unreachable");
    skips('D', &[], SkipCause::Trap, "divide by zero");
    skips('I', &[], SkipCause::Trap, "indirect call type mismatch");
    skips('o', &[], SkipCause::Trap, "out of bounds");
    skips('R', &[], SkipCause::Trap, "stack");
}

#[test]
fn floods() {
    skips('F', &[], SkipCause::OutputQuota, "puts out more than");
    skips('O', &(limits::CALL_OUTPUTS as u32 + 1).to_le_bytes(), SkipCause::OutputQuota, "outputs");
    skips('p', &raw(3, [0, 1 << 16, limits::GUEST_VALUE_BYTES as u32 + 1, 0]), SkipCause::OutputQuota, "set-view");
    skips('p', &raw(0, [0, 1 << 16, limits::GUEST_VALUE_BYTES as u32 + 1, 0]), SkipCause::OutputQuota, "send");
    skips('p', &raw(2, [0, 1 << 16, limits::DATAGRAM_BYTES as u32 + 1, 0]), SkipCause::OutputQuota, "send-datagram");
    skips('p', &raw(5, [1 << 16, limits::STATS_BYTES as u32 + 1, 0, 0]), SkipCause::OutputQuota, "set-stats");
    skips('p', &raw(9, [0, 1024, limits::LOG_LINE_BYTES as u32 + 1, 0]), SkipCause::OutputQuota, "kick");
    skips('p', &raw(8, [1024, 129, 600, 2]), SkipCause::OutputQuota, "signal");
}

/// A broadcast and a view for all count once a player: what they cost is bounded like everything else.
#[test]
fn fan_out_counts_for_each_player() {
    let toy = Toy {
        tick: "(local.set $n (i32.const @COUNT@))
               (loop $l
                 (call $set-view-all (i32.const 131072) (i32.const @BYTES@))
                 (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))",
        ..Toy::default()
    };
    let ticks = |count: u32, bytes: u32| {
        let tick = toy.tick.replace("@COUNT@", &count.to_string()).replace("@BYTES@", &bytes.to_string());
        let toy = Toy { tick: Box::leak(tick.into_boxed_str()), ..Toy::default() };
        let module = sandbox().upload(&toy.wasm()).expect("a module");
        let mut play = Play::begin(&module);
        for slot in 0..8 {
            play.join(slot, "player");
        }
        play.run(Input::Tick)
    };
    let most = limits::CALL_OUTPUTS as u32 / 8;
    // The tick's own view for all is one more.
    assert_eq!(ticks(most - 1, 8), Outcome::Applied);
    assert_eq!(ticks(most, 8), Outcome::Skipped(SkipCause::OutputQuota));
    let most = (limits::CALL_FAN_OUT_BYTES / 8) as u32 / (60 << 10);
    assert_eq!(ticks(most, 60 << 10), Outcome::Applied);
    assert_eq!(ticks(most + 1, 60 << 10), Outcome::Skipped(SkipCause::OutputQuota));
}

/// (number, function, arguments with a bad pointer, with a length that leads outside, that wraps around)
#[test]
fn pointers_outside_the_memory() {
    let last = (4 << 16) - 1;
    let bad = |at: u32, length: u32| -> Vec<(u8, [u32; 4])> {
        vec![
            (0, [1, at, length, 0]),
            (1, [at, length, 0, 0]),
            (2, [1, at, length, 0]),
            (3, [1, at, length, 0]),
            (4, [at, length, 0, 0]),
            (5, [at, length, 0, 0]),
            (6, [at, length, 0, 0]),
            (7, [1, at, length, 0]),
            (8, [at, length, 600, 2]),
            (8, [600, 2, at, length]),
            (9, [1, at, length, 0]),
            (10, [at, length, 0, 0]),
        ]
    };
    for (at, length) in [(OUTSIDE, 4), (u32::MAX, 100), (last, 2), (last + 2, 0)] {
        for (which, arguments) in bad(at, length) {
            let mut play = Play::with_players(2);
            let said = play.fails(1, 'p', &raw(which, arguments), SkipCause::Contract);
            assert!(said.contains("outside the memory"), "{which}: {said}");
        }
    }
    for (which, arguments) in bad(last, 1).into_iter().chain(bad(last + 1, 0)) {
        let mut play = Play::with_players(2);
        play.does(1, 'p', &raw(which, arguments));
    }
    skips('p', &raw(0, [1, OUTSIDE, 4, 0]), SkipCause::Contract, "send");
}

#[test]
fn lengths_that_no_memory_has() {
    for (which, at_word) in
        [(0, 1), (1, 0), (2, 1), (3, 1), (4, 0), (5, 0), (6, 0), (7, 1), (8, 0), (8, 2), (9, 1), (10, 0)]
    {
        let mut arguments = [1, 2, 1, 2];
        arguments[at_word] = 600;
        arguments[at_word + 1] = u32::MAX;
        let mut play = Play::with_players(2);
        play.fails(1, 'p', &raw(which, arguments), SkipCause::OutputQuota);
    }
}

#[test]
fn text_that_is_not_utf_8_and_numbers_that_mean_nothing() {
    let mut play = Play::with_players(2);
    play.does(1, 'm', &[&700_u32.to_le_bytes()[..], &[0xff]].concat());
    let state = Arc::new(play.fold.capture().expect("a state"));
    for (which, arguments) in [(7, [1, 700, 1, 0]), (8, [700, 1, 600, 2]), (9, [0, 700, 1, 0])] {
        let said = play.fails(1, 'p', &raw(which, arguments), SkipCause::Contract);
        assert!(said.contains("UTF-8"), "{said}");
        play.rebuild(Some(Arc::clone(&state)));
    }
    for which in [0, 2, 3, 9] {
        for slot in [limits::SLOTS as u32, u32::MAX, 1 << 16] {
            let said = play.fails(1, 'p', &raw(which, [slot, 600, 2, 0]), SkipCause::Contract);
            assert!(said.contains("no slot"), "{said}");
            play.rebuild(Some(Arc::clone(&state)));
        }
        let before = play.fold.slots().count();
        play.does(1, 'p', &raw(which, [200, 600, 2, 0]));
        assert!(play.outputs.is_empty(), "nobody is there");
        assert_eq!(play.fold.slots().count(), before);
    }
    let said = play.fails(1, 'p', &raw(7, [4, 600, 2, 0]), SkipCause::Contract);
    assert!(said.contains("level"), "{said}");
}

#[test]
fn an_allocator_that_lies() {
    let upload = |realloc| sandbox().upload(&Toy { realloc, ..Toy::default() }.wasm()).expect("a module");
    for (realloc, cause) in [
        ("(return (i32.const -1))", SkipCause::Contract),
        ("(return (i32.const 0x40000))", SkipCause::Contract),
        ("(return (i32.sub (i32.const 0x40001) (local.get $size)))", SkipCause::Contract),
        ("unreachable", SkipCause::Trap),
        ("(loop $l (br $l))", SkipCause::Runaway),
        ("(call $send (i32.const 999) (i32.const 0) (i32.const 0))", SkipCause::Contract),
    ] {
        let module = upload(realloc);
        let mut play = Play::begin(&module);
        assert_eq!(play.join(0, "ann"), Outcome::Skipped(cause), "{realloc}");
        play.rebuild(None);
        assert!(play.fold.slot(Slot(0)).is_none());
    }
    // Within the memory it may say what it likes: it only hurts itself.
    let module = upload("(return (i32.sub (i32.const 0x40000) (local.get $size)))");
    assert_eq!(Play::begin(&module).join(0, "ann"), Outcome::Applied);
}

#[test]
fn memory_ends_at_the_limit_with_minus_one() {
    let mut play = Play::with_players(1);
    play.does(0, 'M', &[]);
    assert_eq!(play.told(), 60, "4 pages of 64");
    assert_eq!(play.fold.memory_bytes(), 4 << 20);
    play.does(0, 'x', &1_u32.to_le_bytes());
    assert_eq!(play.told() as i64, -1);
    play.does(0, 'x', &u32::MAX.to_le_bytes());
    assert_eq!(play.told() as i64, -1);
    play.does(0, 'x', &0_u32.to_le_bytes());
    assert_eq!(play.told() as i64, 64);
    assert_eq!(play.hashes(), replayed(toy(), &play.log));
}

#[test]
fn memory_ends_at_its_own_maximum_with_minus_one() {
    let module = sandbox().upload(&Toy { most_pages: "6", ..Toy::default() }.wasm()).expect("a module");
    let mut play = Play::begin(&module);
    play.join(0, "ann");
    play.does(0, 'x', &2_u32.to_le_bytes());
    assert_eq!(play.told(), 4);
    play.does(0, 'x', &1_u32.to_le_bytes());
    assert_eq!(play.told() as i64, -1);
}

#[test]
fn skipped_joins_leaves_starts_ticks_and_timers() {
    let mut play = Play::with_players(1);
    assert_eq!(play.join(1, "Trap"), Outcome::Skipped(SkipCause::Trap));
    play.rebuild(None);
    assert!(play.fold.slot(Slot(1)).is_none());
    assert_eq!(play.join(1, "xavier"), Outcome::Applied);
    assert!(matches!(
        play.outputs.as_slice(),
        [Output::JoinRefused { slot: Slot(1), .. }, Output::Send { slot: Slot(0), .. }]
    ));
    assert!(play.fold.slot(Slot(1)).is_none());
    play.join(1, "ben");

    play.does(0, 'q', &[1]);
    assert_eq!(play.leave(1), Outcome::Skipped(SkipCause::Trap));
    play.rebuild(None);
    assert!(play.fold.slot(Slot(1)).is_none());

    play.does(0, 'q', &[2]);
    assert_eq!(play.run(Input::Tick), Outcome::Skipped(SkipCause::Trap));
    play.rebuild(None);
    assert_eq!(play.fold.tick(), 1, "a skipped tick counts");

    play.does(0, 't', &0_u64.to_le_bytes());
    play.time_us += limits::TIMER_DELAY_US;
    let id = play.told();
    play.does(0, 'q', &[3]);
    assert_eq!(play.run(Input::Timer { id }), Outcome::Skipped(SkipCause::Trap));
    play.rebuild(None);
    assert_eq!(play.fold.next_timer(), None, "a skipped timer is consumed");
    assert_eq!(play.hashes(), replayed(toy(), &play.log));

    let mut play = Play::unstarted(toy());
    assert_eq!(play.run(crate::play::start(toy(), b"T")), Outcome::Skipped(SkipCause::Trap));
    play.rebuild(None);
    assert!(play.fold.ending().is_some());
    assert_eq!(play.hashes(), replayed(toy(), &play.log));
}

#[test]
fn what_a_poisoned_call_drew_and_armed_is_undone() {
    let module = sandbox()
        .upload(
            &Toy {
                tick: "(drop (call $random)) (drop (call $set-timer (i64.const 5)))
                       (if (i64.eq (local.get $number) (i64.const 2)) (then unreachable))",
                ..Toy::default()
            }
            .wasm(),
        )
        .expect("a module");
    let mut play = Play::begin(&module);
    play.join(0, "ann");
    assert_eq!(play.run(Input::Tick), Outcome::Applied);
    let checkpoint = Arc::new(play.fold.capture().expect("a state"));
    assert_eq!(play.run(Input::Tick), Outcome::Skipped(SkipCause::Trap));
    play.rebuild(Some(checkpoint));
    play.run(Input::Tick);
    play.does(0, 'r', &[]);
    let third = play.told();
    let mut generator = ringside_core::random::Generator::new([9; 32]);
    let expected = [generator.draw(), generator.draw(), generator.draw()];
    assert_eq!(third, expected[2], "the skipped tick's draw does not count");
    play.does(0, 't', &9_u64.to_le_bytes());
    assert_eq!(play.told(), 3, "nor does its timer");
    assert_eq!(play.hashes(), replayed(&module, &play.log));
}
