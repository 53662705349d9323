//! A match outlives its node: it is led by a node that followed it.

use ringside_test_support::cluster::Cluster;
use ringside_test_support::node::Node;
use ringside_test_support::wait::until;
use serde_json::Value;

use crate::player::Player;
use crate::upgrade;

/// A session as a node shows it.
pub fn shown(cluster: &Cluster, by: u64, session: &str) -> Option<Value> {
    let answer = cluster.node(by).ringside(&["session", "show", session, "--json"]);
    (answer.code == Some(0)).then(|| answer.json())
}

/// The node that leads a session and a node that is in sync, once one is.
pub async fn led_and_followed(cluster: &Cluster, by: u64, session: &str) -> (u64, u64) {
    until("a follower that counts", async || {
        let shown = shown(cluster, by, session)?;
        let replication = &shown["detail"]["replication"];
        let followers = replication["followers"].as_array()?;
        let counts = |follower: &&Value| follower["in_sync"] == true && follower["late_ms"].is_u64();
        let follower = followers.iter().find(counts)?["node"].as_str()?;
        Some((replication["leader"]["node"].as_str()?.parse().ok()?, follower.parse().ok()?))
    })
    .await
}

/// Who does neither, of three nodes.
pub fn third(leader: u64, follower: u64) -> u64 {
    (1..=3).find(|number| ![leader, follower].contains(number)).expect("a third")
}

/// The last change of the leader, as a session's replication shows it.
pub fn last_change(replication: &Value) -> &Value {
    replication["history"].as_array().and_then(|changes| changes.last()).expect("a change")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_where_it_was_followed_when_its_leaders_node_is_killed() {
    goes_on("echo-replicated").await;
}

/// Its followers keep the log, and fold it when they come to lead.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_followers_keep_the_log_goes_on_when_its_leaders_node_is_killed() {
    goes_on("echo-kept").await;
}

/// Its chain of records is in the store, which the nodes share.
#[tokio::test(flavor = "multi_thread")]
async fn a_consistent_session_goes_on_where_it_was_followed_when_its_leaders_node_is_killed() {
    goes_on("echo-consistent").await;
}

/// So does one whose log is in the store: its follower has it at hand.
#[tokio::test(flavor = "multi_thread")]
async fn a_durable_session_goes_on_where_it_was_followed_when_its_leaders_node_is_killed() {
    goes_on("echo-durable").await;
}

/// Has a node create a session; answers its name.
pub fn create(node: &Node, game: &str, key: &str) -> String {
    let created = node.ringside(&["session", "create", game, "--key", key, "--json"]).json();
    created["session"].as_str().expect("a session").to_owned()
}

async fn goes_on(game: &str) {
    let name = format!("{game}/final");
    let mut cluster = Cluster::start(3).await;
    cluster.node(1).push(game);
    cluster.agreed().await;
    let session = create(cluster.node(1), game, "final");
    let (leader, follower) = led_and_followed(&cluster, 1, &name).await;
    let third = third(leader, follower);
    let mut player = Player::join(cluster.node(third), "ada", &name).await;
    player.exchange(20).await;
    let kind = if game == "echo-kept" { "keeps the log" } else { "replays" };
    assert!(cluster.node(third).ringside(&["session", "show", &name]).succeeded().contains(kind));
    cluster.take(leader).kill();
    let led = until("another leader", async || {
        let shown = shown(&cluster, third, &session)?;
        (shown["node"].as_str() == Some(&*follower.to_string())).then_some(shown)
    })
    .await;
    let replication = &led["detail"]["replication"];
    assert_eq!((led["session"].as_str(), &replication["epoch"]["number"]), (Some(&*session), &2.into()), "{led:#}");
    assert_eq!(last_change(replication)["cause"], "promoted", "{led:#}");
    player.exchange(20).await;
    // It is followed again, by whoever is left.
    assert_eq!(led_and_followed(&cluster, third, &session).await, (follower, third));
    let places = cluster.directories_agree().await;
    assert_eq!(places[&session].0, follower.to_string());
    // Whoever was taken on by the second leader knows the player's numbers too, when that one dies.
    cluster.take(follower).kill();
    player.exchange(20).await;
    let led = shown(&cluster, third, &session).expect("it is shown");
    assert_eq!(led["node"].as_str(), Some(&*third.to_string()), "{led:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_only_follower_is_killed_goes_on_degraded_until_there_is_another() {
    let name = "echo-replicated/final";
    let mut cluster = Cluster::start_at_rest(None, 2).await;
    cluster.node(1).push("echo-replicated");
    cluster.agreed().await;
    create(cluster.node(1), "echo-replicated", "final");
    let (leader, follower) = led_and_followed(&cluster, 1, name).await;
    let mut player = Player::join(cluster.node(leader), "ada", name).await;
    player.exchange(20).await;
    let degraded = |cluster: &Cluster| {
        shown(cluster, leader, name).expect("it is shown")["detail"]["replication"]["degraded"].clone()
    };
    assert_eq!(degraded(&cluster), false);
    cluster.take(follower).kill();
    player.exchange(20).await;
    until("the leader to say that nobody else has the log", async || (degraded(&cluster) == true).then_some(())).await;
    let on_page = |cluster: &Cluster| cluster.node(leader).metric("ringside_worker_degraded{worker=\"0\"}");
    until("its metrics to say so too", async || (on_page(&cluster) == 1).then_some(())).await;
    player.exchange(20).await;
    cluster.add(follower, &[]);
    assert_eq!(led_and_followed(&cluster, leader, name).await, (leader, follower));
    assert_eq!(degraded(&cluster), false);
    player.exchange(20).await;
    assert_eq!(player.disconnected, 0, "its own node was there all the time");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_moves_a_session_and_ends_the_node_that_it_came_to() {
    let mut cluster = Cluster::start(3).await;
    cluster.node(1).push("echo-replicated");
    cluster.node(1).push("echo");
    cluster.agreed().await;
    let name = "echo-replicated/final";
    let created =
        cluster.node(1).ringside(&["session", "create", "echo-replicated", "--key", "final", "--json"]).json();
    let session = created["session"].as_str().unwrap().to_owned();
    let (leader, follower) = led_and_followed(&cluster, 1, name).await;
    let third = (1..=3).find(|number| ![leader, follower].contains(number)).unwrap();
    let mut player = Player::join(cluster.node(third), "ada", name).await;
    player.exchange(20).await;

    // By way of a node that does not lead it.
    let to = follower.to_string();
    let ordered = |by: u64| cluster.node(by).ringside(&["session", "move", name, "--to", &to, "--json"]);
    let moved = ordered(third).json();
    assert_eq!((&moved["from"], &moved["to"]), (&leader.to_string().into(), &to.clone().into()), "{moved}");
    player.exchange(20).await;
    let led = shown(&cluster, 1, &session).unwrap();
    let history = led["detail"]["replication"]["history"].as_array().unwrap();
    assert_eq!(history.last().unwrap()["cause"], "granted", "{led:#}");
    assert_eq!(ordered(leader).json()["was_there"], true);
    let text = cluster.node(1).ringside(&["session", "show", name]).succeeded();
    assert!(text.contains("granted: it was moved") && text.contains("in sync"), "{text}");

    // One that asks for no followers moves as well.
    cluster.node(1).ringside(&["session", "create", "echo", "--key", "alone"]).succeeded();
    let at = shown(&cluster, 1, "echo/alone").unwrap()["node"].as_str().unwrap().to_owned();
    let mut alone = Player::join(cluster.node(1), "bob", "echo/alone").await;
    alone.exchange(10).await;
    let elsewhere = [leader, third].into_iter().map(|number| number.to_string()).find(|number| *number != at).unwrap();
    let moved = cluster.node(1).ringside(&["session", "move", "echo/alone", "--to", &elsewhere, "--json"]).json();
    assert_eq!((&moved["from"], &moved["to"]), (&at.into(), &elsewhere.into()), "{moved}");
    alone.exchange(10).await;
    // What cannot be moved says why.
    let refused = cluster.node(1).ringside(&["session", "move", "echo/none", "--to", "1"]).failed();
    assert!(refused.contains("no live session"), "{refused}");

    // Nobody ends a node by mistake.
    let victim = follower.to_string();
    let unmeant = cluster.node(leader).ringside(&["node", "kill", &victim]).failed();
    assert!(unmeant.contains("--yes"), "{unmeant}");
    let killed = cluster.node(leader).ringside(&["node", "kill", &victim, "--yes", "--json"]).json();
    assert_eq!(killed["pid"].as_u64(), Some(u64::from(cluster.node(follower).pid())));
    let dead = cluster.take(follower);
    assert!(!dead.wait_for_end().success());
    until("another leader", async || {
        let shown = shown(&cluster, leader, &session)?;
        (shown["state"] == "live" && shown["node"] != victim).then_some(())
    })
    .await;
    player.exchange(20).await;
}

/// As whoever runs services stops it (`SIGTERM`), without a drain before.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_led_that_is_told_to_stop_goes_on_elsewhere_but_for_what_nobody_else_has() {
    const NODE: u64 = 2;
    const KEPT: [&str; 3] = ["echo-replicated", "echo-consistent", "echo-durable"];
    let mut cluster = Cluster::start(3).await;
    KEPT.into_iter().chain(["echo"]).for_each(|game| _ = cluster.node(1).push(game));
    cluster.agreed().await;
    let mut matches = Vec::new();
    for game in KEPT {
        matches.push(upgrade::begin(&cluster, game, "m", NODE).await);
        assert_eq!(led_and_followed(&cluster, 1, &format!("{game}/m")).await.0, NODE);
    }
    cluster.node(1).ringside(&["session", "create", "echo", "--key", "m", "--node", &NODE.to_string()]).succeeded();
    let mut alone = Player::join(cluster.node(1), "ada", "echo/m").await;
    alone.exchange(10).await;
    let node = cluster.take(NODE);
    let (status, _) = tokio::task::spawn_blocking(move || node.stop()).await.expect("it has stopped");
    assert!(status.success(), "{status}");
    for one in &matches {
        one.goes_on(20).await;
    }
    assert!(alone.is_lost().await);
    for one in matches {
        one.end().await;
    }
}
