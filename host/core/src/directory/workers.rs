//! Which worker a new session goes to: the least loaded one that suits it. Load is CPU time, never a count; sessions
//! that tick and sessions that answer at once are kept apart while that costs little.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::WorkerId;

/// How a session uses its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Pace {
    /// On a grid of ticks: its worker may sleep between them.
    Ticking,
    /// At once: its worker wakes for each packet.
    Prompt,
}

/// CPU time a second that a session is taken to cost until its worker reports, µs. (An arena of eight players at
/// 20 Hz costs 2 ms a second, an idle chess game next to nothing.)
const ASSUMED_US: u64 = 1_000;
/// What opening an empty worker counts for, µs a second: a twentieth of a core.
const EMPTY_SURCHARGE_US: u64 = 50_000;
/// What mixing ticking and prompt sessions on a worker counts for, µs a second: a fifth of a core.
const MIXED_SURCHARGE_US: u64 = 200_000;

/// What is on a worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkerLoad {
    /// CPU time a second in the last report, µs.
    pub busy_us: u64,
    /// Sessions placed since that report.
    pub placed_since: u64,
    /// Its ticking sessions.
    pub ticking: u64,
    /// Its prompt sessions.
    pub prompt: u64,
    /// Whether it takes new sessions.
    pub accepts: bool,
}

impl WorkerLoad {
    fn count_mut(&mut self, pace: Pace) -> &mut u64 {
        match pace {
            Pace::Ticking => &mut self.ticking,
            Pace::Prompt => &mut self.prompt,
        }
    }

    /// What placing a session of `pace` here would cost, µs a second.
    fn cost_us(&self, pace: Pace) -> u64 {
        let others = if pace == Pace::Ticking { self.prompt } else { self.ticking };
        let surcharge = match (self.ticking + self.prompt, others) {
            (0, _) => EMPTY_SURCHARGE_US,
            (_, 0) => 0,
            _ => MIXED_SURCHARGE_US,
        };
        self.busy_us.saturating_add(self.placed_since.saturating_mul(ASSUMED_US)).saturating_add(surcharge)
    }
}

/// The workers of a node.
#[derive(Debug, Clone, Default)]
pub struct Workers(BTreeMap<WorkerId, WorkerLoad>);

impl Workers {
    /// All workers with their loads.
    pub fn iter(&self) -> impl Iterator<Item = (WorkerId, &WorkerLoad)> {
        self.0.iter().map(|(id, load)| (*id, load))
    }

    pub(super) fn add(&mut self, worker: WorkerId) {
        self.0.entry(worker).or_default().accepts = true;
    }

    pub(super) fn close(&mut self, worker: WorkerId) {
        if let Some(load) = self.0.get_mut(&worker) {
            load.accepts = false;
        }
    }

    pub(super) fn report(&mut self, worker: WorkerId, busy_us: u64) {
        if let Some(load) = self.0.get_mut(&worker) {
            load.busy_us = busy_us;
            load.placed_since = 0;
        }
    }

    /// A session is there now. A worker that was never added (the penalty worker) is counted but takes none.
    pub(super) fn placed(&mut self, worker: WorkerId, pace: Pace) {
        let load = self.0.entry(worker).or_default();
        load.placed_since += 1;
        *load.count_mut(pace) += 1;
    }

    pub(super) fn left(&mut self, worker: WorkerId, pace: Pace) {
        if let Some(load) = self.0.get_mut(&worker) {
            let count = load.count_mut(pace);
            *count = count.saturating_sub(1);
        }
    }

    /// The cheapest worker for a session of `pace`; ties go to the one with fewer sessions, then to the lower number.
    pub(super) fn choose(&self, pace: Pace) -> Option<WorkerId> {
        self.0
            .iter()
            .filter(|(_, load)| load.accepts)
            .min_by_key(|(id, load)| (load.cost_us(pace), load.ticking + load.prompt, **id))
            .map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Workers {
        let mut workers = Workers::default();
        (0..3).for_each(|id| workers.add(WorkerId(id)));
        workers
    }

    fn place(workers: &mut Workers, pace: Pace) -> WorkerId {
        let worker = workers.choose(pace).unwrap();
        workers.placed(worker, pace);
        worker
    }

    #[test]
    fn paces_are_kept_apart() {
        let mut workers = three();
        let ticking = place(&mut workers, Pace::Ticking);
        let prompt = place(&mut workers, Pace::Prompt);
        assert_ne!(ticking, prompt);
        assert_eq!(place(&mut workers, Pace::Ticking), ticking);
        assert_eq!(place(&mut workers, Pace::Prompt), prompt);
    }

    #[test]
    fn a_loaded_worker_makes_way_for_an_empty_one() {
        let mut workers = three();
        let first = place(&mut workers, Pace::Ticking);
        workers.report(first, 60_000);
        assert_ne!(place(&mut workers, Pace::Ticking), first);
    }

    #[test]
    fn mixing_is_chosen_when_keeping_apart_costs_more() {
        let mut workers = Workers::default();
        workers.add(WorkerId(0));
        workers.add(WorkerId(1));
        workers.placed(WorkerId(0), Pace::Ticking);
        workers.placed(WorkerId(1), Pace::Prompt);
        workers.report(WorkerId(0), 900_000);
        workers.report(WorkerId(1), 10_000);
        assert_eq!(workers.choose(Pace::Ticking), Some(WorkerId(1)));
    }

    #[test]
    fn unreported_sessions_count_before_the_next_report() {
        let mut workers = three();
        let used: std::collections::BTreeSet<_> = (0..200).map(|_| place(&mut workers, Pace::Ticking)).collect();
        assert_eq!(used.len(), 3);
    }

    #[test]
    fn closed_and_penalty_workers_take_nothing() {
        let mut workers = Workers::default();
        workers.add(WorkerId(0));
        workers.placed(WorkerId(9), Pace::Prompt);
        workers.close(WorkerId(0));
        assert_eq!(workers.choose(Pace::Prompt), None);
    }
}
