//! A node from start to stop: what is started in which order, and how it ends. Everything that runs is owned by one
//! of the parts that are started here; this file only connects them.

mod begun;
mod kept;
mod running;
mod signals;

use ringside_sandbox::SandboxError;

use crate::certificate::CertificateError;
use crate::cluster::links::LinkError;
use crate::cluster::running::ClusterError;
use crate::cluster::secret::SecretError;
use crate::config::Config;
use crate::handover::taking;
use crate::priority;
use crate::state_directory::StateError;
use crate::store::StoreError;
use crate::tokens::TokenError;
use crate::workers::WorkersError;
pub(crate) use begun::Begun;
pub(crate) use kept::Kept;
pub use kept::{Initialized, init};
use running::End;
pub use running::Running;
use signals::StopSignals;

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
    /// The cluster's secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The node's part in the cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The admin API's address.
    #[error("cannot listen on {address} for the admin API: {source}")]
    Admin {
        /// The address.
        address: std::net::SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The address where clients ask in advance.
    #[error("cannot listen on {address} (TCP) for clients who ask where their session is: {source}")]
    Resolve {
        /// The address.
        address: std::net::SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// A part that runs for as long as the node does has ended.
    #[error("{0} ended by itself: the node cannot go on, and has stopped")]
    Broken(String),
    /// Nothing is handed over to this run.
    #[error("cannot take over: {0}")]
    Handover(String),
    /// The system refuses threads or signals.
    #[error("cannot start: {0}")]
    System(std::io::Error),
}

impl NodeError {
    /// What to do about it; may be empty.
    pub fn hint(&self) -> &'static str {
        match self {
            NodeError::Admin { .. } => "choose another address with --admin (port 0 takes any free one)",
            NodeError::Resolve { .. } => "choose another address with --resolve (port 0 takes any free one)",
            NodeError::Workers(_) => "choose another address with --listen (port 0 takes any free one)",
            NodeError::Cluster(ClusterError::Bind { what: "links", .. }) => {
                "choose another address with --links (port 0 takes any free one)"
            }
            NodeError::Cluster(ClusterError::Bind { .. }) => {
                "choose another address with --gossip (port 0 takes any free one)"
            }
            NodeError::Cluster(ClusterError::Link(LinkError::Unreachable { .. })) => {
                "--join takes the links of a node that runs, as `ringside node show` prints them there"
            }
            NodeError::Broken(_) => "its log above says more: please report it; then start the node again",
            NodeError::Store(_) => {
                "choose another directory or bucket with --store, or see to it that this one can be used"
            }
            _ => "",
        }
    }
}

/// Runs a node until SIGINT or SIGTERM, until it is told to leave its cluster, or until a part of it breaks. Prints how to
/// reach it when it is ready, as one line of JSON if `json`.
///
/// # Errors
/// [`NodeError`]; of a node that was ready, only [`NodeError::Broken`] and [`ClusterError::Duplicate`]: players were told
/// and recordings written as far as the rest could.
pub fn run(config: Config, json: bool, succeeds: bool) -> Result<(), NodeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(4)
        .on_thread_start(|| priority::lower(priority::BACKGROUND))
        .thread_name("ringside-control")
        .enable_all()
        .build()
        .map_err(NodeError::System)?;
    let start = match succeeds {
        true => Start::Succeeds(Box::new(config)),
        false => Start::Begins(Box::new(Kept::open(config)?)),
    };
    let result = runtime.block_on(async {
        let mut stop = StopSignals::new().map_err(NodeError::System)?;
        let mut running = tokio::select! {
            running = start.run() => running?,
            () = stop.wait() => {
                tracing::info!("stopped before the node was ready");
                return Ok(());
            }
        };
        if !succeeds {
            running.announce(json);
        }
        let end = tokio::select! {
            () = stop.wait() => End::Stopped,
            end = running.end() => end,
        };
        match &end {
            End::Drain => drain(&running, &mut stop).await,
            End::Broken(what) => tracing::error!("{what} ended by itself: the node stops"),
            End::HandedOver => {
                running.hand_over().await;
                tracing::info!("another run is the node from now on");
                return Ok(());
            }
            End::Stopped | End::Duplicate(_) => {}
        }
        tracing::info!("stopping: players are told, recordings are written; once more to stop at once");
        tokio::select! {
            () = running.stop() => tracing::info!("stopped"),
            () = stop.wait() => tracing::warn!("stopped at once"),
        }
        match end {
            End::Duplicate(node) => Err(ClusterError::Duplicate(node).into()),
            End::Broken(what) => Err(NodeError::Broken(what)),
            End::Stopped | End::Drain | End::HandedOver => Ok(()),
        }
    });
    // A compilation or a slow store keeps nobody waiting: what counts has been written by now.
    runtime.shutdown_background();
    result
}

/// How a run begins.
enum Start {
    /// By itself.
    Begins(Box<Kept>),
    /// It takes over from another process.
    Succeeds(Box<Config>),
}

impl Start {
    async fn run(self) -> Result<Running, NodeError> {
        match self {
            Start::Begins(kept) => Running::start(*kept).await,
            Start::Succeeds(config) => taking::run(*config).await,
        }
    }
}

/// Lets matches come to their end; a signal cuts it short.
async fn drain(running: &Running, stop: &mut StopSignals) {
    tokio::select! {
        () = running.drain() => {}
        () = stop.wait() => tracing::warn!("the rest of the grace is cut short"),
    }
}
