//! A node that runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringside_core::ids::Node;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::NodeError;
use super::begun::{Begun, bind_admin};
use super::kept::Kept;
use crate::api::NodeInfo;
use crate::cli::{facts, print};
use crate::cluster::member::Member;
use crate::cluster::running::Cluster;
use crate::control::{Control, ControlError, Status};
use crate::durable::NodeLog;
use crate::handover::channel::Sockets;
use crate::handover::giving;
use crate::handover::progress::phase;
use crate::limits::STOP_TIMEOUT;
use crate::operator::{self, Leaving};
use crate::recorder::Recorder;
use crate::renewal::Shown;
use crate::state_directory::{NodeFile, StateDirectory};
use crate::workers::Workers;

/// How often a node that drains looks whether it is late, and whether sessions that were told to end are over.
const LOOK: Duration = Duration::from_millis(100);
/// How long a process may take to end that has handed everything over.
const HANDING_OVER: Duration = Duration::from_secs(3);
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
    /// Another run has everything, and is the node once this process has ended.
    HandedOver,
}

/// A node that runs.
pub struct Running {
    pub(super) state: Arc<StateDirectory>,
    pub(super) file: NodeFile,
    pub(super) about: Arc<NodeInfo>,
    pub(super) games: usize,
    pub(super) control: Control,
    pub(super) desk: operator::Desk,
    pub(super) cluster: Cluster,
    pub(super) leaving: Leaving,
    pub(super) recorder: Recorder,
    pub(super) workers: Workers,
    pub(super) stop_admin: oneshot::Sender<()>,
    pub(super) admin: JoinHandle<()>,
    pub(super) stop_resolver: oneshot::Sender<()>,
    pub(super) resolver: JoinHandle<()>,
    pub(super) renewal: JoinHandle<()>,
    pub(super) recovery: JoinHandle<()>,
    pub(super) log: NodeLog,
    /// Whether sessions go to other nodes by themselves.
    pub(super) rebalances: bool,
    /// Others for the sockets that another run gets that takes over.
    pub(super) sockets: Sockets,
}

impl Running {
    /// Starts a node. Its admin API's socket first: it is what a second node on one machine meets.
    pub async fn start(kept: Kept) -> Result<Running, NodeError> {
        let admin = bind_admin(&kept.config)?;
        Begun::start(kept).await?.serve(admin).await
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
            () = handed_over(&self.desk, &self.sockets) => End::HandedOver,
            () = rebalance(&self.desk, self.rebalances) => End::Broken("the rebalancing".to_owned()),
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

    /// Recordings are written, and nothing of this process reads a socket when it has ended, which is to be at once: another
    /// run waits for that.
    pub async fn hand_over(self) {
        // Before the node's file is the other's: it would be written again.
        self.renewal.abort();
        self.recovery.abort();
        let finish = async {
            self.workers.stop().await;
            self.recorder.stop().await;
            self.log.stop().await;
        };
        give_up_after(HANDING_OVER, finish).await;
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
        let late = async {
            while !is_late() {
                tokio::time::sleep(LOOK).await;
            }
        };
        self.leaving.begin(self.control.status().await.map_or(0, |status| status.sessions));
        tokio::select! {
            () = late => {}
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

/// Gives sessions to other nodes that are to lead them, if it is to.
async fn rebalance(desk: &operator::Desk, is_on: bool) {
    match is_on {
        true => operator::rebalance(desk).await,
        false => std::future::pending().await,
    }
}

/// Obeys orders to hand over; returns when another run has everything.
async fn handed_over(desk: &operator::Desk, sockets: &Sockets) {
    loop {
        let binary = desk.upgrades.ordered().await;
        tracing::info!(binary = %binary.display(), "the node is handed over to a run of another program");
        match giving::run(desk, &binary, sockets).await {
            Ok(()) => {
                desk.upgrades.note(|shown| shown.phase = phase::DONE.to_owned());
                return;
            }
            Err(why) => {
                tracing::error!(binary = %binary.display(), why, "the successor was abandoned: this process goes on");
                desk.upgrades.note(|shown| {
                    shown.phase = phase::ABANDONED.to_owned();
                    shown.why = Some(why);
                });
            }
        }
    }
}

/// Says it where players are sent on from when the workers serve another certificate.
pub(super) async fn tell_certificate(mut shown: watch::Receiver<Shown>, control: Control, member: Member) {
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
        let status = |sessions| {
            Ok(Status {
                sessions,
                draining: true,
                settled: true,
                signals_dropped: 0,
                followed: 0,
                arriving: 0,
                spare: 0,
                evictions: 0,
                activations: 0,
                workers: vec![],
            })
        };
        assert!(!may_have_sessions(&status(0)));
        assert!(may_have_sessions(&status(1)));
        assert!(may_have_sessions(&Err(ControlError::Overloaded)));
    }
}
