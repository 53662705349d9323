//! Echo: every message comes back at once, numbered and with a running hash over all that the player has said. A
//! client that computes the same hash knows that nothing was lost, doubled or put into another order.

use ringside_guest::{Bytes, Context, Description, Followers, Game, LeaveReason, PartitionPolicy, Refusal, Slot, Tier};
use serde::{Deserialize, Serialize};

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Which of the player's messages this answers, from 1; 0 for a datagram.
    pub number: u64,
    /// The running hash with this message: see [`extend`]. 0 for a datagram.
    pub hash: u64,
    /// What was said.
    pub body: Bytes,
}

/// What is seen: the last tick, of a game that ticks, and of the others nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The tick.
    #[cfg(feature = "ticking")]
    pub tick: u64,
}

/// The running hash before the first message.
pub const EMPTY: u64 = 0xcbf2_9ce4_8422_2325;

/// The running hash with one message more: FNV-1a over the message's length (8 bytes, the least first) and bytes.
pub fn extend(hash: u64, body: &[u8]) -> u64 {
    let length = (body.len() as u64).to_le_bytes();
    length.iter().chain(body).fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

const fn described(name: &'static str, tier: Tier, policy: PartitionPolicy) -> Description {
    Description::new(name).players(1, 256).input_rate(1000).tier(tier).partition_policy(policy)
}

/// A session: what each player has said so far.
pub struct Echo {
    players: Vec<(u64, u64)>,
    #[cfg(feature = "ticking")]
    tick: u64,
    /// Nothing but bytes, of which some change each tick, where a session is wanted that has much to hand over.
    ballast: Vec<u8>,
}

/// Bytes of ballast.
const fn ballast() -> usize {
    if cfg!(all(feature = "ticking", not(feature = "durable"))) { 4 << 20 } else { 0 }
}

/// Bytes of ballast in which one changes at a time, and how many of them change each tick.
const PAGE: usize = 4 << 10;
const CHANGES: usize = 16;

impl Game for Echo {
    type Config = ();
    type Input = Bytes;
    type Output = Reply;
    type View = Seen;

    const DESCRIPTION: Description = if cfg!(feature = "replicated") {
        described("echo-replicated", Tier::Replicated, PartitionPolicy::Available)
    } else if cfg!(feature = "kept") {
        // Its followers keep the log and do not replay it.
        described("echo-kept", Tier::Replicated, PartitionPolicy::Available).followers(Followers::KeepLog)
    } else if cfg!(feature = "consistent") {
        described("echo-consistent", Tier::Replicated, PartitionPolicy::Consistent)
    } else if cfg!(feature = "durable-ticking") {
        described("echo-durable-ticking", Tier::Durable, PartitionPolicy::Consistent).tick_rate(20).view_rate(20)
    } else if cfg!(feature = "ticking") {
        described("echo-ticking", Tier::Replicated, PartitionPolicy::Available).tick_rate(60).view_rate(60)
    } else if cfg!(feature = "durable") {
        described("echo-durable", Tier::Durable, PartitionPolicy::Consistent)
    } else if cfg!(feature = "lasting") {
        described("echo-lasting", Tier::Durable, PartitionPolicy::Available)
    } else {
        described("echo", Tier::Volatile, PartitionPolicy::Consistent)
    };

    fn start(_: (), _: &mut Context<Self>) -> Result<Self, Refusal> {
        Ok(Echo {
            players: vec![(0, EMPTY); 256],
            #[cfg(feature = "ticking")]
            tick: 0,
            ballast: Vec::with_capacity(ballast()),
        })
    }

    fn leave(&mut self, slot: Slot, _: LeaveReason, _: &mut Context<Self>) {
        self.players[slot.index()] = (0, EMPTY);
    }

    fn message(&mut self, slot: Slot, body: Bytes, context: &mut Context<Self>) {
        let (number, hash) = &mut self.players[slot.index()];
        *number += 1;
        *hash = extend(*hash, &body.0);
        context.send(slot, &Reply { number: *number, hash: *hash, body });
    }

    fn datagram(&mut self, slot: Slot, body: Bytes, context: &mut Context<Self>) {
        context.send_datagram(slot, &Reply { number: 0, hash: 0, body });
    }

    fn tick(&mut self, tick: u64, _: &mut Context<Self>) {
        #[cfg(feature = "ticking")]
        {
            self.tick = tick;
        }
        // Filled bit by bit: all at once takes longer than a call may.
        self.ballast.resize((self.ballast.len() + CHANGES * PAGE).min(ballast()), 1);
        for change in 0..CHANGES {
            let at = (tick as usize * CHANGES + change) * PAGE % self.ballast.len().max(1);
            if let Some(byte) = self.ballast.get_mut(at) {
                *byte = byte.wrapping_add(1);
            }
        }
    }

    fn view(&self, _: Slot) -> Seen {
        Seen {
            #[cfg(feature = "ticking")]
            tick: self.tick,
        }
    }
}

ringside_guest::export!(Echo);

#[cfg(test)]
mod tests {
    use super::*;
    use ringside_guest::Match;

    #[test]
    fn every_message_comes_back_numbered_and_hashed() {
        let mut game = Match::<Echo>::new(1);
        let ann = game.join("ann").unwrap();
        let bob = game.join("bob").unwrap();
        let mut hash = EMPTY;
        for number in 1..=100u64 {
            let body = vec![number as u8; number as usize];
            hash = extend(hash, &body);
            game.message(ann, &Bytes(body.clone()));
            assert_eq!(game.outputs(ann), [Reply { number, hash, body: Bytes(body) }]);
        }
        game.message(bob, &Bytes(vec![]));
        assert_eq!(game.outputs(bob)[0].number, 1);
    }

    #[test]
    fn a_new_player_in_the_slot_begins_anew() {
        let mut game = Match::<Echo>::new(1);
        let ann = game.join("ann").unwrap();
        game.message(ann, &Bytes(vec![1]));
        game.leave(ann, LeaveReason::Left);
        let bob = game.join("bob").unwrap();
        game.message(bob, &Bytes(vec![2]));
        assert_eq!(game.outputs(bob)[0], Reply { number: 1, hash: extend(EMPTY, &[2]), body: Bytes(vec![2]) });
    }

    #[test]
    fn the_hash_knows_order_and_borders() {
        let hash = |bodies: &[&[u8]]| bodies.iter().fold(EMPTY, |hash, body| extend(hash, body));
        let all = [hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]), hash(&[b"c", b"ab"]), hash(&[b"ab", b"c", b""])];
        assert!(all.iter().enumerate().all(|(at, hash)| !all[..at].contains(hash)));
        // Clients in other languages compute it too.
        assert_eq!(hash(&[b"ab", b"c"]), 0x7e60_470b_f599_cad6);
    }

    #[test]
    fn a_datagram_comes_back_uncounted() {
        let mut game = Match::<Echo>::new(1);
        let ann = game.join("ann").unwrap();
        game.datagram(ann, &Bytes(vec![9]));
        assert_eq!(game.datagrams(ann), [Reply { number: 0, hash: 0, body: Bytes(vec![9]) }]);
        assert!(game.outputs(ann).is_empty());
    }
}
