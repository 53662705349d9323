//! A session's recording on its way out: records are taken from the log in batches, written as frames, handed on in
//! pieces. The log itself belongs to the session; a record is taken once.

use bytes::Bytes;
use ringside_core::ids::{Position, StateHash};
use ringside_core::log::Record;
use ringside_core::recording::{self, EndReason, Header, Item};

use crate::command::Create;

/// Records that make a batch, unless a checkpoint comes first.
const BATCH: usize = 256;
/// Bytes that make a piece.
const PIECE_BYTES: usize = 32 << 10;

pub(crate) struct Recording {
    frames: Vec<u8>,
    /// The first position that is not taken yet.
    next: Position,
    /// The first position in `frames`.
    from: Position,
}

impl Recording {
    pub(crate) fn new(create: &Create, guest_memory_bytes: usize) -> Recording {
        let mut recording = Recording { frames: Vec::new(), next: 1, from: 1 };
        recording::begin(&mut recording.frames);
        recording.append(&Item::Header(Header {
            session: create.session.clone(),
            module: create.module.hash(),
            rewriter: create.module.rewriter_version(),
            epoch: create.epoch,
            guest_memory_bytes: guest_memory_bytes as u64,
        }));
        recording
    }

    fn append(&mut self, item: &Item) {
        if recording::append(&mut self.frames, item).is_err() {
            // Larger than any frame may be: a batch of the largest inputs. The recording says that it ends here.
            let _ = recording::append(&mut self.frames, &Item::Gap { from: self.next });
        }
    }

    /// Takes what is new in the log, whose last record has this hash of outputs.
    pub(crate) fn take(&mut self, log: &[Record], outputs: StateHash) {
        let new = log.iter().position(|record| record.position >= self.next);
        let Some(new) = new.and_then(|first| log.get(first..)).filter(|new| !new.is_empty()) else { return };
        self.append(&Item::Batch { records: new.to_vec(), outputs });
        self.next += new.len() as u64;
    }

    pub(crate) fn take_if_many(&mut self, log: &[Record], outputs: StateHash, all: bool) {
        let new = log.last().map_or(0, |last| (last.position + 1).saturating_sub(self.next));
        if all || new as usize >= BATCH {
            self.take(log, outputs);
        }
    }

    pub(crate) fn checkpoint(&mut self, position: Position, state: StateHash) {
        self.append(&Item::Checkpoint { position, state, full: None });
    }

    /// Nothing follows. Only where everything was taken: without the marker a replay says that the tail may be lost.
    pub(crate) fn end(&mut self, reason: EndReason) {
        self.append(&Item::End { position: self.next - 1, reason });
    }

    /// The frames so far and the position of their first record, if they make a piece.
    pub(crate) fn piece(&mut self, all: bool) -> Option<(Bytes, Position)> {
        if self.frames.is_empty() || (!all && self.frames.len() < PIECE_BYTES) {
            return None;
        }
        let from = std::mem::replace(&mut self.from, self.next);
        Some((Bytes::from(std::mem::take(&mut self.frames)), from))
    }
}
