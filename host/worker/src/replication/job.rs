//! What is too long for a turn: checkpoints are encoded and decoded beside the worker's thread. A worker says what is to be
//! done ([`Worker::poll_job`](crate::Worker::poll_job)); whoever drives it does it, wherever, and hands in what came of
//! it as a [`Command`](crate::Command::Done).

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use ringside_core::ids::{Epoch, Position, SessionId, WorkerId};
use ringside_core::leadership::record::Member;
use ringside_sandbox::{Encoded, State, StateError};

use super::wire::{self, CheckpointHead};
use crate::beside::Passage;

/// Something to be done beside the worker.
pub struct Job(Task);

enum Task {
    Encode {
        to: Member,
        head: CheckpointHead,
        base: Option<Arc<State>>,
        state: Arc<State>,
        passage: Option<(WorkerId, Passage)>,
    },
    Keep {
        epoch: Epoch,
        head: CheckpointHead,
        base: Option<Arc<State>>,
        state: Arc<State>,
    },
    Rest {
        epoch: Epoch,
        head: CheckpointHead,
        state: Arc<State>,
    },
    Decode {
        from: Member,
        base: Option<Arc<State>>,
        body: Bytes,
        is_passed: bool,
    },
}

/// Why a checkpoint cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    /// Its state, by itself or on what is here: of another release, damaged, or an increment of something else.
    #[error(transparent)]
    State(#[from] StateError),
    /// What it came in, or it is not what that says.
    #[error("{0}")]
    Content(String),
}

/// What came of a job.
pub struct Done(pub(crate) Outcome);

pub(crate) enum Outcome {
    /// A checkpoint as it is sent.
    Encoded { to: Member, head: CheckpointHead, body: Bytes },
    /// A checkpoint that is on its way without a link.
    Passed { to: Member, head: CheckpointHead },
    /// A checkpoint as the log of the node has it: whole, or an increment of the one at the position `base`.
    Kept { epoch: Epoch, head: CheckpointHead, base: Option<Position>, state: Bytes },
    /// The state of a session that is to be evicted.
    Rested { epoch: Epoch, head: CheckpointHead, state: Bytes },
    /// A checkpoint that came.
    Decoded { from: Member, head: CheckpointHead, state: Arc<State>, is_passed: bool },
    /// One that cannot be read.
    Unreadable { from: Member, session: Option<SessionId>, why: Unreadable },
}

impl Job {
    /// For a follower, which has `base`, if that is one. Goes from a worker by a passage, where there is one and it takes it.
    pub(crate) fn encode(
        to: Member,
        head: CheckpointHead,
        base: Option<Arc<State>>,
        state: Arc<State>,
        passage: Option<(WorkerId, Passage)>,
    ) -> Job {
        Job(Task::Encode { to, head, base, state, passage })
    }

    /// For the log of the node, which has `base`, if that is one.
    pub(crate) fn keep(epoch: Epoch, head: CheckpointHead, base: Option<Arc<State>>, state: Arc<State>) -> Job {
        Job(Task::Keep { epoch, head, base, state })
    }

    pub(crate) fn rest(epoch: Epoch, head: CheckpointHead, state: Arc<State>) -> Job {
        Job(Task::Rest { epoch, head, state })
    }

    /// What came, be it an increment of `base`.
    pub(crate) fn decode(from: Member, base: Option<Arc<State>>, body: Bytes, is_passed: bool) -> Job {
        Job(Task::Decode { from, base, body, is_passed })
    }

    /// Does it: a millisecond for each megabyte or so.
    pub fn run(self) -> Done {
        Done(match self.0 {
            Task::Encode { to, head, base, state, passage } => {
                let Encoded { bytes, base } = state.encode_after(base.as_deref());
                let body = wire::checkpoint(&head, &bytes, base.is_some());
                match passage.is_some_and(|(from, Passage(pass))| pass(from, to.worker, &body)) {
                    true => Outcome::Passed { to, head },
                    false => Outcome::Encoded { to, head, body },
                }
            }
            Task::Keep { epoch, head, base, state } => {
                let Encoded { bytes, base } = state.encode_after(base.as_deref());
                Outcome::Kept { epoch, head, base, state: bytes.into() }
            }
            Task::Rest { epoch, head, state } => Outcome::Rested { epoch, head, state: state.encode().into() },
            Task::Decode { from, base, body, is_passed } => match decode(base.as_deref(), &body) {
                Ok((head, state)) => Outcome::Decoded { from, head, state, is_passed },
                Err((session, why)) => Outcome::Unreadable { from, session, why },
            },
        })
    }
}

/// The checkpoint, or whose it is and why it cannot be read.
fn decode(base: Option<&State>, body: &[u8]) -> Result<(CheckpointHead, Arc<State>), (Option<SessionId>, Unreadable)> {
    let opened = wire::open_checkpoint(body);
    let (head, bytes) = opened.map_err(|error| (None, Unreadable::Content(error.to_string())))?;
    match State::decode_after(base, bytes) {
        Ok(state) if state.position() == head.position => Ok((head, Arc::new(state))),
        Ok(state) => {
            let why = format!("it says position {}, its state is at {}", head.position, state.position());
            Err((Some(head.session), Unreadable::Content(why)))
        }
        Err(error) => Err((Some(head.session), error.into())),
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Task::Encode { to, head, .. } => write!(f, "Encode({} at {} for {to})", head.session, head.position),
            Task::Rest { head, .. } => write!(f, "Rest({} at {})", head.session, head.position),
            Task::Keep { head, .. } => write!(f, "Keep({} at {})", head.session, head.position),
            Task::Decode { from, body, .. } => write!(f, "Decode({} bytes from {from})", body.len()),
        }
    }
}
