//! What is done again and again.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// Ticks now and then every so often. What is missed while the process does not run is not made up for: one that has slept
/// for an hour has nothing to do an hour's times.
pub fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
