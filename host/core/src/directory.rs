//! The directory: which sessions this node has, where they run, who sits in them, and which of them a player who
//! asks for "any match" is sent to. It decides; it never talks to a worker, reads a clock or draws a number.
//!
//! Drive it so: call any `handle_*(now, ..)`, then [`Directory::poll_action`] until it is empty; call
//! [`Directory::handle_timeout`] when [`Directory::next_timeout`] has come. `now` is in microseconds, from any fixed
//! point, and must not decrease. Every request is answered exactly once.
//!
//! ```text
//!  create/find ──► Creating ──created──► Live ──ended──► (kept a while as Ended)
//!                     └── failed, or CREATION_DEADLINE_US over: every waiting request is refused
//! ```

mod matchmaking;
mod types;
mod workers;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use ringside_protocol::limits::CRITERIA_BYTES;

use crate::ids::{GameName, Incarnation, PlayerId, SessionId, SessionKey, WorkerId};
use crate::limits;
use matchmaking::{ListKey, OpenLists, Seats};

pub use types::{Action, Create, Draw, Ended, Find, GameFacts, Limits, Open, Placed, Refusal, RequestId, SessionEntry};
pub use workers::{Pace, WorkerLoad, Workers};

type Name = (GameName, SessionKey);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Creation(Name, Incarnation),
    Reservation(Name, Incarnation, PlayerId),
    Empty(Name, Incarnation),
    Ending(SessionId),
}

#[derive(Debug)]
enum Phase {
    Creating { waiting: Vec<(RequestId, bool)> },
    Live,
}

#[derive(Debug)]
struct Entry {
    id: SessionId,
    worker: WorkerId,
    pace: Pace,
    order: u64,
    created_us: u64,
    config: Bytes,
    record: bool,
    list: Option<ListKey>,
    /// Made for a player who came, not by somebody who will look after it: it ends when nobody is in it.
    ends_when_empty: bool,
    empty_due: Option<u64>,
    phase: Phase,
    seats: Seats,
}

/// The sessions of one node.
#[derive(Debug)]
pub struct Directory {
    limits: Limits,
    games: BTreeMap<GameName, GameFacts>,
    workers: Workers,
    sessions: BTreeMap<Name, Entry>,
    open: OpenLists,
    ended: VecDeque<Ended>,
    /// Sessions that were given up and are to be ended: where each was last, and when that worker is told again. They
    /// count as sessions.
    ending: BTreeMap<SessionId, (WorkerId, u64)>,
    waiting: usize,
    order: u64,
    timers: BTreeSet<(u64, Timer)>,
    actions: VecDeque<Action>,
}

impl Directory {
    /// An empty directory.
    pub fn new(limits: Limits) -> Self {
        Directory {
            limits,
            games: BTreeMap::new(),
            workers: Workers::default(),
            sessions: BTreeMap::new(),
            open: OpenLists::default(),
            ended: VecDeque::new(),
            ending: BTreeMap::new(),
            waiting: 0,
            order: 0,
            timers: BTreeSet::new(),
            actions: VecDeque::new(),
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Directory::handle_timeout`] wants to be called, µs.
    pub fn next_timeout(&self) -> Option<u64> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// A game is served, or served by another version from now on. Sessions that run keep what they began with.
    pub fn handle_game(&mut self, game: GameName, facts: GameFacts) {
        self.games.insert(game, facts);
    }

    /// A worker takes sessions from now on.
    pub fn handle_worker(&mut self, worker: WorkerId) {
        self.workers.add(worker);
    }

    /// A worker takes no new sessions from now on; those that it has stay.
    pub fn handle_worker_closed(&mut self, worker: WorkerId) {
        self.workers.close(worker);
    }

    /// A worker reported its load: CPU time per second of time, µs.
    pub fn handle_load(&mut self, worker: WorkerId, busy_us: u64) {
        self.workers.report(worker, busy_us);
    }

    /// Somebody wants a session, new or under a key that they chose.
    pub fn handle_create(&mut self, now: u64, request: RequestId, create: Create) {
        if let Err(refusal) = self.try_create(now, request, create) {
            self.answer(request, Err(refusal));
        }
    }

    /// A player wants the session with this key.
    pub fn handle_open(&mut self, now: u64, request: RequestId, open: Open) {
        if let Err(refusal) = self.try_open(now, request, open) {
            self.answer(request, Err(refusal));
        }
    }

    /// A player wants any session that fits.
    pub fn handle_find(&mut self, now: u64, request: RequestId, find: Find) {
        if let Err(refusal) = self.try_find(now, request, find) {
            self.answer(request, Err(refusal));
        }
    }

    /// The worker answered [`Action::Create`]. A session that was confirmed after it had been given up is ended.
    pub fn handle_created(&mut self, now: u64, session: &SessionId, worker: WorkerId, result: Result<(), String>) {
        let name = name_of(session);
        let creating = self.current(session).map(|entry| matches!(entry.phase, Phase::Creating { .. }));
        match (creating, result) {
            (Some(true), Ok(())) => self.confirm(&name),
            (Some(true), Err(reason)) => self.remove(now, &name, &Refusal::Failed(reason)),
            (None, Ok(())) => self.give_up(now, session.clone(), worker),
            (Some(false), _) | (None, Err(_)) => {}
        }
    }

    /// A player has a seat in a session.
    pub fn handle_joined(&mut self, session: &SessionId, player: &PlayerId) {
        let name = name_of(session);
        let Some(entry) = self.current_mut(session) else { return };
        let kept = entry.seats.reserved_until(player);
        entry.seats.join(player);
        self.forget_reservation(kept, session, player);
        self.unwatch_empty(&name);
        self.relist(&name);
        self.remember_seat(&name, player);
    }

    /// A player's stay is over.
    pub fn handle_left(&mut self, now: u64, session: &SessionId, player: &PlayerId) {
        let name = name_of(session);
        let Some(entry) = self.current_mut(session) else { return };
        let kept = entry.seats.reserved_until(player);
        entry.seats.leave(player);
        self.forget_reservation(kept, session, player);
        self.relist(&name);
        self.forget_seat(&name, player);
        self.watch_empty(now, &name);
    }

    /// The game refused a player: their seat is free, and no other is sent there before somebody leaves or joins.
    pub fn handle_refused(&mut self, now: u64, session: &SessionId, player: &PlayerId) {
        let name = name_of(session);
        let Some(entry) = self.current_mut(session) else { return };
        let kept = entry.seats.reserved_until(player);
        entry.seats.refuse(player);
        self.forget_reservation(kept, session, player);
        self.relist(&name);
        self.forget_seat(&name, player);
        self.watch_empty(now, &name);
    }

    /// A session runs on another worker now. One that nobody knows of was given up while it moved, and is ended.
    pub fn handle_moved(&mut self, now: u64, session: &SessionId, worker: WorkerId) {
        let Some(entry) = self.current_mut(session) else { return self.give_up(now, session.clone(), worker) };
        let (from, pace) = (std::mem::replace(&mut entry.worker, worker), entry.pace);
        self.workers.left(from, pace);
        self.workers.placed(worker, pace);
    }

    /// A worker that was told to end a session does not have it: it ended before, failed to start, or is on its way to
    /// another worker, of which [`Directory::handle_moved`] will tell.
    pub fn handle_absent(&mut self, session: &SessionId, worker: WorkerId) {
        if self.ending.get(session).is_some_and(|(last, _)| *last == worker) {
            self.forget_ending(session);
        }
    }

    /// A session is over.
    pub fn handle_ended(&mut self, now: u64, session: &SessionId, reason: String) {
        self.forget_ending(session);
        if self.current(session).is_some() {
            self.remove(now, &name_of(session), &Refusal::Failed(reason));
        }
    }

    /// Time has passed: reservations and creations that are over are given up.
    pub fn handle_timeout(&mut self, now: u64) {
        while let Some((due, _)) = self.timers.first()
            && *due <= now
            && let Some((_, timer)) = self.timers.pop_first()
        {
            match timer {
                Timer::Creation(name, incarnation) => self.creation_due(now, &name, incarnation),
                Timer::Reservation(name, incarnation, player) => {
                    self.reservation_due(now, &name, incarnation, &player);
                }
                Timer::Empty(name, incarnation) => self.empty_due(now, &name, incarnation),
                Timer::Ending(session) => self.ending_due(now, session),
            }
        }
    }

    /// The live session with this key.
    pub fn get(&self, game: &GameName, key: &SessionKey) -> Option<SessionEntry<'_>> {
        self.sessions.get(&(game.clone(), key.clone())).map(Entry::public)
    }

    /// All sessions, in order of game and key.
    pub fn sessions(&self) -> impl Iterator<Item = SessionEntry<'_>> {
        self.sessions.values().map(Entry::public)
    }

    /// Sessions that ended last, newest first; at most [`limits::ENDED_SESSIONS`].
    pub fn ended(&self) -> impl Iterator<Item = &Ended> {
        self.ended.iter().rev()
    }

    /// The workers and what is on them.
    pub fn workers(&self) -> &Workers {
        &self.workers
    }

    fn try_create(&mut self, now: u64, request: RequestId, create: Create) -> Result<(), Refusal> {
        if !self.games.contains_key(&create.game) {
            return Err(Refusal::UnknownGame(create.game));
        }
        if create.listed.as_ref().is_some_and(|criteria| criteria.len() > CRITERIA_BYTES) {
            return Err(Refusal::CriteriaTooLong);
        }
        if let Some(key) = &create.key
            && let Some(entry) = self.sessions.get(&(create.game.clone(), key.clone()))
        {
            if entry.config != create.config {
                return Err(Refusal::KeyTaken(entry.id.clone()));
            }
            return self.attach_request(&(create.game, key.clone()), request, false);
        }
        let name = self.begin(now, create)?;
        self.attach_request(&name, request, true)
    }

    fn try_open(&mut self, now: u64, request: RequestId, open: Open) -> Result<(), Refusal> {
        if !self.games.contains_key(&open.game) {
            return Err(Refusal::UnknownGame(open.game));
        }
        let name = (open.game, open.key);
        if self.sessions.contains_key(&name) {
            // Somebody is on the way: the time that it may be empty begins again.
            self.unwatch_empty(&name);
            self.watch_empty(now, &name);
            return self.attach_request(&name, request, false);
        }
        if !open.may_create {
            return Err(Refusal::NoSuchSession(name.0, name.1));
        }
        let create = Create {
            game: name.0,
            key: Some(name.1),
            config: Bytes::new(),
            record: open.record,
            listed: None,
            draw: open.draw,
        };
        let name = self.begin(now, create)?;
        if let Some(entry) = self.sessions.get_mut(&name) {
            entry.ends_when_empty = true;
        }
        self.watch_empty(now, &name);
        self.attach_request(&name, request, true)
    }

    fn try_find(&mut self, now: u64, request: RequestId, find: Find) -> Result<(), Refusal> {
        if !self.games.contains_key(&find.game) {
            return Err(Refusal::UnknownGame(find.game));
        }
        if find.criteria.len() > CRITERIA_BYTES {
            return Err(Refusal::CriteriaTooLong);
        }
        if self.waiting >= limits::WAITING_REQUESTS {
            return Err(Refusal::Busy);
        }
        let list = ListKey { game: find.game.clone(), criteria: find.criteria.clone() };
        if !self.open.has_room_for(&list) {
            return Err(Refusal::Busy);
        }
        if let Some(name) = self.open.seat_of(&list, &find.player).cloned() {
            self.reserve(now, &name, &find.player);
            return self.attach_request(&name, request, false);
        }
        let (name, created) = match self.open.fullest(&list) {
            Some(name) => (name.clone(), false),
            None if !find.may_create => return Err(Refusal::MayNotCreate),
            None => {
                let create = Create {
                    game: find.game,
                    key: None,
                    config: Bytes::new(),
                    record: find.record,
                    listed: Some(find.criteria),
                    draw: find.draw,
                };
                let name = self.begin(now, create)?;
                if let Some(entry) = self.sessions.get_mut(&name) {
                    entry.ends_when_empty = true;
                }
                (name, true)
            }
        };
        self.reserve(now, &name, &find.player);
        self.attach_request(&name, request, created)
    }

    /// Begins a session's creation on a worker of the directory's choice.
    fn begin(&mut self, now: u64, create: Create) -> Result<Name, Refusal> {
        let facts = *self.games.get(&create.game).ok_or_else(|| Refusal::UnknownGame(create.game.clone()))?;
        if self.sessions.len() + self.ending.len() >= self.limits.sessions {
            return Err(Refusal::Full(self.limits.sessions));
        }
        if self.waiting >= limits::WAITING_REQUESTS {
            return Err(Refusal::Busy);
        }
        let key = match create.key {
            Some(key) => key,
            None => self.draw_key(&create.game, create.draw.key)?,
        };
        let worker = self.workers.choose(facts.pace).ok_or(Refusal::NoWorker)?;
        let id = SessionId { game: create.game, key, incarnation: Incarnation(create.draw.incarnation) };
        let name = name_of(&id);
        self.workers.placed(worker, facts.pace);
        self.order += 1;
        let list = create.listed.map(|criteria| ListKey { game: id.game.clone(), criteria });
        self.timers
            .insert((now.saturating_add(limits::CREATION_DEADLINE_US), Timer::Creation(name.clone(), id.incarnation)));
        self.actions.push_back(Action::Create {
            session: id.clone(),
            worker,
            config: create.config.clone(),
            record: create.record,
        });
        let entry = Entry {
            id,
            worker,
            pace: facts.pace,
            order: self.order,
            created_us: now,
            config: create.config,
            record: create.record,
            list,
            ends_when_empty: false,
            empty_due: None,
            phase: Phase::Creating { waiting: Vec::new() },
            seats: Seats::new(facts.min_players, facts.max_players, facts.late_join),
        };
        self.sessions.insert(name.clone(), entry);
        self.relist(&name);
        Ok(name)
    }

    /// A key of ten characters from the caller's 64 random bits; the next free one if it is taken.
    fn draw_key(&self, game: &GameName, random: u64) -> Result<SessionKey, Refusal> {
        (0..8)
            .filter_map(|attempt| key_text(random.wrapping_add(attempt)).parse().ok())
            .find(|key: &SessionKey| !self.sessions.contains_key(&(game.clone(), key.clone())))
            .ok_or(Refusal::Busy)
    }

    /// Answers a request with a live session, or lets it wait for one that is being created.
    fn attach_request(&mut self, name: &Name, request: RequestId, created: bool) -> Result<(), Refusal> {
        let Some(entry) = self.sessions.get_mut(name) else {
            return Err(Refusal::NoSuchSession(name.0.clone(), name.1.clone()));
        };
        match &mut entry.phase {
            Phase::Live => {
                let placed = Placed { session: entry.id.clone(), worker: entry.worker, created };
                self.answer(request, Ok(placed));
                Ok(())
            }
            Phase::Creating { .. } if self.waiting >= limits::WAITING_REQUESTS => Err(Refusal::Busy),
            Phase::Creating { waiting } => {
                waiting.push((request, created));
                self.waiting += 1;
                Ok(())
            }
        }
    }

    fn confirm(&mut self, name: &Name) {
        let Some(entry) = self.sessions.get_mut(name) else { return };
        let (session, worker) = (entry.id.clone(), entry.worker);
        if let Phase::Creating { waiting } = std::mem::replace(&mut entry.phase, Phase::Live) {
            self.waiting -= waiting.len();
            for (request, created) in waiting {
                self.answer(request, Ok(Placed { session: session.clone(), worker, created }));
            }
        }
    }

    /// Forgets a session; whoever still waits for it is refused.
    fn remove(&mut self, now: u64, name: &Name, refusal: &Refusal) {
        let Some(entry) = self.sessions.remove(name) else { return };
        self.workers.left(entry.worker, entry.pace);
        if let Some(list) = &entry.list {
            self.open.remove(list, name, entry.seats.players());
        }
        for (player, due) in entry.seats.reservations() {
            self.timers.remove(&(due, Timer::Reservation(name.clone(), entry.id.incarnation, player.clone())));
        }
        let creation_due = entry.created_us.saturating_add(limits::CREATION_DEADLINE_US);
        self.timers.remove(&(creation_due, Timer::Creation(name.clone(), entry.id.incarnation)));
        if let Some(due) = entry.empty_due {
            self.timers.remove(&(due, Timer::Empty(name.clone(), entry.id.incarnation)));
        }
        match entry.phase {
            Phase::Creating { waiting } => {
                self.waiting -= waiting.len();
                for (request, _) in waiting {
                    self.answer(request, Err(refusal.clone()));
                }
            }
            Phase::Live => self.remember_end(Ended { id: entry.id, ended_us: now, reason: refusal.to_string() }),
        }
    }

    fn remember_end(&mut self, ended: Ended) {
        if self.ended.len() >= limits::ENDED_SESSIONS {
            self.ended.pop_front();
        }
        self.ended.push_back(ended);
    }

    fn creation_due(&mut self, now: u64, name: &Name, incarnation: Incarnation) {
        let Some(entry) = self.sessions.get(name) else { return };
        if entry.id.incarnation == incarnation && matches!(entry.phase, Phase::Creating { .. }) {
            self.give_up(now, entry.id.clone(), entry.worker);
            self.remove(now, name, &Refusal::TimedOut);
        }
    }

    fn reservation_due(&mut self, now: u64, name: &Name, incarnation: Incarnation, player: &PlayerId) {
        let Some(entry) = self.sessions.get_mut(name) else { return };
        if entry.id.incarnation == incarnation && entry.seats.expire(now, player) {
            self.relist(name);
            self.forget_seat(name, player);
            self.watch_empty(now, name);
        }
    }

    /// Notes when a session that nobody may come back to has become empty.
    fn watch_empty(&mut self, now: u64, name: &Name) {
        let Some(entry) = self.sessions.get_mut(name) else { return };
        if entry.ends_when_empty && entry.seats.taken() == 0 && entry.empty_due.is_none() {
            let due = now.saturating_add(limits::EMPTY_SESSION_US);
            entry.empty_due = Some(due);
            self.timers.insert((due, Timer::Empty(name.clone(), entry.id.incarnation)));
        }
    }

    /// Has a session ended that is not in the directory (any more).
    fn give_up(&mut self, now: u64, session: SessionId, worker: WorkerId) {
        self.forget_ending(&session);
        let due = now.saturating_add(limits::END_REPEAT_US);
        self.ending.insert(session.clone(), (worker, due));
        self.timers.insert((due, Timer::Ending(session.clone())));
        self.actions.push_back(Action::End { session, worker });
    }

    fn ending_due(&mut self, now: u64, session: SessionId) {
        if let Some((worker, _)) = self.ending.get(&session).copied() {
            self.give_up(now, session, worker);
        }
    }

    fn forget_ending(&mut self, session: &SessionId) {
        if let Some((_, due)) = self.ending.remove(session) {
            self.timers.remove(&(due, Timer::Ending(session.clone())));
        }
    }

    /// Nobody came back. Its worker may be too busy to be told, or may just have given it away: so it is told again until
    /// the end is heard of, or somebody is expected.
    fn empty_due(&mut self, now: u64, name: &Name, incarnation: Incarnation) {
        let Some(entry) = self.sessions.get_mut(name).filter(|entry| entry.id.incarnation == incarnation) else {
            return;
        };
        entry.empty_due = None;
        if entry.seats.taken() == 0 {
            let due = now.saturating_add(limits::END_REPEAT_US);
            entry.empty_due = Some(due);
            self.actions.push_back(Action::End { session: entry.id.clone(), worker: entry.worker });
            self.timers.insert((due, Timer::Empty(name.clone(), incarnation)));
        }
    }

    /// Somebody sits or is expected again.
    fn unwatch_empty(&mut self, name: &Name) {
        let Some(entry) = self.sessions.get_mut(name) else { return };
        if let Some(due) = entry.empty_due.take() {
            self.timers.remove(&(due, Timer::Empty(name.clone(), entry.id.incarnation)));
        }
    }

    fn reserve(&mut self, now: u64, name: &Name, player: &PlayerId) {
        let Some(entry) = self.sessions.get_mut(name) else { return };
        let until = now.saturating_add(limits::RESERVATION_US);
        let before = entry.seats.reserved_until(player);
        if entry.seats.reserve(player, until) {
            let timer = Timer::Reservation(name.clone(), entry.id.incarnation, player.clone());
            if let Some(before) = before {
                self.timers.remove(&(before, timer.clone()));
            }
            self.timers.insert((until, timer));
        }
        self.unwatch_empty(name);
        self.relist(name);
        self.remember_seat(name, player);
    }

    fn forget_reservation(&mut self, until: Option<u64>, session: &SessionId, player: &PlayerId) {
        if let Some(until) = until {
            let timer = Timer::Reservation(name_of(session), session.incarnation, player.clone());
            self.timers.remove(&(until, timer));
        }
    }

    fn relist(&mut self, name: &Name) {
        let Some(entry) = self.sessions.get(name) else { return };
        if let Some(list) = &entry.list {
            self.open.update(list, name, entry.order, &entry.seats);
        }
    }

    fn remember_seat(&mut self, name: &Name, player: &PlayerId) {
        if let Some(list) = self.sessions.get(name).and_then(|entry| entry.list.clone()) {
            self.open.remember_seat(&list, player, name);
        }
    }

    fn forget_seat(&mut self, name: &Name, player: &PlayerId) {
        if let Some(list) = self.sessions.get(name).and_then(|entry| entry.list.clone()) {
            self.open.forget_seat(&list, player, name);
        }
    }

    fn answer(&mut self, request: RequestId, answer: Result<Placed, Refusal>) {
        self.actions.push_back(Action::Answer { request, answer });
    }

    fn current(&self, session: &SessionId) -> Option<&Entry> {
        self.sessions.get(&name_of(session)).filter(|entry| entry.id.incarnation == session.incarnation)
    }

    fn current_mut(&mut self, session: &SessionId) -> Option<&mut Entry> {
        self.sessions.get_mut(&name_of(session)).filter(|entry| entry.id.incarnation == session.incarnation)
    }
}

impl Entry {
    fn public(&self) -> SessionEntry<'_> {
        SessionEntry {
            id: &self.id,
            worker: self.worker,
            created_us: self.created_us,
            live: matches!(self.phase, Phase::Live),
            players: self.seats.joined(),
            reserved: self.seats.reserved(),
            seats: self.seats.seats(),
            record: self.record,
        }
    }
}

fn name_of(session: &SessionId) -> Name {
    (session.game.clone(), session.key.clone())
}

/// Ten characters, five bits each, of an alphabet without look-alikes.
fn key_text(random: u64) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    (0..10).map(|place| char::from(ALPHABET[(random >> (place * 5)) as usize & 31])).collect()
}
