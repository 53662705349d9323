//! Changes of the record that the leader makes: followers taken out and in, and the grant.
//!
//! During a change the set that counts is the union of both: nobody who may turn out to count lacks anything that was
//! committed. In the log several may be under way (a newcomer may fall silent before it has acknowledged the record that
//! names it), in the store one.
//!
//! **The grant is the point of no return.** Before it the source leads, whatever happens: a move that does not come about
//! within [`HOLD_US`] is given up. From the moment the record is on its way the source appends and releases nothing; once
//! it is made the source is a follower that counts, and has promised as one that acknowledged just then. If the target
//! dies with it, the source stands for a new epoch like any other.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::ids::Position;
use crate::leadership::message::{Message, Output, Party};
use crate::leadership::newer;
use crate::leadership::record::{Cause, ChainHome, Member, Motive, Record};
use crate::leadership::timing::HOLD_US;
use crate::limits;

use super::meeting::Rival;
use super::{Leader, Phase};

/// Why a session is not moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoveError {
    /// The target does not count: let it follow first.
    #[error("the target is not in sync")]
    NotInSync,
    /// Another change is under way: try again.
    #[error("another change of the record is under way")]
    Busy,
}

impl Leader {
    /// Grants the lead to a follower that counts, as soon as it has all of the log. Inputs are held back from now until
    /// the grant, or [`Output::MoveFailed`].
    ///
    /// # Errors
    /// If it cannot be begun now; nothing has changed.
    pub fn handle_move(&mut self, now: u64, to: Member, motive: Motive) -> Result<(), MoveError> {
        if self.phase != Phase::Leading || !self.pending.is_empty() || self.is_raising() {
            return Err(MoveError::Busy);
        }
        if !self.record.counts(to) {
            return Err(MoveError::NotInSync);
        }
        self.phase = Phase::Holding { to, motive, until: now + HOLD_US };
        self.try_grant(now);
        Ok(())
    }

    /// A held move that took too long is given up.
    pub(super) fn end_hold(&mut self, now: u64) {
        if let Phase::Holding { until, .. } = self.phase
            && now >= until
        {
            self.phase = Phase::Leading;
            self.outputs.push_back(Output::MoveFailed);
        }
    }

    pub(super) fn try_grant(&mut self, now: u64) {
        let Phase::Holding { to, motive, .. } = self.phase else { return };
        let has_all = self.peers.get(&to).is_some_and(|peer| peer.received == self.end && !peer.has_diverged);
        // With the right nobody stands for promotion, nor may while the grant is on its way.
        if !has_all || !self.pending.is_empty() || !self.has_right(now) {
            return;
        }
        let mut in_sync: BTreeSet<Member> = self.record.in_sync.clone();
        in_sync.remove(&to);
        in_sync.insert(self.me);
        let (epoch, home) = (to.epoch_after(self.seen.max(self.record.epoch.number)), self.terms.home());
        let record = Arc::new(self.record.succeeded(to, epoch, in_sync, self.end, (motive.into(), home)));
        match home {
            ChainHome::Log => self.granted(record),
            ChainHome::Store => {
                self.phase = Phase::Granting { since: now };
                self.chain.make(now, record);
            }
        }
    }

    fn granted(&mut self, record: Arc<Record>) {
        // Who follows hears it from here as well: should the new leader be gone before it has said a word, nobody waits for
        // this one's.
        for who in record.in_sync.iter().filter(|who| **who != self.me) {
            let message = Message::Lead { record: Box::new(Record::clone(&record)), end: None };
            self.outputs.push_back(Output::Send { to: Party::Member(*who), message });
        }
        self.rival = Some(Rival::of(record));
        self.over(Output::Deposed);
    }

    pub(super) fn over(&mut self, how: Output) {
        self.phase = Phase::Over;
        self.outputs.push_back(how);
    }

    /// Takes out who is silent, takes in who has caught up.
    pub(super) fn change_set(&mut self, now: u64) {
        if self.phase != Phase::Leading {
            return;
        }
        let newest = self.newest().clone();
        let is_full = match self.terms.home() {
            ChainHome::Store => !self.pending.is_empty() || self.chain.is_making(),
            ChainHome::Log => self.pending.len() >= limits::PENDING_RECORDS,
        };
        if is_full {
            return;
        }
        let leaves = |who: &Member| self.leaving == Some(who.node);
        let is_silent = |who: &Member| self.peers.get(who).is_none_or(|peer| peer.is_silent(now, self.end));
        let silent = |who: &Member| leaves(who) || is_silent(who);
        if newest.in_sync.iter().any(silent) {
            let remaining = newest.in_sync.iter().copied().filter(|who| !silent(who)).collect();
            return self.propose(now, remaining, self.end, Cause::Removed);
        }
        if !self.pending.is_empty() {
            return;
        }
        let wanted = self.wanted.filter(|(_, until)| now < *until).map(|(who, _)| who);
        let enough = self.terms.followers.min(limits::FOLLOWERS);
        let others = newest.in_sync.iter().filter(|who| Some(**who) != wanted).count();
        if others > enough {
            // One was to lead and does not, or does and left one too many behind. Whoever is furthest behind goes.
            let received = |who: &&Member| self.peers.get(who).map_or(0, |peer| peer.received);
            let least = newest.in_sync.iter().filter(|who| Some(**who) != wanted).min_by_key(received).copied();
            let remaining = newest.in_sync.iter().copied().filter(|who| Some(*who) != least).collect();
            return self.propose(now, remaining, self.end, Cause::Removed);
        }
        let is_missing = |who: &Member| others < enough || Some(*who) == wanted;
        if newest.in_sync.len() >= limits::FOLLOWERS {
            return;
        }
        // Whoever counts has all that was ever committed: so it is before it is named, and so it stays.
        let is_free = |who: &Member| !newest.in_sync.iter().any(|other| other.node.id == who.node.id);
        let newcomer = self.peers.iter().find(|(who, peer)| {
            is_missing(who)
                && !leaves(who)
                && !newest.counts(**who)
                && is_free(who)
                && peer.is_current(now, self.end)
                && peer.received >= self.committed.max(self.inherited).max(self.checkpoint)
        });
        if let Some((who, peer)) = newcomer {
            let (who, received) = (*who, peer.received);
            let mut in_sync = newest.in_sync.clone();
            in_sync.insert(who);
            self.propose(now, in_sync, received, Cause::Admitted);
        }
    }

    /// Makes the next record; in the log it is an entry, and its position that entry's.
    pub(super) fn propose(&mut self, now: u64, in_sync: BTreeSet<Member>, position: Position, cause: Cause) {
        let home = self.terms.home();
        let position = if home == ChainHome::Log { self.append(now) } else { position };
        let record = Arc::new(self.newest().with_set(in_sync, position, cause));
        self.pending.push(record.clone());
        match home {
            ChainHome::Log => {
                self.outputs.push_back(Output::Record(record));
                self.count_records();
            }
            ChainHome::Store => self.chain.make(now, record),
        }
    }

    /// In the log a record counts once every member that it leaves has it. The latest that does settles all before it.
    pub(super) fn count_records(&mut self) {
        if self.terms.home() != ChainHome::Log {
            return;
        }
        let has = |record: &Record, who: &Member| {
            let has = |peer: &super::Peer| peer.record >= record.number && peer.received >= record.position;
            self.peers.get(who).is_some_and(has)
        };
        let counts = |record: &Arc<Record>| record.in_sync.iter().all(|who| has(record, who));
        if let Some(at) = self.pending.iter().rposition(counts) {
            let record = self.pending[at].clone();
            self.pending.drain(..=at);
            self.counts_now(record);
        }
        self.note_degraded();
    }

    /// The store has made a record.
    pub(super) fn made(&mut self, now: u64, record: Arc<Record>) {
        match self.phase {
            Phase::Granting { .. } => return self.granted(record),
            Phase::Resting(_) => return self.evicted(now, record),
            _ if newer(record.epoch, self.record.epoch) => return self.raised(now, record),
            // It was to be evicted in an epoch that is over by now: it goes on in this one.
            _ if record.epoch != self.record.epoch => return,
            _ => {}
        }
        self.pending.clear();
        self.confirmed(now);
        self.counts_now(record);
        self.note_degraded();
        self.go_on_fenced(now);
    }

    /// A record of this leader's has come to count.
    pub(super) fn counts_now(&mut self, record: Arc<Record>) {
        let before = std::mem::replace(&mut self.record, record);
        self.former.retain(|who, _| !self.record.counts(*who));
        let removed: Vec<Member> = before.in_sync.difference(&self.record.in_sync).copied().collect();
        self.tell_former(removed);
        self.tell_home();
    }

    /// Another record than this leader's own try is the newest.
    pub(super) fn overtaken(&mut self, now: u64, record: Arc<Record>) {
        if self.try_next_number(now, &record) {
            return;
        }
        self.pending.clear();
        self.met(now, record);
    }
}
