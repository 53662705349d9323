//! The small types that cross the boundary between a game and its host. No behaviour beyond conversions.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A player's small number in a session, from 0 to the game's player limit less one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot(pub u16);

impl Slot {
    /// The slot as an index into a game's own arrays.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A timer that a game armed; what [`Game::timer`](crate::Game::timer) gets when it fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timer(pub u64);

/// Why a player's stay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LeaveReason {
    /// The player said so.
    Left,
    /// The player's seat was kept for the seat window, and nobody came back.
    TimedOut,
    /// The game kicked the player.
    Kicked,
    /// The player could not keep up with reliable messages.
    TooSlow,
    /// The host ended the stay.
    Removed,
}

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LogLevel {
    /// For the author.
    Debug,
    /// Ordinary.
    Info,
    /// Odd.
    Warn,
    /// Wrong.
    Error,
}

/// A game's "no", with a reason that the player or creator reads. Anything that turns into text becomes one by
/// `.into()` or `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(pub String);

impl<T: fmt::Display> From<T> for Refusal {
    fn from(reason: T) -> Self {
        Refusal(reason.to_string())
    }
}
