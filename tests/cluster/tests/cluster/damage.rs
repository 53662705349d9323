//! An object of a durable session is damaged in the store while no node runs: it is named, and nothing else is lost.

use ringside_client::Event;
use ringside_core::durable::object::{Content, Item, Object};
use ringside_core::ids::SessionId;
use ringside_test_support::cluster::Cluster;
use ringside_test_support::skip;
use ringside_test_support::wait::{until, within};

use crate::durable::{kill_all, player, show, start_again};
use crate::player::Player;
use crate::store::Store;

#[derive(Clone, Copy)]
enum Damage {
    Truncated,
    Flipped,
    Missing,
}

impl Damage {
    fn apply(self, mut bytes: Vec<u8>) -> Option<Vec<u8>> {
        let middle = bytes.len() / 2;
        match self {
            Damage::Truncated => bytes.truncate(middle),
            Damage::Flipped => bytes[middle] ^= 1,
            Damage::Missing => return None,
        }
        Some(bytes)
    }

    /// What is said of it.
    fn words(self) -> &'static str {
        match self {
            Damage::Truncated => "bytes, it has",
            Damage::Flipped => "checksum",
            Damage::Missing => "it is missing",
        }
    }
}

fn items(bytes: &[u8]) -> Vec<Item> {
    match Object::decode(bytes).expect("a whole object").content {
        Content::Items(items) => items,
        Content::Seal { .. } => Vec::new(),
    }
}

/// Whether there are entries of this session, and no other's.
fn is_of(bytes: &[u8], session: &SessionId) -> bool {
    let items = items(bytes);
    let of = |item: &Item| match item {
        Item::Entries { session, .. } => Some(session.clone()),
        Item::Checkpoint(checkpoint) | Item::Increment { checkpoint, .. } => Some(checkpoint.session.clone()),
        Item::Roster(_) | Item::Opened(_) | Item::Closed { .. } => None,
    };
    let is_of_it = |item: &Item| matches!(item, Item::Entries { session: it, .. } if it == session);
    items.iter().any(is_of_it) && items.iter().filter_map(of).all(|it| it == *session)
}

/// A player has a session of a node's, and has said something.
async fn begin(cluster: &Cluster, node: &str, key: &str) -> (SessionId, Player) {
    let created = ["session", "create", "echo-durable", "--key", key, "--node", node, "--json"];
    let created = cluster.node(1).ringside(&created).json();
    let mut player = player(cluster, &format!("in-{key}"), &format!("echo-durable/{key}")).await;
    player.exchange(30).await;
    (created["session"].as_str().expect("a session").parse().expect("a name"), player)
}

async fn is_named_and_no_more_is_lost(store: Store, damage: Damage) {
    let mut cluster = match store.cluster(2).await {
        Ok(cluster) => cluster,
        Err(why) => skip!("{why}"),
    };
    cluster.node(1).push("echo-durable");
    cluster.agreed().await;
    let (victim, mut ada) = begin(&cluster, "1", "victim").await;
    let mut others = Vec::new();
    for (node, key) in [("1", "beside"), ("1", "before"), ("2", "elsewhere")] {
        others.push(begin(&cluster, node, key).await.1);
    }
    // From here on a checkpoint is far: what comes now is in the log alone.
    let name = victim.to_string();
    let safe = until("a checkpoint", async || {
        let shown = show(cluster.node(1), &name)?;
        let replication = &shown["detail"]["replication"];
        let (checkpoint, stored) = (replication["checkpoint"].as_u64()?, replication["stored"].as_u64()?);
        (replication["position"] == checkpoint && stored == checkpoint).then_some(checkpoint)
    })
    .await;
    ada.exchange(10).await;
    // What comes after it shows that there was something before.
    others[0].exchange(5).await;
    let places = kill_all(&mut cluster);
    let objects = store.objects(&cluster, "logs");
    let of_it = objects.iter().rev().find(|(_, bytes)| is_of(bytes, &victim));
    let (damaged, bytes) = of_it.cloned().expect("an object of its own");
    store.replace(&cluster, &damaged, damage.apply(bytes).as_deref());
    start_again(&mut cluster, &places);

    let number = damaged.rsplit('/').next().expect("a number").trim_start_matches('0');
    let named = cluster.node(1).logged(&format!("object {number} of the log of node 1"));
    assert!(named.contains(damage.words()), "{named}");
    for player in &mut others {
        player.exchange(30).await;
    }
    let shown = until("the session of which it was a part", async || show(cluster.node(1), &name)).await;
    let position = shown["detail"]["replication"]["position"].as_u64().expect("a position");
    assert!(position >= safe, "what came before is there: {position} of {safe}");
    let told = loop {
        match within("the player to be told", ada.client.next()).await.expect("the session goes on") {
            Event::Rewound { lost_messages, .. } => break lost_messages,
            event => assert!(!event.is_last(), "{event:?}"),
        }
    };
    assert!((1..=10).contains(&told), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_object_is_named_and_no_more_than_it_is_lost() {
    is_named_and_no_more_is_lost(Store::Directory, Damage::Truncated).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_with_a_flipped_bit_is_named_and_no_more_than_it_is_lost() {
    is_named_and_no_more_is_lost(Store::Directory, Damage::Flipped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_object_is_named_and_no_more_than_it_is_lost() {
    is_named_and_no_more_is_lost(Store::Directory, Damage::Missing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_object_of_a_bucket_is_named_and_no_more_than_it_is_lost() {
    is_named_and_no_more_is_lost(Store::Bucket, Damage::Truncated).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_a_bucket_with_a_flipped_bit_is_named_and_no_more_than_it_is_lost() {
    is_named_and_no_more_is_lost(Store::Bucket, Damage::Flipped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_object_of_a_bucket_is_named_and_no_more_than_it_is_lost() {
    is_named_and_no_more_is_lost(Store::Bucket, Damage::Missing).await;
}

/// Who leads it cannot be known then, so nobody does: whoever might would be the second. The operator is told which object it
/// is; when that is there again nothing was lost.
async fn a_leadership_record_is_named_and_waited_for(store: Store, damage: Damage) {
    let mut cluster = match store.cluster(1).await {
        Ok(cluster) => cluster,
        Err(why) => skip!("{why}"),
    };
    cluster.node(1).push("echo-durable");
    let (victim, mut ada) = begin(&cluster, "1", "victim").await;
    let (_, mut beside) = begin(&cluster, "1", "beside").await;
    // Each run has made a record.
    let places = kill_all(&mut cluster);
    start_again(&mut cluster, &places);
    ada.exchange(30).await;
    let places = kill_all(&mut cluster);
    let below = format!("records/echo-durable/victim/{:016x}", victim.incarnation.0);
    let (damaged, bytes) = store.objects(&cluster, &below).pop().expect("its newest record");
    store.replace(&cluster, &damaged, damage.apply(bytes.clone()).as_deref());
    start_again(&mut cluster, &places);

    let node = cluster.node(1);
    let named = node.logged(&format!("{below}/"));
    assert!(named.contains(damage.words()) && named.contains(damaged.rsplit('/').next().expect("a number")), "{named}");
    beside.exchange(30).await;
    assert!(show(node, &victim.to_string()).is_none(), "nobody leads it");
    // The key is its own: there is no other session of it meanwhile.
    let other = node.ringside(&["session", "create", "echo-durable", "--key", "victim", "--json"]);
    assert_ne!(other.code, Some(0), "{other:#?}");
    store.replace(&cluster, &damaged, Some(&bytes));
    ada.exchange(30).await;
    assert_eq!(ada.rewound, 0, "nothing was lost");
    assert!(show(node, &victim.to_string()).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_leadership_record_is_named_and_its_session_goes_on_when_it_is_mended() {
    a_leadership_record_is_named_and_waited_for(Store::Directory, Damage::Truncated).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_leadership_record_is_named_and_its_session_goes_on_when_it_is_there_again() {
    a_leadership_record_is_named_and_waited_for(Store::Directory, Damage::Missing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leadership_record_of_a_bucket_with_a_flipped_bit_is_named_and_its_session_goes_on_when_it_is_mended() {
    a_leadership_record_is_named_and_waited_for(Store::Bucket, Damage::Flipped).await;
}
