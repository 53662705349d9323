//! Durable sessions that come back from the store. How many a node takes up in a second that was killed (`kill -9`) and is
//! started again, beside what is to be had at the very least on one core: reading the same bytes of the same directory,
//! folding the same inputs, and making one object for each session, with fsync. And what players notice of a node's process
//! that is replaced (`ringside node upgrade`) against one that is killed and started again with the same durable sessions:
//! each player's wait until they are answered again.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringside_client::Options;
use ringside_core::ids::Slot;
use ringside_core::log::Input;
use ringside_sandbox::Module;

use crate::bench::{BenchError, Context};
use crate::figure::{Figure, rounded};
use crate::machine::{LOAD_CORE, SERVER_CORE, on_core};
use crate::nodes::{Cluster, PATIENCE};
use crate::play::{self, Play};
use crate::player::{Players, runtime};
use crate::statistics::{Paired, quantile};
use crate::talk::Talk;

const GAME: &str = "echo-durable";
/// Sessions that are recovered, and what a player says in each before.
const RECOVERED: usize = 500;
const INPUTS: u64 = 20;
/// Those of a node that is replaced, or killed, a player each.
const REPLACED: usize = 1_000;
/// Of one in so many the player's wait is measured.
const MEASURED: usize = 10;
/// Between two messages of those, and of the others: their load is what half a core of the machine bears beside the rest.
const PAUSE: Duration = Duration::from_millis(100);
const OTHERS_PAUSE: Duration = Duration::from_secs(1);
/// How long players talk before, and afterwards.
const SETTLING: Duration = Duration::from_secs(3);
/// What a node says when all that it takes up is there.
const DONE: &str = "durable sessions of a run that is gone go on here";
/// What a handover may take of the time of a cold start.
const TARGET: f64 = 0.05;

fn key(number: usize) -> String {
    format!("m{number}")
}

/// A node with durable sessions.
fn node(context: &Context, name: &str, sessions: usize) -> Result<Cluster, BenchError> {
    let mut cluster = Cluster::start(context, name, 1, &[])?;
    cluster.keep_doors()?;
    cluster.push(context, GAME)?;
    for number in 0..sessions {
        cluster.create_of(1, GAME, &key(number), 1)?;
    }
    Ok(cluster)
}

fn players<T: Send + 'static, F>(
    cluster: &Cluster,
    sessions: impl Iterator<Item = usize>,
    does: impl Fn(Options, Arc<AtomicBool>) -> F + Send + 'static,
) -> Result<Players<T>, BenchError>
where
    F: Future<Output = Result<T, BenchError>> + 'static,
{
    let each = sessions.map(|number| (format!("{GAME}/{}", key(number)), 1)).collect();
    Players::start(cluster.door(1)?, each, does)
}

/// Sessions recovered a second.
pub fn speed(context: &Context) -> Result<Vec<Figure>, BenchError> {
    let module = play::sandbox()?.upload(&context.guest(GAME)?).map_err(BenchError::setup)?;
    on_core(LOAD_CORE, || {
        let (mut pairs, mut parts, mut started) = (Paired::default(), Vec::new(), Vec::new());
        for round in 0..context.pairs(3) {
            let mut cluster = node(context, &format!("recover-{round}"), RECOVERED)?;
            players(&cluster, 0..RECOVERED, say_and_go)?.finish()?;
            cluster.kill(1);
            let store = cluster.store();
            let least = on_core(SERVER_CORE, || Least::of(&module, &store, context, RECOVERED))?;
            let begun = Instant::now();
            let node = cluster.add(1)?;
            started.push(begun.elapsed().as_secs_f64() * 1e3);
            let deadline = Instant::now() + PATIENCE;
            let done = loop {
                if let Some(line) = node.logged().find(|line| line.text.contains(DONE)) {
                    break line;
                }
                if Instant::now() > deadline {
                    return Err(BenchError::Child("did not take its sessions up".into()));
                }
                std::thread::sleep(Duration::from_millis(1));
            };
            if !done.text.contains(&format!("sessions={RECOVERED}")) {
                return Err(BenchError::Child(format!("took up others: {}", done.text)));
            }
            let took = done.at.saturating_duration_since(begun);
            // Each is there with all that was said.
            players(&cluster, 0..RECOVERED, go_on)?.finish()?;
            pairs.push(RECOVERED as f64 / took.as_secs_f64(), RECOVERED as f64 / least.all().as_secs_f64());
            parts.push(least);
        }
        let median = |of: fn(&Least) -> Duration| {
            rounded(quantile(parts.iter().map(|least| of(least).as_secs_f64() * 1e3).collect(), 0.5))
        };
        let case = format!("{RECOVERED} sessions, {INPUTS} inputs each / read, folded, noted");
        let figure = Figure::paired("recover_sessions_per_s", case, "sessions/s", &pairs)
            .with("ready_ms", quantile(started, 0.5).round())
            .with("read_ms", median(|least| least.read))
            .with("fold_ms", median(|least| least.fold))
            .with("note_ms", median(|least| least.note))
            .with("bytes", parts.first().map_or(0, |least| least.bytes));
        Ok(vec![figure])
    })
}

/// What recovering sessions takes at the very least.
struct Least {
    bytes: u64,
    read: Duration,
    fold: Duration,
    note: Duration,
}

impl Least {
    fn of(module: &Module, store: &Path, context: &Context, sessions: usize) -> Result<Least, BenchError> {
        let begun = Instant::now();
        let bytes = read_all(store).map_err(BenchError::Process)?;
        let read = begun.elapsed();
        let begun = Instant::now();
        for _ in 0..sessions {
            let mut session = Play::start(module, &[])?;
            session.join(0)?;
            for number in 1..=INPUTS {
                let body = ringside_guest::encode(&ringside_guest::Bytes(number.to_le_bytes().to_vec()));
                session.apply(&Input::Message { slot: Slot(0), number, body: Bytes::from(body) })?;
            }
        }
        let fold = begun.elapsed();
        let notes = context.scratch("notes")?;
        let begun = Instant::now();
        for number in 0..sessions {
            let mut file = std::fs::File::create(notes.join(number.to_string())).map_err(BenchError::Process)?;
            file.write_all(&[0; 128]).and_then(|()| file.sync_all()).map_err(BenchError::Process)?;
        }
        let note = begun.elapsed();
        let _ = std::fs::remove_dir_all(&notes);
        Ok(Least { bytes, read, fold, note })
    }

    fn all(&self) -> Duration {
        self.read + self.fold + self.note
    }
}

/// Reads all files of a directory; answers how many bytes they have.
fn read_all(directory: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        bytes += if path.is_dir() { read_all(&path)? } else { std::fs::read(&path)?.len() as u64 };
    }
    Ok(bytes)
}

/// Says so many things, and is gone.
async fn say_and_go(options: Options, _: Arc<AtomicBool>) -> Result<(), BenchError> {
    let mut talk = Talk::begin(options).await?;
    for _ in 0..INPUTS {
        talk.exchange().await?;
    }
    Ok(())
}

/// Comes back to a seat in which so much was said, and says one thing more.
async fn go_on(options: Options, _: Arc<AtomicBool>) -> Result<(), BenchError> {
    Talk::again(options, INPUTS).await?.exchange().await
}

/// What players notice of a process that is replaced, against one that is killed and started again.
pub fn handover_vs_cold(context: &Context) -> Result<Vec<Figure>, BenchError> {
    on_core(LOAD_CORE, || {
        let mut pairs = Paired::default();
        let (mut warm, mut cold, mut took) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..context.pairs(2) {
            let mut waits = [0.0; 2];
            for (wait, is_cold) in waits.iter_mut().zip([false, true]) {
                let mut cluster = node(context, &format!("cold-{round}-{is_cold}"), REPLACED)?;
                let (some, rest): (Vec<usize>, Vec<usize>) = (0..REPLACED).partition(|number| number % MEASURED == 0);
                let talking = players(&cluster, some.into_iter(), |options, stop| talk(options, stop, PAUSE))?;
                let others = players(&cluster, rest.into_iter(), |options, stop| talk(options, stop, OTHERS_PAUSE))?;
                cluster.connected(1, REPLACED as u64)?;
                std::thread::sleep(SETTLING);
                let begun = Instant::now();
                if is_cold {
                    cluster.kill(1);
                    cluster.add(1)?;
                } else {
                    runtime()?.block_on(cluster.replace(1, context.program()))?;
                    took.push(begun.elapsed().as_secs_f64() * 1e3);
                }
                std::thread::sleep(SETTLING);
                let all = talking.finish()?;
                others.finish()?;
                let longest = |waits: &Vec<(Instant, Instant)>| {
                    let after = waits.iter().filter(|(_, answered)| *answered > begun);
                    let waited = |(asked, answered): &(Instant, Instant)| {
                        answered.saturating_duration_since(if is_cold { begun.max(*asked) } else { *asked })
                    };
                    after.map(waited).max().unwrap_or_default().as_secs_f64() * 1e3
                };
                let longest: Vec<f64> = all.iter().map(longest).collect();
                *wait = quantile(longest.clone(), 0.99);
                if is_cold { cold.extend(longest) } else { warm.extend(longest) }
            }
            pairs.push(waits[0], waits[1]);
        }
        let case =
            format!("{REPLACED} durable sessions, a player each, every tenth measured / killed and started again");
        let figure = Figure::paired("handover_vs_cold", case, "ms", &pairs)
            .with("p50", rounded(quantile(warm, 0.5)))
            .with("cold_p50", rounded(quantile(cold, 0.5)))
            .with("handover_took_ms", quantile(took, 0.5).round())
            .with_target(TARGET, true);
        Ok(vec![figure])
    })
}

/// Says something, waits for its reply and a pause, and says the next, and once more when told to stop. When each was asked
/// and answered.
async fn talk(options: Options, stop: Arc<AtomicBool>, pause: Duration) -> Result<Vec<(Instant, Instant)>, BenchError> {
    let mut talk = Talk::begin(options).await?;
    let mut waits = Vec::new();
    loop {
        let is_last = stop.load(Ordering::Relaxed);
        let asked = Instant::now();
        talk.exchange().await?;
        waits.push((asked, Instant::now()));
        if is_last {
            return Ok(waits);
        }
        tokio::time::sleep(pause).await;
    }
}
