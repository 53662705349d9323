//! Sessions with followers, stepped by hand: who follows whom, and what becomes of a session whose leader changes.

use super::scenarios::{Cluster, node};
use super::*;
use crate::ids::NodeId;
use crate::leadership::Claim;
use crate::leadership::message::{Ask, Message as Words, Stand};
use crate::leadership::record::{Cause, ChainHome, Member, PartitionPolicy, Record, Tier};
use crate::limits;
use crate::placement::Policy;

const SECOND: u64 = 1_000_000;

fn replicated(followers: usize) -> Replicas {
    Replicas { tier: Tier::Replicated, policy: PartitionPolicy::Available, followers }
}

fn member(id: u64) -> Member {
    Member { node: node(id), worker: WorkerId(0) }
}

/// A cluster and a session of it, with its leader, the node that follows it, and the home of its key.
struct Stage {
    cluster: Cluster,
    ids: Vec<u64>,
    session: SessionId,
    leader: u64,
    follower: u64,
    home: u64,
}

impl Stage {
    /// A session that is led by another node than its home; its leader's core counts whoever it was told of.
    fn new(ids: &[u64]) -> Stage {
        Stage::with(ids, replicated(1))
    }

    fn with(ids: &[u64], replicas: Replicas) -> Stage {
        let mut cluster = Cluster::with(&[ids], replicas);
        let home = cluster.home("final", ids);
        let leader = *ids.iter().find(|id| **id != home).unwrap();
        let session = cluster.ask(home, "final", b"", Policy::Pinned(NodeId(leader))).unwrap().session;
        let followers = followers(&cluster, &session);
        let [(at, follower)] = followers[..] else { panic!("one follower: {followers:?}") };
        assert_eq!((at, follower.worker), (node(leader), WorkerId(0)));
        let follower = follower.node.id.0;
        let mut stage = Stage { cluster, ids: ids.to_vec(), session, leader, follower, home };
        stage.count(stage.first().with_set([member(follower)].into(), 2, Cause::Admitted));
        stage
    }

    fn first(&self) -> Record {
        Record::first(self.session.clone(), member(self.leader))
    }

    /// The record after which the follower leads.
    fn promotion(&self, in_sync: &[u64]) -> Record {
        let counted = self.first().with_set([member(self.follower)].into(), 2, Cause::Admitted);
        let in_sync = in_sync.iter().map(|id| member(*id)).collect();
        let epoch = member(self.follower).epoch_after(1);
        counted.succeeded(member(self.follower), epoch, in_sync, 9, (Cause::Promoted, ChainHome::Log))
    }

    /// A record counts: the leader's directory and the home are told.
    fn count(&mut self, record: Record) {
        let (leader, now) = (record.leader, self.cluster.now);
        let words = Words::Lead { record: Box::new(record.clone()), end: Some(9) };
        let directory = self.cluster.at(leader.node.id.0);
        directory.handle_record(now, &record.session, &record);
        directory.handle_to_home(now, record.session.clone(), leader.worker, words);
        self.cluster.run();
    }

    /// The follower leads; its leader is told if it is there.
    fn promote(&mut self, in_sync: &[u64], players: &[PlayerId]) {
        let (record, now) = (self.promotion(in_sync), self.cluster.now);
        self.cluster.at(self.follower).handle_promoted(now, &self.session, WorkerId(0), &record, players);
        if self.cluster.nodes.iter().any(|directory| directory.me.id.0 == self.leader) {
            self.cluster.at(self.leader).handle_deposed(now, &self.session, &record);
        }
        self.count(record);
    }

    /// A node ends without a word; the others see it at once.
    fn kill(&mut self, id: u64) {
        self.cluster.nodes.retain(|directory| directory.me.id.0 != id);
        self.ids.retain(|other| *other != id);
        let ids = self.ids.clone();
        self.cluster.see(&ids, &ids);
    }

    fn third(&self) -> u64 {
        *self.ids.iter().find(|id| ![self.leader, self.follower].contains(id)).unwrap()
    }

    fn known(&mut self) -> Option<Lead> {
        let (home, session) = (self.cluster.home("final", &self.ids), self.session.clone());
        self.cluster.at(home).entry(&session.game, &session.key).cloned()
    }

    fn open(&mut self) -> RequestId {
        let (id, now, session) = (self.ids[0], self.cluster.now, self.session.clone());
        let draw = Draw { key: 77, incarnation: 77 };
        let open = Open { game: session.game, key: session.key, record: false, may_create: false, draw };
        let request = 1_000_000 + now;
        self.cluster.at(id).handle_open(now, request, open);
        self.cluster.run();
        request
    }
}

#[test]
fn what_went_to_the_process_beside_is_the_nodes_for_others_however_long_that_takes() {
    let mut stage = Stage::new(&[1, 2, 3]);
    let (leader, now, session) = (stage.leader, stage.cluster.now, stage.session.clone());
    let beside = Member { node: Node { generation: 8, ..node(leader) }, worker: WorkerId(0) };
    stage.cluster.at(leader).handle_companion(now, Some(beside.node));
    let counted = stage.first().with_set([member(stage.follower)].into(), 2, Cause::Admitted);
    let in_sync = [member(leader), member(stage.follower)].into();
    let record = counted.succeeded(beside, beside.epoch_after(1), in_sync, 9, (Cause::Promoted, ChainHome::Log));
    stage.cluster.at(leader).handle_deposed(now, &session, &record);
    stage.cluster.wait(4 * super::followed::WATCH_US);
    assert_eq!(stage.known().expect("its home knows it").leader, node(leader));
    // It was abandoned, and nobody comes to lead: its home does not believe in it for ever.
    let now = stage.cluster.now;
    stage.cluster.at(leader).handle_companion(now, None);
    stage.cluster.wait(4 * super::followed::WATCH_US);
    assert_eq!(stage.known(), None);
}

/// Players come to it until the other is the node, and it must know where to.
#[test]
fn the_process_before_follows_what_it_gave_until_it_ends_whether_it_counts_or_not() {
    let mut stage = Stage::new(&[1, 2, 3]);
    let (now, first, follower) = (stage.cluster.now, stage.first(), member(stage.follower));
    let before = Member { node: Node { generation: 0, ..node(stage.leader) }, worker: WorkerId(0) };
    let directory = stage.cluster.at(stage.leader);
    directory.handle_companion(now, Some(before.node));
    for in_sync in [&[before, follower][..], &[follower]] {
        let record = first.with_set(in_sync.iter().copied().collect(), 3, Cause::Admitted);
        directory.handle_record(now, &first.session, &record);
    }
    while let Some(action) = directory.poll_action() {
        let Action::Send { to, message } = action else { continue };
        assert!(to != before.node || !matches!(*message, Message::Unfollow { .. }), "{message:?}");
    }
}

#[test]
fn what_went_to_the_process_beside_is_told_again_where_the_ring_changes() {
    let mut cluster = Cluster::with(&[&[1, 2], &[3]], replicated(0));
    let stays = |key: &String| [&[1, 2][..], &[1, 2, 3]].iter().all(|ids| cluster.home(key, ids) == 1);
    let key = (0..100).map(|number| format!("k-{number}")).find(stays).unwrap();
    let session = cluster.ask(1, &key, b"", Policy::Pinned(NodeId(2))).unwrap().session;
    let beside = Member { node: Node { generation: 8, ..node(2) }, worker: WorkerId(0) };
    let now = cluster.now;
    cluster.at(2).handle_companion(now, Some(beside.node));
    let record = Record::first(session.clone(), member(2));
    let record =
        record.succeeded(beside, beside.epoch_after(1), [member(2)].into(), 9, (Cause::Granted, ChainHome::Log));
    cluster.at(2).handle_deposed(now, &session, &record);
    cluster.run();
    cluster.see(&[1, 2, 3], &[1, 2, 3]);
    cluster.wait(4 * super::followed::WATCH_US);
    let known = cluster.at(1).entry(&session.game, &session.key).map(|lead| lead.leader);
    assert_eq!(known, Some(node(2)), "it is the node's still, as far as others see");
}

#[test]
fn a_home_names_the_process_beside_it_to_nobody_who_does_not_see_it() {
    let mut cluster = Cluster::with(&[&[1, 2, 3]], replicated(0));
    let home = cluster.home("final", &[1, 2, 3]);
    let other = (1..=3).find(|id| *id != home).unwrap();
    let session = cluster.ask(other, "final", b"", Policy::Ring).unwrap().session;
    let beside = Member { node: Node { generation: 8, ..node(home) }, worker: WorkerId(0) };
    let (now, epoch) = (cluster.now, beside.epoch_after(1));
    let directory = cluster.at(home);
    directory.handle_companion(now, Some(beside.node));
    let term = loop {
        let action = directory.poll_action().expect("the process beside it is asked what it leads");
        if let Action::Send { to, message } = action
            && let (true, Message::Sync { term, .. }) = (to == beside.node, *message)
        {
            break term;
        }
    };
    let lead = directory.entry(&session.game, &session.key).unwrap().clone();
    let record = Record::first(session.clone(), member(home));
    let record = record.succeeded(beside, epoch, [member(home)].into(), 9, (Cause::Granted, ChainHome::Log));
    directory.handle_deposed(now, &session, &record);
    let items = vec![Item::Led(Box::new(Lead { leader: beside.node, epoch, ..lead }))];
    let announce = Message::Announce { term, run: 1, serial: 1, items, is_complete: true };
    directory.handle_message(now, beside.node, announce);
    cluster.run();
    assert_eq!(cluster.ask(home, "final", b"", Policy::Ring).unwrap().leader, beside.node, "it sees it itself");
    assert_eq!(cluster.ask(other, "final", b"", Policy::Ring).unwrap().leader, node(home));
}

/// Who told its worker that whom follows the session.
fn followers(cluster: &Cluster, session: &SessionId) -> Vec<(Node, Member)> {
    let recruits = cluster.told.iter().filter_map(|(at, action)| match action {
        Action::Recruit { session: of, member, .. } if of == session => Some((*at, *member)),
        _ => None,
    });
    recruits.collect()
}

fn unfollowed(cluster: &Cluster) -> Vec<Node> {
    let told = cluster.told.iter();
    told.filter(|(_, action)| matches!(action, Action::Unfollow { .. })).map(|(at, _)| *at).collect()
}

#[test]
fn a_session_is_followed_where_the_ring_says_and_is_followed_no_longer_when_it_is_over() {
    let mut stage = Stage::new(&[1, 2, 3, 4]);
    let position = crate::ring::Position::of_key(&stage.session.game, &stage.session.key);
    let ring = super::scenarios::view(&stage.ids).ring().clone();
    assert_eq!(ring.followers(position, NodeId(stage.leader), 1), [NodeId(stage.follower)]);
    let (follower, session) = (stage.follower, stage.session.clone());
    let followed: Vec<_> = stage.cluster.at(follower).followed().map(|(id, ..)| id.clone()).collect();
    assert_eq!(followed, std::slice::from_ref(&session));
    stage.cluster.told.clear();
    stage.cluster.wait(30 * SECOND);
    let repeats = stage.cluster.told.iter().filter(|(_, action)| matches!(action, Action::Follow { .. })).count();
    assert_eq!(repeats, 0, "it has what it wants");
    let (leader, now) = (stage.leader, stage.cluster.now);
    stage.cluster.at(leader).handle_ended(now, &session, "over".to_owned());
    stage.cluster.run();
    assert_eq!(unfollowed(&stage.cluster), [node(follower)]);
    assert_eq!(stage.cluster.at(follower).sizes().followed, 0);
    let home = stage.home;
    assert_eq!(stage.cluster.at(home).sizes().copies, 0, "a copy is kept as long as the entry is");
}

#[test]
fn sessions_that_want_no_followers_have_none() {
    let mut cluster = Cluster::with(&[&[1, 2, 3]], replicated(0));
    cluster.ask(1, "final", b"", Policy::Ring).unwrap();
    cluster.wait(5 * SECOND);
    assert!(cluster.told.is_empty(), "{:?}", cluster.told);
}

#[test]
fn who_is_gone_is_replaced_and_who_cannot_is_passed_over() {
    let mut stage = Stage::new(&[1, 2, 3, 4]);
    stage.cluster.told.clear();
    let (follower, leader) = (stage.follower, stage.leader);
    stage.kill(follower);
    let recruited = followers(&stage.cluster, &stage.session);
    let [(at, next)] = recruited[..] else { panic!("{recruited:?}") };
    assert!(at == node(leader) && next.node != node(follower));

    let mut cluster = Cluster::with(&[&[1, 2, 3, 4]], replicated(1));
    cluster.follow = Err(NotFollowed::NoRoom);
    let session = cluster.ask(1, "final", b"", Policy::Ring).unwrap().session;
    let asked: std::collections::BTreeSet<Node> = cluster.told.iter().map(|(at, _)| *at).collect();
    assert_eq!((asked.len(), followers(&cluster, &session).len()), (3, 0), "one after the other");
    assert_eq!(cluster.nodes.iter().map(|directory| directory.sizes().followed).sum::<usize>(), 0);
    cluster.told.clear();
    cluster.wait(5 * SECOND);
    assert!(cluster.told.is_empty(), "none of them has room");
    cluster.follow = Ok(());
    cluster.wait(10 * SECOND);
    let found: std::collections::BTreeSet<_> = followers(&cluster, &session).into_iter().collect();
    assert_eq!(found.len(), 1, "they may have room by now");
}

#[test]
fn a_follower_that_does_not_count_is_asked_again() {
    let mut stage = Stage::new(&[1, 2, 3]);
    let removed = stage.first().with_set([].into(), 3, Cause::Removed);
    stage.count(Record { number: 3, ..removed });
    stage.cluster.told.clear();
    stage.cluster.wait(5 * SECOND);
    let again: Vec<Node> = followers(&stage.cluster, &stage.session).iter().map(|(_, who)| who.node).collect();
    assert!(!again.is_empty() && again.iter().all(|node| node.id.0 == stage.follower), "{again:?}");
}

#[test]
fn who_is_wanted_for_a_move_follows_and_whoever_is_not_needed_does_not_for_long() {
    let mut stage = Stage::new(&[1, 2, 3, 4]);
    let (leader, follower, session) = (stage.leader, stage.follower, stage.session.clone());
    let (target, now) = (stage.third(), stage.cluster.now);
    stage.cluster.at(leader).handle_wanted(now, &session, node(target));
    stage.cluster.run();
    let known: std::collections::BTreeSet<Member> = stage.cluster.at(leader).followers(&session).into_iter().collect();
    assert_eq!(known, [member(follower), member(target)].into());
    // A record that counts as many as it should: the one that it is to move to stays.
    stage.count(stage.first().with_set([member(follower)].into(), 5, Cause::Admitted));
    assert!(unfollowed(&stage.cluster).is_empty());
    // It counts in place of the other, which is not needed any more.
    stage.count(stage.first().with_set([member(target)].into(), 7, Cause::Admitted));
    assert_eq!(unfollowed(&stage.cluster), [node(follower)]);
    assert_eq!(stage.cluster.at(leader).followers(&session), [member(target)]);
}

#[test]
fn a_follower_that_leads_is_known_to_the_home_and_has_followers_in_turn() {
    let mut stage = Stage::new(&[1, 2, 3]);
    let players: Vec<PlayerId> = vec!["ada".parse().unwrap()];
    stage.kill(stage.leader);
    let request = stage.open();
    assert!(stage.known().is_none(), "its leader is gone");
    stage.cluster.told.clear();
    stage.promote(&[], &players);
    let lead = stage.known().expect("the home knows who leads");
    assert_eq!(
        (lead.leader, lead.epoch.number, lead.session.clone()),
        (node(stage.follower), 2, stage.session.clone())
    );
    let placed = stage.cluster.answer_to(request).expect("whoever asked meanwhile waited");
    assert_eq!((placed.leader, &placed.session), (node(stage.follower), &stage.session));
    let (follower, session) = (stage.follower, stage.session.clone());
    let entry = stage.cluster.at(follower).get(&session.game, &session.key).unwrap();
    assert_eq!((entry.players, entry.live), (1, true));
    let recruited = followers(&stage.cluster, &session);
    assert_eq!(recruited, [(node(follower), member(stage.third()))]);
    assert!(stage.cluster.ends.is_empty());
}

/// Its worker says that it leads by a record: whatever the directory has lost sight of, the session goes on.
#[test]
fn a_follower_that_leads_is_not_ended_for_what_its_directory_does_not_know() {
    // It was told once more to follow, and its worker had no room for that.
    let mut stage = Stage::new(&[1, 2, 3]);
    let (follower, session, now) = (stage.follower, stage.session.clone(), stage.cluster.now);
    stage.cluster.at(follower).handle_followed(now, &session, Err(NotFollowed::NotYet));
    stage.cluster.run();
    assert_eq!(stage.cluster.at(follower).sizes().followed, 1, "its worker follows");
    let leader = stage.leader;

    // That it is followed no more overtakes that it is led.
    let unfollow = Message::Unfollow { session: session.clone() };
    stage.cluster.unfollow = false;
    stage.cluster.at(follower).handle_message(now, node(leader), unfollow);
    stage.cluster.at(follower).handle_unfollowed(now, &session, true);
    assert_eq!(stage.cluster.at(follower).sizes().followed, 0);
    stage.kill(leader);
    stage.promote(&[], &["ada".parse().unwrap()]);
    stage.cluster.wait(SECOND);
    assert_eq!(stage.known().map(|lead| (lead.leader, lead.session)), Some((node(follower), session.clone())));
    assert!(stage.cluster.ends.is_empty());

    // One that has ended here ends.
    let now = stage.cluster.now;
    stage.cluster.at(follower).handle_ended(now, &session, "over".to_owned());
    let again = stage.promotion(&[]);
    stage.cluster.at(follower).handle_promoted(now, &session, WorkerId(0), &again, &[]);
    stage.cluster.run();
    assert_eq!(stage.cluster.ends.len(), 1);
}

/// It was evicted where it was led, and the word of that was lost.
#[test]
fn what_is_activated_where_it_was_followed_is_followed_no_more() {
    let mut stage = Stage::new(&[1, 2, 3]);
    let (follower, session, now) = (stage.follower, stage.session.clone(), stage.cluster.now);
    let charter = stage.cluster.at(follower).charter(&session).cloned().unwrap();
    let directory = stage.cluster.at(follower);
    let birth = Birth {
        session: SessionId { incarnation: Incarnation(77), ..session.clone() },
        config: Default::default(),
        record: false,
        listed: None,
        ends_when_empty: true,
        policy: Policy::Ring,
        origin: Origin::Evicted,
    };
    let (mut cx, parts) = directory.split(now);
    parts.led.handle_host(&mut cx, node(9), birth.clone(), charter.decision.clone());
    directory.handle_activating(now, &birth.session_at(node(follower)), charter).unwrap();
    assert_eq!((directory.sizes().followed, directory.sessions().count()), (0, 1));
}

#[test]
fn what_did_not_begin_again_is_followed_as_before() {
    let mut stage = Stage::new(&[1, 2, 3]);
    let (follower, leader, session, now) = (stage.follower, stage.leader, stage.session.clone(), stage.cluster.now);
    let charter = stage.cluster.at(follower).charter(&session).cloned();
    let worker = stage.cluster.at(follower).handle_recovering(now, &session, charter, member(leader)).unwrap().0;
    stage.cluster.at(follower).handle_followed(now, &session, Err(NotFollowed::NotYet));
    stage.cluster.run();
    assert_eq!((worker, stage.cluster.at(follower).sizes().followed), (WorkerId(0), 1));
    stage.kill(leader);
    stage.promote(&[], &[]);
    assert!(stage.cluster.ends.is_empty() && stage.known().is_some());
}

#[test]
fn who_led_until_now_and_fell_silent_is_not_asked_to_follow_before_others() {
    let mut stage = Stage::new(&[1, 2, 3]);
    let (follower, third, session) = (stage.follower, stage.third(), stage.session.clone());
    stage.cluster.told.clear();
    // Nobody has found out that it is gone.
    let leader = node(stage.leader);
    stage.cluster.nodes.retain(|directory| directory.me != leader);
    stage.promote(&[], &[]);
    assert_eq!(followers(&stage.cluster, &session), [(node(follower), member(third))]);
}

#[test]
fn who_led_until_now_follows_and_has_ended_nothing() {
    let mut stage = Stage::new(&[1, 2, 3]);
    let (leader, follower, session) = (stage.leader, stage.follower, stage.session.clone());
    stage.promote(&[leader], &[]);
    stage.cluster.wait(15 * SECOND);
    assert_eq!(stage.known().map(|lead| lead.leader), Some(node(follower)));
    let old = stage.cluster.at(leader);
    assert_eq!((old.sessions().count(), old.ended().count(), old.sizes().followed), (0, 0, 1));
    assert_eq!(old.followed().map(|(_, _, leader)| leader).collect::<Vec<_>>(), [member(follower)]);
    assert_eq!(stage.cluster.at(follower).followers(&session), [member(leader)]);
    assert!(stage.cluster.ends.is_empty() && unfollowed(&stage.cluster).is_empty());
    // A change of the ring makes everybody tell everything anew.
    let ids = stage.ids.clone();
    let rest: Vec<u64> = ids.iter().copied().filter(|id| *id != stage.third()).collect();
    stage.cluster.see(&rest, &rest);
    stage.cluster.see(&ids, &ids);
    stage.cluster.wait(SECOND);
    assert_eq!(stage.known().map(|lead| lead.leader), Some(node(follower)));
    // And back again.
    let back = stage.promotion(&[]);
    let epoch = member(leader).epoch_after(2);
    let back = back.succeeded(member(leader), epoch, [].into(), 12, (Cause::Granted, ChainHome::Log));
    let now = stage.cluster.now;
    stage.cluster.at(leader).handle_promoted(now, &session, WorkerId(0), &back, &[]);
    stage.cluster.at(follower).handle_deposed(now, &session, &back);
    stage.cluster.run();
    assert_eq!(stage.known().map(|lead| (lead.leader, lead.epoch.number)), Some((node(leader), 3)));
}

#[test]
fn who_led_before_ends_nothing_that_another_leads_or_is_awaited_to() {
    let mut stage = Stage::new(&[1, 2, 3, 4]);
    let (leader, follower, home, session) = (stage.leader, stage.follower, stage.home, stage.session.clone());
    stage.promote(&[], &[]);
    // It follows until it is of no use; then it has nothing of the session.
    let now = stage.cluster.now;
    stage.cluster.at(leader).handle_message(now, node(follower), Message::Unfollow { session: session.clone() });
    stage.cluster.run();
    assert_eq!((unfollowed(&stage.cluster), stage.cluster.at(leader).sizes().followed), (vec![node(leader)], 0));
    assert_eq!(stage.known().map(|lead| lead.leader), Some(node(follower)));
    assert!(stage.cluster.at(home).record(&session).is_some(), "and the home knows its record");
    // Nor is it over for who says so of a branch that lost.
    let winner = Claim { session: session.clone(), epoch: member(follower).epoch_after(1), inputs: 0 };
    stage.cluster.at(leader).handle_message(now, node(home), Message::Superseded { session: session.clone(), winner });
    stage.cluster.run();
    assert_eq!(stage.known().map(|lead| lead.leader), Some(node(follower)));
}

/// The next leader's word to the home, and its word to the one before that it need not follow, come on different ways.
#[test]
fn who_led_before_and_need_not_follow_lets_the_next_leader_speak_first() {
    let mut stage = Stage::new(&[1, 2, 3, 4]);
    let (leader, follower, session, now) = (stage.leader, stage.follower, stage.session.clone(), stage.cluster.now);
    let record = stage.promotion(&[]);
    stage.cluster.at(leader).handle_deposed(now, &session, &record);
    stage.cluster.at(leader).handle_message(now, node(follower), Message::Unfollow { session: session.clone() });
    stage.cluster.run();
    assert_eq!((unfollowed(&stage.cluster), stage.cluster.at(leader).sizes().followed), (vec![node(leader)], 0));
    assert_eq!(stage.known().map(|lead| lead.leader), Some(node(leader)), "nobody has said anything else");
    // It says nothing: the session was over by then.
    stage.cluster.wait(2 * home::SUCCESSION_US);
    assert_eq!(stage.known(), None);
}

#[test]
fn who_comes_back_to_what_went_on_and_ended_says_that_it_leads_it_no_more() {
    let mut stage = Stage::new(&[1, 2, 3, 4]);
    let (leader, follower, session) = (stage.leader, stage.follower, stage.session.clone());
    // It sleeps: the others see it no more, its follower leads, and the session ends.
    let at = stage.cluster.nodes.iter().position(|directory| directory.me == node(leader)).unwrap();
    let asleep = stage.cluster.nodes.remove(at);
    let rest: Vec<u64> = stage.ids.iter().copied().filter(|id| *id != leader).collect();
    stage.cluster.see(&rest, &rest);
    let (record, now) = (stage.promotion(&[]), stage.cluster.now);
    stage.cluster.at(follower).handle_promoted(now, &session, WorkerId(0), &record, &[]);
    stage.cluster.run();
    stage.cluster.at(follower).handle_ended(now, &session, "over".to_owned());
    stage.cluster.wait(120 * SECOND);
    // It wakes, and tells what it believes.
    stage.cluster.nodes.push(asleep);
    stage.cluster.told.clear();
    let ids = stage.ids.clone();
    stage.cluster.see(&ids, &ids);
    stage.cluster.wait(SECOND);
    assert_eq!(stage.known().map(|lead| lead.leader), Some(node(leader)));
    // Its worker hears of the newer epoch from the one that led it.
    let now = stage.cluster.now;
    stage.cluster.at(leader).handle_deposed(now, &session, &record);
    stage.cluster.wait(2 * followed::WATCH_US);
    assert_eq!(unfollowed(&stage.cluster), [node(leader)]);
    assert_eq!(stage.known(), None);
    let request = stage.open();
    let absent = Refusal::NoSuchSession(session.game.clone(), session.key.clone());
    assert_eq!(stage.cluster.answer_to(request), Err(absent));
}

#[test]
fn where_the_first_leader_wins_over_a_branch_its_home_knows_that_it_leads() {
    let mut stage = Stage::new(&[1, 2, 3]);
    let (leader, follower, session) = (stage.leader, stage.follower, stage.session.clone());
    // Both go on; the follower is heard of last.
    let (promotion, now) = (stage.promotion(&[]), stage.cluster.now);
    stage.cluster.at(follower).handle_promoted(now, &session, WorkerId(0), &promotion, &[]);
    stage.cluster.run();
    assert_eq!(stage.known().map(|lead| lead.leader), Some(node(follower)));
    let healed = stage.first().succeeded(
        member(leader),
        member(leader).epoch_after(2),
        [].into(),
        12,
        (Cause::Healed { over: promotion.epoch }, ChainHome::Log),
    );
    stage.cluster.at(follower).handle_deposed(now, &session, &healed);
    stage.cluster.at(leader).handle_record(now, &session, &healed);
    stage.cluster.run();
    let known = |stage: &mut Stage| stage.known().map(|lead| (lead.leader, lead.epoch.number));
    assert_eq!(known(&mut stage), Some((node(leader), 3)));
    // A change of the ring makes everybody tell everything anew.
    let ids = stage.ids.clone();
    let rest: Vec<u64> = ids.iter().copied().filter(|id| *id != stage.third()).collect();
    stage.cluster.see(&rest, &rest);
    stage.cluster.see(&ids, &ids);
    stage.cluster.wait(SECOND);
    assert_eq!(known(&mut stage), Some((node(leader), 3)));
    assert!(stage.cluster.ends.is_empty());
}

#[test]
fn a_session_whose_followers_are_gone_too_is_lost_and_one_that_nobody_leads_in_time() {
    let mut stage = Stage::new(&[1, 2, 3, 4, 5]);
    let (leader, follower, session) = (stage.leader, stage.follower, stage.session.clone());
    let alone = stage.first().with_set([].into(), 3, Cause::Removed);
    let mut lonely = Stage::new(&[1, 2, 3, 4, 5]);
    lonely.count(Record { number: 3, ..alone });
    lonely.kill(leader);
    let request = lonely.open();
    assert_eq!(lonely.cluster.answer_to(request), Err(Refusal::Lost(session.clone())), "nobody counts: at once");

    stage.kill(leader);
    let request = stage.open();
    stage.cluster.wait(SUCCESSION_US / 2);
    assert_eq!(stage.cluster.at(follower).sizes().followed, 1);
    stage.cluster.wait(SUCCESSION_US);
    assert_eq!(stage.cluster.answer_to(request), Err(Refusal::Lost(session.clone())));
    stage.cluster.wait(SECOND);
    assert_eq!(unfollowed(&stage.cluster), [node(follower)], "nobody leads what it follows");
    assert_eq!(stage.cluster.at(follower).sizes().followed, 0);
}

#[test]
fn a_session_whose_next_leader_must_be_in_the_store_is_not_called_lost_while_that_may_be_away() {
    let consistent = Replicas { policy: PartitionPolicy::Consistent, ..replicated(1) };
    // Its home is there still, or is gone with its leader.
    for ids in [&[1, 2, 3, 4, 5][..], &[1, 2, 3]] {
        let mut stage = Stage::with(ids, consistent);
        let (follower, home) = (stage.follower, stage.home);
        stage.kill(stage.leader);
        if ids.len() == 3 && home != follower {
            stage.kill(home);
        }
        let request = stage.open();
        // It is asked for again and again, the last time a minute later.
        let answered = |stage: &Stage, request| stage.cluster.answered(request).cloned();
        stage.cluster.wait(60 * SECOND);
        let lost = Err(Refusal::Lost(stage.session.clone()));
        assert_ne!(answered(&stage, request), Some(lost.clone()), "{ids:?}");
        let request = stage.open();
        stage.cluster.wait(SECOND);
        assert_eq!(answered(&stage, request), None, "{ids:?}: it is waited for");
        stage.promote(&[], &[]);
        assert_eq!(answered(&stage, request).expect("an answer").map(|placed| placed.leader), Ok(node(follower)));
    }
}

#[test]
fn a_new_home_waits_for_a_follower_that_may_lead_and_does_not_begin_another() {
    // The leader is the home, as it usually is.
    let ids = [1, 2, 3];
    let mut cluster = Cluster::with(&[&ids], replicated(1));
    let leader = cluster.home("final", &ids);
    let session = cluster.ask(leader, "final", b"", Policy::Ring).unwrap().session;
    let follower = followers(&cluster, &session)[0].1.node.id.0;
    cluster.nodes.retain(|directory| directory.me.id.0 != leader);
    let rest: Vec<u64> = ids.iter().copied().filter(|id| *id != leader).collect();
    cluster.see(&rest, &rest);
    let now = cluster.now;
    let draw = Draw { key: 7, incarnation: 7 };
    let open = Open { game: session.game.clone(), key: session.key.clone(), record: false, may_create: true, draw };
    cluster.at(rest[0]).handle_open(now, 5000, open);
    cluster.wait(SECOND);
    let first = Record::first(session.clone(), member(leader));
    let counted = first.with_set([member(follower)].into(), 2, Cause::Admitted);
    let epoch = member(follower).epoch_after(1);
    let record = counted.succeeded(member(follower), epoch, [].into(), 9, (Cause::Promoted, ChainHome::Log));
    let now = cluster.now;
    cluster.at(follower).handle_promoted(now, &session, WorkerId(0), &record, &[]);
    cluster.wait(SECOND);
    let placed = cluster.answer_to(5000).expect("it was found");
    assert_eq!((placed.session, placed.leader, placed.created), (session, node(follower), false));
}

#[test]
fn a_follower_that_counts_is_kept_by_its_worker_and_asked_again_until_it_does_not() {
    let mut stage = Stage::new(&[1, 2, 3]);
    stage.cluster.unfollow = false;
    let (leader, follower, session, now) = (stage.leader, stage.follower, stage.session.clone(), stage.cluster.now);
    stage.cluster.at(leader).handle_ended(now, &session, "over".to_owned());
    stage.cluster.wait(3 * limits::END_REPEAT_US);
    assert_eq!(stage.cluster.at(follower).sizes().followed, 1);
    assert!(unfollowed(&stage.cluster).len() >= 3);
    stage.cluster.unfollow = true;
    stage.cluster.wait(limits::END_REPEAT_US);
    assert_eq!(stage.cluster.at(follower).sizes().followed, 0);
}

#[test]
fn a_follower_whose_leader_began_anew_asks_the_home() {
    let mut stage = Stage::new(&[1, 2, 3]);
    let (leader, follower) = (stage.leader, stage.follower);
    // Nobody tells it: the word that the session is over is lost.
    let (session, now) = (stage.session.clone(), stage.cluster.now);
    stage.cluster.at(leader).handle_ended(now, &session, "over".to_owned());
    let of_leader = stage.cluster.at(leader);
    while of_leader.poll_action().is_some() {}
    assert_eq!(stage.cluster.at(follower).sizes().followed, 1);
    stage.cluster.wait(2 * followed::WATCH_US);
    assert_eq!(stage.cluster.at(follower).sizes().followed, 0);
}

#[test]
fn the_home_keeps_the_newest_record_and_tells_candidates() {
    let mut stage = Stage::new(&[1, 2, 3]);
    let (follower, home, session) = (stage.follower, stage.home, stage.session.clone());
    let told = |cluster: &Cluster, to: u64| {
        let words = cluster.told.iter().filter_map(|(at, action)| match action {
            Action::FromHome { message, .. } if *at == node(to) => Some((**message).clone()),
            _ => None,
        });
        words.collect::<Vec<_>>()
    };
    let counted = stage.first().with_set([member(follower)].into(), 2, Cause::Admitted);
    let has = Words::Lead { record: Box::new(counted.clone()), end: None };
    assert_eq!(told(&stage.cluster, stage.leader), [has], "the leader hears that the home has it");
    assert_eq!(stage.cluster.at(home).record(&session), Some(&counted));
    stage.cluster.told.clear();
    let ask = Ask {
        candidate: member(follower),
        epoch: member(follower).epoch_after(1),
        record: Box::new(stage.first()),
        log: (None, 3),
        stamp_us: 77,
    };
    let now = stage.cluster.now;
    stage.cluster.at(follower).handle_to_home(now, session, WorkerId(0), Words::Ask(ask));
    stage.cluster.run();
    let [Words::Answer(answer)] = &told(&stage.cluster, follower)[..] else { panic!("an answer") };
    assert_eq!((answer.stand, answer.stamp_us, answer.record.as_deref()), (Stand::Tells, 77, Some(&counted)));
}

#[test]
fn a_leader_hears_that_its_home_is_another_one() {
    let ids = [1, 2, 3];
    let mut cluster = Cluster::with(&[&ids[..2]], replicated(1));
    let mut keys = (0..200).map(|number| format!("key-{number}"));
    let key = keys.find(|key| cluster.home(key, &ids) != cluster.home(key, &ids[..2])).unwrap();
    let placed = cluster.ask(1, &key, b"", Policy::Ring).unwrap();
    cluster.told.clear();
    cluster.see(&ids, &ids);
    let new_homes = cluster.told.iter().filter(|(_, action)| matches!(action, Action::NewHome { .. }));
    let new_homes: Vec<Node> = new_homes.map(|(at, _)| *at).collect();
    assert_eq!(new_homes, [placed.leader]);
}

#[test]
fn sessions_that_are_followed_take_the_room_of_a_node() {
    // Four sessions fit a node.
    let mut cluster = Cluster::with(&[&[1, 2]], replicated(1));
    for number in 0..4 {
        cluster.ask(1, &format!("k-{number}"), b"", Policy::Ring).unwrap();
    }
    let held = |directory: &Directory| directory.sessions().count() + directory.sizes().followed;
    assert_eq!(cluster.nodes.iter().map(held).collect::<Vec<_>>(), [4, 4]);
    assert_eq!(cluster.ask(1, "one-more", b"", Policy::Ring), Err(Refusal::Full(4)));
}

#[test]
fn copies_of_a_home_are_bounded_and_whose_is_not_kept_hears_nothing() {
    let mut copies = copies::Copies::default();
    let tell = |copies: &mut copies::Copies, number: usize| {
        let session: SessionId = format!("pong/k{number}@0000000000000001").parse().unwrap();
        let record = Box::new(Record::first(session.clone(), member(1)));
        copies.handle(&session, Words::Lead { record, end: Some(1) }).is_some()
    };
    assert!((0..limits::RECORD_COPIES).all(|number| tell(&mut copies, number)));
    assert!(!tell(&mut copies, limits::RECORD_COPIES), "it is told again");
    assert!(tell(&mut copies, 0), "one that is kept is renewed");
    assert_eq!(copies.len(), limits::RECORD_COPIES);
}
