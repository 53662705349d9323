//! What earlier releases wrote is read for ever: a recording of each version of the format, and a checkpoint, as they were
//! committed, of a module that was committed with them. They come to what they came to when they were written.

use std::collections::BTreeSet;

use bytes::Bytes;
use ringside_core::durable::object::{Checkpoint, Content, Item as Logged, Object, Opened};
use ringside_core::durable::recovery::Chain;
use ringside_core::idle::evicted::Evicted;
use ringside_core::ids::{Epoch, Node, NodeId, Slot, WorkerId};
use ringside_core::leadership::lineage::Lineage;
use ringside_core::leadership::record::{Member, Record as Leadership, Tier};
use ringside_core::log::{Input, LeaveReason, Outcome, Record, SkipCause};
use ringside_core::recording::{self, EndReason, Header, Item};
use ringside_golden::GoldenFile;
use ringside_sandbox::{Fold, FoldOptions, Module, Role, Sandbox, SandboxConfig, State, replay_recording};

/// Entries between two hashes of outputs.
const BATCH: u64 = 16;
/// After which entry the checkpoint was taken, and the second leader's part begins.
const TURN: u64 = 150;
const FIRST: Epoch = Epoch { number: 1, node: 1, node_generation: 1 };
const SECOND: Epoch = Epoch { number: 2, node: 2, node_generation: 1 };

const fn golden(name: &'static str, version: &'static str) -> GoldenFile {
    let package_directory = env!("CARGO_MANIFEST_DIR");
    GoldenFile { package_directory, name, package: "ringside-scenarios", version }
}

/// The newest version's recording: whole, of two leaders, with every kind of entry that a game without signals has.
const RECORDING: GoldenFile = golden("recording-6.bin", "recording::VERSION");
/// The same session's state after [`TURN`].
const CHECKPOINT: GoldenFile = golden("checkpoint-1.bin", "the version of checkpoints (host/sandbox/src/state.rs)");
/// Those of earlier versions, which nobody writes any more, and of how many parts they are. The fourth is a part of a log that
/// was kept, and begins with a state.
const EARLIER: [(GoldenFile, usize); 4] = [
    (golden("recording-2.bin", ""), 1),
    (golden("recording-3.bin", ""), 1),
    (golden("recording-4.bin", ""), 1),
    (golden("recording-5.bin", ""), 2),
];

/// Objects of logs of nodes that have some of the session, by the format that each needs: a whole checkpoint; an increment after
/// it; an entry that was skipped as suspect.
const LOGS: [GoldenFile; 3] = [
    golden("node-log-1.bin", "FORMAT (host/core/src/durable/object.rs)"),
    golden("node-log-2.bin", "FORMAT (host/core/src/durable/object.rs)"),
    golden("node-log-3.bin", "FORMAT (host/core/src/durable/object.rs)"),
];
/// The session as the store has it while nobody leads it.
const EVICTED: GoldenFile = golden("evicted-1.bin", "FORMAT (host/core/src/idle/evicted.rs)");
/// After which entries these have checkpoints, and where those without suspect entries end.
const WHOLE: u64 = 40;
const INCREMENT: u64 = 60;
const SOME: u64 = 80;

/// Pong, as it was when the files were written: another build is another module.
fn module() -> Module {
    let config = SandboxConfig { cache_directory: None, warm_sessions: Some(4) };
    let sandbox = Sandbox::new(config).expect("a sandbox");
    sandbox.upload(&golden("pong.wasm", "").object()).expect("a module that was accepted is accepted for ever")
}

fn leader_of(epoch: Epoch) -> Member {
    Member { node: Node { id: NodeId(epoch.node), generation: epoch.node_generation }, worker: WorkerId(0) }
}

/// What players do in ten seconds, written out: no rule of today's game enters.
fn inputs(module: &Module) -> Vec<(Input, Outcome)> {
    let applied = |input| (input, Outcome::Applied);
    let mut numbers = [0; 2];
    let mut message = |slot: u16, outcome| {
        numbers[usize::from(slot)] += 1;
        let body = Bytes::copy_from_slice(&[(numbers[usize::from(slot)] % 3) as u8]);
        (Input::Message { slot: Slot(slot), number: numbers[usize::from(slot)], body }, outcome)
    };
    // A hundred points.
    let config = Bytes::from_static(&[100]);
    let start = Input::Start { module: module.hash(), rewriter: module.rewriter_version(), seed: [9; 32], config };
    let mut inputs = vec![applied(start)];
    let record = Leadership::first("pong/golden@0000000000000001".parse().expect("a session"), leader_of(FIRST));
    inputs.push(applied(Input::Leadership { record: Box::new(record) }));
    for (slot, player) in [(0, "ada"), (1, "ben")] {
        inputs.push(applied(Input::Join { slot: Slot(slot), player: player.parse().expect("a player") }));
    }
    for tick in 0..200_u16 {
        match tick % 20 {
            3 => inputs.push(message(0, Outcome::Applied)),
            5 => inputs.push(message(1, Outcome::Applied)),
            7 if tick > 100 => inputs.push(message(1, Outcome::Skipped(SkipCause::Trap))),
            9 if tick > 100 => inputs.push(message(0, Outcome::Skipped(SkipCause::Suspect))),
            11 => {
                inputs.push(applied(Input::Datagram { slot: Slot(tick / 20 % 2), body: Bytes::from_static(b"\xff") }))
            }
            _ => {}
        }
        inputs.push(applied(Input::Tick));
    }
    // Which ends the match.
    inputs.push(applied(Input::Leave { slot: Slot(1), reason: LeaveReason::TimedOut }));
    inputs
}

fn log(module: &Module) -> Vec<Record> {
    let mut time_us = 0;
    let entry = |(position, (input, outcome))| {
        time_us += if input == Input::Tick { 50_000 } else { 0 };
        Record { position, time_us, input, outcome }
    };
    (1..).zip(inputs(module)).map(entry).collect()
}

/// Writes a part of the log as its leader does.
fn append_part(file: &mut Vec<u8>, fold: &mut Fold, header: Item, records: &[Record], end: EndReason) {
    let mut append = |item: &Item| recording::append(file, item).expect("a frame");
    append(&header);
    if let Item::Header(Header { epoch: SECOND, .. }) = &header {
        let mut lineage = Lineage::new(FIRST);
        lineage.begin(SECOND, fold.position());
        append(&Item::GoesOn { lineage });
        let state = fold.capture().expect("a state");
        let full = Some(Bytes::from(state.encode()));
        append(&Item::Checkpoint { position: fold.position(), state: state.hash(), full });
    }
    let mut outputs = Vec::new();
    for batch in records.chunks(BATCH as usize) {
        batch.iter().for_each(|record| fold.replay(record, &mut outputs).expect("an entry that folds"));
        append(&Item::Batch { records: batch.to_vec(), outputs: fold.output_hash() });
        append(&Item::Checkpoint { position: fold.position(), state: fold.state_hash(), full: None });
    }
    append(&Item::End { position: fold.position(), reason: end });
}

/// The session of the committed module as it is written today: the recording, and the state after [`TURN`].
fn written(module: &Module) -> (Vec<u8>, Vec<u8>) {
    let options = FoldOptions { role: Role::Replay, ..FoldOptions::default() };
    let mut fold = Fold::new(module, options).expect("a fold");
    let header = |epoch| {
        Item::Header(Header {
            session: "pong/golden@0000000000000001".parse().expect("a session"),
            module: module.hash(),
            rewriter: module.rewriter_version(),
            epoch,
            guest_memory_bytes: options.guest_memory_bytes as u64,
        })
    };
    let log = log(module);
    let (first, second) = log.split_at(TURN as usize);
    let mut file = Vec::new();
    recording::begin(&mut file);
    append_part(&mut file, &mut fold, header(FIRST), first, EndReason::GoesOn);
    let state = fold.capture().expect("a state").encode();
    recording::begin(&mut file);
    append_part(&mut file, &mut fold, header(SECOND), second, EndReason::SessionEnded);
    (file, state)
}

#[test]
fn what_is_written_of_a_session_is_what_was_published() {
    let (recording, checkpoint) = written(&module());
    RECORDING.check_object(&recording);
    CHECKPOINT.check_object(&checkpoint);
}

#[test]
fn recordings_of_each_published_version_are_replayed() {
    let (module, mut versions) = (module(), Vec::new());
    for (golden, parts) in EARLIER.iter().chain([&(RECORDING, 2)]) {
        let file = golden.object();
        versions.push(file[recording::MAGIC.len()]);
        let report = replay_recording(&module, &file).unwrap_or_else(|error| panic!("{}: {error}", golden.name));
        assert!(report.agrees(), "{} comes to something else: {:?}", golden.name, report.first_difference);
        let last = report.checkpoints.last().expect("a checkpoint");
        assert_eq!((report.parts, last.expected), (*parts, report.last), "{}", golden.name);
        assert!(report.records > 100 && report.checkpoints.len() > 5, "{}: {report:?}", golden.name);
        let is_kept = report.about.is_some();
        assert_eq!((is_kept, report.incomplete.is_some()), (versions == [2, 3, 4], is_kept), "{}", golden.name);
    }
    assert!(versions.iter().copied().eq(recording::OLDEST_VERSION as u8..=recording::VERSION as u8), "{versions:?}");
}

#[test]
fn a_checkpoint_of_the_published_version_is_restored_and_goes_on() {
    let module = module();
    let state = State::decode(&CHECKPOINT.object()).expect("a state");
    let options = FoldOptions { role: Role::Leader, ..FoldOptions::default() };
    let mut fold = Fold::restore(&module, &state, options).expect("a fold");
    assert_eq!((fold.position(), fold.state_hash()), (TURN, state.hash()));
    let (recording, mut checked, mut outputs) = (RECORDING.object(), 0, Vec::new());
    let mut parts = recording::parts(&recording).expect("parts");
    let mut second = parts.pop().expect("the second leader's part").reader;
    while let Some(item) = second.next_item().expect("an item") {
        match item {
            // A leader's way with an entry that is new, not a replay: what players do is answered as it was.
            Item::Batch { records, outputs: expected } => {
                for Record { position, time_us, input, outcome } in records {
                    if outcome == Outcome::Applied {
                        let applied = fold.apply(time_us, &input, &mut outputs).expect("an entry that follows");
                        assert_eq!((applied, fold.position()), (Outcome::Applied, position));
                    } else {
                        let skipped = Record { position, time_us, input, outcome };
                        fold.replay(&skipped, &mut outputs).expect("an entry that is skipped");
                    }
                }
                assert_eq!(fold.output_hash(), expected, "at {}", fold.position());
            }
            Item::Checkpoint { position, state, .. } => {
                assert_eq!((fold.position(), fold.state_hash()), (position, state));
                checked += 1;
            }
            _ => {}
        }
    }
    assert!(checked > 5 && !outputs.is_empty() && fold.ending().is_some(), "{checked}, {}", outputs.len());
}

/// The fold of the committed module's session up to an entry.
fn folded(module: &Module, log: &[Record], position: u64) -> Fold {
    let mut fold = Fold::new(module, FoldOptions { role: Role::Replay, ..FoldOptions::default() }).expect("a fold");
    let mut outputs = Vec::new();
    log[..position as usize].iter().for_each(|entry| fold.replay(entry, &mut outputs).expect("an entry that folds"));
    fold
}

fn checkpoint(state: &State, base: Option<&State>) -> Box<Checkpoint> {
    Box::new(Checkpoint {
        session: "pong/golden@0000000000000001".parse().expect("a session"),
        epoch: FIRST,
        position: state.position(),
        lineage: Lineage::new(FIRST),
        beside: Bytes::new(),
        state: state.encode_after(base).bytes.into(),
    })
}

/// What is written of the session into the logs of nodes, and into the store when it is evicted.
fn kept(module: &Module) -> ([Bytes; 3], Bytes) {
    let log = log(module);
    let state = |position| folded(module, &log, position).capture().expect("a state");
    let (whole, increment) = (state(WHOLE), state(INCREMENT));
    let session = checkpoint(&whole, None).session;
    let entries = |from: u64, to: u64| Logged::Entries {
        session: session.clone(),
        epoch: FIRST,
        entries: log[from as usize - 1..to as usize].to_vec(),
    };
    let opened = Logged::Opened(Opened { session: session.clone(), tier: Tier::Durable, charter: Bytes::new() });
    let begun = || vec![opened.clone(), entries(1, WHOLE), Logged::Checkpoint(checkpoint(&whole, None))];
    let increments = Logged::Increment { base: WHOLE, checkpoint: checkpoint(&increment, Some(&whole)) };
    let contents = [
        [begun(), vec![entries(WHOLE + 1, SOME)]].concat(),
        [begun(), vec![entries(WHOLE + 1, INCREMENT), increments, entries(INCREMENT + 1, SOME)]].concat(),
        [begun(), vec![entries(WHOLE + 1, log.len() as u64)]].concat(),
    ];
    let run = leader_of(FIRST).node;
    let object = |items| Object { run, number: 1, maker: 7, first: 1, content: Content::Items(items) }.encode();
    let (checkpoint, charter) = (*checkpoint(&whole, None), Bytes::new());
    let evicted = Evicted { charter, checkpoint, at_us: 1_800_000_000_000_000, due_us: None };
    (contents.map(object), evicted.encode())
}

#[test]
fn what_the_store_has_of_a_session_is_what_was_published() {
    let (logs, evicted) = kept(&module());
    LOGS.iter().zip(&logs).for_each(|(golden, object)| golden.check_object(object));
    EVICTED.check_object(&evicted);
}

/// A session goes on from these checkpoints with these entries, and comes to what it came to.
fn goes_on<'a>(module: &Module, checkpoints: impl Iterator<Item = &'a Checkpoint>, rest: &[Record]) {
    let state = checkpoints.fold(None, |base: Option<State>, step| {
        Some(State::decode_after(base.as_ref(), &step.state).expect("a state"))
    });
    let options = FoldOptions { role: Role::Leader, ..FoldOptions::default() };
    let mut fold = Fold::restore(module, &state.expect("a checkpoint"), options).expect("a fold");
    let mut outputs = Vec::new();
    rest.iter().for_each(|entry| fold.replay(entry, &mut outputs).expect("an entry that follows"));
    let mut whole = folded(module, &log(module), fold.position());
    assert_eq!((fold.state_hash(), fold.output_hash()), (whole.state_hash(), whole.output_hash()));
}

#[test]
fn logs_of_each_published_format_are_recovered() {
    let module = module();
    let whole = log(&module);
    let ends = [SOME, SOME, whole.len() as u64];
    for (at, golden) in LOGS.iter().enumerate() {
        let object = Bytes::from(golden.object());
        assert_eq!(ringside_core::envelope::version(&object), Some(at as u16 + 1), "{}", golden.name);
        let mut chain = Chain::beginning(1, BTreeSet::new());
        chain.handle_object(leader_of(FIRST).node, 1, &object);
        assert_eq!(chain.damage().next(), None, "{}", golden.name);
        let session = "pong/golden@0000000000000001".parse().expect("a session");
        let start = chain.start(&session, FIRST, u64::MAX).expect("a beginning");
        assert_eq!((start.end, start.lacks, start.increments.len()), (ends[at], None, usize::from(at == 1)));
        goes_on(&module, start.checkpoints(), &start.log);
    }
}

#[test]
fn a_session_that_was_evicted_in_the_published_format_goes_on() {
    let module = module();
    let evicted = Evicted::decode(&EVICTED.object()).expect("an evicted session");
    assert_eq!(evicted.checkpoint.position, WHOLE);
    goes_on(&module, [&evicted.checkpoint].into_iter(), &log(&module)[WHOLE as usize..]);
}
