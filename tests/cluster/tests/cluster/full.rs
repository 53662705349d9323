//! A disk without room: what is durable waits and says so, the rest goes on, and all of it does when there is room again,
//! but for recordings: they end.

use ringside_test_support::cluster::Cluster;
use ringside_test_support::disk::Disk;
use ringside_test_support::wait::until;

use crate::durable::{kill_all, player, show, start_again};
use crate::failover::create;
use crate::recordings::replayed;

/// Room for modules, a few records and what is played here.
const BYTES: u64 = 8 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_durable_waits_for_room_in_the_store() {
    let mut cluster = Cluster::start(0).await;
    let disk = ringside_test_support::disk!(&cluster.store(), BYTES);
    cluster.begin(1, &[]);
    waits_for_room(cluster, disk).await;
}

/// Its store is in its data directory, as where nobody says otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_durable_waits_for_room_in_the_nodes_own_directory() {
    let mut cluster = Cluster::start_with(0, false).await;
    let disk = ringside_test_support::disk!(&cluster.state_of(1), BYTES);
    cluster.begin(1, &[]);
    waits_for_room(cluster, disk).await;
}

async fn waits_for_room(mut cluster: Cluster, disk: Disk) {
    cluster.agreed().await;
    for game in ["echo-durable", "echo"] {
        cluster.node(1).push(game);
    }
    let session = create(cluster.node(1), "echo-durable", "final");
    let mut ada = player(&cluster, "ada", "echo-durable/final").await;
    let mut bob = player(&cluster, "bob", "echo/any").await;
    ada.exchange(10).await;
    disk.fill();
    ada.send();
    // The operator is told why, and what that means.
    cluster.node(1).logged("No space left on device");
    cluster.node(1).logged("the store does not take the log");
    let before = show(cluster.node(1), &session).expect("it is live")["detail"]["replication"]["stored"].clone();
    bob.exchange(50).await;
    assert_eq!(cluster.node(1).metric("ringside_log_store_away"), 1);
    // Whoever wants what needs room is told, and nobody else notices.
    let module = ringside_test_support::guests::module_path("pong");
    cluster.node(1).ringside(&["push", &module.to_string_lossy()]).failed();
    create(cluster.node(1), "echo", "another");
    let shown = show(cluster.node(1), &session).expect("it is live");
    let replication = &shown["detail"]["replication"];
    assert_eq!(replication["stored"], before, "{shown:#}");
    assert!(replication["position"].as_u64() > before.as_u64(), "it goes on, and waits: {shown:#}");
    disk.make_room();
    ada.exchange(10).await;
    cluster.node(1).logged("the store takes the log again");
    until("all of it to be said", async || (cluster.node(1).metric("ringside_log_store_away") == 0).then_some(()))
        .await;
    cluster.node(1).push("pong");
    let places = kill_all(&mut cluster);
    start_again(&mut cluster, &places);
    ada.exchange(10).await;
    drop(cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_ends_where_its_store_is_full_and_says_so_and_the_match_goes_on() {
    let mut cluster = Cluster::start(0).await;
    let disk = ringside_test_support::disk!(&cluster.store(), BYTES);
    cluster.begin(1, &[]);
    cluster.agreed().await;
    cluster.node(1).push("echo");
    let create = ["session", "create", "echo", "--key", "final", "--record", "--json"];
    let created = cluster.node(1).ringside(&create).json();
    let session = created["session"].as_str().expect("a session").to_owned();
    let mut ada = player(&cluster, "ada", "echo/final").await;
    ada.exchange(50).await;
    // What was asked for is in the store.
    let before = replayed(&cluster, 1, &session);
    disk.fill();
    ada.exchange(50).await;
    let told = cluster.node(1).logged("the recording ends here");
    assert!(told.contains(&session) && told.contains("No space left on device"), "the operator is told why: {told}");
    ada.exchange(50).await;
    let shown = show(cluster.node(1), &session).expect("it is live");
    let why = shown["detail"]["recording_ended"].as_str().expect("a reason");
    assert!(why.contains("No space left on device"), "{why}");
    let text = cluster.node(1).ringside(&["session", "show", &session]).succeeded();
    assert!(text.contains("no longer: the store does not take segment"), "{text}");
    disk.make_room();
    ada.exchange(50).await;
    // Nothing is written behind what is missing, and a replay says that something is.
    cluster.node(1).ringside(&["session", "end", &session]).succeeded();
    let after = replayed(&cluster, 1, &session);
    assert_eq!(after["records"], before["records"], "{after:#}");
    let incomplete = after["incomplete"].as_str().expect("it is not whole");
    assert!(incomplete.contains("without an end marker"), "{incomplete}");
    assert!(cluster.take(1).stop().0.success());
}
