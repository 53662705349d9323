//! What must hold in every run of the worker's simulator.

/// A condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// Every message is applied once and in order, and every reply comes once and in order: the echo's running hash says so.
    ExactlyOnce,
    /// Session time, ticks and positions of a session never decrease.
    TimeGrows,
    /// The views that a player is shown never go back in ticks, nor are they of a tick that has not been.
    ViewsGrow,
    /// Of several connections of a player the one that was attached last is the player.
    NewestWins,
    /// Queues and tables stay within their bounds.
    Bounded,
    /// A seat without a connection is given up in the first turn after the seat window, and not before.
    SeatWindow,
    /// Every recording folds to the recorded hashes, to its end.
    Replays,
    /// Ticks come when they are due; what is given up is counted, and only after a stall or a pause.
    OnSchedule,
    /// A worker takes no turn for which there is no reason.
    Sleeps,
    /// When the faults are over, everybody who has not left for good is attached, and everything said is answered.
    EverybodyPlays,
    /// A message that a game failed on is told as rejected, with the cause; a good one is not.
    Rejections,
    /// A session that overran its budget too often goes on at the penalty worker.
    Moves,
}

impl Condition {
    /// All of them.
    pub const ALL: &[Condition] = &[
        Condition::ExactlyOnce,
        Condition::TimeGrows,
        Condition::ViewsGrow,
        Condition::NewestWins,
        Condition::Bounded,
        Condition::SeatWindow,
        Condition::Replays,
        Condition::OnSchedule,
        Condition::Sleeps,
        Condition::EverybodyPlays,
        Condition::Rejections,
        Condition::Moves,
    ];
}
