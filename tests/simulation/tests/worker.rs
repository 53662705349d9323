//! The worker's simulator over seeds: every condition holds and is looked at, a seed is a run, and planted bugs are
//! caught by the condition that they break.

use ringside_simulation::worker::{Condition, Guests, Outcome, Plant, run};
use ringside_simulation_kit::checks::unbroken;

fn seeds(first: u64, count: u64) {
    let guests = Guests::load();
    for seed in first..first + count {
        let outcome = run(&guests, seed, None, 200);
        if let Some(failure) = outcome.failure() {
            let trace: Vec<&str> = outcome.trace.lines().collect();
            panic!("seed {seed}: {failure}\n{}\nrepeat it with: cargo xtask simulate --seed {seed}", trace.join("\n"));
        }
    }
}

#[test]
fn seeds_from_1_on() {
    seeds(1, 20);
}

#[test]
fn seeds_from_1001_on() {
    seeds(1001, 20);
}

#[test]
fn seeds_from_2001_on() {
    seeds(2001, 20);
}

#[test]
fn one_seed_twice_is_one_trace() {
    let guests = Guests::load();
    for seed in [3, 4] {
        let trace = || run(&guests, seed, None, usize::MAX).trace;
        let (once, again) = (trace(), trace());
        assert_eq!(once.digest(), again.digest());
        let differs = once.lines().zip(again.lines()).find(|(left, right)| left != right);
        assert!(differs.is_none(), "seed {seed}: {:?}", differs.map(|(left, right)| format!("{left}\n{right}")));
        assert!(once.lines().count() > 5_000, "the whole trace is compared");
    }
    let digest = |seed| run(&guests, seed, None, 0).trace.digest();
    assert_ne!(digest(3), digest(4), "another seed is another run");
}

/// How many seeds are searched for a planted bug.
const SEARCH: u64 = 60;

fn caught(plants: &[(Plant, Condition)]) {
    let guests = Guests::load();
    for &(plant, condition) in plants {
        let mut others = Vec::new();
        let found = (1..=SEARCH).find(|&seed| {
            let outcome: Outcome = run(&guests, seed, Some(plant), 0);
            match outcome.checks.violation() {
                Some(violation) if violation.condition == condition => true,
                Some(violation) => {
                    others.push(format!("{:?}: {}", violation.condition, violation.seen));
                    false
                }
                None => false,
            }
        });
        let seed = found.unwrap_or_else(|| panic!("{plant:?} is not caught by {condition:?}; others: {others:?}"));
        println!("{plant:?} is caught by {condition:?} with seed {seed}");
    }
}

#[test]
fn the_first_planted_bugs_are_caught() {
    caught(&Plant::ALL[..Plant::ALL.len() / 2]);
}

#[test]
fn the_other_planted_bugs_are_caught() {
    caught(&Plant::ALL[Plant::ALL.len() / 2..]);
}

#[test]
fn a_bug_is_planted_for_every_condition() {
    assert_eq!(unbroken(Condition::ALL, Plant::ALL), [], "nothing shows that these can fail");
}
