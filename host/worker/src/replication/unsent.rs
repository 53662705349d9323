//! Which of a worker's sessions have entries to send, and when those leave: with the turn that appended them where
//! somebody waits for them; else all together, once [`GATHERING`] has passed since the first. Followers of a match that
//! takes datagrams so hear of it twenty-five times a second, and not with each turn.

use std::time::{Duration, Instant};

/// What nobody waits for is sent at the latest so long after it was appended: less than a heartbeat, so that there are none
/// beside it. Who goes on after a death lacks up to so much of what views have shown, and shows the first of its own after
/// more than ten times as long.
const GATHERING: Duration = Duration::from_millis(40);

/// Indices of sessions. Each is in either list at most once, for its [`Lead`](super::Lead) knows in which it is.
#[derive(Default)]
pub(crate) struct Unsent {
    turn: Vec<usize>,
    gathered: Vec<usize>,
    due: Option<Instant>,
}

impl Unsent {
    /// When gathered ones are due.
    pub fn next_wake(&self) -> Option<Instant> {
        self.due
    }

    /// To be looked at when the turn ends.
    pub fn push(&mut self, index: usize) {
        self.turn.push(index);
    }

    /// Nobody waits for what it appended.
    pub fn gather(&mut self, now: Instant, index: usize) {
        self.gathered.push(index);
        self.due.get_or_insert(now + GATHERING);
    }

    /// Something of one of them leaves now: so does the rest.
    pub fn hurry(&mut self, now: Instant) {
        self.due = self.due.map(|due| due.min(now));
    }

    /// It is not led here any more.
    pub fn forget(&mut self, index: usize) {
        self.turn.retain(|other| *other != index);
        self.gathered.retain(|other| *other != index);
    }

    /// Those of this turn.
    pub fn take_turn(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.turn)
    }

    /// Gathered ones, if they are due.
    pub fn take_due(&mut self, now: Instant) -> Vec<usize> {
        match self.due.take_if(|due| *due <= now) {
            Some(_) => std::mem::take(&mut self.gathered),
            None => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gathered_leaves_together_a_while_after_the_first() {
        let (mut unsent, begun) = (Unsent::default(), Instant::now());
        unsent.gather(begun, 1);
        unsent.gather(begun + GATHERING / 2, 2);
        unsent.gather(begun + GATHERING / 2, 3);
        unsent.forget(2);
        assert_eq!(unsent.next_wake(), Some(begun + GATHERING));
        assert!(unsent.take_due(begun + GATHERING / 2).is_empty());
        assert_eq!(unsent.take_due(begun + GATHERING), [1, 3]);
        assert_eq!(unsent.next_wake(), None);
        unsent.hurry(begun);
        assert_eq!(unsent.next_wake(), None, "there is nothing");
        unsent.gather(begun, 4);
        unsent.hurry(begun);
        assert_eq!(unsent.take_due(begun), [4]);
        unsent.push(1);
        assert_eq!(unsent.take_turn(), [1]);
    }
}
