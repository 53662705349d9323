//! The door: tells packets of established connections from those that may cost a handshake, without parsing more
//! than a header, and keeps the latter in two bounded queues until the turn has time for them. What does not fit is
//! dropped unparsed and counted. Never touches the QUIC endpoint.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use bytes::BytesMut;
use quinn_proto::EcnCodepoint;

use crate::limits::{FIRST_WAITING, VALIDATED_WAITING};

/// The largest packet of a handshake that is looked at, bytes; larger ones cannot be one.
const PACKET_BYTES: usize = 2048;

/// What a packet's header says about its cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A short header: some connection's data.
    Established,
    /// Part of a handshake whose peer has shown its address, as far as the header says.
    Validated,
    /// A first packet that anybody could have sent from any address.
    First,
    /// Nothing that QUIC sends.
    Malformed,
}

/// A packet that waits for the turn's handshake share.
#[derive(Debug)]
pub struct Waiting {
    /// When it arrived.
    pub arrived: Instant,
    /// The sender.
    pub from: SocketAddr,
    /// Our address, where the socket is bound to several.
    pub to: Option<IpAddr>,
    /// Its congestion mark.
    pub ecn: Option<EcnCodepoint>,
    /// Its bytes.
    pub bytes: BytesMut,
}

/// The queues before the handshakes.
#[derive(Debug, Default)]
pub struct Admission {
    validated: VecDeque<Waiting>,
    first: VecDeque<Waiting>,
    dropped: u64,
}

impl Admission {
    /// Keeps a packet of this class for later, or drops it.
    pub fn push(&mut self, class: Class, packet: Waiting) {
        let (queue, limit) = match class {
            // Data of a peer whose handshake is under way.
            Class::Validated | Class::Established => (&mut self.validated, VALIDATED_WAITING),
            Class::First => (&mut self.first, FIRST_WAITING),
            Class::Malformed => {
                self.dropped += 1;
                return;
            }
        };
        if queue.len() < limit && packet.bytes.len() <= PACKET_BYTES {
            queue.push_back(packet);
        } else {
            self.dropped += 1;
        }
    }

    /// The next packet, those with a shown address first.
    pub fn pop(&mut self) -> Option<Waiting> {
        self.validated.pop_front().or_else(|| self.first.pop_front())
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.validated.is_empty() && self.first.is_empty()
    }

    /// Packets dropped unparsed so far.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// Reads a packet's class from its header (RFC 9000, section 17).
pub fn classify(packet: &[u8]) -> Class {
    let Some(&flags) = packet.first() else { return Class::Malformed };
    if flags & 0x80 == 0 {
        return Class::Established;
    }
    match initial_token_bytes(packet) {
        Some(InitialToken::NotInitial | InitialToken::Present) => Class::Validated,
        Some(InitialToken::Absent) => Class::First,
        None => Class::Malformed,
    }
}

enum InitialToken {
    NotInitial,
    Absent,
    Present,
}

/// What a long header says about its token; `None` if it is cut short.
fn initial_token_bytes(packet: &[u8]) -> Option<InitialToken> {
    let flags = packet[0];
    let version = u32::from_be_bytes(packet.get(1..5)?.try_into().ok()?);
    if version != 1 {
        // Costs a version negotiation at most, and anybody can send it.
        return Some(InitialToken::Absent);
    }
    if flags & 0x30 != 0 {
        return Some(InitialToken::NotInitial);
    }
    let rest = packet.get(5..)?;
    let rest = skip_counted(rest)?;
    let rest = skip_counted(rest)?;
    Some(if *rest.first()? == 0 { InitialToken::Absent } else { InitialToken::Present })
}

/// Skips a connection id with its length byte.
fn skip_counted(bytes: &[u8]) -> Option<&[u8]> {
    let (&length, rest) = bytes.split_first()?;
    rest.get(usize::from(length)..)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn initial(token: &[u8]) -> Vec<u8> {
        let mut packet = vec![0xc0, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 2, 9, 9, token.len() as u8];
        packet.extend_from_slice(token);
        packet.resize(1200, 0);
        packet
    }

    fn waiting(length: usize) -> Waiting {
        let from = "127.0.0.1:1".parse().unwrap();
        Waiting { arrived: Instant::now(), from, to: None, ecn: None, bytes: BytesMut::zeroed(length) }
    }

    #[test]
    fn headers_tell_the_class() {
        assert_eq!(classify(&[0x40; 30]), Class::Established);
        assert_eq!(classify(&initial(&[])), Class::First);
        assert_eq!(classify(&initial(&[1, 2, 3])), Class::Validated);
        assert_eq!(classify(&[0xe0, 0, 0, 0, 1, 0, 0]), Class::Validated);
        assert_eq!(classify(&[0xc0, 0xa, 0xa, 0xa, 0xa, 0]), Class::First);
        for cut in 0..18 {
            let class = classify(&initial(&[])[..cut]);
            assert_eq!(class, Class::Malformed, "cut at {cut}");
        }
    }

    #[test]
    fn first_packets_beyond_their_bound_are_dropped_and_delay_nobody() {
        let mut admission = Admission::default();
        for _ in 0..FIRST_WAITING + 10 {
            admission.push(Class::First, waiting(1200));
        }
        assert_eq!(admission.dropped(), 10);
        admission.push(Class::Validated, waiting(1300));
        assert_eq!(admission.pop().map(|packet| packet.bytes.len()), Some(1300));
        assert_eq!(std::iter::from_fn(|| admission.pop()).count(), FIRST_WAITING);
        assert!(admission.is_empty());
    }

    #[test]
    fn handshake_packets_beyond_their_bound_are_dropped() {
        let mut admission = Admission::default();
        for _ in 0..VALIDATED_WAITING + 7 {
            admission.push(Class::Validated, waiting(60));
        }
        admission.push(Class::Validated, waiting(PACKET_BYTES + 1));
        admission.push(Class::Malformed, waiting(60));
        assert_eq!(admission.dropped(), 9);
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_class(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let class = classify(&bytes);
            let short = bytes.first().is_some_and(|flags| flags & 0x80 == 0);
            prop_assert_eq!(class == Class::Established, short);
        }
    }
}
