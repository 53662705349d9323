//! What a run is to be, from its seed: who plays what over which path, and which faults come when.

use ringside_test_support::random::Random;

use super::path::Quality;
use super::player::Game;
use crate::scheduler::Micros;

/// When the faults are over.
pub const PEACE: Micros = 18_000_000;
/// When the run ends at the latest.
pub const END: Micros = 60_000_000;
/// How long after the end of sessions is waited for what is on its way.
pub const FAREWELL: Micros = 3_000_000;

/// A player.
#[derive(Debug, Clone)]
pub struct Cast {
    /// Who.
    pub name: String,
    /// What is played.
    pub game: Game,
    /// How bad the path is until peace.
    pub quality: Quality,
    /// When the process starts.
    pub begins: Micros,
    /// The worker that is asked first.
    pub door: usize,
    /// Time between two things that the person does.
    pub pace: Micros,
}

/// Something that goes wrong, or is done.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    /// Nothing passes between a player and the workers for a while.
    Cut { player: usize, length: Micros },
    /// A player's process ends without a word, and another begins a while later.
    Crash { player: usize, down: Micros },
    /// A player's process ends, with or without closing its connection, and the person does not come back.
    Vanish { player: usize, closes: bool },
    /// A second process of a player begins while the first plays.
    Twin { player: usize },
    /// A player's application asks for a new connection.
    Reconnect { player: usize },
    /// A player leaves.
    Leave { player: usize },
    /// A player says many things at once.
    Burst { player: usize, messages: u64 },
    /// A worker stands still.
    Stall { worker: usize, length: Micros },
    /// A player tells the bad citizens to fail.
    Misdeed { player: usize, kind: u64 },
    /// A player tells the bad citizens to compute for too long, until the session is moved.
    Overwork { player: usize },
}

/// A run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How long seats are kept.
    pub seat_window: Micros,
    /// The players, in the order of their numbers.
    pub cast: Vec<Cast>,
    /// What goes wrong when.
    pub deeds: Vec<(Micros, Deed)>,
    /// Whether the bad citizens fail once more than a session may.
    pub is_doomed: bool,
}

impl Plan {
    /// The plan of a seed.
    pub fn draw(random: &mut Random) -> Plan {
        let mut plan = Plan {
            seat_window: 4_000_000 + random.below(4_000_000),
            cast: Vec::new(),
            deeds: Vec::new(),
            is_doomed: random.happens(0.3),
        };
        for (game, fewest, more, pace) in [
            (Game::Echo, 3, 3, 30_000),
            (Game::Arena, 3, 5, 50_000),
            (Game::Pong, 2, 0, 16_000),
            (Game::Citizens, 2, 2, 150_000),
        ] {
            for number in 0..fewest + random.below(more + 1) {
                plan.add(game, number, pace, random);
            }
        }
        plan.fixed_deeds(random);
        plan.random_deeds(random);
        plan
    }

    fn add(&mut self, game: Game, number: u64, pace: Micros, random: &mut Random) {
        // The first of each game has a good line: some deeds need somebody who is there.
        let calm = number == 0;
        let quality = if calm { Quality::CALM } else { Quality::draw(random) };
        self.cast.push(Cast {
            name: format!("{}-{number}", game.names().0),
            game,
            quality,
            begins: 10_000 + random.below(900_000),
            door: random.below(2) as usize,
            pace: pace / 2 + random.below(pace),
        });
    }

    /// The players of a game.
    fn players(&self, game: Game) -> Vec<usize> {
        (0..self.cast.len()).filter(|&player| self.cast[player].game == game).collect()
    }

    /// What every run needs, so that each condition is looked at.
    fn fixed_deeds(&mut self, random: &mut Random) {
        let echoes = self.players(Game::Echo);
        let citizens = self.players(Game::Citizens);
        let arena = self.players(Game::Arena);
        let (first, second) = (citizens[0], citizens[1]);
        let at = |random: &mut Random, from: Micros| from + random.below(2_000_000);
        let mut deeds = vec![
            (at(random, 4_000_000), Deed::Twin { player: echoes[0] }),
            (at(random, 6_000_000), Deed::Crash { player: echoes[1], down: random.below(2_000_000) }),
            (at(random, 3_000_000), Deed::Reconnect { player: echoes[2] }),
            (at(random, 5_000_000), Deed::Vanish { player: arena[1], closes: random.happens(0.5) }),
            (at(random, 3_000_000), Deed::Misdeed { player: first, kind: random.below(4) }),
            (at(random, 6_000_000), Deed::Misdeed { player: second, kind: random.below(4) }),
            (at(random, 9_000_000), Deed::Overwork { player: first }),
            (at(random, 2_000_000), Deed::Stall { worker: 0, length: 300_000 + random.below(2_000_000) }),
        ];
        if self.is_doomed {
            deeds.push((at(random, 14_000_000), Deed::Misdeed { player: first, kind: random.below(4) }));
        }
        if random.happens(0.5) {
            deeds.push((at(random, 10_000_000), Deed::Leave { player: arena[2] }));
        }
        self.deeds = deeds;
    }

    fn random_deeds(&mut self, random: &mut Random) {
        let keepers = [self.players(Game::Echo)[0], self.players(Game::Citizens)[0]];
        for _ in 0..3 + random.below(8) {
            let at = 1_500_000 + random.below(PEACE - 4_000_000);
            let player = random.below(self.cast.len() as u64) as usize;
            // Pong lets nobody join late, and a few are needed for other deeds.
            let short = self.cast[player].game == Game::Pong;
            let deed = match random.below(6) {
                0 | 1 if short => Deed::Cut { player, length: 200_000 + random.below(1_500_000) },
                0 => Deed::Cut { player, length: 200_000 + random.below(3_000_000) },
                1 => Deed::Cut { player, length: 2_000_000 + random.below(12_000_000) },
                2 => Deed::Crash { player, down: random.below(1_500_000) },
                3 => Deed::Reconnect { player },
                4 => Deed::Burst { player, messages: 20 + random.below(400) },
                _ => Deed::Stall { worker: random.below(2) as usize, length: 20_000 + random.below(1_500_000) },
            };
            let spared = match deed {
                Deed::Cut { player, .. } | Deed::Crash { player, .. } | Deed::Reconnect { player } => {
                    keepers.contains(&player)
                }
                _ => false,
            };
            if !spared {
                self.deeds.push((at, deed));
            }
        }
    }
}
