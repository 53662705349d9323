//! Sessions that nobody has anything to do with are in the store, and go on when somebody asks for them or a timer of them
//! is due, wherever.

use std::path::{Path, PathBuf};

use ringside_client::{Client, Event, Options, Trust};
use ringside_test_support::cluster::Cluster;
use ringside_test_support::node::Node;
use ringside_test_support::skip;
use ringside_test_support::wait::{until, within};
use serde_json::Value;

use crate::failover::led_and_followed;
use crate::player::options;
use crate::store::Store;

/// A cluster whose sessions are idle after a second.
async fn cluster(count: u64, more: &[&str]) -> Cluster {
    start(Cluster::start(0).await, count, more).await
}

async fn start(mut cluster: Cluster, count: u64, more: &[&str]) -> Cluster {
    let arguments = [&["--idle-after-s", "1"], more].concat();
    cluster.begin(1, &arguments);
    for number in 2..=count {
        cluster.add(number, &arguments);
    }
    cluster.agreed().await;
    cluster
}

fn create(node: &Node, game: &str, key: &str) -> String {
    try_create(node, game, key).expect("a session")
}

fn try_create(node: &Node, game: &str, key: &str) -> Option<String> {
    let answer = node.ringside(&["session", "create", game, "--key", key, "--private", "--json"]);
    (answer.code == Some(0)).then(|| answer.json()["session"].as_str().expect("a name").to_owned())
}

/// Sits down in a tally for what it is told, and leaves.
pub async fn visit(node: &Node, target: &str, says: &[&str]) -> Vec<String> {
    let trust = Trust::CertificateSha256(vec![node.certificate()]);
    let options = Options::new([node.address()], trust, node.token("ada"), target).expect("a target");
    let client = within("the player to be attached", Client::connect(options)).await;
    let mut client = client.unwrap_or_else(|error| panic!("not let in to {target}: {error}"));
    let mut answers = Vec::new();
    for text in says {
        let body = postcard::to_stdvec(&(*text).to_owned()).expect("plain text");
        client.send(body).expect("room for a message");
    }
    while answers.len() < says.len() {
        match within("an answer", client.next()).await.expect("the session goes on") {
            Event::Message { body, .. } => answers.push(postcard::from_bytes(&body).expect("text")),
            event => assert!(!event.is_last(), "{event:?}"),
        }
    }
    within("the player to have left", client.leave()).await;
    answers
}

fn shown(node: &Node, session: &str) -> Option<Value> {
    let answer = node.ringside(&["session", "show", session, "--json"]);
    (answer.code == Some(0)).then(|| answer.json())
}

async fn evicted(node: &Node, session: &str) -> Value {
    until("the session to be in the store", async || shown(node, session).filter(|shown| shown["state"] == "evicted"))
        .await
}

/// A tally whose sum is 3 is in the store: which.
async fn asleep(node: &Node, game: &str) -> String {
    node.push(game);
    let (session, target) = (create(node, game, "north"), format!("{game}/north"));
    visit(node, &target, &["add 3"]).await;
    evicted(node, &target).await;
    session
}

fn list(node: &Node, which: &[&str]) -> String {
    node.ringside(&[&["session", "list"], which].concat()).succeeded()
}

async fn is_in_the_store_and_goes_on(store: Store) {
    let cluster = match store.cluster(0).await {
        Ok(cluster) => start(cluster, 1, &[]).await,
        Err(why) => skip!("{why}"),
    };
    let node = cluster.node(1);
    node.push("tally");
    let session = create(node, "tally", "north");
    assert_eq!(visit(node, "tally/north", &["add 3"]).await, ["sum 3, rang 0, told 0"]);
    let asleep = evicted(node, "tally/north").await;
    assert_eq!(asleep["session"], *session, "{asleep:#}");
    assert!(list(node, &["--evicted"]).contains(&session), "{}", list(node, &["--evicted"]));
    assert!(!list(node, &[]).contains("tally/north"), "{}", list(node, &[]));
    assert_eq!(node.metric("ringside_sessions"), 0);
    for time in 1..=3 {
        assert_eq!(visit(node, "tally/north", &["add 1"]).await, [format!("sum {}, rang 0, told 0", 3 + time)]);
        evicted(node, "tally/north").await;
    }
    assert!(node.metric("ringside_evictions_total") >= 4 && node.metric("ringside_activations_total") >= 3);
    // Creating it again finds it.
    assert_eq!(create(node, "tally", "north"), session);
    assert_eq!(visit(node, "tally/north", &["add 0"]).await, ["sum 6, rang 0, told 0"]);
    // An end reaches it where it is, and then the key is free.
    evicted(node, "tally/north").await;
    node.ringside(&["session", "end", "tally/north"]).succeeded();
    let states = format!("evicted/tally/north/{}", session.split('@').nth(1).expect("an incarnation"));
    until("nothing of it to be left", async || store.names(&cluster, &states).is_empty().then_some(())).await;
    let again = create(node, "tally", "north");
    assert_ne!(again, session);
    assert_eq!(visit(node, "tally/north", &["add 0"]).await, ["sum 0, rang 0, told 0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_session_is_in_the_store_and_goes_on_when_a_player_comes() {
    is_in_the_store_and_goes_on(Store::Directory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_session_is_in_a_bucket_and_goes_on_when_a_player_comes() {
    is_in_the_store_and_goes_on(Store::Bucket).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_of_a_session_in_the_store_fires_when_it_is_due_and_once() {
    let cluster = cluster(1, &[]).await;
    let node = cluster.node(1);
    node.push("tally");
    create(node, "tally", "north");
    assert_eq!(visit(node, "tally/north", &["ring 7", "add 2"]).await.len(), 2);
    let asleep = evicted(node, "tally/north").await;
    assert!(asleep["timer_in_s"].as_u64().is_some_and(|seconds| seconds <= 7), "{asleep:#}");
    until("it to be led for its timer", async || shown(node, "tally/north").filter(|it| it["state"] == "live")).await;
    let asleep = evicted(node, "tally/north").await;
    assert_eq!(asleep["timer_in_s"], Value::Null, "{asleep:#}");
    assert_eq!(visit(node, "tally/north", &["add 0"]).await, ["sum 2, rang 1, told 0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_each_tier_go_on_at_another_node_when_theirs_is_gone_and_when_all_are() {
    let games = ["tally", "tally-replicated", "tally-durable"];
    let mut cluster = cluster(3, &[]).await;
    for game in games {
        cluster.node(1).push(game);
    }
    cluster.agreed().await;
    let mut nodes = Vec::new();
    for game in games {
        create(cluster.node(1), game, "north");
        visit(cluster.node(2), &format!("{game}/north"), &["add 3"]).await;
    }
    for game in games {
        let asleep = evicted(cluster.node(1), &format!("{game}/north")).await;
        nodes.push(asleep["node"].as_str().and_then(|node| node.parse::<u64>().ok()).expect("a node"));
    }
    // Nobody follows them either.
    until("nobody to follow them", async || {
        let followed = cluster.nodes().map(|(_, node)| node.metric("ringside_sessions_followed")).sum::<u64>();
        (followed == 0).then_some(())
    })
    .await;
    let victim = nodes[1];
    cluster.take(victim).kill();
    let other = (1..=3).find(|number| *number != victim).expect("another");
    for game in games {
        let said = visit(cluster.node(other), &format!("{game}/north"), &["add 4"]).await;
        assert_eq!(said, ["sum 7, rang 0, told 0"], "{game}");
    }
    for game in games {
        evicted(cluster.node(other), &format!("{game}/north")).await;
    }
    let rest: Vec<u64> = cluster.nodes().map(|(number, _)| number).collect();
    for number in rest {
        cluster.take(number).kill();
    }
    cluster.begin(4, &["--idle-after-s", "1"]);
    for game in games {
        let said = visit(cluster.node(4), &format!("{game}/north"), &["add 5"]).await;
        assert_eq!(said, ["sum 12, rang 0, told 0"], "{game}");
    }
}

/// What was acknowledged after it went on is in the log of the run that went on with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_durable_session_that_went_on_loses_nothing_with_its_node() {
    let mut cluster = cluster(1, &[]).await;
    let session = asleep(cluster.node(1), "tally-durable").await;
    for (time, sum) in (1..=3).zip([13, 23, 33]) {
        let said = visit(cluster.node(1), "tally-durable/north", &["add 10"]).await;
        assert_eq!(said, [format!("sum {sum}, rang 0, told 0")]);
        // Sooner or later than it is idle.
        if time == 2 {
            evicted(cluster.node(1), &session).await;
        }
        cluster.take(1).kill();
        cluster.begin(1, &["--idle-after-s", "1"]);
    }
    assert_eq!(visit(cluster.node(1), "tally-durable/north", &["add 0"]).await, ["sum 33, rang 0, told 0"]);
}

/// Nothing of the run that went on with it was stored but its record: no log names it.
#[tokio::test(flavor = "multi_thread")]
async fn a_durable_session_whose_node_left_nothing_but_its_record_goes_on_from_the_store_when_it_is_asked_for() {
    let mut cluster = cluster(1, &[]).await;
    let session = asleep(cluster.node(1), "tally-durable").await;
    visit(cluster.node(1), "tally-durable/north", &["add 10"]).await;
    cluster.take(1).kill();
    std::fs::remove_dir_all(cluster.store().join("logs")).expect("logs");
    cluster.begin(1, &["--idle-after-s", "1"]);
    let target = "tally-durable/north";
    assert_eq!(visit(cluster.node(1), target, &["add 0"]).await, ["sum 3, rang 0, told 0"]);
    assert_eq!(shown(cluster.node(1), target).expect("it is shown")["session"], *session);
}

/// A version that ticks has none itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_in_the_store_goes_on_though_the_games_next_version_ticks() {
    let cluster = cluster(1, &[]).await;
    let node = cluster.node(1);
    let session = asleep(node, "tally").await;
    node.push("tally-ticking");
    assert_eq!(create(node, "tally", "north"), session);
    assert_eq!(visit(node, "tally/north", &["add 1"]).await, ["sum 4, rang 0, told 0"]);
    evicted(node, "tally/north").await;
    // Where it is only asked for, too.
    assert_eq!(visit(node, "tally/north", &["add 1"]).await, ["sum 5, rang 0, told 0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_addresses_far_more_sessions_than_it_has_room_for() {
    const ROOM: usize = 6;
    const SESSIONS: usize = 40;
    let cluster = cluster(1, &["--sessions", "6"]).await;
    let node = cluster.node(1);
    node.push("tally");
    for number in 0..SESSIONS {
        let (key, name) = (format!("k{number}"), format!("tally/k{number}"));
        until("room for another", async || try_create(node, "tally", &key)).await;
        visit(node, &name, &[&format!("add {number}")]).await;
        assert!(node.metric("ringside_sessions") <= ROOM as u64);
    }
    until("most of them to be in the store", async || {
        (list(node, &["--evicted"]).lines().filter(|line| line.starts_with("tally/k")).count() == SESSIONS)
            .then_some(())
    })
    .await;
    for number in (0..SESSIONS).step_by(7).chain([1, SESSIONS - 1]) {
        let said = visit(node, &format!("tally/k{number}"), &["add 0"]).await;
        assert_eq!(said, [format!("sum {number}, rang 0, told 0")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_reaches_a_session_in_the_store() {
    let cluster = cluster(2, &[]).await;
    cluster.node(1).push("tally");
    cluster.agreed().await;
    for key in ["north", "south"] {
        create(cluster.node(1), "tally", key);
    }
    evicted(cluster.node(2), "tally/south").await;
    visit(cluster.node(1), "tally/north", &["tell tally/south 5"]).await;
    until("the signal to have come", async || {
        (visit(cluster.node(2), "tally/south", &["add 0"]).await == ["sum 5, rang 0, told 1"]).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_evicted_says_why_and_what_is_damaged_is_named() {
    let cluster = cluster(1, &[]).await;
    let node = cluster.node(1);
    node.push("tally");
    node.push("pong");
    create(node, "pong", "ticks");
    let refused = node.ringside(&["session", "evict", "pong/ticks"]).failed();
    assert!(refused.contains("its game ticks"), "{refused}");
    let refused = node.ringside(&["session", "evict", "tally/nowhere"]).failed();
    assert!(refused.contains("tally/nowhere"), "{refused}");
    let session = create(node, "tally", "north");
    let said = node.ringside(&["session", "evict", "tally/north"]).succeeded();
    assert!(said.contains(&session) && said.contains("in the store"), "{said}");
    // Once more changes nothing.
    node.ringside(&["session", "evict", "tally/north"]).succeeded();
    let object = only_file(&cluster.store().join("evicted/tally/north"));
    let mut bytes = std::fs::read(&object).expect("the state");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&object, bytes).expect("the state can be written");
    let answer = node.ringside(&["session", "show", "tally/north"]).failed();
    assert!(answer.contains("tally/north"), "{answer}");
    assert_ne!(create(node, "tally", "north"), session, "another has the key");
    let named = node.logged("an evicted session cannot go on");
    assert!(named.contains("checksum"), "{named}");
    let ended = list(node, &["--ended"]);
    assert!(ended.lines().any(|line| line.contains(&session) && line.contains("cannot go on")), "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_away_an_idle_session_stays_in_memory() {
    let cluster = cluster(1, &[]).await;
    let node = cluster.node(1);
    node.push("tally");
    create(node, "tally", "north");
    visit(node, "tally/north", &["add 3"]).await;
    let away = cluster.without_store();
    node.logged("an idle session stays in memory: the store does not take it");
    assert_eq!(visit(node, "tally/north", &["add 4"]).await, ["sum 7, rang 0, told 0"]);
    drop(away);
    evicted(node, "tally/north").await;
    assert_eq!(visit(node, "tally/north", &["add 0"]).await, ["sum 7, rang 0, told 0"]);
}

/// Who comes meanwhile is let in when the store is back, to what was there; nothing is begun in its place.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_while_the_store_is_away_goes_on_when_it_is_back() {
    let cluster = cluster(1, &[]).await;
    let node = cluster.node(1);
    let session = asleep(node, "tally").await;
    let away = cluster.without_store();
    let coming = tokio::spawn(Client::connect(options(node, &node.token("bob"), "tally/north")));
    let said = node.logged("whether tally/north is in the store cannot be said");
    assert!(said.contains("Not a directory"), "{said}");
    assert!(try_create(node, "tally", "north").is_none(), "what is there cannot be seen");
    assert!(!coming.is_finished(), "who comes waits");
    drop(away);
    let client = within("the player to be let in", coming).await.expect("a player").expect("let in");
    assert_eq!(client.attachment().session.to_string(), session);
    within("the player to have left", client.leave()).await;
    assert_eq!(visit(node, "tally/north", &["add 4"]).await, ["sum 7, rang 0, told 0"]);
    assert_eq!(create(node, "tally", "north"), session);
}

/// It leads one session still, as far as it knows; that one and another that slept go on, and sleep again, without it.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_meanwhile_knows_nothing_better_of_what_sleeps() {
    const GAME: &str = "tally-replicated";
    let cluster = cluster(3, &[]).await;
    cluster.node(1).push(GAME);
    cluster.agreed().await;
    let (asleep, awake) = (format!("{GAME}/asleep"), format!("{GAME}/awake"));
    let mut sessions = Vec::new();
    for (key, name) in [("asleep", &asleep), ("awake", &awake)] {
        sessions.push(create(cluster.node(1), GAME, key));
        visit(cluster.node(1), name, &["add 3"]).await;
    }
    evicted(cluster.node(3), &asleep).await;
    // Who sits there keeps it awake.
    let door = cluster.node(1);
    let sitting = within("the player", Client::connect(options(door, &door.token("bob"), &awake))).await;
    let sitting = sitting.expect("let in");
    let (victim, _) = led_and_followed(&cluster, 1, &awake).await;
    let others: Vec<u64> = cluster.nodes().map(|(number, _)| number).filter(|number| *number != victim).collect();
    cluster.node(victim).signal("-STOP");
    drop(sitting);
    cluster.knows_of(others[1], 2).await;
    for name in [&asleep, &awake] {
        assert_eq!(visit(cluster.node(others[0]), name, &["add 4"]).await, ["sum 7, rang 0, told 0"]);
        evicted(cluster.node(others[1]), name).await;
    }
    cluster.node(victim).signal("-CONT");
    cluster.agreed().await;
    for (name, session) in [&asleep, &awake].into_iter().zip(&sessions) {
        assert_eq!(evicted(cluster.node(victim), name).await["session"], **session);
        for number in [victim, 1, 2, 3] {
            let said = visit(cluster.node(number), name, &["add 0"]).await;
            assert_eq!(said, ["sum 7, rang 0, told 0"]);
        }
    }
    let led = cluster.directories_agree().await;
    assert!(led.keys().all(|session| sessions.contains(session)), "{led:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_fires_though_the_node_that_evicted_its_session_is_gone() {
    let mut cluster = cluster(2, &[]).await;
    cluster.node(1).push("tally");
    cluster.agreed().await;
    create(cluster.node(1), "tally", "north");
    visit(cluster.node(1), "tally/north", &["ring 20", "add 2"]).await;
    let asleep = evicted(cluster.node(1), "tally/north").await;
    assert!(asleep["timer_in_s"].as_u64().is_some_and(|seconds| seconds <= 20), "{asleep:#}");
    let home: u64 = asleep["node"].as_str().and_then(|node| node.parse().ok()).expect("a node");
    cluster.take(home).kill();
    let other = cluster.node(3 - home);
    until("it to be led for its timer", async || shown(other, "tally/north").filter(|it| it["state"] == "live")).await;
    let asleep = evicted(other, "tally/north").await;
    assert_eq!(asleep["timer_in_s"], Value::Null, "{asleep:#}");
    assert_eq!(visit(other, "tally/north", &["add 0"]).await, ["sum 2, rang 1, told 0"]);
}

fn only_file(directory: &Path) -> PathBuf {
    let mut path = directory.to_owned();
    while path.is_dir() {
        let entries = std::fs::read_dir(&path).expect("a directory");
        let mut entries: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        assert_eq!(entries.len(), 1, "{entries:?}");
        path = entries.remove(0);
    }
    path
}
