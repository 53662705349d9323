//! The runs and stays that are over, remembered for a while so that old gossip does not raise them, and so that those
//! who were only presumed gone hear of it.

use std::collections::BTreeMap;

use super::{GOSSIP_MEMORY_US, Presumed};
use crate::ids::Node;
use crate::limits;

/// How long a stay that is over is remembered after the last that was heard of it, µs: twice as long as gossip keeps what
/// it heard of a dead node. While gossip remembers, heartbeats that are played again are older than those it knows; from
/// when it has forgotten they seem to grow, as those of a node that lives.
pub(super) const GRAVE_US: u64 = 2 * GOSSIP_MEMORY_US;
const _: () = assert!(GRAVE_US > GOSSIP_MEMORY_US, "a grave outlives what gossip remembers of a node");

#[derive(Debug, Clone, Copy)]
struct Grave {
    stay: u32,
    /// Whether it was ever more than joining: one that was not has succeeded nobody.
    was_active: bool,
    is_presumed: bool,
    /// When it is forgotten.
    until: u64,
}

/// The stays that are over.
#[derive(Debug, Default)]
pub(super) struct Graves {
    all: BTreeMap<Node, Grave>,
}

impl Graves {
    /// A stay is over. Beyond the bound the one that would be forgotten first makes room.
    pub fn bury(&mut self, now: u64, node: Node, stay: u32, was_active: bool, is_presumed: bool) {
        if self.all.len() >= limits::NODES
            && let Some(oldest) = self.all.iter().min_by_key(|(_, grave)| grave.until).map(|(node, _)| *node)
        {
            self.all.remove(&oldest);
        }
        self.all.insert(node, Grave { stay, was_active, is_presumed, until: now + GRAVE_US });
    }

    /// Whether this stay is over.
    pub fn covers(&self, node: Node, stay: u32) -> bool {
        let is_over = self.all.get(&node).is_some_and(|grave| stay <= grave.stay);
        let succeeded = |(other, grave): (&Node, &Grave)| {
            other.id == node.id && other.generation > node.generation && grave.was_active
        };
        is_over || self.all.iter().any(succeeded)
    }

    /// Somebody still speaks of a stay that is over.
    pub fn heard(&mut self, now: u64, node: Node) {
        if let Some(grave) = self.all.get_mut(&node) {
            grave.until = now + GRAVE_US;
        }
    }

    /// A node is back, in a later stay or run. Whether anything was forgotten.
    pub fn returned(&mut self, node: Node) -> bool {
        let before = self.all.len();
        self.all.retain(|other, _| other.id != node.id);
        self.all.len() != before
    }

    /// Whether any stay is presumed over.
    pub fn any_presumed(&self) -> bool {
        self.all.values().any(|grave| grave.is_presumed)
    }

    /// The stays that are presumed over, the latest of them if there are more than `most`.
    pub fn presumed(&self, most: usize) -> Vec<Presumed> {
        let mut presumed: Vec<_> = self.all.iter().filter(|(_, grave)| grave.is_presumed).collect();
        presumed.sort_by_key(|(_, grave)| std::cmp::Reverse(grave.until));
        presumed.truncate(most);
        let mut presumed: Vec<_> =
            presumed.into_iter().map(|(node, grave)| Presumed { node: *node, stay: grave.stay }).collect();
        presumed.sort_unstable();
        presumed
    }

    /// Forgets what is old. Whether anything was.
    pub fn expire(&mut self, now: u64) -> bool {
        let before = self.all.len();
        self.all.retain(|_, grave| grave.until > now);
        self.all.len() != before
    }
}
