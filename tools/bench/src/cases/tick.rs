//! What determinism and interruption cost a guest: ticks of the sample games as Ringside runs them against the same
//! module in plain wasmtime, with the same players; native Rust beside them.
//!
//! The cases `NAME, whole` also count what the fold does round a tick: its watch, and taking and hashing its outputs.
//! The others compare the rewritten code with the original in the same embedding.

use ringside_core::log::Input;
use ringside_guest::{Game, Match, Slot};
use ringside_sandbox::{Module, rewrite, validate};

use crate::bench::{BenchError, Context};
use crate::bots::Sample;
use crate::figure::{Figure, rounded};
use crate::machine::{SERVER_CORE, on_core, thread_time};
use crate::plain::{self, Plain, Sink};
use crate::play::{self, Play};
use crate::statistics::{Paired, geometric_mean};

/// Ticks between two inputs of every player, and between two looks at the clock.
const BATCH: u64 = 10;
/// Batches of a measurement.
const BATCHES: usize = 600;

/// Every player's input, batch by batch.
type Script = Vec<Vec<Vec<u8>>>;

/// Measures.
pub fn measure(context: &Context) -> Result<Vec<Figure>, BenchError> {
    on_core(SERVER_CORE, || {
        let (mut figures, mut code, mut whole) = (Vec::new(), Mean::default(), Mean::default());
        for sample in Sample::ALL {
            let contest = Contest::new(sample, &context.guest(sample.module())?)?;
            let (of_code, of_whole) = contest.measure(context)?;
            code.add(&of_code);
            whole.add(&of_whole);
            figures.push(of_whole);
            figures.push(of_code);
        }
        figures.push(whole.figure("all, whole").with_target(1.10, true));
        figures.push(code.figure("all").with_target(1.10, true));
        Ok(figures)
    })
}

/// One sample game, ready in every form.
struct Contest {
    sample: Sample,
    original: wasmtime::InstancePre<Sink>,
    rewritten: wasmtime::InstancePre<Sink>,
    module: Module,
    script: Script,
}

impl Contest {
    fn new(sample: Sample, bytes: &[u8]) -> Result<Contest, BenchError> {
        let inspection = validate::inspect(bytes).map_err(BenchError::setup)?;
        let rewritten = rewrite::rewrite(bytes, &inspection).map_err(BenchError::setup)?;
        let engine = plain::engine(None)?;
        let (original, rewritten) = (plain::link(&engine, bytes)?, plain::link(&engine, &rewritten)?);
        let module = play::sandbox()?.upload(bytes).map_err(BenchError::setup)?;
        let script = script(sample, &original)?;
        Ok(Contest { sample, original, rewritten, module, script })
    }

    /// Figures of the code alone and of the whole.
    fn measure(&self, context: &Context) -> Result<(Figure, Figure), BenchError> {
        let (mut code, mut whole, mut native) = (Paired::default(), Paired::default(), Vec::new());
        for _ in 0..context.pairs(11) {
            let (rewritten, view) = self.plain(&self.rewritten)?;
            let (original, same) = self.plain(&self.original)?;
            if view != same {
                return Err(BenchError::Setup("the rewritten module computes something else".into()));
            }
            code.push(rewritten, original);
            whole.push(self.fold()?, original);
            native.push(self.native());
        }
        let native = rounded(crate::statistics::median(native));
        let name = self.sample.module();
        let figure = |case: String, pairs| Figure::paired("tick_vs_plain", case, "ns", pairs).with("native", native);
        Ok((figure(name.to_owned(), &code), figure(format!("{name}, whole"), &whole)))
    }

    /// Nanoseconds a tick in plain wasmtime, and the last view.
    fn plain(&self, module: &wasmtime::InstancePre<Sink>) -> Result<(f64, Vec<u8>), BenchError> {
        let mut guest = begin(self.sample, module)?;
        let (mut nanoseconds, mut tick) = (0, 0);
        for inputs in &self.script {
            for (slot, input) in inputs.iter().enumerate().filter(|(_, input)| !input.is_empty()) {
                guest.datagram(slot as u32, input)?;
            }
            let begun = thread_time();
            for _ in 0..BATCH {
                tick += 1;
                guest.tick(tick)?;
            }
            nanoseconds += (thread_time() - begun).as_nanos();
        }
        Ok((each(nanoseconds), guest.sink().view.clone()))
    }

    /// Nanoseconds a tick through the fold.
    fn fold(&self) -> Result<f64, BenchError> {
        let mut session = Play::start(&self.module, &self.sample.config())?;
        for slot in 0..self.sample.players() {
            session.join(slot)?;
        }
        let mut nanoseconds = 0;
        for inputs in &self.script {
            for (slot, input) in inputs.iter().enumerate().filter(|(_, input)| !input.is_empty()) {
                session.datagram(slot as u16, input)?;
            }
            let begun = thread_time();
            for _ in 0..BATCH {
                session.apply(&Input::Tick)?;
            }
            nanoseconds += (thread_time() - begun).as_nanos();
            session.acknowledge()?;
        }
        Ok(each(nanoseconds))
    }

    /// Nanoseconds a tick natively, in the SDK's harness.
    fn native(&self) -> f64 {
        match self.sample {
            Sample::Pong => self.native_as(Match::<pong::Pong>::with_config(1, &pong::Config { points: u32::MAX })),
            Sample::Arena => self.native_as(Match::<arena::Arena20>::new(1)),
            Sample::Arena60 => self.native_as(Match::<arena::Arena60>::new(1)),
        }
    }

    fn native_as<G: Game>(&self, mut game: Match<G>) -> f64 {
        for slot in 0..self.sample.players() {
            // No sample game refuses a player while seats are free.
            let _ = game.join_at(Slot(slot), "player");
        }
        let mut nanoseconds = 0;
        for inputs in &self.script {
            for (slot, input) in inputs.iter().enumerate().filter(|(_, input)| !input.is_empty()) {
                game.datagram_bytes(Slot(slot as u16), input);
            }
            let begun = thread_time();
            game.ticks(BATCH);
            nanoseconds += (thread_time() - begun).as_nanos();
            game.effects();
        }
        each(nanoseconds)
    }
}

fn each(nanoseconds: u128) -> f64 {
    nanoseconds as f64 / (BATCH * BATCHES as u64) as f64
}

fn begin(sample: Sample, module: &wasmtime::InstancePre<Sink>) -> Result<Plain, BenchError> {
    let mut guest = Plain::new(module)?;
    guest.start(&sample.config())?;
    for slot in 0..sample.players() {
        guest.join(slot.into(), "player")?;
    }
    Ok(guest)
}

/// What the bots say in a match, found out by playing it once.
fn script(sample: Sample, module: &wasmtime::InstancePre<Sink>) -> Result<Script, BenchError> {
    let mut guest = begin(sample, module)?;
    let mut script = Script::new();
    for batch in 0..BATCHES as u64 {
        let view = guest.sink().view.clone();
        let inputs = (0..sample.players()).map(|slot| sample.input(slot, &view)).collect::<Result<Vec<_>, _>>()?;
        for (slot, input) in inputs.iter().enumerate().filter(|(_, input)| !input.is_empty()) {
            guest.datagram(slot as u32, input)?;
        }
        for tick in 1..=BATCH {
            guest.tick(batch * BATCH + tick)?;
        }
        script.push(inputs);
    }
    Ok(script)
}

/// The geometric mean over the samples.
#[derive(Default)]
struct Mean {
    values: Vec<f64>,
    references: Vec<f64>,
    ratios: Vec<f64>,
    spread: f64,
    native: Vec<f64>,
}

impl Mean {
    fn add(&mut self, figure: &Figure) {
        self.values.push(figure.value);
        self.references.push(figure.reference);
        self.ratios.push(figure.ratio);
        self.spread = self.spread.max(figure.spread);
        self.native.extend(figure.extra.get("native").and_then(serde_json::Value::as_f64));
    }

    /// The figure; its spread is the widest of the samples'.
    fn figure(&self, case: &str) -> Figure {
        let figure = Figure {
            name: "tick_vs_plain",
            case: case.to_owned(),
            value: geometric_mean(&self.values),
            unit: "ns",
            reference: geometric_mean(&self.references),
            ratio: geometric_mean(&self.ratios),
            spread: self.spread,
            extra: Default::default(),
        };
        figure.with("native", rounded(geometric_mean(&self.native)))
    }
}
