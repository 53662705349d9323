//! Answers for this node.

use std::path::Path;
use std::time::Duration;

use ringside_core::ids::NodeId;
use ringside_core::membership::{Seen, State};
use serde::Serialize;

use super::{Desk, idling, moving};
use crate::admin::ApiError;
use crate::api::{DoorInfo, Draining, Failure, Killed, NodeInfo, NodeStatus, SeenNode, SessionInfo, Upgrading};
use crate::catalogue::PushError;
use crate::cluster::peers::Outcome;
use crate::cluster::versions;
use crate::cluster::wire::Ask;
use crate::control::{ControlError, SessionName};

/// How long an answer has to leave before the node that gives it ends itself.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// The longest grace of a drain: a day.
pub const LONGEST_GRACE: Duration = Duration::from_secs(86_400);

/// The answer to another node's question, as the link carries it.
pub async fn answer(desk: &Desk, from: NodeId, ask: Ask) -> Vec<u8> {
    match ask {
        Ask::Node => json(status(desk).await),
        Ask::Sessions { ended: false } => json(desk.control.sessions().await.map_err(ApiError::from)),
        Ask::Sessions { ended: true } => json(desk.control.ended().await.map_err(ApiError::from)),
        Ask::Show(name) => match name.parse::<SessionName>() {
            Ok(name) => json(session(desk, name).await.map_err(ApiError::from)),
            Err(error) => json::<()>(Err(error.into())),
        },
        Ask::Explain(name) => match name.parse::<SessionName>() {
            Ok(name) => json(desk.control.explain(name).await.map_err(ApiError::from)),
            Err(error) => json::<()>(Err(error.into())),
        },
        Ask::Flush(name) => match name.parse::<SessionName>() {
            Ok(name) => json(flush(desk, name).await),
            Err(error) => json::<()>(Err(error.into())),
        },
        Ask::End { session, reason } => match session.parse::<SessionName>() {
            Ok(name) => json(desk.control.end(name, reason).await.map_err(ApiError::from)),
            Err(error) => json::<()>(Err(error.into())),
        },
        Ask::Move { session, to } => match session.parse::<SessionName>() {
            Ok(name) => json(moving::here(desk, name, to).await),
            Err(error) => json::<()>(Err(error.into())),
        },
        Ask::Evict(session) => match session.parse::<SessionName>() {
            Ok(name) => json(idling::here(desk, &name).await),
            Err(error) => json::<()>(Err(error.into())),
        },
        Ask::Kill => json(Ok(kill(desk))),
        Ask::Games => json(Ok(desk.games.list())),
        Ask::Module(hash) => match desk.catalogue.module(hash).await {
            Ok(bytes) => bytes.to_vec(),
            Err(error) => {
                tracing::warn!(module = %hash, %error, "another node asks for a module that is not to be had");
                Vec::new()
            }
        },
        Ask::Pushed => json(pull(desk, from).await.map_err(ApiError::from)),
        Ask::Upgrade { binary } => json(upgrade(desk, &binary).await),
        Ask::Drain { grace_ms } => json(drain(desk, Duration::from_millis(grace_ms)).await),
    }
}

/// How the node is, and whom it sees.
pub async fn status(desk: &Desk) -> Result<NodeStatus, ApiError> {
    let status = desk.control.status().await?;
    let (view, about) = (desk.peers.view(), &desk.about);
    let me = desk.peers.me();
    let own = view.node(me.id).filter(|seen| seen.node == me);
    let sees = view.nodes().map(|seen| SeenNode {
        node: seen.node.id.to_string(),
        generation: seen.node.generation,
        stay: seen.stay,
        state: state(seen.state).to_owned(),
    });
    Ok(NodeStatus {
        node: me.id.to_string(),
        generation: me.generation,
        state: own.map_or("gone", |seen| state(seen.state)).to_owned(),
        version: about.version.clone(),
        pid: about.pid,
        directory: about.state.clone(),
        links: about.links,
        gossip: about.gossip,
        admin: about.admin.clone(),
        workers: status.workers.iter().map(|worker| worker.address).collect(),
        sessions: status.sessions,
        games: desk.catalogue.games().len(),
        load_us: desk.control.load_us(),
        ring: view.ring_digest().to_string(),
        settled: status.settled,
        sees: sees.collect(),
        checkpoints: versions::shown(),
        leaving: desk.leaving.show(),
        upgrade: desk.upgrades.show(),
    })
}

/// `GET /v1/node`.
pub async fn info(desk: &Desk) -> Result<NodeInfo, ApiError> {
    let status = desk.control.status().await?;
    let certificate = *desk.certificate.borrow();
    let other_doors = desk.peers.others().into_iter().filter(|seen| seen.state == State::Active).map(|seen| DoorInfo {
        node: seen.node.id.to_string(),
        address: seen.contact.door,
        certificate_sha256: seen.contact.certificate.to_string(),
    });
    Ok(NodeInfo {
        certificate_sha256: certificate.sha256.to_string(),
        certificate_not_after_s: certificate.not_after_s,
        uptime_s: desk.started.elapsed().as_secs(),
        games: desk.catalogue.games().len(),
        sessions: status.sessions,
        draining: status.draining,
        workers: status.workers,
        other_doors: other_doors.collect(),
        ..(*desk.about).clone()
    })
}

/// Begins to hand the node over to a run of another program.
pub async fn upgrade(desk: &Desk, binary: &str) -> Result<Upgrading, ApiError> {
    let path = Path::new(binary);
    if !path.is_absolute() {
        let hint = "name the program by its whole path on the node's machine";
        return Err(ApiError::bad_request(format!("{binary:?} is no absolute path"), hint));
    }
    let sessions = desk.control.status().await?.sessions;
    let leaves = || desk.leaving.show().is_some();
    if !desk.upgrades.order(path.to_owned(), leaves) {
        return Err(ApiError::conflict(match leaves() {
            true => "the node leaves the cluster: there is nothing to hand over",
            false => "the node is being handed over already",
        }));
    }
    Ok(Upgrading { node: desk.peers.me().id.to_string(), pid: desk.about.pid, sessions })
}

/// Begins to leave the cluster. A second order may only shorten the grace.
pub async fn drain(desk: &Desk, grace: Duration) -> Result<Draining, ApiError> {
    let sessions = desk.control.status().await?.sessions;
    let order = || desk.leaving.order(tokio::time::Instant::now(), grace.min(LONGEST_GRACE));
    let Some(left) = desk.upgrades.unless_under_way(order) else {
        return Err(ApiError::conflict("the node is being handed over: drain it when that is done"));
    };
    let grace_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    Ok(Draining { node: desk.peers.me().id.to_string(), sessions, grace_ms })
}

/// Ends this process as a crash would, once the answer has had time to leave: nothing is said to anybody, nothing is written.
pub fn kill(desk: &Desk) -> Killed {
    let (node, pid) = (desk.peers.me().id.to_string(), desk.about.pid);
    tracing::error!(node, pid, "an operator has this node end at once");
    tokio::spawn(async {
        tokio::time::sleep(LAST_WORDS).await;
        // SAFETY: of two numbers; the signal cannot be caught, so nothing of this process runs after it.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    });
    Killed { node, pid }
}

/// A session that this node leads, or what is left of one that ended lately.
pub async fn session(desk: &Desk, name: SessionName) -> Result<SessionInfo, ControlError> {
    let mut info = desk.control.session(name).await?;
    if let (Some(detail), Ok(session)) = (&mut info.detail, info.session.parse()) {
        detail.recording_ended = desk.recorder.ended_early(&session);
    }
    Ok(info)
}

/// Everything that is recorded of a session so far is in the store; which session it is, where it is known.
pub async fn flush(desk: &Desk, name: SessionName) -> Result<Option<String>, ApiError> {
    let session = desk.control.flush(name).await?;
    if let Some(session) = &session {
        desk.recorder.flush(session).await;
    }
    Ok(session.map(|session| session.to_string()))
}

async fn pull(desk: &Desk, from: NodeId) -> Result<usize, PushError> {
    let view = desk.peers.view();
    let Some(from) = view.node(from) else {
        return Err(PushError::Internal("the node that asks is not to be seen".to_owned()));
    };
    desk.games.pull(&desk.peers, from).await
}

fn json<T: Serialize>(answer: Result<T, ApiError>) -> Vec<u8> {
    let outcome = match answer {
        Ok(answer) => Outcome::Is(answer),
        Err(error) => Outcome::Failed(Failure::from(error)),
    };
    serde_json::to_vec(&outcome).unwrap_or_default()
}

/// A state, in words.
pub fn state(state: State) -> &'static str {
    match state {
        State::Joining => "joining",
        State::Active => "active",
        State::Draining => "draining",
        State::Gone => "gone",
    }
}

/// The node of a view that an operator names by its number, or by the beginning of it.
///
/// # Errors
/// None, or several.
pub fn named(desk: &Desk, text: &str) -> Result<Seen, ApiError> {
    let view = desk.peers.view();
    let matching = |exact: bool| {
        let fits = move |seen: &&Seen| {
            let number = seen.node.id.to_string();
            if exact { number == text } else { !text.is_empty() && number.starts_with(text) }
        };
        view.nodes().filter(fits).cloned().collect::<Vec<Seen>>()
    };
    let mut found = matching(true);
    if found.is_empty() {
        found = matching(false);
    }
    match (found.len(), found.pop()) {
        (1, Some(seen)) => Ok(seen),
        (0, _) => {
            Err(ApiError::not_found(format!("no node {text:?} is in the cluster"), "ringside node list shows them"))
        }
        _ => Err(ApiError::bad_request(format!("several nodes begin with {text:?}"), "name it with more digits")),
    }
}
