//! What nobody needs any more leaves the store, and what goes on needs none of it.

use std::collections::BTreeMap;

use ringside_core::durable::LogName;
use ringside_core::ids::NodeId;
use ringside_test_support::cluster::Cluster;
use ringside_test_support::skip;
use ringside_test_support::wait::until;

use crate::durable::{kill_all, player, show, start_again};
use crate::failover::create;
use crate::store::Store;

/// How many objects each log has that is not written any more: all but the newest of each node.
fn former_logs(store: Store, cluster: &Cluster) -> BTreeMap<LogName, u64> {
    let mut logs = store.logs(cluster);
    let newest: BTreeMap<NodeId, LogName> = logs.keys().map(|log| (log.run.id, *log)).collect();
    logs.retain(|log, _| newest[&log.run.id] != *log);
    logs
}

async fn is_cleared(store: Store) {
    let mut cluster = match store.cluster(2).await {
        Ok(cluster) => cluster,
        Err(why) => skip!("{why}"),
    };
    cluster.node(1).push("echo-durable");
    cluster.agreed().await;
    let mut players = Vec::new();
    for number in 0..4 {
        let session = create(cluster.node(1), "echo-durable", &format!("long-{number}"));
        let mut player = player(&cluster, &format!("in-{number}"), &format!("echo-durable/long-{number}")).await;
        player.exchange(30).await;
        players.push((session, player));
    }
    let over = create(cluster.node(1), "echo-durable", "short");
    cluster.node(1).ringside(&["session", "end", "echo-durable/short"]).succeeded();
    until("its end", async || show(cluster.node(1), &over).is_none().then_some(())).await;
    for _ in 0..3 {
        let places = kill_all(&mut cluster);
        start_again(&mut cluster, &places);
        for (_, player) in &mut players {
            player.exchange(30).await;
        }
    }
    let former = former_logs(store, &cluster);
    assert!(former.len() >= 3, "{former:?}");
    // The seal, and what says that nobody needs what was before it.
    until("logs of runs that are over to go", async || {
        former_logs(store, &cluster).values().all(|objects| *objects == 2).then_some(())
    })
    .await;
    let places = kill_all(&mut cluster);
    start_again(&mut cluster, &places);
    for (session, player) in &mut players {
        player.exchange(30).await;
        let name = session.replace('@', "/");
        let records = store.names(&cluster, &format!("records/{name}"));
        let newest = records.last().and_then(|last| last.rsplit('/').next()?.parse::<u64>().ok());
        assert!(newest > Some(4), "each run has made some: {records:?}");
        assert!(records.len() <= 3, "the first, the newest, and the one before it: {records:?}");
    }
    assert!(show(cluster.node(1), &over).is_none(), "it does not come back");
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_and_records_that_nobody_needs_leave_a_directory() {
    is_cleared(Store::Directory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_and_records_that_nobody_needs_leave_a_bucket() {
    is_cleared(Store::Bucket).await;
}
