//! A worker is a core: a UDP socket and the QUIC connections of its players, another of its peers, its sessions and their
//! schedule.
//!
//! Everything here but [`shell`], [`receive`] and [`transmit`] is sans-I/O: time and datagrams come in, packets and
//! events go out, so that tests drive it in virtual time. Nothing here is async, and the crate does not link tokio.
//!
//! **Peers** are workers of other nodes ([`peers`]). [`Command::Peers`] links a session to one, unlinks it, and sends: frames
//! (in order, whole, or the link goes down: [`peers::SendError::TooSlow`] tells who sends that a follower must begin anew),
//! datagrams (the newest counts), and what is long (parts, behind all else). [`Event::Peer`] says when a link is up or down
//! and why, and what came. Frames that are sent during a turn leave when it ends, so what is to be one packet is one frame
//! a turn. News go the way of all events and are held back, with the peer, where nobody takes them.

pub mod accounting;
pub mod addresses;
pub mod admission;
mod arena;
pub mod authority;
mod beside;
pub mod bucket;
pub mod cid;
pub mod command;
mod connection;
pub mod durable;
pub mod endpoint;
#[doc(hidden)]
pub mod fuzz;
pub mod idle;
mod inbound;
pub mod limits;
mod opening;
mod outbound;
pub mod outlet;
mod peering;
pub mod peers;
pub mod receive;
pub mod recording;
pub mod relay;
pub mod replication;
mod running;
mod session;
pub mod shell;
mod standby;
mod suspects;
pub mod timers;
pub mod transmit;
pub mod transport;
mod worker;

pub use command::{Command, Count, Create, Event, MovedSession, Refusal, Resolved, Resumed, SessionReport};
pub use recording::{PartHead, Piece};
pub use session::CostOf;
pub use worker::{HANDSHAKE_SHARE, Held, PHASE, SERVICE_INTERVAL, Turn, Worker, WorkerConfig};
