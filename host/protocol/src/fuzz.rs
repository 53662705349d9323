//! One function for each decoder, for a fuzzer or the seeded [`Mutator`] below: it feeds bytes of nobody in
//! particular and asserts what must hold for all of them. Not part of the public interface.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use crate::channel::Outbox;
use crate::datagram::{ClientDatagram, ServerDatagram};
use crate::frame::{ClientFrame, FrameDecoder, FrameError, ServerFrame, WireFrame};
use crate::token::{ResumeClaims, SealedClaims, TicketClaims};
use crate::view::{Fragment, ViewDecoder};
use crate::{limits, varint};

/// A named fuzz function.
pub type Target = (&'static str, fn(&[u8]));

/// Every decoder of this crate.
pub const TARGETS: &[Target] = &[
    ("varint", fuzz_varint),
    ("client_frames", fuzz_client_frames),
    ("server_frames", fuzz_server_frames),
    ("client_datagram", fuzz_client_datagram),
    ("server_datagram", fuzz_server_datagram),
    ("view_fragments", fuzz_view_fragments),
    ("outbox", fuzz_outbox),
    ("claims", fuzz_claims),
];

/// Feeds each function with inputs made from a corpus. `RINGSIDE_FUZZ_SEED` and `RINGSIDE_FUZZ_ROUNDS` choose other
/// inputs than the seed 1 and `rounds`.
///
/// # Panics
/// If a function does, with the input.
pub fn hammer(targets: &[Target], corpus: &[Vec<u8>], rounds: u64) {
    let number = |variable: &str, default| match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")),
        Err(_) => default,
    };
    let mut mutator = Mutator::new(number("RINGSIDE_FUZZ_SEED", 1));
    for round in 0..number("RINGSIDE_FUZZ_ROUNDS", rounds) {
        let input = mutator.mutate(corpus);
        for (name, target) in targets {
            let survived = catch_unwind(AssertUnwindSafe(|| target(&input)));
            assert!(survived.is_ok(), "{name}, round {round}: {input:02x?}");
        }
    }
}

/// The integer.
pub fn fuzz_varint(bytes: &[u8]) {
    let mut rest = bytes;
    if let Ok(value) = varint::take(&mut rest) {
        let mut again = Vec::new();
        varint::put(&mut again, value);
        assert_eq!(again, bytes[..bytes.len() - rest.len()]);
    }
}

/// A client's stream; the first byte says how it is cut.
pub fn fuzz_client_frames(bytes: &[u8]) {
    frames::<ClientFrame>(bytes);
}

/// A server's stream; the first byte says how it is cut.
pub fn fuzz_server_frames(bytes: &[u8]) {
    frames::<ServerFrame>(bytes);
}

fn frames<F: WireFrame + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let Some((&cut, stream)) = bytes.split_first() else { return };
    let whole = read_all::<F>(stream, usize::MAX);
    let gapped = read_all::<F>(stream, usize::from(cut) + 1);
    assert_eq!(whole, gapped, "where a stream is cut must not matter");
    for frame in whole.0 {
        let again = frame.to_bytes();
        let mut decoder = FrameDecoder::<F>::new(usize::MAX);
        assert_eq!(decoder.next(&mut &again[..]).as_ref(), Ok(&Some(frame)));
    }
}

fn read_all<F: WireFrame>(stream: &[u8], cut: usize) -> (Vec<F>, Option<FrameError>) {
    let mut decoder = FrameDecoder::<F>::default();
    let mut frames = Vec::new();
    for mut piece in stream.chunks(cut) {
        while !piece.is_empty() {
            match decoder.next(&mut piece) {
                Ok(frame) => frames.extend(frame),
                Err(error) => return (frames, Some(error)),
            }
            assert!(decoder.buffered() <= F::LIMIT + varint::MAX_BYTES);
        }
    }
    (frames, None)
}

/// A client's datagram.
pub fn fuzz_client_datagram(bytes: &[u8]) {
    if let Ok(datagram) = ClientDatagram::decode(Bytes::copy_from_slice(bytes)) {
        let mut again = Vec::new();
        datagram.encode(&mut again);
        assert_eq!(again, bytes);
    }
}

/// A server's datagram.
pub fn fuzz_server_datagram(bytes: &[u8]) {
    if let Ok(datagram) = ServerDatagram::decode(Bytes::copy_from_slice(bytes)) {
        let mut again = Vec::new();
        datagram.encode(&mut again);
        assert_eq!(again, bytes);
        if let ServerDatagram::ViewFragment { header, body } = datagram {
            assert_eq!(header.size() + body.len(), bytes.len());
        }
    }
}

/// A server's datagrams, each with its length (a byte) before it, put together to views.
pub fn fuzz_view_fragments(bytes: &[u8]) {
    let mut decoder = ViewDecoder::new();
    let mut rest = bytes;
    while let Some((&length, after)) = rest.split_first() {
        let (datagram, after) = after.split_at(usize::from(length).min(after.len()));
        rest = after;
        let Ok(ServerDatagram::ViewFragment { header, body }) =
            ServerDatagram::decode(Bytes::copy_from_slice(datagram))
        else {
            continue;
        };
        let before = decoder.newest();
        if let Fragment::Complete(view) = decoder.take(header, body) {
            assert!(view.number > before);
            assert!(view.body.len() <= limits::VIEW_BYTES);
            assert!(view.committed_tick <= view.tick);
        }
    }
}

/// A saved outbox.
pub fn fuzz_outbox(bytes: &[u8]) {
    let Ok(mut outbox) = postcard::from_bytes::<Outbox>(bytes) else { return };
    assert_eq!(outbox.after(0).count(), outbox.len());
    assert_eq!(outbox.after(0).map(|(_, body)| body.len()).sum::<usize>(), outbox.bytes());
    let last = outbox.last();
    assert!(outbox.acknowledge(last.saturating_add(1)).is_err());
    assert_eq!(outbox.acknowledge(last).is_ok(), outbox.is_empty());
    assert_eq!(outbox.bytes(), 0);
    let _ = outbox.push(Bytes::from_static(b"next"));
}

/// Claims of tickets and resume tokens.
pub fn fuzz_claims(bytes: &[u8]) {
    if let Ok(claims) = TicketClaims::from_bytes(bytes) {
        assert_eq!(TicketClaims::from_bytes(&claims.to_bytes()), Ok(claims));
        assert!(ResumeClaims::from_bytes(bytes).is_err());
    }
    if let Ok(claims) = ResumeClaims::from_bytes(bytes) {
        assert_eq!(ResumeClaims::from_bytes(&claims.to_bytes()), Ok(claims));
    }
}

/// A small seeded generator of broken input: the same seed gives the same bytes, on any machine.
#[derive(Debug, Clone)]
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// One that begins at `seed`.
    pub fn new(seed: u64) -> Self {
        Mutator { state: seed }
    }

    /// The next 64 bits (SplitMix64).
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 where that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.draw() % bound.max(1) as u64) as usize
    }

    /// A new input, made of one or two of the corpus by one to four mutations.
    pub fn mutate(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = self.pick(corpus);
        for _ in 0..=self.below(4) {
            self.step(&mut bytes, corpus);
        }
        bytes
    }

    fn pick(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        corpus.get(self.below(corpus.len())).cloned().unwrap_or_default()
    }

    fn step(&mut self, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        const EDGES: [u8; 8] = [0x00, 0x01, 0x0f, 0x10, 0x7f, 0x80, 0xfe, 0xff];
        let at = self.below(bytes.len());
        match self.below(8) {
            0 => bytes.truncate(at),
            1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
            2 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = EDGES[self.below(EDGES.len())];
                }
            }
            3 => bytes.insert(at, self.draw() as u8),
            4 => {
                let end = (at + 1 + self.below(16)).min(bytes.len());
                bytes.drain(at..end);
            }
            5 => {
                let end = (at + 1 + self.below(16)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            6 => {
                let other = self.pick(corpus);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[self.below(other.len())..]);
            }
            _ => (0..1 + self.below(12)).for_each(|_| bytes.push(self.draw() as u8)),
        }
    }
}
