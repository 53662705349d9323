//! What the store has of a session that nobody leads: its full state, what whoever activates it must know, and until when
//! it slept. An object is written before the record that evicts the session, and counts only if the newest record of the
//! chain is that one.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::durable::object::Checkpoint;
use crate::envelope::{self, EnvelopeError, Kind};
use crate::ids::{Epoch, Position};
use crate::leadership::record::Record;
use crate::limits;

/// Format of an object's payload.
pub const FORMAT: u16 = 1;
/// Largest payload that is read.
const PAYLOAD_BYTES: usize = limits::LOG_ITEM_BYTES + (1 << 20);

/// A session as the store has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evicted {
    /// What the directory needs to lead it, in its own encoding.
    pub charter: Bytes,
    /// Its state.
    pub checkpoint: Checkpoint,
    /// When that was, µs since 1970: its time goes on while it sleeps.
    pub at_us: u64,
    /// When its next timer is due, µs since 1970.
    pub due_us: Option<u64>,
}

/// Why bytes are not an evicted session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EvictedError {
    /// They are no whole object.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// It is whole, and in a format of another release.
    #[error("it has format {found}, this node reads {FORMAT}")]
    OtherRelease {
        /// The format that it says.
        found: u16,
    },
    /// What they hold cannot be read.
    #[error("its content cannot be read")]
    Content,
}

impl Evicted {
    /// The name that it has among those of its session: of which epoch it is, and after which entry.
    pub fn name(&self) -> String {
        name(self.checkpoint.epoch, self.checkpoint.position)
    }

    /// Its bytes.
    pub fn encode(&self) -> Bytes {
        // Plain data into memory always serializes.
        envelope::seal(Kind::EvictedSession, FORMAT, &postcard::to_stdvec(self).unwrap_or_default()).into()
    }

    /// One from its bytes.
    ///
    /// # Errors
    /// [`EvictedError`].
    pub fn decode(bytes: &[u8]) -> Result<Evicted, EvictedError> {
        if let Some(found) = envelope::other_version(Kind::EvictedSession, FORMAT..=FORMAT, PAYLOAD_BYTES, bytes) {
            return Err(EvictedError::OtherRelease { found });
        }
        let payload = envelope::open(Kind::EvictedSession, FORMAT, PAYLOAD_BYTES, bytes)?;
        match postcard::take_from_bytes(payload) {
            Ok((evicted, [])) => Ok(evicted),
            _ => Err(EvictedError::Content),
        }
    }
}

/// The name of the object that a record speaks of; none if it evicts nothing.
pub fn name_by(record: &Record) -> Option<String> {
    record.is_at_rest().then(|| name(record.epoch, record.position))
}

fn name(epoch: Epoch, position: Position) -> String {
    format!("{:012}-{:016x}-{:x}-{position:012}", epoch.number, epoch.node, epoch.node_generation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Node, NodeId};
    use crate::leadership::lineage::Lineage;
    use crate::leadership::record::{Cause, Member};

    fn sample() -> Evicted {
        let epoch = Node { id: NodeId(0xa), generation: 7 }.first_epoch();
        let checkpoint = Checkpoint {
            session: "lobby/a@0000000000000001".parse().unwrap(),
            epoch,
            position: 2,
            lineage: Lineage::new(epoch),
            beside: Bytes::from("b"),
            state: Bytes::from("state"),
        };
        Evicted { charter: Bytes::from("charter"), checkpoint, at_us: 1_800_000_000_000_000, due_us: Some(1) }
    }

    #[test]
    fn objects_of_the_published_format_are_read() {
        let golden = include_str!("golden.txt").trim();
        let hex: String = sample().encode().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden);
        let bytes: Vec<u8> =
            (0..golden.len() / 2).map(|at| u8::from_str_radix(&golden[2 * at..2 * at + 2], 16).unwrap()).collect();
        assert_eq!(Evicted::decode(&bytes), Ok(sample()));
        for cut in 0..bytes.len() {
            assert!(Evicted::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_record_names_the_object_that_it_evicts_by() {
        let evicted = sample();
        let leader = Member { node: Node { id: NodeId(0xa), generation: 7 }, worker: crate::ids::WorkerId(0) };
        let first = Record::first(evicted.checkpoint.session.clone(), leader);
        assert_eq!(name_by(&first), None);
        assert_eq!(name_by(&first.with_set([].into(), 2, Cause::Evicted)), Some(evicted.name()));
        assert_eq!(name_by(&first.with_set([leader].into(), 2, Cause::Evicted)), None, "it only hands the chain over");
    }
}
