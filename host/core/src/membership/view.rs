//! A view: the nodes that are present with what they say of themselves, and the ring that follows from it. Two nodes
//! with equal views have equal rings, and so equal owners of everything.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{Contact, Fact, Reads, State};
use crate::ids::{Node, NodeId};
use crate::ring::{Member, Ring, RingDigest, Weight, Zone};

/// Names a view: who is present, in which run, stay and state.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewDigest(pub u64);

impl fmt::Display for ViewDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for ViewDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "view {self}")
    }
}

/// A node that is present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Which, in which run.
    pub node: Node,
    /// In which stay.
    pub stay: u32,
    /// Where in its life.
    pub state: State,
    /// How much it takes.
    pub weight: Weight,
    /// What it fails together with.
    pub zone: Zone,
    /// Where it can be reached.
    pub contact: Contact,
    /// Which checkpoints it reads.
    pub reads: Reads,
}

/// The cluster as one node sees it at one time.
#[derive(Debug, Clone)]
pub struct View {
    version: u64,
    digest: ViewDigest,
    nodes: BTreeMap<NodeId, Seen>,
    ring: Arc<Ring>,
}

impl View {
    /// A first view: these nodes, each in the state beside it.
    pub fn new<'a>(facts: impl IntoIterator<Item = (&'a Fact, State)>) -> View {
        let nodes = nodes(facts);
        View { version: 1, digest: digest(&nodes), ring: Arc::new(Ring::new(members(&nodes))), nodes }
    }

    /// The view that follows this one, unless it is the same.
    pub fn next<'a>(&self, facts: impl IntoIterator<Item = (&'a Fact, State)>) -> Option<View> {
        let nodes = nodes(facts);
        let digest = digest(&nodes);
        if digest == self.digest {
            return None;
        }
        let ring = match members(&nodes).eq(self.ring.members().iter().cloned()) {
            true => self.ring.clone(),
            false => Arc::new(Ring::new(members(&nodes))),
        };
        Some(View { version: self.version + 1, digest, nodes, ring })
    }

    /// Counts this node's views: a later one has a greater number. Means nothing to other nodes.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Names what is in it, whoever sees it.
    pub fn digest(&self) -> ViewDigest {
        self.digest
    }

    /// The ring of the active nodes.
    pub fn ring(&self) -> &Arc<Ring> {
        &self.ring
    }

    /// The ring's digest.
    pub fn ring_digest(&self) -> RingDigest {
        self.ring.digest()
    }

    /// The nodes that are present, in order of their numbers.
    pub fn nodes(&self) -> impl Iterator<Item = &Seen> {
        self.nodes.values()
    }

    /// The node with this number, if it is present.
    pub fn node(&self, id: NodeId) -> Option<&Seen> {
        self.nodes.get(&id)
    }

    /// Whether this run of a node is present.
    pub fn has(&self, node: Node) -> bool {
        self.node(node.id).is_some_and(|seen| seen.node == node)
    }
}

/// Views are equal that show the same, whenever they came to be.
impl PartialEq for View {
    fn eq(&self, other: &View) -> bool {
        self.digest == other.digest
    }
}

impl Eq for View {}

fn nodes<'a>(facts: impl IntoIterator<Item = (&'a Fact, State)>) -> BTreeMap<NodeId, Seen> {
    let present = facts.into_iter().filter(|(_, state)| *state != State::Gone);
    let seen = present.map(|(fact, state)| Seen {
        node: fact.node,
        stay: fact.stay,
        state,
        weight: fact.weight,
        zone: fact.zone.clone(),
        contact: fact.contact.clone(),
        reads: fact.reads,
    });
    seen.map(|seen| (seen.node.id, seen)).collect()
}

/// Active nodes make the ring. Where there are none, better those that are there than nobody.
fn members(nodes: &BTreeMap<NodeId, Seen>) -> impl Iterator<Item = Member> {
    let any_active = nodes.values().any(|seen| seen.state == State::Active);
    let members = nodes.values().filter(move |seen| seen.state == State::Active || !any_active);
    members.map(|seen| Member { node: seen.node, stay: seen.stay, weight: seen.weight, zone: seen.zone.clone() })
}

fn digest(nodes: &BTreeMap<NodeId, Seen>) -> ViewDigest {
    let mut hasher = blake3::Hasher::new();
    for seen in nodes.values() {
        // Its form is fixed within a release, and views are compared by people and tests only.
        let parts = (seen.node, seen.stay, seen.state, seen.weight, &seen.zone, &seen.contact, seen.reads);
        hasher.update(&postcard::to_stdvec(&parts).unwrap_or_default());
    }
    let mut leading = [0; 8];
    leading.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    ViewDigest(u64::from_le_bytes(leading))
}
