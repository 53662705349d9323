//! The way between a player and the workers: what happens to each packet, from a seed.

use ringside_test_support::random::Random;

use crate::scheduler::Micros;

/// How bad a path is. Shares are parts of one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    /// Packets that never arrive.
    pub loss: f64,
    /// Packets that arrive twice.
    pub doubling: f64,
    /// Packets that are held back, and so overtaken.
    pub holding: f64,
    /// What every packet takes.
    pub delay: Micros,
    /// What a packet that is held back takes longer, at most.
    pub jitter: Micros,
}

impl Quality {
    /// A good line.
    pub const CALM: Quality = Quality { loss: 0.0, doubling: 0.0, holding: 0.0, delay: 4_000, jitter: 0 };

    /// Anything from a good line to bad mobile reception.
    pub fn draw(random: &mut Random) -> Quality {
        let share = |random: &mut Random, most: u64| random.below(most * 10 + 1) as f64 / 1000.0;
        Quality {
            loss: share(random, 12),
            doubling: share(random, 4),
            holding: share(random, 15),
            delay: 1_000 + random.below(40_000),
            jitter: random.below(60_000),
        }
    }
}

/// A path, and its present state.
#[derive(Debug)]
pub struct Path {
    quality: Quality,
    random: Random,
    cut_until: Micros,
}

impl Path {
    /// A path of this quality.
    pub fn new(quality: Quality, random: Random) -> Path {
        Path { quality, random, cut_until: 0 }
    }

    /// Nothing passes until then.
    pub fn cut(&mut self, until: Micros) {
        self.cut_until = self.cut_until.max(until);
    }

    /// From now on nothing bad happens to it.
    pub fn mend(&mut self) {
        self.quality = Quality { delay: self.quality.delay, ..Quality::CALM };
        self.cut_until = 0;
    }

    /// When the copies of a packet that leaves now arrive: none, one or two. As many numbers are drawn for each packet, so
    /// that what happens to one does not depend on what happened to those before.
    pub fn fate(&mut self, now: Micros) -> impl Iterator<Item = Micros> + use<> {
        let Quality { loss, doubling, holding, delay, jitter } = self.quality;
        let random = &mut self.random;
        let (lost, doubled, held) = (random.happens(loss), random.happens(doubling), random.happens(holding));
        let (first, second) = (random.below(jitter + 1), random.below(jitter + 1));
        let lost = lost || now < self.cut_until;
        let first = (!lost).then_some(now + delay + if held { first } else { 0 });
        let second = (!lost && doubled).then_some(now + delay + second);
        first.into_iter().chain(second)
    }
}
