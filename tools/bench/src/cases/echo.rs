//! How long a message takes to its effect and back, on a prompt worker and on the ordinary quinn echo; and whether idle
//! sessions beside them slow active ones down. Both servers live side by side; their loads take turns in slices.

use std::time::Duration;

use crate::bench::{BenchError, Context};
use crate::child::Running;
use crate::figure::{Figure, rounded};
use crate::load::echo::Latencies;
use crate::machine::{LOAD_CORE, SERVER_CORE};
use crate::serve::worker::IdleCost;
use crate::statistics::Paired;

/// One turn of a load.
const SLICE: Duration = Duration::from_secs(2);
/// Warm sessions beside the active one.
const IDLE: usize = 2000;
/// Host's bytes that an idle warm session may take.
const IDLE_TARGET: f64 = 16384.0;

/// Median.
pub fn p50(context: &Context) -> Result<Vec<Figure>, BenchError> {
    let pairs = latencies(context, |latencies| latencies.p50)?;
    let slack = pairs.control().unwrap_or(0.0) / 2.0;
    let figure = Figure::paired("echo_p50", "64 B, 800 a second", "us", &pairs);
    Ok(vec![figure.with_target(rounded(1.0 + slack), true)])
}

/// 99th percentile.
pub fn p99(context: &Context) -> Result<Vec<Figure>, BenchError> {
    let pairs = latencies(context, |latencies| latencies.p99)?;
    Ok(vec![Figure::paired("echo_p99", "64 B, 800 a second", "us", &pairs).with_target(1.2, true)])
}

fn latencies(context: &Context, pick: impl Fn(&Latencies) -> f64) -> Result<Paired, BenchError> {
    let (mut ours, mut reference) = (worker(context, 0, "1250")?, quinn()?);
    // The first turn finds the path and fills the caches.
    ours.turn()?;
    reference.turn()?;
    Paired::measure(context.pairs(9), || Ok(pick(&ours.turn()?)), || Ok(pick(&reference.turn()?)))
}

/// What idle sessions cost: the active ones' throughput, and memory.
pub fn idle(context: &Context) -> Result<Vec<Figure>, BenchError> {
    let (mut beside, mut alone) = (worker(context, IDLE, "250")?, worker(context, 0, "250")?);
    beside.turn()?;
    alone.turn()?;
    let throughput =
        Paired::measure(context.pairs(9), || beside.messages_a_cpu_second(), || alone.messages_a_cpu_second())?;
    let active = Figure::paired("idle_session_bytes", format!("throughput beside {IDLE} idle"), "1/s", &throughput);
    let cost = beside.idle.ok_or_else(|| BenchError::Child("does not know its memory".into()))?;
    let bytes = Figure {
        name: "idle_session_bytes",
        case: "host's part, beside the guest's pages".into(),
        value: cost.host,
        unit: "B",
        reference: cost.guest,
        ratio: cost.host / cost.guest.max(1.0),
        spread: 0.0,
        extra: Default::default(),
    };
    let bytes = bytes.with("target", format!("value <= {IDLE_TARGET}")).with("met", cost.host <= IDLE_TARGET);
    Ok(vec![active.with_target(0.97, false), bytes.with("sessions", IDLE)])
}

/// A server and its load.
struct Side {
    // Ended in this order.
    load: Running,
    server: Running,
    idle: Option<IdleCost>,
}

fn worker(context: &Context, idle: usize, interval_us: &str) -> Result<Side, BenchError> {
    let guest = context.guest_path("echo");
    let guest = guest.to_str().ok_or_else(|| BenchError::Setup("the guests' directory is not UTF-8".into()))?;
    let server = Running::start(SERVER_CORE, &["serve", "worker", guest, "--idle", &idle.to_string()])?;
    let mut words = server.ready().split(' ');
    let door = words.next().unwrap_or_default().to_owned();
    let idle = words.next().map(str::parse).transpose()?;
    let load = Running::start(LOAD_CORE, &["load", "worker-echo", &door, "--interval-us", interval_us])?;
    Ok(Side { load, server, idle })
}

fn quinn() -> Result<Side, BenchError> {
    let server = Running::start(SERVER_CORE, &["serve", "quinn-echo"])?;
    let load = Running::start(LOAD_CORE, &["load", "quinn-echo", server.ready()])?;
    Ok(Side { load, server, idle: None })
}

impl Side {
    /// Lets the load work for a slice. Every message must come back.
    fn turn(&mut self) -> Result<Latencies, BenchError> {
        let latencies: Latencies = self.load.slice(SLICE)?;
        if latencies.answered < latencies.sent {
            return Err(BenchError::Child(format!("answered {} of {}", latencies.answered, latencies.sent)));
        }
        Ok(latencies)
    }

    fn messages_a_cpu_second(&mut self) -> Result<f64, BenchError> {
        let before = self.server.cpu_time()?;
        let messages = self.turn()?.answered as f64;
        Ok(messages / self.server.cpu_time()?.saturating_sub(before).as_secs_f64())
    }
}
