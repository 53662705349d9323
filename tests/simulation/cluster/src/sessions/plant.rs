//! Planted bugs: what a run does wrong on purpose, at the seam between the pure core and its worker. A search over seeds
//! must catch each, by the condition that it breaks.

use super::conditions::Condition;
use super::plan::Mode;

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plant {
    /// A leader does not hear of newer epochs.
    SkipsTheFence,
    /// A promoted follower leads on in the epoch of its leader.
    ReusesAnEpoch,
    /// Output leaves before it is safe.
    ReleasesEarly,
    /// Inputs that are held back for a move are acknowledged and dropped.
    DropsTheQueueOnAMove,
    /// A follower that was taken out believes that it counts.
    PromotesOneThatIsNotInSync,
    /// After a stall the first turn goes by the clock of before.
    TrustsAStalledClock,
    /// The right to release counts from when an acknowledgement came.
    CountsALeaseFromItsAnswer,
    /// A follower counts its promise from before it acknowledged.
    HurriesAPromise,
    /// … and from after that.
    DragsAPromise,
    /// A follower hears of a grant from who was granted the lead alone.
    HearsOfNoGrant,
    /// A follower acknowledges entries that it drops.
    AcknowledgesBeforeKeeping,
    /// A follower keeps what its new leader does not have.
    KeepsWhatNeverWas,
    /// A leader takes a message that it has already.
    AppliesTwice,
    /// Players are not told that something was withdrawn.
    HidesARewind,
    /// A degraded leader says that everything is committed.
    CommitsWhileDegraded,
    /// A degraded leader's acknowledgements name the session's tier.
    NamesTheWrongTier,
    /// Whoever makes a record believes the first answer.
    BelievesTheStore,
    /// The store makes a number twice.
    MakesANumberTwice,
    /// A candidate answers its own questions, and has nobody reached by others.
    AsksNobody,
    /// Who granted the lead goes on to lead.
    LeadsOnAfterTheGrant,
    /// Views of a paused session go on.
    ShowsAPausedSession,
    /// A newcomer counts before it has the log.
    AdmitsTooEarly,
    /// A log is said to be stored when it is sent to the store.
    ConfirmsTheUnstored,
    /// A leader miscounts the inputs of its branch.
    MiscountsABranch,
    /// Hashes are not compared.
    ComparesNothing,
    /// Entries that were lost are not sent again.
    ForgetsToResend,
    /// Nobody new is recruited.
    RecruitsNobody,
    /// A new leader's log does not say who appended what.
    ForgetsItsLineage,
    /// An acknowledgement is acknowledged.
    AcknowledgesAcknowledgements,
    /// What is put into the store of an evicted session is an older state.
    EvictsAnOldState,
    /// Whoever activates a session does not look whether its record is the one that was made.
    ActivatesTwice,
    /// A new leader runs what its follower's table says was about to run when the one before died.
    RunsAKillerAgain,
    /// A leader that is silent is taken for one whose process has ended.
    TakesSilenceForDeath,
    /// A machine writes the newest version that it has, whoever is to read it.
    WritesNewest,
    /// A checkpoint that is sent again is what was written the first time.
    SendsTheSameBytesAgain,
    /// A state that cannot be read is taken for none.
    BeginsAnewWhatItCannotRead,
    /// Of several messages that came at once two change places.
    TakesOutOfOrder,
    /// A view says that what is still to come is committed.
    CommitsWhatIsToCome,
    /// A view says that all that it shows is committed.
    CommitsWhatItShows,
    /// What is left of a session's log at the end lacks its last entries.
    LosesTheTail,
    /// A machine's clock stands still while it sleeps, so that what it was promised before seems to be good yet.
    SleepsWithItsClock,
    /// That a session is over is not said in its chain of records, nor remembered.
    ForgetsTheEnd,
}

impl Plant {
    /// In which runs it can be seen.
    pub fn modes(self) -> &'static [Mode] {
        match self {
            Plant::SleepsWithItsClock | Plant::ForgetsTheEnd => &[Mode::Away],
            _ => &[Mode::Bounded, Mode::Unbounded],
        }
    }

    /// All of them, and the condition that each breaks.
    pub const ALL: &[(Plant, Condition)] = &[
        (Plant::SkipsTheFence, Condition::NothingOlder),
        (Plant::ReusesAnEpoch, Condition::OneLeaderPerEpoch),
        (Plant::ReleasesEarly, Condition::ReleaseSafe),
        (Plant::DropsTheQueueOnAMove, Condition::ReadYourWrites),
        (Plant::PromotesOneThatIsNotInSync, Condition::Entitled),
        (Plant::TrustsAStalledClock, Condition::OneReleases),
        (Plant::CountsALeaseFromItsAnswer, Condition::OneReleases),
        (Plant::HurriesAPromise, Condition::PromiseOutlastsRight),
        (Plant::DragsAPromise, Condition::LedInTime),
        (Plant::HearsOfNoGrant, Condition::LedInTime),
        (Plant::AcknowledgesBeforeKeeping, Condition::LogsAgree),
        (Plant::KeepsWhatNeverWas, Condition::LogsAgree),
        (Plant::AppliesTwice, Condition::ExactlyOnce),
        (Plant::HidesARewind, Condition::MonotonicReads),
        (Plant::CommitsWhileDegraded, Condition::DegradedSaysSo),
        (Plant::NamesTheWrongTier, Condition::DegradedSaysSo),
        (Plant::BelievesTheStore, Condition::OneReleases),
        (Plant::MakesANumberTwice, Condition::Entitled),
        (Plant::AsksNobody, Condition::NoFalsePromotion),
        (Plant::LeadsOnAfterTheGrant, Condition::NothingOlder),
        (Plant::ShowsAPausedSession, Condition::ViewsPause),
        (Plant::AdmitsTooEarly, Condition::ReleaseSafe),
        (Plant::ConfirmsTheUnstored, Condition::ReleaseSafe),
        (Plant::MiscountsABranch, Condition::HealedRight),
        (Plant::ComparesNothing, Condition::DivergenceReported),
        (Plant::ForgetsToResend, Condition::LedAgain),
        (Plant::RecruitsNobody, Condition::LedAgain),
        (Plant::ForgetsItsLineage, Condition::CommittedKept),
        (Plant::AcknowledgesAcknowledgements, Condition::Subsides),
        (Plant::EvictsAnOldState, Condition::CommittedKept),
        (Plant::ActivatesTwice, Condition::Activated),
        (Plant::RunsAKillerAgain, Condition::KillsNoMore),
        (Plant::TakesSilenceForDeath, Condition::SkipsKillersAlone),
        (Plant::WritesNewest, Condition::WritesWhatAllRead),
        (Plant::SendsTheSameBytesAgain, Condition::CheckpointsRead),
        (Plant::BeginsAnewWhatItCannotRead, Condition::CommittedKept),
        (Plant::TakesOutOfOrder, Condition::MonotonicWrites),
        (Plant::CommitsWhatIsToCome, Condition::WritesFollowReads),
        (Plant::CommitsWhatItShows, Condition::NothingWithdrawn),
        (Plant::LosesTheTail, Condition::NothingLost),
        (Plant::SleepsWithItsClock, Condition::OneReleases),
        (Plant::ForgetsTheEnd, Condition::StaleLeadsNothing),
    ];
}
