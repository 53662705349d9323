//! `ringside node list`, `drain` and `kill`: the cluster's nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use reqwest::Method;

use super::super::connection::{Connection, component};
use super::super::progress::Progress;
use super::super::{CliError, Common, table};
use crate::api::{ClusterInfo, DrainNode, Draining, Killed, NodeStatus, StuckSession};

/// How often a drain looks whether the node has left.
const LOOK: Duration = Duration::from_millis(500);
/// How long a node may take to leave when its grace is over.
const LEAVING: Duration = Duration::from_secs(30);

/// The nodes as a table.
pub fn list(cluster: &ClusterInfo) -> String {
    let rows: Vec<Vec<String>> = cluster.nodes.iter().map(|node| row(cluster, node)).collect();
    let columns = ["node", "state", "process", "players", "links", "sessions", "games", "load", "sees"];
    let mut text = table::columns(&columns, &rows);
    text.push_str(&match cluster.agree {
        true => format!("\nAll go by ring {}.", cluster.nodes.first().map_or("", |node| node.ring.as_str())),
        false => "\nThey do not agree on the ring yet; ask again in a moment.".to_owned(),
    });
    text.push_str(&versions(&cluster.nodes));
    text.push_str(&table::covers(&cluster.covers));
    text
}

/// Which checkpoints are written where not all nodes read the same.
fn versions(nodes: &[NodeStatus]) -> String {
    let all: BTreeSet<(u16, u16)> =
        nodes.iter().map(|node| (node.checkpoints.oldest, node.checkpoints.newest)).collect();
    if all.len() < 2 {
        return String::new();
    }
    let mut text = String::from("\nNodes of two releases:");
    for (oldest, newest) in all {
        let those = nodes.iter().filter(|node| (node.checkpoints.oldest, node.checkpoints.newest) == (oldest, newest));
        let (numbers, written): (Vec<&str>, BTreeSet<String>) =
            those.map(|node| (short(&node.node), node.checkpoints.written.to_string())).unzip();
        let range = if oldest == newest { oldest.to_string() } else { format!("{oldest} to {newest}") };
        let written: Vec<String> = written.into_iter().collect();
        text.push_str(&format!(
            " {} read checkpoints of version {range} and write {};",
            numbers.join(" "),
            written.join(", ")
        ));
    }
    text.pop();
    text.push('.');
    text
}

fn row(cluster: &ClusterInfo, node: &NodeStatus) -> Vec<String> {
    let sees: Vec<String> = node
        .sees
        .iter()
        .map(|seen| {
            // Its own word on itself is in another column.
            let itself = cluster.nodes.iter().find(|other| other.node == seen.node);
            let agrees = itself.is_none_or(|itself| itself.state == seen.state);
            let beside = if agrees { String::new() } else { format!(" ({})", seen.state) };
            format!("{}{beside}", short(&seen.node))
        })
        .collect();
    vec![
        node.node.clone(),
        node.state.clone(),
        node.pid.to_string(),
        node.workers.first().map_or_else(|| "-".to_owned(), ToString::to_string),
        node.links.to_string(),
        node.sessions.to_string(),
        node.games.to_string(),
        table::load(node.load_us),
        sees.join(" "),
    ]
}

/// A drawn number is long; its beginning tells it apart.
fn short(number: &str) -> &str {
    number.get(..4).unwrap_or(number)
}

/// Has a node leave, and waits until it has.
pub async fn drain(common: &Common, node: &str, grace_s: u64, no_wait: bool) -> Result<(), CliError> {
    let connection = Connection::find(common)?;
    let path = format!("/v1/cluster/{}/drain", component(node));
    let draining: Draining = connection.send(Method::POST, &path, &DrainNode { grace_ms: grace_s * 1000 }).await?;
    let number = draining.node.clone();
    if !common.json {
        table::print(&format!(
            "node {number} takes no new sessions; its {} may end within {}",
            draining.sessions,
            table::duration(draining.grace_ms.div_ceil(1000))
        ));
    }
    if no_wait {
        if common.json {
            common.print(&draining, |_| String::new());
        }
        return Ok(());
    }
    let mut deadline = Instant::now() + Duration::from_millis(draining.grace_ms) + LEAVING;
    let mut progress = Progress::new(format!("sessions that left node {number}"), common.json);
    let (mut shown, mut left, mut stuck) = (BTreeMap::new(), draining.sessions, Vec::new());
    while let Some(status) = there(&connection, &number).await? {
        if let Some(leaving) = &status.leaving {
            let all = leaving.sessions.max(status.sessions);
            progress.show(all - status.sessions, all);
            for StuckSession { session, why } in &leaving.stuck {
                if shown.insert(session.clone(), why.clone()).as_ref() != Some(why) {
                    progress.say(&format!("{session} is still there: {why}"));
                }
            }
            stuck.clone_from(&leaving.stuck);
            if std::mem::replace(&mut left, status.sessions) > status.sessions {
                // What can leave has the time that it takes.
                deadline = deadline.max(Instant::now() + LEAVING);
            }
        }
        if Instant::now() > deadline {
            let what = format!("node {number} has not left {} s after its grace", LEAVING.as_secs());
            return Err(CliError::new("timed_out", what, "its log may say why; ringside node list shows it"));
        }
        tokio::time::sleep(LOOK).await;
    }
    for StuckSession { session, why } in &stuck {
        progress.say(&format!("{session} did not leave: {why}"));
    }
    progress.end();
    let left = serde_json::json!({ "node": number, "left": true });
    common.print(&left, |_| format!("node {number} has left"));
    Ok(())
}

/// Has a node end itself, if that is meant.
pub async fn kill(common: &Common, node: &str, is_meant: bool) -> Result<(), CliError> {
    let connection = Connection::find(common)?;
    if !is_meant && !confirms(node)? {
        return Err(CliError::new("not_confirmed", format!("node {node} was not ended"), "answer yes, or give --yes"));
    }
    let path = format!("/v1/cluster/{}/kill", component(node));
    let killed: Killed = connection.send(Method::POST, &path, &serde_json::json!({})).await?;
    common.print(&killed, |killed| {
        format!("node {} (process {}) ends itself; ringside session list shows what goes on", killed.node, killed.pid)
    });
    Ok(())
}

/// Asks on the terminal; what is no terminal confirms nothing.
fn confirms(node: &str) -> Result<bool, CliError> {
    let unreadable =
        |error: std::io::Error| CliError::new("not_confirmed", format!("cannot ask: {error}"), "give --yes");
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    eprint!("End node {node} at once? Sessions that are neither followed nor durable are lost. [yes/no] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(unreadable)?;
    Ok(matches!(answer.trim(), "y" | "yes"))
}

/// The node as it says itself, or as little as others know of it; none once it is in the cluster no more, as the node that
/// is asked sees it. A node that was asked to drain itself and does not answer any more has left.
async fn there(connection: &Connection, number: &str) -> Result<Option<Box<NodeStatus>>, CliError> {
    match connection.get::<ClusterInfo>("/v1/cluster").await {
        Ok(cluster) => {
            let is_seen = |node: &NodeStatus| node.sees.iter().any(|seen| seen.node == number);
            let others = cluster.nodes.iter().find(|node| is_seen(node)).cloned();
            let itself = cluster.nodes.into_iter().find(|node| node.node == number);
            // What another says of itself says nothing of this one, but that it is seen.
            let others = others.map(|other| NodeStatus { leaving: None, ..other });
            Ok(itself.or(others).map(Box::new))
        }
        Err(CliError(failure)) if matches!(failure.error.as_str(), "unreachable" | "stopping") => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{CheckpointVersions, Coverage, SeenNode};

    fn status(node: &str, sees: &[(&str, &str)]) -> NodeStatus {
        NodeStatus {
            node: node.into(),
            generation: 1,
            state: "active".into(),
            version: "1".into(),
            pid: 7,
            directory: "/x".into(),
            links: ([127, 0, 0, 1], 7390).into(),
            gossip: ([127, 0, 0, 1], 7391).into(),
            admin: "http://127.0.0.1:7401".into(),
            workers: vec![([127, 0, 0, 1], 7400).into()],
            sessions: 3,
            games: 2,
            load_us: 12_000,
            ring: "aa".into(),
            settled: true,
            sees: sees
                .iter()
                .map(|(node, state)| SeenNode { node: (*node).into(), generation: 1, stay: 0, state: (*state).into() })
                .collect(),
            checkpoints: CheckpointVersions::default(),
            leaving: None,
            upgrade: None,
        }
    }

    #[test]
    fn nodes_are_listed_with_whom_they_see_and_who_is_silent() {
        let nodes = vec![
            status("1", &[("1", "active"), ("2", "draining"), ("9f3a0000000000ff", "active")]),
            status("2", &[("1", "active"), ("2", "active")]),
        ];
        let covers = Coverage { nodes: 3, answered: 2, silent: vec!["9f3a0000000000ff".into()] };
        let text = list(&ClusterInfo { cluster: "c".into(), nodes, agree: false, covers });
        assert!(text.contains("1 2 (draining) 9f3a"), "{text}");
        assert!(text.contains("They do not agree"), "{text}");
        assert!(text.contains("Of 2 of 3 nodes (no answer: 9f3a0000000000ff)."), "{text}");
        assert!(!text.contains("two releases"), "{text}");
    }

    #[test]
    fn nodes_of_two_releases_are_listed_with_what_they_write() {
        let next = CheckpointVersions { oldest: 1, newest: 2, written: 1 };
        let mut nodes = vec![status("1", &[]), status("2", &[]), status("3", &[])];
        nodes[1].checkpoints = next;
        let text = list(&ClusterInfo { cluster: "c".into(), nodes, agree: true, covers: Coverage::default() });
        let said = "Nodes of two releases: 1 3 read checkpoints of version 1 and write 1; \
                    2 read checkpoints of version 1 to 2 and write 1.";
        assert!(text.contains(said), "{text}");
    }
}
