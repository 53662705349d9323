//! The seam between the control task and a worker: tests put a worker of their own here. What is said across it are
//! the worker's own commands and events.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ringside_worker::Command;

/// What a worker has used and counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of its thread since its start, µs.
    pub busy_us: u64,
    /// Counters since its start, by name.
    pub counters: BTreeMap<String, u64>,
}

/// Tells a worker something; must not block. Gives the command back where the worker's queue is full.
pub type Send = Box<dyn FnMut(Command) -> Result<(), Box<Command>> + std::marker::Send>;

/// A worker as the control task sees it.
pub struct Port {
    /// Whether it is the penalty worker: it takes sessions that overran, and no others.
    pub penalty: bool,
    /// Where players connect.
    pub address: SocketAddr,
    /// Tells it.
    pub send: Send,
    /// Reads what it has used; must not block.
    pub usage: Box<dyn Fn() -> Usage + std::marker::Send>,
}
