use super::*;
use crate::ids::NodeId;

fn member(id: u64) -> Member {
    Member { node: Node { id: NodeId(id), generation: 1 }, worker: WorkerId(0) }
}

fn set(ids: &[u64]) -> BTreeSet<Member> {
    ids.iter().copied().map(member).collect()
}

fn session() -> SessionId {
    "arena/a@0000000000000001".parse().unwrap()
}

/// Node 1 leads; 2 and 3 count.
fn led() -> Record {
    let first = Record::first(session(), member(1));
    let next = first.with_set(set(&[2, 3]), 10, Cause::Admitted);
    first.entitles(&next).unwrap();
    next
}

fn promoted(by: u64, followers: &[u64]) -> Record {
    let (led, leader) = (led(), member(by));
    led.succeeded(leader, leader.epoch_after(led.epoch.number), set(followers), 20, (Cause::Promoted, ChainHome::Store))
}

#[test]
fn a_follower_that_counts_promotes_and_names_only_who_counted() {
    assert_eq!(led().entitles(&promoted(2, &[3])), Ok(()));
    assert_eq!(led().entitles(&promoted(2, &[])), Ok(()));
    assert_eq!(led().entitles(&promoted(4, &[3])), Err(Denied::NotEntitled));
    assert_eq!(led().entitles(&promoted(2, &[4])), Err(Denied::NotInSync));
    assert_eq!(led().entitles(&promoted(2, &[2])), Err(Denied::MalformedSet));
    assert_eq!(led().entitles(&promoted(1, &[2])), Err(Denied::NotEntitled), "a leader does not promote itself");
    let granted = Record { cause: Cause::Granted, ..promoted(2, &[1, 3]) };
    assert_eq!(led().entitles(&granted), Ok(()), "who grants its place follows");
}

#[test]
fn an_epoch_is_newer_and_of_its_leader() {
    let good = promoted(2, &[3]);
    let stale = Record { epoch: Epoch { number: 1, ..good.epoch }, ..good.clone() };
    let foreign = Record { epoch: member(3).epoch_after(1), ..good.clone() };
    let unsaid = Record { lineage: led().lineage, ..good };
    for record in [stale, foreign, unsaid] {
        assert_eq!(led().entitles(&record), Err(Denied::Epoch));
    }
}

#[test]
fn only_the_leader_changes_the_set() {
    let removed = led().with_set(set(&[2]), 12, Cause::Removed);
    assert_eq!(led().entitles(&removed), Ok(()));
    assert_eq!(led().entitles(&led().with_set(set(&[2, 4]), 12, Cause::Removed)), Err(Denied::NotInSync));
    assert_eq!(led().entitles(&led().with_set(set(&[2]), 12, Cause::Admitted)), Err(Denied::NotEntitled));
    let by_another = Record { leader: member(2), in_sync: set(&[]), ..removed };
    assert_eq!(led().entitles(&by_another), Err(Denied::Epoch));
    let mut twin = member(2);
    twin.worker = WorkerId(1);
    let mut both = set(&[2, 3]);
    both.insert(twin);
    assert_eq!(led().entitles(&led().with_set(both, 12, Cause::Admitted)), Err(Denied::MalformedSet));
    let many = (2..3 + limits::FOLLOWERS as u64).collect::<Vec<_>>();
    assert_eq!(led().entitles(&led().with_set(set(&many), 12, Cause::Admitted)), Err(Denied::MalformedSet));
}

#[test]
fn numbers_have_no_gaps_and_what_is_over_stays_so() {
    let skipped = Record { number: 9, ..promoted(2, &[3]) };
    assert_eq!(led().entitles(&skipped), Err(Denied::NotNext));
    let ended = led().with_set(set(&[]), 30, Cause::Ended);
    assert_eq!(led().entitles(&ended), Ok(()));
    assert_eq!(ended.entitles(&ended.with_set(set(&[]), 31, Cause::Removed)), Err(Denied::Over));
}

#[test]
fn from_the_store_a_session_comes_back_with_nobody_in_sync() {
    let by = |cause, followers: &[u64], before: &Record| {
        let leader = member(4);
        let epoch = leader.epoch_after(before.epoch.number);
        before.entitles(&before.succeeded(leader, epoch, set(followers), 40, (cause, ChainHome::Store)))
    };
    assert_eq!(by(Cause::Recovered { seal: 7 }, &[], &led()), Ok(()));
    assert_eq!(by(Cause::Recovered { seal: 7 }, &[2], &led()), Err(Denied::NotInSync));
    assert_eq!(by(Cause::Activated, &[], &led()), Err(Denied::NotEntitled));
    let evicted = led().with_set(set(&[]), 30, Cause::Evicted);
    assert_eq!(led().entitles(&evicted), Ok(()));
    assert_eq!(by(Cause::Activated, &[], &evicted), Ok(()));
}

#[test]
fn a_winner_takes_an_epoch_above_both() {
    let over = Epoch { number: 5, node: 9, node_generation: 1 };
    let healed = |number| {
        let before = led();
        let leader = before.leader;
        let next = before.succeeded(
            leader,
            leader.epoch_after(number),
            set(&[]),
            20,
            (Cause::Healed { over }, ChainHome::Log),
        );
        before.entitles(&next)
    };
    assert_eq!(healed(5), Ok(()));
    assert_eq!(healed(4), Err(Denied::Epoch));
}

#[test]
fn the_copy_keeps_the_newest() {
    let mut copy = Copy::default();
    let (old, new) = (std::sync::Arc::new(led()), std::sync::Arc::new(promoted(2, &[])));
    assert!(copy.offer(&new) && !copy.offer(&old) && !copy.offer(&new));
    assert_eq!(copy.newest(), Some(&new));
}
