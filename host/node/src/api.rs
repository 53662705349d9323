//! The admin API's requests and answers as both its ends use them: the node serves them, the command line reads them
//! and prints them with `--json` as they are.

mod cluster;
mod replication;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ringside_worker::SessionReport;
use ringside_worker::command::{Pause, PlayerReport};
use serde::{Deserialize, Serialize};

pub use cluster::{
    CheckpointVersions, ClusterInfo, Coverage, DirectoryEntry, DirectoryInfo, DrainNode, Draining, ExplainedStep,
    Explanation, GameList, LeavingInfo, NodeStatus, SeenNode, SessionList, StuckSession, UpgradeInfo, UpgradeNode,
    Upgrading,
};
pub use replication::{
    ChangeInfo, EpochInfo, FollowerInfo, Killed, MemberInfo, MoveSession, Moved, ReplicationInfo, TermInfo,
};

/// What to do where a node takes no further sessions.
pub const FULL_HINT: &str = "end sessions (ringside session list shows them), or raise `sessions` and, if it is lower, the \
                             kernel's vm.max_map_count, of which a session takes fifteen";

/// An error's body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A short code for programs.
    pub error: String,
    /// What is wrong, for people.
    pub what: String,
    /// What to do about it; may be empty.
    #[serde(default)]
    pub hint: String,
}

/// `GET /v1/node`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Its number in its cluster.
    pub node: String,
    /// Its cluster's number.
    pub cluster: String,
    /// URL of the admin API.
    pub admin: String,
    /// Ringside's version.
    pub version: String,
    /// The node's process.
    pub pid: u32,
    /// Since its start, s.
    pub uptime_s: u64,
    /// The state directory.
    pub state: String,
    /// The store.
    pub store: String,
    /// SHA-256 of the certificate that players expect.
    pub certificate_sha256: String,
    /// Valid until, seconds since 1970.
    pub certificate_not_after_s: u64,
    /// URL where clients ask in advance where their session is.
    pub resolve: String,
    /// Where other nodes reach its links: what `--join` takes.
    pub links: SocketAddr,
    /// Where other nodes reach its gossip.
    pub gossip: SocketAddr,
    /// Whether it takes no new sessions.
    pub draining: bool,
    /// Sessions at the moment.
    pub sessions: usize,
    /// Games served.
    pub games: usize,
    /// Its workers.
    pub workers: Vec<WorkerInfo>,
    /// The doors of the other nodes that it sees: for players whose node ends while they play.
    #[serde(default)]
    pub other_doors: Vec<DoorInfo>,
}

/// Where players may begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoorInfo {
    /// Its node.
    pub node: String,
    /// The address.
    pub address: SocketAddr,
    /// SHA-256 of the certificate that players expect.
    pub certificate_sha256: String,
}

/// A worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// Its number.
    pub worker: u8,
    /// Where players connect.
    pub address: SocketAddr,
    /// Whether it is the penalty worker.
    pub penalty: bool,
    /// Its ticking sessions.
    pub ticking: u64,
    /// Its prompt sessions.
    pub prompt: u64,
    /// CPU time a second, in thousandths of a core.
    pub busy_permille: u64,
    /// What it has counted since its start.
    pub counters: BTreeMap<String, u64>,
}

/// A game, `GET /v1/games` and `/v1/games/{game}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GameInfo {
    /// Its name.
    pub game: String,
    /// The version that new sessions run.
    pub version: u32,
    /// That version's module.
    pub module: String,
    /// Its size, bytes.
    pub size_bytes: u64,
    /// Ticks a second; 0 for an event-driven game.
    pub tick_rate: u32,
    /// Fewest players.
    pub min_players: u32,
    /// Most players.
    pub max_players: u32,
    /// Messages and datagrams of a player a second.
    pub input_rate: u32,
    /// Views a second.
    pub view_rate: u32,
    /// The durability that it needs.
    pub tier: String,
    /// What a partition does to it.
    pub partition_policy: String,
    /// Whether left seats are given away.
    pub late_join: bool,
    /// Live sessions.
    pub sessions: usize,
    /// Its versions, oldest first; filled in by `/v1/games/{game}` only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<VersionInfo>,
}

/// A version of a game.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VersionInfo {
    /// Its number.
    pub version: u32,
    /// Its module.
    pub module: String,
    /// Its size, bytes.
    pub size_bytes: u64,
    /// When it was pushed, ms since 1970.
    pub pushed_ms: u64,
}

/// The answer to `POST /v1/modules`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pushed {
    /// The game's name, as the module describes itself.
    pub game: String,
    /// The version that it is.
    pub version: u32,
    /// Whether this push made it; false if it was the newest already.
    pub new: bool,
    /// The module's SHA-256.
    pub module: String,
    /// Its size, bytes.
    pub size_bytes: u64,
    /// Time to check, rewrite and compile it, ms.
    pub compile_ms: f64,
    /// What it imports.
    pub imports: Vec<String>,
    /// How many nodes serve it already; the others follow.
    pub covers: Coverage,
}

/// `POST /v1/sessions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateSession {
    /// The game.
    pub game: String,
    /// The key; drawn if absent. Asking twice with one key gives one session.
    #[serde(default)]
    pub key: Option<String>,
    /// What the guest's `start` gets, in hexadecimal.
    #[serde(default)]
    pub config_hex: String,
    /// Whether to record it.
    #[serde(default)]
    pub record: bool,
    /// Whether find-or-create leaves it alone.
    #[serde(default)]
    pub private: bool,
    /// The criteria under which find-or-create finds it.
    #[serde(default)]
    pub criteria: String,
    /// The only node that may lead it; by the ring if absent.
    #[serde(default)]
    pub node: Option<String>,
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreatedSession {
    /// The session: `game/key@incarnation`.
    pub session: String,
    /// The game.
    pub game: String,
    /// The key.
    pub key: String,
    /// The node that leads it.
    pub node: String,
    /// Its worker.
    pub worker: u8,
    /// Where players connect.
    pub address: SocketAddr,
    /// Whether this request made it.
    pub created: bool,
}

/// A session, `GET /v1/sessions` and `/v1/sessions/{game}/{key}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// `game/key@incarnation`.
    pub session: String,
    /// The game.
    pub game: String,
    /// The key.
    pub key: String,
    /// The node that leads it, or led it.
    pub node: String,
    /// `creating`, `live`, `evicted`, `ended`, or `ending`: its followers or the store have not confirmed its end yet.
    pub state: String,
    /// Its worker; absent when it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<u8>,
    /// Players with a seat.
    pub players: usize,
    /// Seats.
    pub seats: u32,
    /// Seats kept for players on their way.
    pub reserved: usize,
    /// Since its creation, since it was evicted, or since its end, s.
    pub age_s: u64,
    /// Of one that is evicted: in how long its next timer is due, s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timer_in_s: Option<u64>,
    /// Whether it is recorded; not kept of one that ended, and `false` then.
    pub record: bool,
    /// Why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// More, for one session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<SessionDetail>,
}

/// What its worker knows of a session.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SessionDetail {
    /// The module that it runs.
    pub module: String,
    /// Its leadership's number.
    pub epoch: u64,
    /// The last entry of its log.
    pub position: u64,
    /// Its tick.
    pub tick: u64,
    /// Session time, µs.
    pub time_us: u64,
    /// Whether it stands still: it takes no inputs, or its players see nothing new.
    pub paused: bool,
    /// Why, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_why: Option<String>,
    /// Memory of the guest, bytes.
    pub memory_bytes: u64,
    /// Time of its guest's calls, µs.
    pub cpu_us: u64,
    /// The row of statistics that the guest wrote last, in hexadecimal; empty if it wrote none.
    #[serde(default)]
    pub stats_hex: String,
    /// What else is counted.
    pub counters: BTreeMap<String, u64>,
    /// Its players.
    pub players: Vec<PlayerInfo>,
    /// Objects of the store that keep parts of its log: branches that lost, sides of divergences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<String>,
    /// Why its recording ended while it goes on, if it did: what was recorded up to there stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording_ended: Option<String>,
    /// How it is replicated, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication: Option<ReplicationInfo>,
}

impl From<SessionReport> for SessionDetail {
    fn from(report: SessionReport) -> SessionDetail {
        let player = |player: PlayerReport| PlayerInfo {
            slot: player.slot,
            player: player.player.to_string(),
            connected: player.connected,
            last_input: player.last_input,
            unacknowledged: player.unacknowledged as u64,
        };
        let counters = report.usage.named().into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        SessionDetail {
            module: report.module,
            epoch: report.epoch.number,
            position: report.position,
            tick: report.tick,
            time_us: report.time_us,
            paused: report.pause.is_some(),
            paused_why: report.pause.map(|pause| why_paused(pause).to_owned()),
            memory_bytes: report.memory_bytes as u64,
            cpu_us: report.usage.call_us,
            stats_hex: crate::hex::encode(&report.stats),
            counters,
            players: report.players.into_iter().map(player).collect(),
            kept: Vec::new(),
            recording_ended: None,
            replication: report.replication.and_then(|report| ReplicationInfo::of(*report)),
        }
    }
}

fn why_paused(pause: Pause) -> &'static str {
    match pause {
        Pause::Rebuilding => "a call failed, and the state before it is built again",
        Pause::Moving => "it is about to go to another node, or into the store",
        Pause::Unsettled => "it is being settled who leads it",
        Pause::CutOff => {
            "it is consistent and cut off from its followers or the store: another node may lead it by now"
        }
        Pause::Unreleased => "as much waits for its followers or the store as may",
    }
}

/// A player in a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlayerInfo {
    /// The slot.
    pub slot: u16,
    /// Who.
    pub player: String,
    /// Whether a connection is attached.
    pub connected: bool,
    /// Messages of the player so far.
    pub last_input: u64,
    /// Messages that the player has not acknowledged.
    pub unacknowledged: u64,
}

/// `DELETE /v1/sessions/{game}/{key}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndSession {
    /// Why, for its players.
    #[serde(default)]
    pub reason: String,
}

/// `POST /v1/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssueToken {
    /// For whom.
    pub player: String,
    /// The only game that it is good for.
    #[serde(default)]
    pub game: Option<String>,
    /// The only session key that it is good for.
    #[serde(default)]
    pub session: Option<String>,
    /// How long it is good, s.
    pub ttl_s: u64,
    /// Whether its holder may have sessions created.
    #[serde(default)]
    pub may_create: bool,
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedToken {
    /// The token.
    pub token: String,
    /// For whom.
    pub player: String,
    /// Good until, seconds since 1970.
    pub expires_s: u64,
}
