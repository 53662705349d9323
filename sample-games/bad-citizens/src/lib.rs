//! A game that misbehaves on command, in the middle of a match: fixtures for everything that a host must survive.
//!
//! It ticks 60 times a second for eight players and shows everybody how many ticks and commands counted, so that a test
//! sees the match go on. Each [`Command`] says what it does wrong. What cannot be said in Rust (modules that lie about
//! the contract) is no part of this.

mod commands;
mod raw;

use ringside_guest::{Context, Description, Game, LeaveReason, Refusal, Slot, Timer, decode};
use serde::{Deserialize, Serialize};

pub use commands::Command;
pub use raw::RawCall;

/// When to misbehave without being told to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Config {
    /// On start.
    pub start: Option<Command>,
    /// On each join.
    pub join: Option<Command>,
    /// On each leave.
    pub leave: Option<Command>,
    /// At this tick.
    pub tick: Option<(u64, Command)>,
    /// Refuses to start, with this reason.
    pub refuse: Option<String>,
}

/// What everybody sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// The number of the last tick that counted.
    pub tick: u64,
    /// Commands that counted, by slot.
    pub commands: Vec<u64>,
    /// Bytes to make a view large.
    pub filling: ringside_guest::Bytes,
}

/// A match.
pub struct BadCitizens {
    config: Config,
    tick: u64,
    commands: Vec<u64>,
    filling: usize,
    hoard: Vec<Vec<u8>>,
    busy: u64,
    re_arm: Option<u64>,
}

impl Game for BadCitizens {
    type Config = Config;
    type Input = Command;
    type Output = ringside_guest::Bytes;
    type View = View;

    const DESCRIPTION: Description =
        Description::new("bad-citizens").tick_rate(60).view_rate(60).players(1, 8).input_rate(120).shared_view();

    fn start(config: Config, context: &mut Context<Self>) -> Result<Self, Refusal> {
        if let Some(reason) = config.refuse {
            return Err(reason.into());
        }
        let at_start = config.start.clone();
        let (commands, hoard) = (vec![0; 8], Vec::new());
        let mut game = BadCitizens { config, tick: 0, commands, filling: 0, hoard, busy: 0, re_arm: None };
        game.obey_if(at_start, context);
        Ok(game)
    }

    fn join(&mut self, _: Slot, player: &str, context: &mut Context<Self>) -> Result<(), Refusal> {
        self.obey_if(self.config.join.clone(), context);
        if player.starts_with("refused") { Err("no players of this name".into()) } else { Ok(()) }
    }

    fn leave(&mut self, _: Slot, _: LeaveReason, context: &mut Context<Self>) {
        self.obey_if(self.config.leave.clone(), context);
    }

    fn message(&mut self, slot: Slot, command: Command, context: &mut Context<Self>) {
        self.commands[slot.index()] += 1;
        self.obey(command, context);
    }

    fn tick(&mut self, number: u64, context: &mut Context<Self>) {
        self.tick = number;
        commands::compute(self.busy);
        if let Some((at, command)) = self.config.tick.clone()
            && at == number
        {
            self.obey(command, context);
        }
    }

    fn timer(&mut self, _: Timer, context: &mut Context<Self>) {
        if let Some(delay_us) = self.re_arm {
            context.set_timer(std::time::Duration::from_micros(delay_us));
        }
    }

    fn view(&self, _: Slot) -> View {
        let filling = ringside_guest::Bytes(vec![0xbd; self.filling]);
        View { tick: self.tick, commands: self.commands.clone(), filling }
    }

    /// Obeys a command that needs no match, or tells the number of the last tick.
    fn query(&self, question: &[u8]) -> Result<Vec<u8>, Refusal> {
        if !question.is_empty() {
            commands::alone(&decode(question)?);
        }
        Ok(ringside_guest::encode(&self.tick))
    }

    fn save(&self) -> Result<Vec<u8>, Refusal> {
        Ok(ringside_guest::encode(&(self.tick, &self.commands)))
    }

    fn restore(saved: &[u8], _: &mut Context<Self>) -> Result<Self, Refusal> {
        let (tick, commands) = decode(saved)?;
        let config = Config::default();
        Ok(BadCitizens { config, tick, commands, filling: 0, hoard: Vec::new(), busy: 0, re_arm: None })
    }
}

impl BadCitizens {
    fn obey_if(&mut self, command: Option<Command>, context: &mut Context<Self>) {
        if let Some(command) = command {
            self.obey(command, context);
        }
    }
}

ringside_guest::export!(BadCitizens);

#[cfg(test)]
mod tests;
