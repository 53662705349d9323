//! Every decoder against broken input: each fuzz function with inputs made from the golden vectors by the seeded
//! mutator.

#![allow(clippy::unwrap_used)]

mod samples;

use ringside_protocol::fuzz::{Mutator, TARGETS, hammer};

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
    hammer(TARGETS, &corpus(), 200_000);
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
