//! Gossip that is forged, replayed, of another cluster or too large, at nodes that run: it is counted, and changes
//! nothing.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, SystemTime};

use ringside_node::cluster::gossip::{Gossip, GossipConfig};
use ringside_node::cluster::secret::ClusterSecret;
use ringside_test_support::cluster::Cluster;
use ringside_test_support::network::{OWN, Quality};
use ringside_test_support::node::Node;
use ringside_test_support::wait::until;
use serde_json::Value;

use crate::player::Player;

const REFUSED: &str = "ringside_gossip_refused_total";
/// The longest UDP payload.
const DATAGRAM_BYTES: usize = 65_507;

fn gossip(node: &Node) -> SocketAddr {
    node.ready()["gossip"].as_str().and_then(|text| text.parse().ok()).expect("its gossip address")
}

/// Whom each node sees, in which runs and stays.
fn seen(cluster: &Value) -> Vec<Value> {
    let nodes = cluster["nodes"].as_array().expect("nodes");
    nodes.iter().flat_map(|node| [node["generation"].clone(), node["sees"].clone()]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn junk_of_every_size_is_counted_and_takes_no_memory() {
    let cluster = Cluster::start(2).await;
    let before = cluster.agreed().await;
    let memory: Vec<u64> = cluster.nodes().map(|(_, node)| node.memory()).collect();
    let strangers: Vec<_> = (0..8).map(|_| UdpSocket::bind("127.0.0.1:0").expect("a socket")).collect();
    let mut junk = vec![0x5a_u8; DATAGRAM_BYTES];
    for (_, node) in cluster.nodes() {
        // Some find no room at the socket: sent until a node has had its share.
        until("a thousand datagrams to be refused", async || {
            for (number, stranger) in strangers.iter().enumerate() {
                junk[0] = junk[0].wrapping_add(1);
                for length in [DATAGRAM_BYTES, DATAGRAM_BYTES / 2, 1200, 29, 28, 27, number] {
                    let _ = stranger.send_to(&junk[..length], gossip(node));
                }
            }
            (node.metric(REFUSED) >= 1000).then_some(())
        })
        .await;
    }
    for ((number, node), before) in cluster.nodes().zip(memory) {
        let now = node.memory();
        assert!(now < before + (32 << 20), "node {number} grew from {before} to {now} bytes");
    }
    assert_eq!(seen(&cluster.agreed().await), seen(&before));
}

#[tokio::test(flavor = "multi_thread")]
async fn gossip_of_another_cluster_is_counted_and_changes_nothing() {
    let cluster = Cluster::start(2).await;
    let before = cluster.agreed().await;
    let secret = ClusterSecret::generate(SystemTime::now()).expect("a secret");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    // It takes our nodes for its own, and says that it is one of them.
    let config = GossipConfig {
        node: 2,
        generation: u64::MAX / 2,
        advertised: socket.local_addr().expect("an address"),
        seeds: cluster.nodes().map(|(_, node)| gossip(node)).collect(),
        values: vec![("fact".to_owned(), "01".to_owned())],
    };
    let stranger = Gossip::start(config, &secret, socket).await.expect("gossip");
    for (_, node) in cluster.nodes() {
        until("its gossip to be refused", async || (node.metric(REFUSED) >= 10).then_some(())).await;
    }
    assert_eq!(seen(&cluster.agreed().await), seen(&before));
    assert_eq!(stranger.snapshots().borrow().members.len(), 1, "it hears nothing");
    stranger.stop().await;
}

/// Sends to a node until it has refused so many more.
async fn until_refused(node: &Node, more: u64, mut send: impl FnMut()) {
    let before = node.metric(REFUSED);
    until("datagrams to be refused", async || {
        send();
        (node.metric(REFUSED) >= before + more).then_some(())
    })
    .await;
}

/// Sends what was heard before to a node until it answers some of it, which shows that it took it for gossip.
async fn replay(socket: &UdpSocket, node: &Node, heard: &[Vec<u8>]) {
    socket.set_nonblocking(true).expect("a socket");
    until("an answer to what was replayed", async || {
        for datagram in heard {
            let _ = socket.send_to(datagram, gossip(node));
        }
        let mut answer = vec![0; DATAGRAM_BYTES];
        matches!(socket.recv_from(&mut answer), Ok((1.., from)) if from == gossip(node)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_node_said_raises_it_nowhere_replayed_or_changed() {
    let network = ringside_test_support::network!(4, Quality { delay: Duration::ZERO, loss_permille: 0 });
    let own = network.address(OWN);
    let mut cluster = Cluster::start_on(network, 3).await;
    cluster.node(1).push("echo");
    cluster.node(1).ringside(&["session", "create", "echo", "--key", "kept", "--node", "2"]).succeeded();
    let mut player = Player::join(cluster.node(1), "ada", "echo/kept").await;
    cluster.network().tap(3, gossip(cluster.node(3)).port());
    let mut heard = Vec::new();
    until("it to gossip", async || {
        heard.extend(cluster.network().tapped());
        (heard.len() >= 60).then_some(())
    })
    .await;
    cluster.take(3).kill();
    let before = cluster.agreed().await;
    heard.extend(cluster.network().tapped());

    let socket = UdpSocket::bind((own, 0)).expect("a socket");
    for number in 1..=2 {
        let node = cluster.node(number);
        replay(&socket, node, &heard).await;
        // One bit of each, from the first to the last byte.
        let mut at = 0;
        until_refused(node, 200, || {
            for datagram in &heard {
                at += 1;
                let mut changed = datagram.clone();
                let at = at * 31 % changed.len();
                changed[at] ^= 1 << (at % 8);
                let _ = socket.send_to(&changed, gossip(node));
                // Cut short, and with something behind it.
                let _ = socket.send_to(&datagram[..at], gossip(node));
                changed[at] ^= 1 << (at % 8);
                changed.push(0);
                let _ = socket.send_to(&changed, gossip(node));
            }
        })
        .await;
        player.exchange(20).await;
    }
    assert_eq!(seen(&cluster.agreed().await), seen(&before), "it is as dead as before");

    // One that never knew it is no easier to deceive.
    cluster.add(4, &[]);
    replay(&socket, cluster.node(4), &heard).await;
    cluster.agreed().await;
    for (number, node) in cluster.nodes() {
        let sees = node.get("/v1/cluster");
        assert!(!sees.to_string().contains(r#""node":"3""#), "node {number}: {sees}");
    }
    player.exchange(20).await;
}
