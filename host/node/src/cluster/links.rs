//! Links between nodes: messages of the control plane over QUIC with mutual TLS. Each node sends on a connection that it
//! made and receives on those that others made, so that two nodes never agree on whose connection counts. Messages of
//! one sender arrive in order; some are lost when a link is, which is what their state machines expect of a network.
//!
//! ```text
//!  send ─► queues a peer ─► connection ─ hello ─► uni stream of frames ─► inbox (bounded; full: the sender's link waits)
//! ```

mod accept;
pub(crate) mod frame;
mod speak;
mod tls;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, EndpointConfig, SendStream, TokioRuntime};
use ringside_core::ids::{Node, NodeId};
use ringside_core::membership::Seen;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

pub use frame::FrameError;

use super::secret::ClusterSecret;
use crate::limits::{LINK_GREETINGS, LINK_PARTS, LINK_PEERS, LINK_QUEUE, LINKS};

/// Versions of the messages that this release understands, the oldest and the newest. Adjacent releases share one.
pub const VERSIONS: (u16, u16) = (2, 2);
/// How long a handshake and a hello may take.
const GREETING: Duration = Duration::from_secs(3);
/// How long peers may take to hear that the links end.
const FAREWELL: Duration = Duration::from_secs(1);
/// The close code of links.
const CLOSED: u32 = 0;

/// Who a node is: said first on every link, both ways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Versions of the messages that it understands, the oldest and the newest.
    pub versions: (u16, u16),
    /// Its number.
    pub node: u64,
    /// Its start, ms since 1970.
    pub generation: u64,
    /// Where its links are reached.
    pub links: SocketAddr,
    /// Where its gossip is reached.
    pub gossip: SocketAddr,
}

/// Why a node does not speak to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// No version in common.
    #[error("it speaks versions {} to {}, this node {} to {}: run adjacent releases", .theirs.0, .theirs.1, .ours.0, .ours.1)]
    Version {
        /// The refusing node's.
        theirs: (u16, u16),
        /// The refused node's.
        ours: (u16, u16),
    },
    /// The number is taken by a process that is alive.
    #[error(
        "a node with the number {node:016x} is running at {address}: two nodes must not share a state directory or a \
         copy of one; start this one on a new directory"
    )]
    DuplicateNode {
        /// The number.
        node: u64,
        /// Where the other is.
        address: SocketAddr,
    },
    /// The certificate is another node's.
    #[error("the certificate is not that of the node that it claims to be")]
    Certificate,
    /// Too many links, or too many that begin.
    #[error("it has too many links at the moment")]
    Busy,
}

/// The first answer on a link.
#[derive(Debug, Serialize, Deserialize)]
enum Greeting {
    Welcome(Hello),
    Refused(Refusal),
}

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// TLS or the socket cannot be set up.
    #[error("cannot set up links between nodes: {0}")]
    Setup(String),
    /// Nobody answers.
    #[error("no node answers at {address} ({what})")]
    Unreachable {
        /// Where.
        address: SocketAddr,
        /// What was seen.
        what: String,
    },
    /// The node would join itself.
    #[error("{address} is this node itself: --join takes the links of another node")]
    Itself {
        /// Where.
        address: SocketAddr,
    },
    /// Whoever answers is no member of this cluster.
    #[error(
        "{address} is no node of this cluster: its certificate was not signed by this cluster's authority, or it \
         refuses ours; join with a copy of the cluster's secret (cluster.json in the state directory of its nodes)"
    )]
    OtherCluster {
        /// Where.
        address: SocketAddr,
    },
    /// The node refuses.
    #[error("the node at {address} refuses: {refusal}")]
    Refused {
        /// Where.
        address: SocketAddr,
        /// Why.
        refusal: Refusal,
    },
}

/// A message that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival<M> {
    /// The sender, shown by its certificate.
    pub node: u64,
    /// Its start.
    pub generation: u64,
    /// Where it says that its own links are reached.
    pub links: SocketAddr,
    /// What it says.
    pub message: M,
}

impl<M> Arrival<M> {
    /// Where an answer goes: to the very run that spoke, whether this node sees it already or not.
    pub fn sender(&self) -> Destination {
        Destination { node: Node { id: NodeId(self.node), generation: self.generation }, address: self.links }
    }
}

/// What links count.
#[derive(Debug, Default)]
pub struct LinkCounters {
    /// Messages sent.
    pub sent: AtomicU64,
    /// Messages that came in.
    pub received: AtomicU64,
    /// Messages dropped: a queue was full, or the link was lost.
    pub dropped: AtomicU64,
    /// Connections refused: another cluster, version, certificate or number, too many, or noise.
    pub refused: AtomicU64,
    /// Questions that came in and were dropped: too many are being answered.
    pub unanswered: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Decides whether a node that says hello may be linked to.
pub type Admit = Arc<dyn Fn(&Hello) -> Result<(), Refusal> + Send + Sync>;

/// A node's links.
pub struct Links<M> {
    shared: Arc<Shared<M>>,
}

impl<M> Clone for Links<M> {
    fn clone(&self) -> Self {
        Links { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<M> {
    endpoint: Endpoint,
    client: ClientConfig,
    secret: ClusterSecret,
    own: Hello,
    admit: Admit,
    inbox: mpsc::Sender<Arrival<M>>,
    peers: Mutex<HashMap<Node, Peer<M>>>,
    /// Turns of those who greet this node, and places of the links that others made.
    greetings: Arc<Semaphore>,
    /// How many of those are under way, by address.
    greeting: Mutex<HashMap<IpAddr, usize>>,
    places: Arc<Semaphore>,
    counters: LinkCounters,
}

/// Whom a message is for: this run of a node, there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// Which run of which node. A later run on the same address is another peer: what is sent to it must not go into the
    /// connection to the one before, of which nobody knows yet that it is dead.
    pub node: Node,
    /// Where its links are reached.
    pub address: SocketAddr,
}

impl From<&Seen> for Destination {
    fn from(seen: &Seen) -> Destination {
        Destination { node: seen.node, address: seen.contact.control }
    }
}

struct Peer<M> {
    address: SocketAddr,
    control: mpsc::Sender<M>,
    parts: mpsc::Sender<M>,
}

/// What waits for a peer. Control messages go first: what is long comes in parts and has time.
struct Queues<M> {
    control: mpsc::Receiver<M>,
    parts: mpsc::Receiver<M>,
}

impl<M> Peer<M> {
    fn new(address: SocketAddr) -> (Peer<M>, Queues<M>) {
        let ((control, from_control), (parts, from_parts)) = (mpsc::channel(LINK_QUEUE), mpsc::channel(LINK_PARTS));
        (Peer { address, control, parts }, Queues { control: from_control, parts: from_parts })
    }
}

impl<M> Queues<M> {
    /// The next message; `None` when nobody has any.
    async fn next(&mut self) -> Option<M> {
        tokio::select! {
            biased;
            Some(message) = self.control.recv() => Some(message),
            Some(message) = self.parts.recv() => Some(message),
            else => None,
        }
    }

    /// Takes nothing more; what waits can still be taken out.
    fn close(&mut self) {
        self.control.close();
        self.parts.close();
    }

    /// How much waits: control messages and parts.
    fn waiting(&self) -> (usize, usize) {
        (self.control.len(), self.parts.len())
    }

    /// Forgets so much of what has waited longest.
    fn forget(&mut self, (control, parts): (usize, usize)) {
        (0..control).for_each(|_| drop(self.control.try_recv()));
        (0..parts).for_each(|_| drop(self.parts.try_recv()));
    }
}

impl<M: Serialize + DeserializeOwned + Send + 'static> Links<M> {
    /// Starts on a bound socket: `own` is said to others, what they send comes to `inbox`.
    ///
    /// # Errors
    /// [`LinkError::Setup`].
    pub fn start(
        own: Hello,
        secret: &ClusterSecret,
        socket: UdpSocket,
        admit: Admit,
        inbox: mpsc::Sender<Arrival<M>>,
    ) -> Result<Links<M>, LinkError> {
        let (server, client) = tls::configure(secret, own.node)?;
        let endpoint = Endpoint::new(EndpointConfig::default(), Some(server), socket, Arc::new(TokioRuntime))
            .map_err(|error| LinkError::Setup(error.to_string()))?;
        let shared = Arc::new(Shared {
            endpoint,
            client,
            secret: secret.clone(),
            own,
            admit,
            inbox,
            peers: Mutex::new(HashMap::new()),
            greetings: Arc::new(Semaphore::new(LINK_GREETINGS)),
            greeting: Mutex::default(),
            places: Arc::new(Semaphore::new(LINKS)),
            counters: LinkCounters::default(),
        });
        tokio::spawn(accept::run(Arc::clone(&shared)));
        Ok(Links { shared })
    }

    /// Sends a message to a node, some time, or never: answers whether it waits to be sent.
    pub fn send(&self, to: Destination, message: M) -> bool {
        let sent = self.with_peer(to, |peer| peer.control.try_send(message).is_ok()).unwrap_or(false);
        if !sent {
            count(&self.shared.counters.dropped);
        }
        sent
    }

    /// Sends a part of something long, after all other messages: waits for room. Answers whether it waits to be sent.
    pub async fn send_part(&self, to: Destination, message: M) -> bool {
        let parts = self.with_peer(to, |peer| peer.parts.clone());
        let sent = match parts {
            Some(parts) => parts.send(message).await.is_ok(),
            None => false,
        };
        if !sent {
            count(&self.shared.counters.dropped);
        }
        sent
    }

    /// The way to a peer, made where there is none; `None` where there are too many.
    fn with_peer<T>(&self, to: Destination, act: impl FnOnce(&Peer<M>) -> T) -> Option<T> {
        let mut peers = self.shared.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let Destination { node, address } = to;
        // A node that came back elsewhere is another peer; one that was closed as unused is made anew.
        if let Some(peer) = peers.get(&node).filter(|peer| peer.address == address && !peer.control.is_closed()) {
            return Some(act(peer));
        }
        // Earlier runs are over.
        peers.retain(|other, _| *other != node && (other.id != node.id || other.generation > node.generation));
        if peers.len() >= LINK_PEERS {
            peers.retain(|_, peer| !peer.control.is_closed());
        }
        if peers.len() >= LINK_PEERS {
            return None;
        }
        let (peer, queues) = Peer::new(address);
        tokio::spawn(speak::run(Arc::clone(&self.shared), to, queues));
        let answer = act(&peer);
        peers.insert(node, peer);
        Some(answer)
    }

    /// Says hello to whatever node is at an address, and answers who it is.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn greet(&self, address: SocketAddr) -> Result<Hello, LinkError> {
        let (connection, hello) = self.shared.connect(address, &self.shared.secret.any_name()).await?;
        connection.close(CLOSED.into(), b"");
        Ok(hello)
    }

    /// What was counted.
    pub fn counters(&self) -> &LinkCounters {
        &self.shared.counters
    }

    /// Closes every link; waits a moment for peers to hear of it.
    pub async fn stop(&self) {
        self.shared.peers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.shared.endpoint.close(CLOSED.into(), b"the node stops");
        let _ = timeout(FAREWELL, self.shared.endpoint.wait_idle()).await;
    }
}

impl<M> Shared<M> {
    /// A connection to the node that TLS knows as `name`, after both have said hello.
    async fn connect(&self, address: SocketAddr, name: &str) -> Result<(Connection, Hello), LinkError> {
        let unreachable = |what: String| LinkError::Unreachable { address, what };
        let greeting = async {
            let connecting = self.endpoint.connect_with(self.client.clone(), address, name);
            let connection = connecting
                .map_err(|error| unreachable(error.to_string()))?
                .await
                .map_err(|error| lost(address, &error))?;
            let answer = async {
                let (mut words, mut hear) =
                    connection.open_bi().await.map_err(|error| FrameError::Lost(error.to_string()))?;
                say(&mut words, frame::encode(&self.own)).await?;
                frame::read::<Greeting>(&mut hear).await
            };
            match answer.await {
                Ok(Greeting::Welcome(hello)) => Ok((connection, hello)),
                Ok(Greeting::Refused(refusal)) => Err(LinkError::Refused { address, refusal }),
                // With TLS 1.3 a client learns only after the handshake that its certificate is refused.
                Err(error) => Err(match connection.close_reason() {
                    Some(reason) => lost(address, &reason),
                    None => unreachable(error.to_string()),
                }),
            }
        };
        match timeout(GREETING, greeting).await {
            Ok(answer) => answer,
            Err(_) => Err(unreachable(format!("nothing was heard for {} s", GREETING.as_secs()))),
        }
    }
}

/// What a lost connection says about whoever is at the address.
fn lost(address: SocketAddr, error: &ConnectionError) -> LinkError {
    // Alerts of TLS come as codes of 0x100 and more: bad certificates and protocols.
    let refused = |code: u64| (0x100..0x200).contains(&code);
    match error {
        ConnectionError::TransportError(error) if refused(error.code.into()) => LinkError::OtherCluster { address },
        ConnectionError::ConnectionClosed(close) if refused(close.error_code.into()) => {
            LinkError::OtherCluster { address }
        }
        other => LinkError::Unreachable { address, what: other.to_string() },
    }
}

/// Writes a frame.
async fn say(stream: &mut SendStream, frame: Result<Vec<u8>, FrameError>) -> Result<(), FrameError> {
    Ok(stream.write_all(&frame?).await?)
}

#[cfg(test)]
mod tests;
