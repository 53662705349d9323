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

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_module_is_fetched_again_and_keeps_no_other_game_away() {
    let mut cluster = Cluster::start_with(2, false).await;
    let echo = cluster.node(1).push("echo");
    let pong = cluster.node(1).push("pong");
    let damage = |cluster: &Cluster, number: u64| {
        let name = format!("store/modules/{}.wasm", echo["module"].as_str().expect("its hash"));
        std::fs::write(cluster.state_of(number).join(name), "damaged").expect("the module's file");
    };
    let shown = |cluster: &Cluster, by: u64, game: &str| {
        cluster.node(by).ringside(&["game", "show", game, "--json"]).json()["module"].clone()
    };
    let (status, _) = cluster.take(2).stop();
    assert!(status.success());
    damage(&cluster, 2);
    std::fs::remove_dir_all(cluster.state_of(2).join("store/games/pong")).expect("the game's versions");
    cluster.add(2, &[]);
    assert_eq!(shown(&cluster, 2, "echo"), echo["module"], "its own copy is damaged, the other's is not");
    assert_eq!(shown(&cluster, 2, "pong"), pong["module"]);
    // Where nobody can send it the rest is served all the same.
    damage(&cluster, 1);
    damage(&cluster, 2);
    cluster.add(3, &[]);
    let here = cluster.node(3).ringside(&["game", "list", "--json"]).json();
    let name = cluster.node(3).ready()["games"].clone();
    assert_eq!(name, 1, "{here}");
}
