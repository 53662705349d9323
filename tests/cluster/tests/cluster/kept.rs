//! What a store keeps of a session where two came to different states of it: both sides of a follower's divergence, and
//! the branch that lost after a cut.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use ringside_client::{Client, Event, Options};
use ringside_test_support::cluster::Cluster;
use ringside_test_support::network::{Cut, Quality};
use ringside_test_support::node::Answer;
use ringside_test_support::wait::{until, within};

use crate::failover::{create, led_and_followed, shown, third};
use crate::player::{Player, options};

/// Where a process has these bytes in memory that it may write.
fn places(pid: u32, bytes: &[u8]) -> Vec<u64> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("its mappings");
    let memory = File::open(format!("/proc/{pid}/mem")).expect("its memory");
    let mut found = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (from, to) = line.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
        let address = |text| u64::from_str_radix(text, 16).expect("an address");
        let (from, to) = (address(from), address(to));
        // No guest's memory is larger; others are not looked through.
        if to - from > 64 << 20 {
            continue;
        }
        let mut content = vec![0; (to - from) as usize];
        if memory.read_exact_at(&mut content, from).is_ok() {
            let hits = content.windows(bytes.len()).enumerate().filter(|(_, window)| *window == bytes);
            found.extend(hits.map(|(at, _)| from + at as u64));
        }
    }
    found
}

/// Objects that are kept of a session, once there are so many.
async fn kept(cluster: &Cluster, by: u64, session: &str, count: usize) -> Vec<String> {
    until("what is kept", async || {
        let shown = shown(cluster, by, session)?;
        let names = shown["detail"]["kept"].as_array()?.iter().filter_map(|name| name.as_str().map(str::to_owned));
        let names: Vec<String> = names.collect();
        (names.len() == count).then_some(names)
    })
    .await
}

fn replay(cluster: &Cluster, by: u64, object: &str) -> Answer {
    let store: PathBuf = cluster.state_of(by).parent().expect("the cluster's directory").join("store");
    let (file, store) = (store.join(object), store.to_string_lossy().into_owned());
    cluster.node(by).ringside(&["replay", &file.to_string_lossy(), "--store", &store, "--json"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followers_corrupted_page_is_found_and_named_and_the_match_goes_on() {
    let name = "echo-replicated/final";
    let cluster = Cluster::start(3).await;
    cluster.node(1).push("echo-replicated");
    cluster.agreed().await;
    let session = create(cluster.node(1), "echo-replicated", "final");
    let (leader, follower) = led_and_followed(&cluster, 1, name).await;
    let mut player = Player::join(cluster.node(leader), "ada", name).await;
    let pid = cluster.node(follower).pid();
    // The guest's own, and what is left on its stack of the last reply, which nobody reads again. A checkpoint that was taken
    // meanwhile has an older state after the next message.
    let places = until("the player's row in the follower's guest", async || {
        player.exchange(3).await;
        Some(places(pid, &player.row())).filter(|places| !places.is_empty())
    })
    .await;
    let memory = File::options().write(true).open(format!("/proc/{pid}/mem")).expect("its memory");
    for place in places {
        memory.write_all_at(&[0x5a], place + 15).expect("a byte of its memory");
    }
    player.exchange(20).await;
    let names = kept(&cluster, leader, &session, 2).await;
    let side = |side: &str| names.iter().find(|name| name.contains(side)).unwrap_or_else(|| panic!("{names:?}"));
    // What the leader had is what its log gives.
    let of_leader = replay(&cluster, leader, side("diverged-leader"));
    assert_eq!(of_leader.code, Some(3), "{of_leader:?}");
    assert_eq!(of_leader.parsed()["same"], true, "{of_leader:?}");
    // What the follower had is not: its outputs differ from an entry on, its state in a page.
    let of_follower = replay(&cluster, leader, side("diverged-follower"));
    assert_eq!(of_follower.code, Some(1), "{of_follower:?}");
    let found = of_follower.parsed();
    let first = &found["first_difference"];
    assert!(first["from"].as_u64() == first["to"].as_u64() && first["from"].is_u64(), "one entry: {found:#}");
    assert!(first["input"].as_str().is_some_and(|input| input.starts_with("Message")), "{found:#}");
    let pages = found["state_difference"]["pages"].as_array().expect("pages");
    assert!(!pages.is_empty() && found["state_difference"]["globals"] == serde_json::json!([]), "{found:#}");
    // It is followed again, by a follower whose state is right.
    assert_eq!(led_and_followed(&cluster, leader, &session).await.0, leader);
    player.exchange(20).await;
}

/// The row of somebody who is not in the session comes so far behind the first player's, and says that nothing was said.
const UNUSED_ROW: u64 = 100 * 16;

/// Where the table of the guest's rows is in the memory of a process: its first is the player's, and one that nobody uses is
/// as `unused` says.
fn tables(pid: u32, row: &[u8], unused: &[u8]) -> Vec<u64> {
    let memory = File::open(format!("/proc/{pid}/mem")).expect("its memory");
    let mut found = vec![0; unused.len()];
    let is_table = |place: &u64| memory.read_exact_at(&mut found, place + UNUSED_ROW).is_ok() && found == unused;
    places(pid, row).into_iter().filter(is_table).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followers_corrupted_page_that_changes_no_output_is_found_and_never_led_by() {
    let name = "echo-replicated/final";
    let mut cluster = Cluster::start(3).await;
    cluster.node(1).push("echo-replicated");
    cluster.agreed().await;
    let session = create(cluster.node(1), "echo-replicated", "final");
    let (leader, follower) = led_and_followed(&cluster, 1, name).await;
    let mut player = Player::join(cluster.node(third(leader, follower)), "ada", name).await;
    let pid = cluster.node(follower).pid();
    let unused = [0_u64.to_le_bytes(), echo::EMPTY.to_le_bytes()].concat();
    let tables_now = until("the table in the follower's guest", async || {
        player.exchange(3).await;
        Some(tables(pid, &player.row(), &unused)).filter(|tables| !tables.is_empty())
    })
    .await;
    let memory = File::options().write(true).open(format!("/proc/{pid}/mem")).expect("its memory");
    for table in tables_now {
        memory.write_all_at(&[0x5a], table + UNUSED_ROW + 1).expect("a byte of its memory");
    }
    // Nobody ever reads it: the states are compared.
    let said = until("the comparison", async || {
        player.exchange(20).await;
        let mut lines = cluster.node(follower).log_so_far().into_iter();
        lines.find(|line| line.contains("this follower's fold differs from its leader's"))
    })
    .await;
    assert!(said.contains(&session), "{said}");
    let names = kept(&cluster, leader, &session, 2).await;
    let side = |side: &str| names.iter().find(|name| name.contains(side)).unwrap_or_else(|| panic!("{names:?}"));
    let of_leader = replay(&cluster, leader, side("diverged-leader"));
    assert_eq!(of_leader.parsed()["same"], true, "{of_leader:?}");
    let of_follower = replay(&cluster, leader, side("diverged-follower"));
    assert_eq!(of_follower.code, Some(1), "{of_follower:?}");
    let found = of_follower.parsed();
    assert!(found["first_difference"].is_null() && found["outputs_differ"] == serde_json::json!([]), "{found:#}");
    let pages = found["state_difference"]["pages"].as_array().expect("pages");
    assert!(pages.len() == 1 && found["state_difference"]["globals"] == serde_json::json!([]), "{found:#}");
    // Whoever leads next does so by a state that is right: that follower, begun anew, or another.
    assert_eq!(led_and_followed(&cluster, leader, &session).await.0, leader);
    player.exchange(20).await;
    cluster.take(leader).kill();
    player.exchange(20).await;
    let by = third(leader, follower);
    let (next, _) = led_and_followed(&cluster, by, &session).await;
    let pid = cluster.node(next).pid();
    until("the table in the next leader's guest", async || {
        player.exchange(3).await;
        (!tables(pid, &player.row(), &unused).is_empty()).then_some(())
    })
    .await;
}

const LAN: Quality = Quality { delay: Duration::from_millis(1), loss_permille: 0 };

/// Says a word and waits for its answer.
async fn say(client: &mut Client, word: &[u8]) {
    client.send(postcard::to_stdvec(&ringside_guest::Bytes(word.to_vec())).expect("bytes")).expect("room for it");
    loop {
        match within("an answer", client.next()).await.expect("the session goes on") {
            Event::Message { body, .. } => {
                let reply: echo::Reply = postcard::from_bytes(&body).expect("a reply of the echo game");
                if reply.body.0 == word {
                    return;
                }
            }
            event => assert!(!event.is_last(), "{event:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_branch_that_loses_after_a_cut_is_kept_and_replays() {
    let network = ringside_test_support::network!(3, LAN);
    let name = "echo-replicated/final";
    let cluster = Cluster::start_at_rest(Some(network), 3).await;
    cluster.node(1).push("echo-replicated");
    cluster.agreed().await;
    let session = create(cluster.node(1), "echo-replicated", "final");
    let (leader, follower) = led_and_followed(&cluster, 1, name).await;
    let third = third(leader, follower);
    let cut_off = |is_cut| {
        for other in [follower, third] {
            for (from, to) in [(leader as u8, other as u8), (other as u8, leader as u8)] {
                cluster.network().set_cut(Cut::OneWay { from, to }, is_cut);
            }
        }
    };
    let enter = async |player: &str, door: u64| {
        let node = cluster.node(door);
        let options = Options { standby: false, ..options(node, &node.token(player), name) };
        within("a player", Client::connect(options)).await.unwrap_or_else(|error| panic!("{player}: {error}"))
    };
    let mut left = enter("cat", leader).await;
    say(&mut left, b"before").await;
    cut_off(true);
    say(&mut left, b"alone").await;
    until("the other side to lead it", async || {
        let shown = shown(&cluster, follower, &session)?;
        (shown["node"].as_str() == Some(&*follower.to_string())).then_some(())
    })
    .await;
    let mut right = enter("dan", third).await;
    for number in 0..100_u8 {
        say(&mut right, &[b'r', number]).await;
    }
    say(&mut left, b"alone again").await;
    cut_off(false);
    cluster.agreed().await;
    let names = kept(&cluster, third, &session, 1).await;
    assert!(names[0].contains("/branch-"), "{names:?}");
    let replayed = replay(&cluster, third, &names[0]);
    assert_eq!(replayed.code, Some(3), "it is a part, and as it was: {replayed:?}");
    let found = replayed.parsed();
    assert_eq!((&found["same"], &found["session"]), (&true.into(), &session.clone().into()), "{found:#}");
    assert!(found["about"].as_str().is_some_and(|about| about.starts_with("a branch that lost")), "{found:#}");
    // Its player goes on in the branch that won.
    say(&mut left, b"moved").await;
    say(&mut right, b"here").await;
    assert_eq!(led_and_followed(&cluster, third, &session).await.0, follower);
}
