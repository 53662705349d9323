//! Loads of servers: the same for ours and the reference wherever the protocol allows.

pub mod accept;
mod dialect;
mod door;
pub mod echo;
mod floor;
pub mod pour;
mod room;
mod slices;

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::bench::BenchError;
use crate::identity::Door;
use crate::traffic::Traffic;

/// Which load.
#[derive(Subcommand)]
pub enum Kind {
    /// Rooms over bare UDP.
    Floor {
        /// The server.
        server: SocketAddr,
        #[command(flatten)]
        traffic: Traffic,
    },
    /// Rooms on the ordinary quinn server.
    QuinnRoom {
        /// The server.
        server: SocketAddr,
        #[command(flatten)]
        traffic: Traffic,
    },
    /// Rooms on Ringside.
    WorkerRoom {
        /// The worker.
        server: Door,
        #[command(flatten)]
        traffic: Traffic,
    },
    /// Messages over a stream, sent at their intended times; prints the latencies of a slice when asked.
    QuinnEcho {
        /// The server.
        server: SocketAddr,
        #[command(flatten)]
        pace: Pace,
    },
    /// The same to Ringside's guest `echo`.
    WorkerEcho {
        /// The worker.
        server: Door,
        #[command(flatten)]
        seat: echo::Seat,
        #[command(flatten)]
        pace: Pace,
    },
    /// Connections, one after the other on several lanes.
    QuinnAccept {
        /// The server.
        server: SocketAddr,
    },
    /// The same to Ringside's guest `echo`.
    WorkerAccept {
        /// The worker.
        server: Door,
        /// A token that was never seen with each connection.
        #[arg(long)]
        fresh: bool,
    },
}

/// How often messages are sent.
#[derive(Args, Debug, Clone, Copy)]
pub struct Pace {
    /// Time between two messages, all connections together, µs.
    #[arg(long, default_value_t = 1250)]
    interval_us: u64,
}

/// Makes load until the standard input ends.
pub fn run(kind: Kind) -> Result<(), BenchError> {
    let interval = |pace: Pace| Duration::from_micros(pace.interval_us.max(1));
    match kind {
        Kind::Floor { server, traffic } => floor::run(server, traffic),
        Kind::QuinnRoom { server, traffic } => on_one_thread(room::quinn(server, traffic)),
        Kind::WorkerRoom { server, traffic } => on_one_thread(room::ringside(server, traffic)),
        Kind::QuinnEcho { server, pace } => on_one_thread(echo::quinn(server, interval(pace))),
        Kind::WorkerEcho { server, seat, pace } => on_one_thread(echo::ringside(server, seat, interval(pace))),
        Kind::QuinnAccept { server } => on_one_thread(accept::quinn(server)),
        Kind::WorkerAccept { server, fresh } => on_one_thread(accept::ringside(server, fresh)),
    }
}

fn on_one_thread(load: impl Future<Output = Result<(), BenchError>>) -> Result<(), BenchError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(BenchError::setup)?.block_on(load)
}
