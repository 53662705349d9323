//! chitchat as it is: no seal, no snapshots, no guard. The settings are those of the node's own gossip.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::thread::JoinHandle;
use std::time::Duration;

use chitchat::transport::{Socket, Transport, UdpTransport};
use chitchat::{ChitchatId, ChitchatMessage, Serializable, spawn_chitchat};
use clap::Args;
use ringside_core::ids::{Certificate, Node, NodeId};
use ringside_core::membership::{Contact, Fact, PeerPorts, State};
use ringside_node::cluster::fact;
use ringside_node::cluster::gossip::{GossipConfig, chitchat_config};
use tokio::sync::watch;

use crate::bench::BenchError;
use crate::child::Counters;

/// How often a node says something new of itself: its load.
pub const NEWS: Duration = Duration::from_secs(1);
/// The name of the cluster that bare nodes form: as long as a real one's.
const CLUSTER: &str = "00000000000bench";

/// What was sent by all bare nodes of this process.
pub static COUNTERS: Counters = Counters::new();

/// A node in a process of its own.
#[derive(Args, Debug)]
pub struct Options {
    /// Its number.
    #[arg(long)]
    node: u64,
    /// Gossip addresses of others.
    #[arg(long)]
    seeds: Vec<SocketAddr>,
}

/// What a node says of itself, as large as a real one's.
pub fn fact(node: u64, address: SocketAddr, second: u64) -> String {
    let contact = Contact {
        workers: vec![address; 2],
        peers: PeerPorts { address: address.ip(), ports: vec![address.port(); 2] },
        ..Contact::at(address, Certificate([7; 32]))
    };
    fact::encode(&Fact {
        version: second,
        state: State::Active,
        load_us: second,
        era: second as u32,
        ..Fact::new(Node { id: NodeId(node), generation: 1 }, contact)
    })
}

/// An address for a node, which it can be told before it runs.
pub fn free_address() -> Result<SocketAddr, BenchError> {
    UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).map_err(BenchError::setup)
}

/// What a node is started with: ours and a bare one alike.
pub fn config(node: u64, advertised: SocketAddr, seeds: &[SocketAddr]) -> GossipConfig {
    let values = vec![(fact::KEY.to_owned(), fact(node, advertised, 0))];
    GossipConfig { node, generation: 1, advertised, seeds: seeds.to_vec(), values }
}

/// Runs one, as long as the standard input is open. Logs each change of whom it believes alive as the node logs views.
pub fn run(options: &Options) -> Result<(), BenchError> {
    let address = free_address()?;
    let (_thread, mut live) = start(config(options.node, address, &options.seeds))?;
    println!("{}", serde_json::json!({ "gossip": address }));
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    crate::player::runtime()?.block_on(async {
        while live.changed().await.is_ok() {
            let nodes: Vec<String> = live.borrow_and_update().iter().map(|node| format!("{node:x} Active")).collect();
            eprintln!("the cluster nodes={:?}", nodes.join(", "));
        }
    });
    Err(BenchError::Child("lost its gossip".into()))
}

/// Starts a bare node on a thread of its own; whom it believes alive can be watched.
pub fn start(config: GossipConfig) -> Result<(JoinHandle<()>, watch::Receiver<BTreeSet<u64>>), BenchError> {
    let runtime = crate::player::runtime()?;
    let (live, watched) = watch::channel(BTreeSet::from([config.node]));
    let thread = std::thread::spawn(move || {
        if let Err(error) = runtime.block_on(gossip(&config, &live)) {
            eprintln!("bare chitchat: {error}");
        }
    });
    Ok((thread, watched))
}

async fn gossip(config: &GossipConfig, live: &watch::Sender<BTreeSet<u64>>) -> anyhow::Result<()> {
    let settings = chitchat_config(config, CLUSTER.to_owned());
    let handle = spawn_chitchat(settings, config.values.clone(), &Counting).await?;
    let mut changes = handle.with_chitchat(|chitchat| chitchat.live_nodes_watcher()).await;
    let mut news = tokio::time::interval(NEWS);
    let mut second = 0;
    loop {
        tokio::select! {
            changed = changes.changed() => {
                changed?;
                let number = |id: &ChitchatId| u64::from_str_radix(&id.node_id, 16).ok();
                let mut alive: BTreeSet<u64> = changes.borrow_and_update().keys().filter_map(number).collect();
                alive.insert(config.node);
                live.send_replace(alive);
            }
            _ = news.tick() => {
                second += 1;
                let text = fact(config.node, config.advertised, second);
                handle.with_chitchat(|chitchat| chitchat.self_node_state().set(fact::KEY, text.as_str())).await;
            }
        }
    }
}

/// chitchat's own sockets, with what they send counted.
struct Counting;

#[async_trait::async_trait]
impl Transport for Counting {
    async fn open(&self, listen: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        Ok(Box::new(CountingSocket(UdpTransport.open(listen).await?)))
    }
}

struct CountingSocket(Box<dyn Socket>);

#[async_trait::async_trait]
impl Socket for CountingSocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        COUNTERS.count_sent(message.serialized_len());
        self.0.send(to, message).await
    }

    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        self.0.recv().await
    }
}
