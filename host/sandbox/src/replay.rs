//! Folding a recording again: the proof that a session is its log.

use std::time::{Duration, Instant};

use ringside_core::ids::{Position, SessionTime, StateHash};
use ringside_core::log::Input;
use ringside_core::output::Output;
use ringside_core::recording::{About, EndReason, Header, Item, Reader, RecordingError};

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
    /// Why the recording is not the whole session, if it is not: its worker was stopped, a gap, or no end marker.
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

/// Replays a recording frame by frame.
pub struct Replayer<'a> {
    reader: Reader<'a>,
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
        let mut reader = Reader::new(bytes)?;
        let Some(Item::Header(header)) = reader.next_item()? else { return Err(ReplayError::NoHeader) };
        if header.module != module.hash() || header.rewriter != module.rewriter_version() {
            return Err(ReplayError::Module {
                recorded: header.module.to_string(),
                rewriter: header.rewriter,
                given: module.hash().to_string(),
            });
        }
        let guest_memory_bytes = usize::try_from(header.guest_memory_bytes).unwrap_or(usize::MAX);
        let options = FoldOptions { role: Role::Replay, guest_memory_bytes };
        let mut fold = Fold::new(module, options).map_err(|error| ReplayError::Fold { position: 0, error })?;
        let report = ReplayReport {
            header: header.clone(),
            about: None,
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
        Ok(Replayer { reader, header, module, options, fold, outputs, report, is_over: false, begun })
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
                return Ok(self.ends(Some(error.to_string())));
            }
            Err(error) => return Err(error.into()),
        };
        match item {
            None => {
                let at = self.fold.position();
                let why = format!("it ends at position {at} without an end marker: the tail may be lost");
                Ok(self.ends(Some(why)))
            }
            Some(Item::Header(_)) => Ok(Replayed::Batch),
            Some(Item::About(about)) => {
                self.report.about = Some(about);
                Ok(Replayed::Batch)
            }
            Some(Item::Batch { records, outputs }) => {
                for record in &records {
                    self.outputs.clear();
                    let folded = self.fold.replay(record, &mut self.outputs);
                    folded.map_err(|error| ReplayError::Fold { position: record.position, error })?;
                    self.report.records += 1;
                }
                let got = self.fold.output_hash();
                if outputs != got {
                    self.report.outputs_differ.push(self.fold.position());
                    if let (None, [first, .., last] | [first @ last]) = (&self.report.first_difference, &records[..]) {
                        self.report.first_difference = Some(OutputDifference {
                            from: first.position,
                            to: last.position,
                            input: last.input.clone(),
                            expected: outputs,
                            got,
                        });
                    }
                }
                Ok(Replayed::Batch)
            }
            Some(Item::Checkpoint { position, state, full }) => {
                let full = full.map(|bytes| State::decode(&bytes)).transpose();
                let full = full.map_err(|error| ReplayError::State { position, error })?;
                if let (0, Some(full)) = (self.fold.position(), &full) {
                    // The state that a part of a log begins with.
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
            Some(Item::Gap { from }) => Ok(self.ends(Some(format!("the recorder missed the records from {from} on")))),
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
                    }
                };
                Ok(self.ends(why))
            }
        }
    }

    /// The recording is over.
    fn ends(&mut self, incomplete: Option<String>) -> Replayed {
        self.is_over = true;
        self.report.incomplete = incomplete;
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

/// Replays a recording to its end.
///
/// # Errors
/// As [`Replayer::new`] and [`Replayer::step`].
pub fn replay_recording(module: &Module, bytes: &[u8]) -> Result<ReplayReport, ReplayError> {
    let mut replayer = Replayer::new(module, bytes)?;
    while replayer.step()? != Replayed::End {}
    Ok(replayer.finish())
}
