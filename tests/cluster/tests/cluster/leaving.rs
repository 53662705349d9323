//! A node that is drained.

use std::time::Duration;

use ringside_client::Event;
use ringside_protocol::reason::Reason;
use ringside_test_support::cluster::Cluster;
use ringside_test_support::network::{Cut, Network, Quality};
use ringside_test_support::wait::{until, within};

use crate::failover::led_and_followed;
use crate::player::{Match, Player};

async fn pinned(cluster: &Cluster, key: &str) -> Player {
    cluster.node(1).ringside(&["session", "create", "echo", "--key", key, "--node", "2"]).succeeded();
    Player::join(cluster.node(1), &format!("in-{key}"), &format!("echo/{key}")).await
}

/// Two nodes, of which the first has room for one session, and has it.
async fn full() -> Cluster {
    let mut cluster = Cluster::start(0).await;
    cluster.add(1, &["--sessions", "1"]);
    cluster.add(2, &[]);
    cluster.agreed().await;
    cluster.node(1).push("echo");
    cluster.agreed().await;
    cluster.node(1).ringside(&["session", "create", "echo", "--key", "first", "--node", "1"]).succeeded();
    cluster
}

async fn last(player: &mut Player) -> Event {
    loop {
        let event = within("an event", player.client.next()).await.expect("a last event");
        if event.is_last() {
            return event;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_ends_what_nobody_takes_when_the_grace_is_over_and_says_why() {
    let mut cluster = full().await;
    let mut player = pinned(&cluster, "long").await;
    player.exchange(10).await;
    let answer = cluster.node(1).ringside(&["node", "drain", "2", "--grace", "5s"]);
    assert!(answer.err.contains("echo/long@") && answer.err.contains("did not leave"), "{}", answer.err);
    let said = answer.succeeded();
    assert!(said.contains("node 2 has left"), "{said}");
    match last(&mut player).await {
        Event::Detached { reason: Reason::SessionEnded, message } => {
            assert!(message.starts_with("node_leaving"), "{message}");
        }
        event => panic!("{event:?}"),
    }
    let status = cluster.take(2).wait_for_end();
    assert!(status.success(), "{status}");
    cluster.agreed().await;
}

/// Sessions that nobody follows leave as well; what is created meanwhile goes to others.
#[tokio::test(flavor = "multi_thread")]
async fn all_matches_leave_a_drained_node_and_it_is_shown_how_far_it_is() {
    let mut cluster = Cluster::start(3).await;
    cluster.node(1).push("echo");
    cluster.node(1).push("echo-replicated");
    cluster.agreed().await;
    let mut players = Vec::new();
    for (number, game) in ["echo", "echo", "echo-replicated", "echo", "echo"].into_iter().enumerate() {
        let (key, session) = (format!("m{number}"), format!("{game}/m{number}"));
        cluster.node(1).ringside(&["session", "create", game, "--key", &key, "--node", "2"]).succeeded();
        let mut player = Player::join(cluster.node(1), &format!("in-{key}"), &session).await;
        player.exchange(10).await;
        players.push(player);
    }
    let answer = cluster.node(1).ringside(&["node", "drain", "2", "--grace", "1h"]);
    assert!(answer.err.contains("sessions that left node 2 ["), "{}", answer.err);
    let said = answer.succeeded();
    assert!(said.contains("node 2 has left"), "{said}");
    let status = cluster.take(2).wait_for_end();
    assert!(status.success(), "{status}");
    for player in &mut players {
        player.exchange(10).await;
    }
    assert_eq!(cluster.sessions(1).len(), 5, "all go on");
    cluster.agreed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn followed_matches_leave_a_drained_node_and_their_players_lose_nothing() {
    let mut cluster = Cluster::start(3).await;
    cluster.node(1).push("echo-replicated");
    cluster.agreed().await;
    let mut players = Vec::new();
    for number in 0..4 {
        let (key, session) = (format!("m{number}"), format!("echo-replicated/m{number}"));
        cluster.node(1).ringside(&["session", "create", "echo-replicated", "--key", &key, "--node", "2"]).succeeded();
        let mut player = Player::join(cluster.node(1), &format!("in-{key}"), &session).await;
        player.exchange(10).await;
        players.push(player);
    }
    // Without a grace that would end them: the node leaves because it leads nothing any more.
    let said = cluster.node(1).ringside(&["node", "drain", "2", "--grace", "1h"]).succeeded();
    assert!(said.contains("node 2 has left"), "{said}");
    let status = cluster.take(2).wait_for_end();
    assert!(status.success(), "{status}");
    for player in &mut players {
        player.exchange(10).await;
    }
    cluster.agreed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_waits_for_its_matches_and_takes_no_others() {
    let mut cluster = full().await;
    let mut player = pinned(&cluster, "long").await;
    cluster.node(1).ringside(&["node", "drain", "2", "--grace", "1h", "--no-wait"]).succeeded();
    until("node 2 to drain", async || {
        let list = cluster.node(1).ringside(&["node", "list", "--json"]).json();
        let drains = |node: &serde_json::Value| node["node"] == "2" && node["state"] == "draining";
        list["nodes"].as_array().is_some_and(|nodes| nodes.iter().any(drains)).then_some(())
    })
    .await;
    let refused = cluster.node(1).ringside(&["session", "create", "echo", "--key", "p", "--node", "2"]).failed();
    assert!(refused.contains("node 2") && refused.contains("takes no new sessions"), "{refused}");
    player.exchange(20).await;
    cluster.node(1).ringside(&["session", "end", "echo/long", "--reason", "over"]).succeeded();
    let status = cluster.take(2).wait_for_end();
    assert!(status.success(), "it leaves when its last match is over: {status}");
    assert!(matches!(last(&mut player).await, Event::Detached { message, .. } if message == "over"));
    cluster.agreed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_without_a_grace_means_a_minute_and_a_second_one_may_only_shorten_it() {
    let mut cluster = full().await;
    let mut player = pinned(&cluster, "long").await;
    let drain = |by: u64, more: &[&str]| {
        let order = [&["node", "drain", "2", "--no-wait", "--json"], more].concat();
        cluster.node(by).ringside(&order).json()
    };
    let first = drain(1, &[]);
    assert_eq!((&first["node"], &first["sessions"], &first["grace_ms"]), (&"2".into(), &1.into(), &60_000.into()));
    assert!(cluster.node(2).logged("leaving the cluster").contains("grace_s=60"));
    player.exchange(10).await;
    let longer = drain(2, &["--grace", "1h"]);
    assert!(longer["grace_ms"].as_u64().is_some_and(|left| left <= 60_000), "{longer}");
    player.exchange(10).await;
    let said = cluster.node(1).ringside(&["node", "drain", "2", "--grace", "0s"]).succeeded();
    assert!(said.contains("may end within 0s") && said.contains("node 2 has left"), "{said}");
    assert!(matches!(last(&mut player).await, Event::Detached { message, .. } if message.starts_with("node_leaving")));
    let status = cluster.take(2).wait_for_end();
    assert!(status.success(), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_not_there_cannot_be_drained() {
    let cluster = Cluster::start(1).await;
    let error = cluster.node(1).ringside(&["node", "drain", "7"]).failed();
    assert!(error.contains("no node \"7\"") && error.contains("ringside node list"), "{error}");
    let error = cluster.node(1).ringside(&["node", "drain", "1", "--grace", "soon"]).err;
    assert!(error.contains("is no grace"), "{error}");
}

/// Games whose sessions outlive a node.
const GAMES: [&str; 3] = ["echo-replicated", "echo-consistent", "echo-durable"];
/// So many of each.
const EACH: usize = 8;

/// How long a node stands still, or is cut off: longer than a promotion takes.
const FAULT: Duration = Duration::from_millis(1500);
const LAN: Quality = Quality { delay: Duration::from_millis(1), loss_permille: 0 };

/// Three nodes, and matches on the second, all played; it is being drained.
async fn drained_while_played(network: Option<Network>) -> (Cluster, Vec<Match>) {
    let is_cut = network.is_some();
    let cluster = Cluster::start_at_rest(network, 3).await;
    let mut matches = Vec::new();
    for game in GAMES {
        cluster.node(1).push(game);
    }
    for (number, game) in GAMES.into_iter().cycle().take(GAMES.len() * EACH).enumerate() {
        let (key, session) = (format!("m{number}"), format!("{game}/m{number}"));
        cluster.node(1).ringside(&["session", "create", game, "--key", &key, "--node", "2"]).succeeded();
        let mut player = crate::durable::player(&cluster, &format!("in-{key}"), &session).await;
        // Where both sides of a cut may go on, one of them is withdrawn.
        player.may_fork = is_cut && game == "echo-replicated";
        matches.push(Match::play(player, 5, Duration::from_millis(20)));
        // One whose leader dies before anybody follows it is lost, or comes back with its node.
        led_and_followed(&cluster, 1, &session).await;
    }
    cluster.node(1).ringside(&["node", "drain", "2", "--grace", "1h", "--no-wait"]).succeeded();
    (cluster, matches)
}

/// Each goes on, once. Their players.
async fn go_on(cluster: &Cluster, matches: Vec<Match>) -> Vec<Player> {
    for one in &matches {
        one.goes_on(20).await;
    }
    cluster.agreed().await;
    let places = cluster.directories_agree().await;
    assert_eq!(places.len(), matches.len(), "{places:?}");
    let mut players = Vec::new();
    for one in matches {
        players.push(one.end().await);
    }
    players
}

#[tokio::test(flavor = "multi_thread")]
async fn players_of_a_drained_node_go_on_while_their_matches_leave_and_no_connection_is_lost() {
    let (mut cluster, matches) = drained_while_played(None).await;
    let status = tokio::task::block_in_place(|| cluster.take(2).wait_for_end());
    assert!(status.success(), "{status}");
    for player in go_on(&cluster, matches).await {
        assert_eq!((player.disconnected, player.rewound), (0, 0), "{:?}", player.attachment());
    }
}

/// It has not left yet: some of its matches are there, and others are not, unless this machine stood still.
async fn is_leaving(cluster: &Cluster) {
    tokio::task::block_in_place(|| cluster.node(2).logged("the session is led by another worker"));
}

/// What it had is elsewhere when it has its way again, or leaves then.
async fn leaves_in_the_end(mut cluster: Cluster, matches: Vec<Match>) {
    for one in &matches {
        one.goes_on(20).await;
    }
    let status = tokio::task::block_in_place(|| cluster.take(2).wait_for_end());
    assert!(status.success(), "{status}");
    go_on(&cluster, matches).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_stands_still_while_it_gives_its_matches_away_and_they_go_on() {
    let (cluster, matches) = drained_while_played(None).await;
    is_leaving(&cluster).await;
    cluster.node(2).signal("-STOP");
    tokio::time::sleep(FAULT).await;
    cluster.node(2).signal("-CONT");
    leaves_in_the_end(cluster, matches).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_is_cut_off_while_it_gives_its_matches_away_and_they_go_on() {
    let network = ringside_test_support::network!(3, LAN);
    let (cluster, matches) = drained_while_played(Some(network)).await;
    is_leaving(&cluster).await;
    cluster.network().set_cut(Cut::Host(2), true);
    tokio::time::sleep(FAULT).await;
    cluster.network().set_cut(Cut::Host(2), false);
    leaves_in_the_end(cluster, matches).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_is_killed_while_it_gives_its_matches_away_and_they_go_on() {
    let (mut cluster, matches) = drained_while_played(None).await;
    is_leaving(&cluster).await;
    cluster.take(2).kill();
    go_on(&cluster, matches).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_killed_while_it_takes_the_matches_of_a_drained_one_and_they_go_on() {
    let (mut cluster, matches) = drained_while_played(None).await;
    cluster.node(3).logged("the session is led here from now on");
    cluster.take(3).kill();
    for one in &matches {
        one.goes_on(20).await;
    }
    // What it had goes to who is left, and so does the rest.
    let status = cluster.take(2).wait_for_end();
    assert!(status.success(), "{status}");
    go_on(&cluster, matches).await;
}
