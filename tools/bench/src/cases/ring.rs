//! The ring: what a lookup costs against a plain binary search over the same points, how many names a change moves
//! against the fewest that it must, and how much more than its share the fullest node has.

use std::hint::black_box;

use ringside_core::ids::{Node, NodeId};
use ringside_core::placement::{ASSUMED_US, Loads, Policy, place};
use ringside_core::ring::{Member, Position, Ring, Weight, Zone};

use crate::bench::{BenchError, Context};
use crate::figure::Figure;
use crate::machine::{SERVER_CORE, on_core, thread_time};
use crate::random::Random;
use crate::statistics::Paired;

/// Lookups of a measurement.
const LOOKUPS: usize = 1_000_000;
/// Names whose owners are compared.
const NAMES: usize = 50_000;

fn ring(nodes: u64) -> Ring {
    Ring::new((0..nodes).map(|id| Member {
        node: Node { id: NodeId(id), generation: 1 },
        stay: 0,
        weight: Weight::NORMAL,
        zone: Zone::default(),
    }))
}

fn positions(count: usize) -> Vec<Position> {
    let mut random = Random::new(17);
    (0..count).map(|_| Position(random.draw())).collect()
}

/// A lookup.
pub fn lookup(context: &Context) -> Result<Vec<Figure>, BenchError> {
    on_core(SERVER_CORE, || {
        let positions = positions(LOOKUPS);
        let mut figures = Vec::new();
        for nodes in [3, 50, 500] {
            let ring = ring(nodes);
            let points: Vec<(u64, NodeId)> = ring.points().collect();
            let plain = |position: Position| {
                let at = points.partition_point(|(point, _)| *point < position.0);
                points.get(at).or(points.first()).map(|(_, node)| *node)
            };
            let ours = || timed(&positions, |position| ring.home(position).map(|member| member.node.id));
            let pairs = Paired::measure::<BenchError>(context.pairs(15), ours, || timed(&positions, plain))?;
            let figure = Figure::paired("ring_lookup_ns", format!("{nodes} nodes"), "ns", &pairs);
            let met = figure.value <= 100.0;
            figures.push(figure.with("target", "10 M/s a core: <= 100 ns").with("met", met));
        }
        Ok(figures)
    })
}

/// Nanoseconds a lookup. Nothing between two lookups waits for the first, as in a node that looks up one by one.
fn timed(positions: &[Position], lookup: impl Fn(Position) -> Option<NodeId>) -> Result<f64, BenchError> {
    let begun = thread_time();
    let mut sum = 0_u64;
    for position in positions {
        sum = sum.wrapping_add(black_box(lookup(*position)).map_or(0, |node| node.0));
    }
    black_box(sum);
    Ok((thread_time() - begun).as_nanos() as f64 / positions.len() as f64)
}

/// Where each name's session is: by the ring alone, or with the bound, all of equal cost, placed one after the other.
fn owners(ring: &Ring, positions: &[Position], bounded: bool) -> Vec<Option<NodeId>> {
    let mut loads = Loads::new();
    let owner = |position: &Position| {
        if !bounded {
            return ring.home(*position).map(|member| member.node.id);
        }
        let node = place(ring, *position, Policy::Ring, &loads, &[]).ok().and_then(|decision| decision.node())?;
        *loads.entry(node).or_default() += ASSUMED_US;
        Some(node)
    };
    positions.iter().map(owner).collect()
}

/// What a node that joins moves.
pub fn moved(_context: &Context) -> Result<Vec<Figure>, BenchError> {
    let positions = positions(NAMES);
    let mut figures = Vec::new();
    for (kind, bounded, target) in [("plain", false, 1.0), ("bound 1.25", true, 1.10)] {
        let (mut all_moved, mut all_least) = (0, 0);
        for nodes in [3, 10, 50] {
            let (before, after) = (ring(nodes), ring(nodes + 1));
            let (before, after) = (owners(&before, &positions, bounded), owners(&after, &positions, bounded));
            let moved = before.iter().zip(&after).filter(|(old, new)| old != new).count();
            let least = after.iter().filter(|owner| **owner == Some(NodeId(nodes))).count();
            all_moved += moved;
            all_least += least;
            figures.push(ratio("ring_moved_ratio", format!("{kind}, {nodes} nodes and one"), "names", moved, least));
        }
        let figure = ratio("ring_moved_ratio", format!("{kind}, all"), "names", all_moved, all_least);
        figures.push(figure.with_target(target, true));
    }
    Ok(figures)
}

/// How full the fullest node is.
pub fn peak(_context: &Context) -> Result<Vec<Figure>, BenchError> {
    let positions = positions(NAMES);
    let mut figures = Vec::new();
    for (kind, bounded) in [("plain", false), ("bound 1.25", true)] {
        for nodes in [3, 10, 50] {
            let owners = owners(&ring(nodes), &positions, bounded);
            let count = |id| owners.iter().filter(|owner| **owner == Some(NodeId(id))).count();
            let most = (0..nodes).map(count).max().unwrap_or(0);
            let share = NAMES / nodes as usize;
            let figure = ratio("ring_peak_load", format!("{kind}, {nodes} nodes"), "names", most, share);
            figures.push(if bounded { figure.with_target(1.26, true) } else { figure });
        }
    }
    Ok(figures)
}

/// A count against another.
fn ratio(name: &'static str, case: String, unit: &'static str, ours: usize, reference: usize) -> Figure {
    let (value, reference) = (ours as f64, reference as f64);
    Figure { name, case, value, unit, reference, ratio: value / reference, spread: 0.0, extra: Default::default() }
}
