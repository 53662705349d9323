//! Frames on a link's streams: a length of four bytes, little-endian, and that many bytes of postcard. A version is
//! agreed on once, in the hello; everything after it is of that version.

use quinn::{ReadExactError, RecvStream, WriteError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::LINK_FRAME_BYTES;

/// Why a frame was not read or written; the stream is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Longer than [`LINK_FRAME_BYTES`].
    #[error("a frame of {0} bytes is longer than {LINK_FRAME_BYTES}")]
    TooLong(usize),
    /// It is not what was expected.
    #[error("a frame that cannot be understood")]
    Malformed,
    /// The stream ended within a frame, or the link is lost.
    #[error("the link is lost: {0}")]
    Lost(String),
    /// The stream ended between two frames.
    #[error("the link was closed")]
    Ended,
}

impl From<WriteError> for FrameError {
    fn from(error: WriteError) -> Self {
        FrameError::Lost(error.to_string())
    }
}

/// The frame of a value.
///
/// # Errors
/// [`FrameError::TooLong`] or [`FrameError::Malformed`].
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, FrameError> {
    let mut frame = postcard::to_extend(value, vec![0; 4]).map_err(|_| FrameError::Malformed)?;
    let length = frame.len() - 4;
    if length > LINK_FRAME_BYTES {
        return Err(FrameError::TooLong(length));
    }
    frame[..4].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(frame)
}

/// Reads the next frame.
///
/// # Errors
/// [`FrameError`].
pub async fn read<T: DeserializeOwned>(stream: &mut RecvStream) -> Result<T, FrameError> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length).await {
        Ok(()) => {}
        Err(ReadExactError::FinishedEarly(0)) => return Err(FrameError::Ended),
        Err(error) => return Err(FrameError::Lost(error.to_string())),
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > LINK_FRAME_BYTES {
        return Err(FrameError::TooLong(length));
    }
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await.map_err(|error| FrameError::Lost(error.to_string()))?;
    decode(&payload)
}

/// A value from a frame's payload; whatever is left over makes it malformed.
///
/// # Errors
/// [`FrameError::Malformed`].
pub fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, FrameError> {
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Ok(value),
        _ => Err(FrameError::Malformed),
    }
}
