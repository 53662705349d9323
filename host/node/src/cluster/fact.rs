//! Facts as gossip carries them: hexadecimal text of a format byte and postcard. A release reads its own format and the one
//! before; what a later release adds behind a fact is passed over, so that it need not change the format for that.

use std::net::SocketAddr;

use ringside_core::ids::{Certificate, Node};
use ringside_core::membership::{Contact, Fact, PeerPorts, Presumed, State};
use ringside_core::ring::{Weight, Zone};
use serde::{Deserialize, Serialize};

use crate::hex;

/// The key under which a node says its fact.
pub const KEY: &str = "fact";
/// The format that this release writes.
const FORMAT: u8 = 2;
/// The format before, of a release whose workers had no links to others': it is still read.
const WITHOUT_PEERS: u8 = 1;

/// A fact of the format before.
#[derive(Serialize, Deserialize)]
struct FactWithoutPeers {
    node: Node,
    version: u64,
    stay: u32,
    state: State,
    weight: Weight,
    zone: Zone,
    contact: ContactWithoutPeers,
    load_us: u64,
    era: u32,
    presumed_gone: Vec<Presumed>,
}

#[derive(Serialize, Deserialize)]
struct ContactWithoutPeers {
    control: SocketAddr,
    door: SocketAddr,
    workers: Vec<SocketAddr>,
    certificate: Certificate,
}

impl From<FactWithoutPeers> for Fact {
    fn from(before: FactWithoutPeers) -> Fact {
        let FactWithoutPeers { node, version, stay, state, weight, zone, contact, load_us, era, presumed_gone } =
            before;
        let ContactWithoutPeers { control, door, workers, certificate } = contact;
        let contact = Contact { control, door, workers, peers: PeerPorts::none(control.ip()), certificate };
        Fact { node, version, stay, state, weight, zone, contact, load_us, era, presumed_gone }
    }
}

/// A fact as text.
pub fn encode(fact: &Fact) -> String {
    // Plain data of bounded size always serializes.
    hex::encode(&postcard::to_extend(fact, vec![FORMAT]).unwrap_or_default())
}

/// The fact in a text; `None` where it is of another release, or no fact.
pub fn decode(text: &str) -> Option<Fact> {
    let bytes = hex::decode(text)?;
    let (&format, fact) = bytes.split_first()?;
    match format {
        FORMAT => Some(postcard::take_from_bytes(fact).ok()?.0),
        WITHOUT_PEERS => match postcard::take_from_bytes::<FactWithoutPeers>(fact).ok()? {
            (fact, []) => Some(fact.into()),
            _ => None,
        },
        _ => None,
    }
}

/// A fact with everything at its longest.
#[cfg(test)]
pub fn largest() -> Fact {
    use ringside_core::ids::NodeId;
    use ringside_core::limits;

    let address = SocketAddr::from(([0xffff; 8], 65_535));
    let node = Node { id: NodeId(u64::MAX), generation: u64::MAX };
    Fact {
        node,
        version: u64::MAX,
        stay: u32::MAX,
        state: State::Gone,
        weight: Weight::percent(1600).unwrap(),
        zone: Zone::new("z".repeat(32)).unwrap(),
        // As many as can be configured, and the penalty worker.
        contact: Contact {
            control: address,
            door: address,
            workers: vec![address; 65],
            peers: PeerPorts { address: address.ip(), ports: vec![u16::MAX; 65] },
            certificate: Certificate([255; 32]),
        },
        load_us: u64::MAX,
        era: u32::MAX,
        presumed_gone: vec![Presumed { node, stay: u32::MAX }; limits::PRESUMED_GONE],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::GOSSIP_VALUE_BYTES;

    #[test]
    fn the_largest_fact_is_carried_and_others_are_refused() {
        let text = encode(&largest());
        assert!(text.len() <= GOSSIP_VALUE_BYTES, "{}", text.len());
        assert_eq!(decode(&text), Some(largest()));
        for bad in ["", "02", "zz", &text[2..], &text[..text.len() - 2], &format!("03{}", &text[2..])] {
            assert_eq!(decode(bad), None);
        }
        assert_eq!(decode(&format!("{text}00")), Some(largest()), "what a later release says more is passed over");
    }

    #[test]
    fn the_format_before_is_read() {
        let Fact { node, version, stay, state, weight, zone, contact, load_us, era, presumed_gone } = largest();
        let Contact { control, door, workers, peers, certificate } = contact.clone();
        let old = FactWithoutPeers {
            node,
            version,
            stay,
            state,
            weight,
            zone,
            contact: ContactWithoutPeers { control, door, workers, certificate },
            load_us,
            era,
            presumed_gone,
        };
        let text = hex::encode(&postcard::to_extend(&old, vec![WITHOUT_PEERS]).unwrap());
        let contact = Contact { peers: PeerPorts::none(peers.address), ..contact };
        assert_eq!(contact.peer(ringside_core::ids::WorkerId(0)), None);
        assert_eq!(decode(&text), Some(Fact { contact, ..largest() }));
        assert_eq!(decode(&format!("{text}00")), None, "nothing was ever behind it");
    }
}
