//! A session's recording on its way out: records are taken from the log in batches, written as frames, handed on in
//! pieces. The log itself belongs to the session; a record is taken once. Whoever comes to lead a session writes a part of
//! its own, which begins with a state that its log follows.

use std::sync::Arc;

use bytes::Bytes;
use ringside_core::ids::{Epoch, Position, SessionId, StateHash};
use ringside_core::leadership::lineage::Lineage;
use ringside_core::log::Record;
use ringside_core::recording::{self, EndReason, Header, Item, RecordingError};
use ringside_sandbox::State;

use crate::command::Create;

/// Records that make a batch, unless a checkpoint comes first.
const BATCH: usize = 256;
/// Bytes that make a piece.
const PIECE_BYTES: usize = 32 << 10;

/// The next bytes of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Of which part: that of the leader of this epoch; none is the one that the session began with.
    pub part: Option<Epoch>,
    /// Whole frames.
    pub frames: Bytes,
    /// The first position in them that was not in a piece before.
    pub from: Position,
    /// Nothing follows in this part.
    pub is_last: bool,
}

/// What a part of a recording begins with, if not the session; encoded beside the worker, never by it.
#[derive(Debug)]
pub struct PartHead {
    pub(crate) header: Header,
    pub(crate) lineage: Lineage,
    /// The state that its records follow; none if they begin the log.
    pub(crate) base: Option<Arc<State>>,
}

impl PartHead {
    /// Of which session, and of the leader of which epoch.
    pub fn part(&self) -> (&SessionId, Epoch) {
        (&self.header.session, self.header.epoch)
    }

    /// Its bytes.
    ///
    /// # Errors
    /// A state that is larger than a recording's frame may be.
    pub fn encode(self) -> Result<Bytes, RecordingError> {
        let mut part = Vec::new();
        recording::begin(&mut part);
        recording::append(&mut part, &Item::Header(self.header))?;
        recording::append(&mut part, &Item::GoesOn { lineage: self.lineage })?;
        self.base.iter().try_for_each(|state| append_state(&mut part, state))?;
        Ok(Bytes::from(part))
    }
}

/// Writes a whole state.
pub(crate) fn append_state(file: &mut Vec<u8>, state: &State) -> Result<(), RecordingError> {
    let full = Some(Bytes::from(state.encode()));
    recording::append(file, &Item::Checkpoint { position: state.position(), state: state.hash(), full })
}

pub(crate) struct Recording {
    part: Option<Epoch>,
    has_ended: bool,
    frames: Vec<u8>,
    /// The first position that is not taken yet.
    next: Position,
    /// The first position in `frames`.
    from: Position,
}

impl Recording {
    pub(crate) fn new(create: &Create, guest_memory_bytes: usize) -> Recording {
        let mut recording = Recording { part: None, has_ended: false, frames: Vec::new(), next: 1, from: 1 };
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

    /// Of one who comes to lead, from an entry on; its [`PartHead`] is handed on before.
    pub(crate) fn going_on(epoch: Epoch, next: Position) -> Recording {
        Recording { part: Some(epoch), has_ended: false, frames: Vec::new(), next, from: next }
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
        self.has_ended = true;
    }

    /// The frames so far, if they make a piece.
    pub(crate) fn piece(&mut self, all: bool) -> Option<Piece> {
        if self.frames.is_empty() || (!all && self.frames.len() < PIECE_BYTES) {
            return None;
        }
        let from = std::mem::replace(&mut self.from, self.next);
        let frames = Bytes::from(std::mem::take(&mut self.frames));
        Some(Piece { part: self.part, frames, from, is_last: self.has_ended })
    }
}
