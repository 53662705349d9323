//! Where a name lies on the ring: XXH64, as its specification has it, over an unambiguous form of the name. Every node
//! of every release must find the same place, so this changes only together with [`super::VERSION`].

use super::{Position, VERSION};
use crate::ids::{GameName, NodeId, SessionKey};

const PRIMES: [u64; 5] =
    [0x9e37_79b1_85eb_ca87, 0xc2b2_ae3d_27d4_eb4f, 0x1656_67b1_9e37_79f9, 0x85eb_ca77_c2b2_ae63, 0x27d4_eb2f_1656_67c5];

/// Where all sessions of a key have their home.
pub fn key(game: &GameName, key: &SessionKey) -> Position {
    parts(b's', game.as_str().as_bytes(), key.as_str().as_bytes())
}

/// Where the list of open sessions with these criteria has its home.
pub fn list(game: &GameName, criteria: &str) -> Position {
    parts(b'l', game.as_str().as_bytes(), criteria.as_bytes())
}

/// A node's point of this number. Neither generation nor address enters: a node that restarts keeps its place.
pub(super) fn point(node: NodeId, number: u32) -> u64 {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&node.0.to_le_bytes());
    bytes[8..].copy_from_slice(&number.to_le_bytes());
    xxh64(&bytes, VERSION)
}

/// Kind, first part, a byte that no part contains, second part. Longest: 1 + 40 + 1 + 256 (game and criteria).
fn parts(kind: u8, first: &[u8], second: &[u8]) -> Position {
    let mut bytes = [0; 320];
    let length = 2 + first.len() + second.len();
    if let Some(bytes) = bytes.get_mut(..length) {
        bytes[0] = kind;
        bytes[1..=first.len()].copy_from_slice(first);
        bytes[2 + first.len()..].copy_from_slice(second);
        return Position(xxh64(bytes, VERSION));
    }
    Position(xxh64(&[&[kind], first, &[0], second].concat(), VERSION))
}

fn round(lane: u64, input: u64) -> u64 {
    lane.wrapping_add(input.wrapping_mul(PRIMES[1])).rotate_left(31).wrapping_mul(PRIMES[0])
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// XXH64 of `bytes`.
fn xxh64(bytes: &[u8], seed: u64) -> u64 {
    let stripes = bytes.chunks_exact(32);
    let rest = stripes.remainder();
    let mut hash = if bytes.len() < 32 {
        seed.wrapping_add(PRIMES[4])
    } else {
        let mut lanes = [
            seed.wrapping_add(PRIMES[0]).wrapping_add(PRIMES[1]),
            seed.wrapping_add(PRIMES[1]),
            seed,
            seed.wrapping_sub(PRIMES[0]),
        ];
        for stripe in stripes {
            for (lane, input) in lanes.iter_mut().zip(stripe.as_chunks::<8>().0) {
                *lane = round(*lane, u64::from_le_bytes(*input));
            }
        }
        let turned =
            lanes.iter().zip([1, 7, 12, 18]).fold(0_u64, |hash, (lane, by)| hash.wrapping_add(lane.rotate_left(by)));
        lanes.iter().fold(turned, |hash, lane| (hash ^ round(0, *lane)).wrapping_mul(PRIMES[0]).wrapping_add(PRIMES[3]))
    };
    hash = hash.wrapping_add(bytes.len() as u64);
    let (words, rest) = rest.as_chunks::<8>();
    for input in words {
        hash = (hash ^ round(0, u64::from_le_bytes(*input)))
            .rotate_left(27)
            .wrapping_mul(PRIMES[0])
            .wrapping_add(PRIMES[3]);
    }
    let (halves, rest) = rest.as_chunks::<4>();
    for input in halves {
        hash = (hash ^ word(input).wrapping_mul(PRIMES[0]))
            .rotate_left(23)
            .wrapping_mul(PRIMES[1])
            .wrapping_add(PRIMES[2]);
    }
    for input in rest {
        hash = (hash ^ u64::from(*input).wrapping_mul(PRIMES[4])).rotate_left(11).wrapping_mul(PRIMES[0]);
    }
    hash = (hash ^ hash >> 33).wrapping_mul(PRIMES[1]);
    hash = (hash ^ hash >> 29).wrapping_mul(PRIMES[2]);
    hash ^ hash >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(xxh64(b"", 0), 0xef46_db37_51d8_e999);
        assert_eq!(xxh64(b"a", 0), 0xd24e_c4f1_a98c_6e5b);
        assert_eq!(xxh64(b"abc", 0), 0x44bc_2cf5_ad77_0999);
        assert_eq!(xxh64(b"Nobody inspects the spammish repetition", 0), 0xfbce_a83c_8a37_8bf1);
    }

    #[test]
    fn names_that_look_alike_lie_apart() {
        let game = |name: &str| name.parse::<GameName>().unwrap();
        let places = [
            key(&game("a"), &"bc".parse().unwrap()),
            key(&game("ab"), &"c".parse().unwrap()),
            list(&game("a"), "bc"),
            list(&game("ab"), "c"),
            list(&game("abc"), ""),
        ];
        let distinct: std::collections::BTreeSet<_> = places.iter().collect();
        assert_eq!(distinct.len(), places.len());
        assert_eq!(list(&game("a"), &"x".repeat(256)), list(&game("a"), &"x".repeat(256)));
        assert_ne!(list(&game("a"), &"x".repeat(400)), list(&game("a"), &"x".repeat(401)));
    }
}
