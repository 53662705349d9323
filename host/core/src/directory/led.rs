//! The sessions that this node leads, and those that a home ordered it to begin: on which worker each is, who sits in
//! it, why it is here. Tells nobody itself: what changed goes to the homes through [`super::announce`].

mod session;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::context::{Context, Timer};
use super::followed::{Followed, Following};
use super::home::SUCCESSION_US;
use super::message::{Birth, Charter, Entry as Admission, Item, Lead, Message, Name, NotFollowed, NotHosted, name_of};
use super::types::{Action, Ended, Ending, Limits, ListKey, Refusal};
use super::workers::Workers;
use crate::ids::{Node, PlayerId, SessionId, WorkerId};
use crate::leadership::record::{Member, Record, Terms};
use crate::leadership::{Claim, newer, wins};
use crate::limits;
use crate::placement::{self, Decision, Loads, Policy};
use crate::ring::Position;
use session::{Phase, Session};

/// How long after its end a session is still told to a home that begins to listen, µs: an order to lead it may have
/// been answered just before.
const TOLD_AFTER_END_US: u64 = 15_000_000;

/// What is remembered for a while of a session that is led here no more.
#[derive(Debug)]
struct Tombstone {
    /// The list that it was on.
    list: Option<ListKey>,
    /// Whether it is over; else it was evicted, or is led elsewhere.
    has_ended: bool,
}

/// The sessions of this node.
#[derive(Debug)]
pub(super) struct Led {
    limits: Limits,
    workers: Workers,
    sessions: BTreeMap<Name, Session>,
    ended: VecDeque<Ended>,
    /// Sessions that were given up and are to be ended, and where each was last. They count as sessions.
    ending: BTreeMap<SessionId, WorkerId>,
    /// Those that ended a short while ago with the lists that they were on, and in order of time.
    tombstones: BTreeMap<SessionId, Tombstone>,
    order: VecDeque<(u64, SessionId)>,
    /// Those that are followed here: they count as sessions.
    following: Following,
}

impl Led {
    pub fn new(limits: Limits) -> Led {
        Led {
            limits,
            workers: Workers::default(),
            sessions: BTreeMap::new(),
            ended: VecDeque::new(),
            ending: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            order: VecDeque::new(),
            following: Following::default(),
        }
    }

    pub fn workers(&self) -> &Workers {
        &self.workers
    }

    pub fn workers_mut(&mut self) -> &mut Workers {
        &mut self.workers
    }

    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values()
    }

    pub fn get(&self, name: &Name) -> Option<&Session> {
        self.sessions.get(name)
    }

    pub fn ended(&self) -> impl Iterator<Item = &Ended> {
        self.ended.iter().rev()
    }

    /// How many are led.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// What is to be told to a home that begins to listen: all that is led, and what has just ended.
    pub fn all(&self, me: Node, now: u64) -> impl Iterator<Item = &SessionId> {
        let beside = self.following.iter().filter_map(move |followed| Some(&followed.led_beside(me)?.session));
        let recent = self.order.iter().rev().take_while(move |(at, _)| at.saturating_add(TOLD_AFTER_END_US) > now);
        recent.map(|(_, session)| session).chain(self.sessions.values().map(Session::id)).chain(beside)
    }

    /// What is to be said of a session now; nothing of one that another node leads since a moment ago, which says so itself.
    /// That it has ended only if it has: another node may lead it that this one knows nothing of.
    pub fn item(&self, me: Node, session: &SessionId) -> Option<Item> {
        if let Some(led) = self.current(session) {
            return Some(Item::Led(Box::new(led.lead(me))));
        }
        if let Some(followed) = self.following.get(session).filter(|followed| followed.led.is_some()) {
            return followed.led_beside(me).map(|lead| Item::Led(Box::new(lead.clone())));
        }
        let has_ended = self.tombstones.get(session).is_some_and(|it| it.has_ended);
        Some(if has_ended { Item::Ended(session.clone()) } else { Item::Evicted(session.clone()) })
    }

    /// What is followed here.
    pub fn following(&self) -> &Following {
        &self.following
    }

    /// The same, to be spoken to.
    pub fn following_mut(&mut self) -> &mut Following {
        &mut self.following
    }

    /// Sessions that take a worker's memory: led, followed, or being ended.
    fn held(&self) -> usize {
        self.sessions.len() + self.ending.len() + self.following.len()
    }

    /// The list that a session is on, or was until a short while ago.
    pub fn list_of(&self, session: &SessionId) -> Option<ListKey> {
        match self.current(session) {
            Some(led) => led.charter.list(),
            None => match self.following.get(session) {
                Some(followed) => followed.charter.list(),
                None => self.tombstones.get(session).and_then(|it| it.list.clone()),
            },
        }
    }

    /// A home orders this node to lead a session.
    pub fn handle_host(&mut self, cx: &mut Context<'_>, from: Node, birth: Birth, decision: Box<Decision>) {
        let session = birth.session_at(cx.me);
        let birth = Birth { session: session.clone(), ..birth };
        match self.host(cx, from, birth, decision) {
            Ok(None) => {}
            Ok(Some(lead)) => cx.send(from, Message::Hosted { session, answer: Ok(lead) }),
            Err(refusal) => cx.send(from, Message::Hosted { session, answer: Err(refusal) }),
        }
    }

    /// Begins a session, or says what is led in its place. `None`: the answer comes when the worker has answered.
    fn host(
        &mut self,
        cx: &mut Context<'_>,
        from: Node,
        birth: Birth,
        decision: Box<Decision>,
    ) -> Result<Option<Box<Lead>>, NotHosted> {
        let name = name_of(&birth.session);
        if let Some(led) = self.sessions.get_mut(&name) {
            return match &mut led.phase {
                Phase::Creating { homes } if led.charter.session == birth.session => {
                    homes.insert(from);
                    Ok(None)
                }
                _ => Ok(Some(Box::new(led.lead(cx.me)))),
            };
        }
        self.forget_old(cx.now);
        if self.tombstones.contains_key(&birth.session) {
            return Err(NotHosted::Ended);
        }
        let no_room = |refusal| Err(NotHosted::NoRoom(refusal));
        let Some(facts) = cx.games.get(&birth.session.game) else {
            return no_room(Refusal::UnknownGame(birth.session.game));
        };
        if self.held() >= self.limits.sessions {
            return no_room(Refusal::Full(self.limits.sessions));
        }
        if self.tombstones.len() >= limits::TOMBSTONES {
            return no_room(Refusal::Busy);
        }
        let Some(worker) = self.workers.choose(facts.pace) else { return no_room(Refusal::NoWorker) };
        self.workers.placed(worker, facts.pace);
        let epoch = cx.me.first_epoch();
        cx.timers.set(
            cx.now.saturating_add(limits::CREATION_DEADLINE_US),
            Timer::Creation(name.clone(), birth.session.incarnation),
        );
        cx.act(Action::Create {
            session: birth.session.clone(),
            worker,
            epoch,
            config: birth.config.clone(),
            record: birth.record,
            followers: facts.replicas.followers,
            origin: birth.origin,
        });
        let charter = Charter::new(&birth, *facts, decision);
        let phase = Phase::Creating { homes: BTreeSet::from([from]) };
        let session = Session::new(charter, worker, epoch, (cx.now, cx.now), phase);
        self.sessions.insert(name, session);
        cx.out.changed.push_back(birth.session);
        Ok(None)
    }

    /// The worker answered.
    pub fn handle_created(
        &mut self,
        cx: &mut Context<'_>,
        session: &SessionId,
        worker: WorkerId,
        result: Result<(), String>,
    ) {
        let creating = self.current(session).map(|led| matches!(led.phase, Phase::Creating { .. }));
        match (creating, result) {
            (Some(true), Ok(())) => self.confirm(cx, session),
            (Some(true), Err(reason)) => self.remove(cx, session, &Refusal::Failed(reason)),
            (None, Ok(())) => self.give_up(cx, session, worker),
            (Some(false), _) | (None, Err(_)) => {}
        }
    }

    fn confirm(&mut self, cx: &mut Context<'_>, session: &SessionId) {
        let Some(led) = self.current_mut(session) else { return };
        let before = std::mem::replace(&mut led.phase, Phase::Live);
        let lead = led.lead(cx.me);
        cx.timers.cancel(&Timer::Creation(name_of(session), session.incarnation));
        if let Phase::Creating { homes } = before {
            for home in homes {
                cx.send(home, Message::Hosted { session: session.clone(), answer: Ok(Box::new(lead.clone())) });
            }
        }
        cx.out.changed.push_back(session.clone());
        self.watch_empty(cx, session);
    }

    pub fn handle_joined(&mut self, cx: &mut Context<'_>, session: &SessionId, player: &PlayerId) {
        let Some(led) = self.current_mut(session) else { return };
        led.seats.join(player);
        led.is_closing = false;
        if led.empty_since.take().is_some() {
            cx.timers.cancel(&Timer::Empty(name_of(session)));
        }
        cx.out.changed.push_back(session.clone());
    }

    pub fn handle_left(&mut self, cx: &mut Context<'_>, session: &SessionId, player: &PlayerId) {
        let Some(led) = self.current_mut(session) else { return };
        led.seats.leave(player);
        cx.out.changed.push_back(session.clone());
        self.watch_empty(cx, session);
    }

    pub fn handle_refused(&mut self, cx: &mut Context<'_>, session: &SessionId) {
        let Some(led) = self.current_mut(session) else { return };
        led.seats.entry = Admission::Refuses;
        cx.out.changed.push_back(session.clone());
        self.watch_empty(cx, session);
    }

    pub fn handle_moved(&mut self, cx: &mut Context<'_>, session: &SessionId, worker: WorkerId) {
        let Some(led) = self.current_mut(session) else { return self.give_up(cx, session, worker) };
        let (from, pace) = (std::mem::replace(&mut led.worker, worker), led.pace());
        self.workers.left(from, pace);
        self.workers.placed(worker, pace);
        cx.out.changed.push_back(session.clone());
    }

    /// How many player inputs a session has accepted: what counts where there are two of a key.
    pub fn handle_inputs(&mut self, session: &SessionId, inputs: u64) {
        if let Some(led) = self.current_mut(session).filter(|led| !led.gave_way) {
            led.inputs = led.inputs.max(inputs);
        }
    }

    /// How long a session's calls took so far.
    pub fn handle_calls(&mut self, now: u64, session: &SessionId, total_us: u64) {
        if let Some(led) = self.current_mut(session) {
            led.calls.note(now, total_us);
        }
    }

    /// A worker has no such session. Whether that is the end of one that was given up.
    pub fn handle_absent(&mut self, session: &SessionId, worker: WorkerId) -> bool {
        let is_it = self.ending.get(session) == Some(&worker);
        is_it && self.ending.remove(session).is_some()
    }

    pub fn handle_ended(&mut self, cx: &mut Context<'_>, session: &SessionId, reason: String) {
        if self.ending.remove(session).is_some() {
            cx.timers.cancel(&Timer::Ending(session.clone()));
        }
        if self.current(session).is_some() {
            self.remove(cx, session, &Refusal::Failed(reason));
        }
    }

    /// A home found that another session of the key goes on. That is checked against what is true here and now: inputs
    /// only grow, so two sessions can never both give way to each other.
    pub fn handle_superseded(&mut self, cx: &mut Context<'_>, session: &SessionId, winner: &Claim) {
        let Some(led) = self.current_mut(session) else {
            // The home did not hear of the end.
            cx.out.changed.push_back(session.clone());
            return;
        };
        if winner.session == *session {
            // It is led by another as well: they settle that between them, and one of them tells the home.
            return;
        }
        if wins(winner, &led.lead(cx.me).claim()) {
            led.gave_way = true;
            let why = Ending::Superseded(winner.session.clone());
            cx.act(Action::End { session: session.clone(), worker: led.worker, why });
        } else {
            cx.out.changed.push_back(session.clone());
        }
    }

    /// The worker did not answer in time.
    pub fn creation_due(&mut self, cx: &mut Context<'_>, session: &SessionId) {
        let Some(led) = self.current(session).filter(|led| matches!(led.phase, Phase::Creating { .. })) else { return };
        if led.is_activated() {
            // It would end, be it that the store is slow. Whoever fetches it says what comes of that.
            let due = cx.now.saturating_add(limits::CREATION_DEADLINE_US);
            cx.timers.set(due, Timer::Creation(name_of(session), session.incarnation));
            return;
        }
        let worker = led.worker;
        self.give_up(cx, session, worker);
        self.remove(cx, session, &Refusal::TimedOut);
    }

    /// Has a session ended that is not led here (any more). Its worker may be too busy to be told, or may just have given
    /// it away: so it is told again until the end is heard of.
    fn give_up(&mut self, cx: &mut Context<'_>, session: &SessionId, worker: WorkerId) {
        self.ending.insert(session.clone(), worker);
        cx.timers.set(cx.now.saturating_add(limits::END_REPEAT_US), Timer::Ending(session.clone()));
        cx.act(Action::End { session: session.clone(), worker, why: Ending::TooLate });
    }

    /// It was not heard of.
    pub fn ending_due(&mut self, cx: &mut Context<'_>, session: &SessionId) {
        if let Some(worker) = self.ending.get(session).copied() {
            self.give_up(cx, session, worker);
        }
    }

    /// Somebody is sent to a session of this node: the time that it may be empty begins again.
    pub fn expect(&mut self, cx: &mut Context<'_>, session: &SessionId) {
        let Some(led) = self.current_mut(session).filter(|led| led.empty_since.is_some()) else { return };
        (led.empty_since, led.is_closing) = (None, false);
        cx.out.changed.push_back(session.clone());
        self.watch_empty(cx, session);
    }

    /// A session was empty for long: first nobody is sent there any more, then, when those who were sent before have
    /// had their time, it ends. Its worker is told again until it has, or somebody comes.
    pub fn empty_due(&mut self, cx: &mut Context<'_>, name: &Name) {
        let Some(led) = self.sessions.get_mut(name) else { return };
        let Some(since) = led.empty_since else { return };
        let closes = since.saturating_add(limits::EMPTY_SESSION_US);
        let ends = closes.saturating_add(limits::RESERVATION_US);
        if cx.now < ends {
            led.is_closing = true;
            cx.timers.set(ends, Timer::Empty(name.clone()));
            cx.out.changed.push_back(led.id().clone());
        } else {
            cx.act(Action::End { session: led.id().clone(), worker: led.worker, why: Ending::Empty });
            cx.timers.set(cx.now.saturating_add(limits::END_REPEAT_US), Timer::Empty(name.clone()));
        }
    }

    /// Notes when a session that nobody may come back to has become empty.
    fn watch_empty(&mut self, cx: &mut Context<'_>, session: &SessionId) {
        let Some(led) = self.current_mut(session) else { return };
        if led.charter.ends_when_empty && led.seats.joined.is_empty() && led.empty_since.is_none() {
            led.empty_since = Some(cx.now);
            cx.timers.set(cx.now.saturating_add(limits::EMPTY_SESSION_US), Timer::Empty(name_of(session)));
        }
    }

    /// Forgets a session; the homes hear of it.
    fn remove(&mut self, cx: &mut Context<'_>, session: &SessionId, why: &Refusal) {
        self.remove_and_answer(cx, session, why, NotHosted::Failed(why.clone()));
    }

    fn remove_and_answer(&mut self, cx: &mut Context<'_>, session: &SessionId, why: &Refusal, answer: NotHosted) {
        let name = name_of(session);
        let Some(led) = self.sessions.remove(&name) else { return };
        self.workers.left(led.worker, led.pace());
        cx.timers.cancel(&Timer::Creation(name.clone(), session.incarnation));
        cx.timers.cancel(&Timer::Empty(name));
        // One that does not go on is in the store still: its home must not believe that it has ended.
        let (list, has_ended) = (led.charter.list(), !led.is_activated());
        match led.phase {
            Phase::Creating { homes } => {
                for home in homes {
                    let answer = Err(answer.clone());
                    cx.send(home, Message::Hosted { session: session.clone(), answer });
                }
            }
            Phase::Live => {
                self.remember(cx.now, led.charter.session, why.to_string());
            }
        }
        self.bury(cx, session, Tombstone { list, has_ended });
    }

    fn bury(&mut self, cx: &mut Context<'_>, session: &SessionId, tombstone: Tombstone) {
        self.tombstones.insert(session.clone(), tombstone);
        self.order.push_back((cx.now, session.clone()));
        cx.out.changed.push_back(session.clone());
    }

    /// A session that is led here was evicted: it is in the store.
    pub fn handle_evicted(&mut self, cx: &mut Context<'_>, session: &SessionId) {
        if self.current(session).is_none() {
            return;
        }
        let name = name_of(session);
        let Some(led) = self.sessions.remove(&name) else { return };
        self.workers.left(led.worker, led.pace());
        cx.timers.cancel(&Timer::Creation(name.clone(), session.incarnation));
        cx.timers.cancel(&Timer::Empty(name));
        self.bury(cx, session, Tombstone { list: led.charter.list(), has_ended: false });
    }

    /// What was to be created as `birth` goes on as a session of that key which was evicted. On which worker, and what it
    /// promises.
    pub fn handle_activating(
        &mut self,
        cx: &mut Context<'_>,
        birth: &SessionId,
        charter: Charter,
    ) -> Result<(WorkerId, Terms), Refusal> {
        let name = name_of(birth);
        let me = cx.me;
        let led = self.sessions.get_mut(&name).filter(|led| led.id() == birth && name_of(&charter.session) == name);
        let Some(led) = led else { return Err(Refusal::TimedOut) };
        let Phase::Creating { homes } = &mut led.phase else { return Err(Refusal::TimedOut) };
        let homes = std::mem::take(homes);
        let (session, worker) = (charter.session.clone(), led.worker);
        let terms = charter.terms();
        let before = led.pace();
        let phase = Phase::Creating { homes: BTreeSet::new() };
        *led = Session::new(charter, worker, led.epoch, (led.created_us, led.since_us), phase);
        let (lead, pace) = (led.lead(me), led.pace());
        self.workers.left(worker, before);
        self.workers.placed(worker, pace);
        cx.timers.cancel(&Timer::Creation(name.clone(), birth.incarnation));
        let deadline = cx.now.saturating_add(limits::CREATION_DEADLINE_US);
        cx.timers.set(deadline, Timer::Creation(name, session.incarnation));
        for home in homes {
            cx.send(home, Message::Hosted { session: birth.clone(), answer: Ok(Box::new(lead.clone())) });
        }
        // Who followed it before it was evicted may not have heard so.
        let dropped = self.following.remove(cx, &session);
        self.give_back(dropped);
        cx.out.changed.push_back(session);
        Ok((worker, terms))
    }

    /// A leader wants a session to be followed here.
    pub fn handle_follow(&mut self, cx: &mut Context<'_>, from: Node, charter: Charter, leader: Member, age_us: u64) {
        let session = charter.session.clone();
        let is_led = self.current(&session).is_some() || self.ending.contains_key(&session);
        if is_led || leader.node != from || self.following.renew(cx, &session, leader) {
            return;
        }
        let pace = charter.facts.pace;
        let worker = self.workers.choose(pace).filter(|_| self.held() < self.limits.sessions);
        let Some(worker) = worker else {
            return cx.send(from, Message::Follows { session, answer: Err(NotFollowed::NoRoom) });
        };
        self.workers.placed(worker, pace);
        self.following.begin(cx, charter, leader, worker, cx.now.saturating_sub(age_us));
    }

    /// A worker follows a session, or does not.
    pub fn handle_followed(&mut self, cx: &mut Context<'_>, session: &SessionId, result: Result<(), NotFollowed>) {
        let dropped = self.following.handle_followed(cx, session, result);
        self.give_back(dropped);
    }

    /// A worker follows a session no longer, or says that it counts.
    pub fn handle_unfollowed(&mut self, cx: &mut Context<'_>, session: &SessionId, is_over: bool) {
        let dropped = self.following.handle_unfollowed(cx, session, is_over);
        let announced = dropped.as_ref().filter(|followed| followed.led.is_some());
        if let Some(tombstone) = announced.map(|it| Tombstone { list: it.charter.list(), has_ended: false }) {
            // Whoever deposed it says so itself, perhaps in a moment: until then this node is not to say that nobody leads it. It
            // may have announced nothing: it was over by then.
            self.tombstones.insert(session.clone(), tombstone);
            self.order.push_back((cx.now, session.clone()));
            cx.timers.set(cx.now.saturating_add(SUCCESSION_US), Timer::TakenOver(session.clone()));
        }
        self.give_back(dropped);
    }

    /// A session is about to begin again here.
    pub fn handle_recovering(
        &mut self,
        cx: &mut Context<'_>,
        session: &SessionId,
        charter: Option<Charter>,
        leader: Member,
    ) -> Result<(WorkerId, Terms), Refusal> {
        if self.sessions.contains_key(&name_of(session)) {
            return Err(Refusal::KeyTaken(session.clone()));
        }
        let charter = match charter.filter(|charter| charter.session == *session) {
            Some(charter) => charter,
            None => charter_anew(cx, session)?,
        };
        let before = self.following.remove(cx, session);
        if before.is_none() && self.held() >= self.limits.sessions {
            return Err(Refusal::Full(self.limits.sessions));
        }
        let pace = charter.facts.pace;
        let worker = match &before {
            Some(before) => before.worker,
            None => {
                let worker = self.workers.choose(pace).ok_or(Refusal::NoWorker)?;
                self.workers.placed(worker, pace);
                worker
            }
        };
        let terms = charter.terms();
        self.following.insert(Followed::orphan(charter, leader, worker, cx.now, before.as_ref()));
        Ok((worker, terms))
    }

    /// The worker was not told to create a session.
    pub fn handle_not_created(&mut self, cx: &mut Context<'_>, session: &SessionId, refusal: &Refusal) {
        if self.current(session).is_some_and(|led| matches!(led.phase, Phase::Creating { .. })) {
            self.remove(cx, session, refusal);
        }
    }

    /// A session that was to be created here is for another node.
    pub fn handle_not_hosted(&mut self, cx: &mut Context<'_>, session: &SessionId, refusal: Refusal) {
        if self.current(session).is_some_and(|led| matches!(led.phase, Phase::Creating { .. })) {
            self.remove_and_answer(cx, session, &refusal, NotHosted::NoRoom(refusal.clone()));
        }
    }

    /// A session is over, for operators to see.
    pub fn remember(&mut self, now: u64, session: SessionId, reason: String) {
        if self.ended.len() >= limits::ENDED_SESSIONS {
            self.ended.pop_front();
        }
        self.ended.push_back(Ended { id: session, ended_us: now, reason });
    }

    fn give_back(&mut self, dropped: Option<Followed>) {
        if let Some(Followed { charter, worker, .. }) = dropped {
            self.workers.left(worker, charter.facts.pace);
        }
    }

    /// A session that was followed here is led here now.
    pub fn handle_promoted(
        &mut self,
        cx: &mut Context<'_>,
        session: &SessionId,
        worker: WorkerId,
        record: &Record,
        players: &[PlayerId],
    ) {
        if let Some(led) = self.current_mut(session) {
            led.epoch = record.epoch;
            if !led.is_live() {
                // It was evicted, and goes on here.
                players.iter().for_each(|player| led.seats.join(player));
                return self.confirm(cx, session);
            }
            cx.out.changed.push_back(session.clone());
            return;
        }
        let Some((charter, created_us)) = self.promoted_charter(cx, session) else {
            return self.give_up(cx, session, worker);
        };
        let mut led = Session::new(charter, worker, record.epoch, (created_us, cx.now), Phase::Live);
        players.iter().for_each(|player| led.seats.join(player));
        // Another one of the key may have begun here meanwhile: one of them goes on.
        let name = name_of(session);
        if let Some(other) = self.sessions.get(&name) {
            let (mine, theirs) = (led.lead(cx.me).claim(), other.lead(cx.me).claim());
            let (other, other_worker) = (other.id().clone(), other.worker);
            let (loser, at, winner) = match wins(&mine, &theirs) {
                true => (other.clone(), other_worker, session.clone()),
                false => (session.clone(), worker, other.clone()),
            };
            self.ending.insert(loser.clone(), at);
            cx.timers.set(cx.now.saturating_add(limits::END_REPEAT_US), Timer::Ending(loser.clone()));
            let why = Ending::Superseded(winner.clone());
            cx.act(Action::End { session: loser, worker: at, why: why.clone() });
            if winner == other {
                return;
            }
            self.remove(cx, &other, &Refusal::Failed(why.to_string()));
        }
        self.workers.placed(worker, led.pace());
        self.sessions.insert(name, led);
        cx.out.changed.push_back(session.clone());
        self.watch_empty(cx, session);
    }

    /// How a session was begun that has come to be led here, and when. One that is not known to be followed is not ended for
    /// that: its worker has all of it, and its record says that it leads. Unless it was to end here.
    fn promoted_charter(&mut self, cx: &mut Context<'_>, session: &SessionId) -> Option<(Charter, u64)> {
        if let Some(Followed { charter, created_us, worker, .. }) = self.following.remove(cx, session) {
            self.workers.left(worker, charter.facts.pace);
            return Some((charter, created_us));
        }
        let has_ended = self.tombstones.get(session).is_some_and(|it| it.has_ended);
        let is_to_end = has_ended || self.ending.contains_key(session);
        let charter = (!is_to_end).then(|| charter_anew(cx, session).ok()).flatten();
        charter.map(|charter| (charter, cx.now))
    }

    /// A session is led here on in a new epoch, above that of whoever led another branch of it: its home may know that one.
    pub fn handle_record(&mut self, cx: &mut Context<'_>, session: &SessionId, record: &Record) {
        let Some(led) = self.current_mut(session).filter(|led| newer(record.epoch, led.epoch)) else { return };
        led.epoch = record.epoch;
        // One that is not there yet is announced when it is.
        if led.is_live() {
            cx.out.changed.push_back(session.clone());
        }
    }

    /// A session that was led here is led elsewhere, and followed here. It has not ended: nothing is said of it.
    pub fn handle_deposed(&mut self, cx: &mut Context<'_>, session: &SessionId, by: &Record) {
        let name = name_of(session);
        if self.current(session).is_none() {
            return;
        }
        let Some(led) = self.sessions.remove(&name) else { return };
        cx.timers.cancel(&Timer::Creation(name.clone(), session.incarnation));
        cx.timers.cancel(&Timer::Empty(name));
        let lead = led.lead(cx.me);
        let Session { charter, worker, created_us, .. } = led;
        self.following.insert(Followed::new(charter, by.leader, worker, created_us).deposed(lead));
        self.following.say(cx, session);
    }

    fn forget_old(&mut self, now: u64) {
        while let Some((at, _)) = self.order.front()
            && at.saturating_add(limits::TOMBSTONE_US) <= now
            && let Some((_, session)) = self.order.pop_front()
        {
            self.tombstones.remove(&session);
        }
    }

    /// The session with this id, if it is led here.
    pub fn current(&self, session: &SessionId) -> Option<&Session> {
        self.sessions.get(&name_of(session)).filter(|led| led.id().incarnation == session.incarnation)
    }

    fn current_mut(&mut self, session: &SessionId) -> Option<&mut Session> {
        self.sessions.get_mut(&name_of(session)).filter(|led| led.id().incarnation == session.incarnation)
    }
}

/// What a session is taken to have been begun with where nobody knows: as its game's sessions are now.
fn charter_anew(cx: &Context<'_>, session: &SessionId) -> Result<Charter, Refusal> {
    let facts = cx.games.get(&session.game).ok_or_else(|| Refusal::UnknownGame(session.game.clone()))?;
    let position = Position::of_key(&session.game, &session.key);
    let decided = placement::place(&cx.cluster.ring, position, Policy::Ring, &Loads::new(), &[]);
    let decision = Box::new(decided.map_err(|_| Refusal::NoWorker)?);
    Ok(Charter::recovered(session.clone(), *facts, decision))
}
