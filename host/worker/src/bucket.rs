//! How often something may happen: the generic cell rate algorithm (ITU-T I.371), one instant of state, no clock.

use std::time::{Duration, Instant};

/// A rate with a burst.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    interval: Duration,
    burst: Duration,
    /// When the next one would be due if they came evenly.
    due: Option<Instant>,
}

impl Bucket {
    /// `rate` a second, and at once as many as `burst` brings at that rate.
    pub fn new(rate: u32, burst: Duration) -> Bucket {
        let interval = Duration::from_secs(1) / rate.max(1);
        Bucket { interval, burst: burst.max(interval), due: None }
    }

    /// Takes one if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        let allowed = self.ready_at(now) <= now;
        if allowed {
            self.due = Some(self.due.map_or(now, |due| due.max(now)) + self.interval);
        }
        allowed
    }

    /// Whether nothing is known of it any more but its rate: as many can be taken as of a new one.
    pub fn is_full(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| due <= now)
    }

    /// When there is one.
    pub fn ready_at(&self, now: Instant) -> Instant {
        let due = self.due.map_or(now, |due| due.max(now));
        (due + self.interval).checked_sub(self.burst).unwrap_or(now).max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, Duration::from_secs(2));
        assert!(bucket.is_full(start));
        assert_eq!((0..100).filter(|_| bucket.take(start)).count(), 20);
        assert!(!bucket.is_full(start + Duration::from_millis(1_999)));
        assert!(bucket.is_full(start + Duration::from_millis(2_000)));
        assert_eq!(bucket.ready_at(start), start + Duration::from_millis(100));
        let passed = |bucket: &mut Bucket, ms| bucket.take(start + Duration::from_millis(ms));
        assert!(!passed(&mut bucket, 99));
        assert!(passed(&mut bucket, 100));
        assert!(!passed(&mut bucket, 150));
        assert_eq!((0..1000).filter(|ms| passed(&mut bucket, 200 + ms)).count(), 10);
    }
}
