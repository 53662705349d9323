//! A match in which nothing goes wrong: a real worker with an arena, players over good lines, a millisecond at a time.
//! For tests that count what a steady match costs: packets, allocations, round trips.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ringside_client::core::Event;
use ringside_core::ids::{Epoch, SessionId};
use ringside_test_support::random::Random;
use ringside_worker::{Command, Create};

use super::guests::Guests;
use super::host::{Done, Host};
use super::node::Node;
use super::path::{Path, Quality};
use super::player::{Game, Player, Start};
use crate::scheduler::Micros;

/// What a packet takes one way at most, µs.
pub const DELAY: Micros = Quality::CALM.delay;
/// Between two inputs of a player, and two views, µs.
pub const INTERVAL: Micros = 50_000;
/// In which everybody comes in, ms.
const ENTRANCE: u64 = 3_000;
const STEP: Micros = 1_000;

/// A packet on its way: when it arrives, the player at whose end it is, its bytes.
type Flying = (Micros, usize, Vec<u8>);

/// The match.
pub struct Match {
    /// The worker and its surroundings.
    pub host: Host,
    /// Everybody, attached.
    pub players: Vec<Player>,
    /// When within an interval each player sends an input; none sends nothing.
    pub phases: Vec<Option<Micros>>,
    /// Whether packets of players are lost.
    pub lossy: bool,
    /// Packets that the worker has sent.
    pub packets_down: u64,
    /// Packets that players have sent.
    pub packets_up: u64,
    /// Views that players have seen.
    pub views: u64,
    node: Node,
    base: Instant,
    now: Micros,
    due: Micros,
    sent_down: u64,
    down: Vec<Flying>,
    up: Vec<Flying>,
}

impl Match {
    /// A match of so many players, who are all there.
    ///
    /// # Panics
    /// Where somebody is not let in.
    pub fn start(guests: &Guests, players: u8) -> Match {
        let base = Instant::now();
        let mut host = Host::new(0, base, 1, |_| ());
        let id: SessionId = "arena/pit@0000000000000001".parse().expect("a session's id");
        host.tell(Command::Create(Box::new(Create {
            session: id.clone(),
            module: guests.module(Game::Arena).clone(),
            config: Bytes::new(),
            seed: [1; 32],
            epoch: Epoch { number: 1, node: 1, node_generation: 1 },
            record: false,
            followers: 0,
        })));
        let mut node = Node::default();
        node.places.insert(id, 0);
        let random = Random::new(1);
        let start = |number: u8| Start {
            name: format!("player-{number}"),
            game: Game::Arena,
            address: ([10, 1, 0, number + 1], 10_000).into(),
            path: Path::new(Quality::CALM, random.fork(u64::from(number))),
            door: host.address,
            started: u64::from(number) + 1,
            pace: INTERVAL,
        };
        let all: Vec<Player> = (0..players).map(|number| Player::start(start(number), base, &random)).collect();
        let mut game = Match {
            host,
            phases: vec![None; all.len()],
            players: all,
            lossy: false,
            packets_down: 0,
            packets_up: 0,
            views: 0,
            node,
            base,
            now: 0,
            due: 0,
            sent_down: 0,
            down: Vec::new(),
            up: Vec::new(),
        };
        game.pass(ENTRANCE);
        assert!(game.players.iter().all(|player| player.core.is_attached()), "everybody is let in");
        game
    }

    /// The time since the match began.
    pub fn now(&self) -> Micros {
        self.now
    }

    /// So many milliseconds.
    pub fn pass(&mut self, milliseconds: u64) {
        self.pass_with(milliseconds, Host::turn);
    }

    /// So many milliseconds, with turns of the worker that are taken through `turn`.
    pub fn pass_with(&mut self, milliseconds: u64, turn: impl Fn(&mut Host, Micros) -> Done) {
        for _ in 0..milliseconds {
            self.now += STEP;
            self.step_players();
            for (_, player, bytes) in take_arrived(&mut self.up, self.now) {
                if self.host.arrive((self.players[player].address, bytes)) {
                    self.due = self.now;
                }
            }
            if self.due <= self.now {
                let done = turn(&mut self.host, self.now);
                self.after_turn(done);
            }
        }
    }

    fn step_players(&mut self) {
        let (now, at) = (self.now, self.base + Duration::from_micros(self.now));
        let mut sent: Vec<_> = self.players.iter().map(|_| Vec::new()).collect();
        for (_, player, bytes) in take_arrived(&mut self.down, now) {
            self.players[player].handle_packet(at, self.host.address, &bytes, &mut sent[player]);
        }
        for (number, player) in self.players.iter_mut().enumerate() {
            if self.phases[number] == Some(now % INTERVAL) {
                let input = arena::Input { go: (1, -1), aim: (1, 0), fire: false };
                player.core.send_datagram(&ringside_guest::encode(&input)).expect("there is room for an input");
            }
            let mut events = Vec::new();
            player.drive(at, &mut sent[number], &mut events);
            self.views += events.iter().filter(|event| matches!(event, Event::View(_))).count() as u64;
        }
        for (player, sent) in sent.into_iter().enumerate() {
            self.packets_up += sent.len() as u64;
            if !self.lossy {
                self.up.extend(sent.into_iter().map(|(_, bytes)| (now + DELAY, player, bytes)));
            }
        }
    }

    fn after_turn(&mut self, done: Done) {
        self.due = done.next;
        self.packets_down += done.sent.len() as u64;
        for (to, bytes) in done.sent {
            if let Some(player) = self.players.iter().position(|player| player.address == to) {
                // One in eight is a little faster: on every path the shortest round trip is shorter than most.
                self.sent_down += 1;
                let delay = if self.sent_down.is_multiple_of(8) { DELAY - STEP } else { DELAY };
                self.down.push((self.now + delay, player, bytes));
            }
        }
        for event in done.events {
            // The node answers at once.
            if let ringside_worker::Event::Resolve { request, target, .. } = event {
                let answer = self.node.resolve(self.now, &target, |_| self.host.address);
                self.host.tell(Command::Resolved { request, answer });
                self.due = self.now;
            }
        }
    }
}

/// What has arrived by now, in the order in which it left.
fn take_arrived(packets: &mut Vec<Flying>, now: Micros) -> Vec<Flying> {
    packets.extract_if(.., |(arrival, ..)| *arrival <= now).collect()
}
