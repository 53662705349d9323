//! A match in the test's own process: the game natively, the host replaced by a small model of it.
//!
//! The model keeps the rules that a game can observe (numbering of timers, random numbers, who is reached by a
//! broadcast, what happens after a kick or the finish); it has no network, no limits and undoes nothing: a panic of the
//! game is a panic of the test.

pub(crate) mod host;
mod play;

pub use host::Effect;
pub use play::{Match, Seed};
