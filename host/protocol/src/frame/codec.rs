//! Frames to bytes and back. The decoder takes slices cut anywhere, keeps at most one frame, and looks at a frame's
//! length before it keeps any of it.

use std::marker::PhantomData;

use bytes::{BufMut, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{ClientFrame, ServerFrame};
use crate::{limits, varint};

/// Why a stream's bytes are not a frame. The stream is unusable from there on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame announces more than it may.
    #[error("a {direction} frame of {length} bytes: at most {limit} are allowed")]
    TooLarge {
        /// Which way.
        direction: &'static str,
        /// What it announces.
        length: u64,
        /// What is allowed.
        limit: usize,
    },
    /// A frame's length is not a varint in shortest form, or zero.
    #[error("a {direction} frame's length is malformed")]
    Length {
        /// Which way.
        direction: &'static str,
    },
    /// A frame's variant does not exist.
    #[error("a {direction} frame of unknown kind {kind}")]
    UnknownKind {
        /// Which way.
        direction: &'static str,
        /// Its variant's index.
        kind: u8,
    },
    /// A frame's content does not fit its kind.
    #[error("a {direction} {name} frame is malformed: {reason}")]
    Malformed {
        /// Which way.
        direction: &'static str,
        /// The kind.
        name: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl FrameError {
    /// Whether the frame was too long rather than malformed.
    pub fn is_too_large(&self) -> bool {
        matches!(self, FrameError::TooLarge { .. })
    }
}

/// A kind of frame that the codec knows: [`ClientFrame`] and [`ServerFrame`], and no other.
pub trait WireFrame: Serialize + DeserializeOwned + sealed::Sealed {
    /// Which way it travels, for errors.
    const DIRECTION: &'static str;
    /// The variants' names, by index.
    const NAMES: &'static [&'static str];
    /// Longest frame that a decoder accepts unless told otherwise, bytes.
    const LIMIT: usize;

    /// Appends the frame to `out`: its length and its bytes.
    fn encode(&self, out: &mut BytesMut) {
        let start = out.len();
        out.put_u8(0);
        let writer = Appender { out };
        // Serializing into memory cannot fail for these types: they hold no unsized sequences and no foreign errors.
        let _ = postcard::serialize_with_flavor(self, writer);
        let length = out.len() - start - 1;
        let prefix = varint::size(length as u64);
        if prefix > 1 {
            out.put_bytes(0, prefix - 1);
            out.copy_within(start + 1..start + 1 + length, start + prefix);
        }
        varint::put(&mut &mut out[start..start + prefix], length as u64);
    }

    /// The frame's length and bytes.
    fn to_bytes(&self) -> BytesMut {
        let mut out = BytesMut::new();
        self.encode(&mut out);
        out
    }

    /// A frame from exactly its bytes, without the length.
    ///
    /// # Errors
    /// [`FrameError`] where the bytes are another thing, or more.
    fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let direction = Self::DIRECTION;
        let kind = *bytes.first().ok_or(FrameError::Length { direction })?;
        let name = *Self::NAMES.get(usize::from(kind)).ok_or(FrameError::UnknownKind { direction, kind })?;
        let malformed = |reason| FrameError::Malformed { direction, name, reason };
        let (frame, rest) = postcard::take_from_bytes(bytes).map_err(|error| malformed(reason_of(&error)))?;
        if rest.is_empty() { Ok(frame) } else { Err(malformed("bytes follow its end")) }
    }
}

fn reason_of(error: &postcard::Error) -> &'static str {
    match error {
        postcard::Error::DeserializeUnexpectedEnd => "it ends too soon",
        postcard::Error::DeserializeBadUtf8 => "text that is not UTF-8",
        postcard::Error::DeserializeBadVarint => "an integer out of range",
        postcard::Error::DeserializeBadBool | postcard::Error::DeserializeBadOption => "a flag that is neither 0 nor 1",
        postcard::Error::DeserializeBadEnum => "a choice that does not exist",
        _ => "a field with a value that it cannot have",
    }
}

struct Appender<'a> {
    out: &'a mut BytesMut,
}

impl postcard::ser_flavors::Flavor for Appender<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.out.put_u8(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.out.put_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::ClientFrame {}
    impl Sealed for super::ServerFrame {}
}

impl WireFrame for ClientFrame {
    const DIRECTION: &'static str = "client";
    const NAMES: &'static [&'static str] = &["open", "message", "acknowledge", "leave", "ask-follower"];
    const LIMIT: usize = limits::CLIENT_FRAME_BYTES;
}

impl WireFrame for ServerFrame {
    const DIRECTION: &'static str = "server";
    const NAMES: &'static [&'static str] = &[
        "attached",
        "redirect",
        "refused",
        "message",
        "acknowledge",
        "rejected",
        "rewound",
        "paused",
        "resumed",
        "moving",
        "going-away",
        "detached",
        "finished",
        "follower",
        "standing-by",
    ];
    const LIMIT: usize = limits::SERVER_FRAME_BYTES;
}

/// Most bytes of a frame's length: 2²⁸ − 1 is far beyond any limit.
const LENGTH_BYTES: usize = 4;

/// Turns a stream's bytes, cut anywhere, into frames. Keeps at most one frame of at most its limit; memory is taken
/// as bytes arrive, never on the word of a length.
#[derive(Debug)]
pub struct FrameDecoder<F> {
    partial: BytesMut,
    limit: usize,
    frame: PhantomData<fn() -> F>,
}

impl<F: WireFrame> Default for FrameDecoder<F> {
    fn default() -> Self {
        FrameDecoder::new(F::LIMIT)
    }
}

impl<F: WireFrame> FrameDecoder<F> {
    /// A decoder for frames of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        FrameDecoder { partial: BytesMut::new(), limit, frame: PhantomData }
    }

    /// Allows longer frames, or shorter ones, from the next on: a server allows little before `open`.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Bytes of an unfinished frame that are kept.
    pub fn buffered(&self) -> usize {
        self.partial.len()
    }

    /// The next frame. Takes what it used off the front of `input`; `None` once `input` is used up, so call it again
    /// until then.
    ///
    /// # Errors
    /// [`FrameError`]; the stream is unusable from then on.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<F>, FrameError> {
        if self.partial.is_empty() {
            return match self.measure(input)? {
                Some((prefix, length)) if input.len() >= prefix + length => {
                    let frame = F::decode(&input[prefix..prefix + length])?;
                    *input = &input[prefix + length..];
                    Ok(Some(frame))
                }
                _ => {
                    self.keep(input, input.len());
                    Ok(None)
                }
            };
        }
        self.resume(input)
    }

    /// Goes on with a frame whose beginning is kept.
    fn resume(&mut self, input: &mut &[u8]) -> Result<Option<F>, FrameError> {
        loop {
            let missing = match self.measure(&self.partial)? {
                None => 1,
                Some((prefix, length)) => prefix + length - self.partial.len(),
            };
            if missing == 0 {
                break;
            }
            if input.is_empty() {
                return Ok(None);
            }
            self.keep(input, missing);
        }
        let (prefix, _) = self.measure(&self.partial)?.unwrap_or_default();
        let frame = F::decode(&self.partial[prefix..]);
        self.partial.clear();
        frame.map(Some)
    }

    fn keep(&mut self, input: &mut &[u8], most: usize) {
        let (taken, rest) = input.split_at(most.min(input.len()));
        self.partial.put_slice(taken);
        *input = rest;
    }

    /// Length of the prefix and of the frame, once the prefix is complete.
    fn measure(&self, bytes: &[u8]) -> Result<Option<(usize, usize)>, FrameError> {
        let direction = F::DIRECTION;
        let mut rest = &bytes[..bytes.len().min(LENGTH_BYTES)];
        let offered = rest.len();
        let length = match varint::take(&mut rest) {
            Ok(0) | Err(varint::VarintError::NotShortest) => return Err(FrameError::Length { direction }),
            Ok(length) => length,
            Err(varint::VarintError::Truncated) if offered < LENGTH_BYTES => return Ok(None),
            Err(varint::VarintError::Truncated) => return Err(FrameError::Length { direction }),
        };
        match usize::try_from(length) {
            Ok(fits) if fits <= self.limit => Ok(Some((offered - rest.len(), fits))),
            _ => Err(FrameError::TooLarge { direction, length, limit: self.limit }),
        }
    }
}
