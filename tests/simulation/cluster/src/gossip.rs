//! Model gossip: what an anti-entropy protocol with heartbeats gives a node. Facts travel whole, from node to node, each
//! with a heartbeat that only its own node advances.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

use ringside_core::ids::NodeId;
use ringside_core::membership::Fact;
use ringside_simulation_kit::scheduler::Micros;

/// Time between two rounds of a node.
pub const ROUND: Micros = 100_000;
/// Nodes that a node tells in a round.
pub const FAN_OUT: u64 = 2;

/// A fact with the newest heartbeat that came with it.
#[derive(Debug, Clone)]
pub struct Rumour {
    /// The fact.
    pub fact: Rc<Fact>,
    /// Rounds of its node.
    pub beat: u64,
}

/// A run, and where it is: nothing tells two processes apart that are the same in both.
pub type Key = (NodeId, u64, SocketAddr);

/// Whom a fact is about.
fn key(fact: &Fact) -> Key {
    (fact.node.id, fact.node.generation, fact.contact.control)
}

/// What a node has heard, by who it is about.
#[derive(Debug, Default)]
pub struct Rumours {
    own: u64,
    known: BTreeMap<Key, Rumour>,
    /// When the heartbeat was seen to grow.
    grew: BTreeMap<Key, Micros>,
}

impl Rumours {
    /// The node's own fact, new.
    pub fn publish(&mut self, fact: Rc<Fact>) {
        let key = key(&fact);
        let beat = self.own;
        self.known.insert(key, Rumour { fact, beat });
    }

    /// A round: the own heart beats. What is told.
    pub fn round(&mut self, own: Key) -> Rc<[Rumour]> {
        self.own += 1;
        if let Some(rumour) = self.known.get_mut(&own) {
            rumour.beat = self.own;
        }
        self.known.values().cloned().collect()
    }

    /// Takes a rumour. If it is news: the age of its heartbeat, unknown ([`u64::MAX`]) while it was not seen to grow.
    pub fn hear(&mut self, now: Micros, own: Key, rumour: &Rumour) -> Option<u64> {
        let key = key(&rumour.fact);
        if key == own {
            return None;
        }
        match self.known.get_mut(&key) {
            None => {
                self.known.insert(key, rumour.clone());
                Some(u64::MAX)
            }
            Some(known) => {
                let is_newer = rumour.fact.version > known.fact.version;
                if rumour.beat <= known.beat && !is_newer {
                    return None;
                }
                if rumour.beat > known.beat {
                    known.beat = rumour.beat;
                    self.grew.insert(key, now);
                }
                if is_newer {
                    known.fact = rumour.fact.clone();
                }
                Some(self.grew.get(&key).map_or(u64::MAX, |at| now - at))
            }
        }
    }

    /// Forgets who has not been heard of for a while.
    pub fn forget(&mut self, now: Micros, own: Key) {
        const GRACE: Micros = 120_000_000;
        let grew = &self.grew;
        self.known.retain(|key, _| *key == own || grew.get(key).is_none_or(|at| at + GRACE > now));
    }
}
