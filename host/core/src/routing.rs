//! Routing: what a node that a player has come to does with them. A pure function of the view, of what is known of the
//! session, and of how the player got here; and [`tickets`], by which a worker knows whom another node sent.
//!
//! ```text
//!   leads it here ─────────────────────────────► here
//!   another worker or node leads it ───────────► redirect, with a ticket
//!     … but the player asked for it, was redirected often enough,
//!     … or cannot reach the leader ────────────► relay
//!   nothing known, or known by another ring ───► ask the home
//! ```

pub mod tickets;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::directory::Placed;
use crate::ids::{Node, WorkerId};
use crate::membership::View;
use crate::ring::RingDigest;

/// Redirects that a player may have followed in one attempt; who has is relayed. On a settled ring one is enough: the
/// second is for a session that ended or moved meanwhile.
pub const REDIRECTS: u8 = 2;

/// How a player came here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// Redirects followed since the player began; a ticket carries the count.
    pub redirects: u8,
    /// Whether the player asked to be relayed.
    pub wants_relay: bool,
    /// Whether the player could not reach where they were sent, within a second.
    pub could_not_reach: bool,
}

/// What a node knows of a session, and by which ring it learnt that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Where the session is.
    pub placed: Placed,
    /// The ring of the home that said so.
    pub ring: RingDigest,
}

/// What is to be done with a player.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Let them in here.
    Here,
    /// Send them there.
    Redirect {
        /// Which node.
        node: Node,
        /// Which worker.
        worker: WorkerId,
        /// Its advertised address.
        address: SocketAddr,
        /// Redirects followed with this one: goes into the ticket.
        redirects: u8,
    },
    /// Carry their packets there.
    Relay {
        /// Which node.
        node: Node,
        /// Which worker.
        worker: WorkerId,
        /// Why not a redirect.
        why: RelayCause,
    },
    /// Ask the session's home first.
    AskHome,
}

/// Why a player is relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayCause {
    /// They asked for it.
    Asked,
    /// They could not reach the leader.
    Unreachable,
    /// They were redirected [`REDIRECTS`] times: the nodes do not agree yet.
    Redirects,
    /// The worker has no address that players could use.
    NoAddress,
}

/// Decides. `here` is this node and the worker whose port the player came to; `None` for the front door.
pub fn route(view: &View, here: (Node, Option<WorkerId>), known: Option<&Known>, arrival: Arrival) -> Route {
    let Some(Known { placed, ring }) = known else { return Route::AskHome };
    let (node, worker) = (placed.leader, placed.worker);
    // What this node leads it knows of itself; what others lead it has from a home, and that is good for one ring.
    if node != here.0 && (*ring != view.ring_digest() || !view.has(node)) {
        return Route::AskHome;
    }
    if (node, Some(worker)) == here {
        return Route::Here;
    }
    let relay = |why| Route::Relay { node, worker, why };
    match view.node(node.id).and_then(|seen| seen.contact.worker(worker)) {
        _ if arrival.wants_relay => relay(RelayCause::Asked),
        _ if arrival.could_not_reach => relay(RelayCause::Unreachable),
        _ if arrival.redirects >= REDIRECTS => relay(RelayCause::Redirects),
        None => relay(RelayCause::NoAddress),
        Some(address) => Route::Redirect { node, worker, address, redirects: arrival.redirects + 1 },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::{Certificate, Incarnation, NodeId, SessionId};
    use crate::membership::{Contact, Fact, State};
    use crate::ring::{Weight, Zone};

    fn node(id: u64) -> Node {
        Node { id: NodeId(id), generation: 7 }
    }

    fn view(ids: impl IntoIterator<Item = u64>) -> View {
        let address = |port: u64| ([10, 0, 0, 1], port as u16).into();
        let facts: Vec<Fact> = ids
            .into_iter()
            .map(|id| Fact {
                node: node(id),
                version: 1,
                stay: 0,
                state: State::Active,
                weight: Weight::NORMAL,
                zone: Zone::default(),
                contact: Contact {
                    control: address(id * 10),
                    door: address(id * 10 + 1),
                    workers: vec![address(id * 10 + 2), address(id * 10 + 3)],
                    certificate: Certificate([0; 32]),
                },
                load_us: 0,
                era: 0,
                presumed_gone: Vec::new(),
            })
            .collect();
        View::new(facts.iter().map(|fact| (fact, fact.state)))
    }

    fn known(view: &View, leader: u64, worker: u8) -> Known {
        let session =
            SessionId { game: "pong".parse().unwrap(), key: "a".parse().unwrap(), incarnation: Incarnation(1) };
        let leader = node(leader);
        let placed = Placed { session, leader, worker: WorkerId(worker), epoch: leader.first_epoch(), created: false };
        Known { placed, ring: view.ring_digest() }
    }

    #[test]
    fn a_player_is_let_in_redirected_or_relayed() {
        let view = view(1..=3);
        let arrival = Arrival::default();
        let at = |worker| (node(1), worker);
        assert_eq!(route(&view, at(None), None, arrival), Route::AskHome);
        assert_eq!(route(&view, at(Some(WorkerId(1))), Some(&known(&view, 1, 1)), arrival), Route::Here);
        let address = ([10, 0, 0, 1], 13).into();
        let beside = Route::Redirect { node: node(1), worker: WorkerId(1), address, redirects: 1 };
        assert_eq!(route(&view, at(Some(WorkerId(0))), Some(&known(&view, 1, 1)), arrival), beside);
        let address = ([10, 0, 0, 1], 22).into();
        let there = Route::Redirect { node: node(2), worker: WorkerId(0), address, redirects: 1 };
        assert_eq!(route(&view, at(None), Some(&known(&view, 2, 0)), arrival), there);
        for (arrival, why) in [
            (Arrival { wants_relay: true, ..arrival }, RelayCause::Asked),
            (Arrival { could_not_reach: true, ..arrival }, RelayCause::Unreachable),
            (Arrival { redirects: REDIRECTS, ..arrival }, RelayCause::Redirects),
        ] {
            let relay = Route::Relay { node: node(2), worker: WorkerId(0), why };
            assert_eq!(route(&view, at(None), Some(&known(&view, 2, 0)), arrival), relay);
        }
        let relay = Route::Relay { node: node(2), worker: WorkerId(9), why: RelayCause::NoAddress };
        assert_eq!(route(&view, at(None), Some(&known(&view, 2, 9)), arrival), relay);
    }

    #[test]
    fn what_was_learnt_by_another_ring_is_asked_for_again() {
        let (before, after) = (view(1..=3), view(1..=4));
        let arrival = Arrival::default();
        assert_eq!(route(&after, (node(1), None), Some(&known(&before, 2, 0)), arrival), Route::AskHome);
        let without = view([1, 3]);
        assert_eq!(route(&without, (node(1), None), Some(&known(&without, 2, 0)), arrival), Route::AskHome);
        let own = known(&before, 1, 0);
        assert_eq!(route(&after, (node(1), Some(WorkerId(0))), Some(&own), arrival), Route::Here);
    }

    proptest! {
        /// However little the nodes agree on where a session is, a player is sent on at most so often.
        #[test]
        fn circles_end(leaders in prop::collection::vec(1..4_u64, 1..20)) {
            let view = view(1..=3);
            let (mut at, mut arrival, mut steps) = (1, Arrival::default(), 0);
            for leader in leaders.iter().cycle().take(50) {
                match route(&view, (node(at), Some(WorkerId(0))), Some(&known(&view, *leader, 0)), arrival) {
                    Route::Redirect { node, redirects, .. } => {
                        steps += 1;
                        (at, arrival.redirects) = (node.id.0, redirects);
                    }
                    _ => break,
                }
            }
            prop_assert!(steps <= u32::from(REDIRECTS));
        }
    }
}
