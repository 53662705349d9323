//! Links that drop, delay, double, reorder and are cut: nothing is lost, nothing doubled, and nobody but the link's own
//! player notices.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use arena::bot::policy;
use ringside_client::{Client, Event, Options, shell};
use ringside_test_support::proxy::{Faults, Proxy};
use ringside_test_support::random::Random;
use ringside_test_support::wait::{until, within};

use crate::bench::Bench;
use crate::bots::{Bot, Bots, By, Echoist};

/// Sessions of the echo game, with a bot each.
const ECHOES: usize = 92;
/// Sessions of the arena, with two bots each.
const ARENAS: usize = 8;
/// After so much silence a bot knows that its connection is lost.
const IDLE: Duration = Duration::from_millis(1_500);
/// Until the player has noticed: then its link is mended.
const CUT: Duration = Duration::from_secs(3600);

/// A player behind the proxy, and the address by which the proxy knows it.
async fn behind(bench: &Bench, proxy: &Proxy, player: &str, target: &str) -> (Client, SocketAddr) {
    let endpoint = shell::endpoint(proxy.address()).unwrap();
    let address = endpoint.local_addr().unwrap();
    let options = bench.options(proxy.address(), player, target);
    let options = Options { endpoint: Some(endpoint), idle_timeout: IDLE, ..options };
    (within("a player to be attached", Client::connect(options)).await.unwrap(), address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_sessions_lose_and_double_nothing_while_each_connection_is_cut() {
    let bench = Arc::new(Bench::start());
    bench.serve("echo");
    bench.serve("arena");
    let proxy = Arc::new(Proxy::start(bench.address(), Faults::rough(), 11).await.unwrap());
    let mut running = tokio::task::JoinSet::new();
    for number in 0..ECHOES {
        let (player, target) = (format!("bot-{number}"), format!("echo/{number}"));
        bench.create(&target).await;
        let (bench, proxy) = (bench.clone(), proxy.clone());
        running.spawn(async move {
            let before = 5 + Random::new(number as u64).below(30);
            let (client, address) = behind(&bench, &proxy, &player, &target).await;
            let mut bot = Echoist::new(client, &player, number as u64);
            bot.exchange(before, 8).await;
            assert!(proxy.cut(address, CUT));
            bot.on_loss = Some(Box::new(move || proxy.mend(address)));
            bot.exchange(60 - before, 8).await;
            assert!(bot.disconnected > 0, "the cut cost it its connection");
        });
    }
    let (mut bots, mut cuts) = (Vec::new(), Vec::new());
    let mended = Arc::new(AtomicUsize::new(0));
    for number in 0..ARENAS {
        let target = format!("arena/{number}");
        bench.create(&target).await;
        for player in ["ann", "bob"] {
            let (client, address) = behind(&bench, &proxy, player, &target).await;
            let mut bot = Bot::new(client, By::Message, policy);
            let (proxy, mended, mut losses) = (proxy.clone(), mended.clone(), 0);
            bot.on_loss = Some(Box::new(move || {
                proxy.mend(address);
                losses += 1;
                mended.fetch_add(usize::from(losses == 1), Relaxed);
            }));
            bots.push(bot);
            cuts.push(address);
        }
    }
    let arenas = Bots::start(bots);
    for address in cuts {
        assert!(proxy.cut(address, CUT));
    }
    assert_eq!(running.join_all().await.len(), ECHOES);
    assert!(proxy.fewest_cuts() >= 1, "each was cut");
    let tally = proxy.tally();
    assert!(tally.dropped > 100 && tally.doubled > 50 && tally.delayed > 100 && tally.cut > 100, "{tally:?}");
    // The fighters have lost their connections, too, and come back; their fights have gone on all the while.
    let all_mended = async || (mended.load(Relaxed) == 2 * ARENAS).then_some(());
    until("the fighters to lose their connections", all_mended).await;
    for mut bot in arenas.stop().await {
        // It may have been cut before it saw anything.
        let tick = bot.seen.ticks.last().copied().unwrap_or_default();
        bot.settle(tick).await;
        assert!(bot.seen.disconnected > 0 && bot.seen.last.is_none(), "{:?}", bot.seen);
        assert!(bot.seen.ticks.is_sorted() && bot.seen.rejected.is_empty(), "{:?}", bot.seen);
    }
}

#[tokio::test]
async fn a_player_who_asks_for_another_connection_loses_nothing() {
    let bench = Bench::start();
    bench.serve("echo");
    bench.create("echo/room").await;
    let proxy = Proxy::start(bench.address(), Faults::rough(), 7).await.unwrap();
    let (client, _) = behind(&bench, &proxy, "ada", "echo/room").await;
    let mut ada = Echoist::new(client, "ada", 3);
    for _ in 0..3 {
        ada.exchange(20, 8).await;
        ada.client.reconnect();
    }
    ada.exchange(20, 8).await;
    assert!(ada.disconnected >= 3);
}

#[tokio::test]
async fn a_client_that_hears_nothing_knows_in_time() {
    let bench = Bench::start();
    bench.serve("echo");
    bench.create("echo/room").await;
    let proxy = Proxy::start(bench.address(), Faults::default(), 1).await.unwrap();
    let mut ada = bench.try_join(proxy.address(), "ada", "echo/room").await.unwrap();
    // For good; the options are the ordinary ones.
    proxy.cut_all(Duration::from_secs(3600));
    let lost = within("the client to notice", ada.next()).await;
    assert!(matches!(lost, Some(Event::Disconnected { .. })), "{lost:?}");
    assert!(!ada.is_attached());
}
