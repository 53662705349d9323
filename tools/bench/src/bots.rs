//! The sample games with ticks, and their bots, by module name: what to start them with and what a player says.

use ringside_guest::{Slot, decode, encode};

use crate::bench::BenchError;

/// A sample game with ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// Two players, 60 Hz.
    Pong,
    /// Eight players, 20 Hz.
    Arena,
    /// Eight players, 60 Hz.
    Arena60,
}

impl Sample {
    /// All of them.
    pub const ALL: [Sample; 3] = [Sample::Pong, Sample::Arena60, Sample::Arena];

    /// Its module's name.
    pub fn module(self) -> &'static str {
        match self {
            Sample::Pong => "pong",
            Sample::Arena => "arena",
            Sample::Arena60 => "arena60",
        }
    }

    /// Its players.
    pub fn players(self) -> u16 {
        if self == Sample::Pong { 2 } else { arena::PLAYERS as u16 }
    }

    /// A configuration with which a match never ends.
    pub fn config(self) -> Vec<u8> {
        if self == Sample::Pong { encode(&pong::Config { points: u32::MAX }) } else { Vec::new() }
    }

    /// What the bot in a slot says to what it sees; nothing before there is a view.
    pub fn input(self, slot: u16, view: &[u8]) -> Result<Vec<u8>, BenchError> {
        if view.is_empty() {
            return Ok(Vec::new());
        }
        Ok(match self {
            Sample::Pong => encode(&pong::bot::policy(Slot(slot), &decode(view).map_err(BenchError::setup)?)),
            _ => encode(&arena::bot::policy(Slot(slot), &decode(view).map_err(BenchError::setup)?)),
        })
    }
}
