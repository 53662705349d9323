//! What tests of whole processes share: starting nodes, links that lose and delay, proof that nothing was lost or
//! doubled, and saying why a test was skipped. Nothing here decides whether a test passes but what it is asked to.

pub mod admin;
pub mod clock;
pub mod cluster;
pub mod directory;
pub mod disk;
pub mod echo_history;
pub mod guests;
pub mod members;
pub mod network;
pub mod node;
pub mod object_server;
pub mod ports;
pub mod proxy;
pub mod skip;
pub mod terminal;
pub mod wait;

pub use ringside_simulation_kit::random;
