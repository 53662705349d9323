//! The directory: which sessions there are, who leads them, who sits in them, and which of them a player who asks for
//! "any match" is sent to. It decides; it never talks to a worker, opens a link, reads a clock or draws a number.
//!
//! Each node has one, and it has four parts to play, each its own module; a node alone plays them all with itself:
//!
//! ```text
//!   caller ──► doors ──Ask──► home of the key ────────Host──────► led (by the node that was chosen) ──► worker
//!                │              ▲    ▲   ▲                          │
//!                └───Ask──► home of  │   └──Question/Told──► all    │
//!                        the list ───┘   ◄──────Announce────────────┘
//! ```
//!
//! - [`doors`](self): requests of this node's own callers, each repeated until its home has answered.
//! - `home`: entries of the keys that are this node's by the ring. **Only the home decides where a session goes.**
//! - `lists`: open sessions of the (game, criteria) that are this node's by the ring; the fill rule.
//! - `led`: the sessions that this node leads, and `announce`: how their homes hear of them.
//!
//! - `recruits`: who follows the sessions that this node leads; `followed`: what this node follows of others' sessions, and
//!   comes to lead when their leaders are gone; `copies`: the leadership records that a home keeps beside its entries.
//!
//! Entries and lists are soft: after any change of the ring each home hears everything anew from the leaders
//! ([`Message::Sync`], [`Message::Announce`]), and until it has, it asks before it creates ([`Message::Question`]). Two
//! sessions of one key can come to be when the cluster is cut in two; [`crate::leadership::wins`] settles which goes on.
//!
//! Drive it so: call any `handle_*(now, ..)`, then [`Directory::poll_action`] until it is empty; call
//! [`Directory::handle_timeout`] when [`Directory::next_timeout`] has come. `now` is in microseconds, from any fixed
//! point, and must not decrease. Every request is answered exactly once, within [`REQUEST_US`].

mod announce;
mod context;
mod copies;
mod doors;
mod followed;
mod home;
mod inquiry;
mod led;
mod lists;
mod message;
mod over;
mod rebalancing;
mod recruits;
mod replicas;
mod term;
mod types;
mod workers;

#[cfg(test)]
mod bounds;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod replicated;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use ringside_protocol::limits::CRITERIA_BYTES;

use crate::ids::{GameName, Incarnation, Node, PlayerId, SessionId, SessionKey, WorkerId};
use crate::leadership::Claim;
use crate::membership::View;
use crate::placement::Loads;
use crate::rebalance::Rebalance;
use crate::ring::RingDigest;
use crate::timers::Timers;
use announce::Announcements;
use context::{Asker, Cluster, Context, Outbox, Timer};
use doors::Doors;
use home::{Announced, Home};
use led::Led;
use lists::Lists;
use recruits::Recruits;

pub use context::RESEND_US;
pub use doors::REQUEST_US;
pub use home::SUCCESSION_US;
pub use message::{
    Birth, Charter, ConfigHash, Denial, Entry, Item, Lead, Message, Name, NotFollowed, NotHosted, Origin, Seating, Want,
};
pub use term::SETTLE_US;
pub use types::{
    Action, Create, Draw, Ended, Ending, Find, GameFacts, Limits, ListKey, Open, Placed, Refusal, Replicas, RequestId,
    SessionEntry,
};
pub use workers::{Pace, WorkerLoad, Workers};

/// The directory of one node.
#[derive(Debug)]
pub struct Directory {
    me: Node,
    cluster: Cluster,
    /// Another run of this node, which is on no ring.
    companion: Option<Node>,
    games: BTreeMap<GameName, GameFacts>,
    /// Games of which sessions may be in the store: a version that was served answers at once, or the store has some.
    sleepers: BTreeSet<GameName>,
    /// Whether others may serve games that it has not heard of yet.
    lacks_games: bool,
    timers: Timers<Timer>,
    out: Outbox,
    parts: Parts,
    rebalance: Rebalance,
}

/// Its parts: what each needs besides comes with [`Context`].
#[derive(Debug)]
struct Parts {
    doors: Doors,
    home: Home,
    lists: Lists,
    led: Led,
    recruits: Recruits,
    announcements: Announcements,
}

impl Directory {
    /// The directory of a node that is alone, until [`Directory::handle_view`] says otherwise.
    pub fn new(me: Node, limits: Limits) -> Self {
        let parts = Parts {
            doors: Doors::default(),
            home: Home::new(0),
            lists: Lists::default(),
            led: Led::new(limits),
            recruits: Recruits::default(),
            announcements: Announcements::default(),
        };
        let cluster = Cluster::alone(me);
        let (timers, out) = (Timers::default(), Outbox::default());
        let (games, sleepers, companion) = (BTreeMap::new(), BTreeSet::new(), None);
        let rebalance = Rebalance::new(me.id);
        let mut directory =
            Directory { me, cluster, companion, games, sleepers, lacks_games: false, timers, out, parts, rebalance };
        let before = directory.cluster.clone();
        directory.enter(0, &before, true);
        directory
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        let mut action = self.out.actions.pop_front()?;
        // Nobody else sees the process beside this one: who is sent to this node is sent on.
        if let (Action::Send { to, message }, Some(companion)) = (&mut action, self.companion)
            && *to != companion
        {
            message.name_instead(companion, self.me);
        }
        Some(action)
    }

    /// When [`Directory::handle_timeout`] wants to be called, µs.
    pub fn next_timeout(&self) -> Option<u64> {
        self.timers.next()
    }

    /// A game is served, or served by another version from now on. Sessions that run keep what they began with.
    pub fn handle_game(&mut self, game: GameName, facts: GameFacts) {
        if facts.pace == Pace::Prompt {
            self.sleepers.insert(game.clone());
        }
        self.games.insert(game, facts);
    }

    /// Sessions of a game may be in the store, be it that its newest version ticks.
    pub fn handle_sleepers(&mut self, game: GameName) {
        self.sleepers.insert(game);
    }

    /// Whether sessions of a game may be in the store.
    pub fn may_sleep(&self, game: &GameName) -> bool {
        self.sleepers.contains(game)
    }

    /// Whether others may serve games that this node was not told of yet, because it has just come to them. While it may
    /// be so, a request for an unknown game is not refused but asked again until its time is over.
    pub fn handle_lacks_games(&mut self, lacks_games: bool) {
        self.lacks_games = lacks_games;
    }

    /// A worker takes sessions from now on.
    pub fn handle_worker(&mut self, worker: WorkerId) {
        self.parts.led.workers_mut().add(worker);
    }

    /// A worker takes no new sessions from now on; those that it has stay.
    pub fn handle_worker_closed(&mut self, worker: WorkerId) {
        self.parts.led.workers_mut().close(worker);
    }

    /// A worker reported its load: CPU time per second of time, µs.
    pub fn handle_load(&mut self, worker: WorkerId, busy_us: u64) {
        self.parts.led.workers_mut().report(worker, busy_us);
    }

    /// The nodes' loads as membership knows them, once a second. What was placed since counts until the next call.
    pub fn handle_loads(&mut self, now: u64, loads: Loads) {
        self.rebalance.handle_loads(now, &loads);
        self.parts.home.handle_loads(loads);
    }

    /// The cluster changed.
    pub fn handle_view(&mut self, now: u64, view: &View) {
        let mut cluster = Cluster::of(view);
        cluster.present.extend(self.companion);
        self.enter_cluster(now, cluster);
    }

    /// Another run of this node is beside this one and may lead sessions, though it is on no ring; or is not any more. It
    /// is for a handover: one of the two ends soon.
    pub fn handle_companion(&mut self, now: u64, companion: Option<Node>) {
        let mut cluster = self.cluster.clone();
        if let Some(former) = std::mem::replace(&mut self.companion, companion) {
            cluster.present.remove(&former);
        }
        cluster.present.extend(companion);
        self.enter_cluster(now, cluster);
    }

    fn enter_cluster(&mut self, now: u64, cluster: Cluster) {
        let before = std::mem::replace(&mut self.cluster, cluster);
        if before.digest() != self.cluster.digest() || before.present != self.cluster.present {
            self.enter(now, &before, false);
        }
    }

    /// In how many sessions that are led here somebody of another run of this node counts who need not: the store has all of
    /// them, or somebody else who counts.
    pub fn spare(&self) -> usize {
        self.companion.map_or(0, |companion| self.parts.recruits.spare(&self.parts.led, companion))
    }

    /// A message of another node's directory, over a link that knows which run of which node it is from. One of a run
    /// that is not present is dropped: if it is there after all, it repeats it.
    pub fn handle_message(&mut self, now: u64, from: Node, message: Message) {
        if self.cluster.present.contains(&from) {
            self.dispatch(now, from, message);
            self.settle(now);
        }
    }

    /// Somebody wants a session, new or under a key that they chose.
    pub fn handle_create(&mut self, now: u64, request: RequestId, create: Create) {
        match self.birth(&create) {
            Err(refusal) => self.answer(request, Err(refusal)),
            Ok(birth) => {
                let drawn = create.key.is_none().then_some(create.draw.key);
                self.ask_for(now, request, Want::Create { birth, is_drawn: drawn.is_some() }, drawn);
            }
        }
    }

    /// A player wants the session with this key.
    pub fn handle_open(&mut self, now: u64, request: RequestId, open: Open) {
        match self.may_know(&open.game) {
            true => self.ask(now, request, Want::Open(open)),
            false => self.answer(request, Err(Refusal::UnknownGame(open.game))),
        }
    }

    /// A player wants any session that fits.
    pub fn handle_find(&mut self, now: u64, request: RequestId, find: Find) {
        if !self.may_know(&find.game) {
            self.answer(request, Err(Refusal::UnknownGame(find.game)));
        } else if find.criteria.len() > CRITERIA_BYTES {
            self.answer(request, Err(Refusal::CriteriaTooLong));
        } else {
            self.ask(now, request, Want::Find(find));
        }
    }

    /// The worker answered [`Action::Create`]. A session that was confirmed after it had been given up is ended.
    pub fn handle_created(&mut self, now: u64, session: &SessionId, worker: WorkerId, result: Result<(), String>) {
        let (mut cx, parts) = self.split(now);
        parts.led.handle_created(&mut cx, session, worker, result);
        self.settle(now);
    }

    /// A player has a seat in a session.
    pub fn handle_joined(&mut self, now: u64, session: &SessionId, player: &PlayerId) {
        let (mut cx, parts) = self.split(now);
        parts.led.handle_joined(&mut cx, session, player);
        self.settle(now);
    }

    /// A player's stay is over.
    pub fn handle_left(&mut self, now: u64, session: &SessionId, player: &PlayerId) {
        let (mut cx, parts) = self.split(now);
        parts.led.handle_left(&mut cx, session, player);
        self.settle(now);
    }

    /// The game refused a player: their seat is free, and no other is sent there before somebody leaves.
    pub fn handle_refused(&mut self, now: u64, session: &SessionId, _player: &PlayerId) {
        let (mut cx, parts) = self.split(now);
        parts.led.handle_refused(&mut cx, session);
        self.settle(now);
    }

    /// A session runs on another worker of this node now. One that nobody knows of was given up while it moved, and is
    /// ended.
    pub fn handle_moved(&mut self, now: u64, session: &SessionId, worker: WorkerId) {
        let (mut cx, parts) = self.split(now);
        parts.led.handle_moved(&mut cx, session, worker);
        self.settle(now);
    }

    /// How many player inputs a session has accepted so far. Counts where two sessions of a key are settled; once a
    /// second is enough.
    pub fn handle_inputs(&mut self, session: &SessionId, inputs: u64) {
        self.parts.led.handle_inputs(session, inputs);
    }

    /// A worker that was told to end a session does not have it: it ended before, failed to start, or is on its way to
    /// another worker, of which [`Directory::handle_moved`] will tell.
    pub fn handle_absent(&mut self, session: &SessionId, worker: WorkerId) {
        if self.parts.led.handle_absent(session, worker) {
            self.timers.cancel(&Timer::Ending(session.clone()));
        }
    }

    /// A session is over.
    pub fn handle_ended(&mut self, now: u64, session: &SessionId, reason: String) {
        let (mut cx, parts) = self.split(now);
        parts.led.handle_ended(&mut cx, session, reason);
        self.settle(now);
    }

    /// Time has passed: what was not answered is repeated, what took too long is given up.
    pub fn handle_timeout(&mut self, now: u64) {
        while let Some(timer) = self.timers.pop(now) {
            let (mut cx, parts) = self.split(now);
            let cx = &mut cx;
            match timer {
                Timer::Creation((game, key), incarnation) => {
                    parts.led.creation_due(cx, &SessionId { game, key, incarnation });
                }
                Timer::Reservation(list, name, player) => parts.lists.reservation_due(cx, &list, &name, &player),
                Timer::Empty(name) => parts.led.empty_due(cx, &name),
                Timer::Ending(session) => parts.led.ending_due(cx, &session),
                Timer::Door(number) => parts.doors.handle_timeout(cx, number),
                Timer::Placing(name) => parts.home.placing_due(cx, &name),
                Timer::Inquiry(node) => parts.home.inquiry_due(cx, node),
                Timer::Sync(node) => parts.home.remind(cx, node),
                Timer::Announce(node) => parts.announcements.handle_timeout(cx, node),
                Timer::Superseded(name, leader) => parts.home.supersede(cx, &name, leader),
                Timer::Recruits(session) => parts.recruits.due(cx, &parts.led, &session),
                Timer::Followed(session) => parts.led.following_mut().due(cx, &session),
                Timer::TakenOver(session) => cx.out.changed.push_back(session),
                Timer::Held => parts.lists.release(cx, parts.home.term().is_complete()),
            }
            self.settle(now);
        }
    }

    /// This node.
    pub fn me(&self) -> Node {
        self.me
    }

    /// The ring that it goes by.
    pub fn ring(&self) -> RingDigest {
        self.cluster.digest()
    }

    /// Whether this node is the home of a position of the ring.
    pub fn owns(&self, position: crate::ring::Position) -> bool {
        self.cluster.home(position) == Some(self.me)
    }

    /// The session with this key that this node leads, or is about to.
    pub fn get(&self, game: &GameName, key: &SessionKey) -> Option<SessionEntry<'_>> {
        let name = (game.clone(), key.clone());
        let reserved = self.parts.lists.reserved(&name);
        self.parts.led.get(&name).map(|led| led.public(reserved))
    }

    /// All sessions that this node leads, in order of game and key.
    pub fn sessions(&self) -> impl Iterator<Item = SessionEntry<'_>> {
        self.parts.led.sessions().map(|led| led.public(self.parts.lists.reserved(&led.name())))
    }

    /// Sessions of this node that ended last, newest first; at most [`crate::limits::ENDED_SESSIONS`].
    pub fn ended(&self) -> impl Iterator<Item = &Ended> {
        self.parts.led.ended()
    }

    /// The workers and what is on them.
    pub fn workers(&self) -> &Workers {
        self.parts.led.workers()
    }

    /// What this node knows, as its home, of the session with a key.
    pub fn entry(&self, game: &GameName, key: &SessionKey) -> Option<&Lead> {
        self.parts.home.known(&(game.clone(), key.clone()))
    }

    /// What this node knows as a home.
    pub fn entries(&self) -> impl Iterator<Item = &Lead> {
        self.parts.home.all_known()
    }

    /// The sessions on this node's lists.
    pub fn listed(&self) -> impl Iterator<Item = (&ListKey, &Lead)> {
        self.parts.lists.all_known()
    }

    /// Whether this node has been told everything since the ring changed last, long enough ago.
    pub fn is_settled(&self, now: u64) -> bool {
        self.parts.home.term().is_settled(now)
    }

    /// Sizes of what is bounded.
    pub fn sizes(&self) -> Sizes {
        let Parts { doors, home, lists, led, .. } = &self.parts;
        let (entries, duplicates) = (home.len(), home.unsettled());
        let (waiting, copies) = (home.waiting() + lists.waiting(), home.copies().len());
        Sizes { requests: doors.waiting(), entries, waiting, duplicates, copies, followed: led.following().len() }
    }

    /// What a caller wants to be created.
    fn birth(&self, create: &Create) -> Result<Birth, Refusal> {
        if !self.may_know(&create.game) {
            return Err(Refusal::UnknownGame(create.game.clone()));
        }
        if create.listed.as_ref().is_some_and(|criteria| criteria.len() > CRITERIA_BYTES) {
            return Err(Refusal::CriteriaTooLong);
        }
        let key = create.key.clone().or_else(|| lists::drawn_key(create.draw.key)).ok_or(Refusal::Busy)?;
        let incarnation = Incarnation(create.draw.incarnation);
        Ok(Birth {
            session: SessionId { game: create.game.clone(), key, incarnation },
            config: create.config.clone(),
            record: create.record,
            listed: create.listed.clone(),
            ends_when_empty: false,
            policy: create.policy,
            origin: if create.key.is_some() { Origin::Named } else { Origin::Drawn },
        })
    }

    /// Whether a game is served, as far as this node can tell.
    fn may_know(&self, game: &GameName) -> bool {
        self.lacks_games || self.games.contains_key(game)
    }

    fn ask(&mut self, now: u64, request: RequestId, want: Want) {
        self.ask_for(now, request, want, None);
    }

    fn ask_for(&mut self, now: u64, request: RequestId, want: Want, drawn: Option<u64>) {
        let (mut cx, parts) = self.split(now);
        parts.doors.ask(&mut cx, Asker::Caller(request), want, drawn);
        self.settle(now);
    }

    fn answer(&mut self, request: RequestId, answer: Result<Placed, Refusal>) {
        self.out.actions.push_back(Action::Answer { request, answer });
    }

    /// The cluster is another one now.
    fn enter(&mut self, now: u64, before: &Cluster, is_first: bool) {
        let (mut cx, parts) = self.split(now);
        let ring_changed = before.digest() != cx.cluster.digest();
        for node in before.present.difference(&cx.cluster.present) {
            parts.announcements.handle_gone(&mut cx, *node);
        }
        if ring_changed {
            parts.announcements.handle_ring(&mut cx, &parts.led);
        }
        parts.home.handle_cluster(&mut cx, before, is_first);
        parts.lists.handle_cluster(&mut cx);
        parts.recruits.handle_cluster(&mut cx, &parts.led);
        parts.led.following_mut().handle_cluster(&mut cx);
        if ring_changed {
            parts.doors.handle_ring(&mut cx);
            replicas::tell_new_homes(&mut cx, parts, before);
        }
        self.rebalance.handle_ring(now, &self.cluster.ring);
        self.settle(now);
    }

    /// Gives a message to the part that it is for.
    fn dispatch(&mut self, now: u64, from: Node, message: Message) {
        let (mut cx, parts) = self.split(now);
        let cx = &mut cx;
        match message {
            Message::Ask { number, ring, want } => handle_ask(cx, parts, from, number, ring, *want),
            Message::Answer { number, answer } => parts.doors.handle_answer(cx, from, number, answer),
            Message::Host { ring, birth, decision } => {
                let is_home = cx.cluster.home_of(&message::name_of(&birth.session)) == Some(from);
                if ring == cx.cluster.digest() && is_home {
                    parts.led.handle_host(cx, from, *birth, decision);
                } else {
                    let answer = Err(NotHosted::OtherRing(cx.cluster.digest()));
                    cx.send(from, Message::Hosted { session: birth.session_at(cx.me), answer });
                }
            }
            Message::Hosted { session, answer } => parts.home.handle_hosted(cx, from, &session, answer),
            Message::Sync { ring, term } => parts.announcements.handle_sync(cx, &parts.led, from, ring, term),
            Message::Announce { term, run, serial, items, is_complete } => {
                let part = (term, run, serial);
                let announced = parts.home.handle_announce(cx, from, part, &items, is_complete);
                if announced != Announced::Ignored {
                    let mark = parts.home.term().mark(from);
                    items.iter().for_each(|item| parts.lists.announced(cx, from, item, mark));
                }
                if announced == Announced::Completed {
                    parts.lists.drop_untold(cx, from, parts.home.term());
                    if parts.home.term().is_complete() {
                        parts.lists.release(cx, true);
                    }
                }
            }
            Message::Acknowledge { term, run, serial } => {
                parts.announcements.handle_acknowledge(cx, from, term, run, serial);
            }
            Message::Question { number, ring, names } => {
                let known = if ring == cx.cluster.digest() { tell(cx, parts, &names) } else { Vec::new() };
                cx.send(from, Message::Told { number, ring: cx.cluster.digest(), known });
            }
            Message::Told { number, ring, known } => parts.home.handle_told(cx, from, number, ring, known),
            Message::Superseded { session, winner } => handle_superseded(cx, parts, from, &session, &winner),
            message => replicas::dispatch(cx, parts, from, message),
        }
    }

    /// Does all that is to be done within this node.
    fn settle(&mut self, now: u64) {
        loop {
            if let Some(message) = self.out.loopback.pop_front() {
                self.dispatch(now, self.me, message);
                continue;
            }
            let (mut cx, parts) = self.split(now);
            if let Some(session) = cx.out.changed.pop_front() {
                parts.announcements.changed(&mut cx, &parts.led, &session);
                parts.recruits.changed(&mut cx, &parts.led, &session);
            } else if let Some(session) = cx.out.expected.pop_front() {
                parts.led.expect(&mut cx, &session);
            } else if let Some((list, name, answer)) = cx.out.formed.pop_front() {
                let answer = answer.and_then(|placed| match parts.home.has_ended(&placed.session) {
                    true => Err(Refusal::Failed("it ended as soon as it began".to_owned())),
                    false => Ok(placed),
                });
                let leader = answer.as_ref().map_or(cx.me, |placed| placed.leader);
                let mark = parts.home.term().mark_answer(leader);
                parts.lists.handle_formed(&mut cx, &list, &name, answer, mark);
            } else if let Some((asker, want)) = cx.out.wants.pop_front() {
                parts.doors.ask(&mut cx, asker, want, None);
            } else if !parts.announcements.pump(&mut cx, &parts.led) {
                break;
            }
        }
    }

    fn split(&mut self, now: u64) -> (Context<'_>, &mut Parts) {
        let Directory { me, cluster, games, sleepers, lacks_games, timers, out, parts, .. } = self;
        (Context { now, me: *me, cluster, games, sleepers, lacks_games: *lacks_games, timers, out }, parts)
    }
}

/// Sizes of a directory's tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Requests of this node's callers, at most [`crate::limits::WAITING_REQUESTS`].
    pub requests: usize,
    /// Entries, at most [`crate::limits::HOME_ENTRIES`].
    pub entries: usize,
    /// Requests that wait here as at their home, at most twice [`crate::limits::HOME_WAITING`].
    pub waiting: usize,
    /// Duplicates that are not settled yet, at most [`crate::limits::DUPLICATES`].
    pub duplicates: usize,
    /// Copies of leadership records, at most [`crate::limits::RECORD_COPIES`].
    pub copies: usize,
    /// Sessions that are followed: with those that are led at most [`Limits::sessions`].
    pub followed: usize,
}

/// A request comes to its home, or to whom the asker takes for it.
fn handle_ask(cx: &mut Context<'_>, parts: &mut Parts, from: Node, number: u64, ring: RingDigest, want: Want) {
    let is_home = cx.cluster.home(want.position()) == Some(cx.me);
    let denial = match () {
        () if ring != cx.cluster.digest() || !is_home => Denial::OtherRing(cx.cluster.digest()),
        () if !cx.games.contains_key(want.game()) && cx.lacks_games => Denial::NotReady,
        () if !cx.games.contains_key(want.game()) => Denial::Refused(Refusal::UnknownGame(want.game().clone())),
        () => {
            match want {
                Want::Find(find) => {
                    let is_complete = parts.home.term().is_complete();
                    parts.lists.handle_find(cx, from, number, find, is_complete);
                }
                want => {
                    let name = want.name();
                    let orphan = name.and_then(|name| parts.led.following().orphan(cx, &name));
                    let orphan = orphan.map(|lead| lead.session);
                    parts.home.handle_ask(cx, (from, number), want, orphan);
                }
            }
            return;
        }
    };
    cx.send(from, Message::Answer { number, answer: Err(denial) });
}

/// What this node leads, knew of as their home before, or follows without a leader, of these names.
fn tell(cx: &Context<'_>, parts: &Parts, names: &[Name]) -> Vec<Lead> {
    let led = |name: &Name| parts.led.get(name).map(|led| led.lead(cx.me));
    let former = |name: &Name| parts.home.former(cx.now, name).cloned();
    let orphan = |name: &Name| parts.led.following().orphan(cx, name);
    let known = names.iter().filter_map(|name| led(name).or_else(|| former(name)).or_else(|| orphan(name)));
    // A list hears of its sessions by announcements alone; with all players' names the answer would fit no frame.
    known.map(|lead| Lead { listing: None, ..lead }).collect()
}

/// A verdict counts only if it comes from the home.
fn handle_superseded(cx: &mut Context<'_>, parts: &mut Parts, from: Node, session: &SessionId, winner: &Claim) {
    if cx.cluster.home_of(&message::name_of(session)) == Some(from) {
        parts.led.handle_superseded(cx, session, winner);
    }
}
