//! What a leader knows of one who follows it, in its present epoch.

use super::suspects::Told;
use crate::ids::Position;
use crate::leadership::message::Ack;
use crate::leadership::timing::{
    FINDING_US, HEARTBEAT_US, LAGGING_US, PAUSE_US, REMOVAL_US, RESEND_US, SLEEP_US, next_beat,
};
use crate::limits;

#[derive(Debug)]
pub(super) struct Peer {
    /// Whether it follows this epoch.
    pub is_introduced: bool,
    /// It has the log up to here.
    pub received: Position,
    /// Its fold is so far, as it said last: one that is not kept up falls behind.
    pub applied: Position,
    /// The newest record that it knows.
    pub record: u64,
    /// When the newest batch or heartbeat was *sent* that it acknowledged.
    pub stamp_us: Option<u64>,
    /// Entries were sent up to here, and since when some wait.
    pub sent: Position,
    sent_at: u64,
    /// Until when the batch or the heartbeat that was sent last is enough.
    told_until: u64,
    /// What it lacks is not there any more: until it has acknowledged a checkpoint nothing is sent but heartbeats, with which it
    /// is looked again.
    lacks_until: u64,
    heard_at: u64,
    /// Since when it takes nothing, if there is something to take.
    progress_at: u64,
    /// When the leader woke, if it has slept and nothing that was sent since is acknowledged.
    woke_at: Option<u64>,
    pub has_diverged: bool,
    /// What it knows of suspects.
    pub told: Told,
}

impl Peer {
    pub fn new(now: u64) -> Peer {
        Peer {
            is_introduced: false,
            received: 0,
            applied: 0,
            record: 0,
            stamp_us: None,
            sent: 0,
            sent_at: now,
            told_until: 0,
            lacks_until: 0,
            heard_at: now,
            progress_at: now,
            woke_at: None,
            has_diverged: false,
            told: Told::default(),
        }
    }

    /// A new epoch of the same leader: it must be introduced, and what it acknowledged gives no right in that one.
    pub fn renew(&mut self) {
        (self.is_introduced, self.stamp_us, self.record) = (false, None, 0);
        self.told = Told::default();
    }

    /// The leader stood still, since then: this one's silence was the leader's own.
    pub fn excuse(&mut self, now: u64, since: u64) {
        (self.heard_at, self.progress_at) = (now, now);
        if now >= since + SLEEP_US {
            self.woke_at = Some(now);
        }
    }

    /// An entry is about to be appended after `end`.
    pub fn behind(&mut self, now: u64, end: Position) {
        if self.received >= end {
            self.progress_at = now;
        }
    }

    pub fn acknowledged(&mut self, now: u64, ack: &Ack, end: Position) {
        let received = ack.received.min(end);
        // Within an epoch a log does not shrink: a later word of a shorter one is of a follower that was begun anew.
        self.has_diverged |= self.is_introduced && ack.stamp_us > self.stamp_us && received < self.received;
        if !self.is_introduced || received > self.received || received == end {
            self.progress_at = now;
            self.sent_at = now;
            self.lacks_until = 0;
        }
        if !self.is_introduced {
            (self.is_introduced, self.received) = (true, received);
            self.sent = received;
        }
        self.received = self.received.max(received);
        self.sent = self.sent.max(self.received);
        self.applied = ack.applied.min(end);
        self.record = self.record.max(ack.record);
        self.stamp_us = self.stamp_us.max(ack.stamp_us);
        self.heard_at = now;
        self.woke_at = self.woke_at.filter(|woke| ack.stamp_us < Some(*woke));
        self.has_diverged |= ack.has_diverged;
    }

    /// What to send next: the position before the first entry, and the last one's. What was not acknowledged for long is
    /// sent again. At most [`limits::BATCH_ENTRIES`]; the rest comes with the next.
    pub fn next(&mut self, now: u64, end: Position) -> (Position, Position) {
        if self.received < self.sent && now >= self.sent_at + RESEND_US {
            self.sent = self.received;
        }
        let from = self.sent;
        let to = end.min(from + limits::BATCH_ENTRIES);
        // Batches come at times of their own: the next heartbeat must not come before the next of them.
        self.told_until = if from == to { next_beat(now) } else { now + HEARTBEAT_US };
        if from == self.received {
            self.sent_at = now;
        }
        self.sent = to;
        (from, to)
    }

    /// Until when it needs no heartbeat, for it was sent something, and what was sent a moment ago has arrived: on a bad way,
    /// where entries wait for those before them, heartbeats go beside them. Who does not know the newest word of suspects is
    /// told it with the heartbeat, and after the entries: one that is suspect no more is in them.
    pub fn is_told_until(&self, now: u64, word: u64) -> Option<u64> {
        let arrives = self.stamp_us.is_some_and(|stamp| now < stamp + 2 * HEARTBEAT_US);
        let until = self.told_until;
        (self.is_introduced && self.told.knows(word) && arrives && now < until).then_some(until)
    }

    /// Entries that it lacks were not sent, for they are not there any more.
    pub fn unsent(&mut self, now: u64) {
        self.sent = self.received;
        self.lacks_until = now + HEARTBEAT_US;
    }

    /// Whether entries are to be sent with this turn.
    pub fn is_behind(&self, now: u64, end: Position) -> bool {
        self.is_introduced && self.sent < end && now >= self.lacks_until
    }

    /// Whether reliable output has waited for it long enough.
    pub fn is_silent(&self, now: u64, end: Position) -> bool {
        let is_late = now >= self.heard_at + REMOVAL_US;
        let lags = self.received < end && now >= self.progress_at + LAGGING_US;
        self.has_diverged || !self.is_sought(now) && (is_late || lags)
    }

    /// Whether it may be counted: it follows, was heard of just now, and has all but the last batch.
    pub fn is_current(&self, now: u64, end: Position) -> bool {
        self.is_introduced
            && self.stamp_us.is_some()
            && !self.has_diverged
            && now < self.heard_at + 3 * HEARTBEAT_US
            && self.received + limits::BATCH_ENTRIES >= end
    }

    /// Whether it follows, and one batch brings it all that was not sent.
    pub fn is_near(&self, end: Position) -> bool {
        self.is_introduced && self.sent + limits::BATCH_ENTRIES >= end
    }

    /// Whether nothing is to be expected of it.
    pub fn is_lost(&self, now: u64) -> bool {
        now >= self.heard_at + PAUSE_US && !self.is_sought(now)
    }

    /// Whether its silence says nothing yet, be it that it was heard: that may have waited here for as long as the leader slept.
    fn is_sought(&self, now: u64) -> bool {
        self.woke_at.is_some_and(|woke| now < woke + FINDING_US)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Node, NodeId};

    fn ack(received: Position) -> Ack {
        Ack {
            epoch: Node { id: NodeId(1), generation: 1 }.first_epoch(),
            stamp_us: None,
            received,
            applied: received,
            record: 1,
            has_diverged: false,
        }
    }

    #[test]
    fn who_was_sent_something_and_answers_needs_no_heartbeat() {
        let (mut peer, mut ack) = (Peer::new(0), ack(0));
        let mut now = HEARTBEAT_US;
        ack.stamp_us = Some(now);
        peer.next(now, 0);
        assert_eq!(peer.is_told_until(now, 0), None, "it is not introduced");
        peer.acknowledged(now, &ack, 0);
        assert_eq!(peer.is_told_until(now, 0), Some(now + HEARTBEAT_US));
        assert_eq!(peer.is_told_until(now + HEARTBEAT_US, 0), None, "nothing was sent for as long");
        // Batches go out, and nothing comes back: they may wait for one that was lost.
        for end in 1..=4 {
            now += HEARTBEAT_US / 2;
            peer.next(now, end);
        }
        assert_eq!(peer.is_told_until(now, 0), None);
        peer.acknowledged(now, &Ack { stamp_us: Some(now), ..ack }, 4);
        assert!(peer.is_told_until(now, 0).is_some());
        assert_eq!(peer.is_told_until(now, 1), None, "there is a word of suspects");
        peer.renew();
        assert_eq!(peer.is_told_until(now, 0), None, "nor does it know of a new epoch");
    }

    #[test]
    fn a_leader_that_has_slept_looks_for_its_followers_before_it_takes_them_for_gone() {
        let (mut peer, woke) = (Peer::new(0), 3_600_000_000);
        peer.excuse(woke, woke - SLEEP_US + 1);
        assert!(peer.is_silent(woke + REMOVAL_US, 0), "it only stood still for a while");
        peer.excuse(woke, 0);
        assert!(!peer.is_silent(woke + FINDING_US - 1, 9) && !peer.is_lost(woke + FINDING_US - 1));
        assert!(peer.is_silent(woke + FINDING_US, 9) && peer.is_lost(woke + FINDING_US));
        peer.excuse(woke, 0);
        peer.acknowledged(woke + 10, &ack(9), 9);
        assert!(!peer.is_silent(woke + 10 + REMOVAL_US, 9), "that was said before");
        peer.acknowledged(woke + 20, &Ack { stamp_us: Some(woke), ..ack(9) }, 9);
        assert!(peer.is_silent(woke + 20 + REMOVAL_US, 9), "it was found");
    }

    #[test]
    fn heartbeats_keep_to_their_phase_however_late_each_is() {
        let (mut peer, mut ack) = (Peer::new(0), ack(0));
        for (beat, late) in [9_000, 4_000, 0, 7_000].into_iter().enumerate() {
            let due = (beat as u64 + 1) * HEARTBEAT_US;
            assert_eq!(peer.is_told_until(due, 0), None, "it is due though the one before was late");
            peer.next(due + late, 0);
            ack.stamp_us = Some(due + late);
            peer.acknowledged(due + late, &ack, 0);
            assert_eq!(peer.is_told_until(due + late, 0), Some(due + HEARTBEAT_US));
        }
    }

    #[test]
    fn who_lacks_what_is_not_there_any_more_is_looked_after_with_heartbeats_until_it_has_more() {
        let (mut peer, end) = (Peer::new(0), 900);
        peer.acknowledged(10, &ack(0), end);
        assert!(peer.is_behind(10, end));
        peer.next(10, end);
        peer.unsent(10);
        assert!(!peer.is_behind(10, end));
        // What it says about that changes nothing, else each batch without entries would have another.
        peer.acknowledged(20, &ack(0), end);
        assert!(!peer.is_behind(20, end) && peer.is_behind(10 + HEARTBEAT_US, end));
        peer.unsent(10 + HEARTBEAT_US);
        peer.acknowledged(20 + HEARTBEAT_US, &ack(850), end);
        assert!(peer.is_behind(20 + HEARTBEAT_US, end), "the rest goes at once");
        assert_eq!(peer.next(20 + HEARTBEAT_US, end), (850, end));
    }
}
