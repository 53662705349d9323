//! A node from start to stop: what is started in which order, and how it ends. Everything that runs is owned by one
//! of the parts that are started here; this file only connects them.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringside_core::directory::Limits;
use ringside_sandbox::{Sandbox, SandboxConfig, SandboxError};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::admin::{self, Bounds, Services};
use crate::api::NodeInfo;
use crate::catalogue::Catalogue;
use crate::certificate::{CertificateError, ServerCertificate};
use crate::cli::{facts, print};
use crate::config::Config;
use crate::control::{self, Control, Desk, Identity};
use crate::limits::STOP_TIMEOUT;
use crate::metrics::Metrics;
use crate::priority;
use crate::recorder::Recorder;
use crate::renewal::{Renewal, Shown};
use crate::state_directory::{NodeFile, StateDirectory, StateError, TOKEN_FILE};
use crate::store::{Store, StoreError};
use crate::tokens::{TokenError, TokenKey};
use crate::workers::{Workers, WorkersError};
use crate::{hex, random};

/// Why a node does not run.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The signing key.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The workers.
    #[error(transparent)]
    Workers(#[from] WorkersError),
    /// The admin API's address.
    #[error("cannot listen on {address} for the admin API: {source}")]
    Admin {
        /// The address.
        address: std::net::SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// A part that runs for as long as the node does has ended.
    #[error("{0} ended by itself: the node cannot go on, and has stopped")]
    Broken(String),
    /// The system refuses threads or signals.
    #[error("cannot start: {0}")]
    System(std::io::Error),
}

impl NodeError {
    /// What to do about it; may be empty.
    pub fn hint(&self) -> &'static str {
        match self {
            NodeError::Admin { .. } => "choose another address with --admin (port 0 takes any free one)",
            NodeError::Workers(_) => "choose another address with --listen (port 0 takes any free one)",
            NodeError::Broken(_) => "its log above says more: please report it; then start the node again",
            NodeError::Store(_) => "choose another directory with --store",
            _ => "",
        }
    }
}

/// Runs a node until SIGINT or SIGTERM, or until a part of it breaks. Prints how to reach it when it is ready, as one line of JSON if `json`.
///
/// # Errors
/// [`NodeError`]; of a node that was ready, only [`NodeError::Broken`]: players were told and recordings written as far as
/// the rest could.
pub fn run(config: Config, json: bool) -> Result<(), NodeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(4)
        .on_thread_start(|| priority::lower(priority::BACKGROUND))
        .thread_name("ringside-control")
        .enable_all()
        .build()
        .map_err(NodeError::System)?;
    let kept = Kept::open(config)?;
    let result = runtime.block_on(async {
        let mut stop = StopSignals::new().map_err(NodeError::System)?;
        let mut running = tokio::select! {
            running = Running::start(kept) => running?,
            () = stop.wait() => {
                tracing::info!("stopped before the node was ready");
                return Ok(());
            }
        };
        running.announce(json);
        let broken = tokio::select! {
            () = stop.wait() => None,
            what = running.broken() => Some(what),
        };
        if let Some(what) = &broken {
            tracing::error!("{what} ended by itself: the node stops");
        }
        tracing::info!("stopping: players are told, recordings are written; once more to stop at once");
        tokio::select! {
            () = running.stop() => tracing::info!("stopped"),
            () = stop.wait() => tracing::warn!("stopped at once"),
        }
        broken.map_or(Ok(()), |what| Err(NodeError::Broken(what)))
    });
    // A compilation or a slow store keeps nobody waiting: what counts has been written by now.
    runtime.shutdown_background();
    result
}

/// What is kept between runs, opened.
struct Kept {
    config: Config,
    state: StateDirectory,
    secret: String,
    identity: Identity,
    certificate: ServerCertificate,
    tokens: TokenKey,
    store: Store,
    sandbox: Sandbox,
}

impl Kept {
    fn open(mut config: Config) -> Result<Kept, NodeError> {
        let state = StateDirectory::open(&config.state)?;
        config.state = state.path().to_owned();
        let secret = state.secret(TOKEN_FILE, || hex::encode(&random::bytes::<32>()).into_bytes())?;
        let secret = String::from_utf8(secret).ok().map(|text| text.trim().to_owned()).filter(|text| text.len() >= 32);
        let secret = secret.ok_or_else(|| {
            state.garbage(TOKEN_FILE, "is no token of 32 characters and more", "delete it, and a new one is made")
        })?;
        let number = state.secret("node.id", || hex::encode(&random::bytes::<8>()).into_bytes())?;
        let number = std::str::from_utf8(&number).ok().and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
        let node = number.ok_or_else(|| {
            state.garbage("node.id", "is no number of 16 hexadecimal digits", "delete it, and a new one is drawn")
        })?;
        let now = SystemTime::now();
        let generation = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let certificate = ServerCertificate::open(&state, config.certificate_days, now)?;
        let tokens = TokenKey::open(&state)?;
        let store = Store::local(&config.store_directory())?;
        let cache = state.directory("artefacts")?;
        let sandbox = Sandbox::new(SandboxConfig { cache_directory: Some(cache), warm_sessions: None })?;
        let identity = Identity { node, generation };
        Ok(Kept { config, state, secret, identity, certificate, tokens, store, sandbox })
    }
}

/// A node that runs.
struct Running {
    state: Arc<StateDirectory>,
    file: NodeFile,
    store: String,
    games: usize,
    control: Control,
    recorder: Recorder,
    workers: Workers,
    stop_admin: oneshot::Sender<()>,
    admin: JoinHandle<()>,
    renewal: JoinHandle<()>,
}

impl Running {
    /// The order matters: games before workers, because a player who asks for one that is not there yet gives up; the
    /// control queue before the workers that speak to it; `node.json` last, because who reads it expects answers.
    async fn start(kept: Kept) -> Result<Running, NodeError> {
        let Kept { config, state, secret, identity, certificate, tokens, store, sandbox } = kept;
        let listener = TcpListener::bind(config.admin)
            .await
            .map_err(|source| NodeError::Admin { address: config.admin, source })?;
        let admin_address = listener.local_addr().map_err(NodeError::System)?;
        let catalogue = Arc::new(Catalogue::new(sandbox.clone(), store.clone()));
        let loaded = catalogue.load().await?;
        let games = loaded.len();
        let recorder = Recorder::start(store.clone());
        let (control, queue) = Control::queue();
        let (workers, ports) =
            Workers::start(&config, identity, &certificate, &tokens, control.clone(), recorder.clone())?;
        let addresses = ports.values().filter(|port| !port.penalty).map(|port| port.address).collect();
        let limits = Limits { sessions: config.sessions.min(sandbox.warm_sessions() as usize) };
        let mut desk = Desk::new(identity, limits, config.record, ports);
        loaded.into_iter().for_each(|served| desk.serve(served));
        tokio::spawn(control::run(desk, queue));
        let file = NodeFile {
            pid: std::process::id(),
            admin: format!("http://{admin_address}"),
            workers: addresses,
            certificate_sha256: certificate.sha256().to_string(),
        };
        let (certified, shown) = watch::channel(Shown::from(&certificate));
        let services = Services {
            secret,
            control: control.clone(),
            catalogue,
            recorder: recorder.clone(),
            store: store.clone(),
            tokens,
            bounds: Bounds::default(),
            metrics: Metrics::default(),
            about: about(&file, &state, &store),
            certificate: shown,
            started: Instant::now(),
        };
        let (stop_admin, stopped) = oneshot::channel::<()>();
        let stopped = async {
            let _ = stopped.await;
        };
        let admin = tokio::spawn(admin::serve(listener, Arc::new(services), stopped));
        state.publish(&file)?;
        let state = Arc::new(state);
        let renewal = Renewal {
            state: state.clone(),
            days: config.certificate_days,
            certifier: workers.certifier(),
            file: file.clone(),
            shown: certified,
        };
        let renewal = tokio::spawn(renewal.run());
        let store = store.name().to_owned();
        Ok(Running { state, file, store, games, control, recorder, workers, stop_admin, admin, renewal })
    }

    /// Says how to reach the node.
    fn announce(&self, json: bool) {
        if json {
            let ready = serde_json::json!({
                "ready": true,
                "state": self.state.path().display().to_string(),
                "store": self.store,
                "admin": self.file.admin,
                "workers": self.file.workers,
                "certificate_sha256": self.file.certificate_sha256,
                "games": self.games,
            });
            return print(&ready.to_string());
        }
        let workers: Vec<String> = self.file.workers.iter().map(ToString::to_string).collect();
        let facts = facts(&[
            ("players", workers.join(", ")),
            ("certificate", format!("{} (SHA-256)", self.file.certificate_sha256)),
            ("admin API", self.file.admin.clone()),
            ("state", self.state.path().display().to_string()),
            ("store", self.store.clone()),
            ("games", self.games.to_string()),
        ]);
        let facts: String = facts.lines().map(|line| format!("  {line}\n")).collect();
        let next = if self.games == 0 { "Upload a game: ringside push FILE.wasm" } else { "" };
        print(&format!("Ringside {} is ready.\n{facts}{next}", env!("CARGO_PKG_VERSION")));
    }

    /// Returns when a part that runs for as long as the node does has ended: which.
    async fn broken(&mut self) -> String {
        tokio::select! {
            what = self.workers.broken() => what,
            () = self.control.broken() => "the control task".to_owned(),
            () = self.recorder.broken() => "the recorder".to_owned(),
            _ = &mut self.admin => "the admin API".to_owned(),
            _ = &mut self.renewal => "the renewal of the certificate".to_owned(),
        }
    }

    /// Nobody finds the node any more, players are told, recordings are written, requests under way are finished.
    async fn stop(mut self) {
        // Before the node's file is removed: it would write it again.
        self.renewal.abort();
        if !self.renewal.is_finished() {
            let _ = (&mut self.renewal).await;
        }
        self.state.unpublish();
        self.control.drain().await;
        let finish = async {
            self.workers.stop().await;
            self.recorder.stop().await;
            // It has ended already if nobody listens.
            if self.stop_admin.send(()).is_ok() {
                let _ = self.admin.await;
            }
        };
        give_up_after(STOP_TIMEOUT, finish).await;
    }
}

/// Waits for the end of everything, for so long; answers whether it came.
async fn give_up_after(patience: Duration, finish: impl Future<Output = ()>) -> bool {
    let finished = tokio::time::timeout(patience, finish).await.is_ok();
    if !finished {
        tracing::warn!("not everything came to its end in {} s", patience.as_secs());
    }
    finished
}

fn about(file: &NodeFile, state: &StateDirectory, store: &Store) -> NodeInfo {
    NodeInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: file.pid,
        uptime_s: 0,
        state: state.path().display().to_string(),
        store: store.name().to_owned(),
        certificate_sha256: String::new(),
        certificate_not_after_s: 0,
        draining: false,
        sessions: 0,
        games: 0,
        workers: Vec::new(),
    }
}

/// SIGINT and SIGTERM.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn new() -> std::io::Result<StopSignals> {
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(StopSignals { interrupt, terminate })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stop_that_does_not_end_is_given_up() {
        assert!(!give_up_after(Duration::from_millis(1), std::future::pending()).await);
        assert!(give_up_after(STOP_TIMEOUT, async {}).await);
    }
}
