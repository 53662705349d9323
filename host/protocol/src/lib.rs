//! What both ends of a Ringside wire must agree on, without I/O.

pub mod ids;
