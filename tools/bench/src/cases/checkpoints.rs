//! What a durable session's checkpoints take in its node's log, and what one costs a follower that keeps the log: bytes of
//! checkpoints that are increments where that is less, against the same ones whole. Matches of bots in virtual time, so a
//! run gives what the run before gave. And how long the copy keeps a worker's other sessions waiting.

use ringside_core::ids::Slot;
use ringside_core::limits::{CHECKPOINT_INTERVAL_US, INCREMENTS};
use ringside_core::log::Input;
use ringside_sandbox::{Encoded, Module, State};
use serde_json::Map;

use crate::bench::{BenchError, Context};
use crate::bots::Sample;
use crate::figure::{Figure, rounded};
use crate::machine::{SERVER_CORE, on_core, thread_time};
use crate::play::{self, Play};
use crate::statistics::{median, quantile};

/// Checkpoints of each match: four whole ones where the rest are increments.
const CHECKPOINTS: usize = 4 * (INCREMENTS as usize + 1);

/// Modules, the sample whose bots play them, and ticks a second. The last is the main case: a match as most are.
const MATCHES: [(&str, Sample, u64); 4] = [
    ("pong", Sample::Pong, 60),
    ("arena60-heavy", Sample::Arena60, 60),
    ("arena60", Sample::Arena60, 60),
    ("arena", Sample::Arena, 20),
];

/// Measures.
pub fn bytes(context: &Context) -> Result<Vec<Figure>, BenchError> {
    on_core(SERVER_CORE, || {
        let sandbox = play::sandbox()?;
        let mut figures = Vec::new();
        for (name, sample, rate) in MATCHES {
            let module = sandbox.upload(&context.guest(name)?).map_err(BenchError::setup)?;
            figures.push(measure(name, &module, sample, rate)?);
        }
        Ok(figures)
    })
}

/// Matches whose state is copied: the last is as large as a session may be.
const COPIED: [(&str, Sample); 2] = [("arena60", Sample::Arena60), ("arena60-heavy", Sample::Arena60)];
/// Copies of each. Those before are not counted: they find out what the allocator has.
const COPIES: usize = 200;
/// Between two copies, ticks.
const TICKS: usize = 6;

/// Measures how long a copy of a session's state takes, within a turn of its worker.
pub fn stall(context: &Context) -> Result<Vec<Figure>, BenchError> {
    on_core(SERVER_CORE, || {
        let sandbox = play::sandbox()?;
        let mut figures = Vec::new();
        for (name, sample) in COPIED {
            let module = sandbox.upload(&context.guest(name)?).map_err(BenchError::setup)?;
            figures.push(copies(name, &module, sample)?);
        }
        Ok(figures)
    })
}

/// The copy, against a bare copy of as many bytes to where bytes have been before.
fn copies(name: &'static str, module: &Module, sample: Sample) -> Result<Figure, BenchError> {
    let mut session = Play::start(module, &sample.config())?;
    for slot in 0..sample.players() {
        session.join(slot)?;
    }
    let (mut taken, mut bare, mut kept) = (Vec::new(), Vec::new(), None);
    for _ in 0..2 * COPIES {
        for _ in 0..TICKS {
            session.pass(1_000_000 / 60);
            session.run(Input::Tick)?;
            session.acknowledge()?;
        }
        let begun = thread_time();
        // As a session does: the one before is let go when this one is there.
        kept = Some(session.fold.capture().map_err(BenchError::setup)?);
        taken.push((thread_time() - begun).as_secs_f64() * 1e3);
    }
    let bytes = kept.as_ref().map_or(0, State::size_bytes);
    let (from, mut to) = (vec![1_u8; bytes], vec![2_u8; bytes]);
    for _ in 0..COPIES {
        let begun = thread_time();
        std::hint::black_box(&mut to).copy_from_slice(std::hint::black_box(&from));
        bare.push((thread_time() - begun).as_secs_f64() * 1e3);
    }
    let taken = taken.split_off(COPIES);
    let (p50, bare_p50) = (median(taken.clone()), median(bare.clone()));
    Ok(Figure {
        name: "checkpoint_stall_ms",
        case: format!("{name}, {:.1} MiB", bytes as f64 / f64::from(1 << 20)),
        value: quantile(taken, 0.99),
        unit: "ms",
        reference: quantile(bare, 0.99),
        ratio: p50 / bare_p50,
        spread: 0.0,
        extra: Map::new(),
    }
    .with("p50", rounded(p50))
    .with("reference_p50", rounded(bare_p50)))
}

#[derive(Default)]
struct Sum {
    bytes: usize,
    cpu_ms: f64,
    increments: usize,
}

impl Sum {
    fn add(&mut self, state: &State, base: Option<&State>) -> bool {
        let begun = thread_time();
        let Encoded { bytes, base } = state.encode_after(base);
        self.cpu_ms += (thread_time() - begun).as_secs_f64() * 1e3;
        self.bytes += bytes.len();
        self.increments += usize::from(base.is_some());
        base.is_some()
    }
}

fn measure(name: &'static str, module: &Module, sample: Sample, rate: u64) -> Result<Figure, BenchError> {
    let mut session = Play::start(module, &sample.config())?;
    for slot in 0..sample.players() {
        session.join(slot)?;
    }
    let (mut written, mut whole, mut last, mut in_a_row) = (Sum::default(), Sum::default(), None::<State>, 0);
    for _ in 0..CHECKPOINTS {
        let due = session.time_us() + CHECKPOINT_INTERVAL_US;
        while session.time_us() < due {
            session.pass(1_000_000 / rate);
            for slot in 0..sample.players() {
                let view = session.fold.view(Slot(slot)).unwrap_or_default().to_vec();
                let input = sample.input(slot, &view)?;
                if !input.is_empty() {
                    session.datagram(slot, &input)?;
                }
            }
            session.run(Input::Tick)?;
            session.acknowledge()?;
        }
        let state = session.fold.capture().map_err(BenchError::setup)?;
        let base = last.as_ref().filter(|_| in_a_row < INCREMENTS);
        in_a_row = if written.add(&state, base) { in_a_row + 1 } else { 0 };
        whole.add(&state, None);
        last = Some(state);
    }
    let each = |sum: &Sum| sum.bytes as f64 / CHECKPOINTS as f64;
    Ok(Figure {
        name: "checkpoint_bytes_ratio",
        case: format!("{name}, every 5 s"),
        value: each(&written),
        unit: "bytes",
        reference: each(&whole),
        ratio: each(&written) / each(&whole),
        spread: 0.0,
        extra: Map::new(),
    }
    .with("increments", written.increments)
    .with("checkpoints", CHECKPOINTS)
    .with("cpu_ms", rounded(written.cpu_ms / CHECKPOINTS as f64))
    .with("whole_cpu_ms", rounded(whole.cpu_ms / CHECKPOINTS as f64)))
}
