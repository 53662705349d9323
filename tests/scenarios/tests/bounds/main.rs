//! The bounds of a worker, each reached in virtual time: what is within it passes, what is beyond meets the named
//! behaviour. Bounds that need real sockets are reached in `tests/workers`.

mod clocks;
mod connections;
mod isolation;
mod peers;
mod relays;
mod sessions;
mod stage;
mod streams;
