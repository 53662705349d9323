//! A chess clock. Knows no timers: it is told the time and says how much is left.

use std::time::Duration;

use ringside_guest::Slot;

/// Two clocks, of which one runs at most.
#[derive(Debug, Clone)]
pub struct Clock {
    left: [Duration; 2],
    increment: Duration,
    since: Duration,
}

impl Clock {
    /// Both show `time`; a player gets `increment` after each move.
    pub fn new(time: Duration, increment: Duration) -> Self {
        Clock { left: [time; 2], increment, since: Duration::ZERO }
    }

    /// A player's clock begins to run. Says how long it will.
    pub fn run(&mut self, now: Duration, whose: Slot) -> Duration {
        self.since = now;
        self.left[whose.index()]
    }

    /// A player's clock stops; the increment is added if time was left.
    pub fn stop(&mut self, whose: Slot, now: Duration) {
        let left = &mut self.left[whose.index()];
        *left = left.saturating_sub(now.saturating_sub(self.since));
        if !left.is_zero() {
            *left = left.saturating_add(self.increment);
        }
        self.since = now;
    }

    /// What the clocks showed at the last change.
    pub fn left(&self) -> [Duration; 2] {
        self.left
    }

    /// When that was.
    pub fn since(&self) -> Duration {
        self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_loses_what_passed_and_gains_the_increment() {
        let second = Duration::from_secs(1);
        let mut clock = Clock::new(10 * second, 2 * second);
        assert_eq!(clock.run(5 * second, Slot(0)), 10 * second);
        clock.stop(Slot(0), 8 * second);
        assert_eq!(clock.left(), [9 * second, 10 * second]);
        clock.run(8 * second, Slot(1));
        clock.stop(Slot(1), 30 * second);
        assert_eq!(clock.left(), [9 * second, Duration::ZERO]);
    }
}
