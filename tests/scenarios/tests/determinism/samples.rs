//! The sample games: their modules, their native builds, and what their matches are made of.

use std::sync::LazyLock;

use ringside_guest::encode;
use ringside_sandbox::{Module, Sandbox, SandboxConfig};
use ringside_test_support::guests;

use crate::leader::Leader;
use crate::native::{self, Native};
use crate::scripts::{self, Script};

/// A sample game.
pub struct Sample {
    pub name: &'static str,
    pub module: Module,
    pub native: fn([u8; 32], &[u8]) -> Box<dyn Native>,
    pub config: Vec<u8>,
    /// A new match's players.
    pub script: fn(seed: u64) -> Box<dyn Script>,
    /// How long nobody acts in a game without ticks, µs.
    pub pause_us: u64,
}

impl Sample {
    /// Steps in so much session time: ticks, or pauses.
    pub fn steps(&self, seconds: u64) -> u64 {
        match u64::from(self.module.description().tick_rate) {
            0 => seconds * 1_000_000 / self.pause_us,
            rate => seconds * rate,
        }
    }

    /// Moves time on by a step.
    pub fn step(&self, leader: &mut Leader) {
        match self.module.description().tick_rate {
            0 => leader.wait(self.pause_us),
            _ => leader.tick(),
        }
    }
}

fn module(name: &str) -> Module {
    static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| {
        let config = SandboxConfig { cache_directory: None, warm_sessions: Some(16) };
        Sandbox::new(config).expect("a sandbox")
    });
    SANDBOX.upload(&guests::module(name)).expect("an accepted module")
}

/// Played to so many points that it does not end.
pub fn pong() -> Sample {
    Sample {
        name: "pong",
        module: module("pong"),
        native: native::begin::<pong::Pong>,
        config: encode(&pong::Config { points: 1_000_000 }),
        script: |seed| Box::new(scripts::Pong::new(seed)),
        pause_us: 0,
    }
}

pub fn arena() -> Sample {
    Sample {
        name: "arena",
        module: module("arena"),
        native: native::begin::<arena::Arena20>,
        config: Vec::new(),
        script: |seed| Box::new(scripts::Arena::new(seed)),
        pause_us: 0,
    }
}

pub fn arena60() -> Sample {
    Sample { name: "arena60", module: module("arena60"), native: native::begin::<arena::Arena60>, ..arena() }
}

/// With ten minutes and a second for each player, so that nobody's time runs out.
pub fn chess() -> Sample {
    Sample {
        name: "chess",
        module: module("chess"),
        native: native::begin::<chess::Chess>,
        config: encode(&chess::Config { time_ms: 601_000, increment_ms: 0 }),
        script: |seed| Box::new(scripts::Chess::new(seed)),
        pause_us: 2_000_000,
    }
}

pub fn echo() -> Sample {
    Sample {
        name: "echo",
        module: module("echo"),
        native: native::begin::<echo::Echo>,
        config: Vec::new(),
        script: |seed| Box::new(scripts::Echo::new(seed)),
        pause_us: 50_000,
    }
}
