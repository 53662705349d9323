//! A part of a session's log that is kept for a reason: a branch that lost, or one side of a divergence. It is a recording
//! that begins with a state, so that whoever has it folds it again. Written beside the worker, never by it.

use std::sync::Arc;

use bytes::Bytes;
use ringside_core::ids::{Epoch, Position, SessionId, StateHash};
use ringside_core::leadership::message::Mark;
use ringside_core::limits::GUEST_MEMORY_BYTES;
use ringside_core::log::{Input, Record};
use ringside_core::recording::{self, About, EndReason, Header, Item, RecordingError};
use ringside_sandbox::{Fold, State};

use crate::recording::append_state;

/// What is to be kept.
#[derive(Debug)]
pub struct Kept {
    /// Of which session.
    pub session: SessionId,
    /// Why.
    pub about: About,
    header: Header,
    /// The state that the records follow; none if they begin the log.
    base: Option<Arc<State>>,
    records: Vec<Record>,
    /// What the fold came to at positions, ascending; the last is that of the last record.
    marks: Vec<Mark>,
    /// The state after the last record, where it may be another than the records give.
    last: Option<State>,
}

impl Kept {
    /// What a fold has, and how it came to that.
    pub(crate) fn new(
        (session, epoch): (SessionId, Epoch),
        about: About,
        fold: &mut Fold,
        base: Option<Arc<State>>,
        records: Vec<Record>,
        marks: impl IntoIterator<Item = Mark>,
    ) -> Kept {
        let (module, rewriter) = (fold.module().hash(), fold.module().rewriter_version());
        let guest_memory_bytes = GUEST_MEMORY_BYTES as u64;
        let header = Header { session: session.clone(), module, rewriter, epoch, guest_memory_bytes };
        let end = Mark { position: fold.position(), hash: fold.output_hash() };
        let marks = marks.into_iter().filter(|mark| mark.position < end.position);
        let marks = marks.chain([end]).collect();
        let records = records.into_iter().filter(|record| record.position <= end.position).collect();
        let last = matches!(about, About::Diverged { .. }).then(|| fold.capture().ok()).flatten();
        Kept { session, about, header, base, records, marks, last }
    }

    /// What it is called among what is kept of its session.
    pub fn name(&self) -> String {
        let (what, position) = match self.about {
            About::Fork { fork, .. } => ("branch", fork),
            About::Diverged { position, is_leader: true, .. } => ("diverged-leader", position),
            About::Diverged { position, is_leader: false, .. } => ("diverged-follower", position),
        };
        let Epoch { number, node, .. } = self.header.epoch;
        format!("{what}-{position}-epoch-{number}-{node:x}.recording")
    }

    /// Bytes that it holds in memory, roughly.
    pub(crate) fn size_bytes(&self) -> usize {
        let states = self.base.as_deref().into_iter().chain(&self.last);
        states.map(State::size_bytes).sum::<usize>() + self.records.iter().map(weight).sum::<usize>()
    }

    /// The recording.
    ///
    /// # Errors
    /// A state or a batch that is larger than a recording's frame may be.
    pub fn encode(&self) -> Result<Bytes, RecordingError> {
        let mut file = Vec::new();
        recording::begin(&mut file);
        recording::append(&mut file, &Item::Header(self.header.clone()))?;
        recording::append(&mut file, &Item::About(self.about))?;
        self.base.iter().try_for_each(|state| append_state(&mut file, state))?;
        let mut records = &self.records[..];
        for mark in &self.marks {
            let count = records.iter().take_while(|record| record.position <= mark.position).count();
            let (batch, rest) = records.split_at(count);
            records = rest;
            if !batch.is_empty() {
                let outputs: StateHash = mark.hash;
                recording::append(&mut file, &Item::Batch { records: batch.to_vec(), outputs })?;
            }
        }
        self.last.iter().try_for_each(|state| append_state(&mut file, state))?;
        let position: Position = self.marks.last().map_or(0, |mark| mark.position);
        recording::append(&mut file, &Item::End { position, reason: EndReason::Kept })?;
        Ok(Bytes::from(file))
    }
}

fn weight(record: &Record) -> usize {
    let body = match &record.input {
        Input::Message { body, .. } | Input::Datagram { body, .. } | Input::Signal { body, .. } => body.len(),
        _ => 0,
    };
    size_of::<Record>() + body
}
