//! Followed sessions whose nodes hear each other by half or not at all.

use std::time::{Duration, Instant};

use ringside_client::{Client, Event, Options};
use ringside_test_support::cluster::Cluster;
use ringside_test_support::network::{Cut, Quality};
use ringside_test_support::wait::{until, within};

use crate::failover::led_and_followed;
use crate::faults::Scene;
use crate::player::options;

const LAN: Quality = Quality { delay: Duration::from_millis(1), loss_permille: 0 };
/// One packet in five.
const MUCH_PERMILLE: u64 = 200;
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

/// Says a word and waits for its answer; says how many messages are known to be lost on the way there, if the session went
/// back.
async fn say(client: &mut Client, word: &[u8]) -> Option<u64> {
    client.send(postcard::to_stdvec(&ringside_guest::Bytes(word.to_vec())).expect("bytes")).expect("room for it");
    let mut rewound = None;
    loop {
        match within("an answer", client.next()).await.expect("the session goes on") {
            Event::Message { body, .. } => {
                let reply: echo::Reply = postcard::from_bytes(&body).expect("a reply of the echo game");
                if reply.body.0 == word {
                    return rewound;
                }
            }
            Event::Rewound { lost_messages, .. } => rewound = Some(lost_messages),
            event => assert!(!event.is_last(), "{event:?}"),
        }
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

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_of_a_cut_go_on_with_an_available_session_and_one_branch_wins() {
    let network = ringside_test_support::network!(3, LAN);
    let Scene { cluster, name, session, leader, follower, third, .. } =
        Scene::begin(Cluster::start_at_rest(Some(network), 3).await, "echo-replicated").await;
    let enter = async |player: &str, door: u64| {
        let node = cluster.node(door);
        let options = Options { standby: false, ..options(node, &node.token(player), &name) };
        within("a player", Client::connect(options)).await.unwrap_or_else(|error| panic!("{player}: {error}"))
    };
    let mut left = enter("cat", leader).await;
    // More than is said at either side of the cut: what both have counts for none.
    for number in 0..250_u8 {
        assert_eq!(say(&mut left, &[b'b', number]).await, None);
    }
    cut_off(&cluster, leader, true);
    // Answered by a leader that has nobody else left, or after that.
    say(&mut left, b"alone").await;
    until("the other side to lead it", async || {
        let shown = crate::failover::shown(&cluster, follower, &session)?;
        (shown["node"].as_str() == Some(&*follower.to_string())).then_some(())
    })
    .await;
    let mut right = enter("dan", third).await;
    for number in 0..200_u8 {
        assert_eq!(say(&mut right, &[b'r', number]).await, None);
    }
    say(&mut left, b"alone again").await;
    assert_eq!(left.attachment().node, leader, "this side goes on as well");
    cut_off(&cluster, leader, false);
    cluster.agreed().await;
    let told = cluster.node(leader).logged("another branch of the session goes on");
    assert!(told.contains(&session), "the operator is told which: {told}");
    // The branch with more inputs goes on; players of the other are told, and moved there.
    assert_eq!(say(&mut right, b"here").await, None);
    assert!(say(&mut left, b"moved").await.is_some(), "they are told that the session went back");
    let led = led_and_followed(&cluster, third, &session).await;
    assert_eq!(led.0, follower);
    let places = cluster.directories_agree().await;
    assert_eq!(places[&session].0, follower.to_string());
    assert_eq!(say(&mut left, b"both").await, None);
    assert_eq!(say(&mut right, b"both").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_where_its_nodes_hear_each_other_one_way() {
    let network = ringside_test_support::network!(3, LAN);
    let mut scene = Scene::begin(Cluster::start_at_rest(Some(network), 3).await, "echo-consistent").await;
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
