//! What happens to a session of which two sides went on while the cluster was cut.
//!
//! - *consistent*: it does not come to that. The chain of records is in the store: of two who want to make the next
//!   record one does, and the other pauses.
//! - *available*: both may. On healing [`goes_on`] decides, on whichever side it is asked.
//!
//! The order in which it is done is in [`super::leader`]: the leader of the lesser epoch stops as soon as it hears of the
//! greater, for nothing may be said in an epoch older than one that was seen, and sends its claim; the other compares.
//! The winner *first* takes an epoch above both, so that the loser, and everybody who followed it, is told by an epoch and
//! not by a verdict that may be lost; then the loser keeps its log as a fork and sends its players `superseded` with the
//! winner's address.

use super::{Claim, newer};

/// Whether `this` goes on: the branch with more player inputs accepted since the fork, and of equals the greater epoch.
/// Total: of two claims in different epochs exactly one does.
///
/// Inputs and not time or length, for they are what players did: ticks go on by themselves on both sides.
pub fn goes_on(this: &Claim, other: &Claim) -> bool {
    match this.inputs.cmp(&other.inputs) {
        std::cmp::Ordering::Equal => newer(this.epoch, other.epoch),
        order => order.is_gt(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::Epoch;

    fn claim(number: u64, node: u64, inputs: u64) -> Claim {
        let session = "arena/a@0000000000000001".parse().unwrap();
        Claim { session, epoch: Epoch { number, node, node_generation: 1 }, inputs }
    }

    #[test]
    fn more_inputs_since_the_fork_win_even_in_a_lesser_epoch() {
        assert!(goes_on(&claim(1, 1, 5), &claim(2, 2, 4)));
        assert!(goes_on(&claim(2, 2, 5), &claim(1, 1, 5)));
        assert!(!goes_on(&claim(1, 1, 5), &claim(2, 2, 5)));
    }

    proptest! {
        #[test]
        fn exactly_one_goes_on(one in (1..4_u64, 1..4_u64, 0..3_u64), two in (1..4_u64, 1..4_u64, 0..3_u64)) {
            prop_assume!((one.0, one.1) != (two.0, two.1));
            let (one, two) = (claim(one.0, one.1, one.2), claim(two.0, two.1, two.2));
            prop_assert_ne!(goes_on(&one, &two), goes_on(&two, &one));
        }
    }
}
