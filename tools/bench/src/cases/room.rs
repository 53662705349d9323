//! What a match costs its server: CPU time of the server's process a match and second, eight players at 20 Hz with
//! the arena's rules, each side in fresh processes, in turns.

use std::time::{Duration, Instant};

use crate::bench::{BenchError, Context};
use crate::child::{Counts, Running};
use crate::colyseus::Colyseus;
use crate::figure::{Figure, rounded};
use crate::machine::{LOAD_CORE, SERVER_CORE};
use crate::statistics::Paired;
use crate::traffic::{PLAYERS, Traffic};

/// Matches at a time.
const MATCHES: usize = 50;
/// Not measured after everybody is seated: caches, first packets, path discovery.
const WARM_UP: Duration = Duration::from_millis(1500);
/// The same for a server whose compiler needs to see its code run.
const JIT_WARM_UP: Duration = Duration::from_secs(5);
/// Measured.
const WINDOW: Duration = Duration::from_secs(4);

/// One side's measurement.
#[derive(Debug)]
struct Cost {
    /// CPU milliseconds a match and second.
    milliseconds: f64,
    /// What the players counted: what they sent and got.
    players: Counts,
    /// What the server counted.
    server: Counts,
    /// How long was counted, seconds.
    seconds: f64,
}

impl Cost {
    /// Views that a player got, and inputs that a player sent, a second.
    fn rates(&self) -> (f64, f64) {
        let each = |count: u64| count as f64 / self.seconds / (MATCHES * PLAYERS) as f64;
        (each(self.players.received), each(self.players.sent))
    }
}

/// Against bare UDP with AES-128-GCM: datagrams of the same number and mean size, in one batched loop.
pub fn against_udp(context: &Context) -> Result<Vec<Figure>, BenchError> {
    // The floor's datagrams are as long as ours are on average.
    let sizes = ringside(context, None)?.players;
    let mean = |bytes: u64, count: u64| (bytes / count.max(1)) as usize;
    let (up, down) = (mean(sizes.sent_bytes, sizes.sent), mean(sizes.received_bytes, sizes.received));
    let traffic = Traffic { matches: MATCHES, up, down };
    let arguments = traffic.arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let pairs = Rooms::measure(context, || {
        let server = Running::start(SERVER_CORE, &[&["serve", "floor"], &arguments[..]].concat())?;
        let load = Running::start(LOAD_CORE, &[&["load", "floor", server.ready()], &arguments[..]].concat())?;
        observe(server, load, WARM_UP)
    })?;
    Ok(vec![pairs.figure("room_cpu_vs_udp").with("direction", "2 x").with("bytes", format!("{up} up, {down} down"))])
}

/// Against the ordinary quinn server.
pub fn against_quinn(context: &Context) -> Result<Vec<Figure>, BenchError> {
    let matches = MATCHES.to_string();
    let pairs = Rooms::measure(context, || {
        let server = Running::start(SERVER_CORE, &["serve", "quinn-room"])?;
        let load = Running::start(LOAD_CORE, &["load", "quinn-room", server.ready(), "--matches", &matches])?;
        observe(server, load, WARM_UP)
    })?;
    Ok(vec![pairs.figure("room_cpu_vs_quinn").with_target(0.5, true)])
}

/// Against Colyseus.
pub fn against_colyseus(context: &Context) -> Result<Vec<Figure>, BenchError> {
    let colyseus = Colyseus::install(context)?;
    let pairs = Rooms::measure(context, || {
        let server = colyseus.serve()?;
        let load = colyseus.load(server.ready(), MATCHES)?;
        observe(server, load, JIT_WARM_UP)
    })?;
    let figure = pairs.figure("room_cpu_vs_colyseus").with_target(0.5, true);
    Ok(vec![figure.with("colyseus", colyseus.version())])
}

/// The same worker with and without recording.
pub fn record_cost(context: &Context) -> Result<Vec<Figure>, BenchError> {
    let file = context.scratch("recordings")?.join("arena.rsrec");
    let mut pairs = Paired::default();
    for _ in 0..context.pairs(6) {
        let recording = ringside(context, Some(&file))?;
        pairs.push(recording.milliseconds, ringside(context, None)?.milliseconds);
    }
    let bytes = std::fs::metadata(&file).map(|data| data.len()).unwrap_or(0);
    // Absent where nothing was recorded, which the size shows.
    let _ = std::fs::remove_file(&file);
    let figure = Figure::paired("record_cost", format!("{MATCHES} matches"), "ms", &pairs);
    Ok(vec![figure.with_target(1.05, true).with("recorded_bytes", bytes)])
}

/// Ours and a reference in turns.
struct Rooms {
    pairs: Paired,
    ours: Cost,
    reference: Cost,
}

impl Rooms {
    fn measure(
        context: &Context,
        mut reference: impl FnMut() -> Result<Cost, BenchError>,
    ) -> Result<Rooms, BenchError> {
        let mut pairs = Paired::default();
        loop {
            let (ours, reference) = (ringside(context, None)?, reference()?);
            pairs.push(ours.milliseconds, reference.milliseconds);
            if pairs.len() >= context.pairs(5) {
                return Ok(Rooms { pairs, ours, reference });
            }
        }
    }

    fn figure(&self, name: &'static str) -> Figure {
        let ((views, inputs), (other_views, other_inputs)) = (self.ours.rates(), self.reference.rates());
        let packets = |count: u64| rounded(count as f64 / self.ours.seconds / MATCHES as f64);
        Figure::paired(name, format!("{MATCHES} matches"), "ms", &self.pairs)
            .with("views_a_second", rounded(views))
            .with("reference_views_a_second", rounded(other_views))
            .with("inputs_a_second", rounded(inputs))
            .with("reference_inputs_a_second", rounded(other_inputs))
            .with("packets_in_a_match", packets(self.ours.server.received))
            .with("packets_out_a_match", packets(self.ours.server.sent))
    }
}

/// Measures Ringside once.
fn ringside(context: &Context, record: Option<&std::path::Path>) -> Result<Cost, BenchError> {
    let matches = MATCHES.to_string();
    let guest = context.guest_path("arena");
    let mut arguments = vec!["serve", "worker", text(&guest)?, "--sessions", &matches];
    if let Some(file) = record {
        arguments.extend(["--record", text(file)?]);
    }
    let server = Running::start(SERVER_CORE, &arguments)?;
    let door = server.ready().split(' ').next().unwrap_or_default();
    let load = Running::start(LOAD_CORE, &["load", "worker-room", door, "--matches", &matches])?;
    observe(server, load, WARM_UP)
}

fn text(path: &std::path::Path) -> Result<&str, BenchError> {
    path.to_str().ok_or_else(|| BenchError::Setup(format!("{} is not UTF-8", path.display())))
}

/// Watches a server and its load for the window.
fn observe(mut server: Running, mut load: Running, warm_up: Duration) -> Result<Cost, BenchError> {
    std::thread::sleep(warm_up);
    let (served, played, cpu) = (server.counts()?, load.counts()?, server.cpu_time()?);
    let started = Instant::now();
    std::thread::sleep(WINDOW);
    let used = server.cpu_time()?.saturating_sub(cpu);
    let seconds = started.elapsed().as_secs_f64();
    Ok(Cost {
        milliseconds: used.as_secs_f64() * 1e3 / seconds / MATCHES as f64,
        players: load.counts()?.since(&played),
        server: server.counts()?.since(&served),
        seconds,
    })
}
