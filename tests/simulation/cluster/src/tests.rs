//! Seeds pass, a seed is a run, every condition is looked at, every planted bug is caught by the condition it breaks.

use ringside_simulation_kit::checks::unbroken;

use super::*;

/// Seeds that every test run goes through; `cargo xtask simulate` goes through more.
const SEEDS: u64 = 40;
/// Seeds among which one must show a planted bug.
const SEARCH: u64 = 100;

#[test]
fn seeds_pass_and_every_condition_is_looked_at() {
    let mut all = Checks::of(Condition::ALL);
    for seed in 0..SEEDS {
        let outcome = run(seed, None, 0);
        assert_eq!(outcome.failure(), None, "seed {seed}");
        all.absorb(&outcome.checks);
    }
    assert_eq!(all.idle(), [], "{:?}", all.evaluated());
}

#[test]
fn a_seed_is_a_run() {
    for seed in [3, 1_000_003] {
        let (one, other) = (run(seed, None, 0), run(seed, None, 50));
        assert_eq!((one.trace.digest(), one.events), (other.trace.digest(), other.events));
        assert_ne!(one.trace.digest(), run(seed + 1, None, 0).trace.digest());
    }
}

#[test]
fn every_planted_bug_is_caught_by_the_condition_that_it_breaks() {
    for &(plant, condition) in Plant::ALL {
        let caught =
            |seed: &u64| run(*seed, Some(plant), 0).checks.violation().map(|it| it.condition) == Some(condition);
        let seed = (0..SEARCH).find(caught);
        assert!(seed.is_some(), "{condition:?} does not catch {plant:?}");
    }
}

#[test]
fn a_bug_is_planted_for_every_condition() {
    assert_eq!(unbroken(Condition::ALL, Plant::ALL), [], "nothing shows that these can fail");
}
