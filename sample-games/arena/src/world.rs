//! The rules of the arena, as RULES.md states them. Knows nothing of sessions; random numbers come as an argument.
//!
//! All arithmetic is `f64` with +, −, ×, ÷ and square roots only, so that every language has the same results.

use ringside_guest::{Slot, math};

use crate::{Input, PLAYERS, PlayerView, View};

/// The arena is a square of this side.
pub const SIDE: f64 = 1000.0;
/// A player's radius.
pub const RADIUS: f64 = 15.0;
/// A player's full speed, a second.
pub const SPEED: f64 = 200.0;
/// A bullet's speed, a second.
pub const BULLET_SPEED: f64 = 600.0;
/// Health of a player who comes back.
pub const HEALTH: u8 = 100;
/// What a hit takes.
pub const DAMAGE: u8 = 20;
/// How far bullets begin from their player's middle.
pub const MUZZLE: f64 = 20.0;

/// A player of the match.
#[derive(Debug, Clone)]
pub struct Player {
    /// Middle.
    pub at: (f64, f64),
    /// Direction of the gun, of length 1.
    pub aim: (f64, f64),
    /// 0 is dead.
    pub health: u8,
    /// Players shot.
    pub score: u16,
    /// Ticks until the gun is ready.
    pub reload: u32,
    /// Ticks until a dead player comes back.
    pub away: u32,
    /// The newest input.
    pub input: Input,
}

/// A bullet in flight.
#[derive(Debug, Clone)]
pub struct Bullet {
    /// Whose.
    pub by: Slot,
    /// Where.
    pub at: (f64, f64),
    /// Its way in one tick.
    pub step: (f64, f64),
    /// Ticks until it is spent.
    pub left: u32,
}

/// The state of a match.
#[derive(Debug, Clone, Default)]
pub struct World<const HZ: u32> {
    /// Players by slot.
    pub players: [Option<Player>; PLAYERS],
    /// Bullets, the oldest first.
    pub bullets: Vec<Bullet>,
    kills: Vec<(Slot, Slot)>,
}

impl<const HZ: u32> World<HZ> {
    /// Ticks between two shots: a quarter of a second.
    pub const RELOAD: u32 = HZ / 4;
    /// Ticks that the dead stay away: two seconds.
    pub const AWAY: u32 = HZ * 2;
    /// Ticks that a bullet flies: one second.
    pub const FLIGHT: u32 = HZ;

    /// A player appears at a random place (rule 1).
    pub fn join(&mut self, slot: Slot, mut random: impl FnMut() -> f64) {
        let (input, at) = (Input::default(), place(&mut random));
        let player = Player { at, aim: (1.0, 0.0), health: HEALTH, score: 0, reload: 0, away: 0, input };
        self.players[slot.index()] = Some(player);
    }

    /// A player is gone, and so are their bullets (rule 2).
    pub fn leave(&mut self, slot: Slot) {
        self.players[slot.index()] = None;
        self.bullets.retain(|bullet| bullet.by != slot);
    }

    /// What the player does from now on (rule 3).
    pub fn set_input(&mut self, slot: Slot, input: Input) {
        if let Some(player) = &mut self.players[slot.index()] {
            player.input = input;
        }
    }

    /// One tick (rules 4 to 8).
    pub fn step(&mut self, mut random: impl FnMut() -> f64) {
        for slot in 0..PLAYERS {
            let Some(player) = &mut self.players[slot] else { continue };
            if player.health == 0 {
                player.wait(&mut random);
                continue;
            }
            player.walk(HZ);
            player.turn();
            if player.shoots() {
                player.reload = Self::RELOAD;
                self.bullets.push(player.bullet(Slot(slot as u16), HZ));
            }
        }
        self.fly();
    }

    /// Takes who shot whom since the last time.
    pub fn take_kills(&mut self) -> Vec<(Slot, Slot)> {
        std::mem::take(&mut self.kills)
    }

    /// Everybody's score, by slot; 0 where nobody is.
    pub fn scores(&self) -> [u16; PLAYERS] {
        self.players.each_ref().map(|player| player.as_ref().map_or(0, |player| player.score))
    }

    /// What everybody sees (rule 9).
    pub fn view(&self) -> View {
        let players = self.players.iter().enumerate();
        let players = players.filter_map(|(slot, player)| Some(player.as_ref()?.view(slot as u8))).collect();
        View { players, bullets: self.bullets.iter().map(|bullet| sixteenths(bullet.at)).collect() }
    }

    /// Bullets fly and hit (rules 7 and 8).
    fn fly(&mut self) {
        let World { players, bullets, kills } = self;
        bullets.retain_mut(|bullet| {
            bullet.at = (bullet.at.0 + bullet.step.0, bullet.at.1 + bullet.step.1);
            bullet.left -= 1;
            if !inside(bullet.at) {
                return false;
            }
            let Some(whom) = hit(players, bullet) else { return bullet.left > 0 };
            if let Some(player) = &mut players[whom] {
                player.health = player.health.saturating_sub(DAMAGE);
                if player.health == 0 {
                    player.away = Self::AWAY;
                    kills.push((bullet.by, Slot(whom as u16)));
                    if let Some(by) = &mut players[bullet.by.index()] {
                        by.score = by.score.saturating_add(1);
                    }
                }
            }
            false
        });
    }
}

impl Player {
    /// The dead wait, and come back at a random place (rule 4).
    fn wait(&mut self, random: &mut impl FnMut() -> f64) {
        self.away -= 1;
        if self.away == 0 {
            (self.at, self.health, self.reload) = (place(random), HEALTH, 0);
        }
    }

    /// Rule 5.
    fn walk(&mut self, hz: u32) {
        let (x, y) = (f64::from(self.input.go.0), f64::from(self.input.go.1));
        let length = math::sqrt(x * x + y * y);
        let full = if length > 127.0 { length } else { 127.0 };
        let step = SPEED / f64::from(hz) / full;
        self.at.0 = (self.at.0 + x * step).clamp(RADIUS, SIDE - RADIUS);
        self.at.1 = (self.at.1 + y * step).clamp(RADIUS, SIDE - RADIUS);
    }

    /// The first half of rule 6.
    fn turn(&mut self) {
        let (x, y) = (f64::from(self.input.aim.0), f64::from(self.input.aim.1));
        let length = math::sqrt(x * x + y * y);
        if length > 0.0 {
            self.aim = (x / length, y / length);
        }
    }

    /// The second half of rule 6.
    fn shoots(&mut self) -> bool {
        self.reload = self.reload.saturating_sub(1);
        self.input.fire && self.reload == 0
    }

    fn bullet(&self, by: Slot, hz: u32) -> Bullet {
        let way = BULLET_SPEED / f64::from(hz);
        let at = (self.at.0 + self.aim.0 * MUZZLE, self.at.1 + self.aim.1 * MUZZLE);
        Bullet { by, at, step: (self.aim.0 * way, self.aim.1 * way), left: hz }
    }

    fn view(&self, slot: u8) -> PlayerView {
        let aim = ((self.aim.0 * 127.0) as i8, (self.aim.1 * 127.0) as i8);
        PlayerView { slot, at: sixteenths(self.at), aim, health: self.health, score: self.score }
    }
}

fn place(random: &mut impl FnMut() -> f64) -> (f64, f64) {
    let mut along = || RADIUS + random() * (SIDE - 2.0 * RADIUS);
    (along(), along())
}

fn inside((x, y): (f64, f64)) -> bool {
    (0.0..=SIDE).contains(&x) && (0.0..=SIDE).contains(&y)
}

/// The living player in the lowest slot whom the bullet touches; never its own.
fn hit(players: &[Option<Player>; PLAYERS], bullet: &Bullet) -> Option<usize> {
    players.iter().enumerate().position(|(slot, player)| {
        let Some(player) = player else { return false };
        let (x, y) = (player.at.0 - bullet.at.0, player.at.1 - bullet.at.1);
        slot != bullet.by.index() && player.health > 0 && x * x + y * y <= RADIUS * RADIUS
    })
}

fn sixteenths((x, y): (f64, f64)) -> (u16, u16) {
    ((x * 16.0) as u16, (y * 16.0) as u16)
}
