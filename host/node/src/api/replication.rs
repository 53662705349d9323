//! What is said of a session that is replicated: who leads and follows it, how far each is, and how that came to be; and
//! what an operator orders about it.

use ringside_core::ids::Epoch;
use ringside_core::leadership::leader::Lag;
use ringside_core::leadership::record::{Cause, Member};
use ringside_worker::replication::{Change, ReplicationReport};
use serde::{Deserialize, Serialize};

/// How a session is replicated, as its leader knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicationInfo {
    /// When reliable output leaves: `volatile`, `replicated` or `durable`.
    pub tier: String,
    /// What a partition does: `consistent` or `available`.
    pub policy: String,
    /// Followers that it should have.
    pub wanted: usize,
    /// Whether fewer have its log than its tier promises: acknowledgements say so.
    pub degraded: bool,
    /// Who leads.
    pub leader: MemberInfo,
    /// Who follows.
    pub followers: Vec<FollowerInfo>,
    /// The number of its leadership record.
    pub record: u64,
    /// The epoch in which it is led.
    pub epoch: EpochInfo,
    /// The epochs of its log, oldest first, each with the first position that is its.
    pub lineage: Vec<TermInfo>,
    /// The end of its log.
    pub position: u64,
    /// Nothing up to here is ever withdrawn.
    pub committed: u64,
    /// The position of its last checkpoint.
    pub checkpoint: u64,
    /// Of a durable session: up to where the store has its log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<u64>,
    /// Changes of its leader, oldest first.
    pub history: Vec<ChangeInfo>,
}

/// A worker of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberInfo {
    /// The node, by number.
    pub node: String,
    /// Its worker.
    pub worker: u8,
}

/// A worker that follows a session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowerInfo {
    /// The node, by number.
    pub node: String,
    /// Its worker.
    pub worker: u8,
    /// Whether the leadership record counts it: outputs wait for it, and it may come to lead.
    pub in_sync: bool,
    /// Entries that its log lacks.
    pub lag: u64,
    /// What it does with the log, as the game says: `replays` it as it comes, or `keeps the log` and folds it before it leads.
    #[serde(default)]
    pub kind: String,
    /// Entries that it has not replayed.
    pub replay_lag: u64,
    /// How long ago the newest thing was sent that it has acknowledged, ms; none while it has acknowledged nothing. Heartbeats
    /// go every 50 ms where there is nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_ms: Option<u64>,
}

/// An epoch. Two with one number are of two nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochInfo {
    /// Counts the session's leaders.
    pub number: u64,
    /// The node that leads in it.
    pub node: String,
    /// Which run of it.
    pub generation: u64,
}

/// A part of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TermInfo {
    /// Whose it is.
    pub epoch: EpochInfo,
    /// Its first position.
    pub first: u64,
}

/// A change of a session's leader.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeInfo {
    /// Who leads since then.
    pub leader: MemberInfo,
    /// In which epoch.
    pub epoch: EpochInfo,
    /// After which entry.
    pub position: u64,
    /// Why: `created`, `promoted` (the leader was gone), `granted` (it was moved by an order), `drained` (its node left),
    /// `rebalanced` (the ring names this node since it changed), `relieved` (its node carried too much), or another word.
    pub cause: String,
}

/// `POST /v1/sessions/{game}/{key}/move`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveSession {
    /// The node that is to lead it: its number, or the beginning of it.
    pub to: String,
}

/// What came of that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// The session.
    pub session: String,
    /// The node that led it.
    pub from: String,
    /// The node that leads it.
    pub to: String,
    /// Whether it led it before.
    pub was_there: bool,
    /// How long that took, ms: a node that did not follow it had to come to first.
    pub took_ms: u64,
}

/// `POST /v1/cluster/{node}/kill`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Killed {
    /// The node that is ending itself.
    pub node: String,
    /// Its process.
    pub pid: u32,
}

impl From<Member> for MemberInfo {
    fn from(member: Member) -> MemberInfo {
        MemberInfo { node: member.node.id.to_string(), worker: member.worker.0 }
    }
}

impl From<Epoch> for EpochInfo {
    fn from(epoch: Epoch) -> EpochInfo {
        let node = ringside_core::ids::NodeId(epoch.node).to_string();
        EpochInfo { number: epoch.number, node, generation: epoch.node_generation }
    }
}

impl From<Change> for ChangeInfo {
    fn from(change: Change) -> ChangeInfo {
        let Change { leader, epoch, position, cause } = change;
        ChangeInfo { leader: leader.into(), epoch: epoch.into(), position, cause: word(cause) }
    }
}

impl ReplicationInfo {
    /// What a worker says; nothing of a session that it does not know the record of.
    pub fn of(report: ReplicationReport) -> Option<ReplicationInfo> {
        let record = report.record?;
        let kind = if report.keeps_log { "keeps the log" } else { "replays" };
        let follower = |lag: Lag| FollowerInfo {
            node: lag.follower.node.id.to_string(),
            worker: lag.follower.worker.0,
            in_sync: record.counts(lag.follower),
            lag: lag.entries,
            kind: kind.to_owned(),
            replay_lag: lag.unfolded,
            late_ms: lag.late_us.map(|late| late / 1000),
        };
        let term =
            |term: &ringside_core::leadership::lineage::Term| TermInfo { epoch: term.epoch.into(), first: term.first };
        Some(ReplicationInfo {
            tier: report.terms.tier.to_string(),
            policy: report.terms.policy.to_string(),
            wanted: report.terms.followers,
            degraded: report.is_degraded,
            leader: record.leader.into(),
            followers: report.lags.into_iter().map(follower).collect(),
            record: record.number,
            epoch: record.epoch.into(),
            lineage: record.lineage.terms().iter().map(term).collect(),
            position: report.end,
            committed: report.committed,
            checkpoint: report.checkpoint,
            stored: report.stored,
            history: report.history.into_iter().map(ChangeInfo::from).collect(),
        })
    }
}

/// A cause, in a word.
fn word(cause: Cause) -> String {
    match cause {
        Cause::Created => "created",
        Cause::Promoted => "promoted",
        Cause::Granted => "granted",
        Cause::Drained => "drained",
        Cause::Rebalanced => "rebalanced",
        Cause::Relieved => "relieved",
        Cause::Removed => "removed",
        Cause::Admitted => "admitted",
        Cause::Recovered { .. } => "recovered",
        Cause::Healed { .. } => "healed",
        Cause::Raised => "raised",
        Cause::Evicted => "evicted",
        Cause::Activated => "activated",
        Cause::Ended => "ended",
    }
    .to_owned()
}
