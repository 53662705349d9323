//! The `ringside` binary: a node with everything embedded, and the command line that talks to it. This crate owns
//! threads, files, sockets and processes; what a session does is decided in the crates below it.

pub mod certificate;
pub mod config;
pub mod hex;
pub mod state_directory;
pub mod store;
pub mod tokens;

#[cfg(test)]
mod scratch;
