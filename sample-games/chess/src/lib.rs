//! Chess: two players, no ticks. Clocks are timers, moves are texts in SAN (`Nf3`, `exd8=Q+`, `O-O`) or UCI
//! (`g1f3`, `e7d8q`). The rules of the board are owlchess'; [`clock`] keeps time, [`games`] has famous games for tests.

pub mod clock;
#[cfg(not(target_arch = "wasm32"))]
pub mod games;
mod notation;
mod position;

use std::time::Duration;

use ringside_guest::{Context, Description, Game, LeaveReason, Refusal, Slot, Timer};
use serde::{Deserialize, Serialize};

use clock::Clock;
use position::{Ending, Position};

/// What the creator of a match may choose.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Config {
    /// Each player's time for all moves, ms; at least 1.
    pub time_ms: u64,
    /// Added after each move, ms.
    pub increment_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config { time_ms: 5 * 60_000, increment_ms: 0 }
    }
}

/// What a player says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// A move, in SAN or UCI.
    Move(String),
    /// Gives up.
    Resign,
    /// Offers a draw, or accepts the other player's offer. Any move declines it.
    OfferDraw,
    /// Claims a draw: this position came three times, or 50 moves brought no capture and no pawn's move.
    ClaimDraw,
}

/// What a player is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// To both: a move was played.
    Played {
        /// Counts both players' moves, from 1.
        ply: u32,
        /// The move in SAN.
        san: String,
    },
    /// To the other player: a draw is offered.
    DrawOffered,
    /// To its author: what was said has no effect.
    Rejected {
        /// Why.
        reason: String,
    },
}

/// What both players see. White is in slot 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// The position.
    pub fen: String,
    /// The last move in SAN.
    pub last: Option<String>,
    /// What each player's clock showed at `clock_at_ms`, ms; the clock of the player to move runs.
    pub clocks_ms: [u64; 2],
    /// Session time of the last change, ms.
    pub clock_at_ms: u64,
    /// The result, at the end.
    pub result: Option<Outcome>,
}

/// A match's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Who won; nobody in a draw.
    pub winner: Option<Slot>,
    /// How.
    pub reason: Reason,
    /// The final position.
    pub fen: String,
    /// All moves in SAN, separated by spaces.
    pub moves: String,
}

/// How a match ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// The loser is mated.
    Checkmate,
    /// The loser gave up.
    Resignation,
    /// The loser's time ran out.
    Time,
    /// The loser left.
    Abandoned,
    /// Nobody can move.
    Stalemate,
    /// Nobody can mate.
    InsufficientMaterial,
    /// The position came three times and a player said so, or five times.
    Repetition,
    /// 50 moves without capture and pawn's move and a player said so, or 75.
    FiftyMoves,
    /// The players agreed.
    Agreement,
}

/// A match.
pub struct Chess {
    position: Position,
    clock: Clock,
    flag: Option<Timer>,
    draw_offered_by: Option<Slot>,
    result: Option<Outcome>,
}

impl Game for Chess {
    type Config = Config;
    type Input = Input;
    type Output = Output;
    type View = View;

    const DESCRIPTION: Description =
        Description::new("chess").players(2, 2).input_rate(10).late_join(false).shared_view();

    fn start(config: Config, _: &mut Context<Self>) -> Result<Self, Refusal> {
        if config.time_ms == 0 {
            return Err("nobody can play without time".into());
        }
        let clock = Clock::new(Duration::from_millis(config.time_ms), Duration::from_millis(config.increment_ms));
        Ok(Chess { position: Position::new(), clock, flag: None, draw_offered_by: None, result: None })
    }

    fn join(&mut self, _: Slot, _: &str, context: &mut Context<Self>) -> Result<(), Refusal> {
        if context.joined().len() == 2 {
            self.run_clock(context);
        }
        Ok(())
    }

    fn leave(&mut self, slot: Slot, _: LeaveReason, context: &mut Context<Self>) {
        let begun = self.flag.is_some();
        if begun {
            self.finish(Some(other(slot)), Reason::Abandoned, context);
        }
    }

    fn message(&mut self, slot: Slot, input: Input, context: &mut Context<Self>) {
        let done = match input {
            _ if self.flag.is_none() => Err("the other player is not here yet".into()),
            Input::Move(text) => self.play(slot, &text, context),
            Input::OfferDraw => self.offer_draw(slot, context),
            Input::ClaimDraw => self.claim_draw(context),
            Input::Resign => {
                self.finish(Some(other(slot)), Reason::Resignation, context);
                Ok(())
            }
        };
        if let Err(Refusal(reason)) = done {
            context.send(slot, &Output::Rejected { reason });
        }
    }

    fn timer(&mut self, timer: Timer, context: &mut Context<Self>) {
        if self.flag == Some(timer) {
            let late = self.position.to_move();
            self.clock.stop(late, context.now());
            // Who has but a king cannot win, not even on time.
            let winner = Some(other(late)).filter(|slot| !self.position.has_bare_king(*slot));
            self.finish(winner, Reason::Time, context);
        }
    }

    fn view(&self, _: Slot) -> View {
        View {
            fen: self.position.fen(),
            last: self.position.moves().last().cloned(),
            clocks_ms: self.clock.left().map(|left| left.as_millis() as u64),
            clock_at_ms: self.clock.since().as_millis() as u64,
            result: self.result.clone(),
        }
    }
}

impl Chess {
    fn play(&mut self, slot: Slot, text: &str, context: &mut Context<Self>) -> Result<(), Refusal> {
        if slot != self.position.to_move() {
            return Err("it is the other player's turn".into());
        }
        let san = self.position.play(text)?.to_owned();
        self.draw_offered_by = None;
        self.clock.stop(slot, context.now());
        context.broadcast(&Output::Played { ply: self.position.moves().len() as u32, san });
        match self.position.ending() {
            Some(Ending { winner, reason, must: true }) => self.finish(winner, reason, context),
            _ => self.run_clock(context),
        }
        Ok(())
    }

    fn offer_draw(&mut self, slot: Slot, context: &mut Context<Self>) -> Result<(), Refusal> {
        match self.draw_offered_by {
            Some(by) if by == slot => return Err("a draw is offered already".into()),
            Some(_) => self.finish(None, Reason::Agreement, context),
            None => {
                self.draw_offered_by = Some(slot);
                context.send(other(slot), &Output::DrawOffered);
            }
        }
        Ok(())
    }

    fn claim_draw(&mut self, context: &mut Context<Self>) -> Result<(), Refusal> {
        match self.position.ending() {
            Some(Ending { winner: None, reason, .. }) => self.finish(None, reason, context),
            _ => return Err("there is no draw to claim".into()),
        }
        Ok(())
    }

    /// The clock of the player to move begins to run.
    fn run_clock(&mut self, context: &mut Context<Self>) {
        if let Some(flag) = self.flag.take() {
            context.cancel_timer(flag);
        }
        let left = self.clock.run(context.now(), self.position.to_move());
        self.flag = Some(context.set_timer(left));
    }

    fn finish(&mut self, winner: Option<Slot>, reason: Reason, context: &mut Context<Self>) {
        let outcome = Outcome { winner, reason, fen: self.position.fen(), moves: self.position.moves().join(" ") };
        context.finish(&outcome);
        self.result = Some(outcome);
    }
}

fn other(slot: Slot) -> Slot {
    Slot(1 - slot.0)
}

ringside_guest::export!(Chess);

#[cfg(test)]
mod tests;
