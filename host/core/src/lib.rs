//! Ringside's decisions without I/O: identities, limits, the log and everything that must come out the same on
//! every node. Nothing in this crate reads a clock, draws a random number, opens a file or a socket.

pub mod directory;
pub mod envelope;
#[doc(hidden)]
pub mod fuzz;
pub mod ids;
pub mod leadership;
pub mod limits;
pub mod log;
pub mod membership;
pub mod output;
pub mod placement;
pub mod random;
pub mod recording;
pub mod ring;
pub mod routing;

mod timers;
