//! A follower that keeps the log and does not replay it: when it folds what it has all the same.

use std::time::Instant;

use ringside_core::leadership::record::{Terms, Tier};
use ringside_sandbox::{Followers, Module};

use crate::limits::{KEPT_ENTRIES, WARM};

/// Whether followers of a session keep its log. Those of a volatile one are there to lead it soon, and replay whatever its
/// game says.
pub(crate) fn keeps_log(module: &Module, terms: &Terms) -> bool {
    module.description().followers == Followers::KeepLog && terms.tier != Tier::Volatile
}

/// Why such a follower folds.
#[derive(Debug, Default)]
pub(crate) struct Keeping {
    /// It is about to lead, most likely, and folds until then.
    warm_until: Option<Instant>,
    /// Nobody wants it any more, and whether its session is over only its fold can say.
    pub is_unwanted: bool,
    /// Players who wait here were told that they do.
    pub has_paused: bool,
}

impl Keeping {
    /// Whether it folds now, with so many entries.
    pub fn folds(&self, now: Instant, leads: bool, entries: usize) -> bool {
        leads || self.is_unwanted || self.warm_until.is_some_and(|until| now < until) || entries > KEPT_ENTRIES
    }

    /// It is to fold for a while.
    pub fn warm(&mut self, now: Instant) {
        self.warm_until = Some(now + WARM);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_kept_is_folded_where_it_is_too_much_or_about_to_be_led() {
        let (now, mut keeping) = (Instant::now(), Keeping::default());
        assert!(!keeping.folds(now, false, KEPT_ENTRIES));
        assert!(keeping.folds(now, false, KEPT_ENTRIES + 1) && keeping.folds(now, true, 0));
        keeping.warm(now);
        assert!(keeping.folds(now + WARM - Duration::from_millis(1), false, 0));
        assert!(!keeping.folds(now + WARM, false, 0));
        keeping.is_unwanted = true;
        assert!(keeping.folds(now + WARM, false, 0));
    }
}
