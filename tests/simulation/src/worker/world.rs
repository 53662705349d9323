//! A run: two workers, their node, players, and the network between them on one scheduler.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringside_client::core::Event as ClientEvent;
use ringside_core::ids::{Epoch, PlayerId, SessionId};
use ringside_core::limits as guest_limits;
use ringside_core::log::Input;
use ringside_protocol::limits;
use ringside_protocol::reason::Reason;
use ringside_sandbox::CallCost;
use ringside_test_support::random::Random;
use ringside_worker::EVENTS;
use ringside_worker::{Command, Create, SessionReport};

use super::Outcome;
use super::conditions::Condition;
use super::dialer::Packet;
use super::guests::Guests;
use super::host::{Done, Host};
use super::ledger::Ledger;
use super::node::Node;
use super::path::{Path, Quality};
use super::plan::{Cast, Deed, END, FAREWELL, PEACE, Plan};
use super::plant::Plant;
use super::player::{Game, Player, Start};
use super::watch::{TurnSeen, Watch};
use crate::checks::Checks;
use crate::scheduler::{Micros, Scheduler};
use crate::trace::Trace;

/// Turns without a reason within [`IDLE_WINDOW`] after which a worker counts as spinning.
const IDLE_TURNS: u32 = 64;
const IDLE_WINDOW: Micros = 10_000;
/// How often queues and tables are looked at.
const BOUNDS_EVERY: Micros = 20_000;

/// What happens.
enum Happening {
    /// A packet comes to a worker.
    AtWorker(usize, Packet),
    /// A packet comes to the address of a player's process.
    AtPlayer(usize, SocketAddr, Packet),
    /// A worker's turn is due.
    Turn(usize),
    /// A player's process wants to be looked at.
    Wake(usize),
    /// The person at a process does something.
    Act(usize, u64),
    /// A player's process begins.
    Begin(usize),
    /// Something goes wrong, or is done.
    Deed(Deed),
    /// The node says something to a worker.
    Say(usize, Box<Command>),
    /// From now on nothing goes wrong.
    Peace,
    /// Sessions end.
    Finale,
}

/// A worker and what is known of its turns.
struct Post {
    host: Host,
    armed: Option<Micros>,
    busy_until: Micros,
    stalled_until: Micros,
    idle: (Micros, u32),
    bounds_at: Micros,
    turns: u64,
}

/// A session and what is known of it.
struct Stage {
    id: SessionId,
    game: Game,
    watch: Watch,
    is_over: bool,
}

pub(super) struct World<'a> {
    guests: &'a Guests,
    base: Instant,
    random: Random,
    plan: Plan,
    plant: Option<Plant>,
    scheduler: Scheduler<Happening>,
    trace: Trace,
    checks: Checks<Condition>,
    posts: Vec<Post>,
    stages: Vec<Stage>,
    node: Node,
    players: Vec<Option<Player>>,
    ledgers: BTreeMap<String, Ledger>,
    /// The process of each name that was attached last.
    newest: BTreeMap<String, usize>,
    /// What becomes of messages that misbehave, by player and number.
    expected: BTreeMap<(usize, u64), Reason>,
    started: u64,
    /// Processes that were told that a newer one took over.
    told_replaced: BTreeSet<u64>,
    /// A reply that a plant shows after the next.
    held_back: Option<(u64, Vec<u8>)>,
    finale: Option<Micros>,
    past: Option<SessionReport>,
}

impl<'a> World<'a> {
    pub(super) fn new(guests: &'a Guests, seed: u64, plant: Option<Plant>, lines: usize) -> World<'a> {
        let random = Random::new(seed);
        let plan = Plan::draw(&mut random.fork(1));
        let base = Instant::now();
        let kept_longer = if plant == Some(Plant::KeepsSeats) { 900_000 } else { 0 };
        let post = |number: u8| Post {
            host: Host::new(number, base, seed, |config| {
                config.seat_window = Duration::from_micros(plan.seat_window + kept_longer);
                config.over_budget = over_budget;
            }),
            armed: None,
            busy_until: 0,
            stalled_until: 0,
            idle: (0, 0),
            bounds_at: 0,
            turns: 0,
        };
        World {
            guests,
            base,
            posts: (0..2).map(post).collect(),
            players: (0..plan.cast.len()).map(|_| None).collect(),
            plan,
            plant,
            scheduler: Scheduler::default(),
            trace: Trace::keeping(lines),
            checks: Checks::of(Condition::ALL),
            stages: Vec::new(),
            node: Node::default(),
            ledgers: BTreeMap::new(),
            newest: BTreeMap::new(),
            expected: BTreeMap::new(),
            started: 0,
            told_replaced: BTreeSet::new(),
            held_back: None,
            finale: None,
            past: None,
            random: random.fork(2),
        }
    }

    /// The run from its beginning to its end.
    pub(super) fn run(mut self) -> Outcome {
        self.begin();
        while self.checks.violation().is_none() {
            let end = self.finale.map_or(END, |at| at + FAREWELL);
            let Some(happening) = self.scheduler.pop_before(end) else { break };
            self.happen(happening);
        }
        if self.checks.violation().is_none() {
            self.look_back();
        }
        let now = self.scheduler.now();
        if let Some(violation) = self.checks.violation() {
            self.trace.say(now, "VIOLATION", format_args!("{:?}: {}", violation.condition, violation.seen));
        }
        Outcome { checks: self.checks, trace: self.trace, ended: now }
    }

    fn begin(&mut self) {
        for game in Game::ALL {
            self.create(game);
        }
        for (player, cast) in self.plan.cast.iter().enumerate() {
            self.scheduler.at(cast.begins, Happening::Begin(player));
        }
        for (at, deed) in self.plan.deeds.clone() {
            self.scheduler.at(at, Happening::Deed(deed));
        }
        self.scheduler.at(PEACE, Happening::Peace);
    }

    fn create(&mut self, game: Game) {
        let (name, key) = game.names();
        let id: SessionId = format!("{name}/{key}@{:016x}", self.random.next() | 1).parse().expect("a session's id");
        let mut seed = [0; 32];
        seed.iter_mut().for_each(|byte| *byte = self.random.next() as u8);
        let module = self.guests.module(game).clone();
        let tick_rate = module.description().tick_rate;
        let create = Create {
            session: id.clone(),
            module,
            config: Bytes::new(),
            seed,
            epoch: Epoch { number: 1, node: 1, node_generation: 1 },
            record: true,
        };
        let watch = Watch::new(0, tick_rate, self.plan.seat_window);
        self.stages.push(Stage { id: id.clone(), game, watch, is_over: false });
        self.node.places.insert(id, 0);
        self.scheduler.at(0, Happening::Say(0, Box::new(Command::Create(Box::new(create)))));
    }

    fn now(&self) -> Instant {
        self.base + Duration::from_micros(self.scheduler.now())
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::AtWorker(worker, packet) => {
                if self.posts[worker].host.arrive(packet) {
                    self.arm_turn(worker, self.scheduler.now());
                }
            }
            Happening::AtPlayer(player, address, (from, bytes)) => self.packet_for(player, address, from, &bytes),
            Happening::Turn(worker) => self.turn_due(worker),
            Happening::Wake(player) => {
                let now = self.scheduler.now();
                if let Some(process) = self.players[player].as_mut().filter(|process| process.armed == Some(now)) {
                    process.armed = None;
                    self.drive(player);
                }
            }
            Happening::Act(player, started) => self.act(player, started),
            Happening::Begin(player) => self.start(player),
            Happening::Deed(deed) => self.deed(deed),
            Happening::Say(worker, command) => {
                self.posts[worker].host.tell(*command);
                self.arm_turn(worker, self.scheduler.now());
            }
            Happening::Peace => self.peace(),
            Happening::Finale => self.finale(),
        }
    }

    // --- Workers ---

    fn arm_turn(&mut self, worker: usize, at: Micros) {
        let post = &mut self.posts[worker];
        let at = at.max(post.busy_until).max(post.stalled_until);
        if post.armed.is_none_or(|armed| at < armed) {
            post.armed = Some(at);
            self.scheduler.at(at, Happening::Turn(worker));
        }
    }

    fn turn_due(&mut self, worker: usize) {
        let now = self.scheduler.now();
        let post = &mut self.posts[worker];
        if post.armed != Some(now) {
            return;
        }
        post.armed = None;
        if now < post.stalled_until {
            self.arm_turn(worker, now);
            return;
        }
        post.turns += 1;
        let mut done = post.host.turn(now);
        post.busy_until = done.ended;
        if self.plant == Some(Plant::Oversleeps) && post.turns.is_multiple_of(40) {
            done.next += 70_000;
        }
        if self.plant == Some(Plant::Spins) && now > 5_000_000 {
            done.next = done.ended;
        }
        self.after_turn(worker, done);
    }

    fn after_turn(&mut self, worker: usize, done: Done) {
        let from = self.posts[worker].host.address;
        for (to, bytes) in done.sent {
            self.send_down(done.ended, from, to, bytes);
        }
        let stalled_until = self.posts[worker].stalled_until;
        let seen = TurnSeen { begun: done.begun, ended: done.ended, complete: done.complete, stalled_until };
        for event in done.events {
            self.node_hears(worker, seen, event);
        }
        self.look_at_bounds(worker, done.begun);
        let rebuilds = self.look_at_sessions(worker, seen);
        self.look_at_sleep(worker, done.begun, done.was_busy || rebuilds);
        self.arm_turn(worker, done.next);
    }

    fn look_at_sleep(&mut self, worker: usize, begun: Micros, was_busy: bool) {
        let idle = &mut self.posts[worker].idle;
        if was_busy || begun > idle.0 + IDLE_WINDOW {
            *idle = (begun, 0);
        }
        idle.1 += u32::from(!was_busy);
        let turns = idle.1;
        self.checks.check(Condition::Sleeps, turns <= IDLE_TURNS, || {
            format!("worker {worker} took {turns} turns without a reason within {IDLE_WINDOW} µs")
        });
    }

    fn look_at_bounds(&mut self, worker: usize, begun: Micros) {
        let post = &mut self.posts[worker];
        if begun < post.bounds_at {
            return;
        }
        post.bounds_at = begun + BOUNDS_EVERY;
        let held = post.host.worker.held();
        let frame_bytes = (64 << 10) + limits::SERVER_FRAME_BYTES;
        let within = held.events <= EVENTS
            && held.resolving <= limits::UNATTACHED
            && held.unattached <= limits::UNATTACHED
            && held.waiting + held.resolving <= held.connections
            && held.departed <= self.stages.len()
            && held.frame_bytes <= frame_bytes
            && held.datagram_bytes <= ringside_worker::transport::DATAGRAM_SEND_BYTES;
        self.checks.check(Condition::Bounded, within, || format!("worker {worker} holds {held:?}"));
    }

    /// Looks at the sessions of a worker; answers whether one is paused for a rebuild.
    fn look_at_sessions(&mut self, worker: usize, seen: TurnSeen) -> bool {
        let mut rebuilds = false;
        for stage in 0..self.stages.len() {
            let id = &self.stages[stage].id;
            if self.node.places.get(id) != Some(&worker) {
                continue;
            }
            let Some(mut report) = self.posts[worker].host.show(seen.ended, id) else { continue };
            if self.plant == Some(Plant::ReportsThePast) && self.stages[stage].game == Game::Arena {
                match report.tick % 7 {
                    0 => self.past = Some(report.clone()),
                    3 => report = self.past.clone().unwrap_or(report),
                    _ => {}
                }
            }
            rebuilds |= report.paused;
            self.stages[stage].watch.look(report, seen, &mut self.checks);
        }
        rebuilds
    }

    // --- The network ---

    fn send_down(&mut self, at: Micros, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let owner = self.players.iter().position(|player| player.as_ref().is_some_and(|player| player.address == to));
        let Some(player) = owner else { return };
        let Some(process) = self.players[player].as_mut() else { return };
        for arrival in process.path.fate(at) {
            self.scheduler.at(arrival, Happening::AtPlayer(player, to, (from, bytes.clone())));
        }
    }

    fn send_up(&mut self, player: usize, packets: Vec<Packet>) {
        let now = self.scheduler.now();
        let Some(process) = self.players[player].as_mut() else { return };
        for (to, bytes) in packets {
            let Some(worker) = self.posts.iter().position(|post| post.host.address == to) else { continue };
            for arrival in process.path.fate(now) {
                let packet = (process.address, bytes.clone());
                self.scheduler.at(arrival, Happening::AtWorker(worker, packet));
            }
        }
    }

    fn packet_for(&mut self, player: usize, address: SocketAddr, from: SocketAddr, bytes: &[u8]) {
        let now = self.now();
        let mut sent = Vec::new();
        match self.players[player].as_mut().filter(|process| process.address == address) {
            Some(process) => process.handle_packet(now, from, bytes, &mut sent),
            None => return,
        }
        self.send_up(player, sent);
        self.drive(player);
    }

    // --- Players ---

    fn start(&mut self, player: usize) {
        let cast = self.plan.cast[player].clone();
        self.started += 1;
        let started = self.started;
        let at_peace = self.scheduler.now() >= PEACE;
        let quality = if at_peace { Quality { delay: cast.quality.delay, ..Quality::CALM } } else { cast.quality };
        let start = Start {
            address: SocketAddr::from(([10, 1, 0, player as u8 + 1], 10_000 + started as u16)),
            path: Path::new(quality, self.random.fork(1000 + started)),
            door: self.posts[cast.door].host.address,
            name: cast.name,
            game: cast.game,
            pace: cast.pace,
            started,
        };
        self.say(player, format_args!("process {started} begins"));
        self.players[player] = Some(Player::start(start, self.now(), &self.random));
        self.scheduler.after(cast.pace, Happening::Act(player, started));
        self.drive(player);
    }

    /// Lets a process do all that is to be done, and plans when it is looked at next.
    fn drive(&mut self, player: usize) {
        let now = self.now();
        loop {
            let (mut sent, mut events) = (Vec::new(), Vec::new());
            let Some(process) = self.players[player].as_mut() else { return };
            process.drive(now, &mut sent, &mut events);
            self.send_up(player, sent);
            if events.is_empty() {
                break;
            }
            for event in events {
                self.player_hears(player, event);
            }
        }
        let Some(process) = self.players[player].as_mut() else { return };
        if let Some(wake) = process.next_wake() {
            let at = (wake.saturating_duration_since(self.base).as_nanos().div_ceil(1000) as Micros)
                .max(self.scheduler.now() + 1);
            if process.armed.is_none_or(|armed| at < armed) {
                process.armed = Some(at);
                self.scheduler.at(at, Happening::Wake(player));
            }
        }
    }

    fn player_hears(&mut self, player: usize, event: ClientEvent) {
        let Some(process) = self.players[player].as_mut() else { return };
        let (name, game) = (process.name.clone(), process.game);
        match event {
            ClientEvent::Attached(attachment) => {
                let fresh = !std::mem::replace(&mut process.was_attached, true);
                let (joined, last_input) = (attachment.joined, attachment.last_input);
                let slot = attachment.slot;
                self.newest.insert(name.clone(), player);
                let ledger = self.ledgers.entry(name).or_default();
                match (joined, fresh) {
                    (true, _) if last_input == 0 => ledger.begin(),
                    // Another process of the player joined in between.
                    (true, _) | (false, true) => ledger.go_on_after(last_input),
                    (false, false) => {}
                }
                let (replied, said) = (ledger.replied(), ledger.said());
                self.say(player, format_args!("is attached, {slot:?}, joined {joined}, {last_input} messages before"));
                if game == Game::Echo {
                    self.checks.check(Condition::ExactlyOnce, (replied..=said).contains(&last_input), || {
                        format!("the session has {last_input} messages; {said} were said, {replied} answered")
                    });
                }
                if self.plant == Some(Plant::DoublesAfterResume)
                    && !fresh
                    && !joined
                    && game == Game::Echo
                    && let Some(process) = self.players[player].as_mut()
                {
                    let _ = process.core.send(Bytes::from_static(&[2, b'x', b'x']));
                }
            }
            ClientEvent::View(view) => {
                let stage = self.stages.iter().find(|stage| stage.game == game);
                let newest = stage.map_or(u64::MAX, |stage| stage.watch.tick());
                let shown = std::mem::replace(&mut process.shown, view.tick);
                let mut tick = view.tick;
                if self.plant == Some(Plant::ShowsOldView) && view.tick % 97 == 0 {
                    tick = tick.saturating_sub(30);
                }
                let telling = match game {
                    Game::Citizens => {
                        ringside_guest::decode::<bad_citizens::View>(&view.body).map(|view| view.tick).ok()
                    }
                    Game::Arena => ringside_guest::decode::<arena::View>(&view.body).map(|_| tick).ok(),
                    _ => Some(tick),
                };
                let shows = telling.is_some_and(|shown| shown == tick || game != Game::Citizens || shown <= tick);
                self.checks.check(Condition::ViewsGrow, tick >= shown && tick <= newest && shows, || {
                    format!("{name} is shown tick {tick} ({telling:?}) after {shown}; the session is at {newest}")
                });
                self.say(player, format_args!("sees tick {tick}, {} bytes", view.body.len()));
            }
            ClientEvent::Message { number, body } => {
                let is_first = !std::mem::replace(&mut process.has_heard, true);
                if game == Game::Echo {
                    self.reply(player, &name, number, &body, is_first);
                }
                self.say(player, format_args!("hears message {number}, {} bytes", body.len()));
            }
            ClientEvent::Rejected { number, cause } => {
                let expected = self.expected.get(&(player, number)).copied();
                self.checks.check(Condition::Rejections, expected == Some(cause), || {
                    format!("{name}: message {number} was rejected ({cause:?}), expected was {expected:?}")
                });
                self.say(player, format_args!("message {number} is rejected: {cause:?}"));
            }
            ClientEvent::Detached { reason, message } => {
                if reason == Reason::Replaced {
                    self.replaced(player, &name);
                }
                self.say(player, format_args!("is out: {reason:?} {message}"));
            }
            ClientEvent::Failed { reason, message } => {
                self.say(player, format_args!("gives up: {reason:?} {message}"));
            }
            other => self.say(player, format_args!("hears {other:?}")),
        }
    }

    fn reply(&mut self, player: usize, name: &str, number: u64, body: &[u8], is_first: bool) {
        // A process that was replaced may still hear what was sent to it before.
        if self.newest.get(name) != Some(&player) {
            return;
        }
        match self.plant.filter(|_| number % 50 == 17 && !is_first) {
            Some(Plant::LosesReply) => return,
            Some(Plant::SwapsReplies) => {
                self.held_back = Some((number, body.to_vec()));
                return;
            }
            Some(Plant::DoublesReply) => self.hears_reply(name, number, body, is_first),
            _ => {}
        }
        self.hears_reply(name, number, body, is_first);
        if let Some((number, body)) = self.held_back.take() {
            self.hears_reply(name, number, &body, false);
        }
    }

    fn hears_reply(&mut self, name: &str, number: u64, body: &[u8], is_first: bool) {
        let fits = self.ledgers.entry(name.to_owned()).or_default().hear(number, body, is_first);
        self.checks
            .check(Condition::ExactlyOnce, fits.is_ok(), || format!("{name}: {}", fits.err().unwrap_or_default()));
    }

    /// A process is told that a newer connection of its player took over: another process of that player is there to
    /// have made it, and whoever was told this has stopped.
    fn replaced(&mut self, player: usize, name: &str) {
        let mine = self.players[player].as_ref().map_or(0, |process| process.started);
        let others = (self.players.iter().enumerate()).filter(|&(other, _)| other != player);
        let another = others.flat_map(|(_, process)| process).any(|other| other.name == name && !other.core.is_done());
        let once = self.told_replaced.insert(mine);
        self.checks.check(Condition::NewestWins, another && once, || {
            format!("{name}: process {mine} was told of a newer one; there is another: {another}, told once: {once}")
        });
        if self.plant == Some(Plant::StaysWhenReplaced)
            && let Some(process) = self.players[player].take()
        {
            let mut start = self.plan.cast[player].clone();
            start.name = process.name;
            self.started -= 1;
            let newer = self.started;
            self.plan.cast[player] = start;
            self.start(player);
            self.started = newer + 1;
            if let Some(again) = self.players[player].as_mut() {
                again.started = mine;
            }
        }
    }

    fn act(&mut self, player: usize, started: u64) {
        let at_the_end = self.finale.is_some();
        let Some(process) = self.players[player].as_mut() else { return };
        if process.started != started || process.core.is_done() || at_the_end {
            return;
        }
        let pace = process.pace / 2 + process.random.below(process.pace + 1);
        self.scheduler.after(pace, Happening::Act(player, started));
        // Everybody is silent for a while before the end, so that everything can be answered.
        if self.scheduler.now() > PEACE + 4_000_000 && process.game != Game::Arena {
            return;
        }
        match process.game {
            Game::Echo => self.speak(player, 1),
            Game::Arena => {
                let turn = process.random.next();
                let input = arena::Input {
                    go: (turn as i8, (turn >> 8) as i8),
                    aim: ((turn >> 16) as i8, (turn >> 24) as i8),
                    fire: turn & 1 == 0,
                };
                let _ = process.core.send_datagram(&ringside_guest::encode(&input));
            }
            Game::Pong => {
                let _ = process.core.send_datagram(&[(process.random.next() % 3) as u8]);
            }
            Game::Citizens => self.command(player, &bad_citizens::Command::Behave, None),
        }
        self.drive(player);
    }

    /// Says some things to the echo.
    fn speak(&mut self, player: usize, messages: u64) {
        for _ in 0..messages {
            let Some(process) = self.players[player].as_mut() else { return };
            if !process.core.is_attached() || process.core.is_done() {
                return;
            }
            let name = process.name.clone();
            if self.newest.get(&name) != Some(&player) {
                return;
            }
            let length = process.random.below(300) as usize;
            let said = process.random.bytes(length);
            let body = Bytes::from(ringside_guest::encode(&ringside_guest::Bytes(said.clone())));
            let loses = self.plant == Some(Plant::LosesMessage) && process.random.happens(0.01);
            let number = match loses {
                true => Ok(self.ledgers.get(&name).map_or(1, |ledger| ledger.said() + 1)),
                false => process.core.send(body),
            };
            let Ok(number) = number else { return };
            let taken = self.ledgers.entry(name).or_default().say(number, Bytes::from(said));
            self.checks.check(Condition::ExactlyOnce, taken.is_ok(), || taken.err().unwrap_or_default());
            self.say(player, format_args!("says {number}, {length} bytes"));
        }
    }

    /// Tells the bad citizens something.
    fn command(&mut self, player: usize, command: &bad_citizens::Command, fails: Option<Reason>) {
        let Some(process) = self.players[player].as_mut() else { return };
        if !process.core.is_attached() {
            return;
        }
        if let Ok(number) = process.core.send(ringside_guest::encode(command).into()) {
            match fails {
                Some(reason) => self.expected.insert((player, number), reason),
                None => self.expected.remove(&(player, number)),
            };
            self.say(player, format_args!("tells {number}: {command:?}"));
        }
    }

    // --- Deeds ---

    fn deed(&mut self, deed: Deed) {
        let now = self.scheduler.now();
        self.trace.say(now, "deed", format_args!("{deed:?}"));
        match deed {
            Deed::Cut { player, length } => {
                if let Some(process) = self.players[player].as_mut() {
                    process.path.cut(now + length);
                }
            }
            Deed::Crash { player, down } => {
                let is_here = self.players[player].as_ref().is_some_and(|process| !process.is_gone);
                if is_here && !self.players[player].as_ref().is_some_and(|process| process.core.is_done()) {
                    self.players[player] = None;
                    self.scheduler.after(down, Happening::Begin(player));
                }
            }
            Deed::Vanish { player, closes } => {
                if let Some(process) = self.players[player].as_mut() {
                    process.is_gone = true;
                    if closes {
                        process.core.close();
                    } else {
                        process.path.cut(END);
                    }
                    self.drive(player);
                }
            }
            Deed::Twin { player } => {
                let cast = Cast { quality: Quality::CALM, ..self.plan.cast[player].clone() };
                self.plan.cast.push(cast);
                self.players.push(None);
                self.start(self.players.len() - 1);
            }
            Deed::Reconnect { player } => {
                let at = self.now();
                if let Some(process) = self.players[player].as_mut() {
                    process.core.reconnect(at);
                    self.drive(player);
                }
            }
            Deed::Leave { player } => {
                let at = self.now();
                if let Some(process) = self.players[player].as_mut() {
                    process.is_gone = true;
                    process.core.leave(at);
                    self.drive(player);
                }
            }
            Deed::Burst { player, messages } => self.burst(player, messages),
            Deed::Stall { worker, length } => {
                let post = &mut self.posts[worker];
                post.stalled_until = post.stalled_until.max(now + length);
            }
            Deed::Misdeed { player, kind } => self.misdeed(player, kind),
            Deed::Overwork { player } => self.overwork(player),
        }
    }

    fn burst(&mut self, player: usize, messages: u64) {
        let Some(process) = self.players[player].as_mut() else { return };
        match process.game {
            Game::Echo => self.speak(player, messages),
            Game::Citizens => {
                let flood = bad_citizens::Command::FloodMessages(40, 2000);
                self.command(player, &flood, None);
            }
            Game::Arena | Game::Pong => {
                for _ in 0..messages {
                    let _ = process.core.send_datagram(&[0]);
                }
            }
        }
        self.drive(player);
    }

    fn misdeed(&mut self, player: usize, kind: u64) {
        let attached = self.players[player].as_ref().is_some_and(|process| process.core.is_attached());
        let over = self.stages.iter().any(|stage| stage.game == Game::Citizens && stage.is_over);
        if !attached {
            if !over && self.scheduler.now() < PEACE {
                self.scheduler.after(200_000, Happening::Deed(Deed::Misdeed { player, kind }));
            }
            return;
        }
        let (command, reason) = match kind {
            0 => (bad_citizens::Command::Panic, Reason::MessageTrapped),
            1 => (bad_citizens::Command::Loop, Reason::MessageRanAway),
            2 => (bad_citizens::Command::FloodMessages(5000, 10), Reason::MessageFlooded),
            _ => (bad_citizens::Command::SendThenPanic, Reason::MessageTrapped),
        };
        self.command(player, &command, Some(reason));
        self.drive(player);
    }

    fn overwork(&mut self, player: usize) {
        let citizens = self.stages.iter().find(|stage| stage.game == Game::Citizens);
        let moved = citizens.is_none_or(|stage| stage.is_over || self.node.places.get(&stage.id) == Some(&1));
        if !moved && self.scheduler.now() < END / 2 {
            self.command(player, &overwork(), None);
            self.drive(player);
            self.scheduler.after(400_000, Happening::Deed(Deed::Overwork { player }));
        }
    }

    fn peace(&mut self) {
        let now = self.scheduler.now();
        self.trace.say(now, "deed", format_args!("peace"));
        for process in self.players.iter_mut().flatten().filter(|process| !process.is_gone) {
            process.path.mend();
        }
        self.scheduler.after(1_000_000, Happening::Finale);
    }

    // --- The node ---

    fn node_hears(&mut self, worker: usize, seen: TurnSeen, event: ringside_worker::Event) {
        use ringside_worker::Event;
        let now = seen.ended;
        match event {
            Event::Created { session, result } => {
                self.trace.say(now, "node", format_args!("{session} is created: {result:?}"));
            }
            Event::Resolve { request, player, target, .. } => {
                let answer = self.node.resolve(&target, |worker| self.posts[worker].host.address);
                self.trace.say(now, "node", format_args!("{player} asks for {target:?}: {answer:?}"));
                // One answer in ten never comes, until peace.
                let lost = self.random.happens(0.1) && now < PEACE;
                if lost || self.plant == Some(Plant::NeverResolves) {
                    return;
                }
                let delay = self.random.below(20_000);
                self.say_later(now + delay, worker, Command::Resolved { request, answer });
            }
            Event::Overran(moved) => self.overran(worker, seen, moved),
            Event::Recorded { session, frames, from } => {
                self.trace.say(now, "node", format_args!("{session} recorded {} bytes from {from}", frames.len()));
                let loses = self.plant == Some(Plant::LosesRecording) && from > 1;
                let pieces = self.node.recorded.entry(session).or_default();
                if !loses {
                    pieces.extend_from_slice(&frames);
                }
            }
            Event::Joined { session, player } => {
                self.trace.say(now, "node", format_args!("{player} joined {session}"));
            }
            Event::Left { session, player } => self.left(now, &session, &player, seen),
            Event::Refused { session, player } => {
                self.trace.say(now, "node", format_args!("{player} was refused by {session}"));
            }
            Event::Ended { session, reason, .. } => {
                self.trace.say(now, "node", format_args!("{session} ended: {reason}"));
                self.node.places.remove(&session);
                for stage in self.stages.iter_mut().filter(|stage| stage.id == session) {
                    stage.is_over = true;
                }
            }
            Event::GuestFault { session, position, message } => {
                self.trace.say(now, "node", format_args!("{session} failed at {position}: {message}"));
            }
            Event::Flushed(flushed) => flushed.done(),
            Event::GuestLog { .. } | Event::GuestEvent { .. } | Event::Signal { .. } => {}
        }
    }

    fn left(&mut self, now: Micros, session: &SessionId, player: &PlayerId, seen: TurnSeen) {
        self.trace.say(now, "node", format_args!("{player} left {session}"));
        for stage in self.stages.iter_mut().filter(|stage| stage.id == *session) {
            stage.watch.left(player, seen, &mut self.checks);
        }
    }

    fn overran(&mut self, worker: usize, seen: TurnSeen, moved: Box<ringside_worker::MovedSession>) {
        let id = moved.id().clone();
        self.trace.say(seen.ended, "node", format_args!("{id} overran its budget too often"));
        let game = self.stages.iter().find(|stage| stage.id == id).map(|stage| stage.game);
        self.checks.check(Condition::Moves, worker == 0 && game == Some(Game::Citizens), || {
            format!("{id} was given away by worker {worker}")
        });
        self.node.places.insert(id.clone(), 1);
        for stage in self.stages.iter_mut().filter(|stage| stage.id == id) {
            stage.watch.moved(seen);
        }
        if self.plant == Some(Plant::LosesMovedSession) {
            return;
        }
        let delay = self.random.below(5_000);
        let place = self.node.place(&id, 1, self.posts[1].host.address);
        self.say_later(seen.ended + delay, 1, Command::Adopt(moved));
        let later = delay + 1 + self.random.below(10_000);
        self.say_later(seen.ended + later, worker, Command::Departed(place));
    }

    fn say_later(&mut self, at: Micros, worker: usize, command: Command) {
        self.scheduler.at(at, Happening::Say(worker, Box::new(command)));
    }

    // --- The end ---

    /// Waits until everybody plays, then ends the sessions.
    fn finale(&mut self) {
        let now = self.scheduler.now();
        let window = self.plan.seat_window + 11_000_000;
        let unsettled = self.unsettled();
        let seats_done = now > PEACE + window;
        if (unsettled.is_some() || !seats_done) && now < END - FAREWELL {
            self.scheduler.after(500_000, Happening::Finale);
            return;
        }
        self.checks.check(Condition::EverybodyPlays, unsettled.is_none(), || unsettled.unwrap_or_default());
        self.look_at_twins();
        self.trace.say(now, "deed", format_args!("the sessions end"));
        self.finale = Some(now);
        for stage in 0..self.stages.len() {
            let id = self.stages[stage].id.clone();
            let Some(&worker) = self.node.places.get(&id) else { continue };
            let command = Command::End { session: id, reason: "enough".into(), reply: Box::new(|_| ()) };
            self.say_later(now, worker, command);
        }
    }

    /// Somebody who should play and does not, or who waits for an answer.
    fn unsettled(&self) -> Option<String> {
        for (player, process) in self.players.iter().enumerate() {
            let name = &self.plan.cast[player].name;
            let Some(process) = process else { return Some(format!("{name} has not come back")) };
            let over = self.stages.iter().any(|stage| stage.game == process.game && stage.is_over);
            let replaced = self.newest.get(name).is_some_and(|&newest| newest != player);
            if process.is_gone || over || replaced {
                continue;
            }
            let unanswered = self.ledgers.get(name).map_or(0, |ledger| ledger.said() - ledger.replied());
            let waits = process.core.unacknowledged();
            let unanswered = if process.game == Game::Echo { unanswered } else { 0 };
            if !process.core.is_attached() || waits > 0 || unanswered > 0 {
                let attached = process.core.is_attached();
                return Some(format!("{name}: attached {attached}, {waits} unacknowledged, {unanswered} unanswered"));
            }
        }
        None
    }

    fn look_at_twins(&mut self) {
        for (name, &newest) in &self.newest {
            let attached = (0..self.players.len()).filter(|&player| {
                self.players[player].as_ref().is_some_and(|other| other.name == *name && other.core.is_attached())
            });
            let attached: Vec<usize> = attached.collect();
            let alone = attached.iter().all(|&player| player == newest);
            self.checks.check(Condition::NewestWins, alone, || format!("{name}: {attached:?} are attached"));
        }
    }

    /// What can be told only afterwards.
    fn look_back(&mut self) {
        let finale = self.finale.is_some();
        self.checks.check(Condition::EverybodyPlays, finale, || "the run did not come to its end");
        for stage in 0..self.stages.len() {
            let (id, game, is_over) =
                (self.stages[stage].id.clone(), self.stages[stage].game, self.stages[stage].is_over);
            self.checks.check(Condition::EverybodyPlays, is_over, || format!("{id} did not end"));
            let mut bytes = self.node.recorded.remove(&id).unwrap_or_default();
            if self.plant == Some(Plant::SpoilsRecording) {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
            self.replay(&id, game, &bytes);
        }
    }

    fn replay(&mut self, id: &SessionId, game: Game, bytes: &[u8]) {
        let now = self.scheduler.now();
        let seen = match ringside_sandbox::replay_recording(self.guests.module(game), bytes) {
            Ok(report) if report.agrees() && report.incomplete.is_none() && !report.checkpoints.is_empty() => {
                let line = format_args!("{id}: {} records fold to {}", report.records, report.last);
                self.trace.say(now, "replay", line);
                None
            }
            Ok(report) => Some(format!("{id}: {report:?}")),
            Err(error) => Some(format!("{id}: {error}")),
        };
        self.checks.check(Condition::Replays, seen.is_none(), || seen.unwrap_or_default());
    }

    fn say(&mut self, player: usize, what: std::fmt::Arguments<'_>) {
        let (now, name) = (self.scheduler.now(), &self.plan.cast[player].name);
        let started = self.players[player].as_ref().map_or(0, |process| process.started);
        self.trace.say(now, name, format_args!("[{started}] {what}"));
    }
}

/// The command that stands for a call over its budget.
fn overwork() -> bad_citizens::Command {
    bad_citizens::Command::Compute(424_242)
}

/// Calls are over their budget by what they were told, not by what they took.
fn over_budget(input: &Input, _: &CallCost) -> bool {
    let Input::Message { body, .. } = input else { return false };
    body.len() < 8 && *body == ringside_guest::encode(&overwork())
}

const _: () = assert!(guest_limits::BUDGET_WINDOW_US >= 3 * 400_000, "three computations fit the window");
