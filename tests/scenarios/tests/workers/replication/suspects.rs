//! A message that kills its worker, again and again: the second leader knows no better, the third skips it, and everybody
//! else loses nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;

use ringside_client::{Client, Event as Heard, Options, Trust};
use ringside_core::ids::SessionId;
use ringside_core::leadership::record::Member;
use ringside_core::log::Input;
use ringside_protocol::reason::Reason;
use ringside_test_support::wait::PATIENCE;
use ringside_worker::shell;

use super::{Group, Talker};
use crate::bench::{Bench, sign};

/// What no worker survives that is about to append it.
const POISON: &[u8] = b"poison";

/// A player who says something, then what kills workers, then something else, and has the answers.
struct Poisoner {
    thread: JoinHandle<(u64, Reason)>,
    /// Replies so far.
    replies: Arc<AtomicU64>,
}

impl Poisoner {
    fn start(group: &Group, id: &SessionId) -> Poisoner {
        let token = sign(&group.signing, &Bench::claims("eve"));
        let doors: Vec<_> = group.running.values().map(|one| one.handle.address()).collect();
        let target = format!("{}/{}", id.game, id.key);
        let options = Options::new(doors, Trust::InsecureLoopback, token, &target).unwrap();
        let replies = Arc::<AtomicU64>::default();
        let count = Arc::clone(&replies);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(poison(options, &count))
        });
        Poisoner { thread, replies }
    }
}

async fn poison(options: Options, count: &AtomicU64) -> (u64, Reason) {
    let mut client = Client::connect(options).await.unwrap();
    let bodies = [b"before".as_slice(), POISON, b"after"].map(<[u8]>::to_vec);
    let say = |client: &Client, body: &[u8]| {
        client.send(ringside_guest::encode(&ringside_guest::Bytes(body.to_vec()))).unwrap();
    };
    say(&client, &bodies[0]);
    let mut rejected = None;
    loop {
        let heard = tokio::time::timeout(PATIENCE, client.next()).await.expect("an answer").expect("it goes on");
        match heard {
            Heard::Message { body, .. } => {
                let reply: echo::Reply = postcard::from_bytes(&body).unwrap();
                let replies = count.fetch_add(1, Relaxed) + 1;
                if replies == 1 {
                    say(&client, &bodies[1]);
                    say(&client, &bodies[2]);
                    continue;
                }
                let hash =
                    [&bodies[0], &bodies[2]].into_iter().fold(echo::EMPTY, |hash, body| echo::extend(hash, body));
                assert_eq!((reply.number, reply.hash), (2, hash), "the game has not heard the other");
                return rejected.expect("it was told before");
            }
            Heard::Rejected { number, cause } => rejected = Some((number, cause)),
            other => assert!(!other.is_last(), "{other:?}"),
        }
    }
}

impl Group {
    /// Waits until a worker dies of what it was told.
    fn until_dead(&mut self, member: Member) {
        let running = self.running.remove(&member).expect("a worker");
        self.pump("the death of a worker", || running.thread.is_finished());
        assert!(running.thread.join().is_err(), "it was not told to stop");
    }
}

/// Three workers die of nothing else than of an input, and not the third.
fn kills_two(game: &str) {
    shell::reckon_by(|input, cost| {
        let is_poison = matches!(input, Input::Message { body, .. } if body.ends_with(POISON));
        assert!(!is_poison, "a worker dies of this, as it should");
        *cost
    });
    let mut group = Group::start(3, game);
    let id: SessionId = format!("{game}/match-1@0000000000000001").parse().unwrap();
    group.create(&id, 1, &[2, 3]);
    group.until_in_sync(&id, 2);
    let talkers: Vec<Talker> = ["ann", "bob"].map(|name| Talker::start(&group, name, &id)).into();
    for talker in &talkers {
        group.pump("replies", || talker.replies() > 50);
        talker.until_standing_by(&mut group);
    }
    let poisoner = Poisoner::start(&group, &id);
    let first = group.member(1);
    group.until_dead(first);
    let (second, promoted) = group.until_promoted(&id);
    assert_eq!(promoted.record.in_sync.len(), 1, "the other follows it");
    group.until_dead(second);
    let (third, _) = group.until_promoted(&id);
    group.pump("the end of a player", || poisoner.thread.is_finished());
    assert_eq!(poisoner.replies.load(Relaxed), 2);
    assert_eq!(poisoner.thread.join().unwrap(), (2, Reason::MessageSuspected));
    let before: Vec<u64> = talkers.iter().map(Talker::replies).collect();
    for (talker, before) in talkers.iter().zip(&before) {
        group.pump("replies of the third leader", || talker.replies() > before + 100);
    }
    // Each reply was the next, with the hash over all that was said.
    for talker in talkers {
        talker.finish(&mut group);
    }
    let left: BTreeSet<Member> = group.running.keys().copied().collect();
    assert_eq!(left, [third].into());
    assert_eq!(group.running[&third].handle.counters().suspects_skipped.load(Relaxed), 1);
    let report = group.show(third.node.id.0, &id).unwrap();
    assert_eq!((report.usage.skipped, report.players.len()), (1, 3), "{report:?}");
}

#[test]
fn what_kills_two_workers_is_skipped_by_the_third_and_nobody_else_loses_anything() {
    kills_two("echo-replicated");
}

#[test]
fn followers_that_keep_the_log_remember_what_kills_their_leaders() {
    kills_two("echo-kept");
}
