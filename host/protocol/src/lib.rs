//! What both ends of a Ringside wire must agree on: names, frames, datagrams, the exactly-once channel, views,
//! tokens' claims, limits and reasons. The bytes are written down in `WIRE.md`, with golden vectors in `golden/`.
//!
//! Nothing here does I/O, reads a clock, draws a random number or does cryptography. Everything that parses bytes of
//! a peer returns a typed error, allocates no more than a named limit, and has one function in [`fuzz`].

pub mod channel;
pub mod datagram;
pub mod frame;
pub mod hex;
pub mod ids;
pub mod limits;
pub mod reason;
pub mod resolve;
pub mod tier;
pub mod token;
pub mod varint;
pub mod view;

#[doc(hidden)]
pub mod fuzz;
