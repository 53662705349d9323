//! A node on its way to run: first what needs no socket that another process may have, the games, the workers and the
//! control task; then the cluster, and whoever asks from outside.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use ringside_core::directory::Limits;
use ringside_core::ids::{Certificate, Node, NodeId, SessionId, WorkerId};
use ringside_core::membership::PeerPorts;
use ringside_worker::authority::{Authority, Keys};
use tokio::sync::{mpsc, oneshot, watch};

use super::NodeError;
use super::kept::Kept;
use super::running::{Running, tell_certificate};
use crate::admin::{self, Services};
use crate::api::NodeInfo;
use crate::catalogue::Catalogue;
use crate::certificate::ServerCertificate;
use crate::chains::Chains;
use crate::cluster::games::Games;
use crate::cluster::running::{Beginning, Joined, Sockets as ClusterSockets, Succeeding};
use crate::cluster::secret::ClusterSecret;
use crate::cluster::versions;
use crate::config::Config;
use crate::control::{self, Control, Desk, Identity, Message};
use crate::durable::NodeLog;
use crate::durable::recovery::{Recovery, Wanted};
use crate::handover::Upgrades;
use crate::handover::channel::Sockets;
use crate::handover::taking::Succession;
use crate::idle::{self, Idle};
use crate::metrics::Metrics;
use crate::operator::{self, Leaving};
use crate::recorder::Recorder;
use crate::renewal::{Renewal, Shown};
use crate::resolve::{self, Entrance, Resolver};
use crate::state_directory::{NodeFile, StateDirectory};
use crate::store::Store;
use crate::tokens::TokenKey;
use crate::workers::{Keeping, Workers, WorkersError};

/// How long the run before may take to give up its lock once it has given everything.
const UNLOCKING: Duration = Duration::from_secs(5);
/// How soon the node's file is written again that could not be.
const PUBLISH_AGAIN: Duration = Duration::from_secs(5);
/// How often that is tried.
const TRY: Duration = Duration::from_millis(5);

/// What runs before the node is one.
pub struct Begun {
    config: Config,
    state: StateDirectory,
    token: String,
    identity: Identity,
    certificate: ServerCertificate,
    secret: ClusterSecret,
    tokens: TokenKey,
    store: Store,
    catalogue: Arc<Catalogue>,
    recorder: Recorder,
    control: Control,
    chains: Chains,
    wanted: mpsc::Receiver<(SessionId, Node)>,
    log: NodeLog,
    upgrades: Upgrades,
    workers: Workers,
    /// Where each worker is reached, and whether it is the penalty worker.
    addresses: BTreeMap<WorkerId, (SocketAddr, bool)>,
    /// The control task's state, until it runs.
    desk: Option<(Desk, mpsc::Receiver<Message>)>,
}

/// The ordinary sockets of a node, bound as it is configured.
pub(super) fn bind_admin(config: &Config) -> Result<TcpListener, NodeError> {
    TcpListener::bind(config.admin).map_err(|source| NodeError::Admin { address: config.admin, source })
}

impl Begun {
    /// Loads the games and starts the workers. The order matters: games before workers, because a player who asks for one
    /// that is not there yet gives up; the control queue before the workers that speak to it.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn start(kept: Kept) -> Result<Begun, NodeError> {
        let Kept { config, state, token, identity, certificate, cluster: secret, tokens, store, sandbox } = kept;
        versions::begin();
        let catalogue = Arc::new(Catalogue::new(sandbox.clone(), store.clone()));
        let loaded = catalogue.load().await?;
        let recorder = Recorder::start(store.clone());
        let load_us = Arc::<AtomicU64>::default();
        let (control, queue) = Control::queue(Arc::clone(&load_us));
        let (idle, idle_queue) = Idle::queue();
        let (wanted, wanted_queue) = Wanted::queue();
        let chains = Chains::new(store.clone(), wanted.clone());
        let me = Node { id: NodeId(identity.node), generation: identity.generation };
        let log = NodeLog::start(store.clone(), me);
        let keeping = Keeping { recorder: recorder.clone(), chains: chains.clone(), log: log.clone() };
        let (workers, ports) =
            Workers::start(&config, identity, &certificate, &secret, &tokens, control.clone(), keeping)?;
        let addresses = ports.iter().map(|(id, port)| (*id, (port.address, port.penalty))).collect();
        let limits = Limits { sessions: config.sessions.min(sandbox.warm_sessions() as usize) };
        let mut desk = Desk::new(identity, limits, config.record, ports);
        desk.report_to(load_us);
        desk.reach_itself(control.later());
        desk.keep_chains(chains.clone());
        desk.keep_log(log.clone());
        desk.keep_idle(idle, config.idle_after, config.store.is_some());
        let parts = idle::Parts {
            me,
            store: store.clone(),
            control: control.clone(),
            catalogue: Arc::clone(&catalogue),
            is_away: AtomicBool::default(),
            wanted,
        };
        tokio::spawn(idle::run(parts, idle_queue, config.idle_after));
        loaded.into_iter().for_each(|served| desk.serve(served));
        let desk = Some((desk, queue));
        Ok(Begun {
            config,
            state,
            token,
            identity,
            certificate,
            secret,
            tokens,
            store,
            catalogue,
            recorder,
            control,
            chains,
            wanted: wanted_queue,
            upgrades: Upgrades::default(),
            log,
            workers,
            addresses,
            desk,
        })
    }

    /// The control task runs before the node is a member.
    pub fn run(&mut self) {
        if let Some((mut desk, queue)) = self.desk.take() {
            // The run before leads what is there, and gives it.
            desk.recovered();
            tokio::spawn(control::run(desk, queue));
        }
    }

    /// Which run of which node.
    pub fn me(&self) -> Node {
        Node { id: NodeId(self.identity.node), generation: self.identity.generation }
    }

    /// When it began.
    pub fn started(&self) -> Instant {
        self.identity.started
    }

    /// The way to its control task.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Games that it serves.
    pub fn games(&self) -> usize {
        self.catalogue.games().len()
    }

    /// Where its workers are reached by players and by workers, and what players expect there.
    pub fn contacts(&self) -> (Vec<SocketAddr>, PeerPorts, Certificate) {
        let workers = self.addresses.values().map(|(address, _)| *address).collect();
        (workers, self.workers.peers(&self.config), self.certificate.sha256())
    }

    /// The sockets that are left of a node, bound as it is configured; the door is the first worker's own, or, where other
    /// workers have begun already, another at the configured address.
    ///
    /// # Errors
    /// One cannot be bound.
    pub async fn bind(&self, config: &Config) -> Result<Sockets, NodeError> {
        let door = UdpSocket::bind(config.listen).map_err(|source| WorkersError::Bind {
            address: config.listen,
            whom: "players",
            source,
        })?;
        let port = door.local_addr().map_err(NodeError::System)?.port();
        self.bind_with(config, bind_admin(config)?, door, port)
    }

    fn bind_with(&self, config: &Config, admin: TcpListener, door: UdpSocket, port: u16) -> Result<Sockets, NodeError> {
        let resolve = bind_resolve(config, port)?;
        let (links, gossip) = ClusterSockets::bind(config)?.into_parts();
        Ok(Sockets { door, resolve, admin, links, gossip })
    }

    /// Begins to serve as a node of its own.
    pub(super) async fn serve(self, admin: TcpListener) -> Result<Running, NodeError> {
        let door = self.workers.door().map_err(NodeError::System)?;
        let port = door.local_addr().map_err(NodeError::System)?.port();
        let sockets = self.bind_with(&self.config, admin, door, port)?;
        self.enter(sockets, None).await
    }

    /// Is the node from now on that another process was, which has ended.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn succeed(mut self, succession: Succession) -> Result<Running, NodeError> {
        let Succession { sockets, former, process, view, is_cut_short } = succession;
        if is_cut_short {
            self.upgrades.cut_short();
        }
        lock(&mut self.state, process).await;
        let door = sockets.door.try_clone().map_err(NodeError::System)?;
        let (worker, port) = self.workers.open_door(&self.config, door)?;
        self.addresses.insert(worker, (port.address, false));
        self.control.heard(Message::Door(worker, port)).await;
        tracing::info!(%former, "this run is the node from now on");
        self.enter(sockets, Some(Succeeding { view, door: worker })).await
    }

    /// The cluster before whoever expects answers of it; `node.json` last, because who reads it expects answers.
    async fn enter(self, sockets: Sockets, succeeding: Option<Succeeding>) -> Result<Running, NodeError> {
        let Begun { config, state, token, identity, certificate, secret, tokens, store, catalogue, .. } = self;
        let Begun { recorder, control, chains, wanted, log, upgrades, workers, addresses, desk, .. } = self;
        let spare = sockets.try_clone().map_err(NodeError::System)?;
        let Sockets { door: _, resolve, admin, links, gossip } = sockets;
        let state = Arc::new(state);
        let (admin, admin_address) = listener(admin)?;
        let (resolve, resolve_address) = listener(resolve)?;
        let resolve_address = config.advertised(resolve_address);
        let (served, resolve_tls) = watch::channel(resolve::tls(&certificate).map_err(WorkersError::Crypto)?);
        let me = Node { id: NodeId(identity.node), generation: identity.generation };
        // It is no worker, and redeems nothing.
        let keys = Keys::new(&[tokens.public()], secret.ticket_key());
        let authority = Authority::new(keys, me, WorkerId(u8::MAX), &crate::random::bytes());
        let sockets = ClusterSockets::of(&config, links, gossip)?;
        let (is_successor, door) = (succeeding.is_some(), succeeding.as_ref().map_or(WorkerId(0), |it| it.door));
        // Where players come first is named first.
        let mut listed: Vec<(WorkerId, SocketAddr)> =
            addresses.iter().filter(|(_, (_, penalty))| !penalty).map(|(id, (address, _))| (*id, *address)).collect();
        listed.sort_by_key(|(id, _)| *id != door);
        let file = NodeFile {
            pid: std::process::id(),
            admin: format!("http://{admin_address}"),
            node: NodeId(identity.node).to_string(),
            workers: listed.into_iter().map(|(_, address)| address).collect(),
            links: sockets.links_address,
            certificate_sha256: certificate.sha256().to_string(),
        };
        let about = Arc::new(NodeInfo {
            node: file.node.clone(),
            cluster: secret.id().to_string(),
            admin: file.admin.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: file.pid,
            uptime_s: 0,
            state: state.path().display().to_string(),
            store: store.name().to_owned(),
            certificate_sha256: String::new(),
            certificate_not_after_s: 0,
            resolve: format!("https://{resolve_address}"),
            links: sockets.links_address,
            gossip: sockets.gossip_address,
            draining: false,
            sessions: 0,
            games: 0,
            workers: Vec::new(),
            other_doors: Vec::new(),
        });
        let beginning = Beginning {
            state: Arc::clone(&state),
            node: me,
            started: identity.started,
            certificate: identity.certificate,
            workers: addresses.iter().map(|(worker, (address, _))| (*worker, *address)).collect(),
            peers: workers.peers(&config),
            secret,
            sockets,
            succeeding,
        };
        let joined = Joined::start(&config, beginning).await?;
        match desk {
            Some((mut desk, queue)) => {
                desk.connect(joined.outlet(), joined.has_seeds());
                tokio::spawn(control::run(desk, queue));
            }
            None => control.heard(Message::Enter(joined.outlet())).await,
        }
        let (cluster, arrivals) = joined.enter(control.clone());
        let recovery = Recovery {
            settling: Arc::default(),
            me,
            store: store.clone(),
            control: control.clone(),
            catalogue: Arc::clone(&catalogue),
            chains,
            log: log.clone(),
            began: tokio::time::Instant::now(),
        };
        let recovery = tokio::spawn(recovery.run(wanted));
        let games = Games::new(Arc::clone(&catalogue), control.clone());
        let leaving = Leaving::default();
        let (certified, shown) = watch::channel(Shown::from(&certificate));
        let desk = operator::Desk {
            control: control.clone(),
            catalogue: Arc::clone(&catalogue),
            games: games.clone(),
            recorder: recorder.clone(),
            peers: cluster.peers.clone(),
            about: Arc::clone(&about),
            certificate: shown.clone(),
            started: Instant::now(),
            leaving: leaving.clone(),
            upgrades,
            moves: Arc::default(),
        };
        cluster.serve(arrivals, games, desk.clone()).await?;
        tokio::spawn(tell_certificate(shown, control.clone(), cluster.member.clone()));
        let (bounds, metrics) = (admin::bounds(), Metrics::default());
        let counted = Some(cluster.counted(workers.relayed()));
        let services = Services {
            secret: token,
            desk: desk.clone(),
            store,
            tokens,
            bounds,
            metrics,
            counted,
            log: Some(log.clone()),
        };
        let (stop_admin, stopped) = stop();
        let admin = tokio::spawn(admin::serve(admin, Arc::new(services), stopped));
        let resolver = Resolver::new(control.clone(), authority, resolve::bounds());
        let (stop_resolver, stopped) = stop();
        let resolver = tokio::spawn(resolver.serve(resolve, Entrance::new(resolve_tls), stopped));
        let is_published = match state.publish(&file) {
            // Nobody else has its sessions, and the file that is there names the same door and admin API.
            Err(error) if is_successor => {
                tracing::error!(%error, "how this node is reached is written again");
                false
            }
            published => published.map(|()| true)?,
        };
        let renewal = Renewal {
            state: state.clone(),
            days: config.certificate_days,
            certifier: workers.certifier(),
            resolve: served,
            file: file.clone(),
            shown: certified,
        };
        let renewal = tokio::spawn(async move {
            if !is_published {
                publish(&renewal.state, &renewal.file).await;
            }
            renewal.run().await
        });
        let games = catalogue.games().len();
        Ok(Running {
            state,
            file,
            about,
            games,
            control,
            desk,
            cluster,
            leaving,
            recorder,
            workers,
            stop_admin,
            admin,
            stop_resolver,
            resolver,
            renewal,
            recovery,
            log,
            rebalances: config.rebalance,
            sockets: spare,
        })
    }
}

/// The run before has ended, or does just now. One that has given everything and does not end is killed: nobody but this run
/// has its sessions, and two processes never read one socket.
async fn lock(state: &mut StateDirectory, former: Option<u32>) {
    let mut looked_at = Instant::now();
    while let Err(error) = state.lock() {
        if looked_at.elapsed() > UNLOCKING {
            looked_at = Instant::now();
            let is_killed = former.is_some_and(|former| state.kill_holder(former));
            let process = former.unwrap_or_default();
            tracing::error!(%error, process, is_killed, "the process before has given everything and does not end: this run waits to be the node");
        }
        tokio::time::sleep(TRY).await;
    }
}

async fn publish(state: &StateDirectory, file: &NodeFile) {
    while let Err(error) = state.publish(file) {
        tracing::warn!(%error, "how this node is reached is not written yet");
        tokio::time::sleep(PUBLISH_AGAIN).await;
    }
}

fn listener(socket: TcpListener) -> Result<(tokio::net::TcpListener, SocketAddr), NodeError> {
    socket.set_nonblocking(true).map_err(NodeError::System)?;
    let address = socket.local_addr().map_err(NodeError::System)?;
    Ok((tokio::net::TcpListener::from_std(socket).map_err(NodeError::System)?, address))
}

/// Says to a service that it is to stop, and what the service waits for.
fn stop() -> (oneshot::Sender<()>, impl Future<Output = ()>) {
    let (sender, stopped) = oneshot::channel();
    (sender, async {
        let _ = stopped.await;
    })
}

/// The socket for clients who ask in advance: at the door's own port unless the configuration says otherwise. Where the
/// configuration leaves the door any port, so may this one.
fn bind_resolve(config: &Config, door: u16) -> Result<TcpListener, NodeError> {
    let address = config.resolve.unwrap_or(SocketAddr::new(config.listen.ip(), door));
    let bound = match TcpListener::bind(address) {
        Err(_) if config.resolve.is_none() && config.listen.port() == 0 => TcpListener::bind((config.listen.ip(), 0)),
        bound => bound,
    };
    bound.map_err(|source| NodeError::Resolve { address, source })
}
