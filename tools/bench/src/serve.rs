//! What is measured: Ringside's worker, and the servers that it is compared with, each the ordinary shape of what it
//! stands for.

mod accept;
mod bare;
mod echo;
pub mod floor;
mod gossip;
mod room;
mod sink;
pub mod worker;

use clap::Subcommand;

use crate::bench::BenchError;
use crate::traffic::Traffic;

/// Which server.
#[derive(Subcommand)]
pub enum Kind {
    /// Ringside's worker with a guest.
    Worker(worker::Options),
    /// Bare UDP with AES-128-GCM in one batched loop: what no protocol can be cheaper than.
    Floor(Traffic),
    /// Arena matches on an ordinary quinn server: a tokio task a connection, a ticker a room.
    QuinnRoom,
    /// An ordinary quinn server that sends back what it reads from a stream.
    QuinnEcho,
    /// Many nodes' gossip in one process, ours or bare chitchat.
    Gossip(gossip::Options),
    /// One node's bare chitchat; logs whom it believes alive.
    Bare(bare::Options),
    /// An ordinary quinn server that reads whatever comes.
    QuinnSink,
    /// An ordinary quinn server that accepts, answers one request on a stream, and forgets.
    QuinnAccept {
        /// Answer addresses that have shown nothing with a Retry first.
        #[arg(long)]
        retry: bool,
    },
}

/// Serves until the standard input ends.
pub fn run(kind: Kind) -> Result<(), BenchError> {
    match kind {
        Kind::Floor(traffic) => floor::run(traffic),
        Kind::Worker(options) => worker::run(&options),
        Kind::QuinnRoom => ordinary(room::run()),
        Kind::QuinnEcho => ordinary(echo::run()),
        Kind::Gossip(options) => ordinary(gossip::run(options)),
        Kind::Bare(options) => bare::run(&options),
        Kind::QuinnSink => ordinary(sink::run()),
        Kind::QuinnAccept { retry } => ordinary(accept::run(retry)),
    }
}

/// The runtime that `#[tokio::main]` gives.
fn ordinary(server: impl Future<Output = Result<(), BenchError>>) -> Result<(), BenchError> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(BenchError::setup)?.block_on(server)
}
