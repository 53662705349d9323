//! What a new session costs, against a raw pooled instance on which `start` was called; and what an upload costs, against
//! compiling the same bytes.

use ringside_sandbox::Module;
use wasmtime::InstancePre;

use crate::bench::{BenchError, Context};
use crate::figure::Figure;
use crate::machine::{SERVER_CORE, on_core, thread_time};
use crate::plain::{self, Plain, Sink};
use crate::play::{self, Play};
use crate::statistics::Paired;

/// Sessions that are made before any is dropped.
const SESSIONS: usize = 128;

/// A new session.
pub fn session(context: &Context) -> Result<Vec<Figure>, BenchError> {
    on_core(SERVER_CORE, || {
        let mut figures = Vec::new();
        for name in ["pong", "arena"] {
            let bytes = context.guest(name)?;
            let module = play::sandbox()?.upload(&bytes).map_err(BenchError::setup)?;
            let raw = plain::link(&plain::engine(Some(SESSIONS as u32))?, &bytes)?;
            // Slots that were never used are the dearest: both sides use theirs once beforehand.
            sessions(&module)?;
            instances(&raw)?;
            let pairs = Paired::measure(context.pairs(21), || sessions(&module), || instances(&raw))?;
            figures.push(Figure::paired("create_vs_raw", name, "us", &pairs).with_target(3.0, true));
        }
        Ok(figures)
    })
}

fn sessions(module: &Module) -> Result<f64, BenchError> {
    let mut made = Vec::with_capacity(SESSIONS);
    let begun = thread_time();
    for _ in 0..SESSIONS {
        made.push(Play::start(module, &[])?);
    }
    Ok((thread_time() - begun).as_secs_f64() * 1e6 / SESSIONS as f64)
}

fn instances(module: &InstancePre<Sink>) -> Result<f64, BenchError> {
    let mut made = Vec::with_capacity(SESSIONS);
    let begun = thread_time();
    for _ in 0..SESSIONS {
        let mut instance = Plain::new(module)?;
        instance.start(&[])?;
        made.push(instance);
    }
    Ok((thread_time() - begun).as_secs_f64() * 1e6 / SESSIONS as f64)
}

/// An upload: checked, rewritten, compiled, described.
pub fn upload(context: &Context) -> Result<Vec<Figure>, BenchError> {
    on_core(SERVER_CORE, || {
        let (sandbox, engine) = (play::sandbox()?, plain::engine(None)?);
        let mut figures = Vec::new();
        for name in ["chess", "pong", "arena"] {
            let bytes = context.guest(name)?;
            let timed = |work: &dyn Fn() -> Result<(), BenchError>| {
                let begun = thread_time();
                work()?;
                Ok((thread_time() - begun).as_secs_f64() * 1e3)
            };
            let ours = || timed(&|| sandbox.upload(&bytes).map(drop).map_err(BenchError::setup));
            let reference = || timed(&|| plain::compile(&engine, &bytes).map(drop));
            let pairs = Paired::measure::<BenchError>(context.pairs(7), ours, reference)?;
            figures.push(Figure::paired("compile_ms", name, "ms", &pairs).with("bytes", bytes.len()));
        }
        Ok(figures)
    })
}
