//! Acknowledgements of a ticking session's packets ride on views, and nobody pays for it: a client's round trip is
//! that of its path, and what is lost is sent again as soon as its protocol allows. A real worker, real QUIC, virtual
//! time, one player of the arena.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ringside_client::core::Event;
use ringside_core::ids::{Epoch, SessionId};
use ringside_simulation::scheduler::Micros;
use ringside_simulation::worker::Guests;
use ringside_simulation::worker::host::Host;
use ringside_simulation::worker::node::Node;
use ringside_simulation::worker::path::{Path, Quality};
use ringside_simulation::worker::player::{Game, Player, Start};
use ringside_test_support::random::Random;
use ringside_worker::{Command, Create};

/// One way, µs.
const DELAY: Micros = 4_000;
/// Between two inputs and two views, µs.
const INTERVAL: Micros = 50_000;

/// A match of one, a step of a millisecond at a time.
struct Match {
    host: Host,
    player: Player,
    down: Vec<(Micros, Vec<u8>)>,
    up: Vec<(Micros, Vec<u8>)>,
    now: Micros,
    due: Micros,
    base: Instant,
    /// Within an interval, when the player sends an input; none sends nothing.
    phase: Option<Micros>,
    /// Whether packets of the player are lost.
    lossy: bool,
    packets_down: u64,
    packets_up: u64,
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
        let start = Start {
            name: "player".to_owned(),
            game: Game::Arena,
            address: ([10, 1, 0, 1], 10_000).into(),
            path: Path::new(Quality::CALM, random.fork(0)),
            door: host.address,
            started: 1,
            pace: INTERVAL,
        };
        let player = Player::start(start, base, &random);
        let mut node = Node::default();
        node.places.insert(id, 0);
        let mut game = Match {
            host,
            player,
            down: vec![],
            up: vec![],
            now: 0,
            due: 0,
            base,
            phase: None,
            lossy: false,
            packets_down: 0,
            packets_up: 0,
            views: 0,
        };
        for _ in 0..3_000 {
            for event in game.step() {
                if let ringside_worker::Event::Resolve { request, target, .. } = event {
                    let answer = node.resolve(&target, |_| game.host.address);
                    game.host.tell(Command::Resolved { request, answer });
                    game.due = game.now;
                }
            }
        }
        assert!(game.player.core.is_attached());
        game
    }

    /// A millisecond: packets arrive, the player acts, the worker takes its turn if one is due.
    fn step(&mut self) -> Vec<ringside_worker::Event> {
        self.now += 1_000;
        let (now, at) = (self.now, self.base + Duration::from_micros(self.now));
        let (mut sent, mut events) = (Vec::new(), Vec::new());
        for (_, bytes) in self.down.extract_if(.., |(arrival, _)| *arrival <= now) {
            self.player.handle_packet(at, self.host.address, &bytes, &mut sent);
        }
        if self.phase == Some(now % INTERVAL) {
            let input = arena::Input { go: (1, -1), aim: (1, 0), fire: false };
            self.player.core.send_datagram(&ringside_guest::encode(&input)).expect("there is room for an input");
        }
        self.player.drive(at, &mut sent, &mut events);
        self.views += events.iter().filter(|event| matches!(event, Event::View(_))).count() as u64;
        self.packets_up += sent.len() as u64;
        if !self.lossy {
            self.up.extend(sent.into_iter().map(|(_, bytes)| (now + DELAY, bytes)));
        }
        for (_, bytes) in self.up.extract_if(.., |(arrival, _)| *arrival <= now) {
            if self.host.arrive((self.player.address, bytes)) {
                self.due = now;
            }
        }
        if self.due > now {
            return Vec::new();
        }
        let done = self.host.turn(now);
        self.due = done.next;
        self.packets_down += done.sent.len() as u64;
        self.down.extend(done.sent.into_iter().map(|(_, bytes)| (now + DELAY, bytes)));
        done.events
    }

    fn pass(&mut self, milliseconds: u64) {
        (0..milliseconds).for_each(|_| drop(self.step()));
    }

    /// Sends a message whose packet is lost; answers how long it took until it was acknowledged all the same, µs.
    fn lose_a_message(&mut self) -> Micros {
        assert_eq!(self.player.core.unacknowledged(), 0);
        let sent = self.now;
        self.player.core.send(Bytes::from_static(b"?")).expect("there is room for a message");
        self.lossy = true;
        self.pass(1);
        self.lossy = false;
        while self.player.core.unacknowledged() > 0 {
            self.pass(1);
            assert!(self.now < sent + 2_000_000, "the message is never sent again");
        }
        self.now - sent
    }
}

#[test]
fn an_input_costs_no_packet_of_acknowledgement_whenever_it_comes() {
    let guests = Guests::load();
    let mut game = Match::start(&guests);
    for phase in (0..INTERVAL).step_by(7_000) {
        game.phase = Some(phase);
        game.pass(1_000);
        let (packets, views) = (game.packets_down, game.views);
        game.pass(10_000);
        let (packets, views) = (game.packets_down - packets, game.views - views);
        assert!(views >= 195, "phase {phase}: {views} views in ten seconds");
        assert!(packets <= views + 10, "phase {phase}: {packets} packets for {views} views");
    }
}

#[test]
fn a_round_trip_is_that_of_the_path_and_nothing_is_probed_for() {
    let guests = Guests::load();
    let mut game = Match::start(&guests);
    // Never just as the worker wakes: a round trip that is the path's to the microsecond is one from which QUIC takes no
    // delay off, lest it be shorter than the shortest.
    for phase in (1_000..INTERVAL).step_by(6_000) {
        game.phase = Some(phase);
        game.pass(5_000);
        let packets = game.packets_up;
        game.pass(10_000);
        let round_trip = game.player.round_trip().expect("a connection");
        // The path's own, and what a sleeping worker adds before it looks.
        assert!(round_trip < Duration::from_micros(2 * DELAY) + Duration::from_millis(12), "{round_trip:?}");
        // An input an interval, and at most one acknowledgement of a view by itself.
        let packets = game.packets_up - packets;
        assert!(packets <= 410, "phase {phase}: {packets} packets in ten seconds");
    }
}

#[test]
fn a_lost_message_is_sent_again_as_soon_as_a_later_packet_shows_the_loss() {
    let guests = Guests::load();
    let mut game = Match::start(&guests);
    for phase in (0..INTERVAL).step_by(10_000) {
        game.phase = Some(phase);
        game.pass(5_000);
        let took = game.lose_a_message();
        // The next input, its acknowledgement, the message again and its acknowledgement, with the worker's sleeps.
        let most = INTERVAL + 4 * DELAY + 30_000;
        assert!(took <= most, "phase {phase}: {took} us");
    }
}

#[test]
fn a_lost_message_that_nothing_follows_is_probed_for() {
    let guests = Guests::load();
    let mut game = Match::start(&guests);
    game.phase = None;
    game.pass(5_000);
    let took = game.lose_a_message();
    // The delay that the worker told, some round trips, and the message again.
    assert!(took <= 56_000 + 12 * DELAY + 40_000, "{took} us");
}
