//! Leader and followers by hand: the bounds, and the ways of things that have a name. What happens between them in all
//! orders is the simulator's.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::chain::Request;
use super::leader::SuspectTurn;
use super::leader::{ChainReply, Lag, MoveError, NotNow};
use super::message::{Ack, Append, Mark, Message, Output, Party, Promotion};
use super::record::{Cause, ChainHome, Member, Motive, PartitionPolicy, Record, Terms, Tier};
use super::suspect::{Suspect, Suspects};
use super::timing::{
    HEARTBEAT_US, HOLD_US, PROMISE_US, REMINDER_US, REMOVAL_US, RIGHT_US, SUSPECT_US, SUSPECT_WAIT_US, WANTED_US,
};
use super::{Claim, Follower, Leader, newer, wins};
use crate::ids::{Epoch, Incarnation, Node, NodeId, Position, SessionId, Slot, StateHash, WorkerId};
use crate::limits;
use crate::log::{Input, LeaveReason};

fn member(id: u64) -> Member {
    Member { node: Node { id: NodeId(id), generation: 1 }, worker: WorkerId(0) }
}

/// A replicated session with its chain in the log.
fn terms(followers: usize) -> Terms {
    let session = "arena/a@0000000000000001".parse().unwrap();
    Terms { session, tier: Tier::Replicated, policy: PartitionPolicy::Available, followers, is_recorded: false }
}

fn mark(position: Position, hash: u8) -> Mark {
    Mark { position, hash: StateHash([hash; 32]) }
}

/// A leader, its followers, and a network that loses what goes to and comes from those that are cut off.
struct Group {
    now: u64,
    leader: Leader,
    followers: BTreeMap<Member, Follower>,
    cut: Vec<Member>,
    /// What was said to or by those, to whom.
    lost: Vec<(Member, Message)>,
    /// What the leader and its followers said to be done, but for messages.
    said: Vec<(Member, Output)>,
}

impl Group {
    fn new(followers: usize) -> Group {
        Group::asking(followers, followers)
    }

    /// So many follow, and the session asks for fewer.
    fn asking(followers: usize, asks_for: usize) -> Group {
        let now = 10_000_000;
        let leader = Leader::create(now, member(1), terms(asks_for));
        let follower = |id| (member(id), Follower::new(now, member(id), terms(asks_for)));
        let followers = (2..2 + followers as u64).map(follower).collect();
        let mut group = Group { now, leader, followers, cut: Vec::new(), lost: Vec::new(), said: Vec::new() };
        for who in group.followers.keys() {
            group.leader.handle_recruit(now, *who);
        }
        group.run(1_000_000);
        assert_eq!(group.leader.record().in_sync.len(), asks_for, "as many as are asked for count");
        group
    }

    fn run(&mut self, length_us: u64) {
        for _ in 0..length_us / 10_000 {
            self.now += 10_000;
            self.leader.handle_turn(self.now);
            self.leader.handle_flush(self.now);
            let turns: Vec<Member> = self.followers.keys().copied().collect();
            for who in turns {
                self.followers.get_mut(&who).unwrap().handle_turn(self.now);
            }
            self.settle();
        }
    }

    /// Carries what is said until nothing more is.
    fn settle(&mut self) {
        loop {
            let first = self.leader.poll().map(|output| (self.leader.record().leader, output));
            let followers = &mut self.followers;
            let next = first.or_else(|| {
                followers.iter_mut().find_map(|(who, follower)| follower.poll().map(|output| (*who, output)))
            });
            let Some((from, output)) = next else { return };
            let Output::Send { to: Party::Member(to), message } = output else {
                self.said.push((from, output));
                continue;
            };
            if self.cut.contains(&from) || self.cut.contains(&to) {
                self.lost.push((to, message));
                continue;
            }
            if to == self.leader.record().leader {
                self.leader.handle_message(self.now, Party::Member(from), message);
            } else if let Some(follower) = self.followers.get_mut(&to) {
                follower.handle_message(self.now, Party::Member(from), message);
            }
        }
    }

    fn released(&mut self) -> Position {
        let released = self.said.iter().rev().find_map(|(_, output)| match output {
            Output::Release(release) => Some(release.up_to),
            _ => None,
        });
        released.unwrap_or(0)
    }
}

#[test]
fn what_every_follower_has_is_released_and_what_one_lacks_waits_until_it_is_taken_out() {
    let mut group = Group::new(2);
    let position = group.leader.handle_append(group.now).unwrap();
    group.run(HEARTBEAT_US);
    assert!(group.released() >= position);
    group.cut.push(member(3));
    let waits = group.leader.handle_append(group.now).unwrap();
    group.run(REMOVAL_US / 2);
    assert!(group.released() < waits, "one of two does not have it");
    group.run(REMOVAL_US);
    assert_eq!(group.leader.record().cause, Cause::Removed);
    assert!(!group.leader.record().counts(member(3)) && group.leader.record().counts(member(2)));
    assert!(group.released() >= waits);
}

#[test]
fn a_branch_is_healed_over_once_however_often_it_claims() {
    let now = 10_000_000;
    let mut leader = Leader::create(now, member(2), terms(0));
    let other = Record::first(terms(0).session, member(1));
    let claim = Claim { session: terms(0).session, epoch: other.epoch, inputs: 0 };
    assert!(newer(leader.epoch(), other.epoch));
    let from = Party::Member(member(1));
    let mut said = Vec::new();
    for _ in 0..3 {
        let message = Message::Claim { claim: claim.clone(), record: Box::new(other.clone()), end: 0 };
        leader.handle_message(now, from, message);
        while let Some(output) = leader.poll() {
            if let Output::Count { since } = output {
                leader.handle_counted(now, since, 1);
            }
            said.push(output);
        }
    }
    let renewals = said.iter().filter(|output| matches!(output, Output::Renewed(_))).count();
    assert_eq!((renewals, leader.record().cause), (1, Cause::Healed { over: other.epoch }));
    let told = Message::Lead { record: Box::new(Record::clone(leader.record())), end: None };
    let is_answer = |output: &Output| matches!(output, Output::Send { to, message } if *to == from && *message == told);
    assert!(said.iter().filter(|output| is_answer(output)).count() >= 2, "each claim after it is answered: {said:?}");
}

#[test]
fn a_follower_is_as_late_as_what_it_has_acknowledged_is_old() {
    let mut group = Group::new(1);
    group.leader.handle_append(group.now).unwrap();
    group.run(10_000);
    let lag = |group: &Group| group.leader.lags(group.now).next().unwrap();
    let Lag { follower, entries, unfolded, late_us } = lag(&group);
    assert_eq!((follower, entries), (member(2), 0));
    assert!(unfolded > 0, "nobody folds here");
    assert!(late_us.is_some_and(|late| late <= HEARTBEAT_US), "{late_us:?}");
    group.cut.push(member(2));
    group.leader.handle_append(group.now).unwrap();
    group.run(REMOVAL_US / 2);
    let Lag { entries, late_us, .. } = lag(&group);
    assert_eq!(entries, 1);
    assert!(late_us.is_some_and(|late| late >= REMOVAL_US / 2), "{late_us:?}");
}

#[test]
fn no_promise_ends_before_the_right_that_it_backs() {
    let mut group = Group::new(1);
    group.cut.push(member(2));
    let cut_at = group.now;
    let promised = group.followers[&member(2)].promised_until();
    group.run(REMOVAL_US / 2);
    assert!(group.leader.has_right(group.now));
    assert!(promised >= cut_at + PROMISE_US - HEARTBEAT_US && promised > cut_at + RIGHT_US);
}

#[test]
fn a_follower_that_differs_hears_that_it_was_taken_out() {
    let mut group = Group::new(1);
    let position = group.leader.handle_append(group.now).unwrap();
    group.run(HEARTBEAT_US);
    group.leader.handle_mark(mark(position, 1));
    let follower = group.followers.get_mut(&member(2)).unwrap();
    follower.handle_applied(mark(position, 2));
    group.run(HEARTBEAT_US * 2);
    let differs = |(who, output): &(Member, Output)| *who == member(2) && matches!(output, Output::Diverged { .. });
    assert!(group.said.iter().any(differs));
    // The record that takes it out is lost on its way, and the leader speaks to it no more.
    group.run(REMOVAL_US + 2 * PROMISE_US);
    assert!(!group.leader.record().counts(member(2)));
    assert!(!group.followers[&member(2)].counts());
}

#[test]
fn what_only_a_follower_has_that_would_not_lead_is_not_safe() {
    let mut group = Group::new(1);
    group.followers.get_mut(&member(2)).unwrap().handle_lost();
    let end = group.leader.handle_append(group.now).unwrap();
    group.run(1_000_000);
    assert!(group.leader.record().in_sync.is_empty(), "it is taken out");
    let is_told_as_safe = |output: &Output| matches!(output, Output::Release(release) if release.up_to >= end && release.tier != Tier::Volatile);
    assert!(!group.said.iter().any(|(_, output)| is_told_as_safe(output)));
}

#[test]
fn who_is_to_lead_counts_though_there_are_enough_and_then_one_is_too_many() {
    let mut group = Group::asking(2, 1);
    let counts = *group.leader.record().in_sync.first().unwrap();
    let other = *group.followers.keys().find(|who| **who != counts).unwrap();
    assert!(!group.leader.record().counts(other), "there are enough");
    group.leader.handle_wanted(group.now, other);
    group.run(1_000_000);
    assert!(group.leader.record().counts(other) && group.leader.record().counts(counts));
    group.run(WANTED_US);
    assert_eq!(group.leader.record().in_sync.len(), 1, "it was not moved");
}

#[test]
fn who_was_taken_out_while_it_was_cut_off_is_told_until_it_answers() {
    let mut group = Group::new(2);
    group.cut.push(member(3));
    group.run(10_000_000);
    let is_told = |(to, message): &&(Member, Message)| match message {
        Message::Lead { record, .. } => *to == member(3) && !record.counts(member(3)),
        _ => false,
    };
    let told = group.lost.iter().filter(is_told).count();
    assert!((4..=7).contains(&told), "{told} times in ten seconds, with growing pauses");
    group.cut.clear();
    group.run(REMINDER_US);
    group.lost.clear();
    group.cut.push(member(3));
    group.run(REMOVAL_US - HEARTBEAT_US);
    assert_eq!(group.lost.iter().filter(is_told).count(), 0, "it has answered");
}

/// Whether a leader contradicts one of a newer epoch depends on whether it went on without it, not on how many records
/// each has made since.
#[test]
fn a_leader_that_went_on_alone_counts_its_branch_however_many_records_the_other_has() {
    for (was_alone, contradicts) in [(true, true), (false, false)] {
        let mut group = Group::new(1);
        let shared = group.leader.record().clone();
        group.cut.push(member(2));
        if was_alone {
            group.run(2 * REMOVAL_US);
            assert_eq!(group.leader.record().cause, Cause::Removed);
        }
        let epoch = Epoch { number: shared.epoch.number + 1, node: 2, node_generation: 1 };
        let promotion = (Cause::Promoted, ChainHome::Log);
        let mut other = shared.succeeded(member(2), epoch, [].into(), shared.position, promotion);
        for number in 3..6 {
            other = other.with_set([member(number)].into(), other.position + 1, Cause::Admitted);
        }
        assert!(other.number > group.leader.record().number);
        let message = Message::Lead { record: Box::new(other), end: None };
        group.leader.handle_message(group.now, Party::Member(member(2)), message);
        group.settle();
        let said = |wanted: fn(&Output) -> bool| group.said.iter().any(|(_, output)| wanted(output));
        assert_eq!(said(|output| matches!(output, Output::Count { .. })), contradicts);
        assert_eq!(said(|output| matches!(output, Output::Deposed)), !contradicts);
    }
}

#[test]
fn the_home_is_told_until_it_answers() {
    let mut group = Group::new(1);
    let is_told = |(_, output): &&(Member, Output)| matches!(output, Output::Send { to: Party::Home, .. });
    group.said.clear();
    group.run(10_000_000);
    assert!((2..=4).contains(&group.said.iter().filter(is_told).count()), "with growing pauses");
    let mut copy = super::record::Copy::default();
    let record = Box::new((*copy.told(group.leader.record())).clone());
    group.leader.handle_message(group.now, Party::Home, Message::Lead { record, end: None });
    group.said.clear();
    group.run(10_000_000);
    assert_eq!(group.said.iter().filter(is_told).count(), 0);
    group.leader.handle_home(group.now);
    group.run(HEARTBEAT_US);
    assert_eq!(group.said.iter().filter(is_told).count(), 1, "another home knows nothing");
}

#[test]
fn former_followers_beyond_the_bound_are_not_told() {
    let former = (2..).take(limits::FORMER + 5).map(member).collect();
    let created = Leader::create(0, member(1), terms(1));
    let record = created.record().clone();
    let (is_complete, has_stalled, has_died, killers) = (true, false, true, Vec::new());
    let promotion = Promotion { record, end: 5, committed: 5, is_complete, former, has_stalled, has_died, killers };
    let mut leader = Leader::promoted(0, member(1), terms(1), promotion);
    leader.handle_turn(HEARTBEAT_US);
    let told = std::iter::from_fn(|| leader.poll())
        .filter(|output| matches!(output, Output::Send { to: Party::Member(_), message: Message::Lead { .. } }))
        .count();
    assert_eq!(told, limits::FORMER);
}

#[test]
fn followers_beyond_the_bound_are_not_recruited() {
    let mut leader = Leader::create(0, member(1), terms(20));
    for id in 2..20 {
        leader.handle_recruit(0, member(id));
    }
    assert_eq!(leader.lags(0).count(), limits::FOLLOWERS);
}

#[test]
fn entries_beyond_a_batch_go_with_the_next() {
    let mut group = Group::new(1);
    let before = group.leader.end();
    for _ in 0..limits::BATCH_ENTRIES + 10 {
        group.leader.handle_append(group.now).unwrap();
    }
    group.leader.handle_flush(group.now);
    let sent: Vec<Append> = std::iter::from_fn(|| group.leader.poll())
        .filter_map(|output| match output {
            Output::Send { message: Message::Append(append), .. } => Some(append),
            _ => None,
        })
        .collect();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].from, sent[0].to), (before, before + limits::BATCH_ENTRIES));
    // The batch itself is lost.
    group.run(1_000_000);
    assert_eq!(group.followers[&member(2)].end(), group.leader.end());
}

#[test]
fn hashes_beyond_the_bound_are_not_compared() {
    let mut group = Group::new(1);
    let first = group.leader.end() + 1;
    for _ in 0..=limits::MARKS {
        group.leader.handle_append(group.now).unwrap();
    }
    group.run(HEARTBEAT_US);
    let follower = group.followers.get_mut(&member(2)).unwrap();
    (first..).take(limits::MARKS + 1).for_each(|position| follower.handle_applied(mark(position, 2)));
    let differs = |group: &Group| group.said.iter().any(|(_, output)| matches!(output, Output::Diverged { .. }));
    group.leader.handle_mark(mark(first, 1));
    group.run(HEARTBEAT_US * 2);
    assert!(!differs(&group), "the oldest was forgotten");
    group.leader.handle_mark(mark(first + 1, 1));
    group.run(HEARTBEAT_US * 2);
    assert!(differs(&group));
}

#[test]
fn records_that_do_not_count_yet_are_bounded() {
    let mut group = Group::new(limits::PENDING_RECORDS + 2);
    let before = group.leader.record().number;
    // The last one hears everything and acknowledges no record, so that none counts; the others go one by one.
    let stubborn = *group.followers.keys().last().unwrap();
    group.followers.remove(&stubborn);
    let others: Vec<Member> = group.followers.keys().copied().collect();
    let (mut stamp, mut most) = (None, 0);
    for who in others {
        group.cut.push(who);
        for _ in 0..(REMOVAL_US + 100_000) / 10_000 {
            group.run(10_000);
            stamp = Some(group.now).or(stamp);
            let ack = Ack {
                epoch: group.leader.epoch(),
                stamp_us: stamp,
                received: group.leader.end(),
                applied: 0,
                record: before,
                has_diverged: false,
            };
            group.leader.handle_message(group.now, Party::Member(stubborn), Message::Ack(ack));
            group.settle();
            most = most.max(group.leader.pending_records());
        }
    }
    assert_eq!(most, limits::PENDING_RECORDS);
}

fn claim((number, node, incarnation, inputs): (u64, u64, u64, u64)) -> Claim {
    Claim {
        session: SessionId {
            game: "pong".parse().unwrap(),
            key: "a".parse().unwrap(),
            incarnation: Incarnation(incarnation),
        },
        epoch: Epoch { number, node, node_generation: 7 },
        inputs,
    }
}

#[test]
fn more_inputs_win_then_the_greater_epoch() {
    assert!(wins(&claim((1, 1, 1, 5)), &claim((9, 9, 9, 4))));
    assert!(wins(&claim((2, 1, 1, 5)), &claim((1, 9, 9, 5))));
    assert!(wins(&claim((1, 2, 1, 5)), &claim((1, 1, 9, 5))));
    assert!(wins(&claim((2, 1, 1, 0)), &claim((1, 9, 1, 100))), "of one session the newer epoch wins");
}

#[test]
fn a_restarted_node_is_newer_than_before() {
    let epoch = |node_generation| Epoch { number: 1, node: 3, node_generation };
    assert!(newer(epoch(8), epoch(7)) && !newer(epoch(7), epoch(8)) && !newer(epoch(7), epoch(7)));
}

proptest! {
    #[test]
    fn exactly_one_of_two_wins(
        one in (1..3_u64, 0..3_u64, 0..3_u64, 0..3_u64),
        other in (1..3_u64, 0..3_u64, 0..3_u64, 0..3_u64),
    ) {
        let (one, other) = (claim(one), claim(other));
        // Equal epochs of one session are one leader's claim, heard twice.
        prop_assume!(one.epoch != other.epoch || one.session != other.session);
        prop_assert_ne!(wins(&one, &other), wins(&other, &one));
    }
}

/// A store that answers what was asked so far, as often as it takes.
fn serve(group: &mut Group, chain: &mut Vec<Arc<Record>>) {
    loop {
        let asked = group.said.iter().position(|(_, output)| matches!(output, Output::Chain(_)));
        let Some(asked) = asked else { return };
        let (who, Output::Chain(request)) = group.said.remove(asked) else { return };
        let reply = match request {
            Request::Create(record) => {
                if chain.iter().all(|other| other.number != record.number) {
                    chain.push(record);
                }
                ChainReply::Created
            }
            Request::Newest => ChainReply::Newest(chain.iter().max_by_key(|record| record.number).cloned()),
        };
        match group.followers.get_mut(&who) {
            Some(follower) => follower.handle_chain(group.now, reply),
            None => group.leader.handle_chain(group.now, reply),
        }
        group.settle();
    }
}

fn is_evicted(group: &Group) -> bool {
    group.said.iter().any(|(_, output)| matches!(output, Output::Evicted(_)))
}

#[test]
fn a_session_is_evicted_when_its_followers_know_and_the_store_has_the_record() {
    let (mut group, mut chain) = (Group::new(2), Vec::new());
    let end = group.leader.handle_append(group.now).unwrap();
    assert_eq!(group.leader.handle_evict(group.now), Err(MoveError::Busy), "it is not released");
    group.run(HEARTBEAT_US);
    group.leader.handle_evict(group.now).unwrap();
    assert_eq!(group.leader.handle_append(group.now), Err(NotNow::Moving));
    group.run(HEARTBEAT_US);
    assert!(chain.is_empty() && !is_evicted(&group));
    serve(&mut group, &mut chain);
    let record = chain.last().expect("a record").clone();
    assert!(record.is_at_rest() && record.position == end, "{record:?}");
    group.run(2 * HEARTBEAT_US);
    assert!(is_evicted(&group) && group.leader.is_over());
    assert!(group.followers.values().all(|follower| !follower.counts()));
    group.said.clear();
    group.run(3 * PROMISE_US);
    let stands = |(_, output): &(Member, Output)| matches!(output, Output::Lead(_) | Output::Chain(Request::Create(_)));
    assert!(!group.said.iter().any(stands), "nobody stands for what nobody leads");
}

#[test]
fn a_follower_that_is_silent_holds_up_no_session_that_would_be_evicted() {
    let mut group = Group::new(2);
    group.cut.push(member(3));
    group.leader.handle_evict(group.now).unwrap();
    group.run(HOLD_US + 2 * HEARTBEAT_US);
    assert!(group.said.iter().any(|(_, output)| *output == Output::NotEvicted));
    group.run(REMOVAL_US + HEARTBEAT_US);
    assert!(group.leader.handle_append(group.now).is_ok() && !group.leader.record().counts(member(3)));
}

/// Its leader ends in between: of the two who make the next record the store takes one.
#[test]
fn a_session_whose_leader_ends_while_it_is_evicted_goes_on_or_is_in_the_store() {
    for is_made in [false, true] {
        let (mut group, mut chain) = (Group::new(1), Vec::new());
        group.leader.handle_evict(group.now).unwrap();
        group.run(HEARTBEAT_US);
        if is_made {
            serve(&mut group, &mut chain);
        }
        group.cut.push(member(1));
        group.said.retain(|(_, output)| !matches!(output, Output::Chain(_)));
        for _ in 0..40 {
            group.run(50_000);
            group.said.retain(|(who, output)| *who != member(1) || !matches!(output, Output::Chain(_)));
            serve(&mut group, &mut chain);
        }
        let leads = group.said.iter().any(|(who, output)| *who == member(2) && matches!(output, Output::Lead(_)));
        assert_eq!(leads, !is_made);
        assert_eq!(chain.last().map(|record| record.is_at_rest()), Some(is_made), "{chain:?}");
    }
}

#[test]
fn who_forgot_a_session_leads_it_again_above_every_epoch_that_it_had() {
    let (now, who) = (10_000_000, member(2));
    let leader = Leader::create(now, member(1), terms(1));
    let followers = [(who, Follower::new(now, who, terms(1)).after_epochs(9))].into();
    let mut group = Group { now, leader, followers, cut: Vec::new(), lost: Vec::new(), said: Vec::new() };
    group.leader.handle_recruit(now, who);
    group.run(1_000_000);
    group.cut.push(member(1));
    group.run(1_000_000);
    let led = group.said.iter().find_map(|(_, output)| match output {
        Output::Lead(promotion) => Some(promotion.record.epoch.number),
        _ => None,
    });
    assert_eq!(led, Some(10));
}

fn suspect(slot: u16, number: u64) -> Suspect {
    Suspect::new(Slot(slot), 2, number, b"body")
}

fn said(suspect: &Suspect) -> Input {
    Input::Message { slot: suspect.slot, number: suspect.number, body: b"body"[..].into() }
}

/// The process of a group's leader has ended, and its first follower leads.
fn promote(group: &mut Group) {
    let node = group.leader.record().leader.node;
    group.followers.values_mut().for_each(|follower| follower.handle_died(node));
    succeed(group);
}

/// The leader of a group is silent, and its first follower leads.
fn succeed(group: &mut Group) {
    group.cut.push(group.leader.record().leader);
    let (next, promotion) = loop {
        group.run(10_000);
        let found = group.said.iter().find_map(|(who, output)| match output {
            Output::Lead(promotion) => Some((*who, promotion.clone())),
            _ => None,
        });
        if let Some(found) = found {
            break found;
        }
    };
    group.followers.remove(&next);
    group.leader = Leader::promoted(group.now, next, terms(1), promotion);
    group.said.clear();
}

/// A group whose second leader leads since its first is gone, with a follower that counts or without any.
fn after_a_death(is_followed: bool) -> Group {
    let mut group = Group::new(1);
    promote(&mut group);
    if is_followed {
        let newcomer = member(9);
        group.followers.insert(newcomer, Follower::new(group.now, newcomer, terms(1)));
        group.leader.handle_recruit(group.now, newcomer);
        for _ in 0..20 {
            group.run(10_000);
        }
        assert!(group.leader.record().counts(newcomer));
    }
    group
}

#[test]
fn what_is_sent_again_after_a_death_waits_until_followers_know_of_it_and_runs_one_at_a_time() {
    let mut group = after_a_death(true);
    let back_at = group.now;
    assert!(group.leader.is_suspicious(group.now, Slot(0), back_at));
    group.leader.handle_suspect(group.now, suspect(0, 7));
    group.leader.handle_suspect(group.now, suspect(1, 3));
    assert_eq!(group.leader.next_suspect(group.now), None, "nobody knows of it");
    group.leader.handle_flush(group.now);
    group.settle();
    assert_eq!(group.leader.next_suspect(group.now), Some(SuspectTurn::Run(suspect(0, 7))));
    assert_eq!(group.leader.next_suspect(group.now), None, "the entry of the first was not sent");
    group.leader.handle_append(group.now).unwrap();
    group.leader.handle_flush(group.now);
    assert_eq!(group.leader.next_suspect(group.now), Some(SuspectTurn::Run(suspect(1, 3))));
    // Later on nothing is held back.
    assert!(!group.leader.is_suspicious(back_at + SUSPECT_US, Slot(0), back_at));
    assert!(
        group.leader.is_suspicious(back_at + SUSPECT_US, Slot(0), back_at + 1),
        "who comes back late is as suspect"
    );
    let mut first = Group::new(1);
    assert!(!first.leader.is_suspicious(first.now, Slot(0), first.now), "nobody died");
    first.run(10_000);
}

#[test]
fn what_ran_last_when_a_second_leader_died_is_skipped_and_nothing_else() {
    let mut group = after_a_death(true);
    for (slot, number) in [(0, 7), (1, 3), (2, 5), (1, 4)] {
        group.leader.handle_suspect(group.now, suspect(slot, number));
    }
    group.leader.handle_flush(group.now);
    group.settle();
    assert_eq!(group.leader.next_suspect(group.now), Some(SuspectTurn::Run(suspect(0, 7))));
    group.leader.handle_append(group.now).unwrap();
    group.leader.handle_flush(group.now);
    group.settle();
    let newcomer = group.followers.get_mut(&member(9)).unwrap();
    newcomer.handle_entry(&said(&suspect(0, 7)));
    assert_eq!(group.leader.next_suspect(group.now), Some(SuspectTurn::Run(suspect(1, 3))));
    // That one ends the process.
    promote(&mut group);
    let again = [suspect(2, 5), suspect(1, 3), suspect(1, 4), suspect(0, 8)];
    again.iter().for_each(|suspect| group.leader.handle_suspect(group.now, *suspect));
    // Nobody follows: the skipped one needs nobody, the others wait for somebody, and not for ever.
    let mut now = group.now;
    let mut turns = Vec::new();
    while turns.len() < again.len() {
        group.leader.handle_turn(now);
        turns.extend(group.leader.next_suspect(now));
        group.leader.handle_flush(now);
        now += 10_000;
        assert!(now < group.now + 2 * SUSPECT_WAIT_US, "{turns:?}");
    }
    let ran = SuspectTurn::Run;
    assert_eq!(turns, [ran(suspect(2, 5)), SuspectTurn::Skip(suspect(1, 3)), ran(suspect(1, 4)), ran(suspect(0, 8))]);
    let late = now + SUSPECT_US;
    assert!(!group.leader.is_suspicious(late, Slot(1), group.now), "it comes no more");
}

#[test]
fn another_message_of_the_number_of_a_killer_runs_and_a_stay_that_is_over_is_forgotten() {
    let mut group = after_a_death(true);
    group.leader.handle_suspect(group.now, suspect(1, 3));
    group.leader.handle_suspect(group.now, suspect(2, 5));
    group.leader.handle_flush(group.now);
    group.settle();
    // The second player leaves before either runs.
    group.leader.handle_left(Slot(2));
    group.leader.handle_flush(group.now);
    group.settle();
    promote(&mut group);
    let late = group.now + 2 * SUSPECT_US;
    assert!(
        group.leader.is_suspicious(late, Slot(1), group.now) && !group.leader.is_suspicious(late, Slot(2), group.now)
    );
    let other = Suspect::new(Slot(1), 2, 3, b"another body");
    group.leader.handle_suspect(late, other);
    group.leader.handle_turn(late + SUSPECT_WAIT_US);
    assert_eq!(group.leader.next_suspect(late + SUSPECT_WAIT_US), Some(SuspectTurn::Run(other)));
    assert!(!group.leader.is_suspicious(late, Slot(1), group.now));
}

#[test]
fn what_waits_when_a_leader_falls_silent_is_innocent_unless_its_process_has_ended() {
    let mut group = after_a_death(true);
    group.leader.handle_suspect(group.now, suspect(0, 7));
    group.leader.handle_flush(group.now);
    group.settle();
    // Another run of the same node is not the leader's.
    let Node { id, generation } = group.leader.record().leader.node;
    let other = Node { id, generation: generation + 1 };
    group.followers.values_mut().for_each(|follower| follower.handle_died(other));
    succeed(&mut group);
    assert_eq!(group.leader.killers(), []);
    assert!(!group.leader.is_suspicious(group.now, Slot(0), group.now), "and nothing is held back");
}

/// It may have led, and ended of what it ran, before anybody heard of it.
#[test]
fn who_ends_with_the_lead_that_it_was_granted_is_a_leader_that_died_though_nobody_heard_it_lead() {
    for has_died in [true, false] {
        let Group { mut now, mut leader, .. } = Group::new(1);
        let (source, target) = (member(1), member(2));
        leader.handle_move(now, target, Motive::Order).unwrap();
        assert!(std::iter::from_fn(|| leader.poll()).any(|output| matches!(output, Output::Deposed)));
        let mut follower = leader.into_follower(now);
        if has_died {
            follower.handle_died(target.node);
        }
        let promotion = loop {
            now += 10_000;
            follower.handle_turn(now);
            let lead = std::iter::from_fn(|| follower.poll()).find_map(|output| match output {
                Output::Lead(promotion) => Some(promotion),
                _ => None,
            });
            if let Some(promotion) = lead {
                break promotion;
            }
        };
        let leader = Leader::promoted(now, source, terms(1), promotion);
        assert_eq!((leader.is_suspicious(now, Slot(0), now), leader.killers()), (has_died, &[][..]));
    }
}

#[test]
fn what_is_suspect_waits_for_no_follower_for_long() {
    // None counts: one may come soon after the promotion, and later nobody is waited for.
    let mut group = after_a_death(false);
    let began = group.now;
    group.leader.handle_suspect(began, suspect(0, 7));
    assert_eq!(group.leader.suspects_due(), Some(began + SUSPECT_WAIT_US));
    assert_eq!(group.leader.next_suspect(began + SUSPECT_WAIT_US - 1), None);
    assert!(group.leader.next_suspect(began + SUSPECT_WAIT_US).is_some());
    group.leader.handle_flush(began + SUSPECT_WAIT_US);
    group.leader.handle_suspect(began + SUSPECT_WAIT_US, suspect(0, 8));
    assert!(group.leader.next_suspect(began + SUSPECT_WAIT_US).is_some());
    // Where no node is there that could follow it runs at once.
    let mut group = after_a_death(false);
    group.leader.handle_lonely();
    group.leader.handle_suspect(group.now, suspect(0, 7));
    assert!(group.leader.next_suspect(group.now).is_some());
    // One that counts and does not answer, be it of a release that knows no suspects, is waited for once.
    let mut group = after_a_death(true);
    group.cut.push(member(9));
    let came = group.now;
    group.leader.handle_suspect(came, suspect(0, 7));
    group.leader.handle_flush(came);
    group.settle();
    assert_eq!(group.leader.suspects_due(), Some(came + SUSPECT_WAIT_US));
    assert!(group.leader.next_suspect(came + SUSPECT_WAIT_US).is_some());
    group.leader.handle_flush(came + SUSPECT_WAIT_US);
    group.leader.handle_suspect(came + SUSPECT_WAIT_US, suspect(0, 8));
    group.leader.handle_flush(came + SUSPECT_WAIT_US);
    assert!(group.leader.next_suspect(came + SUSPECT_WAIT_US).is_some());
}

#[test]
fn what_is_suspect_is_bounded_and_killers_are_forgotten_oldest_first() {
    let mut group = after_a_death(true);
    for number in 1..=limits::SUSPECTS as u64 {
        assert!(group.leader.has_room_for_suspects());
        group.leader.handle_suspect(group.now, suspect(0, number));
    }
    assert!(!group.leader.has_room_for_suspects());
    // Whatever a leader says, a follower keeps no more than that.
    let follower = group.followers.get_mut(&member(9)).unwrap();
    let killers = (1..=limits::KILLERS as u64 + 5).map(|number| suspect(1, number)).collect();
    let epoch = group.leader.epoch();
    let told = Suspects { epoch, number: 1_000, waiting: vec![suspect(0, 7); 500], killers };
    let leader = group.leader.record().leader;
    follower.handle_message(group.now, Party::Member(leader), Message::Suspects(told));
    promote(&mut group);
    let is_killer = |number| {
        let mut leader = group.leader.killers().iter().copied();
        leader.any(|killer| killer == suspect(1, number))
    };
    assert!(!is_killer(6) && is_killer(7) && is_killer(limits::KILLERS as u64 + 5));
    assert_eq!(group.leader.killers().last(), Some(&suspect(0, 7)), "the first that waited");
    // A stay that is over settles what its player sent.
    let leave = Input::Leave { slot: Slot(1), reason: LeaveReason::Left };
    assert!(suspect(1, 7).is_settled_by(&leave) && !suspect(0, 7).is_settled_by(&leave));
}

/// The record of a leader, made at a position, with two followers; who appended what before.
fn led_by(id: u64, number: u64, before: &[(Epoch, Position)], position: Position) -> Record {
    let leader = member(id);
    let mut lineage = super::lineage::Lineage::default();
    for (epoch, end) in before {
        lineage.begin(*epoch, *end);
    }
    let epoch = leader.epoch_after(number - 1);
    lineage.begin(epoch, position);
    let in_sync = [member(7), member(8)].into();
    let first = Record::first(terms(2).session, leader);
    Record { number: number + 10, epoch, leader, in_sync, position, cause: Cause::Promoted, lineage, ..first }
}

/// A follower of the first record, whose log ends at a position.
fn follower_of(record: &Record, end: Position) -> Follower {
    follower_with(terms(2), record, end)
}

fn follower_with(terms: Terms, record: &Record, end: Position) -> Follower {
    let mut follower = Follower::new(0, member(8), terms);
    follower.handle_checkpoint(0, end, record.lineage.clone());
    let lead = Message::Lead { record: Box::new(record.clone()), end: Some(end) };
    follower.handle_message(0, Party::Member(record.leader), lead);
    assert_eq!((follower.end(), follower.counts()), (end, true));
    follower
}

fn told(follower: &mut Follower, now: u64, record: &Record, end: Option<Position>) {
    let from = end.map_or(Party::Home, |_| Party::Member(record.leader));
    follower.handle_message(now, from, Message::Lead { record: Box::new(record.clone()), end });
}

/// Silence for five seconds: what it says.
fn left_alone(follower: &mut Follower) -> Vec<Output> {
    let mut said = Vec::new();
    for turn in 1..=100 {
        follower.handle_turn(turn * 50_000);
        said.extend(std::iter::from_fn(|| follower.poll()));
    }
    said
}

#[test]
fn one_that_gave_up_a_branch_for_another_does_not_stand_for_the_first_and_has_no_say() {
    let created = member(1).epoch_after(0);
    let ours = led_by(3, 3, &[(created, 0)], 245);
    let mut follower = follower_of(&ours, 403);
    let theirs = led_by(5, 5, &[(created, 0), (ours.epoch, 245)], 288);
    told(&mut follower, 1, &theirs, Some(394));
    assert_eq!(follower.end(), 288, "what the other leader does not have never was");
    // The first leader, which is told of the other's epoch, goes on in one above it, and has not heard that it is left.
    let above = led_by(3, 6, &[(created, 0), (ours.epoch, 245)], 404);
    told(&mut follower, 2, &above, None);
    assert!(follower.counts());
    let said = left_alone(&mut follower);
    let stands = |output: &Output| matches!(output, Output::Send { message: Message::Ask(_), .. } | Output::Lead(_));
    assert!(!said.iter().any(stands), "{said:?}");
    // Another candidate of that branch does not wait for it, and does not count it.
    let log = (Some(ours.epoch), 403);
    let (candidate, epoch) = (member(7), member(7).epoch_after(6));
    let ask = super::message::Ask { candidate, epoch, record: Box::new(above.clone()), log, stamp_us: 0 };
    follower.handle_message(6_000_000, Party::Member(candidate), Message::Ask(ask));
    let answered = std::iter::from_fn(|| follower.poll()).any(|output| {
        let Output::Send { message: Message::Answer(answer), .. } = output else { return false };
        answer.stand == super::message::Stand::Tells
    });
    assert!(answered && follower.end() == 288);
    assert!(follower.knows_newer(&theirs) && !follower.knows_newer(&above), "the other's epoch is over");
}

#[test]
fn one_that_heard_an_older_leader_for_longer_stands_without_what_that_one_appended_since() {
    let created = member(1).epoch_after(0);
    let old = led_by(3, 1, &[], 0);
    let mut follower = follower_of(&old, 260);
    // Somebody else has promoted with less, as its record says, and is gone.
    let next = led_by(5, 2, &[(old.epoch, 0)], 252);
    told(&mut follower, 1, &next, None);
    let said = left_alone(&mut follower);
    assert!(said.contains(&Output::Truncate { to: 252 }), "{said:?}");
    let promotion = said.iter().find_map(|output| match output {
        Output::Lead(promotion) => Some(promotion),
        _ => None,
    });
    let promotion = promotion.expect("it leads");
    assert_eq!((promotion.end, promotion.record.lineage.epoch_at(252)), (252, Some(old.epoch)));
    assert_ne!(old.epoch, created);
}

#[test]
fn one_that_hears_of_its_own_record_before_the_store_has_answered_leads_when_it_does() {
    let old = led_by(3, 1, &[], 0);
    let consistent = Terms { policy: PartitionPolicy::Consistent, ..terms(2) };
    let mut follower = follower_with(consistent, &old, 260);
    let (mut own, mut now) = (None, 0);
    while own.is_none() {
        now += 50_000;
        follower.handle_turn(now);
        while let Some(output) = follower.poll() {
            match output {
                Output::Chain(Request::Newest) => {
                    follower.handle_chain(now, ChainReply::Newest(Some(Arc::new(old.clone()))));
                }
                Output::Chain(Request::Create(record)) => own = Some(record),
                _ => {}
            }
        }
    }
    let own = own.expect("it stands");
    // Another candidate has read it.
    told(&mut follower, now, &own, None);
    let mut said: Vec<Output> = std::iter::from_fn(|| follower.poll()).collect();
    assert!(follower.counts() && !said.contains(&Output::Counts(false)), "{said:?}");
    follower.handle_chain(now, ChainReply::Created);
    follower.handle_chain(now, ChainReply::Newest(Some(own.clone())));
    said.extend(std::iter::from_fn(|| follower.poll()));
    let led = said.iter().any(|output| matches!(output, Output::Lead(promotion) if promotion.record == own));
    assert!(led, "{said:?}");
}

/// One whose leader stood still: meanwhile it follows another, or is about to lead.
#[test]
fn what_an_older_leader_sends_late_takes_the_place_of_nothing() {
    let old = led_by(3, 1, &[], 0);
    let mut follower = follower_of(&old, 260);
    assert!(follower.wants_checkpoint(261, &old.lineage) && !follower.wants_checkpoint(260, &old.lineage));
    let next = led_by(5, 2, &[(old.epoch, 0)], 252);
    told(&mut follower, 1, &next, Some(255));
    assert!(!follower.wants_checkpoint(400, &old.lineage) && follower.wants_checkpoint(256, &next.lineage));

    let mut follower = follower_of(&old, 260);
    assert!(left_alone(&mut follower).iter().any(|output| matches!(output, Output::Lead(_))));
    assert!(!follower.wants_checkpoint(400, &old.lineage));
}

/// The leader before may have committed all that this one has, and it would die with it.
#[test]
fn who_lacks_what_a_new_leader_came_with_does_not_count() {
    let (now, me, newcomer) = (10_000_000, member(7), member(9));
    let old = led_by(3, 1, &[], 0);
    let cause = (Cause::Promoted, ChainHome::Store);
    let record = Arc::new(old.succeeded(me, me.epoch_after(1), [].into(), 195, cause));
    let consistent = Terms { policy: PartitionPolicy::Consistent, ..terms(2) };
    let promotion = Promotion {
        record,
        end: 195,
        committed: 150,
        is_complete: true,
        former: [].into(),
        has_stalled: false,
        has_died: true,
        killers: Vec::new(),
    };
    let mut leader = Leader::promoted(now, me, consistent, promotion);
    leader.handle_recruit(now, newcomer);
    let mut made = |received, stamp_us| {
        let (epoch, applied) = (leader.epoch(), received);
        let ack = Ack { epoch, stamp_us: Some(stamp_us), received, applied, record: 0, has_diverged: false };
        leader.handle_turn(stamp_us);
        leader.handle_message(stamp_us, Party::Member(newcomer), Message::Ack(ack));
        std::iter::from_fn(|| leader.poll()).any(|output| matches!(output, Output::Chain(Request::Create(_))))
    };
    assert!(!made(194, now + 1) && made(195, now + 2));
}

/// It gave it up for a branch that is over, and is counted by who came back from that.
#[test]
fn what_was_committed_is_released_again_when_those_that_count_have_it_again() {
    let (now, me, follower) = (10_000_000, member(7), member(9));
    let cause = (Cause::Promoted, ChainHome::Log);
    let old = led_by(3, 1, &[], 0);
    let record = Arc::new(old.succeeded(me, me.epoch_after(1), [follower].into(), 20, cause));
    let (is_complete, former, has_stalled, has_died, killers) = (false, [].into(), false, true, Vec::new());
    let promotion = Promotion { record, end: 20, committed: 17, is_complete, former, has_stalled, has_died, killers };
    let mut leader = Leader::promoted(now, me, terms(1), promotion);
    leader.handle_turn(now);
    let mut released = |received| {
        let (epoch, stamp_us, record) = (leader.epoch(), Some(now), 2);
        let ack = Ack { epoch, stamp_us, received, applied: received, record, has_diverged: false };
        leader.handle_message(now, Party::Member(follower), Message::Ack(ack));
        leader.handle_turn(now + 1);
        std::iter::from_fn(|| leader.poll()).any(|output| matches!(output, Output::Release(_)))
    };
    assert!(!released(3) && released(17));
}

/// The store is slow; meanwhile another branch is met, and this one goes on above both.
#[test]
fn an_eviction_of_an_epoch_that_is_over_does_not_take_its_leader_back() {
    let (mut now, me, other) = (10_000_000, member(7), member(8));
    let old = led_by(3, 1, &[], 0);
    let promote = |who: Member, number| {
        let cause = (Cause::Promoted, ChainHome::Log);
        old.succeeded(who, who.epoch_after(number), [].into(), 9, cause)
    };
    let (former, killers) = ([].into(), Vec::new());
    let (end, committed, is_complete, has_stalled, has_died) = (9, 9, true, false, true);
    let record = Arc::new(promote(me, 1));
    let promotion = Promotion { record, end, committed, is_complete, former, has_stalled, has_died, killers };
    let mut leader = Leader::promoted(now, me, terms(0), promotion);
    leader.handle_turn(now);
    leader.handle_flush(now);
    leader.handle_evict(now).unwrap();
    let evicted = std::iter::from_fn(|| leader.poll()).find_map(|output| match output {
        Output::Chain(Request::Create(record)) => Some(record),
        _ => None,
    });
    let evicted = evicted.expect("a record");
    let rival = Message::Lead { record: Box::new(promote(other, 2)), end: None };
    leader.handle_message(now, Party::Member(other), rival);
    assert_eq!(leader.handle_append(now), Err(NotNow::Unsettled));
    while leader.may_append().is_err() {
        now += HEARTBEAT_US;
        leader.handle_turn(now);
    }
    let epoch = leader.epoch();
    assert!(newer(epoch, evicted.epoch));
    while std::iter::from_fn(|| leader.poll()).count() > 0 {}
    leader.handle_chain(now, ChainReply::Created);
    leader.handle_chain(now, ChainReply::Newest(Some(evicted)));
    assert_eq!((leader.epoch(), leader.may_append()), (epoch, Ok(())));
}
