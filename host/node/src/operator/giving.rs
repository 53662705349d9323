//! Gives all sessions of this node to others, because it leaves: a bounded number of them at a time, so that the nodes
//! that take them keep up with the players that come along; the next goes when one of them is there. What does not get
//! away is tried again, with another node, as long as it is let, and it is said why.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ringside_core::ids::{Node, NodeId};
use ringside_core::placement::REFUSALS;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::moving::{self, Stuck};
use super::{Desk, here};
use crate::control::SessionName;

/// Sessions that leave at a time.
const MOVES_AT_A_TIME: usize = 24;
/// How long a session may take before another node is tried.
const PATIENCE: Duration = Duration::from_secs(10);
/// What takes longer is shown.
const NOTED: Duration = Duration::from_secs(2);
/// How soon what did not leave is tried again.
const AGAIN: Duration = Duration::from_millis(250);

/// Nodes that did not take a session, the last of them: the placement passes over them.
type Tried = BTreeMap<String, VecDeque<NodeId>>;

/// Gives sessions away until it is dropped.
pub async fn give_away(desk: &Desk) {
    let mut tried = Tried::new();
    loop {
        let sessions = desk.control.sessions().await.unwrap_or_default();
        desk.leaving.note_left(|session| sessions.iter().any(|info| info.session == session));
        tried.retain(|session, _| sessions.iter().any(|info| info.session == *session));
        let mut leaving = JoinSet::new();
        for session in sessions.into_iter().filter(|session| session.state == "live") {
            if leaving.len() >= MOVES_AT_A_TIME {
                note(&mut tried, leaving.join_next().await);
            }
            let but: Vec<NodeId> = tried.get(&session.session).into_iter().flatten().copied().collect();
            let desk = desk.clone();
            leaving.spawn(async move { give_one(&desk, session.session, but).await });
        }
        while !leaving.is_empty() {
            note(&mut tried, leaving.join_next().await);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// A node that did not take a session is passed over at the next try, and asked again after others.
fn note(tried: &mut Tried, outcome: Option<Result<Option<(String, NodeId)>, tokio::task::JoinError>>) {
    if let Some(Ok(Some((session, node)))) = outcome {
        let nodes = tried.entry(session).or_default();
        nodes.push_back(node);
        if nodes.len() >= REFUSALS {
            nodes.pop_front();
        }
    }
}

/// Gives a session to a follower that counts, or else to where it would be placed. Who did not take it.
async fn give_one(desk: &Desk, session: String, tried: Vec<NodeId>) -> Option<(String, NodeId)> {
    let name = session.parse::<SessionName>().ok()?;
    let Some(to) = target(desk, &name, &tried).await else {
        desk.leaving.note_stuck(&session, "no other node takes sessions".to_owned());
        // The next round begins with those that were passed over.
        return tried.first().map(|first| (session, *first));
    };
    let began = Instant::now();
    let is_here = |why: &str| {
        if began.elapsed() > NOTED {
            desk.leaving.note_stuck(&session, format!("node {} {why}", to.id));
        }
    };
    match moving::from_here(desk, name, to, PATIENCE, is_here).await {
        Ok(moved) => {
            tracing::info!(session, to = moved.to, took_ms = moved.took_ms, "the session left");
            desk.leaving.note_gone(&session);
            None
        }
        // It ended meanwhile, or another has it.
        Err(Stuck::NotHere | Stuck::Elsewhere(_)) => None,
        Err(stuck) => {
            let why = stuck.to_string(to);
            tracing::warn!(session, to = %to.id, why, "the session did not leave yet");
            desk.leaving.note_stuck(&session, why);
            Some((session, to.id))
        }
    }
}

async fn target(desk: &Desk, name: &SessionName, tried: &[NodeId]) -> Option<Node> {
    let info = desk.control.session(name.clone()).await.ok()?;
    let replication = info.detail.and_then(|detail| detail.replication);
    let followers = replication.into_iter().flat_map(|replication| replication.followers);
    let mut in_sync = followers.filter(|one| one.in_sync).filter_map(|one| here::named(desk, &one.node).ok());
    match in_sync.find(|seen| !tried.contains(&seen.node.id)) {
        Some(seen) => Some(seen.node),
        None => desk.control.elsewhere(name.clone(), tried.to_vec()).await.ok()?,
    }
}
