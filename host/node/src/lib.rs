//! The `ringside` binary: a node with everything embedded, and the command line that talks to it. This crate owns
//! threads, files, sockets and processes; what a session does is decided in the crates below it.

pub mod admin;
pub mod api;
pub mod catalogue;
pub mod certificate;
pub mod chains;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod control;
pub mod durable;
#[doc(hidden)]
pub mod fuzz;
pub mod handover;
pub mod http;
pub mod idle;
pub mod limits;
pub mod metrics;
pub mod node;
pub mod operator;
pub mod pace;
pub mod play;
pub mod priority;
pub mod random;
pub mod recorder;
pub mod relay;
pub mod renewal;
pub mod resolve;
pub mod starter;
pub mod state_directory;
pub mod store;
pub mod tokens;
pub mod workers;

pub use ringside_protocol::hex;

#[cfg(test)]
mod scratch;
