//! A worker's sessions go to a worker of the run that takes over: checkpoints go ahead without a link, and over the link
//! where one did not get there.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use ringside_core::ids::{SessionId, WorkerId};
use ringside_core::limits::CHECKPOINT_ENTRIES;
use ringside_worker::Command;
use ringside_worker::command::{Beside, Passage};

use super::{Group, Talker};

/// What becomes of a checkpoint on its way: what arrives of it, or nothing.
type Fate = fn(&[u8]) -> Option<Bytes>;

/// A session that is old enough to have a checkpoint goes from the first worker to the second, while its player goes on.
/// Checkpoints that went without a link, and those that came so and were good.
fn hand_over(fate: Fate, is_taken: bool) -> (usize, u64) {
    let mut group = Group::start(2, "echo");
    let id: SessionId = "echo/match-1@0000000000000001".parse().unwrap();
    group.create(&id, 1, &[]);
    let talker = Talker::start(&group, "ann", &id);
    group.pump("a log that is cut off", || talker.replies() > CHECKPOINT_ENTRIES);
    let (old, new) = (group.member(1), group.member(2));
    let passed = Arc::<AtomicUsize>::default();
    let (handle, count) = (group.running[&new].handle.clone(), Arc::clone(&passed));
    let counters = handle.counters();
    let passage = Passage(Arc::new(move |from: WorkerId, _: WorkerId, body: &[u8]| {
        count.fetch_add(1, Relaxed);
        if let Some(body) = fate(body) {
            assert!(handle.send(Command::Passed { from, body }).is_ok(), "there is room");
        }
        is_taken
    }));
    group.tell(new, Command::Beside(Beside::Predecessor(old.node)));
    group.tell(old, Command::Beside(Beside::Successor { node: new.node, passage: Some(passage) }));
    group.follow_for_a_move(&id, 1, 2);
    group.move_to(&id, 1, 2);
    let before = talker.replies();
    group.pump("replies", || talker.replies() > before + 200);
    let told = talker.finish(&mut group);
    assert_eq!((told.moved, told.disconnected), (1, 0), "{told:?}");
    (passed.load(Relaxed), counters.checkpoints_passed.load(Relaxed))
}

#[test]
fn a_checkpoint_that_is_passed_needs_no_link() {
    assert_eq!(hand_over(|body| Some(Bytes::copy_from_slice(body)), true), (1, 1));
}

#[test]
fn a_checkpoint_that_is_lost_or_damaged_on_its_way_comes_over_the_link() {
    assert_eq!(hand_over(|_| None, true), (1, 0));
    let damaged = |body: &[u8]| {
        let mut body = body.to_vec();
        *body.last_mut()? ^= 1;
        Some(body.into())
    };
    assert_eq!(hand_over(damaged, true), (1, 0));
}

#[test]
fn a_checkpoint_that_is_not_taken_goes_over_the_link_at_once() {
    assert_eq!(hand_over(|_| None, false), (1, 0));
}
