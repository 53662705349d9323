//! The sample games with another program in them: still WebAssembly, mostly.

use ringside_sandbox::fuzz::fuzz_upload;
use ringside_sandbox::validate::inspect;
use ringside_test_support::guests;
use wasm_mutate::WasmMutate;

use crate::trial::Tally;

fn mutate(name: &str, mutants: u64) -> Tally {
    let mut tally = Tally::default();
    let module = guests::module(name);
    for seed in 0..mutants {
        let mut mutate = WasmMutate::default();
        mutate.seed(seed).fuel(1_000).preserve_semantics(false);
        let Ok(mut found) = mutate.run(&module) else { continue };
        if let Some(Ok(mutant)) = found.next() {
            tally.try_out(&format!("{name}, mutant {seed}"), &mutant);
        }
    }
    println!("{name}: {tally:?}");
    tally
}

#[test]
fn mutants_of_event_driven_games() {
    let echo = mutate("echo", 120);
    assert!(echo.accepted > 30 && echo.refused > 5, "{echo:?}");
}

#[test]
fn mutants_of_ticking_games() {
    let pong = mutate("pong", 60);
    let arena = mutate("arena", 60);
    assert!(pong.accepted + arena.accepted > 30 && pong.refused + arena.refused > 5, "{pong:?} {arena:?}");
}

/// Thousands more, as far as the rewrite: neither it nor the checks before it fail at what they should refuse.
#[test]
fn mutants_of_mutants_are_checked_and_rewritten() {
    let mut corpus = vec![guests::module("echo")];
    let (mut tried, mut accepted) = (0, 0);
    for seed in 0..2_000 {
        let parent = corpus[seed as usize % corpus.len()].clone();
        let mut mutate = WasmMutate::default();
        mutate.seed(seed).fuel(200).preserve_semantics(false);
        let Ok(mut found) = mutate.run(&parent) else { continue };
        let Some(Ok(mutant)) = found.next() else { continue };
        fuzz_upload(&mutant);
        tried += 1;
        if inspect(&mutant).is_ok() {
            accepted += 1;
            // The next ones are mutants of this.
            corpus.push(mutant);
        }
    }
    println!("{accepted} of {tried} accepted");
    assert!(tried > 1_200 && (500..tried - 100).contains(&accepted), "{accepted} of {tried}");
}
