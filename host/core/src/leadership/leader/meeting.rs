//! A leader hears of another one: in an epoch older than its own, which is corrected, or in a newer one.
//!
//! A newer epoch ends this one: nothing is ever accepted or said under it again. What comes then depends on whether the
//! other's record follows one that this leader's record follows, too:
//!
//! - this leader had not gone on without the other (its right lapsed, and no record of its own counts beside the
//!   other's): it is deposed, and follows. All that it had released, the other has.
//! - it had (both made a record of the same number: only where the chain is in the log, where a cut cluster has no
//!   judge): a fork. It stops and sends its claim; the leader of the greater epoch compares the claims by
//!   [`healing::goes_on`](crate::leadership::healing::goes_on), so that one place decides and both know the same. The
//!   winner first takes an epoch above both; the loser hears of that, keeps its log as a fork and tells its players.

use std::sync::Arc;

use crate::ids::{Epoch, Position};
use crate::leadership::message::{Message, Output};
use crate::leadership::record::{Cause, ChainHome, Member, Record};
use crate::leadership::timing::{INTRODUCTION_US, YIELD_US};
use crate::leadership::{Claim, healing, newer};

use super::{Leader, Phase};

/// Who leads as well.
#[derive(Debug)]
pub(super) struct Rival {
    /// Its newest record.
    pub record: Arc<Record>,
    /// Where the two logs part.
    fork: Position,
    /// Its claim, once it has made one.
    theirs: Option<Claim>,
    /// This leader's, once it is counted.
    mine: Option<Claim>,
    since: u64,
    next_claim: u64,
}

impl Rival {
    pub fn of(record: Arc<Record>) -> Rival {
        Rival { record, fork: 0, theirs: None, mine: None, since: 0, next_claim: 0 }
    }
}

impl Leader {
    /// Somebody's record was heard of.
    pub(super) fn met(&mut self, now: u64, record: Arc<Record>) {
        self.seen = self.seen.max(record.epoch.number);
        if !newer(record.epoch, self.record.epoch) || self.raises(&record) {
            return;
        }
        if let (Phase::Claiming, Some(rival)) = (&self.phase, &self.rival)
            && newer(rival.record.epoch, record.epoch)
        {
            // It has seen a newer one than this, and says so.
            let message = Message::Lead { record: Box::new(Record::clone(&rival.record)), end: None };
            return self.send(record.leader, message);
        }
        let fork = self.record.lineage.common(self.end, &record.lineage, Position::MAX);
        // It had gone on without whoever leads now, by a record that the other log lacks. Numbers say nothing of that: each
        // branch counts on for itself.
        let is_fork = self.terms.home() == ChainHome::Log && self.record.position > fork && record.leader != self.me;
        if !is_fork {
            self.rival = Some(Rival::of(record));
            return self.over(Output::Deposed);
        }
        if record.cause == (Cause::Healed { over: self.record.epoch }) {
            self.rival = Some(Rival::of(record.clone()));
            return self.over(Output::Superseded { by: record, fork });
        }
        let is_known = self.rival.as_ref().is_some_and(|rival| rival.record.epoch == record.epoch);
        if self.phase != Phase::Claiming || !is_known {
            self.phase = Phase::Claiming;
            self.rival = Some(Rival { fork, since: now, ..Rival::of(record) });
            self.outputs.push_back(Output::Count { since: fork });
            self.note_pause(now);
        }
    }

    /// The number of player inputs that were accepted after a position.
    pub fn handle_counted(&mut self, now: u64, since: Position, inputs: u64) {
        let claim = Claim { session: self.terms.session.clone(), epoch: self.record.epoch, inputs };
        let Some(rival) = self.rival.as_mut().filter(|rival| rival.fork == since) else { return };
        rival.mine = Some(claim);
        match self.phase {
            Phase::Claiming => self.pursue_rival(now),
            Phase::Leading => self.decide(now),
            _ => {}
        }
    }

    /// A leader of a lesser epoch has stopped and says what it has.
    pub(super) fn claimed(&mut self, now: u64, from: Member, claim: Claim, record: Arc<Record>, end: Position) {
        if newer(claim.epoch, self.record.epoch) || self.phase == Phase::Claiming {
            return self.met(now, record);
        }
        if self.record.cause == (Cause::Healed { over: claim.epoch }) {
            // Said before it could hear of that.
            let record = Box::new(Record::clone(&self.record));
            return self.send(from, Message::Lead { record, end: None });
        }
        match &self.rival {
            // Once decided, so it stays until the winner is heard of.
            Some(Rival { theirs: Some(theirs), mine: Some(mine), .. })
                if self.phase == Phase::Yielding && theirs.epoch == claim.epoch =>
            {
                let message = Message::Yield { winner: theirs.clone(), loser: mine.clone() };
                self.send(from, message);
            }
            _ if self.phase == Phase::Leading => {
                let fork = self.record.lineage.common(self.end, &record.lineage, end);
                self.rival = Some(Rival { fork, theirs: Some(claim), since: now, ..Rival::of(record) });
                self.outputs.push_back(Output::Count { since: fork });
            }
            _ => {}
        }
    }

    fn decide(&mut self, now: u64) {
        let Some(Rival { record, theirs: Some(theirs), mine: Some(mine), .. }) = &self.rival else { return };
        if healing::goes_on(mine, theirs) {
            let (over, whom) = (theirs.epoch, record.leader);
            self.renew(now, Cause::Healed { over }, Some(whom));
        } else {
            let (to, message) = (record.leader, Message::Yield { winner: theirs.clone(), loser: mine.clone() });
            self.phase = Phase::Yielding;
            if let Some(rival) = self.rival.as_mut() {
                rival.since = now;
            }
            self.note_pause(now);
            self.send(to, message);
        }
    }

    /// The leader of the greater epoch has given way.
    pub(super) fn yielded(&mut self, now: u64, winner: &Claim, loser: &Claim) {
        let is_mine = winner.epoch == self.record.epoch && healing::goes_on(winner, loser);
        if self.phase == Phase::Claiming && is_mine {
            let whom = self.rival.as_ref().map(|rival| rival.record.leader);
            self.seen = self.seen.max(loser.epoch.number);
            self.renew(now, Cause::Healed { over: loser.epoch }, whom);
        }
    }

    /// Goes on in an epoch above both. Followers are introduced to it, and what they acknowledged before gives no right.
    fn renew(&mut self, now: u64, cause: Cause, whom: Option<Member>) {
        self.seen = self.seen.max(self.record.epoch.number);
        let epoch = self.me.epoch_after(self.seen);
        let newest = self.newest().clone();
        let in_sync = newest.in_sync.clone();
        let record = Arc::new(newest.succeeded(self.me, epoch, in_sync, self.end, (cause, ChainHome::Log)));
        self.append(now);
        self.outputs.push_back(Output::Record(record.clone()));
        self.begin_epoch(now, record, whom);
    }

    /// An epoch of this leader's begins, by a record that counts.
    pub(super) fn begin_epoch(&mut self, now: u64, record: Arc<Record>, whom: Option<Member>) {
        self.record = record;
        self.pending.clear();
        (self.phase, self.rival) = (Phase::Leading, None);
        (self.began, self.confirmed_from) = (now, now);
        self.peers.values_mut().for_each(|peer| {
            peer.renew();
            peer.excuse(now, now);
        });
        self.tell_former(whom);
        self.outputs.push_back(Output::Renewed(self.record.clone()));
        self.next_beat = now;
        self.tell_home();
        self.note_degraded();
        self.note_pause(now);
    }

    /// A client has seen an epoch: from what this cluster has sealed for it, for on a stranger's word nobody stops. A newer
    /// one is over if its leader died with all who followed it, and then nobody but the client can tell: the client
    /// accepts nothing of an older one, so this leader reads the store, or goes on above it.
    pub fn handle_seen(&mut self, now: u64, epoch: Epoch) {
        self.seen = self.seen.max(epoch.number);
        if !newer(epoch, self.record.epoch) {
            return;
        }
        match (self.terms.home(), &self.phase) {
            (ChainHome::Store, _) => self.chain.read(now),
            (ChainHome::Log, Phase::Leading) => self.renew(now, Cause::Raised, None),
            (ChainHome::Log, _) => {}
        }
    }

    /// Repeats the claim; goes on if the other is silent for long.
    ///
    /// One who claims has seen a newer epoch, so it never goes on in its own: it takes one above both, and they meet
    /// again. One who yielded has seen no newer one.
    pub(super) fn pursue_rival(&mut self, now: u64) {
        let Some(rival) = self.rival.as_mut() else { return };
        let is_late = now >= rival.since + YIELD_US;
        match self.phase {
            Phase::Claiming if is_late => {
                let whom = rival.record.leader;
                self.renew(now, Cause::Raised, Some(whom));
            }
            Phase::Claiming if now >= rival.next_claim => {
                let Some(claim) = rival.mine.clone() else { return };
                rival.next_claim = now + INTRODUCTION_US;
                let to = rival.record.leader;
                let record = Box::new((*self.record).clone());
                let message = Message::Claim { claim, record, end: self.end };
                self.send(to, message);
            }
            Phase::Yielding if is_late => {
                (self.phase, self.rival) = (Phase::Leading, None);
                self.note_pause(now);
            }
            _ => {}
        }
    }
}
