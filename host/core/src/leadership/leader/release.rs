//! What may leave when: output commit and the right to release.
//!
//! An output leaves when the inputs that it depends on are safe at the session's tier: *volatile* at once, *replicated*
//! when every follower that counts has them, *durable* when the store has them, too. Ticks and views never wait.
//!
//! That they are safe was true once; that this leader still leads must be true now. It has a right to say so for
//! [`RIGHT_US`] from the sending of the last thing that *every* follower that counts has acknowledged: one follower whose
//! promise has run out is enough to promote, so one whose acknowledgement is missing is enough to be silent. Without a
//! follower that counts nobody may promote, and no right is needed; after a stall the store is asked all the same where
//! it has the chain. What is durable is released in no epoch that is fenced ([`super::fence`]), whoever follows.

use crate::ids::Position;
use crate::leadership::message::{Output, Release};
use crate::leadership::record::{PartitionPolicy, Tier};
use crate::leadership::timing::{PAUSE_US, RIGHT_US};

use super::peer::Peer;
use super::resting::Step;
use super::{Leader, Phase};

impl Leader {
    /// Until when it may release: none if nobody but itself could end that.
    pub fn right_until(&self) -> Option<u64> {
        let stamps = self.counted().map(|who| self.peers.get(who).and_then(|peer| peer.stamp_us));
        stamps
            .map(|stamp| stamp.filter(|stamp| *stamp >= self.confirmed_from).map_or(0, |stamp| stamp + RIGHT_US))
            .min()
    }

    /// Whether it may release now.
    pub fn has_right(&self, now: u64) -> bool {
        let is_free = matches!(self.phase, Phase::Leading | Phase::Holding { .. });
        is_free && self.right_until().map_or(self.doubtful_since.is_none(), |until| now < until)
    }

    /// Up to where all have the log who may come to lead next: its end, if nobody follows.
    pub fn replicated(&self) -> Position {
        self.everywhere().map_or(self.end, |everywhere| everywhere.min(self.end))
    }

    /// Up to where every follower that counts has the log. One that has diverged will not lead, whatever it has received: until
    /// it is taken out nothing is safe with it.
    fn everywhere(&self) -> Option<Position> {
        let has = |peer: &Peer| if peer.has_diverged { 0 } else { peer.received };
        self.counted().map(|who| self.peers.get(who).map_or(0, has)).min()
    }

    /// Up to where the log is safe at the session's tier.
    fn safe(&self) -> Position {
        let everywhere = self.everywhere();
        match self.terms.tier {
            // Whoever is kept is to go on with all of it, should this process not last.
            Tier::Volatile if self.keeps() => everywhere.unwrap_or(self.end),
            Tier::Volatile => self.end,
            // Nobody else has anything: the mark stands still.
            Tier::Replicated => everywhere.unwrap_or(self.committed),
            Tier::Durable => everywhere.unwrap_or(self.end).min(self.stored),
        }
    }

    /// Releases what may leave.
    pub(super) fn release(&mut self, now: u64) {
        self.note_degraded();
        if self.is_fenced() || !self.has_right(now) {
            return;
        }
        // One that counts had what was committed, and may have given it up since for a branch that is over: it is not safe
        // there again before it is back.
        let is_kept = self.terms.tier != Tier::Volatile || self.keeps();
        if is_kept && self.everywhere().is_some_and(|everywhere| everywhere < self.committed) {
            return;
        }
        self.committed = self.committed.max(self.safe().min(self.end));
        let (up_to, tier) = match self.is_degraded {
            true => (self.end, Tier::Volatile),
            false => (self.committed, self.terms.tier),
        };
        let release = Release { up_to, tier, committed: self.committed };
        if self.released != Some(release) {
            self.released = Some(release);
            self.outputs.push_back(Output::Release(release));
        }
    }

    /// Since when the store has taken nothing of what there is of a durable log, nor said who leads.
    fn unconfirmed_since(&self) -> Option<u64> {
        (self.terms.tier == Tier::Durable && self.stored < self.end).then_some(self.confirmed_at)
    }

    /// Whether the store is to be asked who leads: nobody follows who could tell.
    pub(super) fn is_in_doubt(&self, now: u64) -> bool {
        let is_slow = self.unconfirmed_since().is_some_and(|since| now >= since + PAUSE_US);
        (self.doubtful_since.is_some() || is_slow) && self.counts_nobody()
    }

    /// The store says that this one leads.
    pub(super) fn confirmed(&mut self, now: u64) {
        (self.doubtful_since, self.confirmed_at) = (None, now);
    }

    /// A session that is to be replicated and has nobody to replicate to goes on: acknowledgements name *volatile*, the
    /// committed mark stands still. A durable one needs no follower for its promise, the store keeps it.
    pub(super) fn note_degraded(&mut self) {
        let is_degraded = self.terms.tier == Tier::Replicated && self.counts_nobody();
        if is_degraded != self.is_degraded {
            self.is_degraded = is_degraded;
            self.outputs.push_back(Output::Degraded(is_degraded));
        }
    }

    /// Views of a consistent session pause when the right has lapsed for long: somebody else may be showing others. So they do
    /// where nobody follows and only the store can tell who leads, and has not: since a stall, since the log was sealed, or since
    /// it takes nothing.
    pub(super) fn note_pause(&mut self, now: u64) {
        let until = self.counted().map(|who| {
            let stamp = self.peers.get(who).and_then(|peer| peer.stamp_us);
            stamp.unwrap_or(self.began) + RIGHT_US
        });
        // Once a grant is on its way the other may lead, and this one has no right. Once an eviction is, anybody may who
        // activates it.
        let granted = match self.phase {
            Phase::Granting { since } => Some(since),
            Phase::Resting(Step::Making { since } | Step::Telling { since, .. }) => Some(since),
            _ => None,
        };
        let is_alone = self.counts_nobody();
        let doubtful = self.doubtful_since.into_iter().chain(self.unconfirmed_since()).chain(self.fenced_since());
        let doubtful = doubtful.filter(|_| is_alone).map(|since| since + RIGHT_US);
        let lapsed = until.chain(granted).chain(doubtful).min().is_some_and(|until| now >= until + PAUSE_US);
        let is_stopped = matches!(self.phase, Phase::Claiming | Phase::Yielding);
        let is_paused = lapsed && self.terms.policy == PartitionPolicy::Consistent || is_stopped;
        if is_paused != self.is_paused {
            self.is_paused = is_paused;
            self.outputs.push_back(Output::Paused(is_paused));
        }
    }
}
