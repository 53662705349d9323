//! How many sessions are given away at a time: as many as those who take them keep up with. Nothing else decides that, be
//! it that a node leaves, is replaced, or gives some of its sessions away.
//!
//! ```text
//!   width:  4 ── a wave is there ──► 8 ──► 16 ── the rate grew no more ──► 8 ── (stays) ── one was refused ──► 4 ──► …
//! ```
//!
//! Begins narrow; doubles with each wave that is there as long as that makes the *rate* grow, the sessions that are there
//! in a second; goes back one step when it does not, for a wider wave would only wait for longer; and halves when one is
//! refused or late, once for all that were under way by then.

/// Sessions of the first wave.
pub const FIRST: usize = 4;
/// Sessions of the narrowest: one that does not get away keeps no other waiting.
pub const NARROWEST: usize = 2;
/// A wider wave pays if its rate is so many percent of the one before: half of what doubling could bring.
const PAYS_PERCENT: u64 = 150;

/// One that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Ticket(u64);

/// The width of the next wave. Drive it so: [`Waves::begin`] while [`Waves::has_room`], and one of the two ends for each.
#[derive(Debug)]
pub struct Waves {
    width: usize,
    widest: usize,
    /// Whether each wave is wider than the one before.
    is_growing: bool,
    /// Under way.
    going: usize,
    begun: u64,
    /// Those that were begun up to here have been answered for.
    answered_for: u64,
    /// Since when this wave is measured, and those that are there since.
    since: u64,
    there: usize,
    /// Sessions a second of the last wave, in thousandths.
    rate: Option<u64>,
}

impl Waves {
    /// Waves of at most `widest` sessions.
    pub fn new(widest: usize) -> Waves {
        let widest = widest.max(1);
        Waves {
            width: FIRST.min(widest),
            widest,
            is_growing: true,
            going: 0,
            begun: 0,
            answered_for: 0,
            since: 0,
            there: 0,
            rate: None,
        }
    }

    /// Sessions at a time.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Whether another may begin.
    pub fn has_room(&self) -> bool {
        self.going < self.width
    }

    /// What was measured last: sessions that were there in a second, in thousandths.
    pub fn rate_milli(&self) -> Option<u64> {
        self.rate
    }

    /// One begins, µs.
    pub fn begin(&mut self, now: u64) -> Ticket {
        if self.going == 0 {
            (self.since, self.there) = (now, 0);
        }
        self.going += 1;
        self.begun += 1;
        Ticket(self.begun)
    }

    /// It is there.
    pub fn arrived(&mut self, now: u64, ticket: Ticket) {
        self.going = self.going.saturating_sub(1);
        self.there += 1;
        // Those that were begun before a step were begun at the width before it.
        if ticket.0 > self.answered_for && self.there >= self.width {
            self.measure(now);
        }
    }

    /// It was refused, or is late: whoever takes them has too much to do.
    pub fn failed(&mut self, now: u64, ticket: Ticket) {
        self.going = self.going.saturating_sub(1);
        if ticket.0 > self.answered_for {
            self.answered_for = self.begun;
            self.width = (self.width / 2).max(NARROWEST.min(self.widest));
            (self.since, self.there, self.rate, self.is_growing) = (now, 0, None, true);
        }
    }

    /// It was none: it ended by itself, or was gone before.
    pub fn vanished(&mut self, _ticket: Ticket) {
        self.going = self.going.saturating_sub(1);
    }

    /// A wave is there.
    fn measure(&mut self, now: u64) {
        let elapsed = now.saturating_sub(self.since).max(1);
        let rate = self.there as u64 * 1_000_000_000 / elapsed;
        let paid = self.rate.is_none_or(|before| rate.saturating_mul(100) >= before.saturating_mul(PAYS_PERCENT));
        if self.is_growing && paid && self.width < self.widest {
            self.width = (self.width * 2).min(self.widest);
        } else {
            if self.is_growing && !paid {
                self.width = (self.width / 2).max(FIRST.min(self.widest));
            }
            self.is_growing = false;
        }
        self.answered_for = self.begun;
        (self.rate, self.since, self.there) = (Some(rate), now, 0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives so many away to those who take `rate` a second, each `latency_us` later at best. Answers the widths at the end
    /// of each second, and how long it took.
    fn give(waves: &mut Waves, count: usize, rate: u64, latency_us: u64) -> (Vec<usize>, u64) {
        let (mut now, mut free_at, mut left) = (0_u64, 0_u64, count);
        let mut under_way = std::collections::VecDeque::new();
        let mut widths = Vec::new();
        while left > 0 || !under_way.is_empty() {
            while left > 0 && waves.has_room() {
                free_at = free_at.max(now) + 1_000_000 / rate;
                under_way.push_back((free_at + latency_us, waves.begin(now)));
                left -= 1;
            }
            let (at, ticket) = under_way.pop_front().unwrap();
            now = at;
            waves.arrived(now, ticket);
            widths.push(waves.width());
        }
        (widths, now)
    }

    #[test]
    fn a_wave_grows_as_long_as_more_get_there_in_a_second() {
        let mut waves = Waves::new(64);
        assert_eq!(waves.width(), FIRST);
        // Each takes a fifth of a second, however many there are: the widest is the best.
        let (widths, took) = give(&mut waves, 1_000, 1_000_000, 200_000);
        assert_eq!(widths.last(), Some(&64));
        assert!(took < 5_000_000, "{took}");
    }

    #[test]
    fn a_wave_does_not_grow_beyond_what_is_taken() {
        let mut waves = Waves::new(64);
        // Forty a second, each a tenth of a second later: eight at a time are enough.
        let (widths, took) = give(&mut waves, 1_000, 40, 100_000);
        assert!(widths.iter().skip(100).all(|width| *width <= 16), "{widths:?}");
        assert!(took < 27_000_000, "nothing is lost by that: {took}");
    }

    #[test]
    fn a_refusal_halves_it_once_for_all_that_were_under_way() {
        let mut waves = Waves::new(64);
        give(&mut waves, 500, 1_000_000, 100_000);
        assert_eq!(waves.width(), 64);
        let tickets: Vec<Ticket> = (0..64).map(|_| waves.begin(0)).collect();
        assert!(!waves.has_room());
        tickets.into_iter().for_each(|ticket| waves.failed(1, ticket));
        assert_eq!(waves.width(), 32);
        for _ in 0..10 {
            let ticket = waves.begin(2);
            waves.failed(3, ticket);
        }
        assert_eq!(waves.width(), NARROWEST);
        give(&mut waves, 500, 1_000_000, 100_000);
        assert_eq!(waves.width(), 64, "it grows again");
        assert!(waves.rate_milli().is_some_and(|rate| rate > 100_000));
    }

    proptest! {
        /// Whatever happens, it stays within its bounds, and there is always room again.
        #[test]
        fn it_is_never_stuck(widest in 1..100_usize, ends in prop::collection::vec(0..3_u8, 0..500)) {
            let mut waves = Waves::new(widest);
            let mut tickets = Vec::new();
            for (now, end) in ends.into_iter().enumerate() {
                while waves.has_room() {
                    tickets.push(waves.begin(now as u64));
                }
                let ticket = tickets.swap_remove(now % tickets.len());
                match end {
                    0 => waves.arrived(now as u64, ticket),
                    1 => waves.failed(now as u64, ticket),
                    _ => waves.vanished(ticket),
                }
                prop_assert!((1..=widest).contains(&waves.width()));
                prop_assert!(waves.going <= widest.max(tickets.len()));
            }
            for ticket in tickets {
                waves.vanished(ticket);
            }
            prop_assert!(waves.has_room());
        }
    }
}
