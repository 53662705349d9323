//! Pong: two players, a ball, sixty ticks a second. The whole game; the computer's player is in [`bot`].

pub mod bot;

use ringside_guest::{Context, Description, Game, LeaveReason, Refusal, Slot, math};
use serde::{Deserialize, Serialize};

/// The court's width; its height is 1.
pub const WIDTH: f64 = 1.6;
/// A paddle's length.
pub const PADDLE: f64 = 0.2;
/// The ball is a square of this size.
pub const BALL: f64 = 0.02;
const TICK: f64 = 1.0 / 60.0;
const PADDLE_SPEED: f64 = 0.9;
const SERVE_SPEED: f64 = 0.8;
const TOP_SPEED: f64 = 2.2;
/// The steepest bounce, in radians.
const STEEPEST: f64 = 1.1;
const SERVE_DELAY: u64 = 60;

/// What the creator of a match may choose.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Config {
    /// Points that win.
    pub points: u32,
}

impl Default for Config {
    fn default() -> Self {
        Config { points: 11 }
    }
}

/// What a player does from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// Move the paddle up.
    Up,
    /// Move the paddle down.
    Down,
    /// Hold the paddle still.
    Still,
}

/// What a player is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// Somebody scored.
    Score([u32; 2]),
}

/// What both players see. The player in slot 0 is on the left; y grows downwards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Middle of the ball.
    pub ball: (f32, f32),
    /// Middles of the paddles.
    pub paddles: [f32; 2],
    /// Points.
    pub score: [u32; 2],
}

/// A match's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Who won.
    pub winner: Slot,
    /// The final score.
    pub score: [u32; 2],
}

/// A match.
pub struct Pong {
    config: Config,
    inputs: [Input; 2],
    paddles: [f64; 2],
    ball: (f64, f64),
    velocity: (f64, f64),
    speed: f64,
    score: [u32; 2],
    serve_at: u64,
}

impl Game for Pong {
    type Config = Config;
    type Input = Input;
    type Output = Output;
    type View = View;

    const DESCRIPTION: Description =
        Description::new("pong").tick_rate(60).view_rate(60).players(2, 2).late_join(false).shared_view();

    fn start(config: Config, _: &mut Context<Self>) -> Result<Self, Refusal> {
        if config.points == 0 {
            return Err("a match is played to one point at least".into());
        }
        Ok(Pong {
            config,
            inputs: [Input::Still; 2],
            paddles: [0.5; 2],
            ball: (WIDTH / 2.0, 0.5),
            velocity: (0.0, 0.0),
            speed: 0.0,
            score: [0; 2],
            serve_at: SERVE_DELAY,
        })
    }

    fn leave(&mut self, slot: Slot, _: LeaveReason, context: &mut Context<Self>) {
        self.inputs[slot.index()] = Input::Still;
        if let Some(who_stays) = context.joined().first() {
            self.finish(who_stays.index(), context);
        }
    }

    fn message(&mut self, slot: Slot, input: Input, _: &mut Context<Self>) {
        self.inputs[slot.index()] = input;
    }

    fn tick(&mut self, number: u64, context: &mut Context<Self>) {
        self.move_paddles();
        if context.joined().len() < 2 {
            self.serve_at = number + SERVE_DELAY;
        } else if number == self.serve_at {
            self.serve(context);
        } else if number > self.serve_at {
            self.move_ball();
            if let Some(side) = self.lost_by() {
                self.point(1 - side, number, context);
            }
        }
    }

    fn view(&self, _: Slot) -> View {
        View {
            ball: (self.ball.0 as f32, self.ball.1 as f32),
            paddles: self.paddles.map(|y| y as f32),
            score: self.score,
        }
    }
}

impl Pong {
    fn serve(&mut self, context: &mut Context<Self>) {
        let angle = (context.random_unit() - 0.5) * STEEPEST;
        let side = context.random_below(2) as usize;
        self.ball = (WIDTH / 2.0, 0.5);
        self.fly(side, SERVE_SPEED, angle);
    }

    /// The ball flies away from a side at an angle to the horizontal.
    fn fly(&mut self, from: usize, speed: f64, angle: f64) {
        let (sin, cos) = math::sin_cos(angle);
        let right = if from == 0 { 1.0 } else { -1.0 };
        self.speed = speed;
        self.velocity = (right * speed * cos, speed * sin);
    }

    fn move_paddles(&mut self) {
        for (y, input) in self.paddles.iter_mut().zip(self.inputs) {
            let direction = match input {
                Input::Up => -1.0,
                Input::Down => 1.0,
                Input::Still => 0.0,
            };
            *y = (*y + direction * PADDLE_SPEED * TICK).clamp(PADDLE / 2.0, 1.0 - PADDLE / 2.0);
        }
    }

    fn move_ball(&mut self) {
        self.ball.0 += self.velocity.0 * TICK;
        self.ball.1 += self.velocity.1 * TICK;
        let outside = self.ball.1 < BALL / 2.0 || self.ball.1 > 1.0 - BALL / 2.0;
        if outside {
            self.ball.1 = self.ball.1.clamp(BALL / 2.0, 1.0 - BALL / 2.0);
            self.velocity.1 = -self.velocity.1;
        }
        if let Some(side) = self.lost_by() {
            let off_middle = (self.ball.1 - self.paddles[side]) / ((PADDLE + BALL) / 2.0);
            if off_middle.abs() <= 1.0 {
                self.ball.0 = self.ball.0.clamp(BALL / 2.0, WIDTH - BALL / 2.0);
                self.fly(side, (self.speed * 1.05).min(TOP_SPEED), off_middle * STEEPEST);
            }
        }
    }

    /// The side on which the ball is out of the court.
    fn lost_by(&self) -> Option<usize> {
        let (left, right) = (self.ball.0 < BALL / 2.0, self.ball.0 > WIDTH - BALL / 2.0);
        if left { Some(0) } else { right.then_some(1) }
    }

    fn point(&mut self, side: usize, number: u64, context: &mut Context<Self>) {
        self.score[side] += 1;
        self.serve_at = number + SERVE_DELAY;
        self.ball = (WIDTH / 2.0, 0.5);
        context.broadcast(&Output::Score(self.score));
        context.set_stats(&self.score);
        if self.score[side] >= self.config.points {
            self.finish(side, context);
        }
    }

    fn finish(&mut self, side: usize, context: &mut Context<Self>) {
        context.finish(&Outcome { winner: Slot(side as u16), score: self.score });
    }
}

ringside_guest::export!(Pong);

#[cfg(test)]
mod tests;
