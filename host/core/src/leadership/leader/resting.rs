//! Eviction: the session goes into the store and is led by nobody until somebody asks for it.
//!
//! ```text
//!            followers count, and the chain is in the log
//!   leading ──────────────────────► handing the chain to the store ──every one of them knows──┐
//!      │  ▲ ◄── one is silent for HOLD_US ──┘                                                  ▼
//!      └──┼──────────────────────────────────────────────────────────────────────────► making the record
//!         └◄── somebody else made the next one, in a newer epoch: deposed ──────────────────── │ it is made
//!                                                                                              ▼
//!                              over (evicted) ◄── who counted knows, or TELL_US ────────── telling
//! ```
//!
//! **One record decides**, and it is in the store: made, the session is evicted, whatever becomes of its leader; not made,
//! it goes on at its leader or at a follower of it. Where the chain is in the log, a follower does not look into the store
//! before it promotes, and could go on beside what is evicted. So the chain is first handed to the store by an entry: a
//! record of cause [`Cause::Evicted`] that still names the followers. Whoever has it makes the next record in the store,
//! leader and followers alike ([`Record::next_home`]), and of two who try one succeeds. That is why it must count, and so
//! be known to each that counts, before the leader makes its own.
//!
//! From the beginning on nothing is appended and nothing waits to be released, so the state that the shell stored before
//! is the session. A try in the store is never given up: until it is settled nobody here knows whether the session is
//! led.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::ids::Position;
use crate::leadership::message::Output;
use crate::leadership::newer;
use crate::leadership::record::{Cause, ChainHome, Record};
use crate::leadership::timing::{HOLD_US, TELL_US};

use super::{Fence, Leader, MoveError, Phase};

/// How far an eviction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The record that hands the chain to the store is to count by then.
    Handing { until: u64 },
    /// The record that evicts it is being made, since then.
    Making { since: u64 },
    /// Those who counted are told, until then; the record was on its way since then.
    Telling { until: u64, since: u64 },
}

impl Leader {
    /// Evicts the session. Its state at the end of its log is in the store already. Nothing is appended from now on:
    /// [`Output::Evicted`] ends it, or [`Output::NotEvicted`] if it goes on here.
    ///
    /// # Errors
    /// If it cannot be begun now; nothing has changed.
    pub fn handle_evict(&mut self, now: u64) -> Result<(), MoveError> {
        let is_still = self.phase == Phase::Leading && self.pending.is_empty() && !self.chain.is_making();
        let is_released = self.released.is_some_and(|release| release.up_to == self.end);
        if !is_still || !is_released || self.fence != Fence::Open || self.keeps() || !self.has_right(now) {
            return Err(MoveError::Busy);
        }
        let position = self.end;
        self.resting_at = position;
        if self.record.next_home(&self.terms) == ChainHome::Log && !self.record.in_sync.is_empty() {
            self.phase = Phase::Resting(Step::Handing { until: now + HOLD_US });
            self.propose(now, self.record.in_sync.clone(), position, Cause::Evicted);
        } else {
            self.make_evicted(now, self.record.number + 1);
        }
        Ok(())
    }

    fn make_evicted(&mut self, now: u64, number: u64) {
        self.phase = Phase::Resting(Step::Making { since: now });
        let evicted = self.record.with_set(BTreeSet::new(), self.resting_at, Cause::Evicted);
        self.chain.make(now, Arc::new(Record { number, ..evicted }));
    }

    /// Goes on with it.
    pub(super) fn go_on_resting(&mut self, now: u64) {
        let Phase::Resting(step) = self.phase else { return };
        match step {
            Step::Handing { .. } if self.pending.is_empty() && self.record.cause == Cause::Evicted => {
                self.make_evicted(now, self.record.number + 1);
            }
            // Whoever is silent is taken out as ever.
            Step::Handing { until } if now >= until => {
                self.phase = Phase::Leading;
                self.outputs.push_back(Output::NotEvicted);
            }
            Step::Telling { until, .. } if self.former.is_empty() || now >= until => {
                self.over(Output::Evicted(self.record.clone()));
            }
            _ => {}
        }
    }

    /// The record is made: it is evicted.
    pub(super) fn evicted(&mut self, now: u64, record: Arc<Record>) {
        self.pending.clear();
        let since = match self.phase {
            Phase::Resting(Step::Making { since }) => since,
            _ => now,
        };
        self.phase = Phase::Resting(Step::Telling { until: now + TELL_US, since });
        self.counts_now(record);
        self.go_on_resting(now);
    }

    /// Another record is the newest of the chain. One of a branch that is over has taken the number: the next is tried.
    /// Whether it was that.
    pub(super) fn try_next_number(&mut self, now: u64, record: &Record) -> bool {
        let is_older = !newer(record.epoch, self.record.epoch) && record.epoch != self.record.epoch;
        let tries = matches!(self.phase, Phase::Resting(Step::Making { .. })) && is_older;
        if tries {
            self.make_evicted(now, record.number + 1);
        }
        tries
    }

    /// The position after which the session is evicted.
    pub fn resting_at(&self) -> Position {
        self.resting_at
    }
}
