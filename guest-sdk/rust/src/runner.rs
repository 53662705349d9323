//! A running session: turns entries (bytes and numbers) into calls of a [`Game`], and writes its views afterwards.
//!
//! The same code runs in a module, called by the exports, and natively, called by the harness, so that both put out
//! the same. Views are written after each tick that they are sent for; in an event-driven game after each call; in
//! any game after the call that finished it.

use serde::{Deserialize, Serialize};

use crate::codec::{decode, encode};
use crate::context::Context;
use crate::description::Description;
use crate::game::Game;
use crate::types::{LeaveReason, Refusal, Slot, Timer};

/// A game and its context.
pub struct Runner<G: Game> {
    game: G,
    context: Context<G>,
}

/// What an upgrade carries over: the game's state and what the SDK knows.
#[derive(Serialize, Deserialize)]
struct Saved {
    joined: Vec<Slot>,
    ignored_inputs: u64,
    game: Vec<u8>,
}

impl<G: Game> Runner<G> {
    const DESCRIPTION: Description = G::DESCRIPTION;
    const EVENT_DRIVEN: bool = Self::DESCRIPTION.tick_rate == 0;
    const TICKS_A_VIEW: u64 = Self::DESCRIPTION.ticks_a_view();
    const NOTHING_TO_SEE: bool = size_of::<G::View>() == 0;

    /// Begins a session. No bytes are the default configuration.
    ///
    /// # Errors
    /// If the configuration cannot be decoded, or the game refuses it.
    pub fn start(config: &[u8]) -> Result<Self, String> {
        let config = match config {
            [] => G::Config::default(),
            bytes => decode(bytes).map_err(|error| format!("the configuration cannot be decoded: {error}"))?,
        };
        let mut context = Context::new(Vec::new(), 0);
        let game = G::start(config, &mut context).map_err(|Refusal(reason)| reason)?;
        Ok(Runner { game, context })
    }

    /// A player asks to join.
    ///
    /// # Errors
    /// If the game refuses.
    pub fn join(&mut self, slot: Slot, player: &str) -> Result<(), String> {
        if let Err(at) = self.context.joined.binary_search(&slot) {
            self.context.joined.insert(at, slot);
        }
        let joined = self.game.join(slot, player, &mut self.context);
        if joined.is_err() {
            self.context.joined.retain(|joined| *joined != slot);
        }
        self.after_event();
        joined.map_err(|Refusal(reason)| reason)
    }

    /// A player's stay is over.
    pub fn leave(&mut self, slot: Slot, reason: LeaveReason) {
        self.context.joined.retain(|joined| *joined != slot);
        self.game.leave(slot, reason, &mut self.context);
        self.after_event();
    }

    /// A reliable message.
    pub fn message(&mut self, slot: Slot, bytes: &[u8]) {
        if let Some(input) = self.input(slot, bytes) {
            self.game.message(slot, input, &mut self.context);
        }
        self.after_event();
    }

    /// An unreliable message.
    pub fn datagram(&mut self, slot: Slot, bytes: &[u8]) {
        if let Some(input) = self.input(slot, bytes) {
            self.game.datagram(slot, input, &mut self.context);
        }
        self.after_event();
    }

    /// A step of simulated time.
    pub fn tick(&mut self, number: u64) {
        self.game.tick(number, &mut self.context);
        if number.is_multiple_of(Self::TICKS_A_VIEW) || self.context.finished {
            self.write_views();
        }
    }

    /// A timer fired.
    pub fn timer(&mut self, timer: Timer) {
        self.game.timer(timer, &mut self.context);
        self.after_event();
    }

    /// Another session's signal.
    pub fn signal(&mut self, source: &str, bytes: &[u8]) {
        self.game.signal(source, bytes, &mut self.context);
        self.after_event();
    }

    /// Answers a question about the state.
    ///
    /// # Errors
    /// If the game has no answer.
    pub fn query(&self, question: &[u8]) -> Result<Vec<u8>, String> {
        self.game.query(question).map_err(|Refusal(reason)| reason)
    }

    /// The state for another version of the game.
    ///
    /// # Errors
    /// If the game does not save its state.
    pub fn save(&self) -> Result<Vec<u8>, String> {
        let game = self.game.save().map_err(|Refusal(reason)| reason)?;
        let Context { joined, ignored_inputs, .. } = &self.context;
        Ok(encode(&Saved { joined: joined.clone(), ignored_inputs: *ignored_inputs, game }))
    }

    /// Begins from what another version saved.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn restore(saved: &[u8]) -> Result<Self, String> {
        let saved: Saved = decode(saved).map_err(|error| format!("the saved state cannot be decoded: {error}"))?;
        let mut context = Context::new(saved.joined, saved.ignored_inputs);
        let game = G::restore(&saved.game, &mut context).map_err(|Refusal(reason)| reason)?;
        Ok(Runner { game, context })
    }

    /// The game's state, to look at.
    pub fn game(&self) -> &G {
        &self.game
    }

    fn input(&mut self, slot: Slot, bytes: &[u8]) -> Option<G::Input> {
        match decode(bytes) {
            Ok(input) => Some(input),
            Err(error) => {
                self.context.ignored_inputs += 1;
                self.game.undecodable(slot, bytes, error, &mut self.context);
                None
            }
        }
    }

    fn after_event(&mut self) {
        if Self::EVENT_DRIVEN || self.context.finished {
            self.write_views();
        }
    }

    fn write_views(&mut self) {
        if Self::NOTHING_TO_SEE {
            return;
        }
        if Self::DESCRIPTION.shared_view {
            if let Some(&slot) = self.context.joined.first() {
                self.context.set_view_all(&self.game.view(slot));
            }
            return;
        }
        for at in 0..self.context.joined.len() {
            let slot = self.context.joined[at];
            self.context.set_view(slot, &self.game.view(slot));
        }
    }
}
