//! The last records of sessions of which a worker has nothing any more: what it tells whoever was away meanwhile.
//!
//! Where the chain is in the log, nobody else may be left who can. A leader that slept while its session was promoted and
//! ended would go on with it otherwise: all that it asks have nothing of the session, which looks like a cluster that has
//! lost it. That a session is over is the last record of its chain here, too ([`Leader::last_record`](super::Leader)): it
//! counts nobody, so that a follower that missed the end does not stay for a leader that will not come.
//!
//! A leader that went on by itself, by records of its own, has a branch ([`super::healing`]): it asks as it would ask a
//! leader. The branch that ended goes on over it, as it would if it were led still, if it accepted *more*: of equals the one
//! that somebody leads. Nothing is said where it did not, and whoever hears nothing goes on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::message::Message;
use super::record::{Cause, ChainHome, Copy, Member, Record, Terms};
use super::{Claim, newer};
use crate::ids::{Position, SessionId};
use crate::limits;

/// A session that is over, or elsewhere.
#[derive(Debug)]
struct Last {
    record: Arc<Record>,
    /// Where this worker led it to its end: how many player inputs its branch accepted after each of its terms began.
    inputs: Vec<(Position, u64)>,
}

/// The last records that a worker knows. Beyond [`limits::LAST_RECORDS`] the oldest is forgotten.
#[derive(Debug, Default)]
pub struct LastRecords {
    records: BTreeMap<SessionId, Last>,
    order: VecDeque<SessionId>,
}

impl LastRecords {
    /// A session is followed no more, and this is the newest record that its follower knew; or its last one, if it is over.
    pub fn let_go(&mut self, terms: &Terms, record: &Arc<Record>) {
        self.remember(terms, record.clone(), Vec::new());
    }

    /// A session that was led here is over, by this record; its branch accepted so many player inputs after a position.
    pub fn end(&mut self, terms: &Terms, record: Record, inputs_after: impl Fn(Position) -> u64) {
        let begins = record.lineage.terms().iter().map(|term| term.first.saturating_sub(1));
        let inputs = begins.map(|since| (since, inputs_after(since))).collect();
        self.remember(terms, Arc::new(record), inputs);
    }

    fn remember(&mut self, terms: &Terms, record: Arc<Record>, inputs: Vec<(Position, u64)>) {
        if terms.home() == ChainHome::Store {
            // That tells.
            return;
        }
        let session = record.session.clone();
        match self.records.get_mut(&session) {
            Some(last) if !record.is_newer(&last.record) => return,
            Some(last) => *last = Last { record, inputs },
            None => {
                self.records.insert(session.clone(), Last { record, inputs });
                self.order.push_back(session);
            }
        }
        if self.order.len() > limits::LAST_RECORDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.records.remove(&oldest);
        }
    }

    /// What is told whoever says something of a session of which `me` has nothing; nothing to who knows as much.
    pub fn answer(&self, me: Member, session: &SessionId, message: &Message) -> Option<Message> {
        let last = self.records.get(session)?;
        let record = &last.record;
        let knows_less = match message {
            Message::Append(append) => newer(record.epoch, append.epoch),
            Message::Ack(ack) => (record.epoch, record.number) > (ack.epoch, ack.record),
            Message::Lead { record: theirs, .. } => record.is_newer(theirs),
            // Who asks counts on being answered by all whom its record names: what does not speak against it is no answer.
            Message::Ask(ask) if !record.names(ask.candidate) => {
                let mut copy = Copy::default();
                copy.offer(record);
                return Some(Message::Answer(copy.answer(ask)));
            }
            Message::Claim { claim, record: theirs, end }
                if record.leader == me && newer(record.epoch, claim.epoch) =>
            {
                return last.settle(me, claim, theirs, *end);
            }
            _ => false,
        };
        knows_less.then(|| Message::Lead { record: Box::new(Record::clone(record)), end: None })
    }
}

impl Last {
    /// A leader of an older epoch had gone on. Which of the two goes on is decided as if this one led.
    fn settle(&self, me: Member, theirs: &Claim, record: &Record, end: Position) -> Option<Message> {
        let fork = self.record.lineage.common(self.record.position, &record.lineage, end);
        let mine = self.inputs.iter().find(|(since, _)| *since >= fork).map_or(0, |(_, inputs)| *inputs);
        if mine <= theirs.inputs {
            return None;
        }
        // The winner takes an epoch above both first, and be it that it has ended.
        let epoch = me.epoch_after(self.record.epoch.number.max(theirs.epoch.number));
        let cause = (Cause::Healed { over: theirs.epoch }, ChainHome::Log);
        let above = self.record.succeeded(me, epoch, self.record.in_sync.clone(), self.record.position, cause);
        Some(Message::Lead { record: Box::new(above), end: None })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::Leader;
    use super::super::message::{Ack, Append, Ask, Output, Party, Promotion};
    use super::super::record::{PartitionPolicy, Tier};
    use super::*;
    use crate::ids::{Node, NodeId, WorkerId};

    fn member(id: u64) -> Member {
        Member { node: Node { id: NodeId(id), generation: 1 }, worker: WorkerId(0) }
    }

    fn session(number: usize) -> SessionId {
        format!("arena/{number}@0000000000000001").parse().unwrap()
    }

    fn terms() -> Terms {
        let (tier, policy) = (Tier::Replicated, PartitionPolicy::Available);
        Terms { session: session(0), tier, policy, followers: 1, is_recorded: false }
    }

    /// How a member came to lead after the fifth entry of the first leader, in the epoch after `number`.
    fn promotion(id: u64, number: u64) -> Promotion {
        let cause = (Cause::Promoted, ChainHome::Log);
        let first = Record::first(session(0), member(1));
        let record = Arc::new(first.succeeded(member(id), member(id).epoch_after(number), BTreeSet::new(), 5, cause));
        let (is_complete, has_stalled, has_died, killers) = (true, false, false, Vec::new());
        let former = BTreeSet::new();
        Promotion { record, end: 5, committed: 5, is_complete, former, has_stalled, has_died, killers }
    }

    /// What member 2 remembers: it was promoted, and led the session to its end.
    fn ended(inputs: u64) -> LastRecords {
        let mut leader = Leader::promoted(0, member(2), terms(), promotion(2, 2));
        leader.handle_append(0).unwrap();
        let mut last = LastRecords::default();
        last.end(&terms(), leader.last_record(), |since| if since < 5 { inputs + 100 } else { inputs });
        last
    }

    fn heartbeat(epoch: crate::ids::Epoch) -> Message {
        let (stamp_us, from, to, committed) = (1, 5, 5, 5);
        Message::Append(Append { epoch, stamp_us, from, to, committed, record: None, mark: None })
    }

    fn said(leader: &mut Leader) -> Vec<Output> {
        std::iter::from_fn(|| leader.poll()).collect()
    }

    #[test]
    fn a_leader_that_slept_hears_that_its_session_went_on_and_is_over() {
        let last = ended(0);
        let mut slept = Leader::create(0, member(1), terms());
        let answer = last.answer(member(2), &session(0), &heartbeat(slept.epoch())).unwrap();
        slept.handle_message(1, Party::Member(member(2)), answer);
        assert!(said(&mut slept).contains(&Output::Deposed));
    }

    #[test]
    fn whoever_follows_what_is_over_counts_no_more_and_whoever_knows_as_much_is_told_nothing() {
        let last = ended(0);
        let record = promotion(2, 2).record;
        let ack = |record| {
            let (stamp_us, has_diverged) = (None, false);
            let epoch = promotion(2, 2).record.epoch;
            Message::Ack(Ack { epoch, stamp_us, received: 7, applied: 7, record, has_diverged })
        };
        let Some(Message::Lead { record: told, end: None }) = last.answer(member(2), &session(0), &ack(record.number))
        else {
            panic!("a follower is told")
        };
        assert_eq!((told.cause, told.in_sync.len(), told.epoch), (Cause::Ended, 0, record.epoch));
        assert!(told.is_newer(&record));
        let (candidate, epoch) = (member(3), member(3).epoch_after(3));
        let ask = Ask { candidate, epoch, record: Box::new((*record).clone()), log: (None, 7), stamp_us: 1 };
        let asked = Message::Ask(ask);
        let answer = last.answer(member(2), &session(0), &asked);
        assert!(matches!(answer, Some(Message::Answer(answer)) if answer.record == Some(told.clone())));
        assert_eq!(last.answer(member(2), &session(0), &ack(told.number)), None);
        // One that knows of nothing that speaks against a candidate says nothing.
        let mut former = LastRecords::default();
        former.let_go(&terms(), &Arc::new(record.with_set([candidate].into(), 6, Cause::Admitted)));
        assert_eq!(former.answer(member(4), &session(0), &asked), None);
        assert_eq!(last.answer(member(2), &session(0), &heartbeat(told.epoch)), None);
        let newer = Message::Lead { record: promotion(3, 3).record.as_ref().clone().into(), end: Some(6) };
        assert_eq!(last.answer(member(2), &session(0), &newer), None);
        assert_eq!(last.answer(member(2), &session(1), &heartbeat(record.epoch)), None, "of another session");
    }

    /// What a leader that went on by itself makes of an end elsewhere, where its branch accepted four player inputs.
    fn meets(inputs: u64) -> Vec<Output> {
        let last = ended(inputs);
        let mut branch = Leader::promoted(0, member(1), terms(), promotion(1, 1));
        let answer = last.answer(member(2), &session(0), &heartbeat(branch.epoch())).unwrap();
        branch.handle_message(1, Party::Member(member(2)), answer);
        assert!(said(&mut branch).contains(&Output::Count { since: 5 }));
        branch.handle_counted(2, 5, 4);
        let claims = said(&mut branch).into_iter().filter_map(|output| match output {
            Output::Send { message: message @ Message::Claim { .. }, .. } => Some(message),
            _ => None,
        });
        let claim = claims.last().unwrap();
        if let Some(answer) = last.answer(member(2), &session(0), &claim) {
            branch.handle_message(3, Party::Member(member(2)), answer);
        }
        branch.handle_turn(super::super::timing::YIELD_US + 3);
        said(&mut branch)
    }

    #[test]
    fn an_end_goes_on_over_a_branch_that_accepted_less_and_over_no_other() {
        let is_superseded = |output: &Output| matches!(output, Output::Superseded { fork: 5, .. });
        let is_renewed = |output: &Output| matches!(output, Output::Renewed(_));
        let with_more = meets(5);
        assert!(with_more.iter().any(is_superseded) && !with_more.iter().any(is_renewed));
        let with_as_many = meets(4);
        assert!(with_as_many.iter().any(is_renewed) && !with_as_many.iter().any(is_superseded));
    }

    #[test]
    fn last_records_beyond_the_bound_are_forgotten_oldest_first() {
        let mut last = LastRecords::default();
        for number in 0..limits::LAST_RECORDS + 1 {
            let record = Record::first(session(number), member(1)).with_set(BTreeSet::new(), 1, Cause::Removed);
            last.let_go(&terms(), &Arc::new(record));
        }
        let speaks_of =
            |number| Message::Lead { record: Box::new(Record::first(session(number), member(1))), end: None };
        let knows = |number| last.answer(member(2), &session(number), &speaks_of(number)).is_some();
        assert_eq!((knows(0), knows(1), knows(limits::LAST_RECORDS)), (false, true, true));
        // An older record does not replace a newer one.
        let newest = last.records[&session(1)].record.clone();
        last.let_go(&terms(), &Arc::new(Record::first(session(1), member(1))));
        assert_eq!(last.records[&session(1)].record, newest);
    }
}
