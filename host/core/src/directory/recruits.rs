//! Who follows the sessions that this node leads: nodes are chosen by the ring and asked until there are as many as the
//! game wants. Whoever follows stays, whatever becomes of the ring, for a follower that has the log is worth more than
//! one in a better place; who is gone is replaced, and so is who drains. Whether a follower counts is the leader's to say
//! ([`Recruits::handle_record`]): one that should and does not is asked again, slowly.

use std::collections::{BTreeMap, BTreeSet};

use super::context::{Context, RESEND_US, Timer};
use super::led::Led;
use super::message::{Message, NotFollowed, name_of};
use super::types::Action;
use crate::ids::{Node, SessionId, WorkerId};
use crate::leadership::record::{Cause, Member, Record, is_safe_without};
use crate::leadership::timing::WANTED_US;
use crate::ring::Position;

/// How often a session with fewer followers than it should have is looked at, µs.
const LOOK_US: u64 = 2_000_000;
/// For how long a node that has no room is not asked again, µs.
const FULL_US: u64 = 10_000_000;

/// How a node stands to a session of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// It was asked.
    Asked,
    /// It follows, on this worker.
    Follows(WorkerId),
    /// It does not, and is not asked before this time.
    Refused(u64),
}

#[derive(Debug, Default)]
struct Recruiting {
    nodes: BTreeMap<Node, Stand>,
    /// Who counts.
    in_sync: BTreeSet<Member>,
    /// Where an operator wants it, and until when if nobody says so again.
    is_moving: Option<(Node, u64)>,
}

impl Recruiting {
    /// Whether a node follows and counts.
    fn counts(&self, node: Node) -> bool {
        self.in_sync.iter().any(|member| member.node == node)
    }
}

/// The followers of this node's sessions.
#[derive(Debug, Default)]
pub(super) struct Recruits(BTreeMap<SessionId, Recruiting>);

impl Recruits {
    /// Sees to it that a session has its followers; one that is over, or wants none, is followed no longer.
    pub fn look(&mut self, cx: &mut Context<'_>, led: &Led, session: &SessionId) {
        self.ask(cx, led, session, BTreeSet::new());
    }

    /// Asks these, and as many more as are missing.
    fn ask(&mut self, cx: &mut Context<'_>, led: &Led, session: &SessionId, mut asked: BTreeSet<Node>) {
        let Some(one) = led.current(session) else { return self.dismiss(cx, session) };
        let wanted = one.charter.facts.replicas.followers;
        // One that wants none has some while it moves.
        if !one.is_live() || wanted == 0 && !self.0.contains_key(session) {
            return;
        }
        let (now, ring) = (cx.now, cx.cluster.ring.clone());
        let recruiting = self.0.entry(session.clone()).or_default();
        let present = &cx.cluster.present;
        recruiting
            .nodes
            .retain(|node, stand| present.contains(node) && !matches!(stand, Stand::Refused(until) if *until <= now));
        let is_active = |node: &Node| ring.member(node.id).is_some_and(|member| member.node == *node);
        let serving = |(node, stand): &(&Node, &Stand)| is_active(node) && !matches!(stand, Stand::Refused(_));
        let mut missing = wanted.saturating_sub(recruiting.nodes.iter().filter(serving).count());
        let name = name_of(session);
        let position = Position::of_key(&name.0, &name.1);
        for id in ring.followers(position, cx.me.id, ring.members().len()) {
            let Some(node) = ring.member(id).map(|member| member.node).filter(|_| missing > 0) else { continue };
            if node.id != cx.me.id && present.contains(&node) && !recruiting.nodes.contains_key(&node) {
                recruiting.nodes.insert(node, Stand::Asked);
                asked.insert(node);
                missing -= 1;
            }
        }
        let (leader, age_us) = (one.leader(cx.me), now.saturating_sub(one.created_us));
        let waits = recruiting.nodes.values().any(|stand| *stand == Stand::Asked);
        let is_short = missing > 0 || recruiting.in_sync.len() < wanted;
        for node in &asked {
            cx.send(*node, Message::Follow { charter: Box::new(one.charter.clone()), leader, age_us });
        }
        match (waits, is_short || recruiting.is_moving.is_some()) {
            (true, _) => cx.timers.set(now.saturating_add(RESEND_US), Timer::Recruits(session.clone())),
            (false, true) => cx.timers.set(now.saturating_add(LOOK_US), Timer::Recruits(session.clone())),
            (false, false) => cx.timers.cancel(&Timer::Recruits(session.clone())),
        }
    }

    /// A session began, changed or ended.
    pub fn changed(&mut self, cx: &mut Context<'_>, led: &Led, session: &SessionId) {
        match led.current(session) {
            None => self.dismiss(cx, session),
            Some(one) if one.is_live() && !self.0.contains_key(session) => self.look(cx, led, session),
            Some(_) => {}
        }
    }

    /// It is time to ask again: who has not answered, and who follows and does not count.
    pub fn due(&mut self, cx: &mut Context<'_>, led: &Led, session: &SessionId) {
        let mut asked = BTreeSet::new();
        let wanted = led.current(session).map_or(0, |one| one.charter.facts.replicas.followers);
        if let Some(recruiting) = self.0.get_mut(session)
            && recruiting.is_moving.take_if(|(_, until)| cx.now >= *until).is_some()
            && recruiting.in_sync.len() >= wanted
        {
            // It did not move, and need not be followed there any longer.
            self.release(cx, session);
        }
        if let Some(Recruiting { nodes, in_sync, .. }) = self.0.get_mut(session) {
            for (node, stand) in nodes {
                let counts = in_sync.iter().any(|member| member.node == *node);
                if matches!(stand, Stand::Asked) || matches!(stand, Stand::Follows(_)) && !counts {
                    *stand = Stand::Asked;
                    asked.insert(*node);
                }
            }
            asked.retain(|node| cx.cluster.present.contains(node));
        }
        self.ask(cx, led, session, asked);
    }

    /// A node says that it follows, or why not. Whether the session is led here.
    pub fn handle_follows(
        &mut self,
        cx: &mut Context<'_>,
        led: &Led,
        from: Node,
        session: &SessionId,
        answer: Result<WorkerId, NotFollowed>,
    ) -> bool {
        let Some(one) = led.current(session) else { return false };
        let wanted = one.charter.facts.replicas.followers;
        let recruiting = self.0.entry(session.clone()).or_default();
        let known = recruiting.nodes.get(&from).copied();
        match answer {
            Ok(worker) => {
                let others = recruiting
                    .nodes
                    .iter()
                    .filter(|(node, stand)| **node != from && matches!(stand, Stand::Follows(_)));
                let is_known = known.is_some_and(|stand| !matches!(stand, Stand::Refused(_)));
                let is_wanted = is_known || recruiting.counts(from) || others.count() < wanted;
                if !is_wanted {
                    cx.send(from, Message::Unfollow { session: session.clone() });
                    return true;
                }
                recruiting.nodes.insert(from, Stand::Follows(worker));
                cx.act(Action::Recruit {
                    session: session.clone(),
                    worker: one.worker,
                    member: Member { node: from, worker },
                });
            }
            Err(why) if known.is_some() => {
                let pause = if why == NotFollowed::NoRoom { FULL_US } else { LOOK_US };
                recruiting.nodes.insert(from, Stand::Refused(cx.now.saturating_add(pause)));
            }
            Err(_) => return true,
        }
        self.look(cx, led, session);
        true
    }

    /// A session is led here since its leader fell silent. That one is asked again when somebody else was, or is known to be
    /// gone: nobody knows that yet, and until somebody follows nobody could go on.
    pub fn handle_promoted(&mut self, cx: &mut Context<'_>, led: &Led, session: &SessionId, record: &Record) {
        let before = record.lineage.before_newest().filter(|_| record.cause == Cause::Promoted).map(Node::of_epoch);
        let is_live = led.current(session).is_some_and(|one| one.is_live());
        if let Some(node) = before.filter(|node| is_live && !record.in_sync.iter().any(|who| who.node == *node)) {
            let recruiting = self.0.entry(session.clone()).or_default();
            recruiting.nodes.insert(node, Stand::Refused(cx.now.saturating_add(LOOK_US)));
        }
        self.handle_record(cx, led, session, record);
    }

    /// The record of a session is another one: who counts follows.
    pub fn handle_record(&mut self, cx: &mut Context<'_>, led: &Led, session: &SessionId, record: &Record) {
        // One that is not created yet is looked after when it is.
        let Some(one) = led.current(session).filter(|one| one.is_live()) else { return };
        let recruiting = self.0.entry(session.clone()).or_default();
        recruiting.in_sync.clone_from(&record.in_sync);
        for member in &record.in_sync {
            recruiting.nodes.insert(member.node, Stand::Follows(member.worker));
        }
        let wanted = one.charter.facts.replicas.followers;
        if recruiting.in_sync.len() >= wanted {
            self.release(cx, session);
        }
        self.look(cx, led, session);
    }

    /// As many count as should: whoever follows besides need not.
    fn release(&mut self, cx: &mut Context<'_>, session: &SessionId) {
        let Some(Recruiting { nodes, in_sync, is_moving }) = self.0.get_mut(session) else { return };
        nodes.retain(|node, stand| {
            let counts = in_sync.iter().any(|member| member.node == *node);
            let is_moving = is_moving.is_some_and(|(to, _)| to == *node);
            // Another run of this node answers for the session until it ends, whether it counts or not.
            let is_beside = node.id == cx.me.id;
            let is_needed = counts || is_moving || is_beside || matches!(stand, Stand::Refused(_));
            if !is_needed {
                cx.send(*node, Message::Unfollow { session: session.clone() });
            }
            is_needed
        });
    }

    /// The ring, or who is present, changed.
    pub fn handle_cluster(&mut self, cx: &mut Context<'_>, led: &Led) {
        let sessions: Vec<SessionId> = self.0.keys().cloned().collect();
        sessions.iter().for_each(|session| self.look(cx, led, session));
    }

    /// A session is over: its followers are told. One that does not hear it asks, sooner or later.
    fn dismiss(&mut self, cx: &mut Context<'_>, session: &SessionId) {
        for node in self.forget(cx, session) {
            cx.send(node, Message::Unfollow { session: session.clone() });
        }
    }

    /// A session is led by another node: who follows it is that one's to say. Whoever was asked here.
    pub fn forget(&mut self, cx: &mut Context<'_>, session: &SessionId) -> Vec<Node> {
        cx.timers.cancel(&Timer::Recruits(session.clone()));
        let recruiting = self.0.remove(session).unwrap_or_default();
        let asked = recruiting.nodes.into_iter().filter(|(_, stand)| !matches!(stand, Stand::Refused(_)));
        asked.map(|(node, _)| node).collect()
    }

    /// In how many sessions somebody of a node counts who need not ([`is_safe_without`]).
    pub fn spare(&self, led: &Led, node: Node) -> usize {
        let is_spare = |(session, recruiting): &(&SessionId, &Recruiting)| {
            let tier = led.current(session).map(|one| one.charter.terms().tier);
            recruiting.counts(node) && tier.is_some_and(|tier| is_safe_without(node, &recruiting.in_sync, tier))
        };
        self.0.iter().filter(is_spare).count()
    }

    /// Followers of a session that have said so.
    pub fn of(&self, session: &SessionId) -> Vec<Member> {
        let nodes = self.0.get(session).map(|recruiting| &recruiting.nodes);
        let members = nodes.into_iter().flatten().filter_map(|(node, stand)| match stand {
            Stand::Follows(worker) => Some(Member { node: *node, worker: *worker }),
            _ => None,
        });
        members.collect()
    }

    /// A node is to follow a session, whatever the ring says: the session is to move there.
    pub fn want(&mut self, cx: &mut Context<'_>, led: &Led, session: &SessionId, node: Node) {
        let recruiting = self.0.entry(session.clone()).or_default();
        recruiting.is_moving = Some((node, cx.now.saturating_add(WANTED_US)));
        if !matches!(recruiting.nodes.get(&node), Some(Stand::Follows(_))) {
            recruiting.nodes.insert(node, Stand::Asked);
            self.ask(cx, led, session, [node].into());
        }
    }
}
