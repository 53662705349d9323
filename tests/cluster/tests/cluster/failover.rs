//! A match outlives its node: it is led by a node that followed it.

use ringside_test_support::cluster::Cluster;
use ringside_test_support::wait::until;
use serde_json::Value;

use crate::player::Player;

/// A session as a node shows it.
fn shown(cluster: &Cluster, by: u64, session: &str) -> Option<Value> {
    let answer = cluster.node(by).ringside(&["session", "show", session, "--json"]);
    (answer.code == Some(0)).then(|| answer.json())
}

/// The node that leads a session and a node that is in sync, once one is.
async fn led_and_followed(cluster: &Cluster, by: u64, session: &str) -> (u64, u64) {
    until("a follower that counts", async || {
        let shown = shown(cluster, by, session)?;
        let replication = &shown["detail"]["replication"];
        let followers = replication["followers"].as_array()?;
        let follower = followers.iter().find(|follower| follower["in_sync"] == true)?["node"].as_str()?;
        Some((replication["leader"]["node"].as_str()?.parse().ok()?, follower.parse().ok()?))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_where_it_was_followed_when_its_leaders_node_is_killed() {
    goes_on("echo-replicated").await;
}

/// Its chain of records is in the store, which the nodes share.
#[tokio::test(flavor = "multi_thread")]
async fn a_consistent_session_goes_on_where_it_was_followed_when_its_leaders_node_is_killed() {
    goes_on("echo-consistent").await;
}

async fn goes_on(game: &str) {
    let name = format!("{game}/final");
    let mut cluster = Cluster::start(3).await;
    cluster.node(1).push(game);
    cluster.agreed().await;
    let created = cluster.node(1).ringside(&["session", "create", game, "--key", "final", "--json"]).json();
    let session = created["session"].as_str().unwrap().to_owned();
    let (leader, follower) = led_and_followed(&cluster, 1, &name).await;
    let third = (1..=3).find(|number| ![leader, follower].contains(number)).unwrap();
    let mut player = Player::join(cluster.node(third), "ada", &name).await;
    player.exchange(20).await;
    cluster.take(leader).kill();
    let led = until("another leader", async || {
        let shown = shown(&cluster, third, &session)?;
        (shown["node"].as_str() == Some(&*follower.to_string())).then_some(shown)
    })
    .await;
    let replication = &led["detail"]["replication"];
    assert_eq!((led["session"].as_str(), &replication["epoch"]["number"]), (Some(&*session), &2.into()), "{led:#}");
    assert_eq!(replication["history"].as_array().unwrap().last().unwrap()["cause"], "promoted", "{led:#}");
    player.exchange(20).await;
    // It is followed again, by whoever is left.
    assert_eq!(led_and_followed(&cluster, third, &session).await, (follower, third));
    let places = cluster.directories_agree().await;
    assert_eq!(places[&session].0, follower.to_string());
}
