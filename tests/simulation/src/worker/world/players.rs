//! Players' processes: how they begin, what they are driven to do, and what the person at each does.

use std::net::SocketAddr;

use bytes::Bytes;
use ringside_protocol::reason::Reason;

use super::{Expected, Happening, World};
use crate::scheduler::Micros;
use crate::worker::conditions::Condition;
use crate::worker::path::{Path, Quality};
use crate::worker::plan::PEACE;
use crate::worker::plant::Plant;
use crate::worker::player::{Game, Player, Start};

impl World<'_> {
    pub(super) fn start(&mut self, player: usize) {
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
    pub(super) fn drive(&mut self, player: usize) {
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

    pub(super) fn act(&mut self, player: usize, started: u64) {
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
            Game::Citizens => {
                self.look_at_rejections(player);
                self.command(player, &bad_citizens::Command::Behave, None);
            }
        }
        self.drive(player);
    }

    /// Says some things to the echo.
    pub(super) fn speak(&mut self, player: usize, messages: u64) {
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
    pub(super) fn command(&mut self, player: usize, command: &bad_citizens::Command, fails: Option<Reason>) {
        let Some(process) = self.players[player].as_mut() else { return };
        if !process.core.is_attached() {
            return;
        }
        if let Ok(number) = process.core.send(ringside_guest::encode(command).into()) {
            match fails {
                Some(cause) => self.expected.insert((player, number), Expected { cause, told: false, due: true }),
                None => self.expected.remove(&(player, number)),
            };
            self.say(player, format_args!("tells {number}: {command:?}"));
        }
    }
}
