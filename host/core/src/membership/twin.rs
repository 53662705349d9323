//! Two processes with one number: a copy of a state directory, or an earlier run that was thought dead. Which of them gives
//! way is decided by each for itself, from what it is and what it heard of the other, so that never both do, however old
//! what they heard is, and one does as soon as each has heard what the other has become. *Active* is who ever was more
//! than joining.
//!
//! | this one | the other | of different generations | of one generation |
//! |---|---|---|---|
//! | not active yet | active | gives way | gives way |
//! | active | not active yet | stays | stays |
//! | not active yet | not active yet | the later gives way | the greater contact gives way |
//! | active | active | the earlier was replaced: it gives way | the greater contact gives way |
//!
//! **Never both**: who is not active and gives way never will be, so the other, which would have to hear of it as active to
//! give way to it, does not; where both are or neither is, one order decides for both. The later run that replaces an
//! active one is the row where the others have decided already: they believe no earlier run.

use std::cmp::Ordering;

use super::{Contact, Fact};

/// What counts of a process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Twin<'a> {
    pub generation: u64,
    pub contact: &'a Contact,
    /// Whether it was ever more than joining. Of the other: as far as was heard; so what this process knows of itself is
    /// never less than what the other heard of it.
    pub was_active: bool,
}

/// What a process does that hears of another with its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It heard of itself.
    Itself,
    /// It goes on.
    Stays,
    /// It ends.
    GivesWay,
    /// It ends if the other, an earlier run, turns out to be alive.
    GivesWayIfAlive,
}

impl Twin<'_> {
    /// As a fact tells it.
    pub fn of(fact: &Fact) -> Twin<'_> {
        Twin { generation: fact.node.generation, contact: &fact.contact, was_active: fact.state.is_active() }
    }

    /// What this process does about another.
    pub fn meets(&self, other: &Twin<'_>) -> Verdict {
        let contacts = self.contact.place().cmp(&other.contact.place());
        match (self.generation.cmp(&other.generation), self.was_active, other.was_active) {
            (Ordering::Equal, ..) if contacts == Ordering::Equal => Verdict::Itself,
            (Ordering::Less, _, true) | (Ordering::Equal, false, true) => Verdict::GivesWay,
            (Ordering::Equal, mine, theirs) if mine == theirs && contacts == Ordering::Greater => Verdict::GivesWay,
            (Ordering::Greater, false, _) => Verdict::GivesWayIfAlive,
            _ => Verdict::Stays,
        }
    }
}

#[cfg(test)]
mod tests;
