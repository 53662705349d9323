//! The log of the leader's node was sealed by who believed that the node is gone: what is durable in it is fenced.
//!
//! ```text
//!            handle_sealed                handle_reopened                 the record is made
//!   open ──────────────────────► sealed ───────────────────► reopened ──────► raising ──────────────► open, in a new epoch
//!                                   └── somebody else has made the next record: deposed ──┘
//! ```
//!
//! **Why a new epoch.** Who takes a session over has read its record, then seen that the newest object of the node's log
//! is a seal, then makes the next record. So all that a node stores after it has opened its log anew must be of epochs
//! whose records were made after that: then either the other's record comes first and this leader hears of it, or the
//! other's finds its number taken. Of an epoch that began before, nothing is stored or released any more. For the same
//! reason a leader that comes to lead at a node whose log was opened anew once takes an epoch first: when the record by
//! which it leads was made, nobody can tell.
//!
//! Nothing durable is appended meanwhile. The state is in memory with all that was appended, so nothing is lost of it where
//! nobody else takes it over.

use std::sync::Arc;

use super::{Leader, Phase};
use crate::leadership::record::{Cause, ChainHome, Record, Tier};
use crate::leadership::timing::STORE_US;

/// The log of a node, as its workers are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NodeLog {
    /// As it was begun.
    #[default]
    First,
    /// Sealed.
    Sealed,
    /// Opened anew after a seal.
    Reopened,
}

/// Whether the log of the leader's node takes what is of its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fence {
    /// It does.
    Open,
    /// It was sealed: then it is looked again for who leads.
    Sealed { look: u64 },
    /// It was opened anew: an epoch is to be begun.
    Reopened,
    /// Its record is being made.
    Raising,
}

impl Leader {
    /// The log of this node is another than it was, or this leader has come to lead where it is: when the record by which it
    /// leads was made nobody can tell then, so that one that was opened anew counts as sealed before.
    pub fn handle_node_log(&mut self, now: u64, is: NodeLog) {
        if is != NodeLog::First {
            self.handle_sealed(now);
        }
        if is == NodeLog::Reopened {
            self.handle_reopened(now);
        }
    }

    /// The log of this node was sealed: another run may take over what is durable. Where the store has the chain it is
    /// looked at until it says who leads, or the log is opened anew.
    fn handle_sealed(&mut self, now: u64) {
        if self.terms.home() == ChainHome::Store && !matches!(self.fence, Fence::Sealed { .. }) {
            if !self.is_fenced() {
                self.sealed_at = now;
            }
            self.fence = Fence::Sealed { look: now };
            self.go_on_fenced(now);
        }
    }

    /// The log of this node was opened anew. What is durable goes on in an epoch that begins after that.
    fn handle_reopened(&mut self, now: u64) {
        if let Fence::Sealed { .. } = self.fence {
            self.fence = if self.terms.tier == Tier::Durable { Fence::Reopened } else { Fence::Open };
            self.go_on_fenced(now);
        }
    }

    /// Whether nothing of this epoch is stored any more, so that nothing is appended.
    pub fn is_fenced(&self) -> bool {
        self.fence != Fence::Open && self.terms.tier == Tier::Durable
    }

    /// Since when, as far as this leader knows.
    pub(super) fn fenced_since(&self) -> Option<u64> {
        self.is_fenced().then_some(self.sealed_at)
    }

    /// Whether a record of the next epoch is on its way.
    pub(super) fn is_raising(&self) -> bool {
        self.fence == Fence::Raising
    }

    /// Whether a record is that. A candidate who has read it in the store may tell of it before the store does: it is no
    /// other leader's.
    pub(super) fn raises(&self, record: &Record) -> bool {
        record.leader == self.me && self.chain.makes(record)
    }

    /// Looks for who leads, or begins the next epoch as soon as no other record is on its way.
    pub(super) fn go_on_fenced(&mut self, now: u64) {
        match self.fence {
            Fence::Sealed { look } if look <= now => {
                self.fence = Fence::Sealed { look: now + STORE_US };
                self.chain.read(now);
            }
            Fence::Reopened if self.phase == Phase::Leading && self.pending.is_empty() && !self.chain.is_making() => {
                self.fence = Fence::Raising;
                let epoch = self.me.epoch_after(self.seen.max(self.record.epoch.number));
                let (in_sync, cause) = (self.record.in_sync.clone(), (Cause::Raised, ChainHome::Store));
                self.chain.make(now, Arc::new(self.record.succeeded(self.me, epoch, in_sync, self.end, cause)));
            }
            _ => {}
        }
    }

    /// The record of the next epoch is made. If the log was sealed meanwhile, it is fenced like the one before.
    pub(super) fn raised(&mut self, now: u64, record: Arc<Record>) {
        if self.fence == Fence::Raising {
            self.fence = Fence::Open;
        }
        self.seen = self.seen.max(record.epoch.number);
        self.confirmed(now);
        self.begin_epoch(now, record, None);
        self.go_on_fenced(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Node, NodeId, Position, WorkerId};
    use crate::leadership::chain::Request;
    use crate::leadership::leader::{ChainReply, NotNow};
    use crate::leadership::message::{Ack, Ask, Message, Output, Party, Release};
    use crate::leadership::record::{Member, PartitionPolicy, Terms};
    use crate::leadership::timing::{PAUSE_US, RIGHT_US};

    fn member(id: u64) -> Member {
        Member { node: Node { id: NodeId(id), generation: 1 }, worker: WorkerId(0) }
    }

    fn terms(tier: Tier) -> Terms {
        let session = "arena/a@0000000000000001".parse().unwrap();
        Terms { session, tier, policy: PartitionPolicy::Consistent, followers: 0, is_recorded: false }
    }

    /// A leader that has appended three entries, of which the store has two.
    fn leader(tier: Tier) -> Leader {
        let mut leader = Leader::create(0, member(1), terms(tier));
        (0..3).for_each(|_| _ = leader.handle_append(0).unwrap());
        leader.handle_stored(0, 2);
        leader.handle_flush(0);
        said(&mut leader);
        leader
    }

    fn said(leader: &mut Leader) -> Vec<Output> {
        std::iter::from_fn(|| leader.poll()).collect()
    }

    fn made(said: &[Output]) -> Option<Arc<Record>> {
        said.iter().find_map(|output| match output {
            Output::Chain(Request::Create(record)) => Some(record.clone()),
            _ => None,
        })
    }

    /// Its log is sealed, and opened anew when the store knows of nobody else: the record of the epoch that it takes.
    fn reopened(leader: &mut Leader, now: u64) -> Arc<Record> {
        leader.handle_sealed(now);
        leader.handle_chain(now, ChainReply::Newest(Some(leader.record().clone())));
        leader.handle_reopened(now);
        made(&said(leader)).expect("it takes an epoch")
    }

    fn released(said: &[Output]) -> Option<Position> {
        said.iter().rev().find_map(|output| match output {
            Output::Release(Release { up_to, .. }) => Some(*up_to),
            _ => None,
        })
    }

    fn answer(leader: &mut Leader, newest: &Arc<Record>) {
        leader.handle_chain(1, ChainReply::Created);
        said(leader);
        leader.handle_chain(1, ChainReply::Newest(Some(newest.clone())));
    }

    #[test]
    fn what_is_durable_goes_on_in_an_epoch_that_begins_after_the_log_was_opened_anew() {
        let mut leader = leader(Tier::Durable);
        let before = leader.record().clone();
        leader.handle_sealed(1);
        assert_eq!(said(&mut leader), [Output::Chain(Request::Newest)]);
        assert_eq!(leader.handle_append(1), Err(NotNow::Unsettled));
        leader.handle_chain(1, ChainReply::Newest(Some(before.clone())));
        leader.handle_stored(1, 3);
        assert_eq!(released(&said(&mut leader)), None, "whatever the store had of it since");
        leader.handle_turn(1 + STORE_US);
        assert_eq!(made(&said(&mut leader)), None, "not before");

        leader.handle_chain(1 + STORE_US, ChainReply::Newest(Some(before.clone())));
        leader.handle_reopened(1 + STORE_US);
        let next = made(&said(&mut leader)).expect("it takes an epoch");
        assert_eq!(before.entitles(&next), Ok(()));
        assert_eq!(leader.handle_append(1), Err(NotNow::Unsettled), "not before it is made");
        answer(&mut leader, &next);
        assert!(said(&mut leader).contains(&Output::Renewed(next.clone())));
        assert_eq!((leader.epoch(), leader.handle_append(2)), (next.epoch, Ok(4)));
        leader.handle_stored(2, 4);
        assert_eq!(released(&said(&mut leader)), Some(4));
    }

    #[test]
    fn who_hears_of_its_own_next_epoch_from_one_who_has_read_it_goes_on() {
        let mut leader = leader(Tier::Durable);
        let next = reopened(&mut leader, 1);
        let candidate = member(2);
        let ask = Ask {
            candidate,
            epoch: candidate.epoch_after(next.epoch.number),
            record: Box::new(Record::clone(&next)),
            log: (Some(next.epoch), 3),
            stamp_us: 1,
        };
        let tells = Message::Lead { record: Box::new(Record::clone(&next)), end: None };
        for (from, message) in [(Party::Member(candidate), Message::Ask(ask)), (Party::Home, tells)] {
            leader.handle_message(1, from, message);
            assert!(!said(&mut leader).contains(&Output::Deposed) && !leader.is_over());
            assert_eq!(leader.handle_append(1), Err(NotNow::Unsettled), "the store has not said so");
        }
        answer(&mut leader, &next);
        assert!(said(&mut leader).contains(&Output::Renewed(next.clone())));
        assert_eq!((leader.epoch(), leader.handle_append(2)), (next.epoch, Ok(4)));
        // So it does while the log is sealed once more.
        let above = reopened(&mut leader, 3);
        for is_reopened in [false, true] {
            leader.handle_sealed(4);
            if is_reopened {
                leader.handle_reopened(4);
            }
            let tells = Message::Lead { record: Box::new(Record::clone(&above)), end: None };
            leader.handle_message(4, Party::Home, tells);
            assert!(!said(&mut leader).contains(&Output::Deposed) && !leader.is_over());
        }
    }

    /// What was in the log before may be on its way to a follower still.
    #[test]
    fn what_is_fenced_is_not_released_whatever_followers_acknowledge() {
        for is_sealed in [false, true] {
            let (me, follower) = (member(1), member(2));
            let first = Record::first(terms(Tier::Durable).session, me);
            let counted = Arc::new(first.with_set([follower].into(), 0, Cause::Admitted));
            let mut leader = Leader::new(0, me, terms(Tier::Durable), counted, 0);
            leader.handle_append(0).unwrap();
            leader.handle_flush(0);
            leader.handle_stored(0, 1);
            assert_eq!(released(&said(&mut leader)), None, "the follower lacks it");
            if is_sealed {
                leader.handle_sealed(1);
            }
            let epoch = leader.epoch();
            let ack = Ack { epoch, stamp_us: Some(1), received: 1, applied: 1, record: 2, has_diverged: false };
            leader.handle_message(2, Party::Member(follower), Message::Ack(ack));
            let (up_to, committed) = if is_sealed { (None, 0) } else { (Some(1), 1) };
            assert_eq!((released(&said(&mut leader)), leader.committed()), (up_to, committed));
        }
    }

    /// Nobody follows, and somebody else may have taken it over.
    #[test]
    fn views_pause_where_only_the_store_can_tell_who_leads_and_does_not() {
        let paused = |leader: &mut Leader, now| {
            leader.handle_turn(now);
            said(leader).iter().rev().find_map(|output| match output {
                Output::Paused(is_paused) => Some(*is_paused),
                _ => None,
            })
        };
        let patience = RIGHT_US + PAUSE_US;
        let turns = |leader: &mut Leader, from: u64, to: u64| {
            let turns = (from / 100_000..=to / 100_000).map(|turn| paused(leader, turn * 100_000));
            turns.fold(None, |last, next| next.or(last))
        };
        let mut unstored = leader(Tier::Durable);
        assert_eq!(turns(&mut unstored, 0, patience - 100_000), None);
        assert_eq!(turns(&mut unstored, patience, patience), Some(true), "the store was asked, and says nothing");
        unstored.handle_stored(patience, 3);
        assert_eq!(paused(&mut unstored, patience + 1), Some(false));
        // It takes nothing for long, and knows of nobody else.
        let mut slow = leader(Tier::Durable);
        for turn in 1..=50 {
            assert_eq!(paused(&mut slow, turn * 100_000), None);
            slow.handle_chain(turn * 100_000, ChainReply::Newest(Some(slow.record().clone())));
        }

        let mut sealed = leader(Tier::Durable);
        sealed.handle_stored(0, 3);
        assert_eq!(turns(&mut sealed, 0, patience), None, "what it has is stored");
        sealed.handle_sealed(patience);
        assert_eq!(turns(&mut sealed, patience, 2 * patience - 100_000), None);
        assert_eq!(turns(&mut sealed, 2 * patience, 2 * patience), Some(true));

        // It stood still for long: the store is asked first.
        let mut stood_still = leader(Tier::Durable);
        stood_still.handle_stored(0, 3);
        assert_eq!(paused(&mut stood_still, 5_000_000), Some(true));
        stood_still.handle_chain(5_000_001, ChainReply::Newest(Some(stood_still.record().clone())));
        assert_eq!(paused(&mut stood_still, 5_000_002), Some(false));
    }

    #[test]
    fn who_finds_another_leader_is_deposed() {
        let mut leader = leader(Tier::Durable);
        let by = member(2);
        let cause = (Cause::Recovered { seal: 4 }, ChainHome::Store);
        let theirs = leader.record().succeeded(by, by.epoch_after(1), [].into(), 2, cause);
        leader.handle_sealed(1);
        leader.handle_reopened(1);
        assert!(made(&said(&mut leader)).is_some());
        answer(&mut leader, &Arc::new(theirs));
        assert!(said(&mut leader).contains(&Output::Deposed) && leader.is_over());
    }

    #[test]
    fn an_epoch_that_was_begun_before_the_log_was_opened_once_more_is_fenced_too() {
        let mut leader = leader(Tier::Durable);
        let first = reopened(&mut leader, 1);
        leader.handle_sealed(2);
        leader.handle_reopened(2);
        assert_eq!(made(&said(&mut leader)), None, "one at a time");
        answer(&mut leader, &first);
        let second = made(&said(&mut leader)).expect("another");
        assert!(
            (leader.is_fenced(), leader.epoch()) == (true, first.epoch) && second.epoch.number > first.epoch.number
        );
        answer(&mut leader, &second);
        assert!(!leader.is_fenced());
    }

    #[test]
    fn what_is_not_durable_goes_on() {
        let mut leader = leader(Tier::Replicated);
        let epoch = leader.epoch();
        leader.handle_sealed(1);
        assert_eq!(leader.handle_append(1), Ok(4));
        leader.handle_reopened(1);
        assert_eq!((made(&said(&mut leader)), leader.epoch()), (None, epoch));
    }
}
