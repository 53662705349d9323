//! Tickets: whom another node sent here, once, at this worker, for a short while. Clocks play no part: each node counts
//! *eras* of [`ERA_US`] and gossips the number; who writes a ticket puts in the era that the target's node was in, and
//! the target takes tickets of this era and the one before. How a ticket is sealed is not decided here.

use std::collections::BTreeSet;

use ringside_protocol::limits::TICKET_LIFETIME;
use serde::{Deserialize, Serialize};

use crate::ids::{Node, WorkerId};
use crate::limits;

/// The length of an era, µs: a ticket is good for at least as long, and for less than twice as long.
pub const ERA_US: u64 = TICKET_LIFETIME.as_micros() as u64;

/// The era at `now`, µs since the node's start.
pub fn era(since_start_us: u64) -> u32 {
    u32::try_from(since_start_us / ERA_US).unwrap_or(u32::MAX)
}

/// What makes a ticket good once, here and now. Who and what it is for stands beside it under the same seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// For which run of which node.
    pub node: Node,
    /// For which worker.
    pub worker: WorkerId,
    /// In which era of that node it was written, as the writer knew it.
    pub era: u32,
    /// Drawn by the writer.
    pub nonce: [u8; 16],
    /// Redirects that its holder has followed.
    pub redirects: u8,
}

/// Why a ticket is not taken. Whoever holds it asks a front door for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// It is for another worker, or for an earlier run of this node.
    #[error("the ticket is for another place")]
    Elsewhere,
    /// It is of an era that is over, or that has not come.
    #[error("the ticket has expired")]
    Expired,
    /// It was used.
    #[error("the ticket was used before")]
    Used,
    /// More tickets came in this era than are remembered ([`limits::TICKETS`]).
    #[error("too many tickets at a time")]
    TooMany,
}

/// The tickets of one worker.
#[derive(Debug)]
pub struct Tickets {
    place: (Node, WorkerId),
    era: u32,
    used: [BTreeSet<[u8; 16]>; 2],
}

impl Tickets {
    /// Of a worker in its node's first era.
    pub fn new(node: Node, worker: WorkerId) -> Tickets {
        Tickets { place: (node, worker), era: 0, used: Default::default() }
    }

    /// The node is in this era now. Tickets of the era before the last are forgotten: they are not taken any more.
    pub fn handle_era(&mut self, era: u32) {
        match era.saturating_sub(self.era) {
            0 => return,
            1 => self.used.swap(0, 1),
            _ => self.used[1].clear(),
        }
        self.used[0].clear();
        self.era = era;
    }

    /// Takes a ticket, once.
    ///
    /// # Errors
    /// [`TicketError`]; nothing has changed.
    pub fn redeem(&mut self, stamp: &Stamp) -> Result<(), TicketError> {
        if (stamp.node, stamp.worker) != self.place {
            return Err(TicketError::Elsewhere);
        }
        let age = self.era.checked_sub(stamp.era).ok_or(TicketError::Expired)?;
        let used = self.used.get_mut(age as usize).ok_or(TicketError::Expired)?;
        if used.contains(&stamp.nonce) {
            return Err(TicketError::Used);
        }
        if used.len() >= limits::TICKETS {
            return Err(TicketError::TooMany);
        }
        used.insert(stamp.nonce);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::NodeId;

    fn stamp(era: u32, number: u64) -> Stamp {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&number.to_le_bytes());
        Stamp { node: Node { id: NodeId(1), generation: 3 }, worker: WorkerId(2), era, nonce, redirects: 1 }
    }

    fn tickets() -> Tickets {
        Tickets::new(Node { id: NodeId(1), generation: 3 }, WorkerId(2))
    }

    #[test]
    fn a_ticket_is_taken_once_here_and_in_time() {
        let mut tickets = tickets();
        assert_eq!(tickets.redeem(&stamp(0, 1)), Ok(()));
        assert_eq!(tickets.redeem(&stamp(0, 1)), Err(TicketError::Used));
        assert_eq!(tickets.redeem(&Stamp { worker: WorkerId(3), ..stamp(0, 2) }), Err(TicketError::Elsewhere));
        let earlier = Node { id: NodeId(1), generation: 2 };
        assert_eq!(tickets.redeem(&Stamp { node: earlier, ..stamp(0, 2) }), Err(TicketError::Elsewhere));
        assert_eq!(tickets.redeem(&stamp(1, 2)), Err(TicketError::Expired), "no era that has not come");
        tickets.handle_era(1);
        assert_eq!(tickets.redeem(&stamp(0, 1)), Err(TicketError::Used));
        assert_eq!(tickets.redeem(&stamp(0, 2)), Ok(()));
        tickets.handle_era(2);
        assert_eq!(tickets.redeem(&stamp(0, 3)), Err(TicketError::Expired));
        assert_eq!((era(ERA_US - 1), era(ERA_US), era(u64::MAX)), (0, 1, u32::MAX));
    }

    #[test]
    fn a_flood_is_refused_and_forgotten() {
        let mut tickets = tickets();
        for number in 0..limits::TICKETS as u64 {
            assert_eq!(tickets.redeem(&stamp(0, number)), Ok(()));
        }
        assert_eq!(tickets.redeem(&stamp(0, u64::MAX)), Err(TicketError::TooMany));
        tickets.handle_era(1);
        assert_eq!(tickets.redeem(&stamp(1, u64::MAX)), Ok(()));
        tickets.handle_era(7);
        assert!(tickets.used.iter().all(BTreeSet::is_empty));
    }

    proptest! {
        /// Whatever comes in whatever order, nothing is taken twice and nothing outside its time.
        #[test]
        fn nothing_is_taken_twice(steps in prop::collection::vec((0..4_u32, 0..6_u64, 0..3_u32), 1..200)) {
            let (mut tickets, mut taken, mut now) = (tickets(), BTreeSet::new(), 0);
            for (back, number, forward) in steps {
                now += u32::from(forward == 0);
                tickets.handle_era(now);
                let stamp = stamp(now.saturating_sub(back), number);
                if tickets.redeem(&stamp).is_ok() {
                    prop_assert!(now - stamp.era <= 1);
                    prop_assert!(taken.insert(stamp));
                }
            }
        }
    }
}
