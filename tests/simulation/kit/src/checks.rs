//! What must hold, and how often it was looked at. A condition that was never evaluated proves nothing, so it counts
//! as a failure at the end just as one that did not hold.

use std::collections::BTreeMap;
use std::fmt::{Debug, Display};

/// The evaluations of a closed list of conditions.
#[derive(Debug)]
pub struct Checks<C> {
    evaluated: BTreeMap<C, u64>,
    violation: Option<Violation<C>>,
}

/// The first condition of a run that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation<C> {
    /// Which.
    pub condition: C,
    /// What was seen in its place.
    pub seen: String,
}

impl<C: Ord + Copy + Debug> Checks<C> {
    /// None evaluated yet. Only these may be looked at, and all of them must be.
    pub fn of(conditions: &[C]) -> Checks<C> {
        Checks { evaluated: conditions.iter().map(|&condition| (condition, 0)).collect(), violation: None }
    }

    /// Looks at a condition. Only the first violation of a run is kept: what follows may be its consequence.
    ///
    /// # Panics
    /// A condition that is not on the list.
    pub fn check<S: Display>(&mut self, condition: C, holds: bool, seen: impl FnOnce() -> S) {
        match self.evaluated.get_mut(&condition) {
            Some(count) => *count += 1,
            None => panic!("{condition:?} is not among the conditions of this run"),
        }
        if !holds && self.violation.is_none() {
            self.violation = Some(Violation { condition, seen: seen().to_string() });
        }
    }

    /// The first violation.
    pub fn violation(&self) -> Option<&Violation<C>> {
        self.violation.as_ref()
    }

    /// How often each condition was looked at.
    pub fn evaluated(&self) -> &BTreeMap<C, u64> {
        &self.evaluated
    }

    /// Counts another run's evaluations in, and its violation unless there is one already.
    pub fn absorb(&mut self, other: &Checks<C>) {
        for (&condition, &count) in &other.evaluated {
            *self.evaluated.entry(condition).or_default() += count;
        }
        if self.violation.is_none() {
            self.violation.clone_from(&other.violation);
        }
    }

    /// The conditions that were never looked at.
    pub fn idle(&self) -> Vec<C> {
        self.evaluated.iter().filter(|&(_, &count)| count == 0).map(|(&condition, _)| condition).collect()
    }
}

/// The conditions that no planted bug breaks, of plants with what each breaks: nothing shows that those can fail.
pub fn unbroken<C: PartialEq + Copy, P>(conditions: &[C], plants: &[(P, C)]) -> Vec<C> {
    let is_broken = |condition: &C| plants.iter().any(|(_, breaks)| breaks == condition);
    conditions.iter().copied().filter(|condition| !is_broken(condition)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_violation_is_kept_and_idle_conditions_are_named() {
        let mut checks = Checks::of(&["order", "bound", "peace"]);
        checks.check("order", true, || "");
        assert_eq!(checks.violation(), None);
        checks.check("bound", false, || "5 of 4");
        checks.check("order", false, || "its consequence");
        assert_eq!(checks.violation(), Some(&Violation { condition: "bound", seen: "5 of 4".into() }));
        assert_eq!(checks.idle(), ["peace"]);
        let mut sum = Checks::of(&["order", "bound", "peace"]);
        sum.check("peace", true, || "");
        sum.absorb(&checks);
        assert_eq!((sum.idle(), sum.violation()), (vec![], checks.violation()));
        assert_eq!(sum.evaluated()["order"], 2);
    }

    #[test]
    fn conditions_that_nothing_breaks_are_named() {
        assert_eq!(unbroken(&["order", "bound", "peace"], &[(1, "bound"), (2, "bound"), (3, "order")]), ["peace"]);
    }

    #[test]
    #[should_panic(expected = "not among the conditions")]
    fn a_condition_must_be_on_the_list() {
        Checks::of(&[1]).check(2, true, || "");
    }
}
