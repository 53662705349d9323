//! Gossip: chitchat behind one adapter, on a thread of its own, over sealed datagrams. Spreads what each node says of
//! itself, and chitchat's guess who is alive. Nobody acts on that guess alone: a stalled chitchat believes that everybody
//! died, so a [`Snapshot`] says how long this process stood still, and membership decides.
//!
//! chitchat 0.11, not a newer one: later ones keep the codec of their messages private, so that sealing them would take
//! a detour through two more sockets. The price is a digest that is not compressed.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chitchat::transport::{Socket, Transport};
use chitchat::{
    ChitchatConfig, ChitchatHandle, ChitchatId, ChitchatMessage, Deserializable, FailureDetectorConfig, Serializable,
    spawn_chitchat,
};
use ringside_core::membership::GOSSIP_MEMORY_US;
use tokio::sync::{mpsc, watch};

use super::seal::{OVERHEAD, Seal};
use super::secret::ClusterSecret;
use crate::limits::{GOSSIP_VALUE_BYTES, GOSSIP_VALUES};
use crate::pace::every;

/// How often a node gossips, and how often snapshots are taken.
pub const INTERVAL: Duration = Duration::from_millis(100);
/// How long a node that is gone stays listed. A restart is a new generation, so nothing waits for this; membership
/// remembers for longer that it is gone.
const GRACE: Duration = Duration::from_micros(GOSSIP_MEMORY_US);
/// The longest UDP payload.
const DATAGRAM_BYTES: usize = 65_507;

/// What gossip is started with.
#[derive(Debug, Clone)]
pub struct GossipConfig {
    /// This node.
    pub node: u64,
    /// Its start, ms since 1970: tells one process on a state directory from the next.
    pub generation: u64,
    /// Where others reach its gossip.
    pub advertised: SocketAddr,
    /// Gossip addresses of nodes that are asked first.
    pub seeds: Vec<SocketAddr>,
    /// What it says of itself from the beginning.
    pub values: Vec<(String, String)>,
}

/// A node as gossip knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub node: u64,
    /// Its start.
    pub generation: u64,
    /// Where its gossip is reached.
    pub address: SocketAddr,
    /// Whether chitchat believes that it is alive.
    pub live: bool,
    /// Its heartbeats that were heard of: grows while it is alive.
    pub heartbeat: u64,
    /// What it says of itself.
    pub values: BTreeMap<String, String>,
}

/// What gossip knows at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// When.
    pub at: Instant,
    /// How long the gossip thread stood still beyond its interval before this one.
    pub stalled: Duration,
    /// Everybody, this node included, by number and generation.
    pub members: Vec<Member>,
}

/// Datagrams, counted.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Sent.
    pub sent: AtomicU64,
    /// Bytes of those.
    pub sent_bytes: AtomicU64,
    /// Received and understood.
    pub received: AtomicU64,
    /// Received and not ours: another cluster's, forged, cut or damaged.
    pub refused: AtomicU64,
    /// Not sent: too large, or the system refused.
    pub unsent: AtomicU64,
}

/// Why gossip does not run.
#[derive(Debug, thiserror::Error)]
pub enum GossipError {
    /// The system gives no thread or socket.
    #[error("cannot start gossip: {0}")]
    System(#[from] std::io::Error),
    /// The key seals nothing, or chitchat refuses.
    #[error("cannot start gossip: {0}")]
    Start(String),
}

/// Running gossip.
pub struct Gossip {
    values: mpsc::Sender<(String, String)>,
    snapshots: watch::Receiver<Snapshot>,
    traffic: Arc<Traffic>,
    thread: Option<JoinHandle<()>>,
}

impl Gossip {
    /// Starts on a bound socket. Answers when chitchat runs.
    ///
    /// # Errors
    /// [`GossipError`].
    pub async fn start(config: GossipConfig, secret: &ClusterSecret, socket: UdpSocket) -> Result<Gossip, GossipError> {
        let seal = Seal::new(secret.gossip_key()).ok_or_else(|| GossipError::Start("the key is no key".into()))?;
        socket.set_nonblocking(true)?;
        let traffic = Arc::new(Traffic::default());
        let transport = SealedTransport {
            socket: Arc::new(std::sync::Mutex::new(Some(socket))),
            seal: Arc::new(seal),
            traffic: Arc::clone(&traffic),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (values, to_publish) = mpsc::channel(GOSSIP_VALUES);
        let (snapshot, snapshots) =
            watch::channel(Snapshot { at: Instant::now(), stalled: Duration::ZERO, members: Vec::new() });
        let (started, answer) = tokio::sync::oneshot::channel();
        let cluster = secret.id().to_string();
        let thread = std::thread::Builder::new().name("ringside-gossip".into()).spawn(move || {
            runtime.block_on(async {
                match spawn_chitchat(chitchat_config(&config, cluster), config.values.clone(), &transport).await {
                    Ok(handle) => {
                        let _ = started.send(Ok(()));
                        run(&handle, to_publish, &snapshot).await;
                        let _ = handle.shutdown().await;
                    }
                    Err(error) => {
                        let _ = started.send(Err(error.to_string()));
                    }
                }
            });
        })?;
        match answer.await {
            Ok(Ok(())) => Ok(Gossip { values, snapshots, traffic, thread: Some(thread) }),
            Ok(Err(error)) => Err(GossipError::Start(error)),
            Err(_) => Err(GossipError::Start("its thread ended".into())),
        }
    }

    /// Says something of this node to everybody. A value longer than [`GOSSIP_VALUE_BYTES`] is not said; answers whether it is.
    pub async fn publish(&self, key: &str, value: String) -> bool {
        value.len() <= GOSSIP_VALUE_BYTES && self.values.send((key.to_owned(), value)).await.is_ok()
    }

    /// The newest snapshot, and each one after it.
    pub fn snapshots(&self) -> watch::Receiver<Snapshot> {
        self.snapshots.clone()
    }

    /// What was sent and received.
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// Ends it, at once; others are not told (publish a state first).
    pub async fn stop(mut self) {
        let thread = self.thread.take();
        drop(self);
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

/// What chitchat is set to. Public for the benchmark, whose bare chitchat must have the same settings.
pub fn chitchat_config(config: &GossipConfig, cluster: String) -> ChitchatConfig {
    ChitchatConfig {
        chitchat_id: ChitchatId::new(format!("{:016x}", config.node), config.generation, config.advertised),
        cluster_id: cluster,
        gossip_interval: INTERVAL,
        // The transport has its socket already.
        listen_addr: config.advertised,
        seed_nodes: config.seeds.iter().map(ToString::to_string).collect(),
        failure_detector_config: FailureDetectorConfig {
            phi_threshold: 8.0,
            sampling_window_size: 100,
            max_interval: INTERVAL * 20,
            initial_interval: INTERVAL * 2,
            dead_node_grace_period: GRACE,
        },
        marked_for_deletion_grace_period: GRACE,
        catchup_callback: None,
        extra_liveness_predicate: None,
    }
}

/// Publishes and takes snapshots until nobody publishes any more, or until chitchat's own task has ended: then snapshots
/// end, and with them the node.
async fn run(
    handle: &ChitchatHandle,
    mut values: mpsc::Receiver<(String, String)>,
    snapshots: &watch::Sender<Snapshot>,
) {
    let mut tick = every(INTERVAL);
    let mut last = Instant::now();
    let mut ended = std::pin::pin!(handle.termination_watcher());
    loop {
        tokio::select! {
            how = &mut ended => {
                let error = how.err().map_or_else(|| "it gives no reason".to_owned(), |error| error.to_string());
                tracing::error!(%error, "gossip ended by itself");
                return;
            }
            value = values.recv() => match value {
                Some((key, value)) => {
                    handle.with_chitchat(|chitchat| chitchat.self_node_state().set(key.as_str(), value.as_str())).await;
                }
                None => return,
            },
            _ = tick.tick() => {
                let at = Instant::now();
                let stalled = (at - last).saturating_sub(INTERVAL);
                last = at;
                let members = handle.with_chitchat(|chitchat| members(chitchat)).await;
                snapshots.send_replace(Snapshot { at, stalled, members });
            }
        }
    }
}

fn members(chitchat: &chitchat::Chitchat) -> Vec<Member> {
    let live: std::collections::HashSet<&ChitchatId> = chitchat.live_nodes().collect();
    let all = chitchat.node_states().iter().filter_map(|(id, state)| {
        // Members only can say anything at all; one that speaks of numbers that are none is of another release.
        let node = u64::from_str_radix(&id.node_id, 16).ok()?;
        let values = state.key_values().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Some(Member {
            node,
            generation: id.generation_id,
            address: id.gossip_advertise_addr,
            live: live.contains(id),
            heartbeat: state.heartbeat().into(),
            values,
        })
    });
    let mut all: Vec<Member> = all.collect();
    all.sort_unstable_by_key(|member| (member.node, member.generation));
    all
}

/// Hands chitchat the one socket, sealed.
struct SealedTransport {
    socket: Arc<std::sync::Mutex<Option<UdpSocket>>>,
    seal: Arc<Seal>,
    traffic: Arc<Traffic>,
}

#[async_trait::async_trait]
impl Transport for SealedTransport {
    async fn open(&self, _listen: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let socket = self.socket.lock().ok().and_then(|mut socket| socket.take());
        let socket = socket.ok_or_else(|| anyhow::anyhow!("the gossip socket is in use"))?;
        Ok(Box::new(SealedSocket {
            socket: tokio::net::UdpSocket::from_std(socket)?,
            seal: Arc::clone(&self.seal),
            traffic: Arc::clone(&self.traffic),
            plain: Vec::new(),
            received: vec![0; DATAGRAM_BYTES],
        }))
    }
}

struct SealedSocket {
    socket: tokio::net::UdpSocket,
    seal: Arc<Seal>,
    traffic: Arc<Traffic>,
    plain: Vec<u8>,
    received: Vec<u8>,
}

#[async_trait::async_trait]
impl Socket for SealedSocket {
    /// A datagram that cannot be sent is lost, as any may be: an error would end gossip for good.
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        self.plain.clear();
        message.serialize(&mut self.plain);
        let sealed = Some(&self.plain).filter(|plain| plain.len() + OVERHEAD <= DATAGRAM_BYTES);
        let sealed = sealed.and_then(|plain| self.seal.seal(plain));
        let sent = match &sealed {
            Some(sealed) => self.socket.send_to(sealed, to).await.ok(),
            None => None,
        };
        match sent {
            Some(bytes) => {
                self.traffic.sent.fetch_add(1, Ordering::Relaxed);
                self.traffic.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            }
            None => {
                self.traffic.unsent.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Keeps nothing across its only wait, so that it may be cancelled there.
    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        loop {
            let (length, from) = match self.socket.recv_from(&mut self.received).await {
                Ok(received) => received,
                // What an earlier datagram met (a closed port) says nothing about this socket.
                Err(error) if is_transient(&error) => continue,
                Err(error) => return Err(error.into()),
            };
            let message = self.seal.open(&mut self.received[..length]).and_then(|mut plain| {
                let message = ChitchatMessage::deserialize(&mut plain).ok()?;
                plain.is_empty().then_some(message)
            });
            match message {
                Some(message) => {
                    self.traffic.received.fetch_add(1, Ordering::Relaxed);
                    return Ok((from, message));
                }
                None => {
                    self.traffic.refused.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

fn is_transient(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, ConnectionReset, Interrupted, OutOfMemory};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | Interrupted | OutOfMemory)
}

#[cfg(test)]
mod tests;
