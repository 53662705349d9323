//! The node's workers: binds their sockets, starts their threads, and hands what they say to whoever it is for. One
//! thread forwards their events, so that no worker ever waits for the control task, the recorder or the log.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use ringside_core::ids::{Node, NodeId, SessionId, WorkerId};
use ringside_core::output::LogLevel;
use ringside_protocol::frame::ALPN;
use ringside_worker::authority::Keys;
use ringside_worker::shell::{self, WorkerHandle};
use ringside_worker::transport::{self, CryptoError};
use ringside_worker::{Command, Event};

use crate::certificate::ServerCertificate;
use crate::cli::plain;
use crate::cluster::secret::ClusterSecret;
use crate::config::Config;
use crate::control::{Control, Identity, Port, Usage};
use crate::limits::WORKER_EVENTS;
use crate::priority;
use crate::recorder::Recorder;
use crate::relay::Relays;
use crate::tokens::TokenKey;

/// How often it is looked whether all threads run.
const LOOK: Duration = Duration::from_millis(250);

/// Why the workers do not run.
#[derive(Debug, thiserror::Error)]
pub enum WorkersError {
    /// A socket cannot be bound.
    #[error("cannot listen on {address} for players: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The configured ports run over the last one.
    #[error("{workers} workers from port {first} on need ports beyond 65535")]
    Ports {
        /// The first port.
        first: u16,
        /// Sockets that are needed.
        workers: usize,
    },
    /// The certificate cannot serve.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The system gives no socket for relays.
    #[error("cannot relay players: {0}")]
    Relays(io::Error),
    /// The system gives no thread.
    #[error("cannot start a worker: {0}")]
    Thread(io::Error),
}

/// The running workers.
pub struct Workers {
    handles: Vec<WorkerHandle>,
    threads: Vec<JoinHandle<()>>,
    forwarder: JoinHandle<()>,
}

/// Gives the workers another certificate; apart from them, for it is used while they run.
pub struct Certifier {
    workers: Vec<WorkerHandle>,
}

impl Certifier {
    /// New connections are served with this certificate from now on; those that there are stay. Answers whether every
    /// worker took it: one that has too much to do is to be told again.
    ///
    /// # Errors
    /// The certificate cannot serve; nothing changed.
    pub fn certify(&self, certificate: &ServerCertificate) -> Result<bool, CryptoError> {
        let crypto = transport::server_crypto(certificate.chain(), certificate.key(), vec![ALPN.to_vec()])?;
        let mut taken = true;
        for worker in &self.workers {
            taken &= worker.certify(crypto.clone(), certificate.sha256()).is_ok();
        }
        Ok(taken)
    }
}

impl Workers {
    /// Starts the configured workers and, last, the penalty worker.
    ///
    /// # Errors
    /// [`WorkersError`]; workers that were started by then end.
    pub fn start(
        config: &Config,
        identity: Identity,
        certificate: &ServerCertificate,
        secret: &ClusterSecret,
        tokens: &TokenKey,
        control: Control,
        recorder: Recorder,
    ) -> Result<(Workers, BTreeMap<WorkerId, Port>), WorkersError> {
        let sockets = bind(config)?;
        let relays = Relays::start().map_err(WorkersError::Relays)?;
        let (sender, events) = sync_channel(WORKER_EVENTS);
        // Shared by all workers of the cluster: any of them makes tickets for any other.
        let keys = Keys::new(&[tokens.public()], secret.ticket_key());
        let crypto = transport::server_crypto(certificate.chain(), certificate.key(), vec![ALPN.to_vec()])?;
        let count = sockets.len();
        let (mut handles, mut threads, mut ports) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (number, socket) in sockets.into_iter().enumerate() {
            let worker = WorkerId(number as u8);
            let penalty = number + 1 == count;
            let settings = shell::Config {
                node: Node { id: NodeId(identity.node), generation: identity.generation },
                node_started: identity.started,
                worker,
                certificate: certificate.sha256(),
                seat_window: config.seat_window,
                penalty,
                keys: keys.clone(),
                crypto: Arc::clone(&crypto),
                seed: crate::random::bytes(),
                events: sender.clone(),
                processor: None,
            };
            let started = shell::spawn(settings, socket);
            let (handle, thread) = match started {
                Ok(started) => started,
                Err(error) => {
                    stop_all(&handles);
                    return Err(WorkersError::Thread(error));
                }
            };
            ports.insert(worker, port(&handle, config.advertised(handle.address()), penalty));
            handles.push(handle);
            threads.push(thread);
        }
        let relaying = handles.clone();
        let forwarder = std::thread::Builder::new().name("ringside-events".into()).spawn(move || {
            priority::lower(priority::BACKGROUND);
            forward(&events, &control, &recorder, &relays, &relaying);
        });
        match forwarder {
            Ok(forwarder) => Ok((Workers { handles, threads, forwarder }, ports)),
            Err(error) => {
                stop_all(&handles);
                Err(WorkersError::Thread(error))
            }
        }
    }

    /// Returns when a thread has ended, which none does before [`Workers::stop`] unless it broke: which one.
    pub async fn broken(&self) -> String {
        let mut look = tokio::time::interval(LOOK);
        loop {
            look.tick().await;
            if let Some(worker) = self.threads.iter().position(JoinHandle::is_finished) {
                return format!("worker {worker}");
            }
            if self.forwarder.is_finished() {
                return "the thread that hands on the workers' events".to_owned();
            }
        }
    }

    /// What gives the workers another certificate.
    pub fn certifier(&self) -> Certifier {
        Certifier { workers: self.handles.clone() }
    }

    /// Tells players that the node stops, ends the workers, and returns when everything they said was handed on.
    pub async fn stop(self) {
        let joined = tokio::task::spawn_blocking(move || {
            for (handle, thread) in self.handles.iter().zip(self.threads) {
                // A full queue empties with the worker's next turn.
                while handle.send(Command::Stop).is_err() && !thread.is_finished() {
                    std::thread::yield_now();
                }
                if thread.join().is_err() {
                    tracing::error!("a worker's thread had panicked");
                }
            }
            // Ends with the last worker, whose sender was the last.
            let _ = self.forwarder.join();
        });
        let _ = joined.await;
    }
}

fn stop_all(handles: &[WorkerHandle]) {
    for handle in handles {
        let _ = handle.send(Command::Stop);
    }
}

/// One socket a worker and one for the penalty worker, on consecutive ports or, from port 0, on any.
fn bind(config: &Config) -> Result<Vec<UdpSocket>, WorkersError> {
    let count = usize::from(config.workers) + 1;
    let first = config.listen.port();
    let mut port = first;
    let mut sockets = Vec::with_capacity(count);
    for number in 0..count {
        let address = SocketAddr::new(config.listen.ip(), port);
        sockets.push(UdpSocket::bind(address).map_err(|source| WorkersError::Bind { address, source })?);
        if first != 0 && number + 1 < count {
            port = port.checked_add(1).ok_or(WorkersError::Ports { first, workers: count })?;
        }
    }
    Ok(sockets)
}

fn port(handle: &WorkerHandle, address: SocketAddr, penalty: bool) -> Port {
    let (commands, counters) = (handle.clone(), handle.counters());
    let usage = move || {
        let named = counters.named();
        let busy_us = named.iter().find(|(name, _)| *name == "busy_us").map_or(0, |(_, count)| *count);
        Usage { busy_us, counters: named.into_iter().map(|(name, count)| (name.to_owned(), count)).collect() }
    };
    Port { penalty, address, send: Box::new(move |command| commands.send(command)), usage: Box::new(usage) }
}

/// Hands on what workers say until the last of them has ended.
fn forward(
    events: &Receiver<(WorkerId, Event)>,
    control: &Control,
    recorder: &Recorder,
    relays: &Relays,
    handles: &[WorkerHandle],
) {
    while let Ok((worker, event)) = events.recv() {
        match event {
            Event::Recorded { session, frames, .. } => recorder.offer(&session, frames),
            Event::Flushed(flushed) => flushed.done(),
            Event::Relay(order) => {
                if let Some(handle) = handles.get(usize::from(worker.0)) {
                    relays.begin(worker, handle.clone(), order);
                }
            }
            Event::Relayed { relay, what } => relays.handle(worker, relay, what),
            Event::GuestLog { session, level, line } => log(&session, level, &line),
            Event::GuestEvent { session, body } => {
                tracing::info!(%session, bytes = body.len(), "the game emitted an event");
            }
            Event::GuestFault { session, position, message } => {
                tracing::warn!(%session, position, %message, "an entry was skipped");
            }
            Event::Ended { session, reason, outcome } => {
                recorder.end(&session);
                control.event(worker, Event::Ended { session, reason, outcome });
            }
            other => control.event(worker, other),
        }
    }
}

fn log(session: &SessionId, level: LogLevel, line: &str) {
    let line = plain(line);
    match level {
        LogLevel::Debug => tracing::debug!(%session, "{line}"),
        LogLevel::Info => tracing::info!(%session, "{line}"),
        LogLevel::Warn => tracing::warn!(%session, "{line}"),
        LogLevel::Error => tracing::error!(%session, "{line}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::scratch::Scratch;
    use crate::state_directory::StateDirectory;
    use crate::store::Store;

    fn start(name: &str) -> (Scratch, Workers) {
        let scratch = Scratch::new(name);
        let state = StateDirectory::open(&scratch.0).expect("a state directory");
        let certificate = ServerCertificate::open(&state, 14, std::time::SystemTime::now()).expect("a certificate");
        let config = Config { listen: ([127, 0, 0, 1], 0).into(), workers: 1, ..Config::default() };
        let secret = ClusterSecret::generate(std::time::SystemTime::now()).expect("a secret");
        let tokens = TokenKey::new(secret.token_key()).expect("a key");
        let (control, _) = Control::queue(Default::default());
        let identity =
            Identity { node: 1, generation: 1, started: std::time::Instant::now(), certificate: certificate.sha256() };
        let recorder = Recorder::start(Store::memory());
        let (workers, _) =
            Workers::start(&config, identity, &certificate, &secret, &tokens, control, recorder).expect("workers");
        (scratch, workers)
    }

    /// The forwarding thread is held up by the first answer. A worker that waited for it would take no further commands,
    /// of which its queue holds fewer than are sent here.
    #[tokio::test(flavor = "multi_thread")]
    async fn events_that_nobody_takes_wait_and_workers_go_on() {
        let (_scratch, workers) = start("workers-events");
        let ((hold, held), (answer, answers)) = (channel::<()>(), channel());
        let sent = WORKER_EVENTS + 2 * ringside_worker::limits::COMMANDS;
        let mut held = Some(held);
        for number in 0..sent {
            let (answer, held) = (answer.clone(), held.take());
            let reply = Box::new(move |()| {
                if let Some(held) = held {
                    let _ = held.recv();
                }
                let _ = answer.send(number);
            });
            let session = "pong/none@0000000000000001".parse().expect("a session");
            let mut command = Command::Flush { session, reply };
            while let Err(back) = workers.handles[0].send(command) {
                command = *back;
                std::thread::yield_now();
            }
        }
        assert!(answers.try_recv().is_err(), "nothing was taken");
        drop(hold);
        let heard: Vec<usize> = tokio::task::spawn_blocking(move || answers.iter().take(sent).collect()).await.unwrap();
        assert!(heard.iter().copied().eq(0..sent), "nothing is lost, and the order stays");
        workers.stop().await;
    }

    #[tokio::test]
    async fn a_thread_that_ended_is_named() {
        let (_scratch, mut workers) = start("workers-broken");
        let worker = std::mem::replace(&mut workers.threads[1], std::thread::spawn(|| {}));
        assert_eq!(workers.broken().await, "worker 1");
        workers.threads[1] = worker;
        let forwarder = std::mem::replace(&mut workers.forwarder, std::thread::spawn(|| {}));
        assert!(workers.broken().await.contains("events"));
        workers.forwarder = forwarder;
        workers.stop().await;
    }
}
