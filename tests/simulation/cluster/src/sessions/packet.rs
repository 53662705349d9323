//! What travels between machines and players.

use ringside_core::ids::{Epoch, Node, Position};
use ringside_core::leadership::lineage::Lineage;
use ringside_core::leadership::message::{Message, Party};
use ringside_core::leadership::record::Member;
use ringside_simulation_kit::history::Heard;

use super::log::{Entry, Log};
use super::releases::Known;

/// A packet.
#[derive(Debug, Clone)]
pub enum Packet {
    /// Between members: the entries are those of a batch.
    Member { session: usize, from: Party, to: Member, message: Message, entries: Vec<Entry> },
    /// To a session's home.
    Home { session: usize, from: Member, message: Message },
    /// Others try to reach somebody: goes along a path and back to who asked.
    Probe { session: usize, asker: Node, whom: Party, target: Option<Node>, path: [usize; 5], at: usize },
    /// Somebody looks whether a run of a machine has ended.
    Knock { session: usize, asker: (usize, Node), whom: Node },
    /// It has.
    Refused { session: usize, asker: Node, whom: Node },
    /// From a leader to a follower that lacks entries which are not there any more.
    Checkpoint { session: usize, to: Member, checkpoint: Box<Checkpoint> },
    /// Whom a machine has heard of.
    Facts(Vec<Option<Known>>),
    /// A player says where it is and what it wants.
    Hello { session: usize, player: usize, hello: Hello },
}

/// A state on its way.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// In which version it is written.
    pub version: u16,
    /// Who appended what.
    pub lineage: Lineage,
    /// The log that it is the state of.
    pub log: Log,
}

/// What a player says.
#[derive(Debug, Clone)]
pub struct Hello {
    /// The newest epoch that it has heard of.
    pub epoch: Option<Epoch>,
    /// Who appended what, as it was told with that.
    pub lineage: Lineage,
    /// What it has seen in that epoch.
    pub position: Position,
    /// What it was told to be committed.
    pub committed: Position,
    /// Messages that it wants in: from the one after this, up to that.
    pub messages: (u64, u64),
}

/// What a player is told.
#[derive(Debug, Clone)]
pub enum Said {
    /// A view.
    View {
        /// The leader's epoch.
        epoch: Epoch,
        /// Whose hello it answers: (epoch, position).
        answers: (Option<Epoch>, Position),
        /// What the player saw after this is withdrawn; whether that was committed on a branch that is a fork now.
        rewound: Option<(Position, bool)>,
        /// Who appended what.
        lineage: Lineage,
        /// The view.
        heard: Heard,
        /// Messages up to here are safe at the session's tier.
        safe: u64,
    },
    /// Another branch goes on.
    Superseded {
        /// The epoch that is over.
        over: Epoch,
        /// The winner's.
        by: Epoch,
        /// Where they parted.
        fork: Position,
        /// Hash there.
        slot: usize,
    },
    /// The leader is elsewhere.
    Elsewhere {
        /// On that machine.
        slot: usize,
    },
}
