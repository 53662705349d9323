//! Frames: what travels on a connection's one bidirectional stream, each way, and the only code that turns them into
//! bytes and back. A frame is its length (varint) and its postcard form; which variant has which index, and the
//! order of fields, are the wire format and never change within a protocol version.

mod codec;
mod types;

pub use codec::{FrameDecoder, FrameError, WireFrame};
pub use types::{
    Attached, Certificate, ClientFrame, Mode, Opaque, Open, Place, Refused, Resume, Rewound, Route, Seat, ServerFrame,
    Target, cut_reason,
};

/// The protocol's name in the TLS handshake.
pub const ALPN: &[u8] = b"ringside/1";
/// The version that an open frame names.
pub const VERSION: u16 = 1;

#[cfg(test)]
mod tests;
