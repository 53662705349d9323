//! What must hold in every run of sessions with logs.

use ringside_simulation_kit::history::Promise;

/// A condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// Nobody begins to lead a session in an epoch in which somebody led it.
    OneLeaderPerEpoch,
    /// Nobody who has seen a newer epoch says or acknowledges anything of an older one.
    NothingOlder,
    /// Each record is entitled by the one before it, and a number of the store's chain is made once.
    Entitled,
    /// What is released is safe at the tier that it names: every follower that counts has it, and the store.
    ReleaseSafe,
    /// Who releases has a right that ends before any promise does.
    PromiseOutlastsRight,
    /// At most one side of a consistent session releases.
    OneReleases,
    /// Who comes to lead a consistent session has everything that was committed.
    CommittedKept,
    /// A follower's log is its leader's.
    LogsAgree,
    /// Degraded, the committed mark stands still and *volatile* is what is named.
    DegradedSaysSo,
    /// Views of a consistent session pause in time when another side leads.
    ViewsPause,
    /// Of two branches the one with more inputs since the fork goes on.
    HealedRight,
    /// A follower's fold that differs is reported.
    DivergenceReported,
    /// Nobody is deposed for a stall or a loss within the bounds.
    NoFalsePromotion,
    /// A session whose leader is gone, or that was granted to who is, is led again within the time of a failover.
    LedInTime,
    /// After a fault a session is led again, and then served.
    LedAgain,
    /// Whoever activates an evicted session has the state after which it was evicted, and is one.
    Activated,
    /// A message that ended a process ends none that was told, as a follower, that it was about to run.
    KillsNoMore,
    /// No message is skipped unless two processes ended that records of its session named as leader: it was suspect when
    /// the second did.
    SkipsKillersAlone,
    /// Every machine writes the newest version of checkpoints that all who are there read.
    WritesWhatAllRead,
    /// Nobody is left with a checkpoint that it cannot read.
    CheckpointsRead,
    /// What ended, is evicted or went on without a machine is not led by it again when it is back, nor is anything of it
    /// released.
    StaleLeadsNothing,
    /// Answers do not beget answers without end.
    Subsides,
    /// See [`Promise::ExactlyOnce`].
    ExactlyOnce,
    /// See [`Promise::MonotonicWrites`].
    MonotonicWrites,
    /// See [`Promise::ReadYourWrites`].
    ReadYourWrites,
    /// See [`Promise::MonotonicReads`].
    MonotonicReads,
    /// See [`Promise::WritesFollowReads`].
    WritesFollowReads,
    /// See [`Promise::NothingWithdrawn`].
    NothingWithdrawn,
    /// See [`Promise::NothingLost`].
    NothingLost,
}

impl Condition {
    /// All of them.
    pub const ALL: &[Condition] = &[
        Condition::OneLeaderPerEpoch,
        Condition::NothingOlder,
        Condition::Entitled,
        Condition::ReleaseSafe,
        Condition::PromiseOutlastsRight,
        Condition::OneReleases,
        Condition::CommittedKept,
        Condition::LogsAgree,
        Condition::DegradedSaysSo,
        Condition::ViewsPause,
        Condition::HealedRight,
        Condition::DivergenceReported,
        Condition::NoFalsePromotion,
        Condition::LedInTime,
        Condition::LedAgain,
        Condition::Activated,
        Condition::KillsNoMore,
        Condition::SkipsKillersAlone,
        Condition::WritesWhatAllRead,
        Condition::CheckpointsRead,
        Condition::StaleLeadsNothing,
        Condition::Subsides,
        Condition::ExactlyOnce,
        Condition::MonotonicWrites,
        Condition::ReadYourWrites,
        Condition::MonotonicReads,
        Condition::WritesFollowReads,
        Condition::NothingWithdrawn,
        Condition::NothingLost,
    ];
}

impl From<Promise> for Condition {
    fn from(promise: Promise) -> Condition {
        match promise {
            Promise::ExactlyOnce => Condition::ExactlyOnce,
            Promise::MonotonicWrites => Condition::MonotonicWrites,
            Promise::ReadYourWrites => Condition::ReadYourWrites,
            Promise::MonotonicReads => Condition::MonotonicReads,
            Promise::WritesFollowReads => Condition::WritesFollowReads,
            Promise::NothingWithdrawn => Condition::NothingWithdrawn,
            Promise::NothingLost => Condition::NothingLost,
        }
    }
}
