//! Loads of servers: the same for ours and the reference wherever the protocol allows.

mod accept;
mod echo;
mod floor;
mod room;
mod slices;

use std::net::SocketAddr;

use clap::Subcommand;

use crate::bench::BenchError;
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
    /// Rooms over QUIC datagrams.
    QuinnRoom {
        /// The server.
        server: SocketAddr,
        #[command(flatten)]
        traffic: Traffic,
    },
    /// Messages over a stream, sent at their intended times; prints the sorted latencies of a slice when asked.
    QuinnEcho {
        /// The server.
        server: SocketAddr,
    },
    /// Connections, one after the other on several lanes.
    QuinnAccept {
        /// The server.
        server: SocketAddr,
    },
}

/// Makes load until the standard input ends.
pub fn run(kind: Kind) -> Result<(), BenchError> {
    match kind {
        Kind::Floor { server, traffic } => floor::run(server, traffic),
        Kind::QuinnRoom { server, traffic } => on_one_thread(room::quinn(server, traffic)),
        Kind::QuinnEcho { server } => on_one_thread(echo::quinn(server)),
        Kind::QuinnAccept { server } => on_one_thread(accept::quinn(server)),
    }
}

fn on_one_thread(load: impl Future<Output = Result<(), BenchError>>) -> Result<(), BenchError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(BenchError::setup)?.block_on(load)
}
