//! What entries do besides calling the guest: numbers, slots, timers, quotas, endings.

use bytes::Bytes;
use ringside_core::ids::Slot;
use ringside_core::limits;
use ringside_core::log::{Input, LeaveReason, Outcome, Record, SkipCause};
use ringside_core::output::{LogLevel, Output};
use ringside_sandbox::{Ending, Fold, FoldError};

use crate::play::{Play, REPLAY, replayed, start, toy};

fn refused(play: &mut Play, input: &Input) -> FoldError {
    let before = play.hashes();
    let error = play.fold.apply(play.time_us, input, &mut play.outputs).expect_err("it cannot follow");
    assert_eq!(play.hashes(), before, "nothing was done");
    error
}

fn words(play: &mut Play, input: &Input) -> String {
    refused(play, input).to_string()
}

#[test]
fn messages_are_numbered_without_gaps() {
    let mut play = Play::with_players(2);
    let message = |number| Input::Message { slot: Slot(0), number, body: Bytes::from_static(b"ehi") };
    assert!(words(&mut play, &message(0)).contains("out of order"));
    assert!(words(&mut play, &message(2)).contains("out of order"));
    play.run(message(1));
    assert!(words(&mut play, &message(1)).contains("out of order"));
    play.run(message(2));
    assert_eq!(play.fold.slot(Slot(0)).expect("joined").last_input, 2);
    assert_eq!(play.fold.slot(Slot(1)).expect("joined").last_input, 0);
    let numbers: Vec<u64> = play.fold.slot(Slot(0)).expect("joined").outputs.after(0).map(|(n, _)| n).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5], "two of its own join, one broadcast, two echoes");
}

#[test]
fn what_is_too_large_for_a_guest_is_refused() {
    let mut play = Play::with_players(1);
    let big = Bytes::from(vec![b'.'; limits::GUEST_VALUE_BYTES + 1]);
    let message = Input::Message { slot: Slot(0), number: 1, body: big.clone() };
    assert!(words(&mut play, &message).contains("large"));
    let datagram = Input::Datagram { slot: Slot(0), body: big.slice(..limits::DATAGRAM_BYTES + 1) };
    assert!(words(&mut play, &datagram).contains("large"));
    let signal = Input::Signal { source: "toy/a".into(), body: big.clone() };
    assert!(words(&mut play, &signal).contains("large"));
    let mut unstarted = Play::unstarted(toy());
    assert!(words(&mut unstarted, &start(toy(), &big)).contains("large"));
    let fits = Input::Message { slot: Slot(0), number: 1, body: big.slice(1..) };
    assert_eq!(play.run(fits), Outcome::Applied);
}

#[test]
fn slots_are_freed_and_reused_without_a_trace_of_the_one_before() {
    let mut play = Play::with_players(3);
    play.does(1, 'v', b"secret");
    play.does(1, 'e', b"secret");
    assert_eq!(play.fold.free_slot(), Some(Slot(3)));
    play.leave(1);
    assert_eq!(play.fold.free_slot(), Some(Slot(1)));
    assert!(words(&mut play, &Input::Leave { slot: Slot(1), reason: LeaveReason::Left }).contains("nobody"));
    assert!(words(&mut play, &Input::Datagram { slot: Slot(1), body: Bytes::new() }).contains("nobody"));
    play.join(1, "carol");
    let carol = play.fold.slot(Slot(1)).expect("joined");
    assert_eq!((carol.last_input, carol.outputs.last(), carol.view()), (0, 2, Some(&b"carol"[..])));
    assert_eq!(carol.joined, play.fold.position());
    let taken = Input::Join { slot: Slot(1), player: crate::play::player("dan") };
    assert!(words(&mut play, &taken).contains("taken"));
    let beyond = Input::Join { slot: Slot(8), player: crate::play::player("dan") };
    assert!(words(&mut play, &beyond).contains("beyond"));
    for slot in 3..8 {
        play.join(slot, "more");
    }
    assert_eq!(play.fold.free_slot(), None);
}

#[test]
fn joiners_hear_their_own_join_and_leavers_not_their_leave() {
    let mut play = Play::with_players(1);
    play.join(1, "ben");
    let to: Vec<u16> = play
        .outputs
        .iter()
        .filter_map(|output| match output {
            Output::Send { slot, .. } => Some(slot.0),
            _ => None,
        })
        .collect();
    assert_eq!(to, [1, 0, 1]);
    play.leave(0);
    assert!(matches!(play.outputs.as_slice(), [Output::Send { slot: Slot(1), .. }]));
}

#[test]
fn acknowledgements_trim_the_outbox() {
    let mut play = Play::with_players(1);
    for _ in 0..5 {
        play.does(0, 'e', b"abc");
    }
    let acknowledge = |up_to| Input::Acknowledge { slot: Slot(0), up_to };
    assert!(words(&mut play, &acknowledge(8)).contains("never sent"));
    play.run(acknowledge(4));
    let outputs = &play.fold.slot(Slot(0)).expect("joined").outputs;
    assert_eq!((outputs.first(), outputs.last(), outputs.bytes()), (5, 7, 9));
    play.run(acknowledge(2));
    assert_eq!(play.fold.slot(Slot(0)).expect("joined").outputs.first(), 5, "old news is no error");
    play.run(acknowledge(7));
    assert!(play.fold.slot(Slot(0)).expect("joined").outputs.is_empty());
    assert_eq!(play.hashes(), replayed(toy(), &play.log));
}

#[test]
fn a_player_who_acknowledges_nothing_is_too_slow_once_and_gets_no_later_message() {
    for size in [1, limits::UNACKNOWLEDGED_BYTES / 20] {
        let mut play = Play::with_players(2);
        let mut slow = 0;
        let mut after = 0;
        for _ in 0..limits::UNACKNOWLEDGED_MESSAGES + 10 {
            for output in play.does(0, 'e', &vec![b'.'; size]) {
                match output {
                    Output::TooSlow { slot: Slot(0) } => slow += 1,
                    Output::Send { .. } => after += slow,
                    other => panic!("{other:?}"),
                }
            }
            if slow > 0 && size > 1 {
                break;
            }
        }
        assert_eq!((slow, after), (1, 0));
        // A message that would fit does not overtake the lost one; the other player goes on.
        assert!(play.does(0, 'e', b"").is_empty());
        assert!(matches!(play.does(0, 'b', b"x"), [Output::Send { slot: Slot(1), .. }]));
        assert_eq!(play.hashes(), replayed(toy(), &play.log));
        play.leave(0);
        play.join(0, "again");
        assert_eq!(play.does(0, 'e', b"x").len(), 1);
    }
}

#[test]
fn timers_fire_in_order_once_and_when_due() {
    let mut play = Play::with_players(1);
    let mut arm = |delay: u64| {
        play.does(0, 't', &delay.to_le_bytes());
        play.told()
    };
    assert_eq!([arm(3_000), arm(1_000), arm(2_000), arm(0), arm(u64::MAX)], [1, 2, 3, 4, 5]);
    assert_eq!(play.fold.next_timer(), Some((2, limits::TIMER_DELAY_US)));
    assert!(words(&mut play, &Input::Timer { id: 2 }).contains("not due"));
    play.does(0, 'c', &3_u64.to_le_bytes());
    play.does(0, 'c', &99_u64.to_le_bytes());
    play.time_us = 3_000;
    assert!(words(&mut play, &Input::Timer { id: 3 }).contains("not due"));
    let mut fired = Vec::new();
    while let Some((id, _)) = play.fold.next_timer().filter(|(_, due)| *due <= 3_000) {
        assert_eq!(play.run(Input::Timer { id }), Outcome::Applied);
        assert_eq!(play.outputs, [Output::Event { body: Bytes::copy_from_slice(&id.to_le_bytes()) }]);
        assert!(words(&mut play, &Input::Timer { id }).contains("not due"));
        fired.push(id);
    }
    assert_eq!(fired, [2, 4, 1]);
    assert_eq!(play.fold.next_timer(), Some((5, u64::MAX)));
    play.time_us = 2_999;
    assert!(words(&mut play, &Input::Tick).contains("decrease"));
}

#[test]
fn timers_end_at_the_limit() {
    let mut play = Play::with_players(1);
    for _ in 0..limits::TIMERS {
        play.does(0, 't', &9_u64.to_le_bytes());
        let up_to = play.fold.slot(Slot(0)).expect("joined").outputs.last();
        play.run(Input::Acknowledge { slot: Slot(0), up_to });
    }
    play.fails(0, 't', &9_u64.to_le_bytes(), SkipCause::OutputQuota);
    play.rebuild(None);
    play.does(0, 'c', &7_u64.to_le_bytes());
    play.does(0, 't', &9_u64.to_le_bytes());
    assert_eq!(play.told(), limits::TIMERS as u64 + 1);
}

#[test]
fn log_lines_are_cut_and_counted() {
    let mut play = Play::with_players(1);
    let long = "ä".repeat(limits::LOG_LINE_BYTES);
    play.does(0, 'l', &[b"\x01.", long.as_bytes()].concat());
    let Output::Log { level: LogLevel::Info, line } = &play.outputs[0] else { panic!("{:?}", play.outputs) };
    assert_eq!(line.len(), limits::LOG_LINE_BYTES - 1, "cut between characters");
    assert!(long.starts_with(&line[1..]));

    let toy = crate::toy::Toy {
        tick: "(local.set $n (i32.const 100))
               (loop $l
                 (call $log (i32.const 2) (i32.const 600) (i32.const 2))
                 (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))",
        ..Default::default()
    };
    let module = crate::play::sandbox().upload(&toy.wasm()).expect("a module");
    let mut play = Play::begin(&module);
    for _ in 0..2 {
        assert_eq!(play.run(Input::Tick), Outcome::Applied);
        assert_eq!(play.outputs.len(), limits::LOG_LINES);
    }
}

#[test]
fn values_reach_everybody_they_are_for() {
    let mut play = Play::with_players(3);
    play.does(1, 'V', b"all");
    assert_eq!(play.outputs.len(), 3);
    play.does(1, 'v', b"one");
    assert_eq!(play.fold.view(Slot(0)), Some(&b"all"[..]));
    assert_eq!(play.fold.view(Slot(1)), Some(&b"one"[..]));
    assert_eq!(play.fold.view(Slot(7)), None);
    play.does(1, 'v', b"");
    assert_eq!(play.fold.view(Slot(1)), Some(&b""[..]));
    play.does(0, 'd', b"dg");
    assert_eq!(play.outputs, [Output::Datagram { slot: Slot(0), body: Bytes::from_static(b"dg") }]);
    play.does(0, 's', b"row");
    assert_eq!((&play.outputs[..], &play.fold.stats()[..]), (&[Output::Stats][..], &b"row"[..]));
    play.does(0, 'k', b"\x02bye");
    assert_eq!(play.outputs, [Output::Kick { slot: Slot(2), reason: "bye".into() }]);
    play.does(0, 'k', b"\x07bye");
    assert_eq!(play.outputs, []);
    play.does(0, 'g', b"hi");
    assert_eq!(play.outputs, [Output::Signal { session: "toy".into(), body: Bytes::from_static(b"hi") }]);
    play.run(Input::Signal { source: "toy/other".into(), body: Bytes::from_static(b"Ein") });
    let events: Vec<_> =
        ["toy/other", "in"].map(|text| Output::Event { body: Bytes::from_static(text.as_bytes()) }).into();
    assert_eq!(play.outputs, events);
    play.time_us = 123;
    play.does(0, 'n', &[]);
    assert_eq!(play.told(), 123);
    assert_eq!(play.hashes(), replayed(toy(), &play.log));
}

#[test]
fn the_start_function_runs_once_with_start_and_not_on_restore() {
    let mut play = Play::with_players(1);
    play.does(0, 'G', &1_u32.to_le_bytes());
    assert_eq!(play.told(), 5 + 1 + 100 + 1);
    play.rebuild(None);
    let state = std::sync::Arc::new(play.fold.capture().expect("a state"));
    play.rebuild(Some(state));
    play.does(0, 'G', &0_u32.to_le_bytes());
    assert_eq!(play.told(), 107);
    assert!(words(&mut play, &start(toy(), b"")).contains("first"));
    let mut unstarted = Play::unstarted(toy());
    assert!(words(&mut unstarted, &Input::Tick).contains("first"));
}

#[test]
fn a_finished_session_takes_nothing_more_and_calls_nobody() {
    let mut play = Play::with_players(2);
    play.does(0, 'q', &[1]);
    play.does(0, 'f', b"won");
    assert_eq!(play.outputs, [Output::Finish { outcome: Bytes::from_static(b"won") }]);
    assert_eq!(play.fold.ending(), Some(&Ending::Finished(Bytes::from_static(b"won"))));
    for input in [
        Input::Tick,
        play.next_message(0, 'e', b"x"),
        Input::Datagram { slot: Slot(0), body: Bytes::new() },
        Input::Signal { source: "toy/a".into(), body: Bytes::new() },
        Input::End { reason: "operator".into() },
        Input::Join { slot: Slot(5), player: crate::play::player("late") },
    ] {
        assert_eq!(refused(&mut play, &input), FoldError::Finished);
    }
    let up_to = play.fold.slot(Slot(1)).expect("joined").outputs.last();
    assert_eq!(play.run(Input::Acknowledge { slot: Slot(1), up_to }), Outcome::Applied);
    assert_eq!(play.leave(1), Outcome::Applied, "`leave` of this game would trap, and is not called");
    assert_eq!(play.outputs, []);
    assert_eq!(play.fold.slots().count(), 1);
    assert_eq!(play.hashes(), replayed(toy(), &play.log));

    let mut play = Play::with_players(1);
    play.run(Input::End { reason: "third trap".into() });
    assert_eq!(play.fold.ending(), Some(&Ending::Ended("third trap".into())));
    assert_eq!(refused(&mut play, &Input::Tick), FoldError::Finished);
}

#[test]
fn a_refused_start_never_was() {
    let mut play = Play::unstarted(toy());
    assert_eq!(play.run(start(toy(), b"x")), Outcome::Applied);
    assert_eq!(play.outputs, [Output::StartRefused { reason: "no thanks".into() }]);
    assert_eq!(play.fold.ending(), Some(&Ending::Refused("no thanks".into())));
    assert_eq!(refused(&mut play, &Input::Tick), FoldError::Finished);
}

#[test]
fn records_must_follow() {
    let play = Play::with_players(2);
    let mut fold = Fold::new(toy(), REPLAY).expect("a fold");
    let mut outputs = Vec::new();
    let found = |fold: &mut Fold, record: &Record| fold.replay(record, &mut Vec::new());
    assert_eq!(found(&mut fold, &play.log[1]), Err(FoldError::Position { found: 2, expected: 1 }));
    fold.replay(&play.log[0], &mut outputs).expect("the first");
    assert_eq!(found(&mut fold, &play.log[0]), Err(FoldError::Position { found: 1, expected: 2 }));
    assert_eq!(found(&mut fold, &play.log[2]), Err(FoldError::Position { found: 3, expected: 2 }));
    let mut lie = play.log[1].clone();
    lie.input = Input::Datagram { slot: Slot(0), body: Bytes::from_static(b"T") };
    assert!(matches!(found(&mut fold, &lie), Err(FoldError::Invalid(_))));
    fold.replay(&play.log[1], &mut outputs).expect("the second");
    let lie = Record { position: 3, input: Input::Datagram { slot: Slot(0), body: Bytes::from_static(b"T") }, ..lie };
    assert!(matches!(found(&mut fold, &lie), Err(FoldError::Diverged { position: 3, cause: SkipCause::Trap, .. })));
    assert!(fold.is_poisoned());
}
