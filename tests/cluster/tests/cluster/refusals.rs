//! Who is kept out, and what they are told.

use std::net::UdpSocket;
use std::path::Path;

use ringside_test_support::cluster::Cluster;
use ringside_test_support::directory::Directory;
use ringside_test_support::node::{Answer, ringside};

fn start(state: &Path, arguments: &[&str]) -> Answer {
    let mut all = vec!["node", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "1"];
    all.extend(arguments);
    ringside(state, &all)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_cluster_is_told_to_copy_the_secret() {
    let cluster = Cluster::start(1).await;
    let stranger = Directory::new();
    let links = cluster.links().expect("a node runs");
    let error = start(stranger.path(), &["--join", &links]).failed();
    assert!(error.contains("is no node of this cluster") && error.contains("cluster.json"), "{error}");
    // It has a cluster of its own by now: another's secret is not mixed into it.
    let secret = cluster.secret();
    let error = start(stranger.path(), &["--join", &links, "--secret", &secret.to_string_lossy()]).failed();
    assert!(error.contains("the state directory belongs to cluster"), "{error}");
    cluster.agreed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_node_that_runs_is_refused_and_the_node_stays() {
    let cluster = Cluster::start(2).await;
    let copy = Directory::new();
    for file in ["version", "node.id", "cluster.json", "admin.token", "certificate.json"] {
        std::fs::copy(cluster.state_of(2).join(file), copy.path().join(file)).expect("a file of the state directory");
    }
    for by in [2, 1] {
        let links = cluster.node(by).ready()["links"].as_str().expect("its links").to_owned();
        let error = start(copy.path(), &["--join", &links]).failed();
        assert!(error.contains("two nodes must not share a state directory"), "by node {by}: {error}");
    }
    cluster.agreed().await;
    cluster.node(1).push("echo");
    cluster.node(1).ringside(&["session", "create", "echo", "--node", "2"]).succeeded();
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_and_forgeries_at_the_gossip_and_link_ports_change_nothing() {
    let cluster = Cluster::start(2).await;
    let before = cluster.agreed().await;
    let noise = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for (_, node) in cluster.nodes() {
        for port in ["gossip", "links"] {
            let address = node.ready()[port].as_str().expect("an address");
            for length in [0, 1, 28, 1200, 60_000] {
                noise.send_to(&vec![7; length], address).expect("it is sent");
            }
        }
    }
    let after = cluster.agreed().await;
    assert_eq!(before["nodes"][0]["sees"], after["nodes"][0]["sees"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_of_the_cluster_is_named_with_what_to_do() {
    let directory = Directory::new();
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = taken.local_addr().expect("an address").to_string();
    for (flag, what) in [("--links", "links"), ("--gossip", "gossip")] {
        let error = start(directory.path(), &[flag, &address]).failed();
        assert!(error.contains(&address) && error.contains(what) && error.contains(flag), "{error}");
    }
}

#[test]
fn the_state_of_a_node_that_runs_or_of_another_release_is_refused() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let cluster = runtime.block_on(Cluster::start(2));
    let links = cluster.links().expect("a node runs");
    let error = start(&cluster.state_of(2), &["--join", &links]).failed();
    assert!(error.contains(&cluster.node(2).pid().to_string()) && error.contains("a node runs on it"), "{error}");
    let later = Directory::new();
    std::fs::write(later.path().join("version"), "ringside state 99\n").expect("a file");
    let error = start(later.path(), &["--join", &links]).failed();
    assert!(error.contains("ringside state 99"), "{error}");
    std::fs::write(later.path().join("version"), "ringside state 1\n").expect("a file");
    std::fs::write(later.path().join("cluster.json"), "{}").expect("a file");
    let error = start(later.path(), &["--join", &links]).failed();
    assert!(error.contains("cluster.json") && error.contains("is no secret of a cluster"), "{error}");
    runtime.block_on(cluster.agreed());
}
