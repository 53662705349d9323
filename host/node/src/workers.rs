//! The node's workers: binds their sockets, starts their threads, and hands what they say to whoever it is for. One
//! thread forwards their events, so that no worker ever waits for the control task, the recorder or the log.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use ringside_core::ids::{Node, NodeId, SessionId, WorkerId};
use ringside_core::membership::PeerPorts;
use ringside_core::output::LogLevel;
use ringside_protocol::frame::ALPN;
use ringside_worker::authority::Keys;
use ringside_worker::peers::News;
use ringside_worker::replication::Epochs;
use ringside_worker::shell::{self, PeerConfig, SpawnError, WorkerHandle};
use ringside_worker::transport::{self, CryptoError};
use ringside_worker::{Command, Event};

use crate::certificate::ServerCertificate;
use crate::chains::Chains;
use crate::cli::plain;
use crate::cluster::secret::{ClusterSecret, SecretError};
use crate::config::Config;
use crate::control::{Control, Identity, Port, Usage};
use crate::durable::NodeLog;
use crate::limits::WORKER_EVENTS;
use crate::pace::every;
use crate::priority;
use crate::recorder::Recorder;
use crate::relay::{RelayCounters, Relays};
use crate::tokens::TokenKey;

/// How often it is looked whether all threads run.
const LOOK: Duration = Duration::from_millis(250);

/// Why the workers do not run.
#[derive(Debug, thiserror::Error)]
pub enum WorkersError {
    /// A socket cannot be bound.
    #[error("cannot listen on {address} for {whom}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Whom the socket is for.
        whom: &'static str,
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
    /// Workers cannot be made members of the cluster.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The system gives no socket for relays.
    #[error("cannot relay players: {0}")]
    Relays(io::Error),
    /// The system gives no thread.
    #[error("cannot start a worker: {0}")]
    Thread(io::Error),
    /// A worker cannot be started.
    #[error("cannot start a worker: {0}")]
    Spawn(SpawnError),
}

/// What keeps what workers hand on.
#[derive(Clone)]
pub struct Keeping {
    /// Recordings.
    pub recorder: Recorder,
    /// Leadership records.
    pub chains: Chains,
    /// The log of durable sessions.
    pub log: NodeLog,
}

/// The running workers.
pub struct Workers {
    handles: Vec<WorkerHandle>,
    threads: Vec<JoinHandle<()>>,
    forwarder: JoinHandle<()>,
    relayed: Arc<RelayCounters>,
    /// Another for the first worker's socket, where players come first.
    door: UdpSocket,
    /// What a further one is started with.
    events: SyncSender<(WorkerId, Event)>,
    forwarded: Handles,
    settings: DoorSettings,
}

/// Workers by number, those that came later included.
pub type Handles = Arc<Mutex<Vec<WorkerHandle>>>;

/// How connections are served.
type ServerCrypto = Arc<dyn quinn::crypto::ServerConfig>;

/// What a door is started with.
struct DoorSettings {
    identity: Identity,
    keys: Keys,
    crypto: ServerCrypto,
    seat_window: Duration,
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
        keeping: Keeping,
    ) -> Result<(Workers, BTreeMap<WorkerId, Port>), WorkersError> {
        let sockets = bind(config.workers, config.listen, "players")?;
        let door = sockets.first().map(UdpSocket::try_clone).transpose().map_err(WorkersError::Thread)?;
        let door = door.ok_or_else(|| WorkersError::Thread(io::ErrorKind::NotFound.into()))?;
        let mut peers = bind(config.workers, config.peers(), "workers of other nodes")?.into_iter();
        let membership = secret.membership(identity.node, SystemTime::now())?;
        let relays = Relays::start().map_err(WorkersError::Relays)?;
        let (sender, events) = sync_channel(WORKER_EVENTS);
        // Shared by all workers of the cluster: any of them makes tickets for any other.
        let keys = Keys::new(&[tokens.public()], secret.ticket_key());
        let crypto = transport::server_crypto(certificate.chain(), certificate.key(), vec![ALPN.to_vec()])?;
        let (count, epochs) = (sockets.len(), Epochs::default());
        let (mut handles, mut threads, mut ports) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (number, socket) in sockets.into_iter().enumerate() {
            let worker = WorkerId(number as u8);
            let penalty = number + 1 == count;
            let settings = shell::Config {
                node: Node { id: NodeId(identity.node), generation: identity.generation },
                node_started: identity.started,
                worker,
                certificate: certificate.sha256(),
                epochs: epochs.clone(),
                seat_window: config.seat_window,
                penalty,
                keys: keys.clone(),
                crypto: Arc::clone(&crypto),
                seed: crate::random::bytes(),
                events: sender.clone(),
                processor: None,
                peers: peers.next().map(|socket| PeerConfig { socket, membership: membership.clone() }),
            };
            let started = shell::spawn(settings, socket);
            let (handle, thread) = match started {
                Ok(started) => started,
                Err(error) => {
                    stop_all(&handles);
                    return Err(WorkersError::Spawn(error));
                }
            };
            ports.insert(worker, port(&handle, config.advertised(handle.address()), penalty));
            handles.push(handle);
            threads.push(thread);
        }
        let forwarded: Handles = Arc::new(Mutex::new(handles.clone()));
        let relaying = Arc::clone(&forwarded);
        let relayed = Arc::clone(relays.counters());
        let forwarder = std::thread::Builder::new().name("ringside-events".into()).spawn(move || {
            priority::lower(priority::BACKGROUND);
            forward(&events, &control, &keeping, &relays, &relaying);
        });
        match forwarder {
            Ok(forwarder) => {
                let seat_window = config.seat_window;
                let settings = DoorSettings { identity, keys, crypto, seat_window };
                let events = sender;
                Ok((Workers { handles, threads, forwarder, relayed, door, events, forwarded, settings }, ports))
            }
            Err(error) => {
                stop_all(&handles);
                Err(WorkersError::Thread(error))
            }
        }
    }

    /// Another for the socket where players come first.
    ///
    /// # Errors
    /// The system's.
    pub fn door(&self) -> io::Result<UdpSocket> {
        self.door.try_clone()
    }

    /// Has players come first at a socket that another process had: a worker without sessions lets them in and sends them
    /// on. Before anybody asks for a [`Certifier`].
    ///
    /// # Errors
    /// [`WorkersError`].
    pub fn open_door(&mut self, config: &Config, socket: UdpSocket) -> Result<(WorkerId, Port), WorkersError> {
        let another = socket.try_clone().map_err(WorkersError::Thread)?;
        let DoorSettings { identity, keys, crypto, seat_window } = &self.settings;
        let worker = WorkerId(self.handles.len() as u8);
        let settings = shell::Config {
            node: Node { id: NodeId(identity.node), generation: identity.generation },
            node_started: identity.started,
            worker,
            certificate: identity.certificate,
            // It leads and follows nothing.
            epochs: Epochs::default(),
            seat_window: *seat_window,
            penalty: false,
            keys: keys.clone(),
            crypto: Arc::clone(crypto),
            seed: crate::random::bytes(),
            events: self.events.clone(),
            processor: None,
            peers: None,
        };
        let (handle, thread) = shell::spawn(settings, socket).map_err(WorkersError::Spawn)?;
        let port = port(&handle, config.advertised(handle.address()), false);
        self.forwarded.lock().unwrap_or_else(PoisonError::into_inner).push(handle.clone());
        self.handles.push(handle);
        self.threads.push(thread);
        self.door = another;
        Ok((worker, port))
    }

    /// Returns when a thread has ended, which none does before [`Workers::stop`] unless it broke: which one.
    pub async fn broken(&self) -> String {
        let mut look = every(LOOK);
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

    /// Where workers of other nodes reach these.
    pub fn peers(&self, config: &Config) -> PeerPorts {
        let bound = self.handles.iter().filter_map(WorkerHandle::peer_address);
        PeerPorts {
            address: config.advertised(config.peers()).ip(),
            ports: bound.map(|address| address.port()).collect(),
        }
    }

    /// What the node's relays count.
    pub fn relayed(&self) -> Arc<RelayCounters> {
        Arc::clone(&self.relayed)
    }

    /// What gives the workers another certificate.
    pub fn certifier(&self) -> Certifier {
        Certifier { workers: self.handles.clone() }
    }

    /// Tells players that the node stops, ends the workers, and returns when everything they said was handed on.
    pub async fn stop(self) {
        let joined = tokio::task::spawn_blocking(move || {
            // The workers' own are the last.
            drop(self.events);
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
fn bind(workers: u8, at: SocketAddr, whom: &'static str) -> Result<Vec<UdpSocket>, WorkersError> {
    let count = usize::from(workers) + 1;
    let first = at.port();
    let mut port = first;
    let mut sockets = Vec::with_capacity(count);
    for number in 0..count {
        let address = SocketAddr::new(at.ip(), port);
        sockets.push(UdpSocket::bind(address).map_err(|source| WorkersError::Bind { address, whom, source })?);
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
    Keeping { recorder, chains, log: node_log }: &Keeping,
    relays: &Relays,
    handles: &Handles,
) {
    node_log.serve(Arc::clone(handles));
    let handle = |worker: WorkerId| {
        let handles = handles.lock().unwrap_or_else(PoisonError::into_inner);
        handles.get(usize::from(worker.0)).cloned()
    };
    while let Ok((worker, event)) = events.recv() {
        match event {
            Event::Recorded { session, piece } => recorder.offer(&session, piece),
            Event::Records(head) => recorder.begin(head),
            Event::Log(items) => node_log.take(worker, items),
            Event::Kept(kept) => recorder.keep(kept),
            Event::Flushed(flushed) => flushed.done(),
            Event::Relay(order) => {
                if let Some(handle) = handle(worker) {
                    relays.begin(worker, handle, order);
                }
            }
            Event::Chain { session, request } => {
                if let Some(handle) = handle(worker) {
                    let id = session.clone();
                    chains.ask(session, request, move |reply| {
                        // A worker that has too much to do asks again.
                        let _ = handle.send(Command::Chain { session: id, reply: Box::new(reply) });
                    });
                }
            }
            Event::Relayed { relay, what } => relays.handle(worker, relay, what),
            Event::GuestLog { session, level, line } => log(&session, level, &line),
            Event::Peer { peer, news: News::Up { version } } => tracing::debug!(%worker, %peer, version, "link up"),
            Event::Peer { peer, news: News::Down { end, detail, .. } } => {
                tracing::debug!(%worker, %peer, ?end, %detail, "link down");
            }
            Event::GuestEvent { session, body } => {
                tracing::info!(%session, bytes = body.len(), "the game emitted an event");
            }
            Event::GuestFault { session, position, message } => {
                tracing::warn!(%session, position, %message, "an entry was skipped");
            }
            other => {
                if let Event::Ended { session, .. } | Event::Deposed { session, .. } | Event::Evicted { session, .. } =
                    &other
                {
                    recorder.end(session);
                }
                control.event(worker, other);
            }
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

    use ringside_worker::peers::{Order, Peer};

    use super::*;
    use crate::durable::recovery::Wanted;
    use crate::scratch::Scratch;
    use crate::state_directory::StateDirectory;
    use crate::store::Store;

    fn start(name: &str) -> (Scratch, Workers) {
        let secret = ClusterSecret::generate(SystemTime::now()).expect("a secret");
        let (scratch, workers, _) = start_node(name, 1, &secret);
        (scratch, workers)
    }

    fn start_node(name: &str, node: u64, secret: &ClusterSecret) -> (Scratch, Workers, PeerPorts) {
        let scratch = Scratch::new(name);
        let state = StateDirectory::open(&scratch.0).expect("a state directory");
        let certificate = ServerCertificate::open(&state, 14, SystemTime::now()).expect("a certificate");
        let config = Config { listen: ([127, 0, 0, 1], 0).into(), workers: 1, ..Config::default() };
        let tokens = TokenKey::new(secret.token_key()).expect("a key");
        let (control, _) = Control::queue(Default::default());
        let identity =
            Identity { node, generation: 1, started: std::time::Instant::now(), certificate: certificate.sha256() };
        let run = Node { id: NodeId(node), generation: 1 };
        let (recorder, chains) = (Recorder::start(Store::memory()), Chains::new(Store::memory(), Wanted::queue().0));
        let keeping = Keeping { recorder, chains, log: NodeLog::start(Store::memory(), run) };
        let (workers, _) =
            Workers::start(&config, identity, &certificate, secret, &tokens, control, keeping).expect("workers");
        let peers = workers.peers(&config);
        (scratch, workers, peers)
    }

    /// What a node says of its workers in its fact is enough for a worker of another node to link to one.
    #[tokio::test]
    async fn workers_of_two_nodes_link_by_what_the_nodes_say_of_them() {
        let secret = ClusterSecret::generate(SystemTime::now()).expect("a secret");
        let (_one, one, _) = start_node("workers-link-one", 1, &secret);
        let (_two, two, ports) = start_node("workers-link-two", 2, &secret);
        assert_eq!(ports.ports.len(), 2, "the penalty worker's as well");
        for (number, port) in (0..).zip(&ports.ports) {
            let node = Node { id: NodeId(2), generation: 1 };
            let order = Order::Link {
                session: "pong/none@0000000000000001".parse().expect("a session"),
                peer: Peer { node, worker: WorkerId(number) },
                address: SocketAddr::new(ports.address, *port),
                reply: Box::new(|linked| linked.expect("a link")),
            };
            assert!(one.handles[0].send(Command::Peers(order)).is_ok());
        }
        let up = |handle: &WorkerHandle| handle.counters().peers.load(std::sync::atomic::Ordering::Relaxed);
        while (up(&one.handles[0]), up(&two.handles[0]), up(&two.handles[1])) != (2, 1, 1) {
            tokio::task::yield_now().await;
        }
        one.stop().await;
        two.stop().await;
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
