//! When to try again, and where: pauses that double up to a bound and are drawn at random from a seed, so that a
//! thousand clients of a lost node do not come back at once, and a test's client comes back at the same time always.

use std::time::Duration;

use ringside_protocol::limits;

/// The pauses between tries.
#[derive(Debug, Clone)]
pub(super) struct Retry {
    state: u64,
    tries: u32,
}

impl Retry {
    pub fn new(seed: u64) -> Self {
        Retry { state: seed, tries: 0 }
    }

    /// The client is attached: the next pause is short again.
    pub fn reset(&mut self) {
        self.tries = 0;
    }

    /// Tries since the last attachment.
    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// The pause before the next try: at first anything up to [`limits::CLIENT_RETRY_FIRST`], then between the half
    /// and the whole of twice the one before, up to [`limits::CLIENT_RETRY_LONGEST`].
    pub fn pause(&mut self) -> Duration {
        let whole = limits::CLIENT_RETRY_FIRST * (1 << self.tries.min(10));
        let whole = whole.min(limits::CLIENT_RETRY_LONGEST);
        let least = if self.tries == 0 { Duration::ZERO } else { whole / 2 };
        self.tries += 1;
        let spread = (whole - least).as_micros() as u64;
        least + Duration::from_micros(self.draw() % (spread + 1))
    }

    /// SplitMix64.
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_bound_and_follow_the_seed() {
        let pauses = |seed| {
            let mut retry = Retry::new(seed);
            (0..12).map(|_| retry.pause()).collect::<Vec<_>>()
        };
        assert_eq!(pauses(3), pauses(3));
        assert_ne!(pauses(3), pauses(4));
        let pauses = pauses(3);
        assert!(pauses[0] <= limits::CLIENT_RETRY_FIRST);
        for (tries, pause) in pauses.iter().enumerate().skip(1) {
            let whole = (limits::CLIENT_RETRY_FIRST * (1 << tries)).min(limits::CLIENT_RETRY_LONGEST);
            assert!(*pause <= whole && *pause >= whole / 2, "{tries}: {pause:?}");
        }
    }

    #[test]
    fn an_attachment_makes_the_next_pause_short() {
        let mut retry = Retry::new(1);
        (0..8).for_each(|_| _ = retry.pause());
        retry.reset();
        assert_eq!(retry.tries(), 0);
        assert!(retry.pause() <= limits::CLIENT_RETRY_FIRST);
    }
}
