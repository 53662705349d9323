//! The objects of a node's log: what they hold and how they are written. An object is read whole or not at all: its
//! envelope has a checksum, and what it says of itself must be what its name says.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::envelope::{self, Kind};
use crate::ids::{Epoch, Node, Position, SessionId};
use crate::leadership::lineage::Lineage;
use crate::leadership::record::Tier;
use crate::limits;
#[cfg(doc)]
use crate::log::SkipCause;
use crate::log::{Input, Record};

/// Newest format of an object's payload, which has entries that are [`SkipCause::Suspect`]. An object is written in the first
/// format that has what it holds, for older releases read that.
pub const FORMAT: u16 = 3;
/// The first, which had no [`Item::Increment`].
const FIRST_FORMAT: u16 = 1;
/// The one that brought it.
const INCREMENTAL_FORMAT: u16 = 2;
/// Largest payload that is read: an item that alone is as large as one may be, and what else fits with it.
const PAYLOAD_BYTES: usize = limits::LOG_ITEM_BYTES + limits::LOG_OBJECT_BYTES + (1 << 20);

/// An object of the log of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Whose log.
    pub run: Node,
    /// Its place in it, from 1.
    pub number: u64,
    /// Drawn by who made it: two who make the same number do not take one for the other's.
    pub maker: u64,
    /// Objects of lesser numbers are not needed any more.
    pub first: u64,
    /// What it holds.
    pub content: Content,
}

/// What an object holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// What the run's sessions did.
    Items(Vec<Item>),
    /// Nothing follows: another run has taken over. Unless it says so once more, for nothing before the first seal is needed
    /// ([`clearance`](super::recovery::clearance)).
    Seal {
        /// Which.
        by: Node,
    },
}

/// A session that a run leads, as who takes over must know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Which.
    pub session: SessionId,
    /// What it promises.
    pub tier: Tier,
    /// What the directory needs to lead it, in its own encoding.
    pub charter: Bytes,
}

/// Why a run does not lead a session any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Closed {
    /// It is over.
    Ended,
    /// Another leads it.
    LedElsewhere,
}

/// One thing in an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// All sessions that the run leads; those that are not in it, it does not lead.
    Roster(Vec<Opened>),
    /// The run leads one more.
    Opened(Opened),
    /// The run leads one no more.
    Closed {
        /// Which.
        session: SessionId,
        /// Why.
        why: Closed,
    },
    /// Entries of a durable session.
    Entries {
        /// Which.
        session: SessionId,
        /// The epoch that appended them.
        epoch: Epoch,
        /// Without gaps.
        entries: Vec<Record>,
    },
    /// The full state of a durable session.
    Checkpoint(Box<Checkpoint>),
    /// What has changed of it since its checkpoint before, which is in the same log.
    Increment {
        /// The position of that one.
        base: Position,
        /// This one: its `state` is an increment.
        checkpoint: Box<Checkpoint>,
    },
}

/// A full state, or what has changed since the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Of which session.
    pub session: SessionId,
    /// Of the track of this epoch.
    pub epoch: Epoch,
    /// After which entry.
    pub position: Position,
    /// Who appended what before.
    pub lineage: Lineage,
    /// What a worker keeps beside the state, in its own encoding.
    pub beside: Bytes,
    /// The state.
    pub state: Bytes,
}

/// Why bytes are not the object of a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// They are no whole object.
    #[error(transparent)]
    Envelope(#[from] envelope::EnvelopeError),
    /// It is whole, and in a format of another release.
    #[error("it has format {found}, this node reads {FIRST_FORMAT} to {FORMAT}: it is for nodes of another release")]
    OtherRelease {
        /// The format that it says.
        found: u16,
    },
    /// What they hold cannot be read, or contradicts itself.
    #[error("its content cannot be read")]
    Content,
    /// They are the object of another name.
    #[error("it is object {number} of the log of {run}")]
    Another {
        /// Whose log.
        run: Node,
        /// Its number there.
        number: u64,
    },
}

impl Item {
    /// About how many bytes it takes in an object.
    pub fn weight(&self) -> usize {
        match self {
            Item::Roster(all) => all.iter().map(|opened| 128 + opened.charter.len()).sum(),
            Item::Opened(opened) => 128 + opened.charter.len(),
            Item::Closed { .. } => 128,
            Item::Entries { entries, .. } => 128 + entries.iter().map(entry_weight).sum::<usize>(),
            Item::Checkpoint(checkpoint) | Item::Increment { checkpoint, .. } => {
                4096 + checkpoint.beside.len() + checkpoint.state.len()
            }
        }
    }

    /// Whether its entries have no gap.
    fn is_sound(&self) -> bool {
        match self {
            Item::Entries { entries, .. } => {
                !entries.is_empty()
                    && entries.windows(2).all(|two| two[0].position.checked_add(1) == Some(two[1].position))
            }
            Item::Increment { base, checkpoint } => *base < checkpoint.position,
            _ => true,
        }
    }
}

fn entry_weight(entry: &Record) -> usize {
    let body = match &entry.input {
        Input::Start { config: body, .. }
        | Input::Message { body, .. }
        | Input::Datagram { body, .. }
        | Input::Signal { body, .. } => body.len(),
        Input::Leadership { .. } => 1024,
        _ => 0,
    };
    64 + body
}

impl Object {
    /// Its bytes.
    pub fn encode(&self) -> Bytes {
        // Plain data into memory always serializes.
        envelope::seal(Kind::NodeLog, self.format(), &postcard::to_stdvec(self).unwrap_or_default()).into()
    }

    /// The first format that has what it holds.
    fn format(&self) -> u16 {
        let format = |item: &Item| match item {
            Item::Entries { entries, .. } if entries.iter().any(Record::is_suspect) => FORMAT,
            Item::Increment { .. } => INCREMENTAL_FORMAT,
            _ => FIRST_FORMAT,
        };
        match &self.content {
            Content::Items(items) => items.iter().map(format).max().unwrap_or(FIRST_FORMAT),
            Content::Seal { .. } => FIRST_FORMAT,
        }
    }

    /// An object from its bytes.
    ///
    /// # Errors
    /// [`ObjectError`], but for [`ObjectError::Another`].
    pub fn decode(bytes: &[u8]) -> Result<Object, ObjectError> {
        if let Some(found) = envelope::other_version(Kind::NodeLog, FIRST_FORMAT..=FORMAT, PAYLOAD_BYTES, bytes) {
            return Err(ObjectError::OtherRelease { found });
        }
        let said = envelope::version(bytes).filter(|said| (FIRST_FORMAT..=FORMAT).contains(said)).unwrap_or(FORMAT);
        let payload = envelope::open(Kind::NodeLog, said, PAYLOAD_BYTES, bytes)?;
        let (object, rest): (Object, _) = postcard::take_from_bytes(payload).map_err(|_| ObjectError::Content)?;
        let is_sound = match &object.content {
            Content::Items(items) => items.iter().all(Item::is_sound),
            Content::Seal { .. } => true,
        };
        if is_sound && rest.is_empty() && object.format() <= said { Ok(object) } else { Err(ObjectError::Content) }
    }

    /// The object of this number of the log of a run, from its bytes.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn read(run: Node, number: u64, bytes: &[u8]) -> Result<Object, ObjectError> {
        let object = Object::decode(bytes)?;
        match (object.run, object.number) == (run, number) {
            true => Ok(object),
            false => Err(ObjectError::Another { run: object.run, number: object.number }),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::ids::{ModuleHash, NodeId, Slot};
    use crate::log::{Outcome, SkipCause};

    pub fn run() -> Node {
        Node { id: NodeId(0xa), generation: 7 }
    }

    /// One of each item.
    fn sample() -> Object {
        let session: SessionId = "arena/a@0000000000000001".parse().unwrap();
        let epoch = run().first_epoch();
        let start = Input::Start { module: ModuleHash([1; 32]), rewriter: 2, seed: [3; 32], config: Bytes::from("c") };
        let said = Input::Message { slot: Slot(0), number: 1, body: Bytes::from("hello") };
        let entry = |position, input| Record { position, time_us: position * 10, input, outcome: Outcome::Applied };
        let opened = Opened { session: session.clone(), tier: Tier::Durable, charter: Bytes::from("charter") };
        let checkpoint = Checkpoint {
            session: session.clone(),
            epoch,
            position: 2,
            lineage: Lineage::new(epoch),
            beside: Bytes::from("b"),
            state: Bytes::from("state"),
        };
        let items = vec![
            Item::Roster(vec![opened.clone()]),
            Item::Opened(opened),
            Item::Entries { session: session.clone(), epoch, entries: vec![entry(1, start), entry(2, said)] },
            Item::Checkpoint(Box::new(checkpoint)),
            Item::Closed { session, why: Closed::LedElsewhere },
        ];
        Object { run: run(), number: 12, maker: 99, first: 3, content: Content::Items(items) }
    }

    /// What the second format brought.
    fn incremental() -> Object {
        let mut object = sample();
        if let Content::Items(items) = &mut object.content
            && let Item::Checkpoint(checkpoint) = &items[3]
        {
            items[3] = Item::Increment { base: 1, checkpoint: checkpoint.clone() };
        }
        object
    }

    /// What the third format brought.
    fn suspicious() -> Object {
        let mut object = sample();
        if let Content::Items(items) = &mut object.content
            && let Item::Entries { entries, .. } = &mut items[2]
        {
            entries[1].outcome = Outcome::Skipped(SkipCause::Suspect);
        }
        object
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn objects_of_the_published_format_are_read() {
        let seal = Object { content: Content::Seal { by: run() }, ..sample() };
        let golden = include_str!("golden.txt");
        let [items_line, seal_line, second, third] = golden.lines().collect::<Vec<_>>()[..] else {
            panic!("four objects")
        };
        assert_eq!(hex(&suspicious().encode()), third);
        assert_eq!(hex(&incremental().encode()), second);
        assert_eq!(hex(&sample().encode()), items_line);
        assert_eq!(hex(&seal.encode()), seal_line);
        let bytes = |line: &str| -> Vec<u8> {
            (0..line.len() / 2).map(|at| u8::from_str_radix(&line[2 * at..2 * at + 2], 16).unwrap()).collect()
        };
        assert_eq!(Object::read(run(), 12, &bytes(items_line)), Ok(sample()));
        assert_eq!(Object::read(run(), 12, &bytes(seal_line)), Ok(seal));
        assert_eq!(Object::read(run(), 12, &bytes(second)), Ok(incremental()));
        assert_eq!(Object::read(run(), 12, &bytes(third)), Ok(suspicious()));
    }

    #[test]
    fn what_a_format_has_not_got_is_not_in_it() {
        let (first, second, third) = (sample().encode(), incremental().encode(), suspicious().encode());
        assert_eq!([&first, &second, &third].map(|bytes| envelope::version(bytes)), [Some(1), Some(2), Some(3)]);
        let payload = |bytes: &[u8]| postcard::to_stdvec(&Object::decode(bytes).unwrap()).unwrap();
        let as_format = |format, bytes: &[u8]| Object::decode(&envelope::seal(Kind::NodeLog, format, &payload(bytes)));
        assert_eq!(as_format(1, &second), Err(ObjectError::Content));
        assert_eq!(as_format(2, &third), Err(ObjectError::Content));
        assert_eq!(as_format(2, &first), Ok(sample()));
        assert_eq!(as_format(4, &first), Err(ObjectError::OtherRelease { found: 4 }));
    }

    #[test]
    fn what_is_damaged_cut_or_of_another_name_is_refused() {
        let bytes = sample().encode();
        assert_eq!(Object::read(run(), 13, &bytes), Err(ObjectError::Another { run: run(), number: 12 }));
        for cut in 0..bytes.len() {
            assert!(Object::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        let mut object = sample();
        if let Content::Items(items) = &mut object.content
            && let Item::Entries { entries, .. } = &mut items[2]
        {
            entries[1].position = 5;
        }
        assert_eq!(Object::decode(&object.encode()), Err(ObjectError::Content), "entries with a gap");
    }
}
