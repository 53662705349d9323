//! The sample games, cut off and with bytes changed.

use ringside_protocol::fuzz::Mutator;
use ringside_test_support::guests;

use crate::trial::Tally;

/// Where sections begin and end.
fn borders(module: &[u8]) -> Vec<usize> {
    let mut borders = vec![8];
    while let Some((id, rest)) = module[borders[borders.len() - 1]..].split_first() {
        assert!(*id < 14, "a section");
        let digits = rest.iter().position(|byte| byte & 0x80 == 0).expect("a length") + 1;
        let length = rest[..digits].iter().rev().fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f));
        borders.push(borders[borders.len() - 1] + 1 + digits + length);
    }
    borders
}

/// Every short length, every length near the whole and near a section's border, and some between.
fn lengths(module: &[u8]) -> Vec<usize> {
    let near = |at: usize| at.saturating_sub(3)..at + 4;
    let whole = module.len();
    let mut lengths: Vec<usize> = borders(module).into_iter().flat_map(near).collect();
    lengths.extend((0..300).chain(whole - 100..whole).chain((0..whole).step_by(whole / 200)));
    lengths.retain(|length| *length < whole);
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

#[test]
fn truncated_modules() {
    let mut tally = Tally::default();
    for name in ["echo", "pong", "arena", "bad-citizens"] {
        let module = guests::module(name);
        for length in lengths(&module) {
            tally.try_out(&format!("{name} cut to {length} bytes"), &module[..length]);
        }
    }
    println!("{tally:?}");
    assert!(tally.refused > 2_000, "{tally:?}");
    // What is missing then are custom sections.
    assert!(tally.accepted < 40, "{tally:?}");
}

/// Each of these is parsed nearly to its end.
#[test]
fn a_large_truncated_module() {
    let mut tally = Tally::default();
    let module = guests::module("chess");
    for length in (module.len() / 9..module.len()).step_by(module.len() / 9) {
        tally.try_out(&format!("chess cut to {length} bytes"), &module[..length]);
    }
    assert_eq!(tally.accepted, 0, "{tally:?}");
}

#[test]
fn flipped_bits() {
    let mut tally = Tally::default();
    let mut mutator = Mutator::new(11);
    for name in ["echo", "pong", "arena", "bad-citizens"] {
        let module = guests::module(name);
        for _ in 0..120 {
            let (at, bit) = (mutator.below(module.len()), mutator.below(8));
            let mut damaged = module.clone();
            damaged[at] ^= 1 << bit;
            tally.try_out(&format!("{name} with bit {bit} of byte {at} flipped"), &damaged);
        }
    }
    println!("{tally:?}");
    assert!(tally.refused > 100 && tally.accepted > 50 && tally.skipped > 10, "{tally:?}");
}

#[test]
fn bytes_cut_out_doubled_and_mixed() {
    let mut tally = Tally::default();
    let corpus: Vec<Vec<u8>> = ["echo", "pong", "arena", "bad-citizens"].map(guests::module).into();
    let mut mutator = Mutator::new(12);
    for round in 0..2_000 {
        let damaged = mutator.mutate(&corpus);
        tally.try_out(&format!("round {round}"), &damaged);
    }
    println!("{tally:?}");
    assert!(tally.refused > 1_500, "{tally:?}");
}
