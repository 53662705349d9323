//! Answers for the cluster: this node's and what the others say, with how much of the cluster that is.

use std::time::Duration;

use ringside_core::ids::SessionId;
use serde::de::DeserializeOwned;

use super::{Desk, here};
use crate::admin::ApiError;
use crate::api::{
    ClusterInfo, Coverage, Draining, Explanation, GameList, Killed, NodeStatus, SessionInfo, SessionList, Upgrading,
};
use crate::cluster::peers::{Others, Outcome, PATIENCE};
use crate::cluster::wire::Ask;
use crate::control::{ControlError, SessionName};

/// How long another node may take to compile what was pushed.
const COMPILE_PATIENCE: Duration = Duration::from_secs(30);

/// All nodes.
pub async fn cluster(desk: &Desk) -> Result<ClusterInfo, ApiError> {
    let own = here::status(desk).await?;
    let (others, covers) = desk.peers.ask_others::<NodeStatus>(Ask::Node, PATIENCE).await.covered();
    let mut nodes: Vec<NodeStatus> = others.into_iter().map(|(_, status)| status).collect();
    nodes.push(own);
    nodes.sort_by(|left, right| (left.node.len(), &left.node).cmp(&(right.node.len(), &right.node)));
    let agree = nodes.windows(2).all(|pair| pair[0].ring == pair[1].ring);
    Ok(ClusterInfo { cluster: desk.about.cluster.clone(), nodes, agree, covers })
}

/// All sessions, or those that ended last.
pub async fn sessions(desk: &Desk, ended: bool) -> Result<SessionList, ApiError> {
    let mut sessions = if ended { desk.control.ended().await? } else { desk.control.sessions().await? };
    let others = desk.peers.ask_others::<Vec<SessionInfo>>(Ask::Sessions { ended }, PATIENCE).await;
    let (others, covers) = others.covered();
    sessions.extend(others.into_iter().flat_map(|(_, sessions)| sessions));
    match ended {
        true => sessions.sort_by_key(|session| session.age_s),
        false => sessions.sort_by(|left, right| (&left.game, &left.key).cmp(&(&right.game, &right.key))),
    }
    Ok(SessionList { sessions, covers, is_cut: false })
}

/// The games, with the sessions of the whole cluster.
pub async fn games(desk: &Desk) -> Result<GameList, ApiError> {
    let mut games = desk.catalogue.games();
    let SessionList { sessions, covers, .. } = sessions(desk, false).await?;
    for game in &mut games {
        game.sessions = sessions.iter().filter(|session| session.game == game.game).count();
    }
    Ok(GameList { games, covers })
}

/// A session, wherever it is led, or what is left of one that ended lately.
pub async fn session(desk: &Desk, name: SessionName) -> Result<SessionInfo, ApiError> {
    let own = here::session(desk, name.clone()).await;
    let own_ended = match own {
        Ok(info) if info.state != "ended" => return Ok(info),
        Ok(ended) => Some(ended),
        Err(ControlError::NoSuchSession(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let others = desk.peers.ask_others::<SessionInfo>(Ask::Show(name.to_string()), PATIENCE).await;
    let (found, coverage) = having(others);
    let newest = found.into_iter().chain(own_ended).min_by_key(|info| (info.state == "ended", info.age_s));
    newest.ok_or_else(|| missing(&name, &coverage))
}

/// Ends a session, wherever it is led.
pub async fn end(desk: &Desk, name: SessionName, reason: String) -> Result<SessionInfo, ApiError> {
    let own = desk.control.end(name.clone(), reason.clone()).await;
    let ask = Ask::End { session: name.to_string(), reason };
    unless_here(desk, &name, own, ask).await
}

/// Why a session is where it is.
pub async fn explain(desk: &Desk, name: SessionName) -> Result<Explanation, ApiError> {
    let own = desk.control.explain(name.clone()).await;
    let ask = Ask::Explain(name.to_string());
    unless_here(desk, &name, own, ask).await
}

/// What is recorded of a session is in its leader's store; which session it is, where anybody knows.
pub async fn flush(desk: &Desk, name: SessionName) -> Result<Option<SessionId>, ApiError> {
    if let Some(session) = here::flush(desk, name.clone()).await? {
        return Ok(session.parse().ok());
    }
    let others = desk.peers.ask_others::<Option<String>>(Ask::Flush(name.to_string()), PATIENCE).await;
    let (found, _) = others.covered();
    Ok(found.into_iter().find_map(|(_, session)| session?.parse().ok()))
}

/// Tells all nodes of a new version, and waits until they serve it.
pub async fn pushed(desk: &Desk) -> Coverage {
    desk.peers.ask_others::<usize>(Ask::Pushed, COMPILE_PATIENCE).await.covered().1
}

/// Has a node leave.
pub async fn drain(desk: &Desk, node: &str, grace: Duration) -> Result<Draining, ApiError> {
    let seen = here::named(desk, node)?;
    if seen.node == desk.peers.me() {
        return here::drain(desk, grace).await;
    }
    let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    match desk.peers.ask_for(&seen, Ask::Drain { grace_ms }, PATIENCE).await {
        Some(Outcome::Is(draining)) => Ok(draining),
        Some(Outcome::Failed(failure)) => Err(ApiError::from(failure)),
        None => Err(ApiError::unreachable(format!("node {} does not answer", seen.node.id))),
    }
}

/// Has a node's process replaced.
pub async fn upgrade(desk: &Desk, node: &str, binary: String) -> Result<Upgrading, ApiError> {
    let seen = here::named(desk, node)?;
    if seen.node == desk.peers.me() {
        return here::upgrade(desk, &binary).await;
    }
    match desk.peers.ask_for(&seen, Ask::Upgrade { binary }, PATIENCE).await {
        Some(Outcome::Is(upgrading)) => Ok(upgrading),
        Some(Outcome::Failed(failure)) => Err(ApiError::from(failure)),
        None => Err(ApiError::unreachable(format!("node {} does not answer", seen.node.id))),
    }
}

/// Has a node end itself as a crash would end it.
pub async fn kill(desk: &Desk, node: &str) -> Result<Killed, ApiError> {
    let seen = here::named(desk, node)?;
    if seen.node == desk.peers.me() {
        return Ok(here::kill(desk));
    }
    match desk.peers.ask_for(&seen, Ask::Kill, PATIENCE).await {
        Some(Outcome::Is(killed)) => Ok(killed),
        Some(Outcome::Failed(failure)) => Err(ApiError::from(failure)),
        None => Err(ApiError::unreachable(format!("node {} does not answer", seen.node.id))),
    }
}

/// What this node answered, unless it knows of no such session: then what the others know.
async fn unless_here<T: DeserializeOwned>(
    desk: &Desk,
    name: &SessionName,
    own: Result<T, ControlError>,
    ask: Ask,
) -> Result<T, ApiError> {
    match own {
        Err(ControlError::NoSuchSession(_)) => {}
        own => return own.map_err(ApiError::from),
    }
    let (mut found, coverage) = having(desk.peers.ask_others(ask, PATIENCE).await);
    found.pop().ok_or_else(|| missing(name, &coverage))
}

/// The answers of those who have it; one who has it not has answered.
fn having<T>(others: Others<T>) -> (Vec<T>, Coverage) {
    let asked = others.answers.len() + others.silent.len() + 1;
    let silent: Vec<String> = others.silent.iter().map(ToString::to_string).collect();
    let coverage = Coverage { nodes: asked, answered: asked - silent.len(), silent };
    let found = others.answers.into_iter().filter_map(|(_, outcome)| match outcome {
        Outcome::Is(found) => Some(found),
        Outcome::Failed(_) => None,
    });
    (found.collect(), coverage)
}

/// The error of a question to all others that none of them has the session for.
pub(super) fn nowhere<T>(name: &SessionName, others: Others<T>) -> ApiError {
    missing(name, &having(others).1)
}

fn missing(name: &SessionName, coverage: &Coverage) -> ApiError {
    if coverage.silent.is_empty() {
        return ControlError::NoSuchSession(name.to_string()).into();
    }
    ApiError::unreachable(format!(
        "{} of {} nodes answered, and none of them has {name} (no answer: {})",
        coverage.answered,
        coverage.nodes,
        coverage.silent.join(", ")
    ))
}
