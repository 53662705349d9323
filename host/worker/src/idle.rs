//! Idle sessions: found, put into the store with the node's help, and begun again from there. Whether one is evicted is
//! decided by its leader ([`ringside_core::leadership::Leader::handle_evict`]).
//!
//! ```text
//!  worker ─Idle─► node ─Evict─► worker ─Resting, with the state─► node: the store ─Rested─► worker: its leader makes the
//!    record ─Evicted─► node          (an input that comes before that: nothing has happened)
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringside_core::durable::object::Checkpoint;
use ringside_core::idle::{IDLE_AFTER_US, timer_margin_us};
use ringside_core::ids::{Epoch, Position, SessionId};
use ringside_core::leadership::record::Record;
use ringside_core::recording::EndReason;
use ringside_protocol::reason::Reason;

use crate::command::Event;
use crate::replication::{CheckpointHead, Job};
use crate::session::Session;
use crate::worker::Worker;

/// When sessions are idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idleness {
    /// After so long without an entry.
    pub after: Duration,
    /// Not if a timer is due sooner than this.
    pub timer_margin: Duration,
}

/// Why a session is not evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotEvicted {
    /// It is not led here.
    #[error("the session is not led by this worker (any longer)")]
    NotHere,
    /// Somebody sits in it, or is about to.
    #[error("players sit in it")]
    Players,
    /// It is never idle.
    #[error("its game ticks: only sessions that answer at once are evicted")]
    Ticks,
    /// A timer is due soon.
    #[error("a timer of it is due in a moment")]
    Timer,
    /// Nobody else would find it.
    #[error("other nodes have other stores: start all of them with one --store")]
    NoSharedStore,
    /// It is over, paused, about to move, or somebody has not acknowledged its log: try again.
    #[error("it cannot be evicted at this moment")]
    Busy,
}

/// What is to be put into the store of a session before it is evicted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resting {
    /// Its state.
    pub checkpoint: Checkpoint,
    /// In how long its next timer is due.
    pub timer: Option<Duration>,
}

impl Session {
    /// Whether it may be evicted.
    fn may_be_evicted(&self, now: Instant, timer_margin: Duration) -> Result<(), NotEvicted> {
        if self.is_ticking() {
            Err(NotEvicted::Ticks)
        } else if !self.is_empty() {
            Err(NotEvicted::Players)
        } else if self.timer_in(now).is_some_and(|timer| timer < timer_margin) {
            Err(NotEvicted::Timer)
        } else if self.fold.ending().is_some() || self.is_paused() || self.owes_leaves() {
            Err(NotEvicted::Busy)
        } else {
            Ok(())
        }
    }

    /// When it is idle, if nothing happens before.
    pub(crate) fn idle_at(&self, now: Instant, idleness: Option<Idleness>) -> Option<Instant> {
        let Idleness { after, timer_margin } = idleness?;
        self.may_be_evicted(now, timer_margin).ok()?;
        Some(self.said_idle.max(Some(self.quiet_since))? + after)
    }
}

impl Worker {
    /// Sessions are idle from now on when this says so; never where it says nothing.
    pub(crate) fn set_idleness(&mut self, idleness: Option<Idleness>) {
        if self.idleness != idleness {
            self.idleness = idleness;
            for index in 0..self.sessions.len() {
                self.reschedule(index);
            }
        }
    }

    /// Tells the node that a session is idle.
    pub(crate) fn say_idle(&mut self, now: Instant, index: usize) {
        let (idleness, is_awaited) = (self.idleness, self.waiting.contains_key(&index));
        let Some(session) = self.sessions[index].as_mut().filter(|_| !is_awaited) else { return };
        if session.idle_at(now, idleness).is_some_and(|at| at <= now) {
            session.said_idle = Some(now);
            let session = session.id.clone();
            self.tell(Event::Idle { session });
        }
    }

    /// A session is to be evicted: its state is wanted for the store first.
    pub(crate) fn evict(&mut self, now: Instant, id: &SessionId) -> Result<(), NotEvicted> {
        let index = self.index_of(id).ok_or(NotEvicted::NotHere)?;
        self.may_evict(now, index)?;
        // With it a new epoch may begin.
        self.begin_lead(now, index);
        let Some(session) = self.sessions[index].as_mut() else { return Err(NotEvicted::NotHere) };
        session.checkpoint_for_log(now);
        self.go_on_with_checkpoint(index);
        let Some(session) = self.sessions[index].as_ref() else { return Err(NotEvicted::NotHere) };
        let (epoch, state) = (session.epoch, session.checkpoint.clone());
        let Some((state, lead)) = state.zip(session.lead.as_ref()) else { return Err(NotEvicted::Busy) };
        let head = CheckpointHead {
            session: id.clone(),
            position: state.position(),
            lineage: lead.core.record().lineage.clone(),
            branches: lead.branches.clone(),
        };
        self.replication.job(Job::rest(epoch, head, state));
        Ok(())
    }

    fn may_evict(&self, now: Instant, index: usize) -> Result<(), NotEvicted> {
        let margin = self.idleness.map_or(Duration::ZERO, |idleness| idleness.timer_margin);
        let Some(session) = self.sessions[index].as_ref() else { return Err(NotEvicted::NotHere) };
        match self.waiting.contains_key(&index) {
            true => Err(NotEvicted::Players),
            false => session.may_be_evicted(now, margin),
        }
    }

    /// The state of a session that is to be evicted is encoded.
    pub(crate) fn resting_encoded(&mut self, now: Instant, epoch: Epoch, head: CheckpointHead, state: Bytes) {
        let Some(index) = self.index_of(&head.session) else { return };
        let Some(session) = self.sessions[index].as_ref() else { return };
        let timer = session.timer_in(now);
        let beside = head.branches.encode();
        let CheckpointHead { session, position, lineage, .. } = head;
        let checkpoint = Checkpoint { session, epoch, position, lineage, beside, state };
        self.tell(Event::Resting(Box::new(Resting { checkpoint, timer })));
    }

    /// The store has the state of a session at a position: if nothing has happened since, it is evicted.
    pub(crate) fn rested(&mut self, now: Instant, id: &SessionId, epoch: Epoch, position: Position) {
        let Some(index) = self.index_of(id) else { return };
        if self.may_evict(now, index).is_err() {
            return;
        }
        self.begin_lead(now, index);
        let Some(session) = self.sessions[index].as_ref() else { return };
        if (session.epoch, session.end()) != (epoch, position) {
            return;
        }
        self.with_leader(now, index, |core, us| {
            // It is idle for longer then, and tried again.
            let _ = core.handle_evict(us);
        });
        self.flush_later(index);
    }

    /// A session is evicted: nothing of it stays here.
    pub(crate) fn evicted(&mut self, now: Instant, index: usize, record: Arc<Record>) {
        // An operator has it evicted where none is idle, too.
        let usual = || Duration::from_micros(timer_margin_us(IDLE_AFTER_US));
        let margin = self.idleness.map_or_else(usual, |idleness| idleness.timer_margin);
        let Some(mut session) = self.take(index) else { return };
        let due = session.timer_in(now).filter(|timer| *timer < margin);
        let id = session.id.clone();
        if let Some(lead) = session.lead.take() {
            self.replication.last.let_go(&lead.terms, &record);
            self.forget_lead(now, index, &id, *lead);
        }
        // Who came meanwhile asks for it, and has it activated.
        for link in self.waiting.remove(&index).unwrap_or_default() {
            self.refuse(now, link, Reason::NotHere, "the session is in the store");
        }
        self.finish_recording(now, &mut session, EndReason::GoesOn);
        tracing::debug!(session = %id, position = record.position, "the session is evicted");
        self.tell(Event::Evicted { session: id, record, due });
    }
}
