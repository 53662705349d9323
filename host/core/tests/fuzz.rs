//! Every decoder against broken input: each fuzz function with inputs made from honest ones by the seeded mutator.

use bytes::Bytes;
use ringside_core::durable::object::{Checkpoint, Closed, Content, FORMAT, Item as LogItem, Object, Opened};
use ringside_core::envelope::{self, Kind};
use ringside_core::fuzz::TARGETS;
use ringside_core::ids::{Epoch, ModuleHash, Node, NodeId, SessionId, Slot, StateHash};
use ringside_core::leadership::lineage::Lineage;
use ringside_core::leadership::record::Tier;
use ringside_core::log::{Input, LeaveReason, Outcome, Record, SkipCause};
use ringside_core::recording::{self, EndReason, Header, Item};
use ringside_protocol::fuzz::{Mutator, hammer};

const SESSION: &str = "pong/friday-final@1122334455667788";

fn items() -> Vec<Item> {
    let inputs = [
        Input::Start { module: ModuleHash([1; 32]), rewriter: 1, seed: [2; 32], config: Bytes::from("c") },
        Input::Join { slot: Slot(0), player: "ann".parse().expect("a player") },
        Input::Message { slot: Slot(0), number: 1, body: Bytes::from("up") },
        Input::Datagram { slot: Slot(0), body: Bytes::from("down") },
        Input::Tick,
        Input::Timer { id: 7 },
        Input::Signal { source: "pong/other".into(), body: Bytes::from("hello") },
        Input::Acknowledge { slot: Slot(0), up_to: 300 },
        Input::Leave { slot: Slot(0), reason: LeaveReason::TimedOut },
        Input::End { reason: "enough".into() },
    ];
    let records = (1..).zip(inputs).map(|(position, input)| {
        let outcome = if position == 3 { Outcome::Skipped(SkipCause::Trap) } else { Outcome::Applied };
        Record { position, time_us: position * 1000, input, outcome }
    });
    let header = Header {
        session: SESSION.parse().expect("a session"),
        module: ModuleHash([1; 32]),
        rewriter: 1,
        epoch: Epoch { number: 1, node: 2, node_generation: 3 },
        guest_memory_bytes: 16 << 20,
    };
    vec![
        Item::Header(header),
        Item::Batch { records: records.collect(), outputs: StateHash([5; 32]) },
        Item::Checkpoint { position: 10, state: StateHash([6; 32]), full: Some(Bytes::from("state")) },
        Item::Gap { from: 11 },
        Item::End { position: 10, reason: EndReason::SessionEnded },
    ]
}

/// Objects of a node's log.
fn objects() -> Vec<Object> {
    let run = Node { id: NodeId(7), generation: 2 };
    let (session, epoch) = (SESSION.parse::<SessionId>().expect("a session"), run.first_epoch());
    let opened = Opened { session: session.clone(), tier: Tier::Durable, charter: Bytes::from("charter") };
    let entry = |position| Record { position, time_us: 9, input: Input::Tick, outcome: Outcome::Applied };
    let checkpoint = Checkpoint {
        session: session.clone(),
        epoch,
        position: 4,
        lineage: Lineage::new(epoch),
        beside: Bytes::new(),
        state: Bytes::from("state"),
    };
    let items = vec![
        LogItem::Roster(vec![opened.clone()]),
        LogItem::Opened(opened),
        LogItem::Entries { session: session.clone(), epoch, entries: (1..6).map(entry).collect() },
        LogItem::Checkpoint(Box::new(checkpoint.clone())),
        LogItem::Closed { session, why: Closed::Ended },
    ];
    let position = 9;
    let increment = LogItem::Increment { base: 4, checkpoint: Box::new(Checkpoint { position, ..checkpoint }) };
    let later = vec![items[3].clone(), increment];
    let object = |number, content| Object { run, number, maker: 3, first: 1, content };
    vec![object(1, Content::Items(items)), object(2, Content::Items(later)), object(3, Content::Seal { by: run })]
}

/// A recording, what its frames hold, sealed objects, and names.
fn corpus() -> Vec<Vec<u8>> {
    let mut file = Vec::new();
    recording::begin(&mut file);
    let mut corpus = Vec::new();
    for item in items() {
        let frame = file.len();
        recording::append(&mut file, &item).expect("a frame");
        // Behind the length, before the checksum.
        corpus.push(file[frame + 4..file.len() - 8].to_vec());
    }
    corpus.push(file);
    corpus.push(envelope::seal(Kind::Checkpoint, 1, b"state"));
    corpus.push(envelope::seal(Kind::GameVersion, 1, b"{}"));
    for object in objects() {
        let bytes = object.encode();
        let format = envelope::version(&bytes).expect("a format");
        let payload = envelope::open(Kind::NodeLog, format, bytes.len(), &bytes).expect("an object");
        corpus.extend([payload.to_vec(), bytes.to_vec()]);
    }
    corpus.extend(["pong", "Final.2", "ann", SESSION].map(|name| name.as_bytes().to_vec()));
    corpus.push(ModuleHash([0xab; 32]).to_string().into_bytes());
    corpus
}

#[test]
fn decoders_survive_broken_input() {
    let corpus = corpus();
    for (_, target) in TARGETS {
        corpus.iter().for_each(|honest| target(honest));
    }
    hammer(TARGETS, &corpus, 260_000);
}

#[test]
fn the_mutator_reaches_the_decoders_depths() {
    let corpus = corpus();
    let mut mutator = Mutator::new(7);
    let (mut frames, mut names, mut objects) = (0, 0, 0);
    for _ in 0..10_000 {
        let input = mutator.mutate(&corpus);
        if let Ok(mut reader) = recording::Reader::new(&input) {
            frames += std::iter::from_fn(|| reader.next_item().ok().flatten()).count();
        }
        let text = std::str::from_utf8(&input).unwrap_or_default();
        names += usize::from(text.parse::<SessionId>().is_ok());
        objects += usize::from(Object::decode(&envelope::seal(Kind::NodeLog, FORMAT, &input)).is_ok());
    }
    assert!(frames > 100 && names > 10 && objects > 20, "{frames} frames, {names} names, {objects} objects");
}
