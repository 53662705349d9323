//! Which versions of checkpoints a node reads, and so which may be written in a cluster of two releases: none that somebody
//! who is there cannot read. A pure rule over the view; whoever writes asks it again with each view.
//!
//! | who | counts |
//! |---|---|
//! | whoever is present, joining or draining too | by the newest version that it reads |
//! | this node while it joins | by the oldest that it reads: it has not heard of everybody, and leads nothing yet |
//! | a release that says nothing of this | as one that reads [`Reads::FIRST`] alone |
//! | who is gone, said or presumed | not: what it cannot read is named when it is back, and written anew for it |

use serde::{Deserialize, Serialize};

use super::{State, View};
use crate::ids::NodeId;

/// The versions of checkpoints that a node reads: all from the oldest to the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Reads {
    /// The oldest.
    pub oldest: u16,
    /// The newest, which it would write if it were alone.
    pub newest: u16,
}

impl Reads {
    /// Those of a release that does not say which it reads.
    pub const FIRST: Reads = Reads { oldest: 1, newest: 1 };

    /// Whether there can be such a node.
    pub fn is_sound(self) -> bool {
        self.oldest >= 1 && self.oldest <= self.newest
    }

    /// Whether it reads a version.
    pub fn has(self, version: u16) -> bool {
        (self.oldest..=self.newest).contains(&version)
    }
}

impl Default for Reads {
    fn default() -> Reads {
        Reads::FIRST
    }
}

impl View {
    /// The newest version of checkpoints that node `me` may write; none where nobody is present whom it would matter to.
    pub fn checkpoint_version(&self, me: NodeId) -> Option<u16> {
        let joins = self.node(me).filter(|own| own.state == State::Joining).map(|own| own.reads.oldest);
        self.nodes().map(|seen| seen.reads.newest).chain(joins).min()
    }

    /// Whether a node reads whatever those on the ring may have written, be it before somebody older came: what is in a store
    /// is left to such a one. There is always one.
    pub fn reads_all(&self, node: NodeId) -> bool {
        let newest = |id: NodeId| self.node(id).map(|seen| seen.reads.newest);
        let most = self.ring().members().iter().filter_map(|member| newest(member.node.id)).max();
        newest(node) >= most
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Contact, Fact};
    use super::*;
    use crate::ids::{Certificate, Node};

    fn view(nodes: &[(u64, State, (u16, u16))]) -> View {
        let facts: Vec<Fact> = nodes
            .iter()
            .map(|(id, state, (oldest, newest))| {
                let contact = Contact::at(([127, 0, 0, 1], *id as u16).into(), Certificate([0; 32]));
                let reads = Reads { oldest: *oldest, newest: *newest };
                Fact { state: *state, reads, ..Fact::new(Node { id: NodeId(*id), generation: 1 }, contact) }
            })
            .collect();
        View::new(facts.iter().map(|fact| (fact, fact.state)))
    }

    #[test]
    fn what_is_written_everybody_reads_who_is_there() {
        use State::{Active, Draining, Gone, Joining};
        let (old, next) = ((1, 1), (1, 2));
        let written = |nodes: &[_]| view(nodes).checkpoint_version(NodeId(1));
        assert_eq!(written(&[(1, Active, next)]), Some(2));
        assert_eq!(written(&[(1, Active, next), (2, Active, old)]), Some(1));
        assert_eq!(written(&[(1, Active, next), (2, Joining, old)]), Some(1), "before it asks for anything");
        assert_eq!(written(&[(1, Active, next), (2, Draining, old)]), Some(1), "it still leads and follows");
        assert_eq!(written(&[(1, Active, next), (2, Gone, old)]), Some(2));
        assert_eq!(written(&[(1, Joining, next)]), Some(1), "it has not heard of anybody");
        assert_eq!(written(&[(1, Joining, (2, 3)), (2, Active, (1, 3))]), Some(2));
        assert_eq!((written(&[]), written(&[(2, Active, old)])), (None, Some(1)));
    }

    #[test]
    fn what_is_stored_is_left_to_who_reads_all() {
        use State::{Active, Joining};
        let view = view(&[(1, Active, (1, 1)), (2, Active, (1, 2)), (3, Joining, (1, 3))]);
        assert_eq!([1, 2, 3, 4].map(|id| view.reads_all(NodeId(id))), [false, true, true, false]);
    }

    #[test]
    fn what_no_node_can_be_is_refused() {
        for (oldest, newest, is_sound) in [(1, 1, true), (1, 9, true), (0, 1, false), (2, 1, false), (0, 0, false)] {
            assert_eq!(Reads { oldest, newest }.is_sound(), is_sound);
            let contact = Contact::at(([127, 0, 0, 1], 1).into(), Certificate([0; 32]));
            let node = Node { id: NodeId(1), generation: 1 };
            let fact = Fact { reads: Reads { oldest, newest }, ..Fact::new(node, contact) };
            assert_eq!(fact.check().is_ok(), is_sound);
        }
    }

    proptest! {
        #[test]
        fn nobody_is_active_who_could_not_read_it(
            nodes in proptest::collection::btree_map(1..8_u64, (0..3_u8, 1..4_u16, 0..3_u16), 1..8)
        ) {
            let states = [State::Joining, State::Active, State::Draining];
            let nodes: Vec<_> = nodes
                .into_iter()
                .map(|(id, (state, oldest, more))| (id, states[usize::from(state)], (oldest, oldest + more)))
                .collect();
            let view = view(&nodes);
            for (id, ..) in &nodes {
                let version = view.checkpoint_version(NodeId(*id)).unwrap();
                prop_assert!(nodes.iter().all(|(_, _, (_, newest))| version <= *newest));
            }
            prop_assert!(view.ring().members().iter().any(|member| view.reads_all(member.node.id)));
        }
    }
}
