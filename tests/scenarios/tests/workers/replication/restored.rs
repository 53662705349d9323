//! Sessions that begin again from the store, at a worker that has had to do with them before.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use bytes::Bytes;
use ringside_core::durable::recovery::Start;
use ringside_core::ids::SessionId;
use ringside_core::leadership::record::{Cause, ChainHome, PartitionPolicy, Record, Terms, Tier};
use ringside_core::log::{self, Input, Outcome};
use ringside_sandbox::REWRITER_VERSION;
use ringside_test_support::wait::PATIENCE;
use ringside_worker::Command;
use ringside_worker::durable::Restore;
use ringside_worker::replication::Follow;

use super::Group;

/// It had not caught up when its leader and all who counted died; then the home has the same node take the session over.
#[test]
fn who_followed_without_counting_begins_the_session_again() {
    let mut group = Group::start(1, "echo");
    let id: SessionId = "echo/match-1@0000000000000001".parse().unwrap();
    let (gone, me) = (group.member(9), group.member(1));
    let terms = Terms {
        session: id.clone(),
        tier: Tier::Durable,
        policy: PartitionPolicy::Consistent,
        followers: 1,
        is_recorded: false,
    };
    let module = group.module.clone();
    group.tell(me, Command::Follow(Box::new(Follow { module: module.clone(), terms: terms.clone(), leader: gone })));
    let begin = Input::Start { module: module.hash(), rewriter: REWRITER_VERSION, seed: [5; 32], config: Bytes::new() };
    let entry = log::Record { position: 1, time_us: 0, input: begin, outcome: Outcome::Applied };
    let start = Start { checkpoint: None, increments: Vec::new(), log: vec![entry], end: 1, lacks: None };
    let cause = (Cause::Recovered { seal: 3 }, ChainHome::Store);
    let first = Record::first(id.clone(), gone);
    let record = Arc::new(first.succeeded(me, me.epoch_after(1), BTreeSet::new(), 1, cause));
    // The second finds that it is begun.
    for _ in 0..2 {
        let (module, terms, record, start) = (module.clone(), terms.clone(), Arc::clone(&record), start.clone());
        let restore = Restore { module, terms, record, state: None, start, slept: Duration::ZERO };
        group.tell(me, Command::Restore(Box::new(restore)));
    }
    let (leader, promoted) = group.until_promoted(&id);
    assert_eq!((leader, &promoted.record), (me, &record));
    // Whoever had it followed no more does not take that for its end.
    let (answer, answers) = sync_channel(1);
    let reply = Box::new(move |is_over| _ = answer.send(is_over));
    group.tell(me, Command::Unfollow { session: id.clone(), reply });
    assert!(!answers.recv_timeout(PATIENCE).unwrap(), "it is led here");
    assert!(group.show(1, &id).is_some());
}
