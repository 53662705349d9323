//! Nothing is wrong: messages, views, redirects, recordings.

use std::sync::atomic::Ordering::Relaxed;

use ringside_client::Event;
use ringside_test_support::wait::{until, within};
use ringside_worker::Command;

use crate::bench::Bench;
use crate::bots::Echoist;

#[tokio::test]
async fn messages_come_back_each_once_and_in_order() {
    let bench = Bench::start();
    bench.serve("echo");
    bench.create("echo/room").await;
    let mut ada = Echoist::join(&bench, "ada", "echo/room").await;
    ada.exchange(500, 50).await;
    assert!(matches!(within("the farewell", ada.client.leave()).await, Some(Event::Detached { .. })));
}

#[tokio::test]
async fn a_wrong_door_redirects() {
    let bench = Bench::start();
    bench.serve("echo");
    bench.create("echo/room").await;
    let client = bench.try_join(bench.handles[1].address(), "ada", "echo/room").await.unwrap();
    assert_eq!(client.attachment().worker.0, 0);
    Echoist::new(client, "ada", 2).exchange(10, 1).await;
}

#[tokio::test]
async fn who_is_redirected_is_not_asked_for_their_address_again() {
    let bench = Bench::start();
    bench.serve("echo");
    bench.create("echo/room").await;
    for player in ["ada", "bob"] {
        bench.try_join(bench.handles[1].address(), player, "echo/room").await.unwrap();
    }
    // A client's own proof is good at the other worker; nobody else has one.
    let retried = |number: usize| bench.handles[number].counters().retried.load(Relaxed);
    until("the counters", async || (retried(1) == 2).then_some(())).await;
    assert_eq!(retried(0), 0);
    bench.try_join(bench.address(), "eve", "echo/room").await.unwrap();
    until("the counters", async || (retried(0) == 1).then_some(())).await;
}

#[tokio::test]
async fn another_certificate_is_for_those_who_come_and_who_plays_goes_on() {
    let mut bench = Bench::start();
    bench.serve("echo");
    bench.create("echo/room").await;
    let mut ada = Echoist::join(&bench, "ada", "echo/room").await;
    ada.exchange(50, 5).await;
    bench.certify();
    ada.exchange(50, 5).await;
    // Both doors serve it, and who is sent on is told of it.
    let bob = bench.try_join(bench.handles[1].address(), "bob", "echo/room").await.unwrap();
    Echoist::new(bob, "bob", 2).exchange(10, 1).await;
    ada.exchange(50, 5).await;
}

#[tokio::test]
async fn a_recorded_match_folds_to_the_same_hashes() {
    let bench = Bench::start();
    let pong = bench.serve("pong");
    let session = bench.create_with("pong/court", Default::default(), true).await;
    let mut ann = bench.join("ann", "pong/court").await;
    let mut bob = bench.join("bob", "pong/court").await;
    let mut ticks = Vec::new();
    while ticks.len() < 120 {
        if let Some(Event::View(view)) = within("an event", ann.next()).await {
            ticks.push(view.tick);
            let _ = ann.send_datagram([(view.tick % 3) as u8]);
        }
        while bob.try_next().is_some() {}
    }
    assert!(ticks.is_sorted());
    let end = Command::End {
        session: session.clone(),
        if_empty: false,
        reason: "enough".into(),
        reply: Box::new(|was| assert!(was)),
    };
    bench.handles[0].send(end).ok().unwrap();
    let last = loop {
        let event = within("an event", ann.next()).await.expect("the end is told");
        if event.is_last() {
            break event;
        }
    };
    assert!(matches!(last, Event::Detached { ref message, .. } if message == "enough"), "{last:?}");
    let recorded = until("the recording's end", async || {
        let news = bench.news.lock().unwrap();
        news.ended.iter().any(|(id, _)| *id == session).then(|| news.recorded.get(&session).cloned()).flatten()
    })
    .await;
    let report = ringside_sandbox::replay_recording(&pong, &recorded).unwrap();
    assert!(report.agrees() && report.incomplete.is_none(), "{report:?}");
    assert!(report.records > 120 && !report.checkpoints.is_empty());
}
