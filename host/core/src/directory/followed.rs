//! The sessions that this node follows: on which worker each is, who leads it, and what this node must know should it
//! come to lead it. Whether a follower counts, and when it leads, is its worker's to say; here is who asked for it.
//!
//! ```text
//!  Follow ──► begins ──its worker takes it──► followed ──Promoted──► led (by this node)
//!    ▲          │ it does not                  │  ▲ ◄──Deposed──────┘
//!    └──────────┘                      Unfollow▼  │ it counts: its worker keeps it
//!                                            leaving ──► (forgotten)
//! ```
//!
//! Nobody has to remember whom to tell that a session is over: a follower asks, every [`WATCH_US`], its leader or, where
//! that is gone, its home.

use std::collections::BTreeMap;

use super::context::{Context, Timer};
use super::home::{SUCCESSION_US, succession_us};
use super::message::{Charter, Lead, Message, Name, NotFollowed, name_of};
use super::types::Action;
use crate::ids::{Incarnation, Node, SessionId, WorkerId};
use crate::leadership::record::Member;
use crate::limits;

/// How often a node says that it follows a session, µs.
pub(super) const WATCH_US: u64 = 10_000_000;

/// A session that this node follows.
#[derive(Debug)]
pub(super) struct Followed {
    pub charter: Charter,
    pub leader: Member,
    pub worker: WorkerId,
    pub created_us: u64,
    /// Its leader does not want it any more.
    is_leaving: bool,
    /// Since when its leader's node is gone.
    orphaned_at: Option<u64>,
    /// Whether its worker was told to follow it.
    is_taken: bool,
    /// What this node said of it when it led it, until a moment ago.
    pub led: Option<Box<Lead>>,
}

impl Followed {
    /// Of what another leads and a worker of this node is to follow.
    pub fn new(charter: Charter, leader: Member, worker: WorkerId, created_us: u64) -> Followed {
        let (is_leaving, orphaned_at, is_taken, led) = (false, None, false, None);
        Followed { charter, leader, worker, created_us, is_leaving, orphaned_at, is_taken, led }
    }

    /// Of what is about to begin again here: its leader is gone. One that followed it does so again if that fails.
    pub fn orphan(charter: Charter, leader: Member, worker: WorkerId, now: u64, before: Option<&Followed>) -> Followed {
        let is_taken = before.is_some_and(|before| before.is_taken);
        Followed { orphaned_at: Some(now), is_taken, ..Followed::new(charter, leader, worker, now) }
    }

    /// Whether it is followed only to be led here.
    pub fn is_arriving(&self) -> bool {
        let is_for_that = self.charter.facts.replicas.followers == 0 && self.led.is_none();
        is_for_that && !self.is_leaving && self.orphaned_at.is_none()
    }

    /// The same of what this node led until now: its worker follows it already.
    pub fn deposed(self, led: Lead) -> Followed {
        Followed { is_taken: true, led: Some(Box::new(led)), ..self }
    }

    /// What is to be said of it still: it went to the process beside this one, which nobody else sees.
    pub fn led_beside(&self, me: Node) -> Option<&Lead> {
        self.led.as_deref().filter(|_| self.leader.node.id == me.id)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Following(BTreeMap<SessionId, Followed>);

impl Following {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn get(&self, session: &SessionId) -> Option<&Followed> {
        self.0.get(session)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Followed> {
        self.0.values()
    }

    /// What is followed of a name whose leader has just gone: somebody may come to lead it. Whoever has not by
    /// [`succession_us`] does not.
    pub fn orphan(&self, cx: &Context<'_>, name: &Name) -> Option<Lead> {
        let first = SessionId { game: name.0.clone(), key: name.1.clone(), incarnation: Incarnation(0) };
        let (_, of_name) = self.0.range(first..).next().filter(|(session, _)| name_of(session) == *name)?;
        let Followed { charter, leader, orphaned_at, .. } = of_name;
        let patience = succession_us(&charter.facts.replicas);
        let is_fresh = orphaned_at.is_some_and(|at| cx.now < at.saturating_add(patience));
        is_fresh.then(|| Lead {
            session: charter.session.clone(),
            leader: leader.node,
            worker: leader.worker,
            epoch: leader.node.first_epoch(),
            inputs: 0,
            config: charter.config,
            is_live: false,
            listing: None,
        })
    }

    /// A leader asks again for what is followed. Whether it is.
    pub fn renew(&mut self, cx: &mut Context<'_>, session: &SessionId, leader: Member) -> bool {
        let Some(followed) = self.0.get_mut(session) else { return false };
        (followed.leader, followed.is_leaving, followed.orphaned_at) = (leader, false, None);
        self.order(cx, session);
        true
    }

    /// Others are present, or are not any more. Of a session whose leader is gone the home is asked when it should know who
    /// leads it.
    pub fn handle_cluster(&mut self, cx: &mut Context<'_>) {
        for (session, followed) in &mut self.0 {
            let is_there = cx.cluster.present.contains(&followed.leader.node);
            if is_there {
                followed.orphaned_at = None;
            } else if followed.orphaned_at.is_none() {
                followed.orphaned_at = Some(cx.now);
                if !followed.is_leaving {
                    cx.timers.set(cx.now.saturating_add(SUCCESSION_US), Timer::Followed(session.clone()));
                }
            }
        }
    }

    /// A session is to be followed.
    pub fn begin(&mut self, cx: &mut Context<'_>, charter: Charter, leader: Member, worker: WorkerId, created_us: u64) {
        let session = charter.session.clone();
        self.insert(Followed::new(charter, leader, worker, created_us));
        self.order(cx, &session);
    }

    /// A session that was led here is followed here.
    pub fn insert(&mut self, followed: Followed) {
        self.0.insert(followed.charter.session.clone(), followed);
    }

    fn order(&mut self, cx: &mut Context<'_>, session: &SessionId) {
        let Some(Followed { charter, leader, worker, .. }) = self.0.get(session) else { return };
        let terms = charter.terms();
        cx.act(Action::Follow { terms, module: charter.facts.module, leader: *leader, worker: *worker });
    }

    /// The worker follows it, or does not: the leader is told. What is not followed is given back. That it was not told so once
    /// more, or did not begin again, is no reason why a worker that follows should not.
    pub fn handle_followed(
        &mut self,
        cx: &mut Context<'_>,
        session: &SessionId,
        result: Result<(), NotFollowed>,
    ) -> Option<Followed> {
        let followed = self.0.get_mut(session)?;
        let answer = result.map(|()| followed.worker);
        cx.send(followed.leader.node, Message::Follows { session: session.clone(), answer });
        followed.is_taken |= result.is_ok();
        if !followed.is_taken {
            return self.remove(cx, session);
        }
        cx.timers.set(cx.now.saturating_add(WATCH_US), Timer::Followed(session.clone()));
        None
    }

    /// It is not wanted any more, says its leader or its home.
    pub fn handle_unfollow(&mut self, cx: &mut Context<'_>, from: Node, session: &SessionId) {
        let is_home = cx.cluster.home_of(&name_of(session)) == Some(from);
        let Some(followed) = self.0.get_mut(session) else { return };
        if followed.leader.node == from || is_home {
            followed.is_leaving = true;
            self.let_go(cx, session);
        }
    }

    /// Whether the worker follows it no more. One that it says counts is asked again. What is over is given back.
    pub fn handle_unfollowed(&mut self, cx: &mut Context<'_>, session: &SessionId, is_over: bool) -> Option<Followed> {
        let is_leaving = self.0.get(session).is_some_and(|followed| followed.is_leaving);
        (is_leaving && is_over).then(|| self.remove(cx, session)).flatten()
    }

    /// Somebody says who leads it.
    pub fn handle_led_by(&mut self, cx: &mut Context<'_>, session: &SessionId, leader: Member) {
        let Some(followed) = self.0.get_mut(session) else { return };
        // Who is not there yet, as far as this node sees, cannot be told that it is followed: a node that is being replaced knows the
        // process that takes its place before others do.
        if followed.leader != leader && leader.node != cx.me && cx.cluster.present.contains(&leader.node) {
            (followed.leader, followed.orphaned_at) = (leader, None);
            self.say(cx, session);
        }
    }

    /// It is time to say that it is followed, or to have it dropped.
    pub fn due(&mut self, cx: &mut Context<'_>, session: &SessionId) {
        let Some(followed) = self.0.get_mut(session) else { return };
        // While this process is replaced nobody else sees the one beside it: what went there is the node's still.
        let is_beside = followed.leader.node.id == cx.me.id && cx.cluster.present.contains(&followed.leader.node);
        if !is_beside && followed.led.take().is_some() {
            // Whoever leads it has said so by now. If nobody does, its home must not believe that this node leads it still.
            cx.out.changed.push_back(session.clone());
        }
        if followed.is_leaving {
            self.let_go(cx, session);
        } else {
            self.say(cx, session);
        }
    }

    /// Has the worker drop it, until it has.
    fn let_go(&mut self, cx: &mut Context<'_>, session: &SessionId) {
        let Some(followed) = self.0.get(session) else { return };
        cx.act(Action::Unfollow { session: session.clone(), worker: followed.worker });
        cx.timers.set(cx.now.saturating_add(limits::END_REPEAT_US), Timer::Followed(session.clone()));
    }

    /// Says to its leader, or to its home, that it is followed.
    pub fn say(&mut self, cx: &mut Context<'_>, session: &SessionId) {
        let Some(Followed { leader, worker, .. }) = self.0.get(session) else { return };
        let is_there = cx.cluster.present.contains(&leader.node);
        let to = if is_there { Some(leader.node) } else { cx.cluster.home_of(&name_of(session)) };
        if let Some(to) = to {
            cx.send(to, Message::Follows { session: session.clone(), answer: Ok(*worker) });
        }
        cx.timers.set(cx.now.saturating_add(WATCH_US), Timer::Followed(session.clone()));
    }

    /// It is followed no more: it is led here, or nowhere.
    pub fn remove(&mut self, cx: &mut Context<'_>, session: &SessionId) -> Option<Followed> {
        cx.timers.cancel(&Timer::Followed(session.clone()));
        self.0.remove(session)
    }
}
