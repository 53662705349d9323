//! A node that runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use ringside_core::directory::Limits;
use ringside_core::ids::{Node, NodeId, WorkerId};
use ringside_worker::authority::{Authority, Keys};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::NodeError;
use super::kept::Kept;
use crate::admin::{self, Services};
use crate::api::NodeInfo;
use crate::catalogue::Catalogue;
use crate::chains::Chains;
use crate::cli::{facts, print};
use crate::cluster::games::Games;
use crate::cluster::member::Member;
use crate::cluster::running::{Beginning, Cluster, Joined, Sockets};
use crate::config::Config;
use crate::control::{self, Control, ControlError, Desk, Status};
use crate::durable::NodeLog;
use crate::durable::recovery::Recovery;
use crate::limits::STOP_TIMEOUT;
use crate::metrics::Metrics;
use crate::operator::{self, Leaving};
use crate::recorder::Recorder;
use crate::renewal::{Renewal, Shown};
use crate::resolve::{self, Entrance, Resolver};
use crate::state_directory::{NodeFile, StateDirectory};
use crate::workers::{Keeping, Workers, WorkersError};

/// How often a node that drains looks whether its sessions are over.
const LOOK: Duration = Duration::from_millis(100);
/// How long sessions that were told to end may take.
const ENDING: Duration = Duration::from_secs(5);

/// Why a node that was ready ends.
#[derive(Debug, Clone)]
pub enum End {
    /// It was told to stop.
    Stopped,
    /// It is to leave the cluster.
    Drain,
    /// Another process is this node.
    Duplicate(Node),
    /// A part that runs for as long as the node does has ended: which.
    Broken(String),
}

/// A node that runs.
pub struct Running {
    state: Arc<StateDirectory>,
    file: NodeFile,
    about: Arc<NodeInfo>,
    games: usize,
    control: Control,
    desk: operator::Desk,
    cluster: Cluster,
    leaving: Leaving,
    recorder: Recorder,
    workers: Workers,
    stop_admin: oneshot::Sender<()>,
    admin: JoinHandle<()>,
    stop_resolver: oneshot::Sender<()>,
    resolver: JoinHandle<()>,
    renewal: JoinHandle<()>,
    recovery: JoinHandle<()>,
    log: NodeLog,
}

impl Running {
    /// The order matters: games before workers, because a player who asks for one that is not there yet gives up; the
    /// control queue before the workers that speak to it; the cluster before whoever expects answers of it; `node.json`
    /// last, because who reads it expects answers.
    pub async fn start(kept: Kept) -> Result<Running, NodeError> {
        let Kept { config, state, token, identity, certificate, cluster: secret, tokens, store, sandbox } = kept;
        let state = Arc::new(state);
        let listener = TcpListener::bind(config.admin)
            .await
            .map_err(|source| NodeError::Admin { address: config.admin, source })?;
        let admin_address = listener.local_addr().map_err(NodeError::System)?;
        let catalogue = Arc::new(Catalogue::new(sandbox.clone(), store.clone()));
        let loaded = catalogue.load().await?;
        let recorder = Recorder::start(store.clone());
        let load_us = Arc::<AtomicU64>::default();
        let (control, queue) = Control::queue(Arc::clone(&load_us));
        let chains = Chains::new(store.clone());
        let me = Node { id: NodeId(identity.node), generation: identity.generation };
        let log = NodeLog::start(store.clone(), me);
        let keeping = Keeping { recorder: recorder.clone(), chains: chains.clone(), log: log.clone() };
        let (workers, ports) =
            Workers::start(&config, identity, &certificate, &secret, &tokens, control.clone(), keeping)?;
        let door = ports.get(&WorkerId(0)).map_or(config.listen, |port| port.address);
        let resolve = bind_resolve(&config, door.port()).await?;
        let resolve_address = config.advertised(resolve.local_addr().map_err(NodeError::System)?);
        let (served, resolve_tls) = watch::channel(resolve::tls(&certificate).map_err(WorkersError::Crypto)?);
        // It is no worker, and redeems nothing.
        let keys = Keys::new(&[tokens.public()], secret.ticket_key());
        let authority = Authority::new(keys, me, WorkerId(u8::MAX), &crate::random::bytes());
        let sockets = Sockets::bind(&config)?;
        let file = NodeFile {
            pid: std::process::id(),
            admin: format!("http://{admin_address}"),
            node: NodeId(identity.node).to_string(),
            workers: ports.values().filter(|port| !port.penalty).map(|port| port.address).collect(),
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
            workers: ports.iter().map(|(worker, port)| (*worker, port.address)).collect(),
            peers: workers.peers(&config),
            secret,
            sockets,
        };
        let joined = Joined::start(&config, beginning).await?;
        let limits = Limits { sessions: config.sessions.min(sandbox.warm_sessions() as usize) };
        let mut desk = Desk::new(identity, limits, config.record, ports);
        desk.report_to(load_us);
        desk.connect(joined.outlet(), joined.has_seeds());
        desk.reach_itself(control.later());
        desk.keep_chains(chains.clone());
        desk.keep_log(log.clone());
        loaded.into_iter().for_each(|served| desk.serve(served));
        tokio::spawn(control::run(desk, queue));
        let (cluster, arrivals) = joined.enter(control.clone());
        let games = Games::new(Arc::clone(&catalogue), control.clone());
        let (keeper, reader) = (log.clone(), store.clone());
        let taking = (control.clone(), Arc::clone(&catalogue));
        let recovery = Recovery { me, store: reader, control: taking.0, catalogue: taking.1, chains, log: keeper };
        let recovery = tokio::spawn(recovery.run());
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
        let admin = tokio::spawn(admin::serve(listener, Arc::new(services), stopped));
        let resolver = Resolver::new(control.clone(), authority, resolve::bounds());
        let (stop_resolver, stopped) = stop();
        let resolver = tokio::spawn(resolver.serve(resolve, Entrance::new(resolve_tls), stopped));
        state.publish(&file)?;
        let renewal = Renewal {
            state: state.clone(),
            days: config.certificate_days,
            certifier: workers.certifier(),
            resolve: served,
            file: file.clone(),
            shown: certified,
        };
        let renewal = tokio::spawn(renewal.run());
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
        })
    }

    /// Says how to reach the node.
    pub fn announce(&self, json: bool) {
        if json {
            let ready = serde_json::json!({
                "ready": true,
                "node": self.file.node,
                "cluster": self.about.cluster,
                "state": self.state.path().display().to_string(),
                "store": self.about.store,
                "admin": self.file.admin,
                "resolve": self.about.resolve,
                "links": self.file.links,
                "gossip": self.about.gossip,
                "workers": self.file.workers,
                "certificate_sha256": self.file.certificate_sha256,
                "games": self.games,
            });
            return print(&ready.to_string());
        }
        let workers: Vec<String> = self.file.workers.iter().map(ToString::to_string).collect();
        let facts = facts(&[
            ("node", format!("{} of cluster {}", self.file.node, self.about.cluster)),
            ("players", workers.join(", ")),
            ("certificate", format!("{} (SHA-256)", self.file.certificate_sha256)),
            ("resolve", self.about.resolve.clone()),
            ("admin API", self.file.admin.clone()),
            ("links", format!("{} (for --join of other nodes)", self.file.links)),
            ("state", self.state.path().display().to_string()),
            ("store", self.about.store.clone()),
            ("games", self.games.to_string()),
        ]);
        let facts: String = facts.lines().map(|line| format!("  {line}\n")).collect();
        let next = if self.games == 0 { "Upload a game: ringside push FILE.wasm" } else { "" };
        print(&format!("Ringside {} is ready.\n{facts}{next}", env!("CARGO_PKG_VERSION")));
    }

    /// Returns when the node is to leave, or must end.
    pub async fn end(&mut self) -> End {
        tokio::select! {
            _ = self.leaving.ordered() => End::Drain,
            duplicate = self.cluster.member.duplicate() => End::Duplicate(duplicate),
            what = self.workers.broken() => End::Broken(what),
            () = self.control.broken() => End::Broken("the control task".to_owned()),
            () = self.recorder.broken() => End::Broken("the recorder".to_owned()),
            () = self.cluster.member.broken() => End::Broken("the membership task".to_owned()),
            _ = &mut self.admin => End::Broken("the admin API".to_owned()),
            _ = &mut self.resolver => End::Broken("resolve".to_owned()),
            _ = &mut self.renewal => End::Broken("the renewal of the certificate".to_owned()),
        }
    }

    /// No new sessions; returns when those that run are over or led elsewhere, or were ended when the grace was.
    pub async fn drain(&self) {
        let left = self.leaving.deadline().saturating_duration_since(tokio::time::Instant::now());
        tracing::info!(
            grace_s = left.as_secs_f64().round(),
            "leaving the cluster: no new sessions, those that run may end"
        );
        self.cluster.member.drain().await;
        self.control.drain().await;
        // Looked at anew each time: a later order may end earlier.
        let is_late = || {
            let now = tokio::time::Instant::now();
            // What can leave is not ended: as long as sessions do, the others have their time.
            now >= self.leaving.deadline() && !self.leaving.is_moving(now)
        };
        let are_over = async {
            while self.has_sessions().await && !is_late() {
                tokio::time::sleep(LOOK).await;
            }
        };
        self.leaving.begin(self.control.status().await.map_or(0, |status| status.sessions));
        tokio::select! {
            () = are_over => {}
            () = operator::give_away(&self.desk) => {}
        }
        let deadline = Instant::now() + ENDING;
        while self.has_sessions().await && Instant::now() < deadline {
            let reason = format!("node_leaving: node {} leaves the cluster", self.file.node);
            self.control.end_all(reason).await;
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn has_sessions(&self) -> bool {
        may_have_sessions(&self.control.status().await)
    }

    /// Nobody finds the node any more, players are told, recordings are written, requests under way are finished.
    pub async fn stop(mut self) {
        // It holds on to what is to end below.
        drop(self.desk);
        // Before the node's file is removed: it would write it again.
        self.renewal.abort();
        if !self.renewal.is_finished() {
            let _ = (&mut self.renewal).await;
        }
        // It holds on to the control task.
        self.recovery.abort();
        self.state.unpublish();
        self.control.drain().await;
        let finish = async {
            // Nobody is sent here any more, nor from here.
            if self.stop_resolver.send(()).is_ok() {
                let _ = self.resolver.await;
            }
            // Then: whoever is put out here is to be told by the others where to go.
            self.cluster.member.leave().await;
            self.workers.stop().await;
            self.log.stop().await;
            self.cluster.stop().await;
            self.recorder.stop().await;
            // It has ended already if nobody listens.
            if self.stop_admin.send(()).is_ok() {
                let _ = self.admin.await;
            }
        };
        give_up_after(STOP_TIMEOUT, finish).await;
    }
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
async fn bind_resolve(config: &Config, door: u16) -> Result<TcpListener, NodeError> {
    let address = config.resolve.unwrap_or(SocketAddr::new(config.listen.ip(), door));
    let bound = match TcpListener::bind(address).await {
        Err(_) if config.resolve.is_none() && config.listen.port() == 0 => {
            TcpListener::bind((config.listen.ip(), 0)).await
        }
        bound => bound,
    };
    bound.map_err(|source| NodeError::Resolve { address, source })
}

/// Says it where players are sent on from when the workers serve another certificate.
async fn tell_certificate(mut shown: watch::Receiver<Shown>, control: Control, member: Member) {
    while shown.changed().await.is_ok() {
        let certificate = shown.borrow_and_update().sha256;
        control.certified(certificate).await;
        member.certified(certificate).await;
    }
}

/// Whether there may be sessions: one that is too busy to answer has some.
fn may_have_sessions(status: &Result<Status, ControlError>) -> bool {
    !status.as_ref().is_ok_and(|status| status.sessions == 0)
}

/// Waits for the end of everything, for so long; answers whether it came.
async fn give_up_after(patience: Duration, finish: impl Future<Output = ()>) -> bool {
    let finished = tokio::time::timeout(patience, finish).await.is_ok();
    if !finished {
        tracing::warn!("not everything came to its end in {} s", patience.as_secs());
    }
    finished
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stop_that_does_not_end_is_given_up() {
        assert!(!give_up_after(Duration::from_millis(1), std::future::pending()).await);
        assert!(give_up_after(STOP_TIMEOUT, async {}).await);
    }

    #[test]
    fn only_a_node_that_says_that_it_has_no_session_has_none() {
        let status =
            |sessions| Ok(Status { sessions, draining: true, settled: true, signals_dropped: 0, workers: vec![] });
        assert!(!may_have_sessions(&status(0)));
        assert!(may_have_sessions(&status(1)));
        assert!(may_have_sessions(&Err(ControlError::Overloaded)));
    }
}
