//! Increments of states that are made by hand.

use proptest::prelude::*;

use super::super::PAGE;
use super::*;
use crate::host_state::HostState;

const PAGES: u32 = 32;

fn state(position: Position, pages: &[(u32, u8)]) -> State {
    let mut host = HostState::new();
    host.position = position;
    let mut contents = Vec::new();
    pages.iter().for_each(|(_, byte)| contents.extend_from_slice(&[*byte; PAGE]));
    State {
        module: ringside_core::ids::ModuleHash([7; 32]),
        rewriter: 3,
        numbers: pages.iter().map(|(number, _)| *number).collect(),
        contents,
        memory_bytes: PAGES as usize * PAGE,
        globals: vec![u128::from(position)],
        host,
        hash: Default::default(),
        version: Default::default(),
    }
}

fn many(position: Position, but: &[(u32, u8)]) -> State {
    let mut pages: std::collections::BTreeMap<u32, u8> = (0..PAGES / 2).map(|number| (number, 1)).collect();
    pages.extend(but.iter().copied());
    pages.retain(|_, byte| *byte != 0);
    state(position, &pages.into_iter().collect::<Vec<_>>())
}

/// Bytes in hexadecimal; a long run of one byte is that byte, `x` and how often.
fn hex(bytes: &[u8]) -> String {
    let run = |run: &[u8]| match run.len() {
        ..16 => run.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        count => format!(" {:02x}x{count} ", run[0]),
    };
    bytes.chunk_by(|one, other| one == other).map(run).collect::<String>().trim().to_owned()
}

fn bytes(text: &str) -> Vec<u8> {
    let byte = |hex: &str| u8::from_str_radix(hex, 16).unwrap();
    let token = |token: &str| match token.split_once('x') {
        Some((hex, count)) => vec![byte(hex); count.parse().unwrap()],
        None => (0..token.len() / 2).map(|at| byte(&token[2 * at..2 * at + 2])).collect(),
    };
    text.split_whitespace().flat_map(token).collect()
}

#[test]
fn pages_that_changed_came_or_went_are_in_it_and_no_others() {
    let base = many(5, &[]);
    let later = many(9, &[(3, 2), (4, 0), (20, 8)]);
    let increment = Increment::between(&base, &later).unwrap();
    assert_eq!((&*increment.pages, &*increment.cleared), (&[(3, u16::MAX), (20, u16::MAX)][..], &[4][..]));
    assert_eq!((increment.base(), increment.position()), (5, 9));
    let encoded = later.encode_after(Some(&base));
    assert_eq!((encoded.base, encoded.bytes.len() < later.encode().len() / 4), (Some(5), true));
    let again = State::decode_after(Some(&base), &encoded.bytes).unwrap();
    assert_eq!((again.hash(), again.difference(&later).is_none()), (later.hash(), true));
}

#[test]
fn of_a_page_that_changed_the_blocks_alone_that_did_are_in_it() {
    let base = many(5, &[]);
    let mut later = many(9, &[(20, 8)]);
    later.contents[2 * PAGE + 3 * BLOCK] ^= 1;
    later.contents[2 * PAGE + 16 * BLOCK - 1] ^= 1;
    let new = later.contents.len() - PAGE;
    later.contents[new + BLOCK..].fill(0);
    let increment = Increment::between(&base, &later).unwrap();
    assert_eq!((&*increment.pages, increment.blocks.len()), (&[(2, 1 << 3 | 1 << 15), (20, 1)][..], 3 * BLOCK));
    let again = Increment::decode(&increment.encode()).unwrap().apply(&base).unwrap();
    assert!(again.difference(&later).is_none());
    // Blocks that are not those it says.
    let mut other = increment.clone();
    other.pages[0].1 = 1;
    assert!(Increment::decode(&other.encode()).is_err());
    other.pages = vec![(20, 1), (2, 3)];
    assert!(Increment::decode(&other.encode()).is_err());
    other.pages = vec![(2, 3), (PAGES, 1)];
    assert!(Increment::decode(&other.encode()).is_err());
}

#[test]
fn what_is_not_much_less_than_the_state_is_written_whole() {
    let base = many(5, &[]);
    let all: Vec<(u32, u8)> = (0..PAGES / 2).map(|number| (number, 9)).collect();
    let most = (PAGES as usize / 2) * SHARE / 100;
    assert!(Increment::between(&base, &many(9, &all[..most])).is_some());
    assert!(Increment::between(&base, &many(9, &all[..most + 1])).is_none());
    let encoded = many(9, &all).encode_after(Some(&base));
    assert_eq!(encoded.base, None);
    assert_eq!(State::decode_after(None, &encoded.bytes).unwrap().hash(), many(9, &all).hash());
    // Nor is anything an increment of what did not come before it, of less memory or of another module.
    assert!(Increment::between(&base, &many(5, &[])).is_none());
    let other = State { module: ringside_core::ids::ModuleHash([8; 32]), ..many(9, &[]) };
    assert!(Increment::between(&base, &other).is_none());
    assert!(Increment::between(&base, &State { memory_bytes: PAGE * 20, ..many(9, &[]) }).is_none());
}

#[test]
fn an_increment_is_put_on_its_own_base_alone() {
    let (base, later) = (many(5, &[]), many(9, &[(3, 2)]));
    let bytes = later.encode_after(Some(&base)).bytes;
    for other in [many(5, &[(7, 2)]), many(4, &[]), many(9, &[])] {
        assert!(matches!(State::decode_after(Some(&other), &bytes), Err(StateError::Content(_))));
    }
    assert!(matches!(State::decode_after(None, &bytes), Err(StateError::Content(_))));
    let mut increment = Increment::decode(&bytes).unwrap();
    increment.hash = base.hash();
    assert!(increment.apply(&base).is_err(), "what comes of it is what it says");
    for cut in 0..bytes.len() {
        assert!(Increment::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn what_the_published_formats_hold_is_read() {
    let [checkpoint, increment] = include_str!("golden.txt").lines().collect::<Vec<_>>()[..] else { panic!("two") };
    let (base, later) = (state(5, &[(0, 1), (2, 2), (3, 3)]), state(9, &[(0, 1), (3, 4)]));
    let written = [hex(&base.encode()), hex(&later.encode_after(Some(&base)).bytes)];
    assert_eq!(written, [checkpoint, increment]);
    let read = State::decode(&bytes(checkpoint)).unwrap();
    assert_eq!(read.hash(), base.hash());
    assert_eq!(State::decode_after(Some(&read), &bytes(increment)).unwrap().hash(), later.hash());
}

proptest! {
    #[test]
    fn a_chain_of_increments_gives_the_last_state(
        steps in proptest::collection::vec(proptest::collection::vec((0..PAGES, 0..3_u8), 0..5), 1..8),
    ) {
        let mut pages: std::collections::BTreeMap<u32, u8> = (0..16).map(|number| (number, 1)).collect();
        let of = |position, pages: &std::collections::BTreeMap<u32, u8>| {
            let pages: Vec<(u32, u8)> = pages.iter().filter(|(_, byte)| **byte != 0).map(|(n, b)| (*n, *b)).collect();
            state(position, &pages)
        };
        let mut last = of(1, &pages);
        let mut read = State::decode(&last.encode()).unwrap();
        for (at, step) in steps.iter().enumerate() {
            pages.extend(step.iter().copied());
            let next = of(at as Position + 2, &pages);
            let encoded = next.encode_after(Some(&last));
            read = State::decode_after(Some(&read), &encoded.bytes).unwrap();
            prop_assert_eq!(read.hash(), next.hash());
            prop_assert!(read.difference(&next).is_none());
            last = next;
        }
    }
}
