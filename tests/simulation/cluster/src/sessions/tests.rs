//! Seeds pass in both modes, a seed is a run, every condition is looked at, every planted bug is caught.

use super::*;

/// Seeds of each mode that every test run goes through; `cargo xtask simulate` goes through more.
const SEEDS: u64 = 60;
/// Seeds among which one must show a planted bug.
const SEARCH: u64 = 1_000;
const MODES: [Mode; 2] = [Mode::Bounded, Mode::Unbounded];

#[test]
fn seeds_pass_and_every_condition_is_looked_at() {
    let mut all = Checks::of(Condition::ALL);
    for mode in MODES {
        for seed in 0..SEEDS {
            let outcome = run(seed, mode, None, 0);
            assert_eq!(outcome.failure(), None, "seed {seed}, {mode:?}");
            all.absorb(&outcome.checks);
        }
    }
    assert_eq!(all.idle(), [], "{:?}", all.evaluated());
}

/// Seeds beyond those.
#[test]
fn what_failed_once_passes() {
    // One that was granted a session ends before it leads it, and then the one that gave it away.
    let outcome = run(9_024, Mode::Unbounded, None, 0);
    assert_eq!(outcome.failure(), None);
    let skipped = outcome.checks.evaluated().get(&Condition::SkipsKillersAlone).copied();
    assert!(skipped > Some(1), "the seed shows that no more: {skipped:?} messages were skipped");
}

#[test]
fn a_seed_is_a_run() {
    for mode in MODES {
        let (one, other) = (run(3, mode, None, 0), run(3, mode, None, 50));
        assert_eq!((one.trace.digest(), one.events), (other.trace.digest(), other.events));
        assert_ne!(one.trace.digest(), run(4, mode, None, 0).trace.digest());
    }
}

#[test]
fn every_planted_bug_is_caught_by_the_condition_that_it_breaks() {
    for &(plant, condition) in Plant::ALL {
        let is_caught = |seed: u64| {
            MODES.into_iter().any(|mode| {
                run(seed, mode, Some(plant), 0).checks.violation().map(|it| it.condition) == Some(condition)
            })
        };
        assert!((0..SEARCH).any(is_caught), "{condition:?} does not catch {plant:?}");
    }
}
