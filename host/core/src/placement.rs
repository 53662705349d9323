//! Placement: on which node a new session goes. Decided by the home alone; a pure function of ring, loads and policy,
//! whose inputs are kept with its outcome, so that anybody can see why, and compute it again.
//!
//! The ring's order is walked from the session's position to the first node that has room: consistent hashing with
//! bounded loads. Room is measured in CPU time, not in sessions: a node takes another one while that leaves it below
//! [`BOUND_PERCENT`] of its share of the cluster's load, or of next to nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::NodeId;
use crate::ring::{Member, Position, Ring, RingDigest, Weight};

/// What a node may carry, in percent of its share by weight of all load.
pub const BOUND_PERCENT: u64 = 125;
/// Load below which an ordinary node always has room, CPU µs a second: a twentieth of a core. Evening out less would
/// only break the ring's order.
pub const FLOOR_US: u64 = 50_000;
/// What a session is taken to cost until its node reports, CPU µs a second.
pub const ASSUMED_US: u64 = 1_000;
/// Nodes that may have refused a session before it is given up.
pub const REFUSALS: usize = 3;

/// How a session's node is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Policy {
    /// By the ring, within the bound.
    #[default]
    Ring,
    /// On this node or not at all.
    Pinned(NodeId),
}

/// Why a node was passed over or taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// The session goes here.
    Chosen,
    /// It has its share of the load.
    Loaded,
    /// It was asked and refused.
    Refused,
}

/// A node that the walk came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Step {
    /// Which.
    pub node: NodeId,
    /// Its load as the home saw it, CPU µs a second.
    pub load_us: u64,
    /// What it could carry, CPU µs a second.
    pub capacity_us: u64,
    /// What came of it.
    pub verdict: Verdict,
}

/// A placement and everything that it depended on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Decision {
    /// Where on the ring the session lies.
    pub position: Position,
    /// Which ring.
    pub ring: RingDigest,
    /// How it was to be chosen.
    pub policy: Policy,
    /// Load of all nodes, CPU µs a second.
    pub total_us: u64,
    /// Weight of all nodes, percent.
    pub total_weight: u64,
    /// The nodes in the order in which they were considered; the last was chosen.
    pub steps: Vec<Step>,
}

impl Decision {
    /// Where the session goes.
    pub fn node(&self) -> Option<NodeId> {
        self.steps.last().filter(|step| step.verdict == Verdict::Chosen).map(|step| step.node)
    }
}

/// Why there is no node for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unplaceable {
    /// No node takes new sessions.
    #[error("no node takes new sessions")]
    NoNode,
    /// The node that it is pinned to takes none, or is not in the cluster.
    #[error("node {0}, to which it is pinned, takes no new sessions")]
    Pinned(NodeId),
    /// So many nodes were asked and refused.
    #[error("every node that was asked refused")]
    Refused,
}

/// The nodes' loads, CPU µs a second. A node that is not listed has none.
pub type Loads = BTreeMap<NodeId, u64>;

/// Decides. `ring` has the nodes that take sessions, `refused` those that were asked for this one already.
///
/// # Errors
/// [`Unplaceable`].
pub fn place(
    ring: &Ring,
    position: Position,
    policy: Policy,
    loads: &Loads,
    refused: &[NodeId],
) -> Result<Decision, Unplaceable> {
    let load = |node: NodeId| loads.get(&node).copied().unwrap_or(0);
    let (total_us, total_weight) = totals(ring, loads);
    let mut decision = Decision { position, ring: ring.digest(), policy, total_us, total_weight, steps: Vec::new() };
    let step = |node: NodeId, weight: Weight| {
        let (load_us, capacity_us) = (load(node), capacity_us(total_us, total_weight, weight));
        let has_room = policy != Policy::Ring || load_us.saturating_add(ASSUMED_US) <= capacity_us;
        let verdict = match has_room {
            _ if refused.contains(&node) => Verdict::Refused,
            true => Verdict::Chosen,
            false => Verdict::Loaded,
        };
        Step { node, load_us, capacity_us, verdict }
    };
    match policy {
        _ if refused.len() >= REFUSALS => return Err(Unplaceable::Refused),
        Policy::Pinned(node) => {
            let member = ring.member(node).ok_or(Unplaceable::Pinned(node))?;
            decision.steps.push(step(node, member.weight));
        }
        Policy::Ring => {
            for member in ring.successors(position) {
                let step = step(member.node.id, member.weight);
                decision.steps.push(step);
                if step.verdict == Verdict::Chosen {
                    break;
                }
            }
            if decision.node().is_none() {
                overflow(&mut decision.steps);
            }
        }
    }
    match decision.node() {
        Some(_) => Ok(decision),
        None if decision.steps.is_empty() => Err(Unplaceable::NoNode),
        None => Err(Unplaceable::Refused),
    }
}

/// Load and weight of all nodes of a ring.
fn totals(ring: &Ring, loads: &Loads) -> (u64, u64) {
    ring.members().iter().fold((0_u64, 0_u64), |(us, weight), member| {
        let load_us = loads.get(&member.node.id).copied().unwrap_or(0);
        (us.saturating_add(load_us), weight + u64::from(member.weight.get()))
    })
}

/// What each node of a ring may carry as the loads are, CPU µs a second.
pub(crate) fn capacities(ring: &Ring, loads: &Loads) -> Loads {
    let (total_us, total_weight) = totals(ring, loads);
    let of = |member: &Member| (member.node.id, capacity_us(total_us, total_weight, member.weight));
    ring.members().iter().map(of).collect()
}

/// What a node of this weight may carry.
fn capacity_us(total_us: u64, total_weight: u64, weight: Weight) -> u64 {
    let weight = u128::from(weight.get());
    let all = u128::from(total_us) + u128::from(ASSUMED_US);
    let share = all * weight * u128::from(BOUND_PERCENT) / (u128::from(total_weight.max(1)) * 100);
    let floor = u128::from(FLOOR_US) * weight / 100;
    // A node that weighs next to nothing still has room for one.
    u64::try_from(share.max(floor)).unwrap_or(u64::MAX).max(ASSUMED_US)
}

/// Where those with room refused, the relatively least loaded of the others takes it.
fn overflow(steps: &mut Vec<Step>) {
    let least = (0..steps.len())
        .filter(|at| steps[*at].verdict == Verdict::Loaded)
        .min_by_key(|at| u128::from(steps[*at].load_us) * 1_000_000 / u128::from(steps[*at].capacity_us.max(1)));
    if let Some(at) = least {
        let chosen = Step { verdict: Verdict::Chosen, ..steps.remove(at) };
        steps.push(chosen);
    }
}

/// Computes a decision again from the inputs that it names. Loads of nodes that the walk did not come to are in the
/// total alone; they are put on one of them, which changes nothing.
///
/// # Errors
/// [`Unplaceable`], where no such decision could have been made.
pub fn reproduce(decision: &Decision, ring: &Ring) -> Result<Decision, Unplaceable> {
    let mut loads: Loads = decision.steps.iter().map(|step| (step.node, step.load_us)).collect();
    let walked: u64 = loads.values().fold(0, |sum, load| sum.saturating_add(*load));
    let elsewhere = ring.members().iter().map(|member| member.node.id).find(|id| !loads.contains_key(id));
    if let Some(elsewhere) = elsewhere {
        loads.insert(elsewhere, decision.total_us.saturating_sub(walked));
    }
    let refused: Vec<NodeId> =
        decision.steps.iter().filter(|step| step.verdict == Verdict::Refused).map(|step| step.node).collect();
    place(ring, decision.position, decision.policy, &loads, &refused)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::Node;
    use crate::ring::Zone;

    fn ring(ids: impl IntoIterator<Item = u64>) -> Ring {
        Ring::new(ids.into_iter().map(|id| Member {
            node: Node { id: NodeId(id), generation: 1 },
            stay: 0,
            weight: Weight::NORMAL,
            zone: Zone::default(),
        }))
    }

    fn position(number: u64) -> Position {
        Position::of_key(&"arena".parse().unwrap(), &format!("match-{number}").parse().unwrap())
    }

    /// Places so many sessions that cost `cost_us` each; answers where each is, and the loads.
    fn fill(ring: &Ring, sessions: u64, cost_us: u64) -> (Vec<NodeId>, Loads) {
        let mut loads = Loads::new();
        let placed = (0..sessions).map(|number| {
            let node = place(ring, position(number), Policy::Ring, &loads, &[]).unwrap().node().unwrap();
            *loads.entry(node).or_default() += cost_us;
            node
        });
        (placed.collect(), loads)
    }

    #[test]
    fn an_idle_cluster_follows_the_ring() {
        let ring = ring(0..5);
        for number in 0..100 {
            let decision = place(&ring, position(number), Policy::Ring, &Loads::new(), &[]).unwrap();
            assert_eq!(decision.node(), Some(ring.home(position(number)).unwrap().node.id));
        }
    }

    #[test]
    fn nobody_carries_more_than_the_bound_and_one_session() {
        for nodes in [3, 10, 50] {
            let (_, loads) = fill(&ring(0..nodes), 20_000, ASSUMED_US);
            let peak = *loads.values().max().unwrap();
            let average = 20_000 * ASSUMED_US / nodes;
            assert!(peak * 100 <= average * BOUND_PERCENT + 100 * ASSUMED_US, "{nodes}: {peak} of {average}");
        }
    }

    /// With the bound, a newcomer moves at most a tenth more than its share, which no assignment can go below.
    #[test]
    fn a_newcomer_moves_hardly_more_than_it_must() {
        let (mut moved, mut least) = (0, 0);
        for nodes in [3, 5, 9, 20] {
            let (before, _) = fill(&ring(0..nodes), 20_000, ASSUMED_US);
            let (after, loads) = fill(&ring(0..=nodes), 20_000, ASSUMED_US);
            moved += before.iter().zip(&after).filter(|(old, new)| old != new).count() as u64;
            least += loads[&NodeId(nodes)] / ASSUMED_US;
        }
        let ratio = moved as f64 / least as f64;
        assert!((1.0..=1.10).contains(&ratio), "{ratio}");
    }

    #[test]
    fn a_loaded_home_is_passed_over_for_the_next() {
        let ring = ring(0..3);
        let order: Vec<_> = ring.successors(position(7)).map(|member| member.node.id).collect();
        let loads = Loads::from([(order[0], 900_000)]);
        let decision = place(&ring, position(7), Policy::Ring, &loads, &[]).unwrap();
        let verdicts: Vec<_> = decision.steps.iter().map(|step| (step.node, step.verdict)).collect();
        assert_eq!(verdicts, [(order[0], Verdict::Loaded), (order[1], Verdict::Chosen)]);
        let decision = place(&ring, position(7), Policy::Ring, &loads, &[order[1], order[2]]).unwrap();
        assert_eq!(decision.node(), Some(order[0]), "better a loaded node than none");
        let all = [order[0], order[1], order[2]];
        assert_eq!(place(&ring, position(7), Policy::Ring, &loads, &all), Err(Unplaceable::Refused));
    }

    #[test]
    fn a_pinned_session_goes_there_or_nowhere() {
        let ring = ring(0..3);
        let loads = Loads::from([(NodeId(2), u64::MAX)]);
        let pinned = |node| place(&ring, position(1), Policy::Pinned(NodeId(node)), &loads, &[]);
        assert_eq!(pinned(2).unwrap().node(), Some(NodeId(2)));
        assert_eq!(pinned(9), Err(Unplaceable::Pinned(NodeId(9))));
        let refused = place(&ring, position(1), Policy::Pinned(NodeId(2)), &loads, &[NodeId(2)]);
        assert_eq!(refused, Err(Unplaceable::Refused));
        assert_eq!(place(&self::ring([]), position(1), Policy::Ring, &loads, &[]), Err(Unplaceable::NoNode));
    }

    proptest! {
        /// From what a decision says it depended on, the same decision follows.
        #[test]
        fn a_decision_can_be_computed_again(
            loads in prop::collection::btree_map((0..6_u64).prop_map(NodeId), 0..2_000_000_u64, 0..6),
            number in 0..1000_u64,
            refused in prop::collection::vec((0..6_u64).prop_map(NodeId), 0..3),
        ) {
            let ring = ring(0..6);
            let Ok(decision) = place(&ring, position(number), Policy::Ring, &loads, &refused) else { return Ok(()) };
            prop_assert_eq!(reproduce(&decision, &ring), Ok(decision.clone()));
            let mut forged = decision;
            let chosen = forged.steps.last_mut().unwrap();
            chosen.node = NodeId((chosen.node.0 + 1) % 6);
            let other = reproduce(&forged, &ring);
            prop_assert_ne!(other.as_ref(), Ok(&forged));
        }
    }
}
