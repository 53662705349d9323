//! What `ringside-between` is told: what to run, and when one of the two processes of a handover is to end.

use std::str::FromStr;

/// The variable that names the successor's program.
pub const RUNS: &str = "BETWEEN_RUNS";
/// The variable that names the [`Moment`].
pub const UNTIL: &str = "BETWEEN_UNTIL";

/// When which of the two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The successor, when it has all sessions and is about to get the sockets.
    SuccessorBeforeTake,
    /// The successor, when it has the sockets and the old process does not know.
    SuccessorAfterTake,
    /// The successor, when the old process knows: that ends as well.
    SuccessorAfterTaken,
    /// The old process, when the successor has all sessions and no socket.
    OldBeforeTake,
    /// The old process, when the successor has the sockets.
    OldAfterTake,
    /// Nobody, but the old process does not run any more when it is to hear that the successor has the sockets.
    OldStandsStill,
}

impl Moment {
    const ALL: [Moment; 6] = [
        Moment::SuccessorBeforeTake,
        Moment::SuccessorAfterTake,
        Moment::SuccessorAfterTaken,
        Moment::OldBeforeTake,
        Moment::OldAfterTake,
        Moment::OldStandsStill,
    ];

    /// Its name, as [`UNTIL`] has it.
    pub fn name(self) -> &'static str {
        match self {
            Moment::SuccessorBeforeTake => "successor-before-take",
            Moment::SuccessorAfterTake => "successor-after-take",
            Moment::SuccessorAfterTaken => "successor-after-taken",
            Moment::OldBeforeTake => "old-before-take",
            Moment::OldAfterTake => "old-after-take",
            Moment::OldStandsStill => "old-stands-still",
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Moment, String> {
        let named = Moment::ALL.into_iter().find(|moment| moment.name() == text);
        named.ok_or_else(|| format!("{text:?} is no moment of a handover"))
    }
}
