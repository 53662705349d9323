//! Idle sessions: which are evicted, what is looked for in the store before a session begins, and what came of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ringside_core::directory::{Charter, Open, Origin, Refusal};
use ringside_core::durable::object::Closed;
use ringside_core::idle::{due, timer_margin_us};
use ringside_core::ids::{Epoch, GameName, Position, SessionId, SessionKey, WorkerId};
use ringside_core::leadership::record::{ChainHome, Record, Terms};
use ringside_worker::command::{Idleness, NotEvicted, Resting};
use ringside_worker::{Command, Create};

use super::{Desk, Waiting};
use crate::control::{ControlError, Opened, Reply, SessionName};
use crate::idle::{Idle, Word};

/// Where a node is nearly full, sessions are idle after so long.
const PRESSED: Duration = Duration::from_secs(5);
/// It is with so many of ten sessions.
const NEARLY_FULL: usize = 9;

/// What the desk does about idle sessions.
pub(super) struct Idling {
    idle: Idle,
    after: Option<Duration>,
    /// Whether the store was named, and so may be that of the other nodes.
    is_named: bool,
    /// What workers were told last.
    told: Option<Idleness>,
    untold: BTreeSet<WorkerId>,
}

impl Desk {
    /// Has it evict sessions that nobody has had anything to do with for so long, and look for them in the store.
    pub fn keep_idle(&mut self, idle: Idle, after: Option<Duration>, is_named: bool) {
        let untold = self.workers.keys().copied().collect();
        self.idling = Some(Idling { idle, after, is_named, told: None, untold });
    }

    /// Whether whoever is asked for a session finds what this node puts into its store.
    fn is_found(&self) -> bool {
        let is_alone = self.view.as_ref().is_none_or(|view| view.nodes().count() < 2);
        is_alone || self.idling.as_ref().is_some_and(|idling| idling.is_named)
    }

    /// Tells workers when sessions are idle: sooner where the node is nearly full.
    pub(super) fn say_idleness(&mut self) {
        let (led, most) = (self.directory.sessions().count(), self.most_sessions);
        let is_found = self.is_found();
        let Some(idling) = &mut self.idling else { return };
        let is_pressed = led * 10 >= most.saturating_mul(NEARLY_FULL);
        let idleness = idling.after.filter(|_| is_found).map(|after| Idleness {
            after: if is_pressed { after.min(PRESSED) } else { after },
            timer_margin: Duration::from_micros(timer_margin_us(after.as_micros() as u64)),
        });
        if idling.told != idleness {
            idling.told = idleness;
            idling.untold = self.workers.keys().copied().collect();
        }
        for worker in std::mem::take(&mut idling.untold) {
            if self.send(worker, Command::Idleness(idleness)).is_err()
                && let Some(idling) = &mut self.idling
            {
                idling.untold.insert(worker);
            }
        }
    }

    /// Nobody has had anything to do with a session for long. One that waits for players whom find-or-create sends stays,
    /// and so does one that ends when it is empty.
    pub(super) fn idles(&mut self, worker: WorkerId, session: SessionId) {
        let Some(charter) = self.directory.charter(&session) else { return };
        if charter.ends_when_empty || charter.listed.is_some() {
            return;
        }
        let reply = Box::new(move |begun: Result<(), NotEvicted>| {
            if let Err(why) = begun {
                tracing::debug!(%why, "an idle session stays");
            }
        });
        let _ = self.send(worker, Command::Evict { session, reply });
    }

    /// An operator wants a session evicted; asked again until it is.
    pub(super) fn evict(&mut self, name: &SessionName, reply: Reply<Result<(), NotEvicted>>) {
        let Some((session, worker)) = self.find(name).map(|entry| (entry.id.clone(), entry.worker)) else {
            let _ = reply.send(Err(ControlError::NoSuchSession(name.to_string())));
            return;
        };
        if self.idling.is_none() || !self.is_found() {
            let _ = reply.send(Ok(Err(NotEvicted::NoSharedStore)));
            return;
        }
        let answer = Box::new(move |begun| {
            let _ = reply.send(Ok(begun));
        });
        let _ = self.send(worker, Command::Evict { session, reply: answer });
    }

    /// What the store is to have of a session before it is evicted.
    pub(super) fn rest(&mut self, worker: WorkerId, resting: Box<Resting>) {
        let Some(charter) = self.directory.charter(&resting.checkpoint.session) else { return };
        let charter = charter.encode();
        // One that finds no room is idle for longer.
        let _ = self.idling.as_ref().map(|idling| idling.idle.say(Word::Rest(worker, resting, charter)));
    }

    /// The store has it.
    pub(super) fn rested(&mut self, worker: WorkerId, session: SessionId, epoch: Epoch, position: Position) {
        let _ = self.send(worker, Command::Rested { session, epoch, position });
    }

    /// A session is evicted.
    pub(super) fn evicted(&mut self, now: u64, session: &SessionId, record: Arc<Record>, due: Option<Duration>) {
        if let Some(log) = &self.log {
            log.evicted(session.clone());
        }
        self.directory.handle_evicted(now, session);
        self.evictions += 1;
        let said = self.idling.as_ref().map(|idling| idling.idle.say(Word::Evicted(record, due)));
        if let (Some(Err(_)), Some(_)) = (said, due) {
            tracing::warn!(%session, "its timer may not be seen before somebody asks for it: too much is on its way to the store");
        }
    }

    /// A session is over that may have been in the store.
    pub(super) fn note_over(&mut self, session: &SessionId) {
        let idles = self.directory.may_sleep(&session.game);
        let home = self.directory.charter(session).map(|charter| charter.terms().home());
        let by = (home == Some(ChainHome::Store)).then(|| self.directory.me());
        if let Some(idling) = self.idling.as_ref().filter(|_| idles)
            && idling.idle.say(Word::Ended(session.clone(), by)).is_err()
        {
            tracing::warn!(%session, "what the store has of a session that is over is not looked for");
        }
    }

    /// A session is to be created: first it is looked for in the store, if one of its key may be there.
    pub(super) fn look_first(&mut self, now: u64, worker: WorkerId, create: Create, origin: Origin) {
        let idles = self.directory.may_sleep(&create.session.game) && origin != Origin::Drawn;
        let Some(idling) = self.idling.as_ref().filter(|_| idles) else {
            return match origin {
                Origin::Evicted => self.not_asleep(now, &create.session),
                _ => self.create(now, worker, create),
            };
        };
        if let Err(back) = idling.idle.say(Word::Look(worker, Box::new(create), origin))
            && let Word::Look(_, create, _) = *back
        {
            self.directory.handle_not_created(now, &create.session, &Refusal::Busy);
        }
    }

    /// Nothing of what was wanted is in the store.
    pub(super) fn not_asleep(&mut self, now: u64, birth: &SessionId) {
        let refusal = Refusal::NoSuchSession(birth.game.clone(), birth.key.clone());
        self.directory.handle_not_created(now, birth, &refusal);
    }

    /// What was to be created goes on as a session that was evicted.
    pub(super) fn activate(&mut self, now: u64, birth: &SessionId, charter: Charter, reply: Reply<(WorkerId, Terms)>) {
        let session = charter.session.clone();
        let chosen = self.directory.handle_activating(now, birth, charter);
        if chosen.is_ok() {
            // Before anything of it: who reads the log knows what it was begun with.
            self.note_opened(&session);
            self.activations += 1;
        }
        let _ = reply.send(chosen.map_err(ControlError::from));
    }

    /// It does not go on, not now.
    pub(super) fn not_activated(&mut self, now: u64, birth: &SessionId, session: &SessionId, why: String) {
        self.note_closed(session, Closed::LedElsewhere);
        self.directory.handle_not_created(now, birth, &Refusal::TimedOut);
        // Under the name that it had by then; the worker has it not.
        self.directory.handle_not_created(now, session, &Refusal::Failed(why));
    }

    /// It does not go on here: another node may read it.
    pub(super) fn not_readable(&mut self, now: u64, birth: &SessionId, why: String) {
        self.directory.handle_not_hosted(now, birth, Refusal::Failed(why));
    }

    /// Somebody wants the session with a key, wherever it is led or has to go on.
    pub(super) fn open(&mut self, now: u64, game: GameName, key: SessionKey, reply: Reply<Opened>) {
        if self.joining || self.recovering {
            let _ = reply.send(Err(ControlError::Joining));
            return;
        }
        let request = self.request(Waiting::Admin(reply));
        let draw = super::answering::no_draw();
        self.directory.handle_open(now, request, Open { game, key, record: false, may_create: false, draw });
    }

    /// The shards of the index of timers that are this node's to look after.
    pub(super) fn shards(&self) -> BTreeSet<u8> {
        if self.joining || self.recovering {
            return BTreeSet::new();
        }
        (0..due::SHARDS).filter(|shard| self.directory.owns(due::owner_of(*shard))).collect()
    }
}
