//! Facts as gossip carries them: hexadecimal text of a format byte and postcard.

use ringside_core::membership::Fact;

use crate::hex;

/// The key under which a node says its fact.
pub const KEY: &str = "fact";
/// The format that this release writes and reads.
const FORMAT: u8 = 1;

/// A fact as text.
pub fn encode(fact: &Fact) -> String {
    // Plain data of bounded size always serializes.
    hex::encode(&postcard::to_extend(fact, vec![FORMAT]).unwrap_or_default())
}

/// The fact in a text; `None` where it is of another release, or no fact.
pub fn decode(text: &str) -> Option<Fact> {
    let bytes = hex::decode(text)?;
    let (format, fact) = bytes.split_first()?;
    match (*format, postcard::take_from_bytes(fact).ok()?) {
        (FORMAT, (fact, [])) => Some(fact),
        _ => None,
    }
}

/// A fact with everything at its longest.
#[cfg(test)]
pub fn largest() -> Fact {
    use std::net::SocketAddr;

    use ringside_core::ids::{Certificate, Node, NodeId};
    use ringside_core::limits;
    use ringside_core::membership::{Contact, Presumed, State};
    use ringside_core::ring::{Weight, Zone};

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
        for bad in
            ["", "01", "zz", &text[2..], &text[..text.len() - 2], &format!("02{}", &text[2..]), &format!("{text}00")]
        {
            assert_eq!(decode(bad), None);
        }
    }
}
