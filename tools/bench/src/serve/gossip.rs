//! The gossip of many nodes in one process: the node's own layer, or bare chitchat. Each node has a thread and a socket of
//! its own, as in a process of its own, and says something new of itself each second.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use clap::{Args, ValueEnum};
use ringside_node::cluster::fact;
use ringside_node::cluster::gossip::{Gossip, Snapshot};
use ringside_node::cluster::secret::ClusterSecret;

use super::bare;
use crate::bench::BenchError;
use crate::child::{Counts, answer};

/// Whose gossip.
#[derive(ValueEnum, Debug, Clone, Copy)]
enum Side {
    /// The node's own, sealed.
    Ours,
    /// chitchat as it is.
    Bare,
}

/// Whose gossip, and how many nodes.
#[derive(Args, Debug)]
pub struct Options {
    side: Side,
    #[arg(long)]
    nodes: u64,
}

/// Runs for ever; ready when every node believes that all are alive.
pub async fn run(options: Options) -> Result<(), BenchError> {
    match options.side {
        Side::Ours => ours(options.nodes).await,
        Side::Bare => bare(options.nodes).await,
    }
}

async fn ours(nodes: u64) -> Result<(), BenchError> {
    let secret = ClusterSecret::generate(SystemTime::now()).map_err(BenchError::setup)?;
    let mut running: Vec<(SocketAddr, Gossip)> = Vec::new();
    for node in 1..=nodes {
        let socket = UdpSocket::bind("127.0.0.1:0").map_err(BenchError::setup)?;
        let address = socket.local_addr().map_err(BenchError::setup)?;
        let seeds: Vec<SocketAddr> = running.first().map(|(address, _)| *address).into_iter().collect();
        let gossip = Gossip::start(bare::config(node, address, &seeds), &secret, socket).await;
        running.push((address, gossip.map_err(BenchError::setup)?));
    }
    let is_whole = |snapshot: &Snapshot| snapshot.members.iter().filter(|member| member.live).count() as u64 == nodes;
    for (_, gossip) in &running {
        gossip.snapshots().wait_for(is_whole).await.map_err(BenchError::setup)?;
    }
    let running = Arc::new(running);
    let counted = Arc::clone(&running);
    answer("", move || {
        let traffic = counted.iter().map(|(_, gossip)| gossip.traffic());
        traffic.fold(Counts::default(), |counts, traffic| Counts {
            received: counts.received + traffic.received.load(Relaxed),
            sent: counts.sent + traffic.sent.load(Relaxed),
            sent_bytes: counts.sent_bytes + traffic.sent_bytes.load(Relaxed),
            ..counts
        })
    });
    let mut news = tokio::time::interval(bare::NEWS);
    for second in 1.. {
        news.tick().await;
        for (node, (address, gossip)) in (1..).zip(running.iter()) {
            gossip.publish(fact::KEY, bare::fact(node, *address, second)).await;
        }
    }
    Ok(())
}

async fn bare(nodes: u64) -> Result<(), BenchError> {
    let addresses = (0..nodes).map(|_| bare::free_address()).collect::<Result<Vec<_>, _>>()?;
    let mut running = Vec::new();
    for (node, address) in (1..).zip(&addresses) {
        let seeds = if node == 1 { &[][..] } else { &addresses[..1] };
        running.push(bare::start(bare::config(node, *address, seeds))?);
    }
    for (_, live) in &mut running {
        live.wait_for(|live| live.len() as u64 == nodes).await.map_err(BenchError::setup)?;
    }
    answer("", || bare::COUNTERS.read());
    std::future::pending().await
}
