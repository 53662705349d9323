//! Sessions that ask for no followers move like all others: somebody follows them for the time of the move, and nobody
//! before and after.

use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use ringside_core::ids::SessionId;
use ringside_core::leadership::record::{Terms, Tier};
use ringside_test_support::wait::PATIENCE;
use ringside_worker::Command;
use ringside_worker::replication::Follow;

use super::{Group, Talker};

impl Group {
    /// Somebody follows a session that asks for nobody.
    pub(super) fn follow_for_a_move(&self, id: &SessionId, from: u64, to: u64) {
        let (leader, member) = (self.member(from), self.member(to));
        let policy = self.module.description().partition_policy;
        let terms = Terms { session: id.clone(), tier: Tier::Volatile, policy, followers: 0, is_recorded: false };
        self.tell(member, Command::Follow(Box::new(Follow { module: self.module.clone(), terms, leader })));
        self.tell(leader, Command::Recruit { session: id.clone(), member });
    }

    /// Who led a session follows it no more, and who leads it has nobody to tell.
    fn until_alone(&mut self, id: &SessionId, leader: u64, former: u64) {
        let begun = Instant::now();
        let (mut is_dropped, mut rests) = (false, false);
        while !(is_dropped && rests) {
            assert!(begun.elapsed() < PATIENCE, "dropped: {is_dropped}; {:?}", self.show(leader, id));
            let (answer, answers) = sync_channel(1);
            let reply = Box::new(move |is_over| _ = answer.send(is_over));
            self.tell(self.member(former), Command::Unfollow { session: id.clone(), reply });
            is_dropped = answers.recv_timeout(PATIENCE).unwrap();
            rests = self.show(leader, id).expect("a session").replication.is_none();
            if let Ok((from, event)) = self.events.recv_timeout(Duration::from_millis(5)) {
                self.serve(from, &event);
                self.heard.push((from, event));
            }
        }
    }
}

fn to_and_fro(game: &str, moves: u32) {
    let mut group = Group::start(2, game);
    let id: SessionId = format!("{game}/match-1@0000000000000001").parse().unwrap();
    group.create(&id, 1, &[]);
    let talker = Talker::start(&group, "ann", &id);
    for number in 0..moves {
        let (from, to) = if number % 2 == 0 { (1, 2) } else { (2, 1) };
        let before = talker.replies();
        group.pump("replies", || talker.replies() > before + 200);
        assert!(group.show(from, &id).expect("it is led").replication.is_none(), "nobody follows");
        group.follow_for_a_move(&id, from, to);
        group.move_to(&id, from, to);
        group.until_alone(&id, to, from);
    }
    let before = talker.replies();
    group.pump("replies", || talker.replies() > before + 200);
    let told = talker.finish(&mut group);
    println!("{told:?}");
    assert_eq!((told.moved, told.disconnected), (moves, 0), "{told:?}");
}

#[test]
fn a_player_of_a_volatile_session_loses_nothing_when_it_moves_to_and_fro() {
    to_and_fro("echo", 4);
}

#[test]
fn who_was_to_take_a_volatile_session_and_did_not_is_let_go() {
    let mut group = Group::start(2, "echo");
    let id: SessionId = "echo/match-1@0000000000000001".parse().unwrap();
    group.create(&id, 1, &[]);
    let talker = Talker::start(&group, "ann", &id);
    group.pump("replies", || talker.replies() > 100);
    group.follow_for_a_move(&id, 1, 2);
    let before = talker.replies();
    group.pump("replies, for nothing waits for who merely follows", || talker.replies() > before + 200);
    assert!(group.show(1, &id).expect("it is led").replication.is_some(), "it is followed");
    group.until_alone(&id, 1, 2);
    let before = talker.replies();
    group.pump("replies", || talker.replies() > before + 200);
    let told = talker.finish(&mut group);
    assert_eq!((told.moved, told.disconnected), (0, 0), "{told:?}");
}
