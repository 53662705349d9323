//! Facts as gossip carries them: hexadecimal text of a format byte and postcard. A release reads its own format and the one
//! before; what a later release adds behind a fact is passed over, so that it need not change the format for that. Behind it is
//! said which checkpoints a node reads; where nothing is, it reads the first version alone.

use std::net::SocketAddr;

use ringside_core::ids::{Certificate, Node};
use ringside_core::membership::{Contact, Fact, PeerPorts, Presumed, Reads, State};
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
        let reads = Reads::FIRST;
        Fact { node, version, stay, state, weight, zone, contact, load_us, era, presumed_gone, reads }
    }
}

/// A fact as text.
pub fn encode(fact: &Fact) -> String {
    // Plain data of bounded size always serializes.
    let said = postcard::to_extend(fact, vec![FORMAT]).unwrap_or_default();
    hex::encode(&postcard::to_extend(&fact.reads, said).unwrap_or_default())
}

/// The fact in a text; `None` where it is of another release, or no fact.
pub fn decode(text: &str) -> Option<Fact> {
    let bytes = hex::decode(text)?;
    let (&format, fact) = bytes.split_first()?;
    match format {
        FORMAT => {
            let (fact, behind) = postcard::take_from_bytes::<Fact>(fact).ok()?;
            let reads = if behind.is_empty() { Reads::FIRST } else { postcard::take_from_bytes(behind).ok()?.0 };
            Some(Fact { reads, ..fact })
        }
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
        reads: Reads { oldest: u16::MAX, newest: u16::MAX },
    }
}

#[cfg(test)]
mod tests {
    use ringside_core::ids::NodeId;

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
        let Fact { node, version, stay, state, weight, zone, contact, load_us, era, presumed_gone, .. } = largest();
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
        assert_eq!(decode(&text), Some(Fact { contact, reads: Reads::FIRST, ..largest() }));
        assert_eq!(decode(&format!("{text}00")), None, "nothing was ever behind it");
    }

    /// A node of the release before says this; what came to be said since is behind it, and passed over there.
    const BEFORE: &str = "0202070300016403657531007f000001de39007f000001e83901007f000001e839007f00000101cc\
        3acecececececececececececececececececececececececececececececececee05d0400";

    #[test]
    fn which_checkpoints_a_node_reads_is_behind_its_fact() {
        let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let contact = Contact {
            control: address(7390),
            door: address(7400),
            workers: vec![address(7400)],
            peers: PeerPorts { address: address(0).ip(), ports: vec![7500] },
            certificate: Certificate([0xce; 32]),
        };
        let fact = Fact {
            version: 3,
            state: State::Active,
            zone: Zone::new("eu1").unwrap(),
            load_us: 12_000,
            era: 4,
            reads: Reads { oldest: 1, newest: 300 },
            ..Fact::new(Node { id: NodeId(2), generation: 7 }, contact)
        };
        let text = encode(&fact);
        assert_eq!(text, format!("{BEFORE}01ac02"));
        assert_eq!(decode(&text), Some(fact.clone()));
        assert_eq!(decode(BEFORE), Some(Fact { reads: Reads::FIRST, ..fact.clone() }));
        assert_eq!(decode(&format!("{text}0a0b0c")), Some(fact), "what a later release says more is passed over");
        assert_eq!(decode(&text[..text.len() - 2]), None, "it is cut off");
        // What is said may make no sense: membership takes none of it.
        assert!(decode(&format!("{BEFORE}0201")).is_some_and(|odd| odd.check().is_err()));
    }
}
