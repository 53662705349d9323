//! The thin shell round a [`Worker`]: its thread, socket, clock and queues. The only part that waits, and it waits for
//! the socket, a command or the next due instant. A ticking worker sleeps through arriving packets until its grid's
//! next instant; a prompt one wakes for each.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use quinn_proto::crypto::ServerConfig as Crypto;
use ringside_core::ids::{Node, WorkerId};
use ringside_protocol::frame::Certificate;

use crate::accounting::Counters;
use crate::addresses::AddressTokens;
use crate::authority::{Authority, Keys};
use crate::command::{Command, Event};
use crate::limits::COMMANDS;
use crate::outlet::{Destination, Outlet};
use crate::receive::Receiver as Socket;
use crate::transmit::Transmitter;
use crate::transport;
use crate::worker::{SERVICE_INTERVAL, Turn, Worker, WorkerConfig};

/// Datagrams that are read before the worker's turn.
const RECEIVED_A_TURN: usize = 2048;
/// How often slow counters (CPU time, kernel drops) are read.
const SLOW_COUNTERS: Duration = Duration::from_millis(250);

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
}

/// A running worker.
#[derive(Clone)]
pub struct WorkerHandle {
    commands: SyncSender<Command>,
    bell: Arc<Bell>,
    counters: Arc<Counters>,
    address: SocketAddr,
    addresses: AddressTokens,
}

impl WorkerHandle {
    fn new(
        bell: Arc<Bell>,
        counters: Arc<Counters>,
        address: SocketAddr,
        addresses: AddressTokens,
    ) -> (WorkerHandle, Receiver<Command>) {
        let (commands, queue) = sync_channel(COMMANDS);
        (WorkerHandle { commands, bell, counters, address, addresses }, queue)
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

    /// Its counters.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Where its socket is bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Starts a worker on a socket. The thread ends after [`Command::Stop`].
///
/// # Errors
/// The socket cannot be prepared, or the system gives no thread.
pub fn spawn(config: Config, socket: UdpSocket) -> io::Result<(WorkerHandle, JoinHandle<()>)> {
    let address = socket.local_addr()?;
    let socket = Socket::new(socket)?;
    let bell = Arc::new(Bell::new()?);
    let started_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_millis() as u64);
    let mut worker = WorkerConfig::new(config.node.id.0, config.worker, config.certificate, started_ms, Instant::now());
    worker.seat_window = config.seat_window;
    worker.penalty = config.penalty;
    (worker.generation, worker.node_started) = (config.node.generation, config.node_started);
    let addresses = config.keys.addresses();
    let worker = Worker::new(
        worker,
        Arc::new(transport::endpoint_config(config.worker, &config.seed)),
        Arc::new(transport::server_config(config.crypto, &addresses)),
        Authority::new(config.keys, config.node, config.worker, &config.seed),
        !socket.may_fragment(),
    );
    let (handle, queue) = WorkerHandle::new(Arc::clone(&bell), worker.counters(), address, addresses);
    let shell = Shell {
        out: SocketOutlet { transmitter: Transmitter::new(socket.socket().as_raw_fd()) },
        worker,
        socket,
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

/// Wakes a sleeping worker: an eventfd that is written at most once until it is read.
struct Bell {
    descriptor: OwnedFd,
    rung: AtomicBool,
}

impl Bell {
    fn new() -> io::Result<Bell> {
        // SAFETY: no pointers; the result is checked.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor that was just made and is nobody else's.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Bell { descriptor, rung: AtomicBool::new(false) })
    }

    fn ring(&self) {
        if !self.rung.swap(true, SeqCst) {
            let one = 1_u64;
            // SAFETY: eight bytes of a local number. A full counter wakes as well.
            unsafe { libc::write(self.descriptor.as_raw_fd(), (&raw const one).cast(), 8) };
        }
    }

    /// Takes the ring back; commands sent from now on ring again. Those sent before are in the queue, to be looked at
    /// after this. The descriptor is emptied first: a ring in between must not be lost while it counts as rung. One that
    /// was heard is taken back though it does not count as rung: its ringer was slow to write.
    fn hush(&self, heard: bool) {
        if heard || self.rung.load(SeqCst) {
            let mut count = 0_u64;
            // SAFETY: eight bytes of a local number.
            unsafe { libc::read(self.descriptor.as_raw_fd(), (&raw mut count).cast(), 8) };
            self.rung.swap(false, SeqCst);
        }
    }
}

struct SocketOutlet {
    transmitter: Transmitter,
}

impl Outlet for SocketOutlet {
    fn now(&mut self) -> Instant {
        Instant::now()
    }

    fn buffer(&mut self) -> &mut Vec<u8> {
        self.transmitter.buffer()
    }

    fn commit(&mut self, to: Destination) {
        self.transmitter.commit(to);
    }
}

struct Shell {
    worker: Worker,
    socket: Socket,
    out: SocketOutlet,
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
            let turn = self.worker.turn(&mut self.out);
            self.out.transmitter.flush();
            self.send_events(&mut unsent);
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
        self.worker.turn(&mut self.out);
        self.out.transmitter.flush();
    }

    fn receive(&mut self) {
        let mut received = 0;
        loop {
            let now = Instant::now();
            let worker = &mut self.worker;
            let (datagrams, more) = self.socket.receive(|datagram| worker.handle_datagram(now, datagram));
            received += datagrams;
            if !more || received >= RECEIVED_A_TURN {
                return;
            }
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
        let socket = self.worker.is_prompt().then(|| self.socket.socket().as_raw_fd());
        wait_for(self.bell.descriptor.as_raw_fd(), socket, timeout)
    }

    fn count(&mut self) {
        let now = Instant::now();
        if now.saturating_duration_since(self.slow_counters) < SLOW_COUNTERS {
            return;
        }
        self.slow_counters = now;
        let counters = self.worker.counters();
        counters.kernel_drops.store(self.socket.kernel_drops(), Relaxed);
        counters.send_drops.store(self.out.transmitter.sent().dropped, Relaxed);
        counters.busy_us.store(thread_time_us(), Relaxed);
    }
}

/// Waits for the bell, the socket if given, or the timeout; answers whether it was the bell.
fn wait_for(bell: RawFd, socket: Option<RawFd>, timeout: Duration) -> bool {
    let poll = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // A negative descriptor is passed over.
    let mut descriptors = [poll(bell), poll(socket.unwrap_or(-1))];
    let timeout = libc::timespec {
        tv_sec: timeout.as_secs() as libc::time_t,
        tv_nsec: libc::c_long::from(timeout.subsec_nanos() as i32),
    };
    // SAFETY: the array and the timeout outlive the call; an interrupted wait is a short one.
    let ready = unsafe { libc::ppoll(descriptors.as_mut_ptr(), 2, &timeout, std::ptr::null()) };
    ready > 0 && descriptors[0].revents != 0
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
        let (handle, queue) = WorkerHandle::new(bell, Arc::default(), address);
        for _ in 0..COMMANDS {
            assert!(handle.send(Command::Stop).is_ok());
        }
        assert!(matches!(handle.send(Command::Stop).map_err(|command| *command), Err(Command::Stop)));
        assert!(queue.try_recv().is_ok());
        assert!(handle.send(Command::Stop).is_ok(), "there is room again");
    }

    /// The worker was awake for another reason and took the ring back before its ringer wrote.
    #[test]
    fn a_ring_that_is_written_late_is_heard_once() {
        let bell = Bell::new().unwrap();
        assert!(!bell.rung.swap(true, SeqCst));
        bell.hush(false);
        let one = 1_u64;
        // SAFETY: eight bytes of a local number.
        unsafe { libc::write(bell.descriptor.as_raw_fd(), (&raw const one).cast(), 8) };
        let heard = wait_for(bell.descriptor.as_raw_fd(), None, Duration::from_secs(20));
        assert!(heard);
        bell.hush(heard);
        assert!(!wait_for(bell.descriptor.as_raw_fd(), None, Duration::from_millis(1)), "it rings on for ever");
    }

    #[test]
    fn no_ring_is_lost_between_two() {
        let patience = Duration::from_secs(20);
        let bell = Arc::new(Bell::new().unwrap());
        let (sender, queue) = sync_channel(1 << 20);
        let ringer = Arc::clone(&bell);
        let rings = 300_000;
        let thread = std::thread::spawn(move || {
            for number in 0..rings {
                sender.send(number).unwrap();
                ringer.ring();
            }
        });
        let mut taken = 0;
        while taken < rings {
            let began = Instant::now();
            let heard = wait_for(bell.descriptor.as_raw_fd(), None, patience);
            assert!(began.elapsed() < patience, "the bell is rung and cannot be heard");
            bell.hush(heard);
            taken += queue.try_iter().count();
        }
        thread.join().unwrap();
    }
}
