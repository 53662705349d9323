//! What really is, which no machine knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringside_core::ids::{Epoch, Position};
use ringside_core::leadership::record::{Cause, Member, Record};
use ringside_simulation_kit::scheduler::Micros;

/// What really is, by session.
#[derive(Debug)]
pub struct Truth {
    /// Every record that was ever made.
    pub records: Vec<Vec<Arc<Record>>>,
    /// Who ever led in which epoch.
    pub led: BTreeMap<(usize, Epoch), Member>,
    /// The newest epoch that anybody took, and when.
    pub newest: Vec<Option<(Epoch, Micros)>>,
    /// The last position of which anybody said that it is committed, and the log's hash there.
    pub committed: Vec<(Position, u64)>,
    /// In which epoch that was.
    pub committed_in: Vec<Option<Epoch>>,
    /// What was made in the store.
    in_store: Vec<Vec<Arc<Record>>>,
}

impl Truth {
    /// Nothing yet.
    pub fn new(sessions: usize) -> Truth {
        Truth {
            records: vec![Vec::new(); sessions],
            led: BTreeMap::new(),
            newest: vec![None; sessions],
            committed: vec![(0, 0); sessions],
            committed_in: vec![None; sessions],
            in_store: vec![Vec::new(); sessions],
        }
    }

    /// A record was made. Whether a record that there is entitles its maker.
    pub fn made(&mut self, now: Micros, session: usize, record: &Arc<Record>) -> Result<(), String> {
        let all = &mut self.records[session];
        if all.contains(record) {
            return Ok(());
        }
        // An evicted session's chain is in the store from there on, where branches that are over may have taken numbers.
        let of_epoch = all.iter().filter(|before| before.epoch == record.epoch && before.number < record.number);
        let renumbered = of_epoch.max_by_key(|before| before.number).filter(|_| record.is_at_rest());
        let renumbered =
            renumbered.map(|before| Arc::new(Record { number: record.number - 1, ..Record::clone(before) }));
        let before = all.iter().filter(|before| before.number + 1 == record.number).chain(&renumbered);
        let why: Vec<String> = before
            .map(|before| before.entitles(record))
            .map(|it| it.map_or_else(|why| why.to_string(), |()| String::new()))
            .collect();
        let is_good = all.is_empty() || why.iter().any(String::is_empty);
        all.push(record.clone());
        if self.newest[session].is_none_or(|(epoch, _)| record.epoch > epoch) {
            self.newest[session] = Some((record.epoch, now));
        }
        if is_good { Ok(()) } else { Err(why.join(", ")) }
    }

    /// A record was made in the store. Whether it is the only one of its number there.
    pub fn stored(&mut self, session: usize, record: &Arc<Record>) -> bool {
        let all = &mut self.in_store[session];
        if !all.contains(record) {
            all.push(record.clone());
        }
        all.iter().filter(|other| other.number == record.number).count() == 1
    }

    /// Whether somebody took a session over from the sealed log of whoever leads it in this epoch.
    pub fn is_taken_over(&self, session: usize, epoch: Epoch) -> bool {
        let all = &self.records[session];
        let is_before = |before: &Record, later: &Record| before.number + 1 == later.number && before.epoch == epoch;
        let takes_over = |later: &Arc<Record>| {
            matches!(later.cause, Cause::Recovered { .. }) && all.iter().any(|before| is_before(before, later))
        };
        all.iter().any(takes_over)
    }

    /// Somebody begins to lead. Whether nobody did in that epoch.
    pub fn leads(&mut self, session: usize, epoch: Epoch, who: Member) -> bool {
        self.led.insert((session, epoch), who).is_none()
    }
}
