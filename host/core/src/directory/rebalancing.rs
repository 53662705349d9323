//! What of this node's sessions goes to other nodes by itself: the directory knows what it leads, and what each costs; what
//! goes is decided in [`crate::rebalance`].

use super::Directory;
use super::led::Led as AllLed;
use crate::ids::SessionId;
use crate::rebalance::{Going, Led};
use crate::ring::Position;

impl Directory {
    /// How long a session's calls took so far, µs: once a second is enough.
    pub fn handle_calls(&mut self, now: u64, session: &SessionId, total_us: u64) {
        self.parts.led.handle_calls(now, session, total_us);
    }

    /// What is to go to other nodes now, at most so many sessions; [`Directory::handle_given`] for each. Nothing while homes
    /// have not been told everything, nor while this run is replaced by another.
    pub fn wave(&mut self, now: u64, at_most: usize) -> Vec<Going> {
        if self.companion.is_some() || !self.is_settled(now) || !self.rebalance.is_pending(now) {
            return Vec::new();
        }
        self.rebalance.wave(now, at_most, led(&self.parts.led))
    }

    /// A session of a wave is led where it was to go, or is not.
    pub fn handle_given(&mut self, now: u64, session: &SessionId, is_there: bool) {
        self.rebalance.handle_given(now, session, is_there);
    }
}

fn led(all: &AllLed) -> impl Iterator<Item = Led<'_>> {
    all.sessions().map(|one| Led {
        session: one.id(),
        position: Position::of_key(&one.id().game, &one.id().key),
        since_us: one.since_us,
        was_moved: one.was_moved,
        stays: one.stays(),
        calls_us: one.calls.per_second_us,
    })
}
