//! The log: what a session's state is the fold of. One [`Record`] an entry, appended with its outcome after it ran.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::{ModuleHash, PlayerId, Position, SessionTime, Slot};
use crate::leadership;

/// Everything that a guest can observe enters its session as one of these. Its bodies are `B`: where it is decoded they are those
/// of the frame that it came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input<B = Bytes> {
    /// The first entry: begins the session. Also runs the module's start function.
    Start {
        /// The module that folds this log.
        module: ModuleHash,
        /// Version of the rewrite that the module went through; a checkpoint fits one version only.
        rewriter: u32,
        /// Seed of the session's generator.
        seed: [u8; 32],
        /// The game's configuration, as the creator gave it.
        config: B,
    },
    /// A player asks for the free slot that the leader chose.
    Join {
        /// The slot; free before this entry.
        slot: Slot,
        /// Who asks.
        player: PlayerId,
    },
    /// A player's stay is over.
    Leave {
        /// The slot; free after this entry.
        slot: Slot,
        /// Why.
        reason: LeaveReason,
    },
    /// A reliable message; its number is the player's own count from 1, without gaps.
    Message {
        /// Whose.
        slot: Slot,
        /// Its number in the player's channel.
        number: u64,
        /// What the guest gets.
        body: B,
    },
    /// An unreliable message.
    Datagram {
        /// Whose.
        slot: Slot,
        /// What the guest gets.
        body: B,
    },
    /// One step of simulated time; the fold counts them.
    Tick,
    /// A timer of the guest's is due.
    Timer {
        /// Which.
        id: u64,
    },
    /// Another session's signal.
    Signal {
        /// `game/key` of the sender.
        source: String,
        /// What the guest gets.
        body: B,
    },
    /// The player has every reliable output up to this number: the state may forget them. Never seen by the guest.
    Acknowledge {
        /// Whose.
        slot: Slot,
        /// The last output that the player has.
        up_to: u64,
    },
    /// The session is over by decision of the host (an operator, a third trap). Never seen by the guest.
    End {
        /// Why, for players and operators.
        reason: String,
    },
    /// Who leads and who counts from here on, where the session's chain of records is its log. Never seen by the guest.
    Leadership {
        /// The record.
        record: Box<leadership::record::Record>,
    },
}

impl<B> Input<B> {
    /// The same with other bodies.
    pub fn map<C>(self, mut body_of: impl FnMut(B) -> C) -> Input<C> {
        match self {
            Input::Start { module, rewriter, seed, config } => {
                Input::Start { module, rewriter, seed, config: body_of(config) }
            }
            Input::Join { slot, player } => Input::Join { slot, player },
            Input::Leave { slot, reason } => Input::Leave { slot, reason },
            Input::Message { slot, number, body } => Input::Message { slot, number, body: body_of(body) },
            Input::Datagram { slot, body } => Input::Datagram { slot, body: body_of(body) },
            Input::Tick => Input::Tick,
            Input::Timer { id } => Input::Timer { id },
            Input::Signal { source, body } => Input::Signal { source, body: body_of(body) },
            Input::Acknowledge { slot, up_to } => Input::Acknowledge { slot, up_to },
            Input::End { reason } => Input::End { reason },
            Input::Leadership { record } => Input::Leadership { record },
        }
    }
}

/// Why a player's stay ended; the guest sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LeaveReason {
    /// The player said so.
    Left,
    /// The seat window ran out.
    TimedOut,
    /// The game kicked the player.
    Kicked,
    /// The player could not keep up with reliable messages.
    TooSlow,
    /// The host ended it.
    Removed,
}

/// Why an entry changes nothing: it ran, failed, and was undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SkipCause {
    /// The guest trapped.
    Trap,
    /// The watchdog stopped the call at its limit.
    Runaway,
    /// The call put out more than its quota.
    OutputQuota,
    /// The call broke the contract (an invalid pointer, length or UTF-8 in a host call).
    Contract,
    /// It did not run: it was about to when a process died that led the session, and may have killed it.
    Suspect,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// The state is the fold with it.
    Applied,
    /// The state is the fold without it; replays never run it. (A skipped message still uses up its number.)
    Skipped(SkipCause),
}

/// One item of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record<B = Bytes> {
    /// Its place, counted from 1 without gaps.
    pub position: Position,
    /// Session time, µs; never decreases.
    pub time_us: SessionTime,
    /// What came in.
    pub input: Input<B>,
    /// What became of it.
    pub outcome: Outcome,
}

impl<B> Record<B> {
    /// The same with other bodies.
    pub fn map<C>(self, body_of: impl FnMut(B) -> C) -> Record<C> {
        let Record { position, time_us, input, outcome } = self;
        Record { position, time_us, input: input.map(body_of), outcome }
    }

    /// Whether it was skipped as what may have killed a process: releases before do not know that.
    pub fn is_suspect(&self) -> bool {
        self.outcome == Outcome::Skipped(SkipCause::Suspect)
    }
}
