//! Followers that keep the log and do not replay it: they promise the same, and fold what they have before they lead.

use std::sync::mpsc::sync_channel;
use std::time::Instant;

use ringside_core::ids::SessionId;
use ringside_core::limits::CHECKPOINT_ENTRIES;
use ringside_test_support::wait::PATIENCE;
use ringside_worker::Command;

use super::{Group, moves_to_and_fro, talking};

impl Group {
    /// The checkpoint of a session that is led, and how many entries its log and its follower's have after theirs.
    fn after_checkpoints(&self, leader: u64, id: &SessionId) -> (u64, u64, u64) {
        let report = self.replication(leader, id);
        let unfolded = report.lags.first().map_or(0, |lag| lag.unfolded);
        (report.checkpoint, report.end - report.checkpoint, unfolded)
    }

    /// How many entries the follower of a session would have to fold if it came to lead now.
    fn unfolded(&self, leader: u64, id: &SessionId) -> u64 {
        let report = self.replication(leader, id);
        assert!(report.keeps_log, "{report:?}");
        report.lags.first().map_or(0, |lag| lag.unfolded)
    }
}

#[test]
fn a_follower_that_keeps_the_log_folds_it_and_leads() {
    let (mut group, id, talker) = talking(3, "echo-kept");
    group.pump("replies", || talker.replies() > 100);
    talker.until_standing_by(&mut group);
    assert!(group.unfolded(1, &id) > 100, "it does not replay");
    let before = talker.replies();
    group.kill(1);
    let (leader, promoted) = group.until_promoted(&id);
    assert_eq!(leader, group.member(2));
    group.pump("replies of the new leader", || talker.replies() > before + 100);
    // Whoever comes to follow that one keeps the log, too.
    group.follow(&id, leader, 3, 1);
    group.until_in_sync(&id, 1);
    assert!(promoted.record.position > 100);
    group.pump("replies", || talker.replies() > before + 300);
    assert!(group.unfolded(2, &id) > 0);
    let told = talker.finish(&mut group);
    println!("{told:?}");
    assert_eq!((told.moved, told.disconnected), (1, 0), "{told:?}");
}

#[test]
fn what_is_kept_stays_short_by_the_leaders_checkpoints_and_is_whole() {
    let (mut group, id, talker) = talking(2, "echo-kept");
    // A whole one, and two increments.
    for checkpoints in 1..=3 {
        group.pump("entries", || talker.replies() > checkpoints * CHECKPOINT_ENTRIES);
        let begun = Instant::now();
        loop {
            let (checkpoint, own, unfolded) = group.after_checkpoints(1, &id);
            if checkpoint >= checkpoints * CHECKPOINT_ENTRIES && unfolded <= own {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{:?}", group.replication(1, &id));
            group.drain();
            std::thread::yield_now();
        }
    }
    talker.until_standing_by(&mut group);
    let before = talker.replies();
    group.kill(1);
    group.until_promoted(&id);
    // Each reply carries the hash over all that was said since the beginning.
    group.pump("replies of the new leader", || talker.replies() > before + 100);
    let told = talker.finish(&mut group);
    assert_eq!((told.moved, told.disconnected), (1, 0), "{told:?}");
}

#[test]
fn a_session_moves_to_a_follower_that_keeps_the_log_once_that_has_folded() {
    moves_to_and_fro("echo-kept", 500);
}

#[test]
fn an_end_is_answered_when_it_has_happened() {
    let (mut group, id, talker) = talking(2, "echo-kept");
    group.pump("replies", || talker.replies() > 100);
    talker.finish(&mut group);
    // Nothing is safe until it is known that this one is not coming back.
    group.kill(2);
    let (answer, answers) = sync_channel(1);
    let reply = Box::new(move |is_over| _ = answer.send(is_over));
    let end = Command::End { session: id.clone(), if_empty: false, reason: "enough".into(), reply };
    group.tell(group.member(1), end);
    assert!(group.show(1, &id).is_some(), "it waits");
    let mut answered = None;
    group.pump("the end", || {
        answered = answers.try_recv().ok();
        answered.is_some()
    });
    assert_eq!(answered, Some(true));
    assert!(group.show(1, &id).is_none(), "it was answered before it had ended");
}

#[test]
fn who_keeps_the_log_of_a_session_that_is_over_finds_that_out_and_lets_go() {
    let (mut group, id, talker) = talking(2, "echo-kept");
    group.pump("replies", || talker.replies() > 100);
    talker.finish(&mut group);
    let follower = group.member(2);
    let unfollow = |group: &Group| {
        let (answer, answers) = sync_channel(1);
        let reply = Box::new(move |is_over| _ = answer.send(is_over));
        group.tell(follower, Command::Unfollow { session: id.clone(), reply });
        answers.recv_timeout(PATIENCE).unwrap()
    };
    assert!(!unfollow(&group), "it counts, and the session goes on");
    let (answer, answers) = sync_channel(1);
    let reply = Box::new(move |is_over| _ = answer.send(is_over));
    let end = Command::End { session: id.clone(), if_empty: false, reason: "enough".into(), reply };
    group.tell(group.member(1), end);
    assert!(answers.recv_timeout(PATIENCE).unwrap());
    let begun = Instant::now();
    while !unfollow(&group) {
        assert!(begun.elapsed() < PATIENCE, "it is kept");
        group.drain();
        std::thread::yield_now();
    }
}
