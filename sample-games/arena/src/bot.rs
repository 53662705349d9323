//! The computer's player: a pure function from what it sees to what it does. Integers only, so that a client in any
//! language plays the same.

use ringside_guest::Slot;

use crate::{Input, PlayerView, View};

/// Nearer than this the bot backs away, farther it closes in; sixteenths.
const COMFORT: i32 = 200 * 16;
/// It shoots at what is at most so far away: what a bullet reaches.
const RANGE: i32 = 550 * 16;

/// Circles around the nearest living enemy, each bot its own way round, and shoots at it.
pub fn policy(slot: Slot, view: &View) -> Input {
    let Some(me) = view.players.iter().find(|player| player.slot as usize == slot.index()) else {
        return Input::default();
    };
    let enemies = view.players.iter().filter(|player| player.slot != me.slot && player.health > 0);
    let Some((x, y)) = enemies.map(|enemy| way(me, enemy)).min_by_key(|(x, y)| x * x + y * y) else {
        return Input { go: scale(middle(me)), aim: (0, 0), fire: false };
    };
    let near = x * x + y * y < COMFORT * COMFORT;
    let turn = if me.slot.is_multiple_of(2) { 1 } else { -1 };
    let closer = if near { -1 } else { 1 };
    let go = (closer * x - turn * y, closer * y + turn * x);
    Input { go: scale(go), aim: scale((x, y)), fire: x * x + y * y < RANGE * RANGE }
}

fn way(from: &PlayerView, to: &PlayerView) -> (i32, i32) {
    (i32::from(to.at.0) - i32::from(from.at.0), i32::from(to.at.1) - i32::from(from.at.1))
}

fn middle(from: &PlayerView) -> (i32, i32) {
    (8000 - i32::from(from.at.0), 8000 - i32::from(from.at.1))
}

/// A vector of the same direction whose longer part is ±127; (0, 0) stays.
fn scale((x, y): (i32, i32)) -> (i8, i8) {
    let longer = x.abs().max(y.abs()).max(1);
    ((x * 127 / longer) as i8, (y * 127 / longer) as i8)
}
