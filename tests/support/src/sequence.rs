//! Proof of exactly once: a bot sends bodies that only it could have sent, each once, and checks that they come back
//! each once and in order.

use crate::random::Random;

/// How a sequence was broken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Something came that was never sent.
    #[error("{player}: a body that was never sent came where {expected} was due")]
    Foreign {
        /// Whose sequence.
        player: String,
        /// The number that was due.
        expected: u64,
    },
    /// One came twice, or an older one after a newer one.
    #[error("{player}: {got} came again where {expected} was due")]
    Doubled {
        /// Whose sequence.
        player: String,
        /// The number that was due.
        expected: u64,
        /// The number that came.
        got: u64,
    },
    /// One or more never came, or not in their place.
    #[error("{player}: {got} came where {expected} was due")]
    Lost {
        /// Whose sequence.
        player: String,
        /// The number that was due.
        expected: u64,
        /// The number that came.
        got: u64,
    },
}

/// One bot's sequence: what it sends and what it must get back.
#[derive(Debug)]
pub struct Sequence {
    player: String,
    seed: Random,
    sent: u64,
    returned: u64,
}

impl Sequence {
    /// The sequence of a player; bodies depend on the seed.
    pub fn new(player: &str, seed: u64) -> Sequence {
        let label = player.bytes().fold(0u64, |label, byte| label.wrapping_mul(31).wrapping_add(u64::from(byte)));
        Sequence { player: player.to_owned(), seed: Random::new(seed).fork(label), sent: 0, returned: 0 }
    }

    /// The next body to send: its number, then bytes that depend on seed, player and number, 8 to 200 in all.
    pub fn send(&mut self) -> Vec<u8> {
        self.sent += 1;
        self.body(self.sent)
    }

    /// Checks a body that came back.
    ///
    /// # Errors
    /// [`Violation`]; the sequence is broken from then on.
    pub fn receive(&mut self, body: &[u8]) -> Result<(), Violation> {
        let expected = self.returned + 1;
        let player = || self.player.clone();
        let got = match body.first_chunk::<8>() {
            Some(number) => u64::from_le_bytes(*number),
            None => return Err(Violation::Foreign { player: player(), expected }),
        };
        if got == 0 || got > self.sent || body != self.body(got) {
            return Err(Violation::Foreign { player: player(), expected });
        }
        match got.cmp(&expected) {
            std::cmp::Ordering::Equal => self.returned = got,
            std::cmp::Ordering::Less => return Err(Violation::Doubled { player: player(), expected, got }),
            std::cmp::Ordering::Greater => return Err(Violation::Lost { player: player(), expected, got }),
        }
        Ok(())
    }

    /// How many were sent and have not come back.
    pub fn outstanding(&self) -> u64 {
        self.sent - self.returned
    }

    /// How many have come back.
    pub fn returned(&self) -> u64 {
        self.returned
    }

    fn body(&self, number: u64) -> Vec<u8> {
        let mut random = self.seed.fork(number);
        let length = random.below(193) as usize;
        let mut body = number.to_le_bytes().to_vec();
        body.extend(random.bytes(length));
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(count: usize) -> (Sequence, Vec<Vec<u8>>) {
        let mut sequence = Sequence::new("ada", 7);
        let bodies = (0..count).map(|_| sequence.send()).collect();
        (sequence, bodies)
    }

    #[test]
    fn each_once_in_order_passes() {
        let (mut sequence, bodies) = sent(5);
        bodies.iter().for_each(|body| sequence.receive(body).unwrap());
        assert_eq!((sequence.outstanding(), sequence.returned()), (0, 5));
    }

    #[test]
    fn every_kind_of_breach_is_told_apart() {
        let (mut sequence, bodies) = sent(3);
        sequence.receive(&bodies[0]).unwrap();
        let player = || "ada".to_owned();
        assert_eq!(sequence.receive(&bodies[0]), Err(Violation::Doubled { player: player(), expected: 2, got: 1 }));
        assert_eq!(sequence.receive(&bodies[2]), Err(Violation::Lost { player: player(), expected: 2, got: 3 }));
        let mut changed = bodies[1].clone();
        changed.push(0);
        assert_eq!(sequence.receive(&changed), Err(Violation::Foreign { player: player(), expected: 2 }));
        let other = Sequence::new("bob", 7).send();
        assert!(matches!(sequence.receive(&other), Err(Violation::Foreign { .. })), "another player's");
        assert!(matches!(sequence.receive(b"short"), Err(Violation::Foreign { .. })));
    }
}
