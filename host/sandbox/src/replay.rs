//! Folding a recording again: the proof that a session is its log.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ringside_core::ids::{Position, SessionTime, StateHash};
use ringside_core::log::Input;
use ringside_core::log::Record;
use ringside_core::output::Output;
use ringside_core::recording::{self, About, EndReason, Header, Item, Part, Reader, RecordingError};

use crate::error::{FoldError, ReplayError};
use crate::fold::{Fold, FoldOptions, Role};
use crate::module::Module;
use crate::state::{State, StateDifference};

/// A recorded hash beside the one that the replay has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointResult {
    /// After which record.
    pub position: Position,
    /// Session time there, µs.
    pub time_us: SessionTime,
    /// What the recording says.
    pub expected: StateHash,
    /// What the replay has.
    pub got: StateHash,
}

impl CheckpointResult {
    /// Whether both are the same.
    pub fn agrees(&self) -> bool {
        self.expected == self.got
    }
}

/// Records after which the running hash of outputs is another than the recording says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputDifference {
    /// The first of them.
    pub from: Position,
    /// The last.
    pub to: Position,
    /// What came in with the last.
    pub input: Input,
    /// What the recording says.
    pub expected: StateHash,
    /// What the replay has.
    pub got: StateHash,
}

/// What a replay found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayReport {
    /// What the recording is of.
    pub header: Header,
    /// Why it was kept, if it is a part of a log that was.
    pub about: Option<About>,
    /// Parts that were replayed: one of each leader.
    pub parts: usize,
    /// The first batch of `outputs_differ`.
    pub first_difference: Option<OutputDifference>,
    /// The first state in the recording that is another: in what the replay's differs.
    pub state_difference: Option<(Position, StateDifference)>,
    /// State hashes at checkpoints.
    pub checkpoints: Vec<CheckpointResult>,
    /// Batches after which the running hash of outputs differed: positions of their last records.
    pub outputs_differ: Vec<Position>,
    /// Records folded.
    pub records: u64,
    /// Session time at the end, µs.
    pub time_us: SessionTime,
    /// State hash at the end.
    pub last: StateHash,
    /// How long it took.
    pub elapsed: Duration,
    /// Why the recording is not the whole session, if it is not: its worker was stopped, a gap, or no end marker. Whatever
    /// a later part makes up for is not said.
    pub incomplete: Option<String>,
}

impl ReplayReport {
    /// Whether every recorded hash was met.
    pub fn agrees(&self) -> bool {
        self.outputs_differ.is_empty() && self.checkpoints.iter().all(CheckpointResult::agrees)
    }
}

/// What [`Replayer::step`] came upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replayed {
    /// A batch was folded.
    Batch,
    /// A checkpoint was compared.
    Checkpoint(CheckpointResult),
    /// The recording is over.
    End,
}

/// Replays a recording frame by frame, part by part: one log, whoever led it.
pub struct Replayer<'a> {
    reader: Reader<'a>,
    /// The last position of this part that counts.
    until: Position,
    /// Where the parts before it ended.
    before: Position,
    /// Those that follow it.
    parts: std::vec::IntoIter<Part<'a>>,
    /// States that those begin with: the fold comes by them.
    bases: BTreeMap<Position, StateHash>,
    /// What no part has.
    missing: Vec<String>,
    header: Header,
    module: Module,
    options: FoldOptions,
    fold: Fold,
    outputs: Vec<Output>,
    report: ReplayReport,
    is_over: bool,
    begun: Instant,
}

/// The header of a recording, to find its module.
///
/// # Errors
/// A file that does not begin with one.
pub fn read_header(bytes: &[u8]) -> Result<Header, ReplayError> {
    match Reader::new(bytes)?.next_item()? {
        Some(Item::Header(header)) => Ok(header),
        _ => Err(ReplayError::NoHeader),
    }
}

impl<'a> Replayer<'a> {
    /// Begins a replay.
    ///
    /// # Errors
    /// A file that is no recording, or one of another module.
    pub fn new(module: &Module, bytes: &'a [u8]) -> Result<Self, ReplayError> {
        let mut parts = recording::parts(bytes)?.into_iter();
        let Some(Part { mut reader, until }) = parts.next() else { return Err(ReplayError::NoHeader) };
        let bases = parts.clone().filter_map(|part| base(part.reader)).collect();
        let Some(Item::Header(header)) = reader.next_item()? else { return Err(ReplayError::NoHeader) };
        is_of(&header, module)?;
        let guest_memory_bytes = usize::try_from(header.guest_memory_bytes).unwrap_or(usize::MAX);
        let options = FoldOptions { role: Role::Replay, guest_memory_bytes };
        let mut fold = Fold::new(module, options).map_err(|error| ReplayError::Fold { position: 0, error })?;
        let report = ReplayReport {
            header: header.clone(),
            about: None,
            parts: 1,
            first_difference: None,
            state_difference: None,
            checkpoints: Vec::new(),
            outputs_differ: Vec::new(),
            records: 0,
            time_us: 0,
            last: fold.state_hash(),
            elapsed: Duration::ZERO,
            incomplete: None,
        };
        let (module, outputs, begun) = (module.clone(), Vec::new(), Instant::now());
        Ok(Replayer {
            reader,
            until,
            before: 0,
            parts,
            bases,
            missing: Vec::new(),
            header,
            module,
            options,
            fold,
            outputs,
            report,
            is_over: false,
            begun,
        })
    }

    /// What the recording is of.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The state so far.
    pub fn fold(&mut self) -> &mut Fold {
        &mut self.fold
    }

    /// Goes on by one frame.
    ///
    /// # Errors
    /// A record that does not fold, or a damaged frame. A file that was cut off ends without an error; the report
    /// says so. Once the recording is over, it stays so.
    pub fn step(&mut self) -> Result<Replayed, ReplayError> {
        if self.is_over {
            return Ok(Replayed::End);
        }
        let item = match self.reader.next_item() {
            Ok(item) => item,
            Err(error @ RecordingError::CutOff { .. }) => {
                return Ok(self.part_ends(Some(error.to_string())));
            }
            Err(error) => return Err(error.into()),
        };
        match item {
            None => {
                let at = self.fold.position();
                let why = format!("it ends at position {at} without an end marker: the tail may be lost");
                Ok(self.part_ends(Some(why)))
            }
            Some(Item::Header(header)) => is_of(&header, &self.module).map(|()| Replayed::Batch),
            Some(Item::GoesOn { .. }) => Ok(Replayed::Batch),
            Some(Item::About(about)) => {
                self.report.about = Some(about);
                Ok(Replayed::Batch)
            }
            Some(Item::Batch { records, outputs }) => {
                self.batch(&records, outputs)?;
                Ok(Replayed::Batch)
            }
            // The part before had that, and it was compared there; or the part after has another.
            Some(Item::Checkpoint { position, .. }) if self.is_passed(position) || position > self.until => {
                Ok(Replayed::Batch)
            }
            Some(Item::Checkpoint { position, state, full }) => {
                let full = full.map(|bytes| State::decode(&bytes)).transpose();
                let full = full.map_err(|error| ReplayError::State { position, error })?;
                if let Some(full) = full.as_ref().filter(|_| self.may_skip_to(position)) {
                    // The state that a part of a log begins with.
                    self.misses(position);
                    let restored = Fold::restore(&self.module, full, self.options);
                    self.fold = restored.map_err(|error| ReplayError::Fold { position, error })?;
                }
                if position != self.fold.position() {
                    let error = FoldError::Position { found: position, expected: self.fold.position() };
                    return Err(ReplayError::Fold { position, error });
                }
                let got = self.fold.state_hash();
                let result = CheckpointResult { position, time_us: self.fold.time_us(), expected: state, got };
                if let (Some(full), None, false) = (full, &self.report.state_difference, result.agrees()) {
                    let own = self.fold.capture().map_err(|error| ReplayError::Fold { position, error })?;
                    self.report.state_difference = Some((position, own.difference(&full)));
                }
                self.report.checkpoints.push(result);
                Ok(Replayed::Checkpoint(result))
            }
            Some(Item::Gap { from }) => {
                Ok(self.part_ends(Some(format!("the recorder missed the records from {from} on"))))
            }
            Some(Item::End { position, reason }) => {
                let at = self.fold.position();
                let why = if position != at {
                    Some(format!("its end marker is of position {position}: the records after {at} are lost"))
                } else {
                    match reason {
                        EndReason::SessionEnded => None,
                        EndReason::WorkerStopped => {
                            Some(format!("the node was stopped at position {at}, before the session's end"))
                        }
                        EndReason::Kept => Some(format!("it is a part of the log that was kept, up to position {at}")),
                        EndReason::Forked => {
                            Some(format!("another branch of the session goes on; this one ends at {at}"))
                        }
                        EndReason::GoesOn => {
                            Some(format!("the session goes on after position {at}, and what came then is not in it"))
                        }
                    }
                };
                Ok(self.part_ends(why))
            }
        }
    }

    /// Whether the parts before this one have folded that.
    fn is_passed(&self, position: Position) -> bool {
        position <= self.before && position < self.fold.position()
    }

    /// Whether a state may stand for what is not there: at the beginning of a part.
    fn may_skip_to(&self, position: Position) -> bool {
        self.fold.position() == self.before && position > self.before
    }

    /// What comes before a position is in no part.
    fn misses(&mut self, position: Position) {
        if self.report.about.is_none() {
            let from = self.fold.position() + 1;
            self.missing.push(format!("the records from {from} to {position} are not in it"));
        }
    }

    fn batch(&mut self, records: &[Record], outputs: StateHash) -> Result<(), ReplayError> {
        let (before, until) = (self.before, self.until);
        let is_new = |record: &&Record| before == 0 || record.position > before;
        let mut last = None;
        for record in records.iter().filter(is_new).take_while(|record| record.position <= until) {
            self.outputs.clear();
            let folded = self.fold.replay(record, &mut self.outputs);
            folded.map_err(|error| ReplayError::Fold { position: record.position, error })?;
            self.report.records += 1;
            self.compare_base();
            last = Some(record);
        }
        let got = self.fold.output_hash();
        // The hash is that after the last record.
        if let (Some(first), Some(last)) = (records.first(), last)
            && records.last().is_some_and(|of_hash| of_hash.position == last.position)
            && outputs != got
        {
            self.report.outputs_differ.push(self.fold.position());
            self.report.first_difference.get_or_insert_with(|| OutputDifference {
                from: first.position,
                to: last.position,
                input: last.input.clone(),
                expected: outputs,
                got,
            });
        }
        Ok(())
    }

    /// A later part begins with a state of a position that is here now: both are one.
    fn compare_base(&mut self) {
        let position = self.fold.position();
        if let Some(expected) = self.bases.remove(&position) {
            let (time_us, got) = (self.fold.time_us(), self.fold.state_hash());
            self.report.checkpoints.push(CheckpointResult { position, time_us, expected, got });
        }
    }

    /// Another part follows, or the recording is over.
    fn part_ends(&mut self, why: Option<String>) -> Replayed {
        if let Some(Part { reader, until }) = self.parts.next() {
            (self.reader, self.until, self.before) = (reader, until, self.fold.position());
            self.report.parts += 1;
            return Replayed::Batch;
        }
        self.is_over = true;
        self.missing.extend(why);
        self.report.incomplete = (!self.missing.is_empty()).then(|| self.missing.join("; "));
        Replayed::End
    }

    /// The report so far.
    pub fn finish(mut self) -> ReplayReport {
        self.report.elapsed = self.begun.elapsed();
        self.report.time_us = self.fold.time_us();
        self.report.last = self.fold.state_hash();
        self.report
    }
}

/// Whether a part is of a module, as it was rewritten.
fn is_of(header: &Header, given: &Module) -> Result<(), ReplayError> {
    if header.module == given.hash() && header.rewriter == given.rewriter_version() {
        return Ok(());
    }
    let (recorded, rewriter) = (header.module.to_string(), header.rewriter);
    Err(ReplayError::Module { recorded, rewriter, given: given.hash().to_string() })
}

/// The state that a later part begins with.
fn base(mut reader: Reader<'_>) -> Option<(Position, StateHash)> {
    let Ok(Some(Item::Header(_))) = reader.next_item() else { return None };
    let Ok(Some(Item::GoesOn { .. })) = reader.next_item() else { return None };
    match reader.next_item() {
        Ok(Some(Item::Checkpoint { position, state, full: Some(_) })) => Some((position, state)),
        _ => None,
    }
}

/// Replays a recording to its end.
///
/// # Errors
/// As [`Replayer::new`] and [`Replayer::step`].
pub fn replay_recording(module: &Module, bytes: &[u8]) -> Result<ReplayReport, ReplayError> {
    let mut replayer = Replayer::new(module, bytes)?;
    while replayer.step()? != Replayed::End {}
    Ok(replayer.finish())
}
