//! A node's part in its cluster, from its sockets to its leaving.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringside_core::ids::{Certificate, Node, NodeId, WorkerId};
use ringside_core::membership::{Contact, Fact, PeerPorts, State, View};
use tokio::sync::mpsc;

use super::counted::Counted;
use super::gossip::{Gossip, GossipConfig, GossipError, INTERVAL};
use super::inbox;
use super::join::{self, Candidates, NoGossip};
use super::links::{Arrival, Hello, LinkError, Links, VERSIONS};
use super::member::{Doorkeeper, Member, Parts};
use super::peers::Peers;
use super::secret::ClusterSecret;
use super::wire::Message;
use super::{fact, games, remembered, versions};
use crate::config::Config;
use crate::control::{Control, Outlet};
use crate::operator;
use crate::relay::RelayCounters;
use crate::state_directory::{StateDirectory, StateError};

/// How long a node that leaves goes on gossiping that it has left.
const FAREWELL: Duration = Duration::from_millis(5 * INTERVAL.as_millis() as u64);

/// Why a node has no part in a cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A socket cannot be bound.
    #[error("cannot listen on {address} for other nodes' {what}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// For what: links or gossip.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The nodes to join, or the links themselves.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Gossip.
    #[error(transparent)]
    Gossip(#[from] GossipError),
    /// The nodes that were there last cannot be read or kept.
    #[error(transparent)]
    State(#[from] StateError),
    /// Nodes were found that do not gossip with this one.
    #[error(transparent)]
    NoGossip(#[from] NoGossip),
    /// Another process is this node.
    #[error(
        "another process runs as node {0}: two nodes must not share a state directory or a copy of one; start this one \
         on a new directory"
    )]
    Duplicate(Node),
}

/// Its sockets, bound before anything runs.
pub struct Sockets {
    links: UdpSocket,
    gossip: UdpSocket,
    /// Where others reach its links.
    pub links_address: SocketAddr,
    /// Where others reach its gossip.
    pub gossip_address: SocketAddr,
}

impl Sockets {
    /// Binds what is configured.
    ///
    /// # Errors
    /// [`ClusterError::Bind`].
    pub fn bind(config: &Config) -> Result<Sockets, ClusterError> {
        let bind = |address, what| {
            let failed = |source| ClusterError::Bind { address, what, source };
            let socket = UdpSocket::bind(address).map_err(failed)?;
            let bound = socket.local_addr().map_err(failed)?;
            Ok::<_, ClusterError>((socket, config.advertised(bound)))
        };
        let (links, links_address) = bind(config.links, "links")?;
        let (gossip, gossip_address) = bind(config.gossip, "gossip")?;
        Ok(Sockets { links, gossip, links_address, gossip_address })
    }

    /// Those that are bound already.
    ///
    /// # Errors
    /// [`ClusterError::Bind`].
    pub fn of(config: &Config, links: UdpSocket, gossip: UdpSocket) -> Result<Sockets, ClusterError> {
        let at = |socket: &UdpSocket, address, what| {
            socket.local_addr().map_err(|source| ClusterError::Bind { address, what, source })
        };
        let links_address = config.advertised(at(&links, config.links, "links")?);
        let gossip_address = config.advertised(at(&gossip, config.gossip, "gossip")?);
        Ok(Sockets { links, gossip, links_address, gossip_address })
    }

    /// The bare sockets: links and gossip.
    pub fn into_parts(self) -> (UdpSocket, UdpSocket) {
        (self.links, self.gossip)
    }
}

/// What a node begins with.
pub struct Beginning {
    /// Where it keeps which nodes were there.
    pub state: Arc<StateDirectory>,
    /// Which run of which node.
    pub node: Node,
    /// When that run began.
    pub started: Instant,
    /// What players expect of its workers.
    pub certificate: Certificate,
    /// Where its workers are reached, by number.
    pub workers: Vec<(WorkerId, SocketAddr)>,
    /// Where they are reached by workers of other nodes.
    pub peers: PeerPorts,
    /// The cluster's secret.
    pub secret: ClusterSecret,
    /// Its sockets.
    pub sockets: Sockets,
    /// What it takes over, if it is the node that another process was until just now.
    pub succeeding: Option<Succeeding>,
}

/// What a run takes over from the one before.
pub struct Succeeding {
    /// The cluster as that one saw it last.
    pub view: Arc<View>,
    /// The worker where players come first.
    pub door: WorkerId,
}

/// Links and gossip that run; nobody is heard yet.
pub struct Joined {
    state: Arc<StateDirectory>,
    node: Node,
    started: Instant,
    links: Links<Message>,
    arrivals: mpsc::Receiver<Arrival<Message>>,
    doorkeeper: Doorkeeper,
    gossip: Arc<Gossip>,
    gossip_address: SocketAddr,
    fact: Fact,
    has_seeds: bool,
    /// The nodes that a run that takes over must hear of before it acts on what it sees.
    succeeds: Option<BTreeSet<NodeId>>,
}

impl Joined {
    /// Greets the nodes that are to be joined, and begins to gossip.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn start(config: &Config, beginning: Beginning) -> Result<Joined, ClusterError> {
        let Beginning { state, node, started, certificate, workers, peers, secret, sockets, succeeding } = beginning;
        let Sockets { links, gossip, links_address, gossip_address } = sockets;
        let (inbox, arrivals) = inbox::queue();
        let doorkeeper = Doorkeeper::default();
        let own = Hello {
            versions: VERSIONS,
            node: node.id.0,
            generation: node.generation,
            links: links_address,
            gossip: gossip_address,
        };
        let links = Links::start(own, &secret, links, doorkeeper.admit(), inbox)?;
        let first = succeeding.as_ref().map_or(WorkerId(0), |it| it.door);
        let door = workers.iter().find(|(worker, _)| *worker == first).map_or(links_address, |(_, address)| *address);
        let workers: Vec<SocketAddr> = workers.into_iter().map(|(_, address)| address).collect();
        let fact = Fact {
            weight: config.weight,
            zone: config.zone.clone(),
            reads: versions::own(),
            ..Fact::new(node, Contact { control: links_address, door, workers, peers, certificate })
        };
        let others = succeeding.as_ref().map(|it| {
            let others = it.view.nodes().filter(|seen| seen.node.id != node.id);
            others.map(|seen| (seen.node.id, seen.contact.control)).collect::<BTreeMap<_, _>>()
        });
        let succeeds = others.as_ref().map(|others| others.keys().copied().collect::<BTreeSet<_>>());
        let remembered = match others {
            Some(others) => others.into_values().collect(),
            None => remembered::read(&state)?,
        };
        let named: &[SocketAddr] = if succeeds.is_some() { &[] } else { &config.join };
        let found = join::seeds(&links, node, Candidates { named, remembered: &remembered }).await?;
        if !found.is_empty() {
            // At once: views come later, and by then it may have been killed.
            let written = remembered::write(&state, &found.iter().map(|hello| hello.links).collect::<Vec<_>>());
            match written {
                // Nobody else has its sessions; views are kept as they come.
                Err(error) if succeeds.is_some() => tracing::warn!(%error, "the other nodes are written later"),
                written => written?,
            }
        }
        let seeds: Vec<SocketAddr> = found.iter().map(|hello| hello.gossip).collect();
        let has_seeds = !seeds.is_empty();
        let values = vec![(fact::KEY.to_owned(), fact::encode(&fact))];
        let gossip_config =
            GossipConfig { node: node.id.0, generation: node.generation, advertised: gossip_address, seeds, values };
        let gossip = Arc::new(Gossip::start(gossip_config, &secret, gossip).await?);
        Ok(Joined {
            state,
            node,
            started,
            links,
            arrivals,
            doorkeeper,
            gossip,
            gossip_address,
            fact,
            has_seeds,
            succeeds,
        })
    }

    /// Whether there are others to find.
    pub fn has_seeds(&self) -> bool {
        self.has_seeds
    }

    /// What the directory speaks to other nodes through.
    pub fn outlet(&self) -> Outlet {
        let links = self.links.clone();
        Box::new(move |to, message| links.send(to.into(), message))
    }

    /// Takes part from now on: membership is driven; views go to the control task.
    pub fn enter(self, control: Control) -> (Cluster, Arrivals) {
        let member = Member::start(Parts {
            fact: self.fact,
            node_started: self.started,
            has_seeds: self.has_seeds,
            gossip_address: self.gossip_address,
            gossip: Arc::clone(&self.gossip),
            links: self.links.clone(),
            doorkeeper: self.doorkeeper,
            control,
            succeeds: self.succeeds.clone(),
        });
        tokio::spawn(remembered::follow(self.state, self.node.id, member.views()));
        let peers = Peers::new(self.node, self.links.clone(), member.views());
        let has_seeds = self.has_seeds;
        let has_seeds = has_seeds && self.succeeds.is_none();
        let cluster = Cluster { member, peers, links: self.links, gossip: self.gossip, has_seeds };
        (cluster, Arrivals(self.arrivals))
    }
}

/// What came in over the links by now.
pub struct Arrivals(mpsc::Receiver<Arrival<Message>>);

/// A node's part in its cluster.
pub struct Cluster {
    /// Who is there.
    pub member: Member,
    /// The way to the others.
    pub peers: Peers,
    links: Links<Message>,
    gossip: Arc<Gossip>,
    has_seeds: bool,
}

impl Cluster {
    /// What was counted, that of the node's relays included.
    pub fn counted(&self, relays: Arc<RelayCounters>) -> Counted {
        Counted::new(Arc::clone(self.gossip.traffic()), self.links.clone(), self.member.ignored(), relays)
    }

    /// Answers others, follows their games, and becomes active; returns when the node is on the ring that it sees.
    ///
    /// # Errors
    /// [`ClusterError::Duplicate`], [`ClusterError::NoGossip`].
    pub async fn serve(
        &self,
        arrivals: Arrivals,
        games: games::Games,
        desk: operator::Desk,
    ) -> Result<(), ClusterError> {
        tokio::spawn(inbox::run(arrivals.0, self.member.clone(), self.peers.clone(), desk));
        tokio::spawn(games.clone().follow(Arc::clone(&self.gossip), self.peers.clone()));
        let ready = self.become_active(&games);
        tokio::select! {
            duplicate = self.member.duplicate() => Err(ClusterError::Duplicate(duplicate)),
            ready = ready => ready,
        }
    }

    async fn become_active(&self, games: &games::Games) -> Result<(), ClusterError> {
        if self.has_seeds {
            join::heard(self.member.views()).await?;
            games.catch_up(&self.peers).await;
        }
        self.member.activate().await;
        let me = self.peers.me();
        let mut views = self.member.views();
        let active =
            views.wait_for(|view| view.node(me.id).is_some_and(|seen| seen.node == me && seen.state == State::Active));
        // Where views end, so does the node: that is said elsewhere.
        let _ = active.await;
        Ok(())
    }

    /// Gives the others a moment to hear that the node has left ([`Member::leave`]), and closes its links.
    pub async fn stop(&self) {
        if !self.peers.others().is_empty() {
            tokio::time::sleep(FAREWELL).await;
        }
        self.links.stop().await;
    }
}
