//! A player's process: the client's core over a simulated QUIC endpoint, and what the person at it does.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringside_client::TargetText;
use ringside_client::core::{Action, Config, Core, Event};
use ringside_test_support::random::Random;

use super::dialer::{Dialer, Heard, Packet};
use super::identity;
use super::path::Path;
use crate::scheduler::Micros;

/// What is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Game {
    /// Messages that come back.
    Echo,
    /// Eight players, 20 ticks a second, inputs by datagram.
    Arena,
    /// Two players, 60 ticks a second.
    Pong,
    /// A game that fails when it is told to.
    Citizens,
}

impl Game {
    /// Each has one session in a run.
    pub const ALL: [Game; 4] = [Game::Echo, Game::Arena, Game::Pong, Game::Citizens];

    /// The name of its module and game, and the key of its session.
    pub fn names(self) -> (&'static str, &'static str) {
        match self {
            Game::Echo => ("echo", "room"),
            Game::Arena => ("arena", "pit"),
            Game::Pong => ("pong", "court"),
            Game::Citizens => ("bad-citizens", "cell"),
        }
    }
}

/// A process.
pub struct Player {
    /// Who plays.
    pub name: String,
    /// What.
    pub game: Game,
    /// Where its packets come from.
    pub address: SocketAddr,
    /// The way to the workers.
    pub path: Path,
    /// The client.
    pub core: Core,
    /// What the person draws.
    pub random: Random,
    /// Time between two things that they do.
    pub pace: Micros,
    /// When it is looked at next, if that is planned.
    pub armed: Option<Micros>,
    /// Whether it was attached at all.
    pub was_attached: bool,
    /// Whether it has heard a message since it began.
    pub has_heard: bool,
    /// The tick of the last view.
    pub shown: u64,
    /// Its place in the order in which processes were started.
    pub started: u64,
    /// Whether the person has gone for good.
    pub is_gone: bool,
    dialer: Dialer,
}

/// How a process is started.
pub struct Start {
    /// Who plays.
    pub name: String,
    /// What.
    pub game: Game,
    /// Where its packets come from.
    pub address: SocketAddr,
    /// The way to the workers.
    pub path: Path,
    /// Where it asks first.
    pub door: SocketAddr,
    /// Its place in the order in which processes were started.
    pub started: u64,
    /// Time between two things that the person does.
    pub pace: Micros,
}

impl Player {
    /// A process that begins to connect.
    pub fn start(start: Start, now: Instant, random: &Random) -> Player {
        let Start { name, game, address, path, door, started, pace } = start;
        let mut random = random.fork(started);
        let (module, key) = game.names();
        let target: TargetText = format!("{module}/{key}").parse().expect("a target");
        let config = Config {
            token: identity::token(&name),
            target: target.0,
            doors: vec![(door, None)],
            relay: false,
            standby: true,
            seed: random.next(),
            resolve: false,
            give_up_after: Duration::from_secs(60),
        };
        let mut seed = [0; 32];
        seed.iter_mut().for_each(|byte| *byte = random.next() as u8);
        let mut core = Core::new(config);
        core.start(now);
        Player {
            name,
            game,
            address,
            path,
            core,
            random,
            pace,
            armed: None,
            was_attached: false,
            has_heard: false,
            shown: 0,
            started,
            is_gone: false,
            dialer: Dialer::new(seed),
        }
    }

    /// Takes a packet in.
    pub fn handle_packet(&mut self, now: Instant, from: SocketAddr, bytes: &[u8], sent: &mut Vec<Packet>) {
        self.dialer.handle_packet(now, from, bytes, sent);
    }

    /// Does all that is to be done now.
    pub fn drive(&mut self, now: Instant, sent: &mut Vec<Packet>, events: &mut Vec<Event>) {
        if self.core.next_wake().is_some_and(|wake| wake <= now) {
            self.core.handle_timeout(now);
        }
        let mut heard = Vec::new();
        loop {
            let mut acted = false;
            while let Some(action) = self.core.poll_action() {
                self.act(now, action);
                acted = true;
            }
            self.dialer.process(now, sent, &mut heard);
            for heard in heard.drain(..) {
                acted = true;
                match heard {
                    Heard::Connected(link) => self.core.handle_connected(now, link),
                    Heard::Stream(link, bytes) => self.core.handle_stream(now, link, &bytes),
                    Heard::Datagram(link, bytes) => self.core.handle_datagram(now, link, bytes),
                    Heard::Lost(link, lost) => self.core.handle_lost(now, link, lost),
                }
            }
            while let Some(event) = self.core.poll_event(now) {
                acted = true;
                events.push(event);
            }
            if !acted {
                return;
            }
        }
    }

    fn act(&mut self, now: Instant, action: Action) {
        match action {
            Action::Connect { link, address, .. } => self.dialer.connect(now, link, address),
            // These players know their doors.
            Action::Resolve { .. } => {}
            Action::Write { link, bytes } => self.dialer.write(link, bytes),
            Action::Datagram { link, bytes } => self.dialer.datagram(link, bytes),
            Action::Close { link, reason } => self.dialer.close(now, link, reason),
        }
    }

    /// The round trip that its QUIC estimates.
    pub fn round_trip(&self) -> Option<Duration> {
        self.dialer.round_trip()
    }

    /// When it wants to be looked at, unless a packet comes.
    pub fn next_wake(&mut self) -> Option<Instant> {
        [self.core.next_wake(), self.dialer.next_wake()].into_iter().flatten().min()
    }
}
