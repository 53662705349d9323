//! The log's task against a store in memory.

use ringside_core::durable::LogName;
use ringside_core::durable::recovery::Chain;
use ringside_core::ids::{Epoch, NodeId};
use ringside_core::leadership::record::Tier;
use ringside_core::log::{Input, Outcome, Record};

use super::*;

fn run() -> Node {
    Node { id: NodeId(1), generation: 7 }
}

fn log_name() -> LogName {
    LogName::first_of(run())
}

fn epoch() -> Epoch {
    run().first_epoch()
}

fn session(key: &str) -> SessionId {
    format!("arena/{key}@0000000000000001").parse().expect("a session")
}

fn entries(key: &str, positions: std::ops::RangeInclusive<u64>) -> Item {
    let entry = |position| Record { position, time_us: position, input: Input::Tick, outcome: Outcome::Applied };
    Item::Entries { session: session(key), epoch: epoch(), entries: positions.map(entry).collect() }
}

async fn read(store: &Store) -> Chain {
    let mut chain = Chain::default();
    for number in store.log_numbers(log_name()).await.unwrap() {
        chain.handle_object(run(), number, &store.log_object(log_name(), number).await.unwrap().unwrap());
    }
    chain
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_handed_in_is_in_the_store_when_the_log_has_stopped() {
    let store = Store::memory();
    let log = NodeLog::start(store.clone(), run());
    let charter = bytes::Bytes::from("charter");
    log.opened(Opened { session: session("a"), tier: Tier::Durable, charter });
    let handed = log.clone();
    let handing = tokio::task::spawn_blocking(move || {
        handed.take(WorkerId(0), vec![entries("a", 1..=3), entries("b", 1..=1)]);
        handed.take(WorkerId(0), vec![entries("a", 4..=9)]);
    });
    handing.await.unwrap();
    log.closed(session("b"), Closed::Ended);
    log.stop().await;
    let chain = read(&store).await;
    assert_eq!(chain.start(&session("a"), epoch(), u64::MAX).map(|start| start.end), Some(9));
    assert!(chain.opened(&session("a")).is_some() && chain.ended().any(|ended| *ended == session("b")));
    assert!(log.has(vec![session("a")]).await && !log.has(vec![session("b")]).await);
}

#[tokio::test]
async fn what_workers_hand_on_waits_where_the_log_is_busy() {
    // Nobody takes anything before this task waits.
    let log = NodeLog::start(Store::memory(), run());
    for number in 0..LOG_QUEUE {
        log.opened(Opened {
            session: session(&format!("s{number}")),
            tier: Tier::Volatile,
            charter: Default::default(),
        });
    }
    assert_eq!(log.words.capacity(), 0);
    let handed = log.clone();
    let handing = tokio::task::spawn_blocking(move || handed.take(WorkerId(0), vec![entries("a", 1..=3)]));
    log.closed(session("s1"), Closed::Ended);
    assert_eq!(log.words.capacity(), 0, "a note is left out");
    handing.await.unwrap();
    log.stop().await;
    assert!(log.has(vec![session("a")]).await, "and nothing else");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_sealed_takes_nothing_any_more_and_ends() {
    let store = Store::memory();
    let log = NodeLog::start(store.clone(), run());
    let seal = ringside_core::durable::recovery::seal(run(), 1, 9, Node { id: NodeId(2), generation: 1 });
    assert!(store.put_log(log_name(), 1, seal).await.unwrap());
    let handed = log.clone();
    tokio::task::spawn_blocking(move || handed.take(WorkerId(0), vec![entries("a", 1..=3)])).await.unwrap();
    log.stop().await;
    let chain = read(&store).await;
    assert_eq!((chain.next_number(), chain.durable().len()), (2, 0));
    assert!(chain.sealed_by().is_some());
}
