//! Which branch a session's numbers belong to, and how much of those before it was kept: what a client that comes back
//! from one of them is told (`rewound`). Part of what a follower has, for it is asked when it leads.

use std::collections::BTreeMap;

use bytes::Bytes;
use ringside_core::ids::{Epoch, Position, Slot};
use ringside_core::leadership::record::Cause;
use ringside_protocol::ids::Branch;
use ringside_sandbox::{Fold, SlotState};
use serde::{Deserialize, Serialize};

use crate::limits::BRANCHES;

/// A player's numbers where a branch was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Since when the slot is the player's.
    joined: Position,
    /// The last message of the player that was kept.
    pub last_input: u64,
    /// The last message to the player that was kept.
    pub last_output: u64,
}

/// A branch that was left, or begun on another line that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Left {
    branch: Branch,
    tick: u64,
    slots: BTreeMap<Slot, Kept>,
}

/// A session's branches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Branches {
    current: Branch,
    /// Oldest first, at most [`BRANCHES`]; those of other lines before what they come from.
    left: Vec<Left>,
}

/// What a client from another branch is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fork {
    /// The tick that it goes on from.
    pub tick: u64,
    pub kept: Kept,
}

impl Branches {
    /// Of a session that begins.
    pub fn new(epoch: Epoch) -> Branches {
        Branches { current: Branch(epoch), left: Vec::new() }
    }

    /// As logs of nodes and states of evicted sessions have them, beside checkpoints, for as long as there is a store.
    pub fn encode(&self) -> Bytes {
        // Plain data into memory always serializes.
        postcard::to_stdvec(self).unwrap_or_default().into()
    }

    /// What was encoded so.
    ///
    /// # Errors
    /// It is damaged, or of another release.
    pub fn decode(bytes: &[u8]) -> Result<Branches, postcard::Error> {
        postcard::from_bytes(bytes)
    }

    /// The branch that numbers belong to.
    pub fn current(&self) -> Branch {
        self.current
    }

    /// Whether an epoch is one of a branch that is known, that goes on or was left.
    pub fn knows(&self, epoch: Epoch) -> bool {
        self.current.0 == epoch || self.left.iter().any(|left| left.branch.0 == epoch)
    }

    /// Whether a record in the log begins a branch: a promotion that may have left something out. Whoever was granted the
    /// lead has everything, and who goes on after a cut withdraws nothing of its own.
    pub fn begins(cause: Cause) -> bool {
        matches!(cause, Cause::Promoted)
    }

    /// A branch begins after what a fold has.
    pub fn begin(&mut self, epoch: Epoch, fold: &Fold) {
        let kept = |state: &SlotState| {
            let (joined, last_input) = (state.joined, state.last_input);
            (state.slot, Kept { joined, last_input, last_output: state.outputs.last() })
        };
        self.leave(epoch, fold.tick(), fold.slots().map(kept).collect());
    }

    fn leave(&mut self, epoch: Epoch, tick: u64, slots: BTreeMap<Slot, Kept>) {
        self.left.push(Left { branch: self.current, tick, slots });
        if self.left.len() > BRANCHES {
            self.left.remove(0);
        }
        self.current = Branch(epoch);
    }

    /// A line that is over has begun branches that this one did not: what both have of them is what there was when they began,
    /// or less if this line had left that sooner. Whether there was one that was not known.
    pub fn learn(&mut self, other: &Branches) -> bool {
        let mut is_news = false;
        let begun = other.left.iter().skip(1).map(|left| left.branch).chain([other.current]);
        for (from, branch) in other.left.iter().zip(begun) {
            if self.knows(branch.0) {
                continue;
            }
            let parent = self.left.iter().position(|left| left.branch == from.branch);
            let mut at = match parent {
                Some(at) => at,
                None if self.current == from.branch => self.left.len(),
                // Nothing is known of where it comes from.
                None => continue,
            };
            // One that began later from the same has more of it, which is not to count as all that there is of this one.
            while at > 0 && self.left[at - 1].tick > from.tick {
                at -= 1;
            }
            self.left.insert(at, Left { branch, ..from.clone() });
            is_news = true;
        }
        let beyond = self.left.len().saturating_sub(BRANCHES);
        self.left.drain(..beyond);
        is_news
    }

    /// What a client is told that comes from a branch of which nothing is known: everything that it saw is withdrawn, for nobody
    /// can say what of it is this branch's as well. Of its messages those that were applied here are kept, by their numbers.
    pub fn fork_of_unknown(state: &SlotState) -> Fork {
        Fork { tick: 0, kept: Kept { joined: state.joined, last_input: state.last_input, last_output: 0 } }
    }

    /// What was kept of a branch for a player who joined then; nothing if it is not known: from too long ago, or of a
    /// line that this one does not come from.
    pub fn fork(&self, branch: Branch, slot: Slot, joined: Position) -> Option<Fork> {
        let from = self.left.iter().position(|left| left.branch == branch)?;
        let later = self.left.get(from..)?;
        let forks = later.iter().map(|left| {
            let kept = left.slots.get(&slot).copied().filter(|kept| kept.joined == joined)?;
            Some(Fork { tick: left.tick, kept })
        });
        // Each later branch may have left out more.
        forks.reduce(|one, other| {
            let (one, other) = (one?, other?);
            let kept = Kept {
                joined,
                last_input: one.kept.last_input.min(other.kept.last_input),
                last_output: one.kept.last_output.min(other.kept.last_output),
            };
            Some(Fork { tick: one.tick.min(other.tick), kept })
        })?
    }
}

#[cfg(test)]
mod tests {
    use ringside_golden::GoldenFile;

    use super::*;

    const PUBLISHED: GoldenFile = GoldenFile {
        package_directory: env!("CARGO_MANIFEST_DIR"),
        name: "branches-1.hex",
        package: "ringside-worker",
        version: "ringside_core::durable::object::FORMAT",
    };

    #[test]
    fn branches_of_the_published_format_are_written_and_read_as_they_were() {
        PUBLISHED.check_samples(|it: &Branches| it.encode().to_vec(), |bytes| Branches::decode(bytes).unwrap());
    }

    fn epoch(number: u64) -> Epoch {
        Epoch { number, node: 1, node_generation: 1 }
    }

    fn slots(last_input: u64, last_output: u64) -> BTreeMap<Slot, Kept> {
        BTreeMap::from([(Slot(0), Kept { joined: 2, last_input, last_output })])
    }

    #[test]
    fn a_later_branch_may_have_left_out_more() {
        let mut branches = Branches::new(epoch(1));
        branches.leave(epoch(2), 10, slots(5, 7));
        branches.leave(epoch(3), 9, slots(4, 9));
        let fork = |number, joined| branches.fork(Branch(epoch(number)), Slot(0), joined);
        let kept = |last_input, last_output| Kept { joined: 2, last_input, last_output };
        assert_eq!(fork(1, 2), Some(Fork { tick: 9, kept: kept(4, 7) }));
        assert_eq!(fork(2, 2), Some(Fork { tick: 9, kept: kept(4, 9) }));
        assert_eq!(fork(2, 3), None, "another stay");
        assert_eq!(fork(3, 2), None, "it is the branch that goes on");
        assert_eq!(fork(9, 2), None, "of another line");
    }

    #[test]
    fn what_began_on_a_line_that_is_over_is_known_by_what_there_was_then() {
        // Epoch 2 goes on; 3 and then 4 had begun elsewhere, from 2.
        let mut branches = Branches::new(epoch(1));
        branches.leave(epoch(2), 10, slots(5, 7));
        let mut other = branches.clone();
        other.leave(epoch(3), 20, slots(8, 9));
        other.leave(epoch(4), 30, slots(11, 12));
        assert!(branches.learn(&other));
        let fork = |branches: &Branches, number| branches.fork(Branch(epoch(number)), Slot(0), 2);
        let kept = |last_input, last_output| Kept { joined: 2, last_input, last_output };
        assert_eq!(fork(&branches, 3), Some(Fork { tick: 20, kept: kept(8, 9) }));
        assert_eq!(fork(&branches, 4), Some(Fork { tick: 20, kept: kept(8, 9) }), "4 comes from 3");
        assert_eq!(fork(&branches, 1), Some(Fork { tick: 10, kept: kept(5, 7) }), "as before");
        // Once more changes nothing; and the line is left as it was.
        let learned = branches.clone();
        assert!(!branches.learn(&other));
        assert_eq!(branches, learned);
        branches.leave(epoch(5), 15, slots(6, 8));
        assert_eq!(fork(&branches, 4), Some(Fork { tick: 15, kept: kept(6, 8) }));
        assert_eq!(fork(&branches, 2), Some(Fork { tick: 15, kept: kept(6, 8) }));
    }

    #[test]
    fn of_two_branches_from_one_each_has_what_there_was_when_it_began() {
        for order in [[30, 20], [20, 30]] {
            let mut branches = Branches::new(epoch(1));
            for tick in order {
                let mut other = Branches::new(epoch(1));
                other.leave(epoch(tick), tick, slots(tick, tick));
                branches.learn(&other);
            }
            for tick in order {
                let kept = Kept { joined: 2, last_input: tick, last_output: tick };
                assert_eq!(branches.fork(Branch(epoch(tick)), Slot(0), 2), Some(Fork { tick, kept }));
            }
        }
    }

    #[test]
    fn what_began_from_a_branch_that_was_left_sooner_has_no_more_of_it() {
        let mut other = Branches::new(epoch(1));
        other.leave(epoch(2), 10, slots(5, 7));
        let mut branches = Branches::new(epoch(1));
        branches.leave(epoch(3), 8, slots(4, 6));
        branches.learn(&other);
        let kept = Kept { joined: 2, last_input: 4, last_output: 6 };
        assert_eq!(branches.fork(Branch(epoch(2)), Slot(0), 2), Some(Fork { tick: 8, kept }));
        // Of another session, or from too long ago.
        let mut stranger = Branches::new(epoch(7));
        stranger.leave(epoch(8), 1, slots(1, 1));
        branches.learn(&stranger);
        assert_eq!(branches.fork(Branch(epoch(8)), Slot(0), 2), None);
    }

    #[test]
    fn branches_beyond_the_bound_are_forgotten_oldest_first() {
        let mut branches = Branches::new(epoch(1));
        for number in 2..=BRANCHES as u64 + 2 {
            branches.leave(epoch(number), 1, slots(1, 1));
        }
        assert_eq!(branches.fork(Branch(epoch(1)), Slot(0), 2), None);
        assert!(branches.fork(Branch(epoch(2)), Slot(0), 2).is_some());
        assert_eq!(branches.left.len(), BRANCHES);
    }
}
