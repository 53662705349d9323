//! Leaders that slept while their session went on elsewhere, and ended there.

use std::sync::mpsc::{Sender, channel, sync_channel};

use ringside_core::ids::SessionId;
use ringside_core::leadership::record::Member;
use ringside_worker::{Command, Event};

use super::{Group, session};

impl Group {
    /// A worker stands still until the answer is dropped; meanwhile nobody reaches it.
    fn stop(&mut self, member: Member, id: &SessionId) -> Sender<()> {
        let (go_on, goes_on) = channel();
        let (stands, is_standing) = sync_channel(1);
        let reply = Box::new(move |_| {
            let _ = stands.send(());
            let _ = goes_on.recv();
        });
        self.tell(member, Command::Show { session: id.clone(), reply });
        is_standing.recv().unwrap();
        self.away.insert(member);
        go_on
    }
}

#[test]
fn a_leader_that_slept_does_not_go_on_with_what_ended_elsewhere() {
    let mut group = Group::start(2, "arena");
    let id = session(1);
    group.create(&id, 1, &[2]);
    group.until_in_sync(&id, 1);
    let (slept, leader) = (group.member(1), group.member(2));
    let asleep = group.stop(slept, &id);
    assert_eq!(group.until_promoted(&id).0, leader);
    let reply = Box::new(|_| ());
    group.tell(leader, Command::End { session: id.clone(), if_empty: false, reason: "it was won".to_owned(), reply });
    group.until("the end", |from, event| match event {
        Event::Ended { session, .. } => (from == leader && *session == id).then_some(()),
        _ => None,
    });
    // Nor does a home keep anything of what has ended.
    group.copies.clear();
    drop(asleep);
    group.away.clear();
    let by = group.until("who leads now", |from, event| match event {
        Event::Deposed { session, by } if (session, from) == (&id, slept) => Some(by.clone()),
        _ => None,
    });
    assert_eq!(by.leader, leader);
    let (answer, answers) = sync_channel(1);
    let reply = Box::new(move |is_over| _ = answer.send(is_over));
    group.tell(slept, Command::Unfollow { session: id.clone(), reply });
    assert!(answers.recv().unwrap(), "nothing of it is kept for a leader that will not come");
}
