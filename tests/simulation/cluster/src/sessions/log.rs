//! A session's log in memory, and its fold: a hash of everything, and what of each player was applied. The state after
//! every entry is kept, so that a truncated log has its state at once.

use std::sync::Arc;

use ringside_core::ids::{Epoch, Position};
use ringside_core::leadership::record::Record;

/// Players of a session.
pub const PLAYERS: usize = 3;

/// What was appended.
#[derive(Debug, Clone)]
pub enum Item {
    /// A player's message.
    Input { player: usize, number: u64 },
    /// Time.
    Tick,
    /// A leadership record, where the chain is in the log.
    Record(Arc<Record>),
}

/// An entry.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Who appended it.
    pub epoch: Epoch,
    /// What.
    pub item: Item,
}

/// The fold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct State {
    /// Of all entries.
    pub hash: u64,
    /// Number of each player's last message.
    pub last: [u64; PLAYERS],
    /// How many of each player's messages were applied.
    pub count: [u64; PLAYERS],
    /// Player inputs in all.
    pub inputs: u64,
}

impl State {
    fn after(&self, entry: &Entry) -> State {
        let mut next = *self;
        let what = match &entry.item {
            Item::Input { player, number } => {
                next.last[*player] = *number;
                next.count[*player] += 1;
                next.inputs += 1;
                (*player as u64 + 1) << 32 | *number
            }
            Item::Tick => 1,
            Item::Record(record) => record.number << 16 | 2,
        };
        for word in [entry.epoch.number, entry.epoch.node, entry.epoch.node_generation, what] {
            next.hash = (next.hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
        next
    }
}

/// A log.
#[derive(Debug, Clone, Default)]
pub struct Log {
    entries: Vec<Entry>,
    states: Vec<State>,
}

impl Log {
    /// Its last position.
    pub fn end(&self) -> Position {
        self.entries.len() as Position
    }

    /// Appends an entry.
    pub fn push(&mut self, entry: Entry) {
        let next = self.state(self.end()).unwrap_or_default().after(&entry);
        self.entries.push(entry);
        self.states.push(next);
    }

    /// The state after a position, if the log reaches it.
    pub fn state(&self, position: Position) -> Option<State> {
        match position {
            0 => Some(State::default()),
            _ => self.states.get(position as usize - 1).copied(),
        }
    }

    /// The newest state.
    pub fn newest(&self) -> State {
        self.states.last().copied().unwrap_or_default()
    }

    /// Entries after a position, up to another.
    pub fn between(&self, from: Position, to: Position) -> Vec<Entry> {
        self.entries.get(from as usize..to as usize).unwrap_or_default().to_vec()
    }

    /// All entries.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Forgets what comes after a position.
    pub fn truncate(&mut self, to: Position) {
        self.entries.truncate(to as usize);
        self.states.truncate(to as usize);
    }

    /// Player inputs after a position.
    pub fn inputs_since(&self, position: Position) -> u64 {
        self.newest().inputs - self.state(position).map_or(0, |state| state.inputs)
    }
}
