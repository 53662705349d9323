//! Arena: up to eight players move, shoot and come back, 20 or 60 times a second. The rules, to the last bit, are in
//! RULES.md; this file is what crosses the wire and when, [`world`] the rules, [`bot`] the computer's player.

pub mod bot;
pub mod world;

use ringside_guest::{Context, Description, Followers, Game, LeaveReason, PartitionPolicy, Refusal, Slot, Tier};
use serde::{Deserialize, Serialize};

use world::World;

/// Most players at a time.
pub const PLAYERS: usize = 8;

/// What a player does from now on, until the next input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Input {
    /// Where to go: a vector whose length 127 (or more) is full speed.
    pub go: (i8, i8),
    /// Where to aim: a direction of any length; (0, 0) keeps the old one.
    pub aim: (i8, i8),
    /// Shoot whenever the gun is ready.
    pub fire: bool,
}

/// What everybody is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// Somebody was shot.
    Kill {
        /// Who shot.
        by: Slot,
        /// Whom.
        whom: Slot,
    },
}

/// What everybody sees. Coordinates count sixteenths, from 0 to 16 000.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// The players, by slot.
    pub players: Vec<PlayerView>,
    /// Bullets in flight, the oldest first.
    pub bullets: Vec<(u16, u16)>,
}

/// A player as everybody sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayerView {
    /// Who.
    pub slot: u8,
    /// Where.
    pub at: (u16, u16),
    /// Direction of the gun; length 127.
    pub aim: (i8, i8),
    /// From 100 down to 0, which is dead for now.
    pub health: u8,
    /// Players shot.
    pub score: u16,
}

/// A match, at so many ticks a second.
pub struct Arena<const HZ: u32> {
    world: World<HZ>,
    /// Nothing but bytes, of which some change each tick, where a heavy match is wanted for measuring.
    ballast: Vec<u8>,
}

/// Bytes of ballast: with it a match is nearly as large as the default limit allows, or has a mebibyte.
const fn ballast() -> usize {
    if cfg!(feature = "heavy") {
        14 << 20
    } else if cfg!(feature = "mebibyte") {
        768 << 10
    } else {
        0
    }
}

/// Bytes of ballast in which one changes at a time, and how many of them change each tick.
const PAGE: usize = 4 << 10;
const CHANGES: usize = 16;

/// The arena at 20 ticks a second; its module is called `arena`.
pub type Arena20 = Arena<20>;
/// The arena at 60 ticks a second; its module is called `arena60`.
pub type Arena60 = Arena<60>;

impl<const HZ: u32> Game for Arena<HZ> {
    type Config = ();
    type Input = Input;
    type Output = Output;
    type View = View;

    const DESCRIPTION: Description = Description::new(if cfg!(feature = "alone") {
        "arena60-alone"
    } else if cfg!(feature = "heavy") {
        "arena60-heavy"
    } else if cfg!(feature = "mebibyte") {
        "arena60-mebibyte"
    } else if cfg!(feature = "kept") {
        "arena-kept"
    } else if HZ == 60 {
        "arena60"
    } else {
        "arena"
    })
    .tick_rate(HZ)
    .view_rate(HZ)
    .players(1, PLAYERS as u32)
    .shared_view()
    .tier(if cfg!(feature = "alone") { Tier::Volatile } else { Tier::Replicated })
    .partition_policy(PartitionPolicy::Available)
    .followers(if cfg!(feature = "kept") { Followers::KeepLog } else { Followers::Replay });

    fn start(_: (), _: &mut Context<Self>) -> Result<Self, Refusal> {
        Ok(Arena { world: World::default(), ballast: Vec::with_capacity(ballast()) })
    }

    fn join(&mut self, slot: Slot, _: &str, context: &mut Context<Self>) -> Result<(), Refusal> {
        self.world.join(slot, || context.random_unit());
        Ok(())
    }

    fn leave(&mut self, slot: Slot, _: LeaveReason, _: &mut Context<Self>) {
        self.world.leave(slot);
    }

    fn message(&mut self, slot: Slot, input: Input, _: &mut Context<Self>) {
        self.world.set_input(slot, input);
    }

    fn tick(&mut self, tick: u64, context: &mut Context<Self>) {
        // Filled bit by bit: all at once takes longer than a call may.
        self.ballast.resize((self.ballast.len() + CHANGES * PAGE).min(ballast()), 1);
        for change in 0..CHANGES {
            let at = (tick as usize * CHANGES + change) * PAGE % self.ballast.len().max(1);
            if let Some(byte) = self.ballast.get_mut(at) {
                *byte = byte.wrapping_add(1);
            }
        }
        self.world.step(|| context.random_unit());
        for (by, whom) in self.world.take_kills() {
            context.broadcast(&Output::Kill { by, whom });
            context.set_stats(&self.world.scores());
        }
    }

    fn view(&self, _: Slot) -> View {
        self.world.view()
    }
}

impl<const HZ: u32> Arena<HZ> {
    /// The state of the match, for tests.
    pub fn world(&self) -> &World<HZ> {
        &self.world
    }
}

#[cfg(not(feature = "sixty-hertz"))]
ringside_guest::export!(Arena20);
#[cfg(feature = "sixty-hertz")]
ringside_guest::export!(Arena60);

#[cfg(test)]
mod tests;
