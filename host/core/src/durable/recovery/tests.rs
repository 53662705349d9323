//! Logs with holes, damage and several epochs.

use super::super::object::tests::run;
use super::*;
use crate::ids::{NodeId, WorkerId};
use crate::leadership::lineage::Lineage;
use crate::leadership::record::{Cause, ChainHome, Member};
use crate::log::{Input, Outcome};

fn session(key: &str) -> SessionId {
    format!("arena/{key}@0000000000000001").parse().unwrap()
}

fn entries(key: &str, epoch: Epoch, positions: std::ops::RangeInclusive<u64>) -> Item {
    let entry = |position| Record { position, time_us: position, input: Input::Tick, outcome: Outcome::Applied };
    Item::Entries { session: session(key), epoch, entries: positions.map(entry).collect() }
}

fn checkpoint(key: &str, epoch: Epoch, position: Position) -> Item {
    Item::Checkpoint(Box::new(Checkpoint {
        session: session(key),
        epoch,
        position,
        lineage: Lineage::new(epoch),
        beside: Bytes::new(),
        state: Bytes::from(position.to_string()),
    }))
}

fn increment(key: &str, epoch: Epoch, base: Position, position: Position) -> Item {
    let Item::Checkpoint(checkpoint) = checkpoint(key, epoch, position) else { panic!("a checkpoint") };
    Item::Increment { base, checkpoint }
}

/// The positions of its checkpoints, where it ends, and what lacks.
fn steps(start: Option<Start>) -> (Vec<Position>, Position, Option<Position>) {
    let start = start.expect("it goes on");
    let all: Vec<Position> = start.checkpoints().map(|checkpoint| checkpoint.position).collect();
    assert_eq!(start.newest().map(|newest| newest.position), all.last().copied());
    (all, start.end, start.lacks)
}

fn opened(key: &str, tier: Tier) -> Item {
    Item::Opened(Opened { session: session(key), tier, charter: Bytes::new() })
}

fn object(number: u64, items: Vec<Item>) -> Bytes {
    Object { run: run(), number, maker: 1, first: 0, content: Content::Items(items) }.encode()
}

fn read(objects: &[(u64, Bytes)]) -> Chain {
    let mut chain = Chain::default();
    objects.iter().for_each(|(number, bytes)| chain.handle_object(run(), *number, bytes));
    chain
}

/// Where it goes on: after which checkpoint, up to where, and what lacks.
fn place(start: Option<Start>) -> Option<(Position, Position, Option<Position>)> {
    start.map(|start| (start.checkpoint.map_or(0, |checkpoint| checkpoint.position), start.end, start.lacks))
}

#[test]
fn a_session_goes_on_from_its_newest_checkpoint_and_the_entries_after_it() {
    let epoch = run().first_epoch();
    let chain = read(&[
        (1, object(1, vec![opened("a", Tier::Durable), entries("a", epoch, 1..=4), entries("b", epoch, 1..=2)])),
        // Taken at 6, encoded while further entries were written.
        (2, object(2, vec![entries("a", epoch, 5..=8)])),
        (3, object(3, vec![checkpoint("a", epoch, 6), entries("b", epoch, 3..=3), entries("a", epoch, 9..=9)])),
    ]);
    let at = |key: &str| place(chain.start(&session(key), epoch, Position::MAX));
    assert_eq!((at("a"), at("b")), (Some((6, 9, None)), Some((0, 3, None))));
    assert_eq!(chain.start(&session("a"), epoch, Position::MAX).unwrap().log.len(), 3);
    assert_eq!(place(chain.start(&session("a"), epoch, 7)), Some((6, 7, None)), "what came later never was");
    assert_eq!(place(chain.start(&session("a"), epoch, 5)), Some((0, 5, None)), "its checkpoint is of what never was");
    assert_eq!((chain.damage().count(), chain.next_number(), chain.sealed_by()), (0, 4, None));
}

#[test]
fn damaged_and_missing_objects_are_named_and_lose_what_they_held_alone() {
    let epoch = run().first_epoch();
    let mut damaged = object(3, vec![entries("a", epoch, 4..=5), entries("b", epoch, 4..=5)]).to_vec();
    damaged[20] ^= 1;
    let chain = read(&[
        (1, object(1, vec![entries("a", epoch, 1..=3), entries("b", epoch, 1..=3), entries("c", epoch, 1..=1)])),
        // The second is missing: what it held of `c`.
        (3, damaged.into()),
        (4, object(4, vec![entries("a", epoch, 6..=7), entries("b", epoch, 6..=7), entries("c", epoch, 3..=3)])),
        (5, object(5, vec![checkpoint("b", epoch, 7), entries("d", epoch, 9..=9)])),
        (6, seal(run(), 6, 2, run())),
    ]);
    let damage: Vec<String> = chain.damage().map(|damage| unreadable(LogName::first_of(run()), &damage)).collect();
    assert_eq!(damage.len(), 2, "{damage:?}");
    assert!(damage[0].contains("object 2 of the log of node a.7: it is missing"), "{damage:?}");
    assert!(damage[1].contains("object 3") && damage[1].contains("checksum"), "{damage:?}");
    let at = |key: &str| place(chain.start(&session(key), epoch, Position::MAX));
    assert_eq!(at("a"), Some((0, 3, Some(4))), "up to what lacks");
    assert_eq!(at("b"), Some((7, 7, None)), "a later checkpoint has it all");
    assert_eq!(at("c"), Some((0, 1, Some(2))));
    assert_eq!(at("d"), None, "its beginning is gone");
    assert_eq!(chain.sealed_by(), Some(run()));
}

#[test]
fn objects_of_another_release_are_told_from_damaged_ones() {
    use crate::envelope::{self, Kind};

    let first = (1, object(1, vec![entries("a", run().first_epoch(), 1..=4)]));
    let other = Bytes::from(envelope::seal(Kind::NodeLog, 9, b"who knows"));
    let chain = read(&[first.clone(), (2, other.clone())]);
    assert!(chain.is_of_other_release());
    let what: Vec<String> = chain.damage().map(|damage| damage.what).collect();
    assert_eq!(what, ["it has format 9, this node reads 1 to 3: it is for nodes of another release"]);
    // Whatever of a whole object is damaged, its version too, it is not that.
    for at in 0..first.1.len() {
        let mut damaged = first.1.to_vec();
        damaged[at] ^= 1;
        let chain = read(&[(1, damaged.into())]);
        assert!(!chain.is_of_other_release() && chain.damage().count() == 1, "flipped at {at}");
    }
}

#[test]
fn what_was_deleted_because_it_was_not_needed_is_not_missing() {
    let epoch = run().first_epoch();
    let items = vec![Item::Roster(Vec::new()), checkpoint("a", epoch, 9)];
    let kept = Object { run: run(), number: 70, maker: 1, first: 1, content: Content::Items(items) }.encode();
    let later = Object { run: run(), number: 72, maker: 1, first: 70, content: Content::Items(vec![]) }.encode();
    let chain = read(&[(70, kept), (72, later)]);
    assert_eq!(chain.damage().map(|damage| (damage.first, damage.last)).collect::<Vec<_>>(), [(71, 71)]);
}

#[test]
fn any_number_of_objects_may_be_missing() {
    let far = 1_000_000_000_000;
    let kept = Object { run: run(), number: far, maker: 1, first: far, content: Content::Items(vec![]) }.encode();
    assert_eq!(read(&[(far, kept)]).damage().next(), None, "they were not needed any more");
    let stray = read(&[(1, object(1, vec![])), (far, object(far, vec![]))]);
    let damage: Vec<String> = stray.damage().map(|damage| unreadable(LogName::first_of(run()), &damage)).collect();
    assert_eq!(damage.len(), 1);
    assert!(damage[0].starts_with("objects 2 to 999999999999 of the log of node"), "{damage:?}");
}

#[test]
fn a_log_that_nobody_needs_any_more_is_its_seal_and_what_says_so() {
    let epoch = run().first_epoch();
    let begun = (1, object(1, vec![opened("a", Tier::Durable), entries("a", epoch, 1..=4)]));
    let seal = (2, seal(run(), 2, 2, run()));
    let clearance = (3, clearance(run(), 3, 3, run()));
    let known = |objects: &[(u64, Bytes)]| {
        let chain = read(objects);
        (chain.is_cleared(), chain.damage().count(), chain.sealed_by(), chain.next_number())
    };
    assert_eq!(known(&[begun.clone(), seal.clone()]), (false, 0, Some(run()), 3));
    assert_eq!(known(std::slice::from_ref(&seal)), (false, 1, Some(run()), 3));
    assert_eq!(known(&[seal.clone(), clearance.clone()]), (true, 0, Some(run()), 3));
    assert_eq!(known(&[begun.clone(), seal.clone(), clearance]), (true, 0, Some(run()), 3), "not deleted yet");
    // Nothing else that comes after a seal says anything: another seal is of one who could not read the first.
    let another = (3, super::seal(run(), 3, 4, run()));
    assert_eq!(known(&[seal.clone(), another]), (false, 1, Some(run()), 3));
    // But what is written after a seal shows that it is none: it was made where there was something once.
    assert_eq!(known(&[seal.clone(), (3, object(3, Vec::new()))]), (false, 1, None, 4));
    assert_eq!(known(&[seal, (3, Bytes::from("who knows"))]), (false, 1, Some(run()), 3));
}

#[test]
fn a_log_is_needed_for_the_sake_of_what_does_not_begin_elsewhere() {
    let member = |id: u64| Member { node: Node { id: NodeId(id), generation: 1 }, worker: WorkerId(0) };
    let led = Leadership::first(session("a"), member(1));
    assert!(needs(Some(&led), false) && !needs(Some(&led), true));
    assert!(!needs(Some(&led.ended(9)), false) && !needs(None, false));
    let moved = |in_sync: &[Member]| led.with_set(in_sync.iter().copied().collect(), 9, Cause::Evicted);
    assert!(moved(&[]).is_at_rest() && !needs(Some(&moved(&[])), false));
    assert!(needs(Some(&moved(&[member(2)])), false), "it is not in the store alone yet");
}

#[test]
fn what_was_open_at_the_end_is_known_by_tier() {
    let chain = read(&[
        (1, object(1, vec![opened("a", Tier::Durable), opened("b", Tier::Replicated), opened("c", Tier::Volatile)])),
        (2, object(2, vec![super::super::writer::closed(session("c"), true), opened("d", Tier::Durable)])),
        (3, object(3, vec![super::super::writer::closed(session("d"), true)])),
    ]);
    assert_eq!(chain.durable().into_iter().cloned().collect::<Vec<_>>(), [session("a")]);
    assert_eq!(chain.others().map(|opened| opened.session.clone()).collect::<Vec<_>>(), [session("b")]);
    assert_eq!(chain.ended().cloned().collect::<Vec<_>>(), [session("c"), session("d")]);
    // A list says who is open, whatever was said before.
    let roster = object(4, vec![Item::Roster(vec![])]);
    let chain = read(&[(1, object(1, vec![opened("b", Tier::Replicated)])), (4, roster)]);
    assert_eq!(chain.others().count(), 0);
}

#[test]
fn a_session_that_several_led_is_found_by_going_back_along_its_lineage() {
    let member = |id: u64| Member { node: Node { id: NodeId(id), generation: 1 }, worker: WorkerId(0) };
    let first = Leadership::first(session("a"), member(1));
    let second =
        first.succeeded(member(2), member(2).epoch_after(1), [].into(), 10, (Cause::Promoted, ChainHome::Store));
    let here = |end| (Start { checkpoint: None, increments: Vec::new(), log: Vec::new(), end, lacks: None }, ());
    let asked = std::cell::RefCell::new(Vec::new());
    let found = |has: &[u64]| {
        asked.borrow_mut().clear();
        start(&second, |epoch, last| {
            asked.borrow_mut().push((epoch.node, last));
            has.contains(&epoch.node).then(|| here(last.min(99)))
        })
    };
    assert_eq!(found(&[1, 2]), Ok(here(99)), "the newest that begins");
    assert_eq!(found(&[1]), Ok(here(10)), "without what the next did not have");
    assert_eq!(*asked.borrow(), [(2, Position::MAX), (1, 10)]);
    assert_eq!(found(&[]), Err(Lost::NoBeginning));
    // One that ends before its epoch begins lacks what is in the one before.
    let ends = |of: [u64; 2]| start(&second, |epoch, last| Some(here(of[epoch.node as usize - 1].min(last))));
    assert_eq!((ends([99, 5]), ends([3, 5]), ends([99, 10])), (Ok(here(10)), Ok(here(5)), Ok(here(10))));
}

/// A whole checkpoint, two increments, another whole one and its increment, each in an object of its own after the entries
/// up to it.
fn chained(epoch: Epoch) -> Vec<(u64, Bytes)> {
    let checkpoints = [
        checkpoint("a", epoch, 2),
        increment("a", epoch, 2, 4),
        increment("a", epoch, 4, 6),
        checkpoint("a", epoch, 8),
        increment("a", epoch, 8, 10),
    ];
    let mut objects = Vec::new();
    for (at, checkpoint) in (1_u64..).zip(checkpoints) {
        objects.push((2 * at - 1, object(2 * at - 1, vec![entries("a", epoch, 2 * at - 1..=2 * at)])));
        objects.push((2 * at, object(2 * at, vec![checkpoint])));
    }
    objects.push((11, object(11, vec![entries("a", epoch, 11..=12)])));
    objects
}

#[test]
fn a_session_goes_on_from_a_checkpoint_and_its_increments() {
    let epoch = run().first_epoch();
    let objects = chained(epoch);
    let found = |chain: Chain, last| steps(chain.start(&session("a"), epoch, last));
    assert_eq!(found(read(&objects), Position::MAX), (vec![8, 10], 12, None));
    assert_eq!(found(read(&objects[..7]), Position::MAX), (vec![2, 4, 6], 8, None));
    // Another led from there on, and took over before the last of these checkpoints.
    assert_eq!(found(read(&objects[..6]), 5), (vec![2, 4], 5, None));
    assert_eq!(found(read(&objects), 9), (vec![8], 9, None));
    assert_eq!(found(read(&objects), 7), (vec![2, 4, 6], 7, None));
    assert_eq!(found(read(&objects[..6]), 1), (vec![], 1, None));
    assert_eq!(
        read(&objects).start(&session("a"), epoch, 1),
        None,
        "a whole one, and what there was before it, are kept"
    );
    assert_eq!(found(read(&objects[..6]), 4), (vec![2, 4], 4, None));
}

#[test]
fn a_damaged_checkpoint_or_increment_loses_nothing_that_the_one_before_and_the_log_have() {
    let epoch = run().first_epoch();
    for (damaged, goes_on) in [
        (2, vec![8, 10]),
        (4, vec![8, 10]),
        // The last whole one: its increment is of no use either.
        (8, vec![2, 4, 6]),
        (10, vec![8]),
    ] {
        let mut objects = chained(epoch);
        let at = damaged as usize - 1;
        let mut bytes = objects[at].1.to_vec();
        bytes[30] ^= 1;
        objects[at].1 = bytes.into();
        let chain = read(&objects);
        assert_eq!(chain.damage().map(|damage| damage.first).collect::<Vec<_>>(), [damaged]);
        assert_eq!(steps(chain.start(&session("a"), epoch, Position::MAX)), (goes_on, 12, None), "without {damaged}");
    }
    // Before there is another whole one.
    let mut objects = chained(epoch);
    objects.truncate(7);
    objects.remove(3);
    assert_eq!(steps(read(&objects).start(&session("a"), epoch, Position::MAX)), (vec![2], 8, None));
    objects.remove(1);
    assert_eq!(
        steps(read(&objects).start(&session("a"), epoch, Position::MAX)),
        (vec![], 8, None),
        "from its beginning"
    );
}

#[test]
fn a_checkpoint_that_is_of_no_use_is_read_over() {
    let epoch = run().first_epoch();
    for (useless, goes_on) in [(vec![10], vec![8]), (vec![8], vec![2, 4, 6]), (vec![8, 2], vec![])] {
        let useless = useless.into_iter().map(|position| (session("a"), epoch, position)).collect();
        let mut chain = Chain::beginning(1, useless);
        chained(epoch).iter().for_each(|(number, bytes)| chain.handle_object(run(), *number, bytes));
        assert_eq!(steps(chain.start(&session("a"), epoch, Position::MAX)), (goes_on, 12, None));
    }
}
