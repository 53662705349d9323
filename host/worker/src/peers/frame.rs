//! What two workers say on their stream: frames of a length (four bytes, little-endian), a kind and a body. The first of
//! each end is its greeting, whose layout never changes but at its end; it agrees on a version, and everything after it is
//! of that version. No I/O.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ringside_core::ids::{Node, NodeId, WorkerId};

use super::Peer;
use crate::limits::{PEER_FRAME_BYTES, PEER_GREETING_BYTES};

/// Versions of what is said that this release understands, the oldest and the newest. Adjacent releases share one.
pub const VERSIONS: (u16, u16) = (1, 1);
/// What a greeting begins with.
const MAGIC: [u8; 4] = *b"RSPL";
/// Bytes of a greeting of this release.
const GREETING: usize = 50;
/// Bytes before a frame's body: its length and its kind.
pub const HEAD_BYTES: usize = 5;

const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const BODY: u8 = 3;
const DONE: u8 = 4;

/// Who speaks to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Greeting {
    /// Versions that the speaker understands, the oldest and the newest.
    pub versions: (u16, u16),
    /// The speaker.
    pub from: Peer,
    /// Who is meant.
    pub to: Peer,
    /// Counts the dials of whoever made the connection; an answer repeats it.
    pub dial: u64,
}

/// The newest version that both ends understand.
pub fn agree(ours: (u16, u16), theirs: (u16, u16)) -> Option<u16> {
    let newest = ours.1.min(theirs.1);
    (newest >= ours.0.max(theirs.0)).then_some(newest)
}

/// What is said on a link's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// First of whoever dialed.
    Hello(Greeting),
    /// First of whoever was dialed.
    Welcome(Greeting),
    /// What the link is for; its meaning is the sessions'.
    Body(Bytes),
    /// No session of the speaker needs the link: whoever hears it closes the link if none of its own does.
    Done,
}

/// Why a frame cannot be read; the stream is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than is allowed at this place.
    #[error("a frame of {0} bytes is too long")]
    TooLong(usize),
    /// It is none of those that there are, or damaged.
    #[error("a frame that cannot be understood")]
    Malformed,
}

/// Writes a frame behind others. A body is no longer than [`PEER_FRAME_BYTES`]: whoever sends sees to it.
pub fn encode(frame: &Frame, into: &mut BytesMut) {
    let mut head = |kind: u8, body: usize| {
        into.put_u32_le(body as u32 + 1);
        into.put_u8(kind);
    };
    match frame {
        Frame::Hello(greeting) => {
            head(HELLO, GREETING);
            put_greeting(greeting, into);
        }
        Frame::Welcome(greeting) => {
            head(WELCOME, GREETING);
            put_greeting(greeting, into);
        }
        Frame::Body(body) => {
            head(BODY, body.len());
            into.put_slice(body);
        }
        Frame::Done => head(DONE, 0),
    }
}

fn put_greeting(greeting: &Greeting, into: &mut BytesMut) {
    into.put_slice(&MAGIC);
    into.put_u16_le(greeting.versions.0);
    into.put_u16_le(greeting.versions.1);
    for peer in [greeting.from, greeting.to] {
        into.put_u64_le(peer.node.id.0);
        into.put_u64_le(peer.node.generation);
        into.put_u8(peer.worker.0);
    }
    into.put_u64_le(greeting.dial);
}

/// A later release may say more at the end.
fn greeting(mut body: &[u8]) -> Option<Greeting> {
    if body.len() < GREETING || !body.starts_with(&MAGIC) {
        return None;
    }
    body.advance(MAGIC.len());
    let versions = (body.get_u16_le(), body.get_u16_le());
    let mut peer = || Peer {
        node: Node { id: NodeId(body.get_u64_le()), generation: body.get_u64_le() },
        worker: WorkerId(body.get_u8()),
    };
    let (from, to) = (peer(), peer());
    (versions.0 <= versions.1).then(|| Greeting { versions, from, to, dial: body.get_u64_le() })
}

/// Puts frames together from what arrives. Holds one unfinished frame at most, and what was pushed behind it.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: BytesMut,
    greeted: bool,
}

impl Decoder {
    /// What arrived next. Frames are to be taken out before more is pushed.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame, if it is complete. The first must be a greeting, and only the first.
    ///
    /// # Errors
    /// [`FrameError`], for ever: nothing behind it can be read.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(head) = self.bytes.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*head) as usize;
        let most = if self.greeted { PEER_FRAME_BYTES } else { PEER_GREETING_BYTES };
        if length > most + 1 {
            return Err(FrameError::TooLong(length));
        }
        if length == 0 {
            return Err(FrameError::Malformed);
        }
        if self.bytes.len() < 4 + length {
            return Ok(None);
        }
        let kind = self.bytes[4];
        let body = &self.bytes[HEAD_BYTES..4 + length];
        let read = match (kind, self.greeted) {
            (HELLO, false) => greeting(body).map(Frame::Hello),
            (WELCOME, false) => greeting(body).map(Frame::Welcome),
            (DONE, true) => body.is_empty().then_some(Frame::Done),
            (BODY, true) => {
                let mut frame = self.bytes.split_to(4 + length);
                frame.advance(HEAD_BYTES);
                return Ok(Some(Frame::Body(frame.freeze())));
            }
            _ => None,
        };
        let frame = read.ok_or(FrameError::Malformed)?;
        self.greeted = true;
        self.bytes.advance(4 + length);
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn peer(node: u64, worker: u8) -> Peer {
        Peer { node: Node { id: NodeId(node), generation: node * 10 }, worker: WorkerId(worker) }
    }

    fn hello() -> Greeting {
        Greeting { versions: VERSIONS, from: peer(1, 2), to: peer(3, 4), dial: 5 }
    }

    /// The layout that all releases read.
    #[test]
    fn a_greeting_has_this_layout() {
        let mut bytes = BytesMut::new();
        encode(&Frame::Hello(hello()), &mut bytes);
        let mut expected = vec![51, 0, 0, 0, 1, b'R', b'S', b'P', b'L', 1, 0, 1, 0];
        for (node, generation, worker) in [(1_u64, 10_u64, 2_u8), (3, 30, 4)] {
            expected.extend(node.to_le_bytes());
            expected.extend(generation.to_le_bytes());
            expected.push(worker);
        }
        expected.extend(5_u64.to_le_bytes());
        assert_eq!(bytes, expected);
        // A later release says more.
        expected[0] += 3;
        expected.extend([7, 7, 7]);
        let mut decoder = Decoder::default();
        decoder.push(&expected);
        assert_eq!(decoder.next_frame(), Ok(Some(Frame::Hello(hello()))));
    }

    #[test]
    fn adjacent_releases_agree_and_others_do_not() {
        assert_eq!(agree((1, 1), (1, 2)), Some(1));
        assert_eq!(agree((1, 2), (2, 3)), Some(2));
        assert_eq!(agree((2, 3), (2, 3)), Some(3));
        assert_eq!(agree((1, 1), (2, 3)), None);
        assert_eq!(agree((4, 5), (2, 3)), None);
    }

    #[test]
    fn frames_that_are_too_long_or_out_of_place_are_refused_by_their_heads() {
        let greeted = || {
            let mut decoder = Decoder::default();
            let mut bytes = BytesMut::new();
            encode(&Frame::Hello(hello()), &mut bytes);
            decoder.push(&bytes);
            assert!(matches!(decoder.next_frame(), Ok(Some(Frame::Hello(_)))));
            decoder
        };
        let head = |length: usize, kind: u8| [&(length as u32).to_le_bytes()[..], &[kind]].concat();
        let refused = |mut decoder: Decoder, bytes: &[u8]| {
            decoder.push(bytes);
            let error = decoder.next_frame().unwrap_err();
            assert_eq!(decoder.next_frame(), Err(error), "for ever");
            error
        };
        let long = PEER_GREETING_BYTES + 2;
        assert_eq!(refused(Decoder::default(), &head(long, HELLO)), FrameError::TooLong(long));
        let long = PEER_FRAME_BYTES + 2;
        assert_eq!(refused(greeted(), &head(long, BODY)), FrameError::TooLong(long));
        for bytes in [head(0, 0), head(1, 9), head(2, DONE), head(1, HELLO)] {
            assert_eq!(refused(greeted(), &[&bytes[..], &[0; 60]].concat()), FrameError::Malformed);
        }
        for bytes in [head(2, BODY), head(1, DONE), head(20, HELLO), head(51, WELCOME)] {
            assert_eq!(refused(Decoder::default(), &[&bytes[..], &[0; 60]].concat()), FrameError::Malformed);
        }
        let mut decoder = greeted();
        decoder.push(&head(PEER_FRAME_BYTES + 1, BODY));
        decoder.push(&vec![1; PEER_FRAME_BYTES - 1]);
        assert_eq!(decoder.next_frame(), Ok(None));
        decoder.push(&[1]);
        assert_eq!(decoder.next_frame(), Ok(Some(Frame::Body(vec![1; PEER_FRAME_BYTES].into()))));
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            bodies in proptest::collection::vec(proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300)), 0..20),
            cut in 1_usize..100,
        ) {
            let bodies = bodies.into_iter().map(|body| body.map_or(Frame::Done, |body| Frame::Body(body.into())));
            let frames: Vec<Frame> = [Frame::Welcome(hello())].into_iter().chain(bodies).collect();
            let mut bytes = BytesMut::new();
            frames.iter().for_each(|frame| encode(frame, &mut bytes));
            let (mut decoder, mut read) = (Decoder::default(), Vec::new());
            for piece in bytes.chunks(cut) {
                decoder.push(piece);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    read.push(frame);
                }
            }
            prop_assert_eq!(read, frames);
        }
    }
}
