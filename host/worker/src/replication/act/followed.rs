//! The sessions that this worker follows: begun, folded, promoted, dropped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringside_core::ids::{Node, SessionId};
use ringside_core::leadership::message::{Mark, Output, Party};
use ringside_core::leadership::record::Member;
use ringside_core::leadership::{Follower, Leader};
use ringside_core::recording::About;
use ringside_protocol::frame::ServerFrame;
use ringside_sandbox::State;

use super::super::comparing::Comparison;
use super::super::following::Remains;
use super::super::wire::{CheckpointHead, Item, Word};
use super::super::{Branches, Follow, Following, Lead, Nodes, Phase, Promoted};
use crate::command::Event;
use crate::limits::FOLLOWED;
use crate::session::{Ran, Session};
use crate::worker::{PHASE, Worker};

impl Worker {
    /// The node says that a session is to be followed.
    pub(crate) fn begin_following(&mut self, now: Instant, follow: Follow) {
        let id = follow.terms.session.clone();
        let is_of_no_use = self.replication.get_mut(&id).is_some_and(|one| one.core.is_of_no_use());
        if is_of_no_use {
            self.stop_following(now, &id);
        }
        if let Some(following) = self.replication.get_mut(&id) {
            following.keeping.iter_mut().for_each(|keeping| keeping.is_unwanted = false);
        }
        let is_here = self.index_of(&id).is_some() || self.replication.index_of(&id).is_some();
        if is_here || self.replication.followed() >= FOLLOWED {
            return;
        }
        let (me, clock) = (self.replication.me, self.replication.clock);
        let epochs = self.config.epochs.forgotten();
        let core = Follower::new(clock.us(now), me, follow.terms.clone()).after_epochs(epochs);
        let branches = Branches::new(follow.leader.node.first_epoch());
        let remains = Remains { fold: None, restore: None, base: None, log: Vec::new(), branches, history: Vec::new() };
        let mut following = Following::new(id.clone(), follow.module, follow.terms, (core, clock), remains, now);
        if self.link(now, &id, follow.leader) {
            following.linked.insert(follow.leader);
        }
        Phase::Offer.at_target(&id);
        self.follow(now, Box::new(following));
    }

    /// Follows a session from now on.
    pub(crate) fn follow(&mut self, now: Instant, following: Box<Following>) {
        let replication = &mut self.replication;
        let free = replication.followed.iter().position(Option::is_none);
        let at = free.unwrap_or_else(|| {
            replication.followed.push(None);
            replication.followed.len() - 1
        });
        replication.by_id.insert(following.id.clone(), at);
        replication.followed[at] = Some(following);
        replication.note_prompt(at);
        // One that led has something to say at once.
        self.with_follower(now, at, |following| following.with_core(now, |_, _| ()));
    }

    /// A session is not to be followed any longer. Whether it is not: it may be led here by now.
    pub(crate) fn stop_following(&mut self, now: Instant, session: &SessionId) -> bool {
        let Some(at) = self.replication.index_of(session) else { return self.index_of(session).is_none() };
        // One that may not come to lead by itself is of no use to anybody who does not want it, unless it is about to.
        let counts = self.replication.followed[at].as_ref().is_some_and(|one| {
            one.promotion.is_some() || one.core.counts() && !one.has_ended() && one.terms.may_promote()
        });
        if !counts {
            self.let_go(now, at);
        } else {
            // One that has not folded finds out whether its session is over.
            self.with_follower(now, at, |following| {
                following.keeping.iter_mut().for_each(|keeping| keeping.is_unwanted = true);
            });
        }
        !counts
    }

    fn let_go(&mut self, now: Instant, at: usize) {
        if let Some(following) = self.drop_following(now, at) {
            self.send_standbys_off(now, following.standbys);
        }
    }

    /// A run of a node is over: what it led may go on here.
    pub(crate) fn release_followed(&mut self, now: Instant, node: Node) {
        self.tell_followers(now, |core| core.handle_over(node));
    }

    /// The process of a run of a node has ended.
    pub(crate) fn note_died(&mut self, now: Instant, node: Node) {
        self.tell_followers(now, |core| core.handle_died(node));
    }

    fn tell_followers(&mut self, now: Instant, tell: impl Fn(&mut Follower)) {
        for at in 0..self.replication.followed.len() {
            self.with_follower(now, at, |following| following.with_core(now, |core, _| tell(core)));
        }
    }

    /// Where all nodes are. One in whose place a later run has come has ended.
    pub(crate) fn note_nodes(&mut self, now: Instant, nodes: Nodes) {
        let before = std::mem::replace(&mut self.replication.nodes, Arc::clone(&nodes));
        let succeeds = |run: &Node, node: &Node| run.id == node.id && run.generation > node.generation;
        for node in before.keys().filter(|node| !nodes.contains_key(node)) {
            if nodes.keys().any(|run| succeeds(run, node) && !before.contains_key(run)) {
                self.note_died(now, *node);
            }
        }
    }

    pub(crate) fn drop_following(&mut self, now: Instant, at: usize) -> Option<Box<Following>> {
        let mut following = self.replication.followed[at].take()?;
        self.config.epochs.forget(following.core.seen());
        let last = if following.has_ended() { following.core.last_record() } else { following.core.record().cloned() };
        if let Some(record) = last {
            self.replication.last.let_go(&following.terms, &record);
        }
        self.replication.by_id.remove(&following.id);
        self.replication.prompt -= usize::from(following.is_prompt);
        self.replication.schedule.set(at as u32, None);
        self.replication.work.retain(|other| *other != at);
        let linked = std::mem::take(&mut following.linked);
        self.unlink(now, &following.id, linked);
        Some(following)
    }

    /// Does something with a follower, and what it says.
    pub(crate) fn with_follower(&mut self, now: Instant, at: usize, act: impl FnOnce(&mut Following)) {
        let Some(following) = self.replication.followed.get_mut(at).and_then(Option::as_deref_mut) else { return };
        act(following);
        self.obey_follower(now, at);
    }

    fn obey_follower(&mut self, now: Instant, at: usize) {
        loop {
            let Some(following) = self.replication.followed.get_mut(at).and_then(Option::as_deref_mut) else { return };
            let Some(output) = following.todo.pop_front() else { break };
            let id = following.id.clone();
            match output {
                Output::Send { to: Party::Home, message } => {
                    self.tell(Event::ToHome { session: id, message: Box::new(message) });
                }
                Output::Send { to: Party::Member(to), message } => {
                    if !following.linked.contains(&to)
                        && self.link(now, &id, to)
                        && let Some(following) = self.replication.followed[at].as_deref_mut()
                    {
                        following.linked.insert(to);
                    }
                    self.say(to, Item::Word(Word { session: id, message, entries: Vec::new() }));
                }
                Output::Chain(request) => self.tell(Event::Chain { session: id, request }),
                Output::Probe(party) => {
                    // Players wait for a leader: no answer waits for the grid.
                    self.hurry(now);
                    self.tell(Event::Probe { session: id, party });
                }
                Output::Counts(counts) => {
                    match counts {
                        true => Phase::CatchUp.at_target(&id),
                        false => tracing::debug!(session = %id, "the follower does not count any more"),
                    }
                    self.replication.note_prompt(at);
                }
                Output::Diverged { leader, own } => {
                    tracing::error!(
                        session = %id, position = leader.position, leader = %leader.hash, own = %own.hash,
                        "this follower's fold differs from its leader's: it is begun anew"
                    );
                    self.report_divergence(at, leader, own);
                }
                // Kept and forgotten already, or a leader's.
                _ => {}
            }
        }
        self.promote_if_ready(now, at);
        let Some(following) = self.replication.followed.get_mut(at).and_then(Option::as_deref_mut) else { return };
        let is_ready = following.is_ready();
        let is_unwanted = following.keeping.as_mut().is_some_and(|it| is_ready && std::mem::take(&mut it.is_unwanted));
        if is_unwanted && following.has_ended() {
            return self.let_go(now, at);
        }
        following.rest(now);
        let (next, has_work) = (following.next_timeout(), following.has_work(now));
        self.replication.schedule.set(at as u32, next);
        if has_work && !self.replication.work.contains(&at) {
            self.replication.work.push_back(at);
        }
    }

    /// The leader says something of a state that is compared.
    pub(super) fn take_comparison(&mut self, now: Instant, from: Member, session: &SessionId, said: Comparison) {
        if let Some(at) = self.replication.index_of(session) {
            self.with_follower(now, at, |following| following.take_comparison(from, said));
        }
    }

    /// Both sides of a divergence are kept.
    fn report_divergence(&mut self, at: usize, leader: Mark, own: Mark) {
        let Some(following) = self.replication.followed.get_mut(at).and_then(Option::as_deref_mut) else { return };
        let (session, position) = (following.id.clone(), own.position);
        let (leader, follower) = (leader.hash, own.hash);
        let kept = following.divergence(About::Diverged { position, leader, follower, is_leader: false });
        let to = following.core.record().map(|record| record.leader);
        if let Some(kept) = kept {
            self.tell(Event::Kept(Box::new(kept)));
        }
        if let Some(to) = to {
            self.say(to, Item::Diverged { session, position, leader, follower });
        }
    }

    /// Folds for about `budget`.
    pub(super) fn fold_some(&mut self, now: Instant, at: usize, budget: Duration) {
        let Some(following) = self.replication.followed.get_mut(at).and_then(Option::as_deref_mut) else { return };
        if let Err(error) = following.work(now, budget) {
            if following.is_restored {
                let (session, why) = (following.id.clone(), error.to_string());
                self.drop_following(now, at);
                return self.tell(Event::NotRestored { session, why });
            }
            tracing::error!(session = %following.id, %error, "this follower cannot fold what its leader has folded");
            if following.promotion.is_some() {
                // It was to lead by this. Its home hears of nobody else, and says that it is lost.
                return self.let_go(now, at);
            }
            following.give_up(now);
        }
        let id = following.id.clone();
        self.pause_standbys(&id);
        self.obey_follower(now, at);
    }

    /// The leader's checkpoint has come.
    pub(super) fn take_checkpoint(&mut self, now: Instant, from: Member, head: CheckpointHead, state: Arc<State>) {
        let Some(at) = self.replication.index_of(&head.session) else { return };
        Phase::Checkpoint.at_target(&head.session);
        self.with_follower(now, at, |following| following.restore_from(now, from, head, state));
    }

    /// It leads from now on, once its fold has all of the log.
    fn promote_if_ready(&mut self, now: Instant, at: usize) {
        let Some(following) = self.replication.followed.get_mut(at).and_then(Option::as_deref_mut) else { return };
        if following.promotion.is_none() || !following.is_ready() {
            return;
        }
        let Some(mut following) = self.drop_following(now, at) else { return };
        let (Some(promotion), Some((fold, base, log))) = (following.promotion.take(), following.take_parts()) else {
            return;
        };
        let Following { id, terms, branches, history, standbys, keeping, slept, ticked, .. } = *following;
        let record = Arc::clone(&promotion.record);
        let (is_complete, is_recorded) = (promotion.is_complete, terms.is_recorded);
        Phase::Switch.at_target(&id);
        tracing::info!(
            session = %id, epoch = record.epoch.number, position = promotion.end, cause = ?record.cause,
            "the session is led here from now on"
        );
        let (me, clock) = (self.replication.me, self.replication.clock);
        // Of those who led or counted whoever is there counts by this record.
        let is_new = |node: &Node| *node != me.node && !promotion.former.iter().any(|who| who.node == *node);
        let is_lonely = record.in_sync.is_empty() && !self.replication.nodes.keys().any(is_new);
        let mut core = Leader::promoted(clock.us(now), me, terms.clone(), promotion);
        if is_lonely {
            core.handle_lonely();
        }
        self.keep_predecessor(&mut core);
        let lead = Box::new(Lead::new(core, terms, clock, branches, history, 0));
        let rate = fold.module().description().tick_rate;
        // Where nobody died the ticks go on as they came.
        let ticked = ticked.filter(|_| record.cause.is_grant());
        let first = match (rate, ticked) {
            (0, _) => now,
            // It was heard of no earlier than the phase after it came.
            (_, Some(ticked)) => self.phase_from((ticked + Duration::from_secs(1) / rate - PHASE).max(now)),
            (_, None) => self.first_tick(now, Duration::from_secs(1) / rate),
        };
        let players = fold.slots().map(|state| state.player.clone()).collect();
        let parts = (fold, base, log);
        let mut session = Session::promoted(id.clone(), parts, (lead, is_complete), now, (first, self.config.cost_of));
        session.has_slept(slept);
        let index = self.put(Box::new(session));
        self.tell(Event::Promoted(Box::new(Promoted { session: id.clone(), record, players })));
        if is_recorded {
            self.begin_part(index);
        }
        self.fence_if_sealed(now, index);
        self.after_run(now, index, Ran::Applied);
        self.obey_leader(now, index);
        // In the log of this node nothing of it counts before a checkpoint.
        self.checkpoint(now, &id);
        self.let_standbys_in(now, index, standbys);
        if keeping.is_some_and(|keeping| keeping.has_paused) {
            self.tell_players(index, &ServerFrame::Resumed);
        }
    }
}
