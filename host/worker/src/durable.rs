//! Durable sessions: what a worker hands on for the log of its node, and how a session begins again from such a log. A
//! turn's entries of all sessions are one event; checkpoints are encoded beside the worker's thread. What the store has
//! comes back as [`Command::Stored`](crate::Command::Stored); what waits for it is the core's to say.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringside_core::durable::object::{Checkpoint, Item};
use ringside_core::durable::recovery::Start;
use ringside_core::ids::{Epoch, Position, SessionId};
use ringside_core::leadership::Follower;
use ringside_core::leadership::leader::NodeLog;
use ringside_core::leadership::message::Promotion;
use ringside_core::leadership::record::{Cause, Record, Terms};
use ringside_core::limits::INCREMENTS;
use ringside_sandbox::{Module, State};

use crate::command::Event;
use crate::replication::{Branches, CheckpointHead, Following, Job, Lead, Remains};
use crate::worker::Worker;

/// A session that begins again from the log of a run that is gone.
pub struct Restore {
    /// The module that it runs.
    pub module: Module,
    /// What it promises.
    pub terms: Terms,
    /// The record by which it is led here.
    pub record: Arc<Record>,
    /// Its state; none: its log is whole.
    pub state: Option<Arc<State>>,
    /// From where it goes on.
    pub start: Start,
    /// For how long nobody led it, where its time went on meanwhile.
    pub slept: Duration,
}

/// Up to where the store has a session's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Which session.
    pub session: SessionId,
    /// In which epoch.
    pub epoch: Epoch,
    /// Up to where.
    pub position: Position,
}

impl Worker {
    /// What these sessions have appended since, for the log of the node.
    pub(crate) fn hand_on_entries(&mut self, sessions: &[usize]) {
        let mut items = Vec::new();
        for index in sessions {
            let Some(session) = self.sessions.get_mut(*index).and_then(Option::as_mut) else { continue };
            let Some(lead) = session.lead.as_mut().filter(|lead| lead.writes_log()) else { continue };
            let (from, to) = (lead.logged, lead.core.end());
            if from >= to {
                continue;
            }
            lead.logged = to;
            // Where some are not kept any more the writer sees the gap, and asks for a checkpoint.
            if let Some(entries) = lead.entries(&session.log, from, to) {
                items.push(Item::Entries { session: session.id.clone(), epoch: session.epoch, entries });
            }
        }
        if !items.is_empty() {
            self.tell(Event::Log(items));
        }
    }

    /// A checkpoint of a durable session is for the log of the node, if that has none as new, as soon as every follower that
    /// counts is as far: what the log had before may be deleted then, and whoever leads next may have less than this leader, but
    /// must find a checkpoint to go on from if it has none of its own yet. One of before the leader's epoch is of no use there:
    /// what came after it is in another log.
    pub(crate) fn hand_on_checkpoint(&mut self, index: usize) {
        let Some(session) = self.sessions.get_mut(index).and_then(Option::as_mut) else { return };
        let Some(lead) = session.lead.as_mut().filter(|lead| lead.writes_log()) else { return };
        let (kept, first) = (lead.kept.as_ref().map_or(0, |state| state.position()), lead.core.first());
        let is_new = |state: &Arc<State>| state.position() > kept && state.position() + 1 >= first;
        let Some(newest) = session.checkpoint.as_ref().filter(|state| is_new(state)) else { return };
        // The first of several, or followers that are slow would never be as far.
        let next = lead.keeping.take().filter(is_new).unwrap_or_else(|| Arc::clone(newest));
        if next.position() > lead.core.replicated() {
            lead.keeping = Some(next);
            return;
        }
        lead.core.handle_checkpoint(next.position());
        // What it is compared with is in memory only until that is done, but for the newest, which the session has anyway.
        let base = lead.kept.replace(Arc::clone(&next)).filter(|_| lead.increments < INCREMENTS);
        let head = CheckpointHead {
            session: session.id.clone(),
            position: next.position(),
            lineage: lead.core.record().lineage.clone(),
            branches: lead.branches.clone(),
        };
        let epoch = session.epoch;
        self.replication.job(Job::keep(epoch, head, base, next));
    }

    /// A checkpoint for the log of the node is encoded. It is of no use there if the session is led elsewhere by now, or in
    /// another epoch.
    pub(crate) fn checkpoint_encoded(
        &mut self,
        epoch: Epoch,
        head: CheckpointHead,
        (base, state): (Option<Position>, Bytes),
    ) {
        let index = self.index_of(&head.session);
        let Some(session) = index.and_then(|index| self.sessions[index].as_mut()) else { return };
        let leads = |lead: &&mut Box<Lead>| lead.core.epoch() == epoch && lead.writes_log();
        let Some(lead) = session.lead.as_mut().filter(leads) else { return };
        lead.increments = if base.is_some() { lead.increments + 1 } else { 0 };
        let beside = head.branches.encode();
        let CheckpointHead { session, position, lineage, .. } = head;
        let checkpoint = Box::new(Checkpoint { session, epoch, position, lineage, beside, state });
        self.tell(Event::Log(vec![match base {
            Some(base) => Item::Increment { base, checkpoint },
            None => Item::Checkpoint(checkpoint),
        }]));
    }

    /// The log of the node wants a whole checkpoint of where a session is now. One that is being rebuilt has one when it is.
    pub(crate) fn checkpoint(&mut self, now: Instant, session: &SessionId) {
        let Some(index) = self.index_of(session) else { return };
        let Some(session) = self.sessions[index].as_mut() else { return };
        let Some(lead) = session.lead.as_mut().filter(|lead| lead.writes_log()) else { return };
        (lead.kept, lead.keeping) = (None, None);
        session.checkpoint_for_log(now);
        self.hand_on_checkpoint(index);
        self.go_on_with_checkpoint(index);
    }

    /// The store has sessions' logs up to somewhere.
    pub(crate) fn stored(&mut self, now: Instant, stored: Vec<Stored>) {
        for Stored { session, epoch, position } in stored {
            let Some(index) = self.index_of(&session) else { continue };
            let Some(lead) = self.sessions[index].as_mut().and_then(|session| session.lead.as_mut()) else { continue };
            if lead.core.epoch() == epoch {
                lead.stored = lead.stored.max(position);
                self.confirm(index);
                self.with_leader(now, index, |core, us| core.handle_stored(us, position));
            }
        }
    }

    /// The log of this node was sealed, or opened anew: what that means for each session is its leader's to say.
    pub(crate) fn node_log_is(&mut self, now: Instant, is: NodeLog) {
        self.node_log = is;
        (0..self.sessions.len()).for_each(|index| self.fence_if_sealed(now, index));
    }

    /// Where the log was sealed once, a session's leader is told. Of one that has come to be led here nobody can tell whether
    /// the record by which it is led was made before that.
    pub(crate) fn fence_if_sealed(&mut self, now: Instant, index: usize) {
        let is = self.node_log;
        if is != NodeLog::First {
            self.with_leader(now, index, |core, us| core.handle_node_log(us, is));
        }
    }

    /// Begins a session again: it is folded like one that is followed, and is led when that is done.
    pub(crate) fn restore(&mut self, now: Instant, restore: Restore) {
        let Restore { module, terms, record, state, start, slept } = restore;
        let id = terms.session.clone();
        if self.replication.get_mut(&id).is_some_and(|following| following.core.knows_newer(&record)) {
            let why = "it goes on elsewhere, and what was evicted is of a branch that is over".to_owned();
            return self.tell(Event::NotRestored { session: id, why });
        }
        // What followed it before it was evicted, and has not heard so, is of no use; nor is what did not count when its leader's
        // log was sealed.
        let is_begun = |following: &mut Following| {
            following.promotion.as_ref().is_some_and(|promotion| promotion.record == record)
        };
        if !self.replication.get_mut(&id).is_some_and(is_begun)
            && let Some(at) = self.replication.index_of(&id)
            && let Some(former) = self.drop_following(now, at)
        {
            self.send_standbys_off(now, former.standbys);
        }
        if self.index_of(&id).is_some() || self.replication.get_mut(&id).is_some() {
            return;
        }
        let (me, clock) = (self.replication.me, self.replication.clock);
        let first = record.lineage.terms().first().map_or(record.epoch, |term| term.epoch);
        let beside = start.newest().map(|checkpoint| checkpoint.beside.clone()).unwrap_or_default();
        let branches = Branches::decode(&beside).unwrap_or_else(|error| {
            // Without a checkpoint there is nothing beside it.
            if start.newest().is_some() {
                tracing::error!(session = %id, %error, "its branches cannot be read: players of one that was left sit down anew");
            }
            Branches::new(first)
        });
        let epochs = self.config.epochs.forgotten();
        let mut core = Follower::new(clock.us(now), me, terms.clone()).after_epochs(epochs);
        core.handle_checkpoint(clock.us(now), start.end, record.lineage.clone());
        let remains = Remains { fold: None, restore: None, base: state, log: start.log, branches, history: Vec::new() };
        let mut following = Following::new(id.clone(), module, terms, (core, clock), remains, now);
        let (end, former) = (start.end, Default::default());
        // Its leader's run is over where the log of its node was sealed.
        let has_died = matches!(record.cause, Cause::Recovered { .. });
        // Players may have seen more than its log has: ticks that were not stored yet, and whatever was in objects that are
        // damaged or missing at its end, where nothing shows how much that was.
        let is_complete = !has_died;
        let (has_stalled, killers, committed) = (false, Vec::new(), end);
        let promotion = Promotion { record, end, committed, is_complete, former, has_stalled, has_died, killers };
        following.promotion = Some(promotion);
        following.is_restored = true;
        following.slept = slept;
        tracing::debug!(session = %id, position = end, "the session is restored from the store");
        self.follow(now, Box::new(following));
    }
}
