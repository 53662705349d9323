//! Random numbers that depend on a seed and nothing else: a failing test names its seed, and the seed repeats it.

/// A generator (SplitMix64): small, fast, good enough to choose faults and inputs.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// Another generator that depends on this one's seed and on `label`, for a part that draws on its own.
    pub fn fork(&self, label: u64) -> Random {
        let mut other = Random(self.0 ^ label.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        other.next();
        other
    }

    /// The next 64 bits.
    #[expect(clippy::should_implement_trait, reason = "a generator never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// True once in `chances` on average, `share` being a part of one.
    pub fn happens(&mut self, share: f64) -> bool {
        ((self.next() >> 11) as f64) < share * (1u64 << 53) as f64
    }

    /// So many bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_forks_differ() {
        let draw = |mut random: Random| (0..8).map(|_| random.next()).collect::<Vec<_>>();
        assert_eq!(draw(Random::new(5)), draw(Random::new(5)));
        assert_ne!(draw(Random::new(5).fork(1)), draw(Random::new(5).fork(2)));
    }

    #[test]
    fn bounds_and_shares_hold() {
        let mut random = Random::new(1);
        assert!((0..1000).all(|_| random.below(7) < 7));
        assert!((0..1000).all(|_| !random.happens(0.0) && random.happens(1.0)));
        let hits = (0..10_000).filter(|_| random.happens(0.3)).count();
        assert!((2_700..3_300).contains(&hits), "{hits}");
    }
}
