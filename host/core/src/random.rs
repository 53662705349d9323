//! The session's generator: ChaCha with 8 rounds as `rand_chacha` has it, keyed by the session's seed. The guest SDK's
//! native harness draws the same numbers; the test vectors below bind both.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde::{Deserialize, Serialize};

/// A generator whose whole state is its seed and how often it was drawn.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub struct Generator {
    seed: [u8; 32],
    drawn: u64,
    stream: ChaCha8Rng,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    seed: [u8; 32],
    drawn: u64,
}

impl From<Saved> for Generator {
    fn from(saved: Saved) -> Self {
        let mut stream = ChaCha8Rng::from_seed(saved.seed);
        // A draw takes two of the stream's 32-bit words.
        stream.set_word_pos(u128::from(saved.drawn) * 2);
        Generator { seed: saved.seed, drawn: saved.drawn, stream }
    }
}

impl From<Generator> for Saved {
    fn from(generator: Generator) -> Self {
        Saved { seed: generator.seed, drawn: generator.drawn }
    }
}

impl Generator {
    /// A generator at its beginning.
    pub fn new(seed: [u8; 32]) -> Self {
        Saved { seed, drawn: 0 }.into()
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.stream.next_u64()
    }

    /// How many numbers were drawn.
    pub fn drawn(&self) -> u64 {
        self.drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors that every implementation of the contract is tested with.
    #[test]
    fn numbers_are_those_of_the_contracts_vectors() {
        let vectors = include_str!("../../../guest-sdk/vectors/random.txt");
        let mut seeds = 0;
        for line in vectors.lines().filter(|line| !line.starts_with('#')) {
            let (seed, numbers) = line.split_once(": ").unwrap();
            let bytes: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&seed[2 * at..2 * at + 2], 16).unwrap()).collect();
            let mut generator = Generator::new(bytes.try_into().unwrap());
            let drawn: Vec<u64> = (0..1000).map(|_| generator.draw()).collect();
            // The first twenty and the thousandth.
            let expected = numbers.split(' ').map(|number| u64::from_str_radix(number, 16).unwrap());
            assert!(expected.eq(drawn[..20].iter().chain(&drawn[999..]).copied()), "seed {seed}");
            seeds += 1;
        }
        assert_eq!(seeds, 4);
    }

    #[test]
    fn a_saved_generator_goes_on_where_it_was() {
        let mut generator = Generator::new([3; 32]);
        for _ in 0..37 {
            generator.draw();
        }
        let saved = postcard::to_stdvec(&generator).unwrap();
        let mut restored: Generator = postcard::from_bytes(&saved).unwrap();
        assert_eq!(restored.drawn(), 37);
        for _ in 0..100 {
            assert_eq!(restored.draw(), generator.draw());
        }
    }
}
