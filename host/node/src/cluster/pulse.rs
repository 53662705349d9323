//! How old what gossip knows of each node is. A heartbeat counts once it was seen to grow: what is heard of a node for
//! the first time may be a memory of one that died.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use ringside_core::membership::Fact;

use super::fact;
use super::gossip::{Member, Snapshot};
use crate::limits::PULSES;

/// A process: a copy of a node differs in its address, if in nothing else.
type Key = (u64, u64, SocketAddr);

#[derive(Debug)]
struct Pulse {
    heartbeat: u64,
    grew_at: Option<Instant>,
    text: String,
}

/// What was heard of every node.
#[derive(Debug)]
pub struct Pulses {
    own: Key,
    known: HashMap<Key, Pulse>,
}

impl Pulses {
    /// Of a node that has heard nothing; its own gossip is not heard.
    pub fn new(node: u64, generation: u64, address: SocketAddr) -> Pulses {
        Pulses { own: (node, generation, address), known: HashMap::new() }
    }

    /// What is new in a snapshot: facts, each with the age of its node's newest heartbeat in µs, [`u64::MAX`] where it
    /// was not seen to grow yet.
    pub fn hear(&mut self, snapshot: &Snapshot) -> Vec<(Fact, u64)> {
        let listed = |key: &Key| snapshot.members.iter().any(|member| key_of(member) == *key);
        if self.known.len() >= PULSES {
            self.known.retain(|key, _| listed(key));
        }
        snapshot.members.iter().filter_map(|member| self.hear_member(snapshot.at, member)).collect()
    }

    fn hear_member(&mut self, at: Instant, member: &Member) -> Option<(Fact, u64)> {
        let key = key_of(member);
        if key == self.own {
            return None;
        }
        let text = member.values.get(fact::KEY)?;
        let is_known = self.known.contains_key(&key);
        if !is_known && self.known.len() >= PULSES {
            return None;
        }
        let pulse = self.known.entry(key).or_insert_with(|| Pulse {
            heartbeat: member.heartbeat,
            grew_at: None,
            text: text.clone(),
        });
        let grew = member.heartbeat > pulse.heartbeat;
        if grew {
            (pulse.heartbeat, pulse.grew_at) = (member.heartbeat, Some(at));
        }
        let changed = pulse.text != *text;
        if changed {
            pulse.text.clone_from(text);
        }
        if is_known && !grew && !changed {
            return None;
        }
        let fact = fact::decode(text).filter(|fact| (fact.node.id.0, fact.node.generation) == (key.0, key.1))?;
        let age = pulse.grew_at.map_or(u64::MAX, |grew_at| at.saturating_duration_since(grew_at).as_micros() as u64);
        Some((fact, age))
    }
}

fn key_of(member: &Member) -> Key {
    (member.node, member.generation, member.address)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use ringside_core::ids::{Certificate, Node, NodeId};
    use ringside_core::membership::{Contact, State};

    use super::*;

    fn fact(node: u64, version: u64) -> Fact {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let contact = Contact::at(address, Certificate([0; 32]));
        let node = Node { id: NodeId(node), generation: 1 };
        Fact { version, state: State::Active, ..Fact::new(node, contact) }
    }

    fn member(node: u64, heartbeat: u64, text: String) -> Member {
        let values = BTreeMap::from([(fact::KEY.to_owned(), text)]);
        Member { node, generation: 1, address: ([127, 0, 0, 1], 2).into(), live: false, heartbeat, values }
    }

    #[test]
    fn a_heartbeat_counts_when_it_grows_and_only_its_own_node_is_believed() {
        let mut pulses = Pulses::new(1, 1, ([127, 0, 0, 1], 2).into());
        let start = Instant::now();
        let mut hear = |after_ms: u64, member: Member| {
            let at = start + Duration::from_millis(after_ms);
            let snapshot = Snapshot { at, stalled: Duration::ZERO, members: vec![member] };
            pulses
                .hear(&snapshot)
                .into_iter()
                .map(|(fact, age)| (fact.node.id.0, fact.version, age))
                .collect::<Vec<_>>()
        };
        let text = |node, version| fact::encode(&fact(node, version));
        assert_eq!(hear(0, member(2, 5, text(2, 1))), [(2, 1, u64::MAX)], "it may be dead");
        assert_eq!(hear(100, member(2, 5, text(2, 1))), []);
        assert_eq!(hear(200, member(2, 6, text(2, 1))), [(2, 1, 0)]);
        assert_eq!(hear(300, member(2, 6, text(2, 2))), [(2, 2, 100_000)], "news, of a heart that beat before");
        assert_eq!(hear(300, member(2, 4, text(2, 2))), [], "an older heartbeat is none");
        assert_eq!(hear(400, member(1, 9, text(1, 1))), [], "this node itself");
        assert_eq!(hear(400, member(3, 9, text(4, 1))), [], "it speaks for another");
        assert_eq!(hear(400, member(5, 9, "01ff".to_owned())), []);
    }

    #[test]
    fn processes_that_are_heard_of_are_bounded() {
        let mut pulses = Pulses::new(1, 1, ([127, 0, 0, 1], 2).into());
        let members = |from: u64| {
            let ids = from..from + PULSES as u64 + 10;
            ids.map(|node| member(node, 1, fact::encode(&fact(node, 1)))).collect::<Vec<_>>()
        };
        let hear = |pulses: &mut Pulses, members| {
            pulses.hear(&Snapshot { at: Instant::now(), stalled: Duration::ZERO, members }).len()
        };
        assert_eq!(hear(&mut pulses, members(10)), PULSES);
        assert_eq!(hear(&mut pulses, members(100_000)), PULSES, "those that gossip has forgotten make room");
    }
}
