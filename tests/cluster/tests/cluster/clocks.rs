//! Nodes whose wall clocks are an hour apart: who is there, who leads what and who may play depends on none of them, but
//! for the time of a token, which is looked at by the door alone.

use ringside_client::Arrival;
use ringside_test_support::clock::Clock;
use ringside_test_support::cluster::Cluster;
use ringside_test_support::node::Place;
use ringside_test_support::skip;

use crate::player::{Player, options};

const HOUR_S: i64 = 3600;

#[tokio::test(flavor = "multi_thread")]
async fn nodes_whose_clocks_are_an_hour_apart_are_one_cluster() {
    let (ahead, behind) = match (Clock::ahead_by(HOUR_S), Clock::ahead_by(-HOUR_S)) {
        (Ok(ahead), Ok(behind)) => (ahead, behind),
        (Err(why), _) | (_, Err(why)) => skip!("no wrong clocks: {why}"),
    };
    let mut cluster = Cluster::start(1).await;
    cluster.add_at(Place::default().with_clock(&ahead), 2, &[]);
    cluster.add_at(Place::default().with_clock(&behind), 3, &[]);
    let agreed = cluster.agreed().await;
    let generation = |at: usize| agreed["nodes"][at]["generation"].as_i64().expect("a time") / 1000;
    assert!(generation(1) - generation(2) > 2 * HOUR_S - 600, "their clocks differ: {agreed}");
    cluster.node(3).push("echo");
    // Tickets of each door are good at each leader.
    for leader in 1..=3_u64 {
        let (key, on) = (format!("on-{leader}"), leader.to_string());
        cluster.node(leader % 3 + 1).ringside(&["session", "create", "echo", "--key", &key, "--node", &on]).succeeded();
        for (door, node) in cluster.nodes() {
            let mut player = Player::join(node, &format!("by-{door}"), &format!("echo/{key}")).await;
            let expected = if door == leader { Arrival::Direct } else { Arrival::Redirected(1) };
            assert_eq!((player.attachment().node, player.attachment().arrival), (leader, expected));
            player.exchange(10).await;
        }
    }
    // A token of the clock that is behind has expired for the others' doors, not for the leader's that it is sent to.
    let token = cluster.node(3).ringside(&["token", "--player", "ada", "--ttl", "10m"]).succeeded().trim().to_owned();
    let mut player = Player::join_with(options(cluster.node(3), &token, "echo/on-2"), "ada").await;
    player.exchange(10).await;
    let refused = ringside_client::Client::connect(options(cluster.node(1), &token, "echo/on-2")).await;
    let Err(error) = refused else { panic!("it has expired here") };
    assert!(error.to_string().contains("clocks"), "{error}");
    // One that comes back with its clock set right, so earlier than before, is a later run of itself all the same.
    cluster.take(2).kill();
    cluster.add(2, &[]);
    let again = cluster.agreed().await;
    assert!(again["nodes"][1]["generation"].as_u64() > agreed["nodes"][1]["generation"].as_u64(), "{again}");
    cluster.directories_agree().await;
}
