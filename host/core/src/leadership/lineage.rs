//! A log's lineage: which epoch appended which of its positions. Two logs of a session agree at a position exactly if
//! the same epoch appended it, for an epoch has one leader and that leader appends to a position once; and if they agree
//! at one, they agree at all before it.

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, Position};
use crate::limits;

/// An epoch, and the first position that it may append.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    /// Whose.
    pub epoch: Epoch,
    /// From here on.
    pub first: Position,
}

/// The terms of a log, oldest first: epochs grow, first positions do not shrink. A term that appended nothing stays, so
/// that whoever saw its epoch is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage(Vec<Term>);

impl Lineage {
    /// Of a session that begins.
    pub fn new(epoch: Epoch) -> Lineage {
        Lineage(vec![Term { epoch, first: 1 }])
    }

    /// A new epoch goes on after `end`. Terms that began later were of what it leaves out. Beyond
    /// [`limits::LINEAGE`] the oldest term is forgotten: what it appended counts as the next one's, so a log that ends
    /// in it agrees with nothing and begins with a checkpoint.
    pub fn begin(&mut self, epoch: Epoch, end: Position) {
        self.0.retain(|term| term.first <= end + 1);
        self.0.push(Term { epoch, first: end + 1 });
        if self.0.len() > limits::LINEAGE {
            self.0.remove(0);
        }
    }

    /// The terms.
    pub fn terms(&self) -> &[Term] {
        &self.0
    }

    /// The newest epoch.
    pub fn newest(&self) -> Option<Epoch> {
        self.0.last().map(|term| term.epoch)
    }

    /// The epoch before the newest.
    pub fn before_newest(&self) -> Option<Epoch> {
        self.0.iter().rev().nth(1).map(|term| term.epoch)
    }

    fn at(&self, position: Position) -> Option<Term> {
        self.0.iter().rev().find(|term| term.first <= position).copied()
    }

    /// Which epoch appended a position.
    pub fn epoch_at(&self, position: Position) -> Option<Epoch> {
        self.at(position).map(|term| term.epoch)
    }

    /// The last position at which this log, which ends at `end`, and another agree.
    pub fn common(&self, end: Position, other: &Lineage, other_end: Position) -> Position {
        let mut position = end.min(other_end);
        while position > 0 {
            match (self.at(position), other.at(position)) {
                (Some(one), Some(two)) if one.epoch == two.epoch => return position,
                // Down to before the later of the two began, they differ.
                (Some(one), Some(two)) => position = one.first.max(two.first) - 1,
                _ => return 0,
            }
        }
        0
    }

    /// How much of what somebody saw, up to a position of a log with a lineage, is in this log, which ends at `end`. None
    /// if that is so long ago that the terms of then are forgotten: then only what was committed is sure to be.
    ///
    /// A client is given the lineage when it attaches and gives it back when it resumes: an epoch and a position alone do
    /// not say where a branch that this log does not know began. One that saw more than this is told `rewound` to here
    /// before it is told anything else.
    pub fn kept(&self, end: Position, seen: &Lineage, position: Position) -> Option<Position> {
        let is_forgotten = |lineage: &Lineage| lineage.0.first().is_none_or(|term| term.first > 1);
        match self.common(end, seen, position) {
            0 if position > 0 && (is_forgotten(self) || is_forgotten(seen)) => None,
            common => Some(common),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn epoch(number: u64) -> Epoch {
        Epoch { number, node: 1, node_generation: 1 }
    }

    #[test]
    fn logs_agree_up_to_where_they_parted() {
        let mut one = Lineage::new(epoch(1));
        one.begin(epoch(2), 10);
        let mut other = one.clone();
        one.begin(epoch(3), 20);
        other.begin(epoch(4), 15);
        assert_eq!(one.common(25, &other, 30), 15);
        assert_eq!(other.common(30, &one, 25), 15);
        assert_eq!(one.common(12, &other, 30), 12);
        assert_eq!(one.common(0, &other, 30), 0);
        assert_eq!(one.epoch_at(20), Some(epoch(2)));
        assert_eq!(one.epoch_at(21), Some(epoch(3)));
    }

    #[test]
    fn what_was_seen_is_kept_as_far_as_the_branch_goes() {
        let mut lineage = Lineage::new(epoch(1));
        let first = lineage.clone();
        lineage.begin(epoch(2), 10);
        let mut lost = first.clone();
        lost.begin(epoch(3), 7);
        lineage.begin(epoch(4), 20);
        assert_eq!(lineage.kept(30, &first, 8), Some(8));
        assert_eq!(lineage.kept(30, &first, 13), Some(10));
        assert_eq!(lineage.kept(30, &lineage, 40), Some(30));
        assert_eq!(lineage.kept(30, &lost, 40), Some(7), "of a branch that it does not know it has what came before");
    }

    #[test]
    fn the_oldest_terms_are_forgotten() {
        let mut lineage = Lineage::new(epoch(1));
        for number in 2..=limits::LINEAGE as u64 + 1 {
            lineage.begin(epoch(number), number * 10);
        }
        assert_eq!(lineage.terms().len(), limits::LINEAGE);
        let old = Lineage::new(epoch(1));
        assert_eq!(lineage.kept(10_000, &old, 5), None);
        assert_eq!(lineage.common(10_000, &old, 5), 0, "a log of a forgotten term begins with a checkpoint");
    }

    proptest! {
        /// Two logs as lists of the epoch of each entry, parted at random; the lineages find what the lists say.
        #[test]
        fn common_is_the_longest_common_prefix(
            shared in proptest::collection::vec(0..3_u64, 1..6),
            one in proptest::collection::vec(0..3_u64, 0..4),
            two in proptest::collection::vec(0..3_u64, 0..4),
        ) {
            let grow = |lineage: &mut Lineage, log: &mut Vec<Epoch>, number: u64, entries: u64| {
                lineage.begin(epoch(number), log.len() as u64);
                log.extend((0..entries).map(|_| epoch(number)));
            };
            let (mut lineage, mut log) = (Lineage::default(), Vec::new());
            shared.iter().enumerate().for_each(|(at, entries)| grow(&mut lineage, &mut log, at as u64, *entries));
            let (mut lineage_2, mut log_2) = (lineage.clone(), log.clone());
            one.iter().enumerate().for_each(|(at, entries)| grow(&mut lineage, &mut log, 10 + 2 * at as u64, *entries));
            two.iter().enumerate().for_each(|(at, entries)| grow(&mut lineage_2, &mut log_2, 11 + 2 * at as u64, *entries));
            let expected = log.iter().zip(&log_2).take_while(|(a, b)| a == b).count() as u64;
            prop_assert_eq!(lineage.common(log.len() as u64, &lineage_2, log_2.len() as u64), expected);
            prop_assert_eq!(lineage_2.common(log_2.len() as u64, &lineage, log.len() as u64), expected);
        }
    }
}
