//! Every decoder against broken input: each fuzz function with inputs made from the golden vectors by the seeded
//! mutator. `RINGSIDE_FUZZ_SEED` and `RINGSIDE_FUZZ_ROUNDS` choose others; a failure names its input.

#![allow(clippy::unwrap_used)]

mod samples;

use std::panic::{AssertUnwindSafe, catch_unwind};

use ringside_protocol::fuzz::{Mutator, TARGETS};

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// Golden vectors, alone and one behind another; frames and fragments with the byte before them that their fuzz
/// functions expect.
fn corpus() -> Vec<Vec<u8>> {
    let vectors: Vec<Vec<u8>> = samples::files().into_iter().flat_map(|(_, vectors)| vectors).map(|v| v.1).collect();
    let mut corpus = vec![Vec::new()];
    let mut stream = vec![3];
    let mut datagrams = Vec::new();
    for vector in vectors {
        stream.extend_from_slice(&vector);
        datagrams.push(vector.len().min(255) as u8);
        datagrams.extend_from_slice(&vector[..vector.len().min(255)]);
        corpus.push([&[7], &vector[..]].concat());
        corpus.push(vector);
    }
    corpus.extend([stream, datagrams]);
    corpus
}

#[test]
fn decoders_survive_broken_input() {
    let corpus = corpus();
    let mut mutator = Mutator::new(number("RINGSIDE_FUZZ_SEED", 1));
    for round in 0..number("RINGSIDE_FUZZ_ROUNDS", 200_000) {
        let input = mutator.mutate(&corpus);
        for (name, target) in TARGETS {
            let survived = catch_unwind(AssertUnwindSafe(|| target(&input)));
            assert!(survived.is_ok(), "{name}, round {round}: {input:02x?}");
        }
    }
}

#[test]
fn the_mutator_reaches_the_decoders_depths() {
    use ringside_protocol::frame::{ServerFrame, WireFrame};
    let corpus: Vec<Vec<u8>> =
        samples::server_frames().iter().map(|(_, frame)| postcard::to_allocvec(frame).unwrap()).collect();
    let mut mutator = Mutator::new(7);
    let (mut good, mut bad) = (0, 0);
    for _ in 0..4_000 {
        match ServerFrame::decode(&mutator.mutate(&corpus)) {
            Ok(_) => good += 1,
            Err(_) => bad += 1,
        }
    }
    assert!(good > 100 && bad > 100, "{good} decoded, {bad} did not");
}

#[test]
fn one_seed_gives_one_sequence() {
    let corpus = corpus();
    let run = |seed| {
        let mut mutator = Mutator::new(seed);
        (0..50).map(|_| mutator.mutate(&corpus)).collect::<Vec<_>>()
    };
    assert_eq!(run(9), run(9));
    assert_ne!(run(9), run(10));
}
