//! The computer's player: a pure function from what it sees to what it does.

use ringside_guest::Slot;

use crate::{Input, PADDLE, View};

/// Follows the ball, and holds still while it is about level with the paddle.
pub fn policy(slot: Slot, view: &View) -> Input {
    let Some(paddle) = view.paddles.get(slot.index()) else { return Input::Still };
    let off = view.ball.1 - paddle;
    if off.abs() < PADDLE as f32 / 4.0 {
        Input::Still
    } else if off < 0.0 {
        Input::Up
    } else {
        Input::Down
    }
}
