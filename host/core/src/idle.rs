//! Sessions that nobody has anything to do with: what of them is in the store while nobody leads them, and when a timer of
//! one of them is due.

pub mod due;
pub mod evicted;

use crate::leadership::timing;

/// Sessions that did nothing for so long are evicted, µs, unless a node is told another time.
pub const IDLE_AFTER_US: u64 = 300_000_000;

/// How often it is looked which timers of evicted sessions are due, µs, where sessions are evicted after so long: a wait
/// that is short beside what an evicted session has slept at least.
pub fn look_every_us(idle_after_us: u64) -> u64 {
    (idle_after_us / 4).clamp(50_000, 10_000_000)
}

/// A session with a timer that is due sooner than this is not evicted, µs: whoever looks for due timers has looked at least
/// once after the timer was written down.
pub fn timer_margin_us(idle_after_us: u64) -> u64 {
    3 * look_every_us(idle_after_us) + 2 * timing::STORE_US
}
