//! Seeds pass in both modes, a seed is a run, every condition is looked at, every planted bug is caught.

use ringside_simulation_kit::checks::unbroken;

use super::*;

/// Seeds of each mode that every test run goes through; `cargo xtask simulate` goes through more.
const SEEDS: u64 = 60;
/// Seeds among which one must show a planted bug.
const SEARCH: u64 = 1_000;
const MODES: [Mode; 3] = [Mode::Bounded, Mode::Unbounded, Mode::Away];

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

/// A seed beyond those: conditions once took what comes of it for a bug.
#[test]
fn one_that_has_ended_is_granted_a_session() {
    let outcome = run(20_714, Mode::Unbounded, None, usize::MAX);
    assert_eq!(outcome.failure(), None);
    let lines: Vec<&str> = outcome.trace.lines().collect();
    let granted = lines.iter().enumerate().filter(|(_, line)| line.contains(": Granted {"));
    let is_to_one_that_has_ended = |(at, line): (usize, &&str)| {
        let node = line.split("node: ").nth(1).and_then(|rest| rest.split(',').next()?.parse::<u64>().ok());
        // Machines are numbered from 0.
        let machine = format!(" m{} ", node.expect("a node") - 1);
        let said = |line: &&&str| {
            let said = line.split(&machine).nth(1).map(str::trim);
            said.is_some_and(|said| said == "crashes" || said.starts_with("begins as"))
        };
        lines[..at].iter().rev().find(said).is_some_and(|line| line.ends_with("crashes"))
    };
    assert!(granted.into_iter().any(is_to_one_that_has_ended), "the seed shows that no more");
}

#[test]
fn a_seed_is_a_run() {
    for mode in MODES {
        let (one, other) = (run(3, mode, None, 0), run(3, mode, None, 50));
        assert_eq!((one.trace.digest(), one.events), (other.trace.digest(), other.events));
        assert_ne!(one.trace.digest(), run(4, mode, None, 0).trace.digest());
    }
}

/// What a machine that was away comes back to is what it is to come back to: else nothing was tried.
#[test]
fn while_a_machine_is_away_sessions_end_go_on_and_are_evicted() {
    let happens = [
        "is away: Asleep",
        "is away: CutOff",
        "is away: Down",
        "0: is over",
        "1: leads in Epoch { number: 4",
        "1: sends",
        ": Evicted {}",
        "3: record 2",
    ];
    let mut seen = [0; 8];
    for seed in 0..SEEDS / 3 {
        let outcome = run(seed, Mode::Away, None, usize::MAX);
        let lines: Vec<&str> = outcome.trace.lines().collect();
        let back = lines.iter().position(|line| line.ends_with("is back")).expect("it comes back");
        for (what, seen) in happens.iter().zip(&mut seen) {
            *seen += u64::from(lines[..back].iter().any(|line| line.contains(what)));
        }
    }
    assert!(seen.iter().all(|seen| *seen > 0), "{happens:?}: {seen:?}");
}

#[test]
fn every_planted_bug_is_caught_by_the_condition_that_it_breaks() {
    for &(plant, condition) in Plant::ALL {
        let is_caught = |seed: u64| {
            plant.modes().iter().any(|mode| {
                run(seed, *mode, Some(plant), 0).checks.violation().map(|it| it.condition) == Some(condition)
            })
        };
        assert!((0..SEARCH).any(is_caught), "{condition:?} does not catch {plant:?}");
    }
}

#[test]
fn a_bug_is_planted_for_every_condition() {
    assert_eq!(unbroken(Condition::ALL, Plant::ALL), [], "nothing shows that these can fail");
}
