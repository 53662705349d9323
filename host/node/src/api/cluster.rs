//! What is said of a cluster: its nodes, how much of it an answer covers, and why a session is where it is.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{GameInfo, SessionInfo};

/// How much of the cluster an answer covers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Nodes that are present, as the node that was asked sees it.
    pub nodes: usize,
    /// Those whose part is in the answer.
    pub answered: usize,
    /// The others, by number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<String>,
}

/// `GET /v1/sessions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionList {
    /// In order of game and key; those that ended, newest first.
    pub sessions: Vec<SessionInfo>,
    /// How much of the cluster they are from.
    pub covers: Coverage,
    /// Whether there are more.
    #[serde(default)]
    pub is_cut: bool,
}

/// `GET /v1/games`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GameList {
    /// In order.
    pub games: Vec<GameInfo>,
    /// Of how much of the cluster the sessions are counted.
    pub covers: Coverage,
}

/// `GET /v1/cluster`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterInfo {
    /// The cluster's number.
    pub cluster: String,
    /// What each node says, in order of their numbers.
    pub nodes: Vec<NodeStatus>,
    /// Whether all that answered go by the same ring.
    pub agree: bool,
    /// How many answered.
    pub covers: Coverage,
}

/// A node, as it says itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its number.
    pub node: String,
    /// Its start, ms since 1970.
    pub generation: u64,
    /// `joining`, `active`, `draining` or `gone`.
    pub state: String,
    /// Ringside's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Its state directory.
    pub directory: String,
    /// Where others reach its links: what `--join` takes.
    pub links: SocketAddr,
    /// Where its gossip is reached.
    pub gossip: SocketAddr,
    /// URL of its admin API, on its own machine.
    pub admin: String,
    /// Where players connect, one a worker, the penalty worker last.
    pub workers: Vec<SocketAddr>,
    /// Its sessions.
    pub sessions: usize,
    /// Games that it serves.
    pub games: usize,
    /// What its workers use, CPU µs a second.
    pub load_us: u64,
    /// The ring that it goes by.
    pub ring: String,
    /// Whether all have told it what they lead since the ring changed last.
    pub settled: bool,
    /// The cluster as it sees it.
    pub sees: Vec<SeenNode>,
    /// The versions of checkpoints that it reads and writes; a release that does not say so has the first.
    #[serde(default)]
    pub checkpoints: CheckpointVersions,
    /// How far it is, if it leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving: Option<LeavingInfo>,
    /// How far the last order to replace its program is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<UpgradeInfo>,
}

/// Versions of checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointVersions {
    /// The oldest that is read.
    pub oldest: u16,
    /// The newest that is read.
    pub newest: u16,
    /// The one that is written: every node that is seen reads it.
    pub written: u16,
}

impl Default for CheckpointVersions {
    fn default() -> CheckpointVersions {
        CheckpointVersions { oldest: 1, newest: 1, written: 1 }
    }
}

/// How far it is that a node's process is replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeInfo {
    /// The program that takes over.
    pub binary: String,
    /// `starting`, `loading`, `moving`, `taking`, `done` or `abandoned`.
    pub phase: String,
    /// Its release, as it says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Sessions that the node had when it began to give them away.
    pub sessions: usize,
    /// Those that are there.
    pub moved: usize,
    /// Checkpoints that went there through memory; the others went over links, or a session was young enough to need none.
    #[serde(default)]
    pub passed: usize,
    /// Why it was abandoned, or is done and not all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// `POST /v1/cluster/{node}/upgrade`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpgradeNode {
    /// The program that is to take over: a path on the node's machine.
    pub binary: String,
}

/// The answer to it: it has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrading {
    /// Which node.
    pub node: String,
    /// The process that is to be replaced.
    pub pid: u32,
    /// Its sessions at the moment.
    pub sessions: usize,
}

/// How far a node is that leaves; what it still leads is in its status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeavingInfo {
    /// Sessions that it had when it was told to.
    pub sessions: usize,
    /// Those that went to other nodes; the rest ended by themselves, or are still there.
    pub moved: usize,
    /// Some that did not get away so far.
    pub stuck: Vec<StuckSession>,
}

/// A session that does not get away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StuckSession {
    /// Which.
    pub session: String,
    /// Why.
    pub why: String,
}

/// A node, as another sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenNode {
    /// Its number.
    pub node: String,
    /// Its start, ms since 1970.
    pub generation: u64,
    /// Its stay: one more each time others believed that it was gone.
    pub stay: u32,
    /// `joining`, `active` or `draining`.
    pub state: String,
}

/// `GET /v1/directory`: what this node itself knows, so that it can be compared with what others know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryInfo {
    /// Its number.
    pub node: String,
    /// The ring that it goes by.
    pub ring: String,
    /// Whether all have told it what they lead since the ring changed last.
    pub settled: bool,
    /// Sessions that it leads.
    pub leads: Vec<DirectoryEntry>,
    /// Sessions that it follows, or is about to.
    pub follows: Vec<DirectoryEntry>,
    /// Sessions whose home it is, wherever they are led.
    pub keeps: Vec<DirectoryEntry>,
}

/// Where a session is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DirectoryEntry {
    /// Which.
    pub session: String,
    /// The node that leads it.
    pub node: String,
    /// Its worker.
    pub worker: u8,
}

/// `GET /v1/sessions/{game}/{key}/placement`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Which session.
    pub session: String,
    /// The node that leads it.
    pub node: String,
    /// Its worker.
    pub worker: u8,
    /// Where it lies on the ring.
    pub position: String,
    /// The ring at the time.
    pub ring: String,
    /// How its node was to be chosen.
    pub policy: String,
    /// What a node may carry, in percent of its share of all load.
    pub bound_percent: u64,
    /// All load at the time, CPU µs a second.
    pub total_us: u64,
    /// The weight of all nodes at the time, percent.
    pub total_weight: u64,
    /// The nodes in the order in which they were considered; the last was chosen.
    pub steps: Vec<ExplainedStep>,
}

/// A node that was considered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedStep {
    /// Which.
    pub node: String,
    /// Its load as the home saw it, CPU µs a second.
    pub load_us: u64,
    /// What it could carry, CPU µs a second.
    pub capacity_us: u64,
    /// `chosen`, `loaded` or `refused`.
    pub verdict: String,
}

/// `POST /v1/cluster/{node}/drain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainNode {
    /// How long matches may go on, ms.
    pub grace_ms: u64,
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draining {
    /// Which node.
    pub node: String,
    /// Its sessions at the moment.
    pub sessions: usize,
    /// How long they may still go on, ms: of several orders the one that ends first counts.
    pub grace_ms: u64,
}
