//! `ringside node upgrade`: a node's process is replaced while its matches go on.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::Method;

use super::super::connection::{Connection, component};
use super::super::progress::Progress;
use super::super::{CliError, Common, table};
use crate::api::{ClusterInfo, NodeStatus, UpgradeNode, Upgrading};
use crate::handover::progress::phase;

/// How often it is looked how far it is.
const LOOK: Duration = Duration::from_millis(200);
/// How long nobody may answer for the node: longer than one of the two processes waits for the other to end.
const SILENCE: Duration = Duration::from_secs(30);
/// How long it may be that nothing changes: longer than any wait of the two processes.
const STANDSTILL: Duration = Duration::from_secs(180);

/// Has a node's process replaced, and waits until it is.
pub async fn run(common: &Common, node: &str, binary: &Path, no_wait: bool) -> Result<(), CliError> {
    let connection = Connection::find(common)?;
    let path = format!("/v1/cluster/{}/upgrade", component(node));
    let binary = std::path::absolute(binary)
        .map_err(|error| CliError::new("usage", format!("{}: {error}", binary.display()), ""))?;
    let asked = UpgradeNode { binary: binary.display().to_string() };
    let upgrading: Upgrading = connection.send(Method::POST, &path, &asked).await?;
    if no_wait {
        common.print(&upgrading, |it| format!("node {} (process {}) is being replaced", it.node, it.pid));
        return Ok(());
    }
    if !common.json {
        table::print(&format!(
            "node {} (process {}) starts {} beside itself",
            upgrading.node, upgrading.pid, asked.binary
        ));
    }
    let pid = wait(common, &upgrading).await?;
    let done = serde_json::json!({ "node": upgrading.node, "from": upgrading.pid, "to": pid });
    common.print(&done, |_| format!("node {} is process {pid} now", upgrading.node));
    Ok(())
}

/// The process that the node is when it is another one.
async fn wait(common: &Common, upgrading: &Upgrading) -> Result<u32, CliError> {
    let mut progress = Progress::new("sessions that went over", common.json);
    let (mut changed, mut last, mut heard) = (Instant::now(), None, Instant::now());
    while changed.elapsed() < STANDSTILL {
        tokio::time::sleep(LOOK).await;
        // For a moment nobody answers, if it is this very node that is asked; then it is another process that does.
        let Ok(Some(status)) = status(common, &upgrading.node).await else {
            if heard.elapsed() > SILENCE {
                progress.end();
                let what = format!("neither process of node {} answers", upgrading.node);
                let hint = "start the node again; `ringside session list --ended` names what was lost with it";
                return Err(CliError::new("unreachable", what, hint));
            }
            continue;
        };
        heard = Instant::now();
        if status.pid != upgrading.pid {
            progress.show(upgrading.sessions, upgrading.sessions);
            progress.end();
            if let Some(why) = status.upgrade.filter(|info| info.phase == phase::DONE).and_then(|info| info.why) {
                let what = format!("node {} is process {} now, but {why}", upgrading.node, status.pid);
                return Err(CliError::new("cut_short", what, "`ringside session list --ended` names what was lost"));
            }
            return Ok(status.pid);
        }
        let Some(info) = status.upgrade else { continue };
        if info.phase == phase::ABANDONED {
            progress.end();
            let why = info.why.clone().unwrap_or_default();
            let what = format!("node {} was not replaced, and goes on: {why}", upgrading.node);
            return Err(CliError::new("abandoned", what, "its log may say more"));
        }
        if info.phase != phase::STARTING && info.phase != phase::LOADING {
            progress.show(info.moved, info.sessions.max(info.moved));
        }
        if last.as_ref() != Some(&info) {
            changed = Instant::now();
            last = Some(info);
        }
    }
    progress.end();
    let what = format!("node {} is the old process still, and nothing changes", upgrading.node);
    Err(CliError::new("timed_out", what, "its log may say why"))
}

/// The node as it says itself; none while it does not answer.
async fn status(common: &Common, number: &str) -> Result<Option<NodeStatus>, CliError> {
    let cluster: ClusterInfo = Connection::find(common)?.get("/v1/cluster").await?;
    Ok(cluster.nodes.into_iter().find(|node| node.node == number))
}
