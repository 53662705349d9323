//! Followed sessions whose nodes hear each other by half or not at all.

use std::time::{Duration, Instant};

use ringside_client::Options;
use ringside_test_support::cluster::Cluster;
use ringside_test_support::network::{Cut, Quality};
use ringside_test_support::wait::until;

use crate::failover::{led_and_followed, shown};
use crate::faults::Scene;
use crate::player::{Player, options};

const LAN: Quality = Quality { delay: Duration::from_millis(1), loss_permille: 0 };
/// One packet in five.
const MUCH_PERMILLE: u64 = 200;
/// The host of the store, behind those of three nodes.
const STORE: u8 = 4;
/// How long a fault lasts: many times what a promotion takes.
const LONG: Duration = Duration::from_secs(5);

/// Cuts a node off from the other nodes, not from players; or no longer.
pub fn cut_off(cluster: &Cluster, node: u64, is_cut: bool) {
    for other in (1..=3).filter(|other| *other != node) {
        for (from, to) in [(node as u8, other as u8), (other as u8, node as u8)] {
            cluster.network().set_cut(Cut::OneWay { from, to }, is_cut);
        }
    }
}

/// The same, and from the store, which is on a host of its own.
fn cut_off_from_store_too(cluster: &Cluster, node: u64, is_cut: bool) {
    cut_off(cluster, node, is_cut);
    for (from, to) in [(node as u8, STORE), (STORE, node as u8)] {
        cluster.network().set_cut(Cut::OneWay { from, to }, is_cut);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_deposed_where_a_fifth_of_all_packets_is_lost() {
    let network = ringside_test_support::network!(3, LAN);
    let mut scene = Scene::begin(Cluster::start_at_rest(Some(network), 3).await, "echo-replicated").await;
    scene.cluster.network().set_loss(MUCH_PERMILLE);
    let end = Instant::now() + LONG;
    while Instant::now() < end {
        scene.play().await;
    }
    scene.cluster.network().set_loss(0);
    let leader = scene.leader;
    scene.is_led_by(leader, 1).await;
    scene.play().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consistent_session_goes_on_at_one_side_of_a_cut() {
    let network = ringside_test_support::network!(3, LAN);
    let mut scene = Scene::begin(Cluster::start_at_rest(Some(network), 3).await, "echo-consistent").await;
    let (leader, follower) = (scene.leader, scene.follower);
    cut_off(&scene.cluster, leader, true);
    scene.play().await;
    // Whoever made the next record in the store goes on, and nobody else: the leader takes its follower out, or the follower
    // comes to lead.
    let led = until("one side alone to lead it", async || {
        let all = scene.cluster.get_of_all("/v1/directory");
        let is_it = |entry: &serde_json::Value| entry["session"].as_str() == Some(&*scene.session);
        let leads = |node: &serde_json::Value| node["leads"].as_array().is_some_and(|all| all.iter().any(is_it));
        let leaders: Vec<u64> = (1..).zip(&all).filter(|(_, node)| leads(node)).map(|(number, _)| number).collect();
        (leaders.len() == 1).then(|| leaders[0])
    })
    .await;
    scene.play().await;
    let epoch = if led == leader { 1 } else { 2 };
    assert!(led == leader || led == follower);
    cut_off(&scene.cluster, leader, false);
    scene.play().await;
    scene.is_led_by(led, epoch).await;
    scene.play().await;
}

/// It may not make a record that would take its follower out, so it is the follower that goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_consistent_sessions_leader_that_is_cut_off_from_nodes_and_store_is_paused_and_says_why() {
    let network = ringside_test_support::network!(STORE, LAN);
    let cluster = match Cluster::start_on_with_bucket(network, 3).await {
        Ok(cluster) => cluster,
        Err(why) => ringside_test_support::skip!("{why}"),
    };
    let mut scene = Scene::begin(cluster, "echo-consistent").await;
    let (leader, follower) = (scene.leader, scene.follower);
    let text = |scene: &Scene| scene.cluster.node(leader).ringside(&["session", "show", &scene.name]).succeeded();
    assert!(!text(&scene).contains("paused"));
    cut_off_from_store_too(&scene.cluster, leader, true);
    // Who has a connection at nobody else stays, and is told; what it says now is not answered here.
    scene.asking.send();
    scene.asking.paused().await;
    let there = shown(&scene.cluster, leader, &scene.session).expect("its leader shows it");
    let (detail, number) = (&there["detail"], leader.to_string());
    assert_eq!((there["node"].as_str(), &detail["paused"]), (Some(&*number), &true.into()), "{there:#}");
    let said = text(&scene);
    let line = said.lines().find(|line| line.starts_with("paused ")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains("cut off from its followers or the store"), "{line}");
    // The side that has the store goes on, with whoever waits there.
    scene.waiting.exchange(20).await;
    let elsewhere = shown(&scene.cluster, follower, &scene.session).expect("it is shown");
    let is_paused = &elsewhere["detail"]["paused"];
    assert_eq!((elsewhere["node"].as_str(), is_paused), (Some(&*follower.to_string()), &false.into()), "{elsewhere:#}");
    assert_eq!(scene.asking.outstanding(), 1, "who may not lead any more has not answered");
    cut_off_from_store_too(&scene.cluster, leader, false);
    scene.play().await;
    scene.is_led_by(follower, 2).await;
    scene.asking.answered().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_of_a_cut_go_on_with_an_available_session_and_the_promoted_one_wins_with_more_inputs() {
    both_sides_of_a_cut_go_on(0, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_of_a_cut_go_on_with_an_available_session_and_the_first_one_wins_with_more_inputs() {
    both_sides_of_a_cut_go_on(200, 0).await;
}

/// More is said at one side: that is so many messages for the side of the first leader, and for that of the promoted one.
async fn both_sides_of_a_cut_go_on(left_says: u64, right_says: u64) {
    let network = ringside_test_support::network!(3, LAN);
    let Scene { cluster, name, session, leader, follower, third, .. } =
        Scene::begin(Cluster::start_at_rest(Some(network), 3).await, "echo-replicated").await;
    let enter = async |player: &str, door: u64| {
        let node = cluster.node(door);
        let options = Options { standby: false, ..options(node, &node.token(player), &name) };
        let mut player = Player::join_with(options, player).await;
        player.may_fork = true;
        player
    };
    let mut left = enter("cat", leader).await;
    // Has a seat at both sides, whichever goes on, and comes back to one of them.
    drop(enter("dan", third).await);
    // More than is said at either side of the cut: what both have counts for none.
    left.exchange_at_once(250, 1).await;
    cut_off(&cluster, leader, true);
    // Answered by a leader that has nobody else left, or after that.
    left.exchange(1).await;
    until("the other side to lead it", async || {
        let shown = shown(&cluster, follower, &session)?;
        (shown["node"].as_str() == Some(&*follower.to_string())).then_some(())
    })
    .await;
    let mut right = enter("dan", third).await;
    right.exchange_at_once(right_says + 1, 1).await;
    left.exchange_at_once(left_says + 1, 1).await;
    assert_eq!(left.attachment().node, leader, "this side goes on as well");
    assert_eq!((left.rewound, right.rewound), (0, 0));
    // Comes only to the side that is to lose.
    let mut late = enter("eve", if left_says > right_says { third } else { leader }).await;
    late.exchange_at_once(1, 1).await;
    cut_off(&cluster, leader, false);
    cluster.agreed().await;
    let (winner, loser) = if left_says > right_says { (leader, follower) } else { (follower, leader) };
    let told = cluster.node(loser).logged("another branch of the session goes on");
    assert!(told.contains(&session), "the operator is told which: {told}");
    // The branch with more inputs goes on; players of the other are told, and moved there.
    right.exchange(1).await;
    left.exchange(1).await;
    let (stayed, came) = if winner == leader { (&left, &right) } else { (&right, &left) };
    assert_eq!((stayed.rewound, came.rewound), (0, 1), "one is told that the session went back");
    assert_eq!((stayed.superseded, came.superseded), (0, 1), "and that what was answered there is withdrawn");
    let led = led_and_followed(&cluster, third, &session).await;
    assert_eq!(led.0, winner);
    // Its home has heard of both.
    let places = cluster.directories_agree().await;
    assert_eq!(places[&session].0, winner.to_string());
    left.exchange(1).await;
    right.exchange(1).await;
    assert_eq!(left.rewound + right.rewound, 1);
    assert_eq!(late.stays, 0);
    late.sits_down_anew().await;
    late.exchange(1).await;
    assert_eq!(late.stays, 1, "whom the branch that goes on never let in sits down anew, and is told so");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consistent_session_goes_on_where_its_nodes_hear_each_other_one_way() {
    goes_on_one_way("echo-consistent").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_available_session_goes_on_where_its_nodes_hear_each_other_one_way() {
    goes_on_one_way("echo-replicated").await;
}

async fn goes_on_one_way(game: &str) {
    let network = ringside_test_support::network!(3, LAN);
    let mut scene = Scene::begin(Cluster::start_at_rest(Some(network), 3).await, game).await;
    // The third hears both: whether there are two branches for a moment is for whom it answers first.
    let may_fork = game == "echo-replicated";
    (scene.waiting.may_fork, scene.asking.may_fork) = (may_fork, may_fork);
    let (leader, follower) = (scene.leader, scene.follower);
    for (from, to) in [(leader as u8, follower as u8), (follower as u8, leader as u8)] {
        let cut = Cut::OneWay { from, to };
        scene.cluster.network().set_cut(cut, true);
        scene.play().await;
        scene.cluster.network().set_cut(cut, false);
        scene.cluster.agreed().await;
        scene.play().await;
    }
    let places = scene.cluster.directories_agree().await;
    let led: u64 = places[&scene.session].0.parse().expect("a node");
    let epoch = scene.epoch(scene.third).expect("it is shown");
    scene.is_led_by(led, epoch).await;
    scene.play().await;
}
