//! The sample games with another program in them: still WebAssembly, mostly.

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
