//! Recordings fold to what was recorded, however they were batched, cut off or interrupted.

use bytes::Bytes;
use ringside_core::ids::{Epoch, Incarnation, SessionId, StateHash};
use ringside_core::leadership::lineage::Lineage;
use ringside_core::log::{Input, Record};
use ringside_core::recording::{self, About, EndReason, Header, Item, Reader};
use ringside_protocol::fuzz::Mutator;
use ringside_sandbox::{Fold, ReplayError, Replayed, Replayer, read_header, replay_recording};

use crate::play::{Play, REPLAY, sandbox, toy};
use crate::toy::Toy;

fn header() -> Header {
    Header {
        session: SessionId {
            game: "toy".parse().expect("a game"),
            key: "a".parse().expect("a key"),
            incarnation: Incarnation(1),
        },
        module: toy().hash(),
        rewriter: toy().rewriter_version(),
        epoch: Epoch { number: 1, node: 1, node_generation: 1 },
        guest_memory_bytes: 4 << 20,
    }
}

/// A session with two skips.
fn played() -> Play {
    let mut play = Play::with_players(2);
    for round in 0..30_u64 {
        play.time_us = round * 50_000;
        play.run(Input::Tick);
        play.does((round % 2) as u16, 'r', &[]);
        if round % 13 == 5 {
            play.message(0, 'T', &[]);
            play.rebuild(None);
        }
    }
    play
}

/// What a fold has after each record.
fn hashes(log: &[Record]) -> Vec<(StateHash, StateHash)> {
    let mut fold = Fold::new(toy(), REPLAY).expect("a fold");
    log.iter().map(|record| crate::play::replay_into(&mut fold, std::slice::from_ref(record))).collect()
}

fn append(file: &mut Vec<u8>, item: &Item) {
    recording::append(file, item).expect("appended");
}

/// As [`going_on`], of a session that ended.
fn recorded(log: &[Record], batch: usize) -> Vec<u8> {
    let mut file = going_on(log, batch);
    append(&mut file, &Item::End { position: log.len() as u64, reason: EndReason::SessionEnded });
    file
}

/// The same log in batches of so many records, with a checkpoint after each third batch, without an end.
fn going_on(log: &[Record], batch: usize) -> Vec<u8> {
    let hashes = hashes(log);
    let mut file = Vec::new();
    recording::begin(&mut file);
    recording::append(&mut file, &Item::Header(header())).expect("appended");
    for (index, records) in log.chunks(batch).enumerate() {
        let last = records.last().expect("one").position;
        let (state, outputs) = hashes[last as usize - 1];
        recording::append(&mut file, &Item::Batch { records: records.to_vec(), outputs }).expect("appended");
        if index % 3 == 2 {
            recording::append(&mut file, &Item::Checkpoint { position: last, state, full: None }).expect("appended");
        }
    }
    file
}

#[test]
fn other_batches_same_session() {
    let mut play = played();
    let (state, _) = play.hashes();
    for batch in [1, 2, 7, 1000] {
        let report = replay_recording(toy(), &recorded(&play.log, batch)).expect("a replay");
        assert!(report.agrees(), "{report:?}");
        assert_eq!((report.last, report.records), (state, play.log.len() as u64));
        assert_eq!(report.time_us, play.time_us);
        assert_eq!(report.incomplete, None);
        assert_eq!(report.checkpoints.len(), play.log.len().div_ceil(batch) / 3);
    }
}

#[test]
fn cut_off_anywhere_it_replays_to_there() {
    let play = played();
    let file = recorded(&play.log, 5);
    let mut replayed_records = Vec::new();
    for length in (0..file.len()).step_by(23).chain([file.len()]) {
        match replay_recording(toy(), &file[..length]) {
            Ok(report) => {
                assert!(report.agrees());
                replayed_records.push(report.records);
            }
            Err(ReplayError::NoHeader | ReplayError::Recording(_)) => assert!(length < 200, "{length}"),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(replayed_records.is_sorted());
    assert_eq!(replayed_records.last(), Some(&(play.log.len() as u64)));
    let report = replay_recording(toy(), &file[..file.len() - 1]).expect("a replay");
    assert!(report.incomplete.expect("said").contains("cut off"));
}

#[test]
fn cut_off_between_two_frames_it_is_told_too_and_compared_to_there() {
    let play = played();
    let file = recorded(&play.log, 5);
    let mut frames = Reader::new(&file).expect("a recording");
    let mut ends = Vec::new();
    while frames.next_item().expect("a frame").is_some() {
        ends.push(frames.offset());
    }
    let whole = ends.pop();
    assert_eq!(whole, Some(file.len()));
    for length in ends {
        let report = replay_recording(toy(), &file[..length]).expect("a replay");
        let incomplete = report.incomplete.clone().expect("said");
        let said = format!("ends at position {} without an end marker: the tail may be lost", report.records);
        assert!(report.agrees() && incomplete.contains(&said), "{length}: {incomplete}");
    }
    // What is there is compared: damage to a record shows in the hashes, whatever is said of the end.
    let mut file = going_on(&play.log[..10], 5);
    let outputs = StateHash([1; 32]);
    append(&mut file, &Item::Batch { records: play.log[10..12].to_vec(), outputs });
    let report = replay_recording(toy(), &file).expect("a replay");
    assert!(!report.agrees() && report.incomplete.is_some());
}

#[test]
fn why_a_recording_ends_is_told() {
    let play = played();
    let ended = |position, reason| {
        let mut file = going_on(&play.log[..10], 5);
        append(&mut file, &Item::End { position, reason });
        // What follows an end is nobody's.
        append(&mut file, &Item::Gap { from: 1 });
        let mut replayer = Replayer::new(toy(), &file).expect("a replay");
        while replayer.step().expect("a step") != Replayed::End {}
        assert_eq!(replayer.step(), Ok(Replayed::End));
        replayer.finish().incomplete
    };
    assert_eq!(ended(10, EndReason::SessionEnded), None);
    let stopped = ended(10, EndReason::WorkerStopped).expect("said");
    assert!(stopped.contains("stopped at position 10"), "{stopped}");
    let lost = ended(12, EndReason::SessionEnded).expect("said");
    assert!(lost.contains("of position 12: the records after 10 are lost"), "{lost}");
}

#[test]
fn gaps_and_lies_are_told() {
    let play = played();
    let mut file = going_on(&play.log[..10], 5);
    recording::append(&mut file, &Item::Gap { from: 11 }).expect("appended");
    let report = replay_recording(toy(), &file).expect("a replay");
    assert!(report.incomplete.as_deref().expect("said").contains("from 11"));
    assert_eq!(report.records, 10);

    let mut file = going_on(&play.log[..10], 5);
    let outputs = StateHash([1; 32]);
    recording::append(&mut file, &Item::Batch { records: play.log[10..12].to_vec(), outputs }).expect("appended");
    recording::append(&mut file, &Item::Checkpoint { position: 12, state: outputs, full: None }).expect("appended");
    let report = replay_recording(toy(), &file).expect("a replay");
    assert!(!report.agrees());
    assert_eq!(report.outputs_differ, [12]);
    assert!(!report.checkpoints[0].agrees());

    let mut file = going_on(&play.log[..10], 5);
    recording::append(&mut file, &Item::Batch { records: play.log[11..].to_vec(), outputs }).expect("appended");
    assert!(matches!(replay_recording(toy(), &file), Err(ReplayError::Fold { position: 12, .. })));
}

#[test]
fn the_wrong_module_is_named() {
    let file = recorded(&played().log[..3], 5);
    let other = sandbox().upload(&Toy { tick: "nop nop nop", ..Toy::default() }.wasm()).expect("a module");
    let error = replay_recording(&other, &file).expect_err("another module");
    assert!(error.to_string().contains(&toy().hash().to_string()), "{error}");
    assert_eq!(read_header(&file), Ok(header()));
    let mut empty = Vec::new();
    recording::begin(&mut empty);
    assert_eq!(read_header(&empty), Err(ReplayError::NoHeader));
}

#[test]
fn steps_and_hostile_files() {
    let file = recorded(&played().log, 9);
    let mut replayer = Replayer::new(toy(), &file).expect("a replay");
    let mut checkpoints = 0;
    loop {
        match replayer.step().expect("a step") {
            Replayed::Batch => {}
            Replayed::Checkpoint(result) => {
                assert!(result.agrees());
                checkpoints += 1;
            }
            Replayed::End => break,
        }
    }
    assert_eq!(replayer.step(), Ok(Replayed::End));
    assert_eq!(replayer.finish().checkpoints.len(), checkpoints);

    let mut mutator = Mutator::new(5);
    for _ in 0..1000 {
        let bytes = mutator.mutate(std::slice::from_ref(&file));
        let _ = replay_recording(toy(), &bytes);
    }
}

/// One side of a divergence: a part of a log, from a state on, each record with the hash that its follower had.
fn part(log: &[Record], from: usize, outputs: &[StateHash]) -> Vec<u8> {
    let mut fold = Fold::new(toy(), REPLAY).expect("a fold");
    crate::play::replay_into(&mut fold, &log[..from]);
    let state = fold.capture().expect("a state");
    let full = |bytes: Vec<u8>| Some(Bytes::from(bytes));
    let (position, hash) = (state.position(), state.hash());
    let mut file = Vec::new();
    recording::begin(&mut file);
    append(&mut file, &Item::Header(header()));
    let (leader, follower) = (StateHash([1; 32]), StateHash([2; 32]));
    append(&mut file, &Item::About(About::Diverged { position: 60, leader, follower, is_leader: false }));
    append(&mut file, &Item::Checkpoint { position, state: hash, full: full(state.encode()) });
    for (record, outputs) in log[from..].iter().zip(outputs) {
        append(&mut file, &Item::Batch { records: vec![record.clone()], outputs: *outputs });
    }
    file
}

#[test]
fn a_part_that_was_kept_is_folded_from_its_state_and_the_first_entry_that_differs_is_found() {
    let log = played().log;
    let from = 20;
    let right: Vec<StateHash> = hashes(&log)[from..].iter().map(|(_, outputs)| *outputs).collect();
    let whole = replay_recording(toy(), &part(&log, from, &right)).expect("it folds");
    assert!(whole.agrees() && whole.about.is_some(), "{whole:?}");
    assert_eq!((whole.records, whole.checkpoints.len()), ((log.len() - from) as u64, 1));

    // From some entry on the follower had others, and at the end the state of an earlier position.
    let wrong = 7;
    let mut outputs = right.clone();
    outputs[wrong..].iter_mut().for_each(|hash| hash.0[0] ^= 1);
    let mut file = part(&log, from, &outputs);
    let mut fold = Fold::new(toy(), REPLAY).expect("a fold");
    crate::play::replay_into(&mut fold, &log[..from]);
    let (other, position) = (fold.capture().expect("a state"), log.len() as u64);
    let full = Some(Bytes::from(other.encode()));
    append(&mut file, &Item::Checkpoint { position, state: other.hash(), full });
    append(&mut file, &Item::End { position, reason: EndReason::Kept });
    let report = replay_recording(toy(), &file).expect("it folds");
    assert!(!report.agrees() && report.incomplete.is_some_and(|why| why.contains("a part of the log")));
    let first = report.first_difference.expect("one");
    let at = (from + wrong + 1) as u64;
    assert_eq!((first.from, first.to, &first.input), (at, at, &log[from + wrong].input));
    let (position, difference) = report.state_difference.expect("one");
    assert_eq!(position, log.len() as u64);
    assert!(!difference.is_none() && difference.host.contains(&"position"), "{difference:?}");
    assert!(other.difference(&other).is_none());

    // A state that is no state is refused by name.
    let mut garbage = Vec::new();
    recording::begin(&mut garbage);
    append(&mut garbage, &Item::Header(header()));
    let full = Some(Bytes::from_static(b"no state"));
    append(&mut garbage, &Item::Checkpoint { position: 5, state: other.hash(), full });
    assert!(matches!(replay_recording(toy(), &garbage), Err(ReplayError::State { position: 5, .. })));
}

/// What a later leader wrote: from a state of its own on, in batches of three.
fn led_later(log: &[Record], base: usize, lineage: &Lineage, reason: EndReason) -> Vec<u8> {
    let mut fold = Fold::new(toy(), REPLAY).expect("a fold");
    crate::play::replay_into(&mut fold, &log[..base]);
    let state = fold.capture().expect("a state");
    let (position, hash) = (state.position(), state.hash());
    let mut file = Vec::new();
    recording::begin(&mut file);
    append(&mut file, &Item::Header(Header { epoch: lineage.newest().expect("an epoch"), ..header() }));
    append(&mut file, &Item::GoesOn { lineage: lineage.clone() });
    append(&mut file, &Item::Checkpoint { position, state: hash, full: Some(Bytes::from(state.encode())) });
    for records in log[base..].chunks(3) {
        let (_, outputs) = crate::play::replay_into(&mut fold, records);
        append(&mut file, &Item::Batch { records: records.to_vec(), outputs });
    }
    append(&mut file, &Item::End { position: log.len() as u64, reason });
    file
}

#[test]
fn a_session_that_several_led_is_one_log() {
    let log = played().log;
    let (whole, last) = (log.len() as u64, hashes(&log).last().expect("one").0);
    let epoch = |number| Epoch { number, ..header().epoch };
    let mut lineage = Lineage::new(epoch(1));
    // The first led up to 40, and more that nobody else had; the second went on from a state before that.
    lineage.begin(epoch(2), 40);
    let first = {
        let mut play = played();
        play.log.truncate(40);
        let mut fold = Fold::new(toy(), REPLAY).expect("a fold");
        crate::play::replay_into(&mut fold, &play.log);
        let mut file = going_on(&play.log, 7);
        let tick = |position| Record { position, input: Input::Tick, ..log[39].clone() };
        let records: Vec<Record> = (41..44).map(tick).collect();
        let (_, outputs) = crate::play::replay_into(&mut fold, &records);
        append(&mut file, &Item::Batch { records, outputs });
        file
    };
    let second = led_later(&log, 30, &lineage, EndReason::SessionEnded);
    let report = replay_recording(toy(), &[first.clone(), second.clone()].concat()).expect("it folds");
    assert!(report.agrees(), "{report:?}");
    assert_eq!((report.parts, report.records, report.last), (2, whole, last));
    assert_eq!(report.incomplete, None, "whatever the first lacks the second has");
    assert!(report.checkpoints.iter().any(|checkpoint| checkpoint.position == 30), "its state was compared");

    // The tail of the first is lost, and what the second begins with comes later.
    let report = replay_recording(toy(), &[going_on(&log[..20], 7), second.clone()].concat()).expect("it folds");
    assert!(report.agrees() && report.last == last, "{report:?}");
    assert!(report.incomplete.expect("said").contains("from 21 to 30"));
    // Only the second is there.
    let report = replay_recording(toy(), &second).expect("it folds");
    assert!(report.agrees() && report.last == last && report.incomplete.expect("said").contains("from 1 to 30"));
    // The session sleeps, or is elsewhere.
    let asleep = led_later(&log, 30, &lineage, EndReason::GoesOn);
    let report = replay_recording(toy(), &[first.clone(), asleep].concat()).expect("it folds");
    assert!(report.incomplete.expect("said").contains(&format!("goes on after position {whole}")));

    // A state that is not what the log before it gives is seen, though all after it is by it.
    let mut fold = Fold::new(toy(), REPLAY).expect("a fold");
    crate::play::replay_into(&mut fold, &log[..30]);
    let mut other = Vec::new();
    recording::begin(&mut other);
    append(&mut other, &Item::Header(Header { epoch: epoch(2), ..header() }));
    append(&mut other, &Item::GoesOn { lineage });
    let full = Some(Bytes::from(fold.capture().expect("a state").encode()));
    append(&mut other, &Item::Checkpoint { position: 30, state: StateHash([9; 32]), full });
    let report = replay_recording(toy(), &[first, other].concat()).expect("it folds");
    assert!(report.checkpoints.iter().any(|checkpoint| checkpoint.position == 30 && !checkpoint.agrees()));
}
