//! A run: two workers, their node, players, and the network between them on one scheduler. What happens is handed to
//! who it concerns: each has a file of its own.

mod deeds;
mod desk;
mod ending;
mod hearing;
mod network;
mod players;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringside_core::ids::{Epoch, SessionId};
use ringside_protocol::reason::Reason;
use ringside_test_support::random::Random;
use ringside_worker::{Command, Create, SessionReport};

use super::Outcome;
use super::conditions::Condition;
use super::dialer::Packet;
use super::guests::Guests;
use super::host::Host;
use super::ledger::Ledger;
use super::node::Node;
use super::plan::{Deed, END, FAREWELL, PEACE, Plan};
use super::plant::Plant;
use super::player::{Game, Player};
use super::watch::Watch;
use crate::checks::Checks;
use crate::scheduler::{Micros, Scheduler};
use crate::trace::Trace;

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

/// What a player is to be told of a message.
struct Expected {
    cause: Reason,
    /// Whether the player was told.
    told: bool,
    /// Whether the connection that it came over first is still there.
    due: bool,
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
    expected: BTreeMap<(usize, u64), Expected>,
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
                config.cost_of = match plant {
                    Some(Plant::BlamesAnotherSession) => deeds::cost_of_another,
                    _ => deeds::cost_of,
                };
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
            followers: 0,
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

    fn say_later(&mut self, at: Micros, worker: usize, command: Command) {
        self.scheduler.at(at, Happening::Say(worker, Box::new(command)));
    }

    fn say(&mut self, player: usize, what: std::fmt::Arguments<'_>) {
        let (now, name) = (self.scheduler.now(), &self.plan.cast[player].name);
        let started = self.players[player].as_ref().map_or(0, |process| process.started);
        self.trace.say(now, name, format_args!("[{started}] {what}"));
    }
}
