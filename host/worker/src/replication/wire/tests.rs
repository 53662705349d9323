use ringside_core::ids::{Epoch, Node, NodeId, Slot, WorkerId};
use ringside_core::leadership::record::{Cause, Member};
use ringside_core::leadership::suspect::{Suspect, Suspects};
use ringside_core::log::{Input, Outcome, SkipCause};
use ringside_golden::{GoldenFile, Vector, samples};

use super::*;

fn word<'a>(from: Position, count: u64) -> Word<&'a [u8]> {
    let epoch = Epoch { number: 1, node: 1, node_generation: 1 };
    let append = Append { epoch, stamp_us: 7, from, to: from + count, committed: 0, record: None, mark: None };
    let entry = |position| Record { position, time_us: position, input: Input::Tick, outcome: Outcome::Applied };
    Word {
        session: "arena/a@0000000000000001".parse().unwrap(),
        message: Message::Append(append),
        entries: (from + 1..=from + count).map(entry).collect(),
    }
}

#[test]
fn words_come_back_as_they_were_said() {
    let mut body = Vec::new();
    begin(&mut body);
    let standing = Item::Standing { session: "arena/a@0000000000000001".parse().unwrap(), players: 300 };
    let absent = Item::Absent { session: "arena/b@0000000000000001".parse().unwrap() };
    let said = [Item::Word(word(0, 3)), standing, absent, Item::Word(word(3, 0)), Item::Word(word(3, 9))];
    said.iter().for_each(|item| append(&mut body, item));
    assert_eq!(items(&body).unwrap(), said);
    assert_eq!(body[3], VERSION, "whatever the first version has is said so");
    let session: SessionId = "arena/b@0000000000000001".parse().unwrap();
    let newer = [Item::Warm { session: session.clone() }, Item::Lacks { session }, Item::Word(word(3, 1))];
    newer.iter().for_each(|item| append(&mut body, item));
    assert_eq!((body[3], items(&body).unwrap().split_off(said.len())), (KEEPING, newer.to_vec()));
}

#[test]
fn what_is_said_of_suspects_is_golden_and_of_its_version() {
    let session: SessionId = "arena/b@0000000000000001".parse().unwrap();
    let epoch = Epoch { number: 2, node: 1, node_generation: 1 };
    let suspect = |slot, number| Suspect { slot: Slot(slot), joined: 2, number, body: 9 };
    let suspects = Suspects { epoch, number: 3, waiting: vec![suspect(0, 7)], killers: vec![suspect(1, 4)] };
    let word = |message| Item::Word(Word { session: session.clone(), message, entries: Vec::new() });
    let leader = Member { node: Node { id: NodeId(1), generation: 1 }, worker: WorkerId(0) };
    let changes = vec![Change { leader, epoch, position: 5, cause: Cause::Promoted }];
    let history = Item::History { session: session.clone(), changes };
    let said = [word(Message::Suspects(suspects)), word(Message::Suspected { epoch, number: 3 }), history];
    let mut body = Vec::new();
    begin(&mut body);
    said.iter().for_each(|item| append(&mut body, item));
    assert!(said.iter().all(Item::is_news));
    assert_eq!(items(&body).unwrap(), said);
    let hex: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "5253520300056172656e610162010802010103010002070901010204090000056172656e610162010902010103\
         0007056172656e61016201010101000201010501"
    );
    // An entry that is skipped as one is new as well, and no other.
    let mut skipped = self::word(0, 2);
    assert_eq!(Item::Word(skipped.clone()).version(), VERSION);
    skipped.entries[1].outcome = Outcome::Skipped(SkipCause::Suspect);
    assert_eq!(Item::Word(skipped).version(), SUSPECTING);
}

#[test]
fn what_is_cut_off_of_another_version_or_contradicts_itself_is_refused() {
    let mut body = Vec::new();
    begin(&mut body);
    append(&mut body, &Item::Word(word(0, 3)));
    for end in 0..body.len() {
        assert!(end == 4 || items(&body[..end]).is_err(), "{end} bytes");
    }
    let mut other = body.clone();
    other[3] = 9;
    assert_eq!(items(&other), Err(WireError::Version(9)));
    let mut gap = word(0, 3);
    gap.entries[1].position = 9;
    let mut body = Vec::new();
    begin(&mut body);
    append(&mut body, &Item::Word(gap));
    assert_eq!(items(&body), Err(WireError::Malformed));
}

/// Everything that this version has: each item, each message with every variant of what it carries, each entry.
const PUBLISHED: GoldenFile = GoldenFile {
    package_directory: env!("CARGO_MANIFEST_DIR"),
    name: "session-words-4.hex",
    package: "ringside-worker",
    version: "replication::wire::NEWEST",
};

/// A word brings the entries that it says it does.
fn made_whole(item: Item) -> Item {
    let Item::Word(mut word) = item else { return item };
    word.entries = Vec::new();
    if let Message::Append(append) = &mut word.message {
        word.entries = samples::<Record>().into_iter().map(|(_, entry)| entry).collect();
        append.to = append.from + word.entries.len() as u64;
        (append.from + 1..).zip(&mut word.entries).for_each(|(position, entry)| entry.position = position);
    }
    Item::Word(word)
}

fn framed<B: Serialize>(item: &Item<B>) -> Vec<u8> {
    let mut body = Vec::new();
    begin(&mut body);
    append(&mut body, item);
    body
}

#[test]
fn words_of_the_published_version_are_written_and_read_as_they_were() {
    let written: Vec<Vector> = samples().into_iter().map(|(name, item)| (name, framed(&made_whole(item)))).collect();
    PUBLISHED.check(&written);
    let before = GoldenFile { name: "session-words-3.hex", ..PUBLISHED };
    for (name, bytes) in before.committed().into_iter().chain(PUBLISHED.committed()) {
        let [item] = &items(&bytes).unwrap()[..] else { panic!("{name} is one item") };
        assert_eq!(framed(item), bytes, "{name}");
    }
}

#[test]
fn heads_of_checkpoints_of_the_published_version_are_written_and_read_as_they_were() {
    let published = GoldenFile { name: "checkpoint-heads-2.hex", version: "replication::wire::KEEPING", ..PUBLISHED };
    let written = |(name, head): (String, CheckpointHead)| {
        [false, true].map(|is_increment| (name.clone(), checkpoint(&head, b"state", is_increment).to_vec()))
    };
    published.check(&samples().into_iter().flat_map(written).collect::<Vec<Vector>>());
    for (name, bytes) in published.committed() {
        let (head, state) = open_checkpoint(&bytes).unwrap();
        assert_eq!(state, b"state", "{name}");
        assert_eq!(checkpoint(&head, state, bytes[MAGIC.len()] == KEEPING), bytes, "{name}");
    }
}
