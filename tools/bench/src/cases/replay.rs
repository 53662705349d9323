//! How fast a recording folds again: a match of eight bots at 60 Hz, every input of theirs in it, against the time that
//! it took to play.

use ringside_core::ids::{Epoch, Incarnation, SessionId};
use ringside_core::limits::{CHECKPOINT_INTERVAL_US, GUEST_MEMORY_BYTES};
use ringside_core::log::{Input, Outcome, Record};
use ringside_core::recording::{self, EndReason, Header, Item};
use ringside_sandbox::{Module, replay_recording};

use crate::bench::{BenchError, Context};
use crate::bots::Sample;
use crate::figure::Figure;
use crate::machine::{SERVER_CORE, on_core, thread_time};
use crate::play::{self, Play, start};
use crate::statistics::Paired;

/// Length of the match, ticks: a minute.
const TICKS: u64 = 3600;
const TICK_US: u64 = 1_000_000 / 60;
/// Records of a batch.
const BATCH: usize = 64;

/// Measures.
pub fn measure(context: &Context) -> Result<Vec<Figure>, BenchError> {
    let bytes = context.guest(Sample::Arena60.module())?;
    let (pairs, length) = on_core(SERVER_CORE, || {
        let module = play::sandbox()?.upload(&bytes).map_err(BenchError::setup)?;
        let recorded = record(&module)?;
        let pairs = Paired::measure(context.pairs(9), || replay(&module, &recorded), || Ok::<_, BenchError>(1.0))?;
        Ok::<_, BenchError>((pairs, recorded.len()))
    })?;
    let figure = Figure::paired("replay_speed", "arena60, 8 bots, 1 minute", "x", &pairs);
    Ok(vec![figure.with_target(100.0, false).with("recorded_bytes", length)])
}

/// How many seconds of the match a second of CPU folds.
fn replay(module: &Module, recorded: &[u8]) -> Result<f64, BenchError> {
    let begun = thread_time();
    let report = replay_recording(module, recorded).map_err(BenchError::setup)?;
    let used = thread_time() - begun;
    if !report.agrees() || report.incomplete.is_some() {
        return Err(BenchError::Setup("the replay disagrees with the recording".into()));
    }
    Ok(report.time_us as f64 / used.as_micros().max(1) as f64)
}

/// Plays the match in virtual time and records it as a worker does.
fn record(module: &Module) -> Result<Vec<u8>, BenchError> {
    let sample = Sample::Arena60;
    let mut recorder = Recorder { file: Vec::new(), records: Vec::new() };
    recording::begin(&mut recorder.file);
    recorder.append(&Item::Header(Header {
        session: SessionId {
            game: module.description().name.clone(),
            key: "bench".parse().map_err(BenchError::setup)?,
            incarnation: Incarnation(1),
        },
        module: module.hash(),
        rewriter: module.rewriter_version(),
        epoch: Epoch { number: 1, node: 1, node_generation: 1 },
        guest_memory_bytes: GUEST_MEMORY_BYTES as u64,
    }))?;
    let mut session = Play::start(module, &[])?;
    let input = start(module, &[]);
    recorder.records.push(Record { position: 1, time_us: 0, input, outcome: Outcome::Applied });
    for slot in 0..sample.players() {
        recorder.records.push(session.join(slot)?);
    }
    let mut checkpointed = 0;
    for _ in 0..TICKS {
        session.pass(TICK_US);
        for slot in 0..sample.players() {
            let view = session.fold.view(ringside_core::ids::Slot(slot)).unwrap_or_default().to_vec();
            let input = sample.input(slot, &view)?;
            if !input.is_empty() {
                recorder.records.push(session.datagram(slot, &input)?);
            }
        }
        recorder.records.push(session.run(Input::Tick)?);
        recorder.records.extend(session.acknowledge()?);
        let checkpoint = session.time_us() - checkpointed >= CHECKPOINT_INTERVAL_US;
        if checkpoint || recorder.records.len() >= BATCH {
            recorder.flush(&session)?;
        }
        if checkpoint {
            checkpointed = session.time_us();
            let state = session.fold.state_hash();
            recorder.append(&Item::Checkpoint { position: session.fold.position(), state, full: None })?;
        }
    }
    recorder.flush(&session)?;
    recorder.append(&Item::End { position: session.fold.position(), reason: EndReason::SessionEnded })?;
    Ok(recorder.file)
}

struct Recorder {
    file: Vec<u8>,
    records: Vec<Record>,
}

impl Recorder {
    fn flush(&mut self, session: &Play) -> Result<(), BenchError> {
        let records = std::mem::take(&mut self.records);
        self.append(&Item::Batch { records, outputs: session.fold.output_hash() })
    }

    fn append(&mut self, item: &Item) -> Result<(), BenchError> {
        recording::append(&mut self.file, item).map_err(BenchError::setup)
    }
}
