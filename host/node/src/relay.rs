//! Relays: for players who cannot reach their session's leader on another node. The worker hands over their bytes and
//! datagrams; each relay is a task with a connection to the leader's worker, an ordinary client's. It reads only the
//! first frame, to follow a redirect and to tell the player that they are relayed.
//!
//! What is under way is bounded by credit, both ways, as `ringside_worker::relay` says; datagrams that find no room are
//! dropped.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use quinn::{Connection, ConnectionError, Endpoint, EndpointConfig, RecvStream, SendStream, TokioRuntime};
use ringside_client::shell::{PINNED_NAME, pinned};
use ringside_core::ids::WorkerId;
use ringside_protocol::frame::{ClientFrame, FrameDecoder, Place, Route, ServerFrame, WireFrame};
use ringside_protocol::limits;
use ringside_protocol::reason::Reason;
use ringside_worker::Command;
use ringside_worker::endpoint::as_seen;
use ringside_worker::relay::{RelayOrder, Relayed};
use ringside_worker::shell::WorkerHandle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender, UnboundedReceiver, UnboundedSender};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::limits::{NODE_RELAYS, OPENING_RELAYS, RELAY_DATAGRAMS};

/// Bytes that are read off a leader's stream at a time.
const CHUNK: usize = 16 << 10;
/// Both of a relay's paths carry packets of this size, so that what fits into one fits into the other.
const PACKET: u16 = 1200;
/// A worker whose queue is full is asked again after this; it is emptied every turn.
const FULL: Duration = Duration::from_millis(2);
/// How often it is asked. Beyond: the relay ends as overloaded, since what is left out of a stream makes it another.
const ASKED: u32 = 1000;

/// The relays of a node.
pub struct Relays {
    runtime: tokio::runtime::Handle,
    endpoint: Endpoint,
    open: Arc<Mutex<HashMap<Name, Inlet>>>,
    places: Places,
    counters: Arc<RelayCounters>,
}

/// What relays count.
#[derive(Debug, Default)]
pub struct RelayCounters {
    /// Players' datagrams that found no room.
    pub dropped: AtomicU64,
}

/// How many relays there may be. To a leader all players that a node relays come from one address, which it lets have so
/// many connections and no more: those that have a place here find one there.
#[derive(Clone)]
struct Places {
    all: Arc<Semaphore>,
    opening: Arc<Semaphore>,
}

impl Default for Places {
    fn default() -> Places {
        Places { all: Arc::new(Semaphore::new(NODE_RELAYS)), opening: Arc::new(Semaphore::new(OPENING_RELAYS)) }
    }
}

impl Places {
    /// A relay's place, if there is any.
    fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.all).try_acquire_owned().ok()
    }

    /// Waits for the turn to be let in by a leader.
    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.opening).acquire_owned().await.ok()
    }
}

type Name = (WorkerId, u64);

/// The way into a relay's task.
struct Inlet {
    /// Bounded by credit.
    stream: UnboundedSender<Relayed>,
    datagrams: Sender<Bytes>,
}

/// What comes out of it.
struct Outflow {
    stream: FromPlayer,
    datagrams: Receiver<Bytes>,
}

/// All that is not a datagram.
struct FromPlayer {
    /// What came before there was a leader: no more than the player has credit for.
    early: VecDeque<Relayed>,
    queue: UnboundedReceiver<Relayed>,
}

impl FromPlayer {
    /// Waits until the player is gone, and keeps what else comes.
    async fn gone(&mut self) -> Reason {
        loop {
            match self.queue.recv().await {
                Some(Relayed::Closed(reason)) => return reason,
                Some(other) => self.early.push_back(other),
                None => return Reason::Closed,
            }
        }
    }

    async fn next(&mut self) -> Option<Relayed> {
        match self.early.pop_front() {
            Some(early) => Some(early),
            None => self.queue.recv().await,
        }
    }
}

impl Inlet {
    fn new() -> (Inlet, Outflow) {
        let ((stream, queue), (datagrams, datagrams_from_player)) =
            (mpsc::unbounded_channel(), mpsc::channel(RELAY_DATAGRAMS));
        let from_player = FromPlayer { early: VecDeque::new(), queue };
        (Inlet { stream, datagrams }, Outflow { stream: from_player, datagrams: datagrams_from_player })
    }

    /// Takes something from the player, or drops it.
    fn take(&self, what: Relayed, counters: &RelayCounters) {
        match what {
            Relayed::Datagram(bytes) => {
                if let Err(TrySendError::Full(_)) = self.datagrams.try_send(bytes) {
                    counters.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
            other => drop(self.stream.send(other)),
        }
    }
}

impl Relays {
    /// No relays yet. To be called on the runtime that their tasks are to run on.
    ///
    /// # Errors
    /// The system gives no socket.
    pub fn start() -> std::io::Result<Relays> {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).or_else(|_| UdpSocket::bind("0.0.0.0:0"))?;
        let mut config = EndpointConfig::default();
        // The leader learns from this how large its packets may be.
        config.max_udp_payload_size(PACKET).map_err(std::io::Error::other)?;
        let endpoint = Endpoint::new(config, None, socket, Arc::new(TokioRuntime))?;
        let (runtime, open, places) = (tokio::runtime::Handle::current(), Arc::default(), Places::default());
        Ok(Relays { runtime, endpoint, open, places, counters: Arc::default() })
    }

    /// What is counted.
    pub fn counters(&self) -> &Arc<RelayCounters> {
        &self.counters
    }

    /// Begins a relay for a player at a worker.
    pub fn begin(&self, worker: WorkerId, handle: WorkerHandle, order: RelayOrder) {
        let name = (worker, order.relay);
        let (inlet, mut outflow) = Inlet::new();
        self.lock().insert(name, inlet);
        let (endpoint, open, places) = (self.endpoint.clone(), Arc::clone(&self.open), self.places.clone());
        let place = places.take();
        self.runtime.spawn(async move {
            let outlet = Outlet { handle, relay: order.relay, credit: Arc::default() };
            let let_in = async {
                let _turn = places.turn().await;
                connect(&endpoint, order).await
            };
            let leader = match &place {
                // One who is gone is let in nowhere: a connection that came later would take the seat from where they are by then.
                Some(_) => tokio::select! {
                    reason = outflow.stream.gone() => Err(reason),
                    leader = let_in => leader,
                },
                None => Err(Reason::Overloaded),
            };
            let reason = match leader {
                Ok(leader) => leader.pass(&outlet, outflow).await,
                Err(reason) => reason,
            };
            drop(place);
            // The player must hear of it. A worker that has ended takes nothing any more: its node ends as well.
            while outlet.tell(Relayed::Closed(reason)).await.is_err() {}
            open.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
        });
    }

    /// Something from a relayed player. One that is not known any more has ended.
    pub fn handle(&self, worker: WorkerId, relay: u64, what: Relayed) {
        let open = self.lock();
        let Some(inlet) = open.get(&(worker, relay)) else { return };
        inlet.take(what, &self.counters);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Name, Inlet>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way back to the player's worker.
#[derive(Clone)]
struct Outlet {
    handle: WorkerHandle,
    relay: u64,
    credit: Arc<Credit>,
}

/// Bytes for the player that the worker has not confirmed.
#[derive(Default)]
struct Credit {
    ahead: Mutex<usize>,
    changed: Notify,
}

impl Credit {
    fn add(&self, bytes: usize) {
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) += bytes;
    }

    fn give_back(&self, bytes: usize) {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        *ahead = ahead.saturating_sub(bytes);
        self.changed.notify_one();
    }

    /// Waits until something may be sent.
    async fn some(&self) {
        while *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) >= limits::RELAY_BYTES {
            self.changed.notified().await;
        }
    }
}

impl Outlet {
    /// Tells the worker; waits where its queue is full, but not for ever.
    async fn tell(&self, what: Relayed) -> Result<(), Stuck> {
        tell(self.relay, what, |command| self.handle.send(command)).await
    }

    async fn stream(&self, bytes: Bytes) -> Result<(), Stuck> {
        self.credit.add(bytes.len());
        self.tell(Relayed::Stream(bytes)).await
    }
}

/// The player's worker takes nothing any more: it is overloaded for long, or has ended, as its node will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stuck;

async fn tell(relay: u64, what: Relayed, send: impl Fn(Command) -> Result<(), Box<Command>>) -> Result<(), Stuck> {
    let mut command = Command::Relayed { relay, what };
    for _ in 0..ASKED {
        match send(command) {
            Ok(()) => return Ok(()),
            Err(back) => command = *back,
        }
        tokio::time::sleep(FULL).await;
    }
    Err(Stuck)
}

/// A connection to the leader on which the player is attached, or was refused.
struct Leader {
    connection: Connection,
    send: SendStream,
    receive: RecvStream,
    /// What came with the first frame, that frame included.
    begun: Bytes,
}

/// Connects to the leader and has the player attached; follows it if it has just moved.
async fn connect(endpoint: &Endpoint, order: RelayOrder) -> Result<Leader, Reason> {
    let RelayOrder { mut place, mut open, .. } = order;
    open.relay = false;
    for _ in 0..=limits::CLIENT_REDIRECTS {
        open.ticket = Some(place.ticket.clone());
        let opening = open_at(endpoint, &place, ClientFrame::Open(open.clone()));
        match tokio::time::timeout(limits::CLIENT_REACH_TIMEOUT * 2, opening).await {
            Ok(Some(Opened::Leader(leader))) => return Ok(leader),
            Ok(Some(Opened::Elsewhere(next))) => place = next,
            Ok(None) | Err(_) => return Err(Reason::Unreachable),
        }
    }
    Err(Reason::Unreachable)
}

enum Opened {
    Leader(Leader),
    Elsewhere(Place),
}

async fn open_at(endpoint: &Endpoint, place: &Place, open: ClientFrame) -> Option<Opened> {
    let config = pinned(place.certificate_sha256, limits::IDLE_TIMEOUT).ok()?;
    let address = reachable(endpoint, place.address);
    let connection = endpoint.connect_with(config, address, PINNED_NAME).ok()?.await.ok()?;
    let (mut send, mut receive) = connection.open_bi().await.ok()?;
    let mut frame = BytesMut::new();
    open.encode(&mut frame);
    send.write_all(&frame).await.ok()?;
    let mut decoder = FrameDecoder::<ServerFrame>::default();
    loop {
        let chunk = receive.read_chunk(CHUNK, true).await.ok()??.bytes;
        let mut rest: &[u8] = &chunk;
        let Some(first) = decoder.next(&mut rest).ok()? else { continue };
        let mut begun = BytesMut::new();
        match first {
            ServerFrame::Redirect(next) => return Some(Opened::Elsewhere(next)),
            ServerFrame::Attached(mut attached) => {
                attached.route = Route::Relayed;
                ServerFrame::Attached(attached).encode(&mut begun);
            }
            other => other.encode(&mut begun),
        }
        begun.extend_from_slice(rest);
        return Some(Opened::Leader(Leader { connection, send, receive, begun: begun.freeze() }));
    }
}

/// The address as the endpoint's socket wants it.
fn reachable(endpoint: &Endpoint, address: SocketAddr) -> SocketAddr {
    as_seen(address, endpoint.local_addr().is_ok_and(|local| local.is_ipv6()))
}

impl Leader {
    /// Passes everything on until one side ends; answers why.
    async fn pass(self, outlet: &Outlet, outflow: Outflow) -> Reason {
        let Outflow { stream: mut from_player, mut datagrams } = outflow;
        let Leader { connection, mut send, mut receive, begun } = self;
        if outlet.stream(begun).await.is_err() {
            connection.close(u32::from(Reason::Overloaded.code()).into(), b"");
            return Reason::Overloaded;
        }
        let up = async {
            while let Some(what) = from_player.next().await {
                match what {
                    Relayed::Stream(bytes) => {
                        let length = bytes.len();
                        if send.write_all(&bytes).await.is_err() {
                            return std::future::pending().await;
                        }
                        if outlet.tell(Relayed::Took(length)).await.is_err() {
                            return Reason::Overloaded;
                        }
                    }
                    Relayed::Took(bytes) => outlet.credit.give_back(bytes),
                    Relayed::Closed(reason) => return reason,
                    Relayed::Datagram(_) => {}
                }
            }
            Reason::Closed
        };
        let up_datagrams = async {
            while let Some(bytes) = datagrams.recv().await {
                // One that does not fit or finds no room is lost, as any may be.
                let _ = connection.send_datagram(bytes);
            }
            std::future::pending::<Reason>().await
        };
        let down = async {
            loop {
                outlet.credit.some().await;
                match receive.read_chunk(CHUNK, true).await {
                    Ok(Some(chunk)) => {
                        if outlet.stream(chunk.bytes).await.is_err() {
                            return Reason::Overloaded;
                        }
                    }
                    // Why it ended is in the connection's close.
                    Ok(None) | Err(_) => return std::future::pending::<Reason>().await,
                }
            }
        };
        let down_datagrams = async {
            while let Ok(bytes) = connection.read_datagram().await {
                let _ = outlet.handle.send(Command::Relayed { relay: outlet.relay, what: Relayed::Datagram(bytes) });
            }
            std::future::pending::<Reason>().await
        };
        let reason = tokio::select! {
            // The stream first: the leader's last frame precedes its close.
            biased;
            reason = down => reason,
            reason = up => reason,
            reason = up_datagrams => reason,
            reason = down_datagrams => reason,
            error = connection.closed() => match error {
                ConnectionError::ApplicationClosed(close) => {
                    Reason::from_code(u16::try_from(close.error_code.into_inner()).unwrap_or(0))
                }
                _ => Reason::Unreachable,
            },
        };
        connection.close(u32::from(Reason::Closed.code()).into(), b"");
        reason
    }
}

#[cfg(test)]
mod tests;
