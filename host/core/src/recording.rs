//! The format of a recording: a header, then batches of records and checkpoints, then its end or a gap; each framed by
//! length and checksum, so that a file that was cut off is read up to its last whole frame. **A recording without an
//! end marker may have lost its tail**, wherever it was cut. Each leader of a session writes a part of its own.
//!
//! ```text
//! file  = part+
//! part  = magic "RSREC" 0, version u16, frame*
//! frame = payload length u32, payload (postcard of `Item`), first 8 bytes of BLAKE3(payload)
//! ```
//! A part of a log that was kept for a reason, a branch that lost or one side of a divergence, says so in its second frame,
//! and begins with the state that its records follow. So does a part of a later leader, after its lineage: of the parts before
//! it, what that has not got does not count. Numbers are little-endian. Segments of one part are concatenated in order; only
//! the first has the magic.

mod parts;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, ModuleHash, Position, SessionId, StateHash};
use crate::leadership::lineage::Lineage;
use crate::leadership::record::Member;
use crate::log::Record;

pub use parts::{Part, parts};

/// First bytes of a recording.
pub const MAGIC: &[u8; 6] = b"RSREC\0";
/// Version of the format. Since 3 a log may have entries of leadership, since 4 a recording may be a part that was kept,
/// since 5 there may be several parts, since 6 an entry may be skipped because it may have killed a process.
pub const VERSION: u16 = 6;
/// The oldest version that is read.
pub const OLDEST_VERSION: u16 = 2;
/// Largest payload of a frame, bytes: a checkpoint of the largest guest memory and room for host state.
pub const FRAME_BYTES: usize = 64 << 20;
const CHECKSUM_BYTES: usize = 8;

/// What a recording is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The session.
    pub session: SessionId,
    /// Its module.
    pub module: ModuleHash,
    /// Version of the rewrite that the module went through.
    pub rewriter: u32,
    /// The leader's epoch.
    pub epoch: Epoch,
    /// Guest memory limit that the session ran with, bytes.
    pub guest_memory_bytes: u64,
}

/// One frame's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// What the recording is of; the first frame.
    Header(Header),
    /// Records in order, and the running hash of all outputs after the last of them.
    Batch {
        /// The records; positions follow one another without gaps.
        records: Vec<Record>,
        /// Running hash of outputs.
        outputs: StateHash,
    },
    /// The state after a position.
    Checkpoint {
        /// After which record.
        position: Position,
        /// Hash of the full state.
        state: StateHash,
        /// The state itself, encoded, where the recording has it.
        full: Option<Bytes>,
    },
    /// Records that the recorder could not take; a replay ends here.
    Gap {
        /// First position that is missing.
        from: Position,
    },
    /// Nothing follows: the last frame of a recording of which nothing was lost.
    End {
        /// Position of the last record.
        position: Position,
        /// Why the recording ends there.
        reason: EndReason,
    },
    /// Why this part of a log was kept; the second frame of such a recording.
    About(About),
    /// The session was led by others before; the second frame of such a part.
    GoesOn {
        /// The log's lineage, up to the leader of this part.
        lineage: Lineage,
    },
}

/// Why a part of a log was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum About {
    /// It is of a branch that lost: another one goes on.
    Fork {
        /// The last position that both branches have.
        fork: Position,
        /// The epoch of the branch that won.
        by: Epoch,
        /// Who leads that.
        leader: Member,
    },
    /// A follower's fold came to other outputs than its leader's. Each side keeps its own.
    Diverged {
        /// The position at which that was seen; it may have happened before.
        position: Position,
        /// The running hash of outputs that the leader had there.
        leader: StateHash,
        /// The one that the follower had.
        follower: StateHash,
        /// Whether this is the leader's side.
        is_leader: bool,
    },
}

/// Why a recording ends where it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndReason {
    /// The session ended.
    SessionEnded,
    /// The session was going on when its worker was told to stop.
    WorkerStopped,
    /// It is all that was kept of a part; [`About`] says of which.
    Kept,
    /// The session goes on, and not by this leader: another leads it, or it sleeps in the store.
    GoesOn,
    /// Another branch of the session goes on, which has not got all of this part.
    Forked,
}

/// Why a recording cannot be read (further).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordingError {
    /// Not a recording.
    #[error("this file is not a recording: it does not begin with `RSREC`")]
    Magic,
    /// Written by another release.
    #[error("the recording has format version {found}, this release reads {OLDEST_VERSION} to {VERSION}")]
    Version {
        /// What it says.
        found: u16,
    },
    /// The file ends within a frame; everything before it was read.
    #[error("the recording ends within a frame at byte {offset}: it was cut off there")]
    CutOff {
        /// Where the frame begins.
        offset: usize,
    },
    /// A frame that claims more than any may have.
    #[error("a frame at byte {offset} claims {claimed} bytes, at most {FRAME_BYTES} are read: the file is damaged")]
    TooLarge {
        /// Where the frame begins.
        offset: usize,
        /// What it claims.
        claimed: usize,
    },
    /// A frame whose checksum or content is wrong.
    #[error("the frame at byte {offset} is damaged: {what}")]
    Damaged {
        /// Where the frame begins.
        offset: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// Appends the magic and the version: what the first segment begins with.
pub fn begin(file: &mut Vec<u8>) {
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&VERSION.to_le_bytes());
}

/// Appends one frame.
///
/// # Errors
/// A payload larger than [`FRAME_BYTES`]; nothing was appended.
pub fn append(file: &mut Vec<u8>, item: &Item) -> Result<(), RecordingError> {
    let start = file.len();
    file.extend_from_slice(&[0; 4]);
    let buffer = std::mem::take(file);
    // Plain data into memory always serializes.
    *file = postcard::to_extend(item, buffer).map_err(|_| damaged(start, "it does not serialize"))?;
    let claimed = file.len() - start - 4;
    if claimed > FRAME_BYTES {
        file.truncate(start);
        return Err(RecordingError::TooLarge { offset: start, claimed });
    }
    close(file, start);
    Ok(())
}

/// Appends a frame with this payload, whatever it is.
pub(crate) fn append_payload(file: &mut Vec<u8>, payload: &[u8]) {
    let start = file.len();
    file.extend_from_slice(&[0; 4]);
    file.extend_from_slice(payload);
    close(file, start);
}

/// Writes the length and the checksum of the frame that begins at `start` and whose payload is the rest of the file.
fn close(file: &mut Vec<u8>, start: usize) {
    let length = (file.len() - start - 4) as u32;
    file[start..start + 4].copy_from_slice(&length.to_le_bytes());
    let checksum = blake3::hash(&file[start + 4..]);
    file.extend_from_slice(&checksum.as_bytes()[..CHECKSUM_BYTES]);
}

fn damaged(offset: usize, what: &'static str) -> RecordingError {
    RecordingError::Damaged { offset, what }
}

/// Reads the frames of a recording's first part in order.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// A reader of a whole file.
    ///
    /// # Errors
    /// Bytes that do not begin like a recording of this version.
    pub fn new(bytes: &'a [u8]) -> Result<Self, RecordingError> {
        Reader::at(bytes, 0)
    }

    /// A reader of the part that begins there.
    fn at(bytes: &'a [u8], offset: usize) -> Result<Self, RecordingError> {
        let rest = bytes.get(offset..).and_then(|part| part.strip_prefix(MAGIC.as_slice()));
        let version = rest.and_then(<[u8]>::first_chunk::<2>).ok_or(RecordingError::Magic)?;
        let found = u16::from_le_bytes(*version);
        if !(OLDEST_VERSION..=VERSION).contains(&found) {
            return Err(RecordingError::Version { found });
        }
        Ok(Reader { bytes, offset: offset + MAGIC.len() + 2 })
    }

    /// Goes over a frame without a look into it. False at the end of the part, or where there is no whole frame.
    fn skip(&mut self) -> bool {
        let rest = self.bytes.get(self.offset..).unwrap_or_default();
        let Some(length) = rest.first_chunk::<4>().filter(|_| !rest.starts_with(MAGIC)) else { return false };
        let frame = 4 + u32::from_le_bytes(*length) as usize + CHECKSUM_BYTES;
        let is_whole = frame <= rest.len();
        self.offset += if is_whole { frame } else { 0 };
        is_whole
    }

    /// The next frame's content; `None` at the end of the part.
    ///
    /// # Errors
    /// A frame that is cut off or damaged; further calls answer the same.
    pub fn next_item(&mut self) -> Result<Option<Item>, RecordingError> {
        let offset = self.offset;
        let rest = &self.bytes[offset..];
        if rest.is_empty() || rest.starts_with(MAGIC) {
            return Ok(None);
        }
        let cut_off = RecordingError::CutOff { offset };
        let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(|| cut_off.clone())?;
        let claimed = u32::from_le_bytes(*length) as usize;
        if claimed > FRAME_BYTES {
            return Err(RecordingError::TooLarge { offset, claimed });
        }
        let (payload, rest) = rest.split_at_checked(claimed).ok_or_else(|| cut_off.clone())?;
        let checksum = rest.get(..CHECKSUM_BYTES).ok_or(cut_off)?;
        if &blake3::hash(payload).as_bytes()[..CHECKSUM_BYTES] != checksum {
            return Err(damaged(offset, "its checksum does not match"));
        }
        let item = postcard::from_bytes(payload).map_err(|_| damaged(offset, "its content is not understood"))?;
        self.offset = offset + 4 + claimed + CHECKSUM_BYTES;
        Ok(Some(item))
    }

    /// Where the next frame begins, bytes from the file's start.
    pub fn offset(&self) -> usize {
        self.offset
    }
}

#[cfg(test)]
mod tests;
