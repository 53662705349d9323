//! All sessions of this node go to others, because it leaves. What does not get away is tried again, with another node, as
//! long as it is let, and it is said why.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ringside_core::ids::{Node, NodeId};
use ringside_core::leadership::record::Motive;
use ringside_core::membership::State;
use ringside_core::placement::REFUSALS;

use super::giving::{Given, Giving, Occasion};
use super::{Desk, here};
use crate::control::SessionName;

/// Sessions that leave at a time, at most: their players connect to others meanwhile.
pub(crate) const WIDEST: usize = 64;
/// What takes longer is shown.
const NOTED: Duration = Duration::from_secs(2);
/// How soon what did not leave is tried again.
const AGAIN: Duration = Duration::from_millis(250);

/// Gives sessions away until there are none, or it is dropped.
pub async fn give_away(desk: &Desk) {
    let (mut giving, mut leaves) = (Giving::new(WIDEST), Leaves::default());
    loop {
        let Ok(sessions) = desk.control.sessions().await else {
            // It has too much to do to answer.
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        if sessions.is_empty() {
            return;
        }
        desk.leaving.note_left(|session| sessions.iter().any(|info| info.session == session));
        leaves.tried.retain(|session, _| sessions.iter().any(|info| info.session == *session));
        let live = sessions.into_iter().filter(|session| session.state == "live").map(|session| session.session);
        giving.give(desk, live, &mut leaves).await;
        tokio::time::sleep(AGAIN).await;
    }
}

/// The node leaves.
#[derive(Default)]
struct Leaves {
    /// Nodes that did not take a session, the last of them: the placement passes over them.
    tried: BTreeMap<String, VecDeque<NodeId>>,
}

impl Occasion for Leaves {
    /// To a follower that counts, or else to where it would be placed.
    async fn target(&mut self, desk: &Desk, session: &str, name: &SessionName) -> Option<(Node, Motive)> {
        let tried: Vec<NodeId> = self.tried.get(session).into_iter().flatten().copied().collect();
        let info = desk.control.session(name.clone()).await.ok()?;
        let replication = info.detail.and_then(|detail| detail.replication);
        let followers = replication.into_iter().flat_map(|replication| replication.followers);
        let mut in_sync = followers.filter(|one| one.in_sync).filter_map(|one| here::named(desk, &one.node).ok());
        // One that leaves as well would only give it back.
        let to = match in_sync.find(|seen| seen.state == State::Active && !tried.contains(&seen.node.id)) {
            Some(seen) => Some(seen.node),
            None => desk.control.elsewhere(name.clone(), tried).await.ok()?,
        };
        Some((to?, Motive::Drain))
    }

    fn waits(desk: &Desk, session: &str, to: Node, since: Duration, why: &str) {
        if since > NOTED {
            desk.leaving.note_stuck(session, format!("node {} {why}", to.id));
        }
    }

    async fn note(&mut self, desk: &Desk, session: &str, given: &Given) {
        match given {
            Given::There(moved, _) => {
                tracing::info!(session, to = moved.to, took_ms = moved.took_ms, "the session left");
                desk.leaving.note_gone(session);
            }
            Given::NotTaken(to, why) => {
                tracing::warn!(session, to = %to.id, why, "the session did not leave yet");
                desk.leaving.note_stuck(session, why.clone());
                // Passed over at the next try, and asked again after others.
                let nodes = self.tried.entry(session.to_owned()).or_default();
                nodes.push_back(to.id);
                if nodes.len() >= REFUSALS {
                    nodes.pop_front();
                }
            }
            Given::Nowhere => {
                desk.leaving.note_stuck(session, "no other node takes sessions".to_owned());
                // Those that were passed over are asked again.
                self.tried.remove(session);
            }
            Given::Vanished => {}
        }
    }
}
