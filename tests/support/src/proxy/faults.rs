//! What happens to packets, as a function of a seed: no clock, no socket.

use std::time::Duration;

use crate::random::Random;

/// How bad a link is. Shares are parts of one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// Packets that never arrive.
    pub drop: f64,
    /// Packets that arrive twice, the second time later.
    pub double: f64,
    /// Packets that are held back, and so overtaken.
    pub reorder: f64,
    /// Every packet takes at least so long.
    pub delay: Duration,
    /// A packet that is held back takes up to so much longer.
    pub jitter: Duration,
}

impl Faults {
    /// Bad mobile reception: one packet in ten lost, some doubled, many late.
    pub fn rough() -> Faults {
        Faults {
            drop: 0.10,
            double: 0.03,
            reorder: 0.10,
            delay: Duration::from_millis(5),
            jitter: Duration::from_millis(40),
        }
    }
}

/// One flow's fates, each direction with a generator of its own.
#[derive(Debug)]
pub struct Fate {
    faults: Faults,
    up: Random,
    down: Random,
}

impl Fate {
    /// Fates for a flow.
    pub fn new(faults: Faults, random: &Random) -> Fate {
        Fate { faults, up: random.fork(1), down: random.fork(2) }
    }

    /// After which delays the next packet arrives; nothing if it is lost.
    pub fn next(&mut self, up: bool) -> Vec<Duration> {
        let random = if up { &mut self.up } else { &mut self.down };
        let jitter = self.faults.jitter.as_micros() as u64;
        let late = |random: &mut Random| self.faults.delay + Duration::from_micros(random.below(jitter + 1));
        // The same number of draws for each packet: what happens to one does not depend on the ones before.
        let (dropped, doubled, held) =
            (random.happens(self.faults.drop), random.happens(self.faults.double), random.happens(self.faults.reorder));
        let (first, second) = (late(random), late(random));
        let first = if held { first } else { self.faults.delay };
        match (dropped, doubled) {
            (true, _) => Vec::new(),
            (false, true) => vec![first, second],
            (false, false) => vec![first],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fates(seed: u64) -> Vec<Vec<Duration>> {
        let mut fate = Fate::new(Faults::rough(), &Random::new(seed));
        (0..2000).map(|number| fate.next(number % 3 == 0)).collect()
    }

    #[test]
    fn a_seed_gives_one_fate() {
        assert_eq!(fates(3), fates(3));
        assert_ne!(fates(3), fates(4));
    }

    #[test]
    fn every_kind_of_fault_happens_about_as_often_as_asked() {
        let fates = fates(9);
        let share = |predicate: fn(&Vec<Duration>) -> bool| {
            fates.iter().filter(|fate| predicate(fate)).count() as f64 / fates.len() as f64
        };
        assert!((0.07..0.13).contains(&share(|fate| fate.is_empty())));
        assert!((0.01..0.05).contains(&share(|fate| fate.len() == 2)));
        assert!((0.05..0.15).contains(&share(|fate| fate.first().is_some_and(|delay| *delay > Faults::rough().delay))));
    }

    #[test]
    fn a_good_link_passes_everything_at_once() {
        let mut fate = Fate::new(Faults::default(), &Random::new(1));
        assert!((0..100).all(|_| fate.next(true) == vec![Duration::ZERO]));
    }
}
