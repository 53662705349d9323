//! No allocation in Ringside's own code in a steady turn: a real worker, an arena of eight, real QUIC in virtual time.
//!
//! Every allocation of the worker's turns is attributed by its call stack: to the innermost function that is of a host
//! crate or of a library that it called (QUIC, the engine). What the simulated socket copies is counted beside.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringside_client::core::Event;
use ringside_core::ids::{Epoch, SessionId};
use ringside_simulation::scheduler::Micros;
use ringside_simulation::worker::Guests;
use ringside_simulation::worker::host::{Done, Host};
use ringside_simulation::worker::node::Node;
use ringside_simulation::worker::path::{Path, Quality};
use ringside_simulation::worker::player::{Game, Player, Start};
use ringside_test_support::random::Random;
use ringside_worker::{Command, Create};

struct Attributing;

thread_local! {
    static ARMED: Cell<bool> = const { Cell::new(false) };
    static STACKS: RefCell<Vec<Backtrace>> = const { RefCell::new(Vec::new()) };
}

/// Notes the call stack, without noting what that allocates itself.
fn note() {
    if ARMED.replace(false) {
        let stack = Backtrace::force_capture();
        STACKS.with_borrow_mut(|stacks| stacks.push(stack));
        ARMED.set(true);
    }
}

// SAFETY: everything is the system allocator's; what noting allocates is not noted.
unsafe impl GlobalAlloc for Attributing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: as the caller promises.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Attributing = Attributing;

/// Whose an allocation is: the innermost function that is Ringside's or a known library's.
fn owner(stack: &Backtrace) -> (bool, String) {
    let text = stack.to_string();
    // A frame is a line "  12: path::to::function".
    let frames = text.lines().filter_map(|line| line.trim().split_once(": ").map(|(_, name)| name));
    const OURS: [&str; 4] = ["ringside_worker", "ringside_sandbox", "ringside_core", "ringside_protocol"];
    const LIBRARIES: [&str; 6] = ["quinn_proto", "quinn_plaintext", "wasmtime", "rustls", "ring::", "tracing"];
    for frame in frames.filter(|frame| !frame.contains("allocations::")) {
        if frame.contains("ringside_simulation") {
            return (false, "the simulated socket".to_owned());
        }
        if OURS.iter().any(|ours| frame.contains(ours)) {
            return (true, frame.to_owned());
        }
        if LIBRARIES.iter().any(|library| frame.contains(library)) {
            return (false, frame.to_owned());
        }
    }
    (false, "the test's surroundings".to_owned())
}

/// A match in virtual time, a step of a millisecond at a time.
struct Match {
    host: Host,
    players: Vec<Player>,
    down: Vec<(Micros, usize, Vec<u8>)>,
    up: Vec<(Micros, usize, Vec<u8>)>,
    now: Micros,
    due: Micros,
    base: Instant,
    views: u64,
}

impl Match {
    fn start(guests: &Guests) -> Match {
        let base = Instant::now();
        let mut host = Host::new(0, base, 1, |_| ());
        let id: SessionId = "arena/pit@0000000000000001".parse().expect("a session's id");
        let create = Create {
            session: id.clone(),
            module: guests.module(Game::Arena).clone(),
            config: Bytes::new(),
            seed: [1; 32],
            epoch: Epoch { number: 1, node: 1, node_generation: 1 },
            record: false,
        };
        host.tell(Command::Create(Box::new(create)));
        let random = Random::new(1);
        let player = |number: u8| {
            let start = Start {
                name: format!("player-{number}"),
                game: Game::Arena,
                address: ([10, 1, 0, number + 1], 10_000).into(),
                path: Path::new(Quality::CALM, random.fork(u64::from(number))),
                door: host.address,
                started: u64::from(number) + 1,
                pace: 50_000,
            };
            Player::start(start, base, &random)
        };
        let players = (0..8).map(player).collect();
        let mut node = Node::default();
        node.places.insert(id, 0);
        let mut game = Match { host, players, down: vec![], up: vec![], now: 0, due: 0, base, views: 0 };
        // Everybody comes in; the node answers at once.
        for _ in 0..3_000 {
            let events = game.step(false);
            for event in events {
                if let ringside_worker::Event::Resolve { request, target, .. } = event {
                    let answer = node.resolve(&target, |_| game.host.address);
                    game.host.tell(Command::Resolved { request, answer });
                    game.due = game.now;
                }
            }
        }
        assert!(game.players.iter().all(|player| player.core.is_attached()));
        game
    }

    /// A millisecond: packets arrive, players act, the worker takes its turn if one is due.
    fn step(&mut self, armed: bool) -> Vec<ringside_worker::Event> {
        self.now += 1_000;
        let (now, at) = (self.now, self.base + Duration::from_micros(self.now));
        let (mut sent, mut events) = (Vec::new(), Vec::new());
        for (_, player, bytes) in self.down.extract_if(.., |(arrival, ..)| *arrival <= now) {
            self.players[player].handle_packet(at, self.host.address, &bytes, &mut sent);
        }
        for (number, player) in self.players.iter_mut().enumerate() {
            if now / 1_000 % 50 == number as u64 * 5 && player.core.is_attached() {
                let input = arena::Input { go: (1, -1), aim: (1, 0), fire: false };
                let _ = player.core.send_datagram(&ringside_guest::encode(&input));
            }
            let mut packets = Vec::new();
            player.drive(at, &mut packets, &mut events);
            self.up.extend(packets.into_iter().map(|(_, bytes)| (now + 4_000, number, bytes)));
        }
        self.views += events.iter().filter(|event| matches!(event, Event::View(_))).count() as u64;
        for (_, player, bytes) in self.up.extract_if(.., |(arrival, ..)| *arrival <= now) {
            if self.host.arrive((self.players[player].address, bytes)) {
                self.due = now;
            }
        }
        if self.due > now {
            return Vec::new();
        }
        ARMED.set(armed);
        let Done { sent, events, next, .. } = self.host.turn(now);
        ARMED.set(false);
        self.due = next;
        for (to, bytes) in sent {
            if let Some(player) = self.players.iter().position(|player| player.address == to) {
                self.down.push((now + 4_000, player, bytes));
            }
        }
        events
    }
}

#[test]
fn a_steady_turn_allocates_nothing_of_its_own() {
    let guests = Guests::load();
    let mut game = Match::start(&guests);
    // Buffers find their sizes.
    (0..20_000).for_each(|_| drop(game.step(false)));
    let views = game.views;
    (0..2_000).for_each(|_| drop(game.step(true)));
    assert!(game.views - views > 8 * 35, "the match went on: {} views", game.views - views);
    let (mut ours, mut others) = (BTreeMap::new(), BTreeMap::new());
    for stack in STACKS.take() {
        let (is_ours, name) = owner(&stack);
        *(if is_ours { &mut ours } else { &mut others }).entry(name).or_insert(0) += 1;
    }
    println!("in two seconds; others: {others:?}, ours: {ours:?}");
    assert!(others.values().sum::<i32>() > 320, "the simulated socket copies every packet, which is seen");
    assert_eq!(ours, BTreeMap::new());
    // What is ours would be found.
    ARMED.set(true);
    game.host.worker.held();
    ARMED.set(false);
    assert!(STACKS.take().iter().any(|stack| owner(stack).0));
}
