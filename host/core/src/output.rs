//! What a guest's call puts out, in order. Outputs count only when their call has returned.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::Slot;

/// One output of a call. Views and statistics are registers in the state; the output says that one was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// A reliable message with its number in the player's channel; also kept in the state until acknowledged.
    Send {
        /// To whom.
        slot: Slot,
        /// Its number, from 1 without gaps.
        number: u64,
        /// What the client gets.
        body: Bytes,
    },
    /// An unreliable message; never kept.
    Datagram {
        /// To whom.
        slot: Slot,
        /// What the client gets.
        body: Bytes,
    },
    /// The slot's view was written (its bytes are in the state).
    View {
        /// Whose.
        slot: Slot,
    },
    /// The statistics row was written.
    Stats,
    /// An event for the outside.
    Event {
        /// Its bytes.
        body: Bytes,
    },
    /// A line of the guest's log.
    Log {
        /// How much it matters.
        level: LogLevel,
        /// The line.
        line: String,
    },
    /// A message for another session.
    Signal {
        /// `game/key`.
        session: String,
        /// Its bytes.
        body: Bytes,
    },
    /// The guest wants the player gone; the leader appends `Leave`.
    Kick {
        /// Whom.
        slot: Slot,
        /// Why, for the player.
        reason: String,
    },
    /// A reliable message did not fit the player's unacknowledged outputs and was dropped; the leader appends `Leave`.
    TooSlow {
        /// Whom.
        slot: Slot,
    },
    /// The guest refused a `Join`; the slot is free again.
    JoinRefused {
        /// Which.
        slot: Slot,
        /// Why, for the player.
        reason: String,
    },
    /// The guest refused its configuration in `Start`: the session never was.
    StartRefused {
        /// Why, for the creator.
        reason: String,
    },
    /// The session is over, with this result.
    Finish {
        /// Its result.
        outcome: Bytes,
    },
}

/// How much a line of a guest's log matters.
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
