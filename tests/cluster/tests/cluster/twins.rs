//! Processes with one number.

use std::process::{Child, Stdio};

use ringside_test_support::cluster::Cluster;
use ringside_test_support::directory::Directory;
use ringside_test_support::node::{Answer, command};
use ringside_test_support::wait::until;

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_with_one_number_that_start_together_one_at_most_stays() {
    let mut cluster = Cluster::start(1).await;
    cluster.init(2);
    let copy = Directory::new();
    for file in ["version", "node.id", "cluster.json", "admin.token"] {
        std::fs::copy(cluster.state_of(2).join(file), copy.path().join(file)).expect("a file of the state directory");
    }
    let links = cluster.links().expect("a node runs");
    let start = |state: &std::path::Path| -> Child {
        let mut node = command(state);
        node.args(["node", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "1", "--join", &links]);
        node.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
    };
    let mut twins = vec![start(&cluster.state_of(2)), start(copy.path())];
    until("one of them to give way", async || {
        let ended = twins.iter_mut().position(|twin| twin.try_wait().expect("a process").is_some())?;
        let ended = twins.swap_remove(ended).wait_with_output().expect("its output");
        let error = Answer::from_output(ended).failed();
        assert!(error.contains("two nodes must not share a state directory"), "{error}");
        Some(())
    })
    .await;
    // The other stays, or gives way too: it never is there twice, and one that is started alone is let in.
    let mut other = twins.pop().expect("the other");
    until("the other to be in, or to give way", async || {
        if other.try_wait().expect("a process").is_some() {
            return Some(());
        }
        let list = cluster.node(1).get("/v1/cluster");
        let twin = list["nodes"].as_array()?.iter().find(|node| node["node"] == "2")?;
        (twin["pid"] == other.id() && twin["state"] == "active").then_some(())
    })
    .await;
    let _ = other.kill();
    let _ = other.wait();
    cluster.add(2, &[]);
    cluster.agreed().await;
}
