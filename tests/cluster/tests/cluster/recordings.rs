//! A recording goes on whoever leads its session: it is one log, and folds to what the players saw.

use ringside_test_support::cluster::Cluster;
use ringside_test_support::node::Node;
use ringside_test_support::wait::until;
use serde_json::Value;

use crate::failover::{led_and_followed, shown, third};
use crate::player::Player;

/// A cluster with a recorded session of this key.
async fn recorded(count: u64, game: &str, key: &str) -> (Cluster, String) {
    let cluster = Cluster::start(count).await;
    cluster.node(1).push(game);
    cluster.agreed().await;
    let create = ["session", "create", game, "--key", key, "--private", "--record", "--json"];
    let created = cluster.node(1).ringside(&create).json();
    (cluster, created["session"].as_str().expect("a session").to_owned())
}

/// Has it folded again: what came of that.
pub fn replayed(cluster: &Cluster, by: u64, session: &str) -> Value {
    let directory = cluster.state_of(1).parent().expect("the cluster's directory").to_owned();
    let file = directory.join("saved.recording").to_string_lossy().into_owned();
    let store = directory.join("store").to_string_lossy().into_owned();
    let node: &Node = cluster.node(by);
    node.ringside(&["session", "recording", session, "--output", &file]).succeeded();
    // Not the whole session is no success.
    let replayed = node.ringside(&["replay", &file, "--store", &store, "--json"]).parsed();
    assert_eq!((&replayed["same"], replayed["session"].as_str()), (&true.into(), Some(session)), "{replayed:#}");
    replayed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_goes_on_where_its_session_was_moved_and_where_its_leader_was_killed() {
    let (mut cluster, session) = recorded(3, "echo-replicated", "final").await;
    let (leader, follower) = led_and_followed(&cluster, 1, &session).await;
    let third = third(leader, follower);
    let mut player = Player::join(cluster.node(third), "ada", "echo-replicated/final").await;
    player.exchange(50).await;
    let to = follower.to_string();
    cluster.node(third).ringside(&["session", "move", &session, "--to", &to]).succeeded();
    player.exchange(50).await;
    let (led, followed) = led_and_followed(&cluster, third, &session).await;
    assert_eq!(led, follower);
    let so_far = replayed(&cluster, third, &session);
    assert_eq!((&so_far["parts"], &so_far["complete"]), (&2.into(), &false.into()), "{so_far:#}");
    cluster.take(led).kill();
    player.exchange(50).await;
    let by = followed;
    until("the session to have another leader", async || {
        (shown(&cluster, by, &session)?["node"].as_str() == Some(&*followed.to_string())).then_some(())
    })
    .await;
    player.exchange(50).await;
    cluster.node(by).ringside(&["session", "end", &session]).succeeded();
    let whole = replayed(&cluster, by, &session);
    assert_eq!((&whole["parts"], &whole["incomplete"]), (&3.into(), &Value::Null), "{whole:#}");
    // The first part has a join and fifty messages, and so have all after it.
    assert!(whole["records"].as_u64().is_some_and(|records| records > 200), "{whole:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_session_sleeps_and_its_recording_goes_on_when_it_is_awake() {
    let (cluster, session) = recorded(1, "tally", "north").await;
    let node = cluster.node(1);
    for sum in 1..=3 {
        node.ringside(&["session", "evict", "tally/north"]).succeeded();
        assert_eq!(shown(&cluster, 1, "tally/north").expect("it is known")["state"], "evicted");
        let told = crate::idle::visit(node, "tally/north", &["add 1"]).await;
        assert_eq!(told, [format!("sum {sum}, rang 0, told 0")]);
    }
    node.ringside(&["session", "end", "tally/north"]).succeeded();
    let whole = replayed(&cluster, 1, &session);
    assert_eq!((&whole["parts"], &whole["incomplete"]), (&4.into(), &Value::Null), "{whole:#}");
}
