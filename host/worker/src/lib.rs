//! A worker is a core: one UDP socket, the QUIC connections of its players, its sessions and their schedule.
//!
//! Everything here but [`shell`], [`receive`] and [`transmit`] is sans-I/O: time and datagrams come in, packets and
//! events go out, so that tests drive it in virtual time. Nothing here is async, and the crate does not link tokio.

pub mod accounting;
pub mod addresses;
pub mod admission;
mod arena;
pub mod authority;
pub mod bucket;
pub mod cid;
pub mod command;
mod connection;
pub mod endpoint;
#[doc(hidden)]
pub mod fuzz;
mod inbound;
pub mod limits;
mod opening;
mod outbound;
pub mod outlet;
pub mod receive;
mod recording;
pub mod relay;
mod running;
mod session;
pub mod shell;
pub mod timers;
pub mod transmit;
pub mod transport;
mod worker;

pub use command::{Command, Create, Event, MovedSession, Refusal, Resolved, Resumed, SessionReport};
pub use session::CostOf;
pub use worker::{Held, PHASE, SERVICE_INTERVAL, Turn, Worker, WorkerConfig};
