//! Callers and players: who asks which node for what, what they do with the answer, and how they come to a session.

use bytes::Bytes;
use ringside_core::directory::{Create, Draw, Find, Name, Open, Placed, REQUEST_US, Refusal, RequestId};
use ringside_core::ids::{GameName, Node, PlayerId, SessionId};
use ringside_core::placement::Policy;
use ringside_core::routing::tickets::{Stamp, TicketError};
use ringside_core::routing::{Arrival, REDIRECTS, Route, route};

use crate::conditions::Condition;
use crate::packet::{Packet, Visit};
use crate::plant::Plant;
use crate::process::Request;
use crate::world::{Event, World};

/// Keys that callers choose among.
const KEYS: u64 = 30;
/// How much later than it must an answer may come, µs: what delays a call within a process.
const SLACK_US: u64 = 100_000;

/// A player's name.
pub fn player_id(player: u64) -> Option<PlayerId> {
    format!("player-{player}").parse().ok()
}

impl World {
    /// Somebody comes to some node and wants something.
    pub fn somebody_asks(&mut self) {
        let there: Vec<usize> = self.processes().map(|(slot, _)| slot).collect();
        let slot = there.get(self.random.below(there.len() as u64) as usize).copied();
        let Some(slot) = slot.filter(|slot| !self.is_still(*slot)) else { return };
        self.players += 1;
        // A few come again and again.
        let player = if self.random.happens(0.3) { self.random.below(40) } else { self.players };
        let arrival = Arrival { wants_relay: self.random.happens(0.05), ..Arrival::default() };
        let request = Request { player, asked_at: self.now(), stood_us: 0, arrival, sent_on: 0, must_be_served: false };
        let game = self.games[self.random.below(2) as usize].0.clone();
        match self.random.below(20) {
            0..9 => {
                let key = self.random.below(KEYS);
                let may_create = self.random.happens(0.8);
                self.open(slot, request, &(game, key_of(key)), may_create);
            }
            9..12 => self.create_anew(slot, request, game),
            _ => self.find(slot, request, game),
        }
    }

    /// Whether a process stands still.
    fn is_still(&self, slot: usize) -> bool {
        let now = self.now();
        self.machines[slot].process.as_ref().is_none_or(|process| now < process.stalled_until)
    }

    fn draw(&mut self) -> Draw {
        Draw { key: self.random.next(), incarnation: self.random.next() }
    }

    /// Asks for the session with a key.
    pub fn open(&mut self, slot: usize, request: Request, (game, key): &Name, may_create: bool) {
        let (now, draw) = (self.now(), self.draw());
        let Some(process) = self.machines[slot].process.as_mut() else { return };
        let (number, clock) = (process.request(request), process.clock(now));
        let open = Open { game: game.clone(), key: key.clone(), record: false, may_create, draw };
        process.directory.handle_open(clock, number, open);
        self.drain(slot);
    }

    fn create_anew(&mut self, slot: usize, request: Request, game: GameName) {
        let (now, draw) = (self.now(), self.draw());
        let (named, config) = (self.random.happens(0.3), self.random.below(2) as u8);
        let key = named.then(|| key_of(self.random.below(KEYS)));
        let policy = match self.random.happens(0.1) {
            true => Policy::Pinned(self.machines[self.random.below(self.plan.nodes as u64) as usize].id),
            false => Policy::Ring,
        };
        let listed = self.random.happens(0.5).then(|| "0".to_owned());
        let Some(process) = self.machines[slot].process.as_mut() else { return };
        let (number, clock) = (process.request(request), process.clock(now));
        let config = Bytes::copy_from_slice(&[config]);
        let create = Create { game, key, config, record: false, listed, policy, draw };
        process.directory.handle_create(clock, number, create);
        self.drain(slot);
    }

    fn find(&mut self, slot: usize, request: Request, game: GameName) {
        let (now, draw) = (self.now(), self.draw());
        let (criteria, may_create) = (self.random.below(3).to_string(), self.random.happens(0.9));
        let Some(player) = player_id(request.player) else { return };
        let Some(process) = self.machines[slot].process.as_mut() else { return };
        let (number, clock) = (process.request(request), process.clock(now));
        process.directory.handle_find(clock, number, Find { game, criteria, player, record: false, may_create, draw });
        self.drain(slot);
    }

    /// A request is answered.
    pub fn answered(&mut self, slot: usize, number: RequestId, mut answer: Result<Placed, Refusal>) {
        let now = self.now();
        if self.is_planted(Plant::TurnsAway) && self.random.happens(0.1) {
            answer = Err(Refusal::Busy);
        }
        if self.is_planted(Plant::LosesAnswers) && self.random.happens(0.02) {
            return;
        }
        let twice = self.is_planted(Plant::AnswersTwice) && self.random.happens(0.02);
        let Some(process) = self.machines[slot].process.as_mut() else { return };
        let stood_now = process.stood_us;
        let Some(request) = process.requests.remove(&number) else {
            self.checks.check(Condition::AnsweredOnce, false, || format!("request {number} of m{slot} again"));
            return;
        };
        let stood = stood_now - request.stood_us;
        let took = now - request.asked_at;
        self.checks.check(Condition::AnsweredOnce, took <= REQUEST_US + stood + SLACK_US, || {
            format!("request {number} of m{slot} took {took} us")
        });
        match &answer {
            Ok(placed) => {
                let (session, leader) = (&placed.session, placed.leader);
                let made = if placed.created { "made" } else { "found" };
                self.say(slot, format_args!("{number}: player {} {made} {session} at {leader}", request.player));
            }
            Err(refusal) => self.say(slot, format_args!("{number}: player {} hears: {refusal}", request.player)),
        }
        if request.must_be_served {
            self.watch_served(slot, &request, &answer);
        } else if let Ok(placed) = answer {
            self.go(slot, &request, placed);
        }
        if twice {
            self.answered(slot, number, Err(Refusal::Busy));
        }
    }

    /// A player is sent to the session that they asked for.
    fn go(&mut self, slot: usize, request: &Request, placed: Placed) {
        let Some(process) = self.machines[slot].process.as_mut() else { return };
        let (node, worker) = (placed.leader, placed.worker);
        if node != process.node && !process.membership.view().has(node) {
            // Whoever cannot be seen cannot be sent to: the player asks again.
            return;
        }
        let (session, sent_on) = (placed.session, request.sent_on);
        let mut visit = Visit { player: request.player, session, stamp: None, arrival: request.arrival, sent_on };
        let route = route(false, request.arrival);
        let (Route::Redirect { redirects } | Route::Relay { redirects }) = route else { return };
        let Some(era) = process.membership.era(node) else { return };
        let nonce = u128::from(self.random.next()).to_le_bytes();
        visit.stamp = Some(Stamp { node, worker, era, nonce, redirects });
        visit.arrival.redirects = redirects;
        if let Route::Redirect { .. } = route {
            visit.sent_on += 1;
            let times = visit.sent_on;
            self.checks.check(Condition::RedirectsBounded, times <= u32::from(REDIRECTS), || {
                format!("player {} was redirected {times} times", request.player)
            });
        }
        self.post_visit(slot, node, visit);
    }

    fn post_visit(&mut self, slot: usize, node: Node, visit: Visit) {
        let there =
            self.machines[slot].process.as_ref().and_then(|process| process.membership.view().node(node.id).cloned());
        if let Some(seen) = there {
            self.post(slot, usize::from(seen.contact.control.port()) / 10, Packet::Visit(Box::new(visit)));
        }
    }

    /// A player has come to a worker of a node.
    pub fn visited(&mut self, slot: usize, _from: usize, visit: Visit) {
        let now = self.now();
        let careless = self.is_planted(Plant::TakesTicketsTwice);
        let forgetful = self.is_planted(Plant::ForgetsRedirects);
        let Some(process) = self.machines[slot].process.as_mut() else { return };
        let (node, clock) = (process.node, process.clock(now));
        if let Some(stamp) = visit.stamp {
            let Some(tickets) = process.tickets.get_mut(usize::from(stamp.worker.0)) else { return };
            match tickets.redeem(&stamp) {
                Ok(()) => {}
                Err(TicketError::Used) if careless => {}
                Err(why) => return self.say(slot, format_args!("player {}: {why}", visit.player)),
            }
            let era = ringside_core::routing::tickets::era(now - process.started);
            let is_good = stamp.node == node && era <= stamp.era + 2;
            let is_new = self.truth.taken.insert((node, stamp));
            self.checks.check(Condition::TicketsOnce, is_good && is_new, || format!("{stamp:?} at m{slot}"));
        }
        let Some(process) = self.machines[slot].process.as_mut() else { return };
        let Some(player) = player_id(visit.player) else { return };
        if let Some(play) = process.plays.get_mut(&visit.session) {
            play.players.insert(visit.player);
            process.directory.handle_joined(clock, &visit.session, &player);
            let stays = 500_000 + self.random.below(10_000_000);
            let (session, player) = (visit.session, visit.player);
            self.scheduler.after(stays, Event::Left { slot, node, session, player });
        } else if visit.stamp.is_some() {
            // It is over, or elsewhere: the player asks again, here.
            let name = (visit.session.game, visit.session.key);
            let mut arrival = visit.arrival;
            if forgetful {
                arrival.redirects = 0;
            }
            let (player, sent_on) = (visit.player, visit.sent_on);
            let request = Request { player, asked_at: now, stood_us: 0, arrival, sent_on, must_be_served: false };
            self.open(slot, request, &name, true);
        }
    }

    /// Everybody asks every node for the same sessions.
    pub fn everybody_asks(&mut self) {
        let there: Vec<usize> = self.processes().map(|(slot, _)| slot).collect();
        for key in 0..6 {
            let game = self.games[key as usize % 2].0.clone();
            let name = (game, key_of(key));
            self.served.push((name.clone(), None));
            for slot in &there {
                let (asked_at, arrival) = (self.now(), Arrival::default());
                let request = Request { player: key, asked_at, stood_us: 0, arrival, sent_on: 0, must_be_served: true };
                self.open(*slot, request, &name, true);
            }
        }
    }

    /// One of those who must be served was answered.
    fn watch_served(&mut self, slot: usize, request: &Request, answer: &Result<Placed, Refusal>) {
        let known: Option<SessionId> = self.served.get(request.player as usize).and_then(|(_, known)| known.clone());
        let found = answer.as_ref().ok().map(|placed| placed.session.clone());
        let is_same = found.is_some() && known.as_ref().is_none_or(|known| Some(known) == found.as_ref());
        self.checks
            .check(Condition::Served, is_same, || format!("m{slot} answered {answer:?}, another node with {known:?}"));
        if let Some((_, known)) = self.served.get_mut(request.player as usize) {
            *known = found;
        }
    }
}

fn key_of(number: u64) -> ringside_core::ids::SessionKey {
    // Letters and digits are a key.
    match format!("key-{number}").parse() {
        Ok(key) => key,
        Err(error) => unreachable!("{error}"),
    }
}
