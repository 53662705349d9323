//! What workers say to each other of sessions: items, many of them in a frame. A frame begins with [`MAGIC`] and
//! [`VERSION`]; a word is the message of one session with the entries that a batch brings. Checkpoints are what is long.

use bytes::Bytes;
use ringside_core::ids::{Position, SessionId, StateHash};
use ringside_core::leadership::lineage::Lineage;
use ringside_core::leadership::message::{Append, Message};
use ringside_core::log::Record;
use serde::{Deserialize, Serialize};

use super::{Branches, Change};

/// First bytes of a frame, a datagram, or something long that is about sessions.
pub(crate) const MAGIC: [u8; 3] = *b"RSR";
/// Version of what follows them, but for what `NEWEST` brought.
pub const VERSION: u8 = 1;
/// What followers that keep the log and do not replay it, and their leaders, say besides. A frame says the least version that
/// has what it holds.
const KEEPING: u8 = 2;
/// What is said of inputs that may kill a process, and entries that are skipped because one may have; and who has led.
const SUSPECTING: u8 = 3;
/// What is said of states that are compared.
const NEWEST: u8 = 4;

/// A message about a session. Bodies of entries are those of the frame where it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Word<B = Bytes> {
    pub session: SessionId,
    pub message: Message,
    /// The entries that an [`Append`] brings: those after its `from`, up to its `to`.
    pub entries: Vec<Record<B>>,
}

impl<B> Word<B> {
    fn is_of_suspects(&self) -> bool {
        matches!(self.message, Message::Suspects(_) | Message::Suspected { .. })
            || self.entries.iter().any(Record::<B>::is_suspect)
    }

    /// Whether the entries are those that the message says.
    fn is_whole(&self) -> bool {
        match &self.message {
            Message::Append(Append { from, to, .. }) => {
                let follows = |(position, entry): (Position, &Record<B>)| entry.position == position;
                to.checked_sub(*from) == Some(self.entries.len() as u64)
                    && (from + 1..=*to).zip(&self.entries).all(follows)
            }
            _ => self.entries.is_empty(),
        }
    }
}

/// The head of a checkpoint on its way; the state's own bytes follow it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CheckpointHead {
    pub session: SessionId,
    /// After which entry.
    pub position: Position,
    pub lineage: Lineage,
    pub branches: Branches,
}

/// What a frame is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Item<B = Bytes> {
    /// A message between the members of a session.
    Word(Word<B>),
    /// To a leader that is about to give a session away: so many of its players have come to the target.
    Standing { session: SessionId, players: u64 },
    /// To a leader that says that it leads: whoever it says so to does not follow, and has nothing of the session.
    Absent { session: SessionId },
    /// From a leader that introduces itself: which branches its players' numbers may be of. Not all of that is in the log.
    Branches { session: SessionId, branches: Branches },
    /// To a leader: whoever says it came to other outputs, and keeps its side; the leader is to keep its own.
    Diverged { session: SessionId, position: Position, leader: StateHash, follower: StateHash },
    /// To a follower: it is about to lead. One that keeps the log should fold what it has.
    Warm { session: SessionId },
    /// To a leader: whoever says it has not got the state of which it was sent an increment.
    Lacks { session: SessionId },
    /// From a leader that introduces itself: who has led, and why. Not all of that is in the log that it sends.
    History { session: SessionId, changes: Vec<Change> },
    /// To a follower: the state after this entry is about to be compared.
    Comparing { session: SessionId, position: Position },
    /// To a follower: the hash of the leader's state there.
    Compared { session: SessionId, position: Position, hash: StateHash },
}

impl<B> Item<B> {
    /// The first version that has it.
    fn version(&self) -> u8 {
        match self {
            Item::Warm { .. } | Item::Lacks { .. } => KEEPING,
            Item::Word(word) if word.is_of_suspects() => SUSPECTING,
            Item::History { .. } => SUSPECTING,
            Item::Comparing { .. } | Item::Compared { .. } => NEWEST,
            _ => VERSION,
        }
    }

    /// Whether whoever does not know it must not miss what is said beside it.
    pub fn is_news(&self) -> bool {
        self.version() >= SUSPECTING
    }

    /// The same for whoever knows the news of the version before.
    pub fn is_newest(&self) -> bool {
        self.version() >= NEWEST
    }
}

/// Whether something that came is about sessions.
pub(crate) fn is_ours(body: &[u8]) -> bool {
    body.starts_with(&MAGIC)
}

/// Begins a frame.
pub(crate) fn begin(body: &mut Vec<u8>) {
    body.extend_from_slice(&MAGIC);
    body.push(VERSION);
}

/// Appends an item.
pub(crate) fn append<B: Serialize>(body: &mut Vec<u8>, item: &Item<B>) {
    let mut buffer = std::mem::take(body);
    if let Some(said) = buffer.get_mut(MAGIC.len()) {
        *said = item.version().max(*said);
    }
    // Plain data into memory always serializes.
    *body = postcard::to_extend(item, buffer).unwrap_or_default();
}

/// Something that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    #[error("it is of version {0}, this worker speaks up to {NEWEST}")]
    Version(u8),
    #[error("it cannot be read")]
    Malformed,
}

/// The items of a frame.
pub(crate) fn items(body: &[u8]) -> Result<Vec<Item<&[u8]>>, WireError> {
    let mut rest = content(body)?;
    let mut items = Vec::new();
    while !rest.is_empty() {
        let (item, after): (Item<&[u8]>, _) = postcard::take_from_bytes(rest).map_err(|_| WireError::Malformed)?;
        if matches!(&item, Item::Word(word) if !word.is_whole()) {
            return Err(WireError::Malformed);
        }
        items.push(item);
        rest = after;
    }
    Ok(items)
}

fn content(body: &[u8]) -> Result<&[u8], WireError> {
    let rest = body.strip_prefix(MAGIC.as_slice()).ok_or(WireError::Malformed)?;
    match rest.split_first() {
        Some((&(VERSION..=NEWEST), rest)) => Ok(rest),
        Some((&version, _)) => Err(WireError::Version(version)),
        None => Err(WireError::Malformed),
    }
}

/// A checkpoint as it is sent; one that is an increment is for those alone who have its base.
pub(crate) fn checkpoint(head: &CheckpointHead, state: &[u8], is_increment: bool) -> Bytes {
    let mut body = Vec::with_capacity(state.len() + 256);
    begin(&mut body);
    body[MAGIC.len()] = if is_increment { KEEPING } else { VERSION };
    body = postcard::to_extend(head, body).unwrap_or_default();
    body.extend_from_slice(state);
    body.into()
}

/// A checkpoint's head and the bytes of its state.
pub(crate) fn open_checkpoint(body: &[u8]) -> Result<(CheckpointHead, &[u8]), WireError> {
    postcard::take_from_bytes(content(body)?).map_err(|_| WireError::Malformed)
}

#[cfg(test)]
mod tests;
