//! What one node was given all serve, whether they share a store or not.

use ringside_test_support::cluster::Cluster;

#[tokio::test(flavor = "multi_thread")]
async fn a_game_is_served_by_all_nodes_though_each_has_a_store_of_its_own() {
    let mut cluster = Cluster::start_with(2, false).await;
    let pushed = cluster.node(1).push("echo");
    assert_eq!(pushed["covers"]["answered"], 2, "{pushed}");
    let shown = |cluster: &Cluster, by: u64| cluster.node(by).ringside(&["game", "show", "echo", "--json"]).json();
    assert_eq!(shown(&cluster, 2)["module"], pushed["module"]);
    cluster.node(1).ringside(&["session", "create", "echo", "--key", "there", "--node", "2"]).succeeded();
    // Whoever comes later has what was pushed before when it is ready.
    cluster.add(3, &[]);
    assert_eq!(shown(&cluster, 3)["module"], pushed["module"]);
    // And has it in its own store from then on.
    let (status, _) = cluster.take(3).stop();
    assert!(status.success());
    cluster.add(3, &[]);
    assert_eq!(shown(&cluster, 3)["versions"][0]["module"], pushed["module"]);
    cluster.agreed().await;
    cluster.node(2).ringside(&["session", "create", "echo", "--key", "later", "--node", "3"]).succeeded();
}
