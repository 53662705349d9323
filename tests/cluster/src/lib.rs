//! Real processes: the `ringside` program as people and machines use it, with real sockets, signals and files. What
//! can be shown in one process is shown in `tests/scenarios` or beside the code.

pub mod between;
pub mod chaos;

/// What ends a `ringside-fragile` that is about to append a message that ends so.
pub const POISON: &[u8] = b"poison";
