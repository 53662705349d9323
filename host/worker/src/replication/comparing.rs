//! Whether leader and follower have one state. What a fold puts out is compared with every batch; a page that is corrupted and
//! changes no output would be led by one day. So now and then both hash the state after one entry, in slices:
//!
//! ```text
//!  leader                                   follower
//!  takes a checkpoint ── Comparing ──────►  captures its state when its fold is there
//!  has its hash ──────── Compared ───────►  has its own: they are one, or it has diverged
//! ```
//!
//! The leader says so in the turn of its checkpoint, after the entries of that turn: a follower whose fold has passed it already
//! leaves it out, and takes part in the next.

use std::sync::Arc;
use std::time::Duration;

use ringside_core::ids::Position;
use ringside_core::leadership::message::Mark;
use ringside_sandbox::{Fold, Hashing, State};

/// Of so many checkpoints of a leader one is compared. A hash of 1 MiB takes 0.3 ms on either side: with one each 20 s
/// that is 0.002 % of a core, and a fiftieth of one for a thousand such matches.
const CHECKPOINTS: u32 = 4;

/// What a leader tells those who follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// It hashes its state after this entry.
    Begins(Position),
    /// That is the hash.
    Is(Mark),
}

/// A leader's part.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    checkpoints: u32,
    /// After which entry the state is that is being hashed.
    position: Option<Position>,
    said: Vec<Comparison>,
}

impl Compared {
    /// A checkpoint was taken. Whether its hash is wanted.
    pub fn begin(&mut self, position: Position) -> bool {
        let is_wanted = self.checkpoints.is_multiple_of(CHECKPOINTS);
        self.checkpoints = self.checkpoints.wrapping_add(1);
        self.position = is_wanted.then_some(position);
        self.said.extend(is_wanted.then_some(Comparison::Begins(position)));
        is_wanted
    }

    /// A checkpoint has this hash.
    pub fn hashed(&mut self, mark: Mark) {
        if self.position.take_if(|position| *position == mark.position).is_some() {
            self.said.push(Comparison::Is(mark));
        }
    }

    /// What followers are to be told.
    pub fn take_said(&mut self) -> Vec<Comparison> {
        std::mem::take(&mut self.said)
    }
}

/// A follower's part.
#[derive(Default)]
pub(crate) struct Comparing {
    /// After which entry; none if nothing is being compared.
    position: Option<Position>,
    hashing: Option<Hashing>,
    own: Option<Mark>,
    leader: Option<Mark>,
}

impl Comparing {
    /// The leader says something.
    pub fn told(&mut self, said: Comparison) {
        match said {
            Comparison::Begins(position) => *self = Comparing { position: Some(position), ..Comparing::default() },
            Comparison::Is(mark) if self.position == Some(mark.position) => self.leader = Some(mark),
            Comparison::Is(_) => {}
        }
    }

    /// Its fold is somewhere: captures the state if that is to be compared.
    pub fn pass(&mut self, fold: &mut Fold) -> Option<Arc<State>> {
        let position = self.position.filter(|_| self.hashing.is_none() && self.own.is_none())?;
        if fold.position() < position {
            return None;
        }
        let state = (fold.position() == position).then(|| fold.capture().ok().map(Arc::new)).flatten();
        match &state {
            Some(state) => self.hashing = Some(Hashing::new(Arc::clone(state))),
            // It is past that.
            None => *self = Comparing::default(),
        }
        state
    }

    /// Whether its hash is to be gone on with.
    pub fn has_work(&self) -> bool {
        self.hashing.is_some()
    }

    /// Whether the log before is wanted yet, should it turn out that the states differ.
    pub fn is_pending(&self) -> bool {
        self.position.is_some()
    }

    /// Goes on for about `budget`.
    pub fn work(&mut self, budget: Duration) {
        if let Some((position, hash)) = self.hashing.as_mut().and_then(|hashing| hashing.step(budget)) {
            (self.hashing, self.own) = (None, Some(Mark { position, hash }));
        }
    }

    /// Entries after a position never were.
    pub fn truncate(&mut self, to: Position) {
        if self.position.is_some_and(|position| position > to) {
            *self = Comparing::default();
        }
    }

    /// The leader's hash and its own, once both are there and are not the same.
    pub fn difference(&mut self) -> Option<(Mark, Mark)> {
        let (leader, own) = (self.leader?, self.own?);
        *self = Comparing::default();
        (leader != own).then_some((leader, own))
    }
}

#[cfg(test)]
mod tests {
    use ringside_core::ids::StateHash;

    use super::*;

    fn mark(position: Position, hash: u8) -> Mark {
        Mark { position, hash: StateHash([hash; 32]) }
    }

    /// A follower that has its own hash of what its leader compares.
    fn hashed(position: Position) -> Comparing {
        let mut comparing = Comparing::default();
        comparing.told(Comparison::Begins(position));
        comparing.own = Some(mark(position, 1));
        comparing
    }

    #[test]
    fn a_difference_is_found_once_and_of_one_position_only() {
        let mut comparing = hashed(7);
        assert_eq!(comparing.difference(), None, "the leader's is not there yet");
        comparing.told(Comparison::Is(mark(6, 2)));
        assert_eq!(comparing.difference(), None, "that is of another checkpoint");
        comparing.told(Comparison::Is(mark(7, 2)));
        assert_eq!(comparing.difference(), Some((mark(7, 2), mark(7, 1))));
        assert!(comparing.difference().is_none() && !comparing.is_pending());
        let mut comparing = hashed(7);
        comparing.told(Comparison::Is(mark(7, 1)));
        assert!(comparing.difference().is_none() && !comparing.is_pending(), "they are one");
    }

    #[test]
    fn what_was_withdrawn_or_is_compared_anew_is_not_compared() {
        let mut comparing = hashed(7);
        comparing.truncate(7);
        assert!(comparing.is_pending());
        comparing.truncate(6);
        comparing.told(Comparison::Is(mark(7, 2)));
        assert_eq!(comparing.difference(), None, "it never was");
        let mut comparing = hashed(7);
        comparing.told(Comparison::Begins(9));
        comparing.told(Comparison::Is(mark(7, 2)));
        assert_eq!(comparing.difference(), None);
    }

    #[test]
    fn one_of_some_checkpoints_is_compared_and_told_when_it_is_hashed() {
        let mut compared = Compared::default();
        assert!(compared.begin(10));
        compared.hashed(mark(9, 1));
        compared.hashed(mark(10, 1));
        compared.hashed(mark(10, 1));
        assert_eq!(compared.take_said(), [Comparison::Begins(10), Comparison::Is(mark(10, 1))]);
        let wanted = (1..=CHECKPOINTS).filter(|at| compared.begin(u64::from(*at) * 100)).count();
        assert_eq!((wanted, compared.take_said().len()), (1, 1));
    }
}
