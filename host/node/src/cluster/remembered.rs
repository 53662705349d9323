//! Where the other nodes were, kept in the state directory: a node that is started again finds its cluster by itself,
//! also without `--join`. A cluster of its own beside the one that it was in would give keys a second leader.

use std::net::SocketAddr;
use std::sync::Arc;

use ringside_core::ids::NodeId;
use ringside_core::membership::View;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::limits::REMEMBERED_NODES;
use crate::state_directory::{StateDirectory, StateError};

/// The file's name.
const FILE: &str = "nodes.json";

/// What the file holds.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Nodes {
    /// Where their links are reached.
    links: Vec<SocketAddr>,
}

/// The links of the nodes that were there last.
///
/// # Errors
/// [`StateError`].
pub fn read(state: &StateDirectory) -> Result<Vec<SocketAddr>, StateError> {
    let Some(text) = state.read(FILE)? else { return Ok(Vec::new()) };
    let nodes = serde_json::from_slice::<Nodes>(&text).map_err(|_| {
        let hint = "delete it, and start the node with --join if its cluster runs";
        state.garbage(FILE, "is no list of nodes", hint)
    })?;
    Ok(nodes.links.into_iter().take(REMEMBERED_NODES).collect())
}

/// Keeps these links.
///
/// # Errors
/// [`StateError`].
pub fn write(state: &StateDirectory, links: &[SocketAddr]) -> Result<(), StateError> {
    let links = links.iter().copied().take(REMEMBERED_NODES).collect();
    state.write(FILE, &serde_json::to_vec_pretty(&Nodes { links }).unwrap_or_default())
}

/// Keeps the links of whoever is there, until views end. A view without others changes nothing: this node may be the one
/// that is cut off, and is to find them when it is started again.
pub async fn follow(state: Arc<StateDirectory>, me: NodeId, mut views: watch::Receiver<Arc<View>>) {
    let mut kept = Vec::new();
    loop {
        let links = others(me, &views.borrow_and_update());
        if !links.is_empty() && links != kept {
            let (state, written) = (Arc::clone(&state), links.clone());
            // A disk may take its time.
            let result = tokio::task::spawn_blocking(move || write(&state, &written)).await;
            if let Ok(Err(error)) = result {
                tracing::warn!(%error, "should this node be started again, it needs --join");
            }
            kept = links;
        }
        if views.changed().await.is_err() {
            return;
        }
    }
}

fn others(me: NodeId, view: &View) -> Vec<SocketAddr> {
    let others = view.nodes().filter(|seen| seen.node.id != me);
    others.map(|seen| seen.contact.control).take(REMEMBERED_NODES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn what_is_written_is_read_and_rubbish_is_named() {
        let scratch = Scratch::new("remembered");
        let state = StateDirectory::open(&scratch.0).unwrap();
        assert_eq!(read(&state).unwrap(), []);
        let links: Vec<SocketAddr> = (1..=60).map(|port| ([127, 0, 0, 1], port).into()).collect();
        write(&state, &links).unwrap();
        assert_eq!(read(&state).unwrap(), links[..REMEMBERED_NODES], "a few are enough to find the rest");
        state.write(FILE, b"[1, 2").unwrap();
        assert!(read(&state).unwrap_err().to_string().contains("nodes.json is no list of nodes"));
    }
}
