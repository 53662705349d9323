//! A model store: each session's chain of records by conditional create, and which entries of which logs it has. Old
//! records are cleaned away, the newest never.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ringside_core::ids::Position;
use ringside_core::leadership::record::Record;
use ringside_simulation_kit::scheduler::Micros;

use super::plan::StoreMood;

/// A store.
#[derive(Debug)]
pub struct Store {
    /// Each session's chain.
    chains: Vec<BTreeMap<u64, Arc<Record>>>,
    /// Hashes of logs at positions, by session: all entries up to there are in the store.
    kept: BTreeSet<(usize, Position, u64)>,
    mood: StoreMood,
    mood_until: Micros,
}

impl Store {
    /// Empty.
    pub fn new(sessions: usize) -> Store {
        let chains = vec![BTreeMap::new(); sessions];
        Store { chains, kept: BTreeSet::new(), mood: StoreMood::Well, mood_until: 0 }
    }

    /// It is not well for a while.
    pub fn be(&mut self, mood: StoreMood, until: Micros) {
        (self.mood, self.mood_until) = (mood, until);
    }

    /// How it is.
    pub fn mood(&self, now: Micros) -> StoreMood {
        if now < self.mood_until { self.mood } else { StoreMood::Well }
    }

    /// Makes a record unless its number is taken. Whether it was made now.
    pub fn create(&mut self, session: usize, record: &Arc<Record>) -> bool {
        let chain = &mut self.chains[session];
        let is_free = !chain.contains_key(&record.number);
        if is_free {
            chain.insert(record.number, record.clone());
        }
        is_free
    }

    /// Puts a record where another may be.
    pub fn overwrite(&mut self, session: usize, record: &Arc<Record>) {
        self.chains[session].insert(record.number, record.clone());
    }

    /// The newest record.
    pub fn newest(&self, session: usize) -> Option<&Arc<Record>> {
        self.chains[session].last_key_value().map(|(_, record)| record)
    }

    /// Cleans all but the newest away.
    pub fn clean(&mut self, session: usize) {
        while self.chains[session].len() > 1 {
            self.chains[session].pop_first();
        }
    }

    /// Has a log up to a position.
    pub fn keep(&mut self, session: usize, position: Position, hash: u64) {
        self.kept.insert((session, position, hash));
    }

    /// Whether it has a log up to a position at least.
    pub fn has(&self, session: usize, position: Position, hash: u64) -> bool {
        self.kept.contains(&(session, position, hash))
    }
}
