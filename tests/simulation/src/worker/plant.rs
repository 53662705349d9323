//! Planted bugs: what a run does wrong on purpose, each at the seam between a real part and its surroundings, so that
//! production code knows nothing of them. A search over seeds must catch each, by the condition that it breaks.

use super::conditions::Condition;

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plant {
    /// A message that the player was told is taken never goes to the worker.
    LosesMessage,
    /// After a reconnection the last message is sent once more under a new number.
    DoublesAfterResume,
    /// Two replies change places before the player sees them.
    SwapsReplies,
    /// A reply never comes to the player.
    LosesReply,
    /// A reply comes twice.
    DoublesReply,
    /// An old view is shown again.
    ShowsOldView,
    /// A player who was told that a newer connection took over stays, and comes back.
    StaysWhenReplaced,
    /// The node loses a piece of a recording.
    LosesRecording,
    /// One byte of a recording's records changes.
    SpoilsRecording,
    /// The worker is woken late.
    Oversleeps,
    /// The worker is woken without a reason, over and over.
    Spins,
    /// The worker keeps seats longer than was agreed.
    KeepsSeats,
    /// The node gives players no place when they ask.
    NeverResolves,
    /// A session that was given away reaches no other worker.
    LosesMovedSession,
    /// The worker's reports alternate with an older one: session time and ticks go back.
    ReportsThePast,
    /// The worker's account of what it holds grows without end.
    HoldsMore,
    /// Calls of another session are counted as over its budget.
    BlamesAnotherSession,
    /// A player is told of the wrong message that it was rejected.
    RejectsAnother,
    /// A player is never told of rejections.
    HidesRejection,
}

impl Plant {
    /// All of them, and the condition that each breaks.
    pub const ALL: &[(Plant, Condition)] = &[
        (Plant::LosesMessage, Condition::ExactlyOnce),
        (Plant::DoublesAfterResume, Condition::ExactlyOnce),
        (Plant::SwapsReplies, Condition::ExactlyOnce),
        (Plant::LosesReply, Condition::ExactlyOnce),
        (Plant::DoublesReply, Condition::ExactlyOnce),
        (Plant::ShowsOldView, Condition::ViewsGrow),
        (Plant::StaysWhenReplaced, Condition::NewestWins),
        (Plant::LosesRecording, Condition::Replays),
        (Plant::SpoilsRecording, Condition::Replays),
        (Plant::Oversleeps, Condition::OnSchedule),
        (Plant::Spins, Condition::Sleeps),
        (Plant::KeepsSeats, Condition::SeatWindow),
        (Plant::NeverResolves, Condition::EverybodyPlays),
        (Plant::LosesMovedSession, Condition::EverybodyPlays),
        (Plant::ReportsThePast, Condition::TimeGrows),
        (Plant::HoldsMore, Condition::Bounded),
        (Plant::BlamesAnotherSession, Condition::Moves),
        (Plant::RejectsAnother, Condition::Rejections),
        (Plant::HidesRejection, Condition::Rejections),
    ];
}
