//! Ringside itself: the real worker in its shell, with the real sandbox and a built guest. The main thread does what
//! a node's other threads would: it takes the worker's events, and writes recordings to a file.

use std::fs::File;
use std::io::Write;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use ring::digest::{SHA256, digest};
use ringside_core::ids::{Epoch, Incarnation, Node, NodeId, SessionId, WorkerId};
use ringside_core::limits::CHECKPOINT_INTERVAL_US;
use ringside_protocol::frame::{ALPN, Certificate};
use ringside_protocol::limits;
use ringside_sandbox::{Module, Sandbox, SandboxConfig};
use ringside_worker::authority::Keys;
use ringside_worker::shell::{self, Config, WorkerHandle};
use ringside_worker::{Command, Create, Event, transport};
use rustls::pki_types::PrivateKeyDer;

use crate::bench::BenchError;
use crate::child::{Counts, answer};
use crate::identity::Door;
use crate::machine;

/// Events that may wait, as in a node.
const EVENTS: usize = 4096;
/// Of this process alone; its secrecy is not what is measured.
const SEED: [u8; 32] = [7; 32];

/// What a measured worker runs.
#[derive(Args, Debug)]
pub struct Options {
    /// The guest's module.
    guest: PathBuf,
    /// Sessions that loads join: keys `0`, `1`, and so on.
    #[arg(long, default_value_t = 1)]
    sessions: usize,
    /// Sessions beside them in which nothing happens.
    #[arg(long, default_value_t = 0)]
    idle: usize,
    /// Record every session into this file.
    #[arg(long)]
    record: Option<PathBuf>,
}

/// Serves until the standard input ends.
pub fn run(options: &Options) -> Result<(), BenchError> {
    let warm = u32::try_from(options.sessions + options.idle).unwrap_or(u32::MAX);
    let sandbox = Sandbox::new(SandboxConfig { cache_directory: None, warm_sessions: Some(warm.max(64)) })
        .map_err(BenchError::setup)?;
    let bytes = std::fs::read(&options.guest).map_err(BenchError::setup)?;
    let module = sandbox.upload(&bytes).map_err(BenchError::setup)?;
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(BenchError::setup)?;
    let door = Door::new(socket.local_addr().map_err(BenchError::setup)?)?;
    let mut file = options.record.as_ref().map(File::create).transpose().map_err(BenchError::setup)?;
    let (worker, events) = start(socket, &door)?;
    for number in 0..options.sessions {
        create(&worker, &events, &module, number, file.is_some())?;
    }
    let before = (machine::allocated_bytes(), machine::resident_bytes());
    for number in 0..options.idle {
        create(&worker, &events, &module, options.sessions + number, false)?;
    }
    if options.idle > 0 {
        // The first checkpoints are part of what an idle session keeps.
        std::thread::sleep(Duration::from_micros(CHECKPOINT_INTERVAL_US) + Duration::from_secs(1));
    }
    let after = (machine::allocated_bytes(), machine::resident_bytes());
    let counters = worker.counters();
    let idle = IdleCost::of(before, after, options.idle);
    answer(&format!("{door} {idle}"), move || Counts {
        received: counters.packets_in.load(Relaxed),
        sent: counters.packets_out.load(Relaxed),
        sent_bytes: counters.bytes_out.load(Relaxed),
        ..Counts::default()
    });
    for (_, event) in events {
        if let (Event::Recorded { piece, .. }, Some(file)) = (event, &mut file) {
            file.write_all(&piece.frames).map_err(BenchError::setup)?;
        }
    }
    Ok(())
}

fn start(socket: UdpSocket, door: &Door) -> Result<(WorkerHandle, Receiver<(WorkerId, Event)>), BenchError> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(BenchError::setup)?;
    let mut certificate = Certificate([0; 32]);
    certificate.0.copy_from_slice(digest(&SHA256, made.cert.der()).as_ref());
    let key = PrivateKeyDer::from(made.signing_key);
    let crypto =
        transport::server_crypto(vec![made.cert.der().clone()], key, vec![ALPN.to_vec()]).map_err(BenchError::setup)?;
    let (sender, events) = sync_channel(EVENTS);
    let config = Config {
        node: Node { id: NodeId(1), generation: 1 },
        node_started: std::time::Instant::now(),
        worker: WorkerId(0),
        certificate,
        epochs: Default::default(),
        seat_window: limits::SEAT_WINDOW,
        penalty: false,
        keys: Keys::new(&[door.public_key()?], &SEED),
        crypto,
        seed: SEED,
        events: sender,
        processor: None,
        peers: None,
    };
    // The thread ends with the process.
    let (worker, _) = shell::spawn(config, socket).map_err(BenchError::setup)?;
    Ok((worker, events))
}

fn create(
    worker: &WorkerHandle,
    events: &Receiver<(WorkerId, Event)>,
    module: &Module,
    number: usize,
    record: bool,
) -> Result<(), BenchError> {
    let session = SessionId {
        game: module.description().name.clone(),
        key: number.to_string().parse().map_err(BenchError::setup)?,
        incarnation: Incarnation(number as u64 + 1),
    };
    let mut seed = SEED;
    seed[..8].copy_from_slice(&(number as u64).to_le_bytes());
    let create = Create {
        session,
        module: module.clone(),
        config: Bytes::new(),
        seed,
        epoch: Epoch { number: 1, node: 1, node_generation: 1 },
        record,
        followers: 0,
    };
    worker.send(Command::Create(Box::new(create))).map_err(|_| BenchError::Setup("the worker has stopped".into()))?;
    loop {
        match events.recv().map_err(BenchError::setup)?.1 {
            Event::Created { result: Ok(()), .. } => return Ok(()),
            Event::Created { result: Err(why), .. } => return Err(BenchError::Setup(why)),
            _ => {}
        }
    }
}

/// What an idle session costs in memory: written with `ready`, read by [`std::str::FromStr`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IdleCost {
    /// Bytes of the host's allocator for each.
    pub host: f64,
    /// Bytes of everything else that became resident for each: the guest's touched pages.
    pub guest: f64,
}

impl IdleCost {
    fn of(before: (usize, usize), after: (usize, usize), sessions: usize) -> IdleCost {
        let each = |bytes: usize| bytes as f64 / sessions.max(1) as f64;
        let host = after.0.saturating_sub(before.0);
        IdleCost { host: each(host), guest: each(after.1.saturating_sub(before.1).saturating_sub(host)) }
    }
}

impl std::fmt::Display for IdleCost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1}/{:.1}", self.host, self.guest)
    }
}

impl std::str::FromStr for IdleCost {
    type Err = BenchError;

    fn from_str(text: &str) -> Result<IdleCost, BenchError> {
        let parts = text.split_once('/').and_then(|(host, guest)| Some((host.parse().ok()?, guest.parse().ok()?)));
        let (host, guest) = parts.ok_or_else(|| BenchError::Child(format!("said {text:?} for an idle session")))?;
        Ok(IdleCost { host, guest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_resident_beyond_the_allocator_is_the_guests() {
        let cost = IdleCost::of((100, 1000), (300, 1600), 2);
        assert_eq!(cost, IdleCost { host: 100.0, guest: 200.0 });
        assert_eq!(cost.to_string().parse::<IdleCost>().unwrap(), cost);
    }
}
