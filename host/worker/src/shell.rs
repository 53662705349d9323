//! The thin shell round a [`Worker`]: its thread, sockets, clock and queues. The only part that waits, and it waits for
//! a socket, a command or the next due instant. A ticking worker sleeps through arriving packets until its grid's
//! next instant; a prompt one wakes for each.

mod bell;
mod jobs;
mod port;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use quinn_proto::crypto::ServerConfig as Crypto;
use ringside_core::ids::{Node, WorkerId};
use ringside_protocol::frame::Certificate;

use crate::accounting::Counters;
use crate::addresses::AddressTokens;
use crate::authority::{Authority, Keys};
use crate::command::{Command, Event};
use crate::limits::{COMMANDS, PEER_TURN_DATAGRAMS, TURN_DATAGRAMS};
use crate::peers::Peer;
use crate::peers::tls::Membership;
use crate::replication::Epochs;
use crate::session::CostOf;
use crate::transport::{self, CryptoError};
use crate::worker::{SERVICE_INTERVAL, Turn, Worker, WorkerConfig};
use bell::{Bell, wait_for};
use jobs::Jobs;
use port::{PeerPort, Port};

/// How often slow counters (CPU time, kernel drops) are read.
const SLOW_COUNTERS: Duration = Duration::from_millis(250);

static COST_OF: OnceLock<CostOf> = OnceLock::new();

/// The workers of this program reckon what a call counts for by this from now on: before the first is started, once. Whether
/// they do. It sees each input after its call and before its entry, so the program that tests what becomes of a process that
/// an input kills ends itself here.
pub fn reckon_by(cost_of: CostOf) -> bool {
    COST_OF.set(cost_of).is_ok()
}

/// What a worker's thread is started with.
pub struct Config {
    /// Which run of which node it is of.
    pub node: Node,
    /// When that run began: the same for all workers of the node.
    pub node_started: Instant,
    /// Its number in the node.
    pub worker: WorkerId,
    /// SHA-256 of the certificate.
    pub certificate: Certificate,
    /// What the workers of a node share.
    pub epochs: Epochs,
    /// How long a seat is kept without a connection.
    pub seat_window: Duration,
    /// Whether it is the penalty worker, which runs below the others' priority.
    pub penalty: bool,
    /// What verifies tokens and seals tickets.
    pub keys: Keys,
    /// TLS.
    pub crypto: Arc<dyn Crypto>,
    /// Secret randomness of this worker alone.
    pub seed: [u8; 32],
    /// Where its events go. A full queue delays the node's news, never a turn.
    pub events: SyncSender<(WorkerId, Event)>,
    /// The processor that its thread is bound to, if any.
    pub processor: Option<usize>,
    /// What links it to workers of other nodes, if anything.
    pub peers: Option<PeerConfig>,
}

/// How a worker speaks to workers of other nodes.
pub struct PeerConfig {
    /// A bound socket of its own.
    pub socket: UdpSocket,
    /// What makes it a member of the cluster.
    pub membership: Membership,
}

/// A running worker.
#[derive(Clone)]
pub struct WorkerHandle {
    commands: SyncSender<Command>,
    bell: Arc<Bell>,
    counters: Arc<Counters>,
    address: SocketAddr,
    addresses: AddressTokens,
    peer_address: Option<SocketAddr>,
}

impl WorkerHandle {
    fn new(
        bell: Arc<Bell>,
        counters: Arc<Counters>,
        address: SocketAddr,
        addresses: AddressTokens,
        peer_address: Option<SocketAddr>,
    ) -> (WorkerHandle, Receiver<Command>) {
        let (commands, queue) = sync_channel(COMMANDS);
        (WorkerHandle { commands, bell, counters, address, addresses, peer_address }, queue)
    }

    /// Has the worker serve new connections with another certificate.
    ///
    /// # Errors
    /// As [`WorkerHandle::send`].
    pub fn certify(&self, crypto: Arc<dyn Crypto>, certificate: Certificate) -> Result<(), Box<Command>> {
        let server = Arc::new(transport::server_config(crypto, &self.addresses));
        self.send(Command::Certify { server, certificate })
    }

    /// Tells the worker something.
    ///
    /// # Errors
    /// The command itself, where the queue is full or the worker has stopped.
    pub fn send(&self, command: Command) -> Result<(), Box<Command>> {
        match self.commands.try_send(command) {
            Ok(()) => {
                self.bell.ring();
                Ok(())
            }
            Err(TrySendError::Full(command) | TrySendError::Disconnected(command)) => Err(Box::new(command)),
        }
    }

    /// Tells the worker something, and waits where the queue is full. Whether it runs. Not for a worker's own thread.
    fn send_patiently(&self, command: Command) -> bool {
        let is_sent = self.commands.send(command).is_ok();
        if is_sent {
            self.bell.ring();
        }
        is_sent
    }

    /// Its counters.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Where its socket is bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its socket for peers is bound, if it has one.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.peer_address
    }
}

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// A socket cannot be prepared, or the system gives no thread.
    #[error(transparent)]
    System(#[from] io::Error),
    /// The certificate for peers cannot serve.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// Starts a worker on a socket. The thread ends after [`Command::Stop`].
///
/// # Errors
/// [`SpawnError`].
pub fn spawn(config: Config, socket: UdpSocket) -> Result<(WorkerHandle, JoinHandle<()>), SpawnError> {
    let address = socket.local_addr()?;
    let players = Port::new(socket)?;
    let bell = Arc::new(Bell::new()?);
    let started_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_millis() as u64);
    let mut worker = WorkerConfig::new(config.node.id.0, config.worker, config.certificate, started_ms, Instant::now());
    (worker.seat_window, worker.epochs) = (config.seat_window, config.epochs);
    worker.penalty = config.penalty;
    worker.cost_of = COST_OF.get().copied().unwrap_or(worker.cost_of);
    (worker.generation, worker.node_started) = (config.node.generation, config.node_started);
    let addresses = config.keys.addresses();
    let resets = |address| Arc::new(config.keys.resets(config.node.id, address));
    let mut endpoint = transport::endpoint_config(config.worker, &config.seed);
    endpoint.reset_key(resets(address));
    let peer_address = config.peers.as_ref().map(|peers| peers.socket.local_addr()).transpose()?;
    let peer_resets = peer_address.map(resets);
    let mut worker = Worker::new(
        worker,
        Arc::new(endpoint),
        Arc::new(transport::server_config(config.crypto, &addresses)),
        Authority::new(config.keys, config.node, config.worker, &config.seed),
        !players.socket.may_fragment(),
    );
    let mut peers = None;
    if let Some((PeerConfig { socket, membership }, resets)) = config.peers.zip(peer_resets) {
        let port = Port::new(socket)?;
        let own = Peer { node: config.node, worker: config.worker };
        let mut configured = membership.configure(own, &config.seed, !port.socket.may_fragment())?;
        Arc::make_mut(&mut configured.endpoint).reset_key(resets);
        configured.ipv6 = peer_address.is_some_and(|address| address.is_ipv6());
        worker.open_to_peers(configured);
        peers = Some(PeerPort { port, looked: Instant::now(), heard: false });
    }
    let (handle, queue) = WorkerHandle::new(Arc::clone(&bell), worker.counters(), address, addresses, peer_address);
    let jobs = Jobs::start(config.worker, handle.clone())?;
    let shell = Shell {
        worker,
        jobs,
        players,
        peers,
        queue,
        bell,
        events: config.events,
        id: config.worker,
        slow_counters: Instant::now(),
    };
    let (penalty, processor) = (config.penalty, config.processor);
    let thread = std::thread::Builder::new().name(format!("worker-{}", config.worker)).spawn(move || {
        settle_thread(penalty, processor);
        shell.run();
    })?;
    Ok((handle, thread))
}

/// The thread's priority and processor; where the system refuses, the worker runs all the same.
fn settle_thread(penalty: bool, processor: Option<usize>) {
    if penalty {
        // SAFETY: plain numbers; 0 names the calling thread.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 10) };
    }
    if let Some(processor) = processor.filter(|&processor| processor < libc::CPU_SETSIZE as usize) {
        // SAFETY: the set is zeroed, the processor within it, and both outlive the call.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(processor, &mut set);
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
        }
    }
}

struct Shell {
    worker: Worker,
    jobs: Jobs,
    players: Port,
    peers: Option<PeerPort>,
    queue: Receiver<Command>,
    bell: Arc<Bell>,
    events: SyncSender<(WorkerId, Event)>,
    id: WorkerId,
    slow_counters: Instant,
}

impl Shell {
    fn run(mut self) {
        let mut unsent: Option<Event> = None;
        let mut heard = false;
        while !self.worker.is_stopped() {
            self.receive();
            self.bell.hush(std::mem::take(&mut heard));
            let commands_wait = self.handle_commands();
            let turn = self.turn();
            self.send_events(&mut unsent);
            self.jobs.hand_on(|| self.worker.poll_job());
            self.count();
            if turn == Turn::Done && !commands_wait && !self.worker.is_stopped() {
                heard = self.wait(unsent.is_some());
            }
        }
        // The last events are the ends of recordings: these wait for the node.
        let rest = unsent.into_iter().chain(std::iter::from_fn(|| self.worker.poll_event()));
        for event in rest {
            if self.events.send((self.id, event)).is_err() {
                break;
            }
        }
        self.turn();
    }

    fn turn(&mut self) -> Turn {
        let turn = self.worker.turn(&mut self.players.out);
        self.players.out.transmitter.flush();
        if let Some(PeerPort { port, .. }) = &mut self.peers
            && !self.worker.is_alone()
        {
            self.worker.send_to_peers(&mut port.out);
            port.out.transmitter.flush();
        }
        turn
    }

    fn receive(&mut self) {
        let worker = &mut self.worker;
        self.players.receive(TURN_DATAGRAMS, |now, datagram| worker.handle_datagram(now, datagram));
        if let Some(peers) = &mut self.peers
            && peers.is_due(Instant::now(), worker.is_alone())
        {
            peers.port.receive(PEER_TURN_DATAGRAMS, |now, datagram| worker.handle_peer_datagram(now, datagram));
        }
    }

    /// Does what it was told, as long as the socket need not be served. Answers whether more may wait.
    fn handle_commands(&mut self) -> bool {
        let begun = Instant::now();
        while let Ok(command) = self.queue.try_recv() {
            let now = Instant::now();
            self.worker.handle_command(now, command);
            if now.saturating_duration_since(begun) >= SERVICE_INTERVAL {
                return true;
            }
        }
        false
    }

    fn send_events(&mut self, unsent: &mut Option<Event>) {
        while let Some(event) = unsent.take().or_else(|| self.worker.poll_event()) {
            if let Err(TrySendError::Full((_, event))) = self.events.try_send((self.id, event)) {
                *unsent = Some(event);
                return;
            }
        }
    }

    /// Sleeps until something is to be done; answers whether the bell was heard.
    fn wait(&mut self, events_wait: bool) -> bool {
        let now = Instant::now();
        let mut until = self.worker.next_wake(now).unwrap_or(now + Duration::from_secs(1));
        if events_wait {
            until = until.min(now + Duration::from_millis(1));
        }
        let timeout = until.saturating_duration_since(now);
        if timeout.is_zero() {
            return false;
        }
        let is_prompt = self.worker.is_prompt();
        let players = is_prompt.then(|| self.players.descriptor());
        let peers = self.peers.as_ref().filter(|_| is_prompt).map(|peers| peers.port.descriptor());
        let [bell, _, heard] = wait_for([Some(self.bell.descriptor()), players, peers], timeout);
        self.peers.iter_mut().for_each(|peers| peers.heard |= heard);
        bell
    }

    fn count(&mut self) {
        let now = Instant::now();
        if now.saturating_duration_since(self.slow_counters) < SLOW_COUNTERS {
            return;
        }
        self.slow_counters = now;
        let counters = self.worker.counters();
        let ports = || [Some(&self.players), self.peers.as_ref().map(|peers| &peers.port)].into_iter().flatten();
        counters.kernel_drops.store(ports().map(|port| port.socket.kernel_drops()).sum(), Relaxed);
        counters.send_drops.store(ports().map(|port| port.out.transmitter.sent().dropped).sum(), Relaxed);
        counters.busy_us.store(thread_time_us(), Relaxed);
    }
}

fn thread_time_us() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the answer; every thread has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_beyond_the_bound_come_back() {
        let bell = Arc::new(Bell::new().unwrap());
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let (handle, queue) = WorkerHandle::new(bell, Arc::default(), address, AddressTokens::alone(&[1; 32]), None);
        for _ in 0..COMMANDS {
            assert!(handle.send(Command::Stop).is_ok());
        }
        assert!(matches!(handle.send(Command::Stop).map_err(|command| *command), Err(Command::Stop)));
        assert!(queue.try_recv().is_ok());
        assert!(handle.send(Command::Stop).is_ok(), "there is room again");
    }
}
