//! A node that others believe to be gone, and that is not: its log is sealed, it begins another, and what is durable goes on.

use ringside_core::durable::recovery;
use ringside_core::ids::{Node as Run, NodeId};
use ringside_test_support::cluster::Cluster;
use ringside_test_support::network::Quality;
use ringside_test_support::node::Node;
use ringside_test_support::skip;
use ringside_test_support::wait::until;

use crate::durable::{kill_all, player, show, start_again};
use crate::failover::{create, last_change};
use crate::faults::Scene;
use crate::partitions::cut_off;
use crate::player::Player;
use crate::store::Store;

const LAN: Quality = Quality { delay: std::time::Duration::from_millis(1), loss_permille: 0 };

/// Logs that a node has found to be sealed.
fn seals(node: &Node) -> u64 {
    node.metric("ringside_log_seals_total")
}

/// Seals the newest log of the only node of a cluster, as another would that does not see it: whoever writes next finds it.
fn seal(store: Store, cluster: &Cluster) {
    let (log, objects) = store.logs(cluster).pop_last().expect("a log");
    let by = Run { id: NodeId(99), generation: 1 };
    // What is made meanwhile stays.
    let sealed = (log.first + objects..).find(|number| {
        let name = store.name(cluster, &format!("logs/{log}/{number:012}"));
        store.create(cluster, &name, &recovery::seal(log.run, *number, 7, by))
    });
    assert!(sealed.is_some());
}

/// Nobody takes over what it leads: it goes on there, in an epoch that began after the seal, as often as that happens; and
/// all of it is in what a later run recovers.
async fn goes_on_with_what_nobody_has_taken(store: Store) {
    let mut cluster = match store.cluster(1).await {
        Ok(cluster) => cluster,
        Err(why) => skip!("{why}"),
    };
    for game in ["echo-durable", "echo"] {
        cluster.node(1).push(game);
    }
    let session = create(cluster.node(1), "echo-durable", "final");
    let others = ["quiet", "late"].map(|key| create(cluster.node(1), "echo-durable", key));
    create(cluster.node(1), "echo", "volatile");
    let mut ada = player(&cluster, "ada", "echo-durable/final").await;
    let mut bob = player(&cluster, "bob", "echo/volatile").await;
    for round in 1..=2 {
        ada.exchange(30).await;
        seal(store, &cluster);
        ada.exchange(30).await;
        bob.exchange(30).await;
        assert_eq!(seals(cluster.node(1)), round);
        assert_eq!(store.logs(&cluster).len() as u64, round + 1);
        for session in others.iter().chain([&session]) {
            let shown = until("an epoch of after the seal", async || {
                let shown = show(cluster.node(1), session)?;
                (shown["detail"]["replication"]["epoch"]["number"] == round + 1).then_some(shown)
            })
            .await;
            assert_eq!(last_change(&shown["detail"]["replication"])["cause"], "raised", "{shown:#}");
        }
    }
    assert_eq!((ada.disconnected, bob.disconnected), (0, 0), "nobody has noticed");
    // What begins after that is kept, too.
    let new = create(cluster.node(1), "echo-durable", "new");
    let mut cat = player(&cluster, "cat", "echo-durable/new").await;
    let mut dan = player(&cluster, "dan", "echo-durable/late").await;
    cat.exchange(30).await;
    dan.exchange(30).await;
    let places = kill_all(&mut cluster);
    start_again(&mut cluster, &places);
    for player in [&mut ada, &mut cat, &mut dan] {
        player.exchange(30).await;
    }
    for session in others.iter().chain([&session, &new]) {
        until("each of them", async || show(cluster.node(1), session)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_log_was_sealed_goes_on_with_what_nobody_has_taken() {
    goes_on_with_what_nobody_has_taken(Store::Directory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_log_in_a_bucket_was_sealed_goes_on_with_what_nobody_has_taken() {
    goes_on_with_what_nobody_has_taken(Store::Bucket).await;
}

/// Others take over what it leads; when it is back sessions may go there again, and are safe there.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_cut_off_for_long_is_as_good_as_any_when_it_is_back() {
    let network = ringside_test_support::network!(3, LAN);
    let mut scene = Scene::begin(Cluster::start_at_rest(Some(network), 3).await, "echo-durable").await;
    let leader = scene.leader;
    cut_off(&scene.cluster, leader, true);
    scene.play().await;
    // It believes that it is alone, and whoever reaches no other node may play there.
    let alone = until("a session of its own", async || {
        let made =
            scene.cluster.node(leader).ringside(&["session", "create", "echo-durable", "--key", "alone", "--json"]);
        (made.code == Some(0)).then(|| made.json())
    })
    .await;
    let alone = alone["session"].as_str().expect("a session").to_owned();
    let mut eve = Player::join(scene.cluster.node(leader), "eve", "echo-durable/alone").await;
    eve.exchange(20).await;
    let taken = scene.cluster.nodes().filter(|(number, _)| *number != leader);
    let taken: Vec<u64> = taken.map(|(number, _)| number).collect();
    until("the others to take it over", async || {
        taken.iter().any(|number| show(scene.cluster.node(*number), &alone).is_some()).then_some(())
    })
    .await;
    // What is said there now is stored nowhere: it waits.
    eve.send();
    until("it to find its log sealed", async || (seals(scene.cluster.node(leader)) > 0).then_some(())).await;
    cut_off(&scene.cluster, leader, false);
    scene.cluster.agreed().await;
    scene.cluster.directories_agree().await;
    scene.play().await;
    eve.exchange(20).await;
    // Back to where it was, and another is begun there.
    for name in [&*scene.name, "echo-durable/alone"] {
        let back = leader.to_string();
        scene.cluster.node(leader).ringside(&["session", "move", name, "--to", &back]).succeeded();
    }
    scene.play().await;
    eve.exchange(20).await;
    let shown = show(scene.cluster.node(leader), &scene.session).expect("it is shown");
    assert_eq!(shown["node"], leader.to_string(), "{shown:#}");
    for number in 0..6 {
        create(scene.cluster.node(leader), "echo-durable", &format!("later-{number}"));
    }
    let places = kill_all(&mut scene.cluster);
    start_again(&mut scene.cluster, &places);
    scene.play().await;
    eve.exchange(20).await;
    for key in (0..6).map(|number| format!("later-{number}")).chain(["alone".to_owned()]) {
        until("each of them", async || show(scene.cluster.node(leader), &format!("echo-durable/{key}"))).await;
    }
}
