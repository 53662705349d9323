//! Nodes that refuse each other over their links, and what the refused one says.

use std::net::UdpSocket;
use std::sync::Arc;

use ringside_node::cluster::links::{Hello, LinkError, Links, Refusal, VERSIONS};
use ringside_node::cluster::secret::ClusterSecret;
use ringside_node::cluster::wire::Message;
use ringside_test_support::cluster::Cluster;
use ringside_test_support::node::{Answer, ringside};
use tokio::sync::mpsc;

/// A member of the cluster that speaks these versions, and refuses whoever speaks the same for this reason.
fn member(cluster: &Cluster, versions: (u16, u16), refuses: Option<Refusal>) -> (Links<Message>, String) {
    let secret = ClusterSecret::read(&cluster.secret()).expect("the cluster's secret");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = socket.local_addr().expect("an address");
    let own = Hello { versions, node: 7, generation: 1, links: address, gossip: address };
    let admit = Arc::new(move |_: &Hello| refuses.clone().map_or(Ok(()), Err));
    let (inbox, _) = mpsc::channel(1);
    (Links::start(own, &secret, socket, admit, inbox).expect("links"), address.to_string())
}

/// A node that is to join whoever is there.
fn join(cluster: &Cluster, links: &str) -> Answer {
    cluster.init(2);
    let ports = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "1"];
    ringside(&cluster.state_of(2), &[&["node"], &ports[..], &["--join", links]].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_a_release_that_is_not_adjacent_is_told_so_and_the_refusing_one_logs_it() {
    let cluster = Cluster::start(1).await;
    let later = (VERSIONS.1 + 1, VERSIONS.1 + 2);
    let (other, address) = member(&cluster, later, None);
    // It refuses this release.
    let error = tokio::task::block_in_place(|| join(&cluster, &address)).failed();
    let versions = |of: (u16, u16)| format!("{} to {}", of.0, of.1);
    let (theirs, ours) = (versions(later), versions(VERSIONS));
    let says = format!("it speaks versions {theirs}, this node {ours}: run adjacent releases");
    assert!(error.contains(&address) && error.contains(&says), "{error}");
    // This release refuses it.
    let links = cluster.links().and_then(|links| links.parse().ok()).expect("a node runs");
    let refused = other.greet(links).await.expect_err("no version in common");
    assert!(matches!(&refused, LinkError::Refused { refusal: Refusal::Version { .. }, .. }), "{refused}");
    let line = tokio::task::block_in_place(|| cluster.node(1).logged("link refused"));
    assert!(line.contains("0000000000000007") && line.contains("run adjacent releases"), "{line}");
    assert!(cluster.node(1).metric("ringside_links_refused_total") >= 1);
    cluster.agreed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_one_that_is_busy_is_told_so() {
    let cluster = Cluster::start(1).await;
    let (_busy, address) = member(&cluster, VERSIONS, Some(Refusal::Busy));
    let error = tokio::task::block_in_place(|| join(&cluster, &address)).failed();
    assert!(error.contains(&address) && error.contains("it has too many links at the moment"), "{error}");
    // Beside one that takes it, it is not kept from joining.
    let mut cluster = cluster;
    tokio::task::block_in_place(|| cluster.add(2, &[]));
    cluster.agreed().await;
}
