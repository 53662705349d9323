use super::*;
use crate::ids::{Incarnation, Node, NodeId, Slot, WorkerId};
use crate::leadership;
use crate::leadership::lineage::Lineage;
use crate::leadership::record::Member;
use crate::log::{Input, LeaveReason, Outcome, SkipCause};

fn sample() -> Vec<Item> {
    let session = SessionId {
        game: "pong".parse().unwrap(),
        key: "friday-final".parse().unwrap(),
        incarnation: Incarnation(0x1122_3344_5566_7788),
    };
    let record = |position, input, outcome| Record { position, time_us: position * 1000, input, outcome };
    let start = Input::Start { module: ModuleHash([1; 32]), rewriter: 1, seed: [2; 32], config: Bytes::from("c") };
    let message = Input::Message { slot: Slot(0), number: 1, body: Bytes::from("up") };
    vec![
        Item::Header(Header {
            session,
            module: ModuleHash([1; 32]),
            rewriter: 1,
            epoch: Epoch { number: 1, node: 2, node_generation: 3 },
            guest_memory_bytes: 16 << 20,
        }),
        Item::Batch {
            records: vec![
                record(1, start, Outcome::Applied),
                record(2, Input::Join { slot: Slot(0), player: "ann".parse().unwrap() }, Outcome::Applied),
                record(3, message, Outcome::Skipped(SkipCause::Trap)),
                record(4, Input::Leave { slot: Slot(0), reason: LeaveReason::TimedOut }, Outcome::Applied),
            ],
            outputs: StateHash([5; 32]),
        },
        Item::Checkpoint { position: 4, state: StateHash([6; 32]), full: None },
        Item::Gap { from: 5 },
        Item::End { position: 4, reason: EndReason::WorkerStopped },
    ]
}

fn written() -> Vec<u8> {
    let mut file = Vec::new();
    begin(&mut file);
    for item in sample() {
        append(&mut file, &item).unwrap();
    }
    file
}

fn read(bytes: &[u8]) -> (Vec<Item>, Option<RecordingError>) {
    let mut items = Vec::new();
    let mut reader = match Reader::new(bytes) {
        Ok(reader) => reader,
        Err(error) => return (items, Some(error)),
    };
    loop {
        match reader.next_item() {
            Ok(Some(item)) => items.push(item),
            Ok(None) => return (items, None),
            Err(error) => return (items, Some(error)),
        }
    }
}

#[test]
fn what_is_written_is_read() {
    assert_eq!(read(&written()), (sample(), None));
}

/// An entry that there is since version 3.
fn leadership() -> Item {
    let leader = Member { node: Node { id: NodeId(2), generation: 3 }, worker: WorkerId(1) };
    let record = leadership::record::Record::first("pong/friday-final@1122334455667788".parse().unwrap(), leader);
    let input = Input::Leadership { record: Box::new(record) };
    let entry = Record { position: 5, time_us: 5000, input, outcome: Outcome::Applied };
    Item::Batch { records: vec![entry], outputs: StateHash([7; 32]) }
}

/// What there is since version 4.
fn kept() -> [Item; 3] {
    let leader = Member { node: Node { id: NodeId(2), generation: 3 }, worker: WorkerId(1) };
    let by = Epoch { number: 2, node: 2, node_generation: 3 };
    let (one, other) = (StateHash([8; 32]), StateHash([9; 32]));
    [
        Item::About(About::Fork { fork: 7, by, leader }),
        Item::About(About::Diverged { position: 8, leader: one, follower: other, is_leader: true }),
        Item::End { position: 9, reason: EndReason::Kept },
    ]
}

#[test]
fn each_version_of_the_format_is_golden_and_read() {
    let digest = |bytes: &[u8]| blake3::hash(bytes).to_hex()[..32].to_owned();
    let mut second = written();
    second[MAGIC.len()] = 2;
    assert_eq!(digest(&second), "22ca74faf5e4dcdfd95d421ec07ac217", "a version that was published does not change");
    assert_eq!(read(&second), (sample(), None));
    let mut third = written();
    third[MAGIC.len()] = 3;
    append(&mut third, &leadership()).unwrap();
    assert_eq!(digest(&third), "dd75d3ae8a3a50a10b9af48d7355c3b2", "a version that was published does not change");
    let (items, error) = read(&third);
    assert_eq!((items.last(), error), (Some(&leadership()), None));
    let mut fourth = written();
    kept().iter().for_each(|item| append(&mut fourth, item).unwrap());
    fourth[MAGIC.len()] = 4;
    assert_eq!(digest(&fourth), "901715fe6a24bf3956f64f557c54a2e3", "a version that was published does not change");
    let (items, error) = read(&fourth);
    assert_eq!((&items[items.len() - 3..], error), (&kept()[..], None));
    // An entry that may have killed a process.
    let killer = Item::Batch {
        records: vec![Record {
            position: 5,
            time_us: 5000,
            input: Input::Message { slot: Slot(0), number: 2, body: Bytes::from("down") },
            outcome: Outcome::Skipped(SkipCause::Suspect),
        }],
        outputs: StateHash([10; 32]),
    };
    let mut sixth = written();
    append(&mut sixth, &killer).unwrap();
    assert_eq!(digest(&sixth), "f07991cfe1f3a656ae1ecf7fc0af3e0f", "the format changed: give it another version");
    let (items, error) = read(&sixth);
    assert_eq!((items.last(), error), (Some(&killer), None));
    let parts = [part(&[1, 2], 1, 5, EndReason::GoesOn), part(&[1, 3], 1, 5, EndReason::Forked)];
    let mut fifth = [written(), parts.concat()].concat();
    for at in 0..fifth.len() - MAGIC.len() {
        if fifth[at..].starts_with(MAGIC) {
            fifth[at + MAGIC.len()] = 5;
        }
    }
    assert_eq!(digest(&fifth), "11f492682b2d548bfda64d4f2b13a4c0", "a version that was published does not change");
    assert_eq!(read_parts(&fifth), [(sample(), 4), (items_of(&[1, 2], 1, 5, EndReason::GoesOn), Position::MAX)]);
}

/// A lineage of epochs, each of which begins ten positions after the one before.
fn lineage(epochs: &[u64]) -> Lineage {
    let epoch = |number| Epoch { number, node: number + 1, node_generation: 3 };
    let mut lineage = Lineage::new(epoch(epochs[0]));
    for (before, number) in (1..).zip(&epochs[1..]) {
        lineage.begin(epoch(*number), before * 4);
    }
    lineage
}

/// What the leader of the last of these epochs wrote.
fn items_of(epochs: &[u64], from: u64, to: u64, reason: EndReason) -> Vec<Item> {
    let lineage = lineage(epochs);
    let [Item::Header(header), ..] = &sample()[..] else { panic!("a header") };
    let header = Header { epoch: lineage.newest().unwrap(), ..header.clone() };
    let entry = |position| Record { position, time_us: position, input: Input::Tick, outcome: Outcome::Applied };
    let records = (from..=to).map(entry).collect();
    let mut items = vec![Item::Header(header)];
    items.extend((epochs.len() > 1).then_some(Item::GoesOn { lineage }));
    items.push(Item::Batch { records, outputs: StateHash([5; 32]) });
    items.push(Item::End { position: to, reason });
    items
}

fn part(epochs: &[u64], from: u64, to: u64, reason: EndReason) -> Vec<u8> {
    let mut file = Vec::new();
    begin(&mut file);
    items_of(epochs, from, to, reason).iter().for_each(|item| append(&mut file, item).unwrap());
    file
}

/// What counts of a recording: of each part its items, and up to where.
fn read_parts(bytes: &[u8]) -> Vec<(Vec<Item>, Position)> {
    let parts = parts(bytes).unwrap();
    let items = |mut reader: Reader<'_>| std::iter::from_fn(|| reader.next_item().unwrap()).collect();
    parts.into_iter().map(|Part { reader, until }| (items(reader), until)).collect()
}

#[test]
fn each_leader_wrote_a_part_and_what_the_last_one_has_not_got_does_not_count() {
    let counts = |file: &[Vec<u8>]| -> Vec<(u64, Position)> {
        let of = |(items, until): (Vec<Item>, Position)| match &items[0] {
            Item::Header(header) => (header.epoch.number, until),
            other => panic!("{other:?}"),
        };
        read_parts(&file.concat()).into_iter().map(of).collect()
    };
    use EndReason::{Forked, GoesOn, SessionEnded};
    const END: Position = Position::MAX;
    let (first, second) = (part(&[1], 1, 9, GoesOn), part(&[1, 2], 5, 9, GoesOn));
    assert_eq!(counts(std::slice::from_ref(&first)), [(1, END)]);
    assert_eq!(
        counts(&[first.clone(), second.clone(), part(&[1, 2, 3], 9, 12, SessionEnded)]),
        [(1, 4), (2, 8), (3, END)]
    );
    // The second wrote nothing that is here.
    assert_eq!(counts(&[first.clone(), part(&[1, 2, 3], 9, 12, SessionEnded)]), [(1, 4), (3, END)]);
    // The third went on from the first: the second's branch lost.
    let third = part(&[1, 3], 5, 12, SessionEnded);
    assert_eq!(counts(&[first.clone(), second.clone(), third]), [(1, 4), (3, END)]);
    // A newer branch lost to an older one, and says so.
    assert_eq!(
        counts(&[first.clone(), part(&[1, 2], 5, 9, SessionEnded), part(&[1, 3], 5, 9, Forked)]),
        [(1, 4), (2, END)]
    );
    // Its leader began another epoch, and went on in the same part.
    let by = |number, node| Epoch { number, node, node_generation: 3 };
    let mut lineage = Lineage::new(by(1, 2));
    lineage.begin(by(3, 2), 4);
    lineage.begin(by(4, 9), 9);
    let [Item::Header(header), ..] = &sample()[..] else { panic!("a header") };
    let mut later = Vec::new();
    begin(&mut later);
    append(&mut later, &Item::Header(Header { epoch: by(4, 9), ..header.clone() })).unwrap();
    append(&mut later, &Item::GoesOn { lineage }).unwrap();
    assert_eq!(counts(&[first.clone(), later]), [(1, 9), (4, END)]);
    // In whatever order they are.
    assert_eq!(counts(&[second.clone(), first.clone()]), [(1, 4), (2, END)]);
    // A part that was cut off, and one of which only the beginning is there.
    let cut = |part: &Vec<u8>, bytes: usize| part[..part.len() - bytes].to_vec();
    assert_eq!(counts(&[first.clone(), second[..MAGIC.len() + 2].to_vec()]), [(1, END)]);
    assert!(matches!(parts(&cut(&first, first.len())), Err(RecordingError::Magic)));
    let file = [cut(&first, 3), second].concat();
    assert_eq!(parts(&file).unwrap().len(), 1, "what follows a frame that was cut off is not found");
    // One of another release is named.
    let mut newer = part(&[1, 2], 5, 9, GoesOn);
    newer[MAGIC.len()] = 99;
    assert!(matches!(parts(&[first, newer].concat()), Err(RecordingError::Version { found: 99 })));
}

#[test]
fn a_file_that_was_cut_off_is_read_up_to_its_last_whole_frame() {
    let whole = written();
    for cut in 0..whole.len() {
        let (items, error) = read(&whole[..cut]);
        assert_eq!(items, sample()[..items.len()]);
        assert!(error.is_some() || items.len() < sample().len());
    }
}

#[test]
fn damage_is_named_and_never_taken_for_content() {
    let whole = written();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        let (items, error) = read(&damaged);
        assert!(error.is_some(), "flipped at {at}");
        assert_eq!(items, sample()[..items.len()]);
    }
}
