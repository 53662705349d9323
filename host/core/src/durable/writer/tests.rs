//! The writer, step by step.

use super::super::object::tests::run;
use super::*;
use crate::ids::ModuleHash;
use crate::leadership::lineage::Lineage;
use crate::leadership::record::Tier;
use crate::log::{Input, Outcome, Record};

fn session(key: &str) -> SessionId {
    format!("arena/{key}@0000000000000001").parse().unwrap()
}

fn epoch() -> Epoch {
    run().first_epoch()
}

fn entries(key: &str, positions: std::ops::RangeInclusive<u64>) -> Item {
    let entry = |position| Record { position, time_us: position, input: Input::Tick, outcome: Outcome::Applied };
    Item::Entries { session: session(key), epoch: epoch(), entries: positions.map(entry).collect() }
}

/// An entry as large as one may be.
fn large(key: &str, position: Position, bytes: usize) -> Item {
    let config = vec![0; bytes].into();
    let input = Input::Start { module: ModuleHash([0; 32]), rewriter: 1, seed: [0; 32], config };
    let entries = vec![Record { position, time_us: 0, input, outcome: Outcome::Applied }];
    Item::Entries { session: session(key), epoch: epoch(), entries }
}

fn checkpoint(key: &str, position: Position, bytes: usize) -> Item {
    Item::Checkpoint(Box::new(Checkpoint {
        session: session(key),
        epoch: epoch(),
        position,
        lineage: Lineage::new(epoch()),
        beside: Bytes::new(),
        state: vec![0; bytes].into(),
    }))
}

fn increment(key: &str, base: Position, position: Position) -> Item {
    let Item::Checkpoint(checkpoint) = checkpoint(key, position, 1) else { panic!("a checkpoint") };
    Item::Increment { base, checkpoint }
}

/// The question that is asked, and everything else that is said.
fn said(writer: &mut Writer) -> (Option<(u64, Request)>, Vec<Output>) {
    let (mut question, mut others) = (None, Vec::new());
    while let Some(output) = writer.poll() {
        match output {
            Output::Ask(number, request) => question = Some((number, request)),
            other => others.push(other),
        }
    }
    (question, others)
}

fn create(writer: &mut Writer) -> (u64, u64, Object) {
    match said(writer).0 {
        Some((question, Request::Create { number, object })) => (question, number, Object::decode(&object).unwrap()),
        other => panic!("a create: {other:?}"),
    }
}

fn stored(key: &str, position: Position) -> Output {
    Output::Stored { session: session(key), epoch: epoch(), position }
}

fn items(object: &Object) -> usize {
    match &object.content {
        Content::Items(items) => items.len(),
        Content::Seal { .. } => 0,
    }
}

#[test]
fn one_object_is_on_its_way_and_what_comes_meanwhile_is_the_next() {
    let mut writer = Writer::new(run(), 1);
    writer.handle_item(0, entries("a", 1..=2));
    let (question, number, _) = create(&mut writer);
    writer.handle_item(1, entries("a", 3..=3));
    writer.handle_item(1, entries("b", 1..=5));
    assert_eq!((number, said(&mut writer)), (1, (None, Vec::new())));
    writer.handle_reply(2, question, Reply::Created);
    let (asked, others) = said(&mut writer);
    assert_eq!(others, [stored("a", 2)]);
    let Some((question, Request::Create { number: 2, object })) = asked else { panic!("{asked:?}") };
    assert_eq!(items(&Object::decode(&object).unwrap()), 2);
    assert!(!writer.is_idle());
    writer.handle_reply(3, question, Reply::Created);
    assert_eq!(said(&mut writer), (None, vec![stored("a", 3), stored("b", 5)]));
    assert!(writer.is_idle() && writer.next_timeout().is_none());
}

#[test]
fn an_error_is_tried_again_with_growing_pauses_and_what_was_made_all_the_same_is_known_by_its_bytes() {
    let mut writer = Writer::new(run(), 1);
    writer.handle_item(0, entries("a", 1..=2));
    let (mut question, _, first) = create(&mut writer);
    let (mut now, mut pause) = (0, FIRST_PAUSE_US);
    let mut is_away = false;
    for _ in 0..10 {
        writer.handle_reply(now, question, Reply::Failed);
        let (asked, others) = said(&mut writer);
        is_away |= others == [Output::Away(true)];
        assert_eq!((asked, writer.next_timeout()), (None, Some(now + pause)));
        now += pause;
        pause = (2 * pause).min(LONGEST_PAUSE_US);
        writer.handle_timeout(now);
        let (again, _, object) = create(&mut writer);
        assert_eq!(object, first, "the same once more");
        question = again;
    }
    assert!(is_away, "that is said");
    writer.handle_reply(now, question, Reply::Exists);
    let Some((question, Request::Read { number: 1 })) = said(&mut writer).0 else { panic!("it is looked at") };
    writer.handle_reply(now, question, Reply::Found(first.encode()));
    assert_eq!(said(&mut writer), (None, vec![Output::Away(false), stored("a", 2)]));
}

#[test]
fn silence_is_an_error_and_a_late_answer_means_nothing() {
    let mut writer = Writer::new(run(), 1);
    writer.handle_item(0, entries("a", 1..=2));
    let (late, ..) = create(&mut writer);
    writer.handle_timeout(ANSWER_US);
    writer.handle_timeout(ANSWER_US + FIRST_PAUSE_US);
    let (question, ..) = create(&mut writer);
    writer.handle_reply(ANSWER_US + FIRST_PAUSE_US, late, Reply::Exists);
    assert_eq!(said(&mut writer), (None, Vec::new()));
    writer.handle_reply(ANSWER_US + FIRST_PAUSE_US, question, Reply::Created);
    assert!(said(&mut writer).1.contains(&stored("a", 2)));
}

#[test]
fn anybody_elses_object_under_its_number_is_the_end() {
    for theirs in [
        super::super::recovery::seal(run(), 1, 9, run()),
        Object { run: run(), number: 1, maker: 2, first: 1, content: Content::Items(vec![]) }.encode(),
        Bytes::from("rubbish"),
    ] {
        let mut writer = Writer::new(run(), 1);
        writer.handle_item(0, entries("a", 1..=2));
        let (question, ..) = create(&mut writer);
        writer.handle_reply(0, question, Reply::Exists);
        let Some((question, _)) = said(&mut writer).0 else { panic!("it is looked at") };
        writer.handle_reply(0, question, Reply::Found(theirs));
        assert_eq!(said(&mut writer), (None, vec![Output::Sealed]));
        writer.handle_item(1, entries("a", 3..=3));
        assert_eq!((writer.is_sealed(), writer.waiting_bytes(), said(&mut writer)), (true, 0, (None, Vec::new())));
    }
}

#[test]
fn notes_of_what_is_not_durable_wait_for_company() {
    let mut writer = Writer::new(run(), 1);
    let opened = Opened { session: session("v"), tier: Tier::Volatile, charter: Bytes::new() };
    writer.handle_item(0, Item::Opened(opened));
    assert_eq!((said(&mut writer).0, writer.next_timeout()), (None, Some(NOTES_US)));
    writer.handle_item(1, entries("a", 1..=1));
    let (_, _, object) = create(&mut writer);
    assert_eq!(items(&object), 2);
}

#[test]
fn a_track_with_a_hole_is_stored_when_a_checkpoint_after_it_is() {
    let mut writer = Writer::new(run(), 1);
    // Promoted here: what came before is in the log of another.
    writer.handle_item(0, entries("a", 11..=12));
    let (asked, others) = said(&mut writer);
    assert_eq!(others, [Output::Checkpoint(session("a"))]);
    writer.handle_reply(0, asked.unwrap().0, Reply::Created);
    assert_eq!(said(&mut writer), (None, vec![]), "nothing of it counts as stored");
    writer.handle_item(0, checkpoint("a", 11, 9));
    let (question, ..) = create(&mut writer);
    writer.handle_reply(0, question, Reply::Created);
    assert_eq!(said(&mut writer).1, [stored("a", 12)]);
    // A batch got lost on the way.
    writer.handle_item(1, entries("a", 14..=14));
    let (asked, others) = said(&mut writer);
    assert_eq!(others, [Output::Checkpoint(session("a"))]);
    writer.handle_reply(1, asked.unwrap().0, Reply::Created);
    writer.handle_item(2, checkpoint("a", 12, 9));
    let (question, ..) = create(&mut writer);
    writer.handle_reply(2, question, Reply::Created);
    assert_eq!(said(&mut writer).1, [Output::Checkpoint(session("a"))], "it was of before the hole");
    writer.handle_item(3, checkpoint("a", 13, 9));
    let (question, ..) = create(&mut writer);
    writer.handle_reply(3, question, Reply::Created);
    assert_eq!(said(&mut writer).1, [stored("a", 14)]);
}

#[test]
fn what_finds_no_room_is_left_out_and_a_checkpoint_comes_in_its_place() {
    let mut writer = Writer::new(run(), 1);
    writer.handle_item(0, entries("a", 1..=1));
    let (question, ..) = create(&mut writer);
    let mut position = 1;
    while writer.left_out() == 0 {
        position += 1;
        writer.handle_item(0, large("a", position, 1 << 20));
        assert!(writer.waiting_bytes() <= LOG_BACKLOG_BYTES);
    }
    assert!(position as usize >= LOG_BACKLOG_BYTES / (1 << 20) - 1);
    writer.handle_reply(1, question, Reply::Created);
    let mut wanted = 0;
    loop {
        let (asked, others) = said(&mut writer);
        assert!(others.iter().all(|output| *output == Output::Checkpoint(session("a"))), "nothing counts: {others:?}");
        wanted += others.len();
        let Some((question, Request::Create { object, .. })) = asked else { break };
        assert!(object.len() <= LOG_OBJECT_BYTES + (1 << 20));
        writer.handle_reply(1, question, Reply::Created);
    }
    assert_eq!(wanted, 1, "when there is room again, though nothing more happens in the session");
    writer.handle_item(2, entries("a", position + 1..=position + 1));
    let (asked, others) = said(&mut writer);
    assert_eq!(others, []);
    writer.handle_reply(2, asked.unwrap().0, Reply::Created);
    writer.handle_item(3, checkpoint("a", position + 1, 100));
    let (question, ..) = create(&mut writer);
    writer.handle_reply(3, question, Reply::Created);
    assert_eq!(said(&mut writer).1, [stored("a", position + 1)]);
}

#[test]
fn a_checkpoint_that_finds_no_room_is_asked_for_again() {
    let mut writer = Writer::new(run(), 1);
    writer.handle_item(0, entries("a", 1..=1));
    let (mut flight, ..) = create(&mut writer);
    let fill = |writer: &mut Writer, key, from| {
        let left_out = writer.left_out();
        let mut positions = from..;
        while writer.left_out() == left_out {
            writer.handle_item(0, large(key, positions.next().unwrap(), 1 << 20));
        }
        positions.start - 1
    };
    let last = fill(&mut writer, "a", 2);
    // What is asked for while objects are made, and whether one is on its way.
    let step = |writer: &mut Writer, flight: &mut u64| {
        writer.handle_reply(1, *flight, Reply::Created);
        let (asked, others) = said(writer);
        asked.iter().for_each(|(question, _)| *flight = *question);
        (others, asked.is_some())
    };
    while !step(&mut writer, &mut flight).0.contains(&Output::Checkpoint(session("a"))) {}
    fill(&mut writer, "b", 1);
    writer.handle_item(1, checkpoint("a", last, 2 << 20));
    let mut wanted = 0;
    loop {
        let (others, goes_on) = step(&mut writer, &mut flight);
        wanted += others.iter().filter(|output| **output == Output::Checkpoint(session("a"))).count();
        if !goes_on {
            break;
        }
    }
    assert_eq!(wanted, 1, "though nothing more happens in the session");
}

#[test]
fn a_checkpoint_larger_than_one_may_be_is_left_out() {
    let mut writer = Writer::new(run(), 1);
    writer.handle_item(0, checkpoint("a", 4, LOG_ITEM_BYTES));
    assert_eq!((writer.left_out(), said(&mut writer).0), (1, None));
    writer.handle_item(0, checkpoint("a", 4, LOG_ITEM_BYTES - 8192));
    let (_, _, object) = create(&mut writer);
    assert_eq!(items(&object), 1, "alone in its object");
}

#[test]
fn objects_before_a_list_and_every_checkpoint_may_go_and_who_holds_them_up_is_asked() {
    let mut writer = Writer::new(run(), 1);
    let opened = |key| Item::Opened(Opened { session: session(key), tier: Tier::Durable, charter: Bytes::new() });
    writer.handle_item(0, opened("a"));
    writer.handle_item(0, opened("idle"));
    writer.handle_item(0, entries("idle", 1..=1));
    let (mut forgot, mut asked_for, mut lists, mut said_first) = (Vec::new(), 0, 0, 1);
    for position in 1..=4 * LOG_HELD_OBJECTS {
        writer.handle_item(position, entries("a", position..=position));
        if position % 10 == 0 {
            writer.handle_item(position, checkpoint("a", position, 10));
        }
        loop {
            let (asked, others) = said(&mut writer);
            for output in others {
                match output {
                    Output::Forget { first } => {
                        assert_eq!(first, said_first, "whoever reads the log must know that nothing is missing");
                        forgot.push((writer.next_number(), first));
                    }
                    Output::Checkpoint(of) if of == session("idle") => {
                        asked_for += 1;
                        writer.handle_item(position, checkpoint("idle", 1, 10));
                    }
                    _ => {}
                }
            }
            let Some((question, Request::Create { object, .. })) = asked else { break };
            let object = Object::decode(&object).unwrap();
            said_first = object.first;
            let Content::Items(items) = object.content else { panic!("items") };
            lists += items.iter().filter(|item| matches!(item, Item::Roster(all) if all.len() == 2)).count();
            writer.handle_reply(position, question, Reply::Created);
        }
    }
    assert!(asked_for >= 1 && lists >= 4, "{asked_for} {lists}");
    let (next, first) = *forgot.last().expect("something may go");
    assert!(first > 1 && next - first <= LOG_HELD_OBJECTS + 3 * LOG_ROSTER_OBJECTS, "{forgot:?}");
}

/// Everything that was handed in is made; what else was said.
fn make_all(writer: &mut Writer, now: u64) -> Vec<Output> {
    let mut all = Vec::new();
    loop {
        let (asked, others) = said(writer);
        all.extend(others);
        let Some((question, _)) = asked else { return all };
        writer.handle_reply(now, question, Reply::Created);
    }
}

/// Entries of `a` are written until something may go, and what follows that: the first that stays, and of whom it is asked.
fn forgets(writer: &mut Writer, now: u64) -> (u64, Vec<SessionId>) {
    let (mut first, mut asked) = (0, Vec::new());
    let from = 10_000 * writer.next_number();
    for position in from..=from + LOG_ROSTER_OBJECTS + 1 {
        writer.handle_item(now, entries("a", position..=position));
        writer.handle_item(now, checkpoint("a", position, 10));
        for output in make_all(writer, now) {
            match output {
                Output::Forget { first: said } => first = said,
                Output::Departed(sessions) => asked.extend(sessions.into_iter().map(|(session, _)| session)),
                _ => {}
            }
        }
    }
    (first, asked)
}

#[test]
fn what_another_leads_now_stays_until_that_one_has_it() {
    let gone = session("gone");
    let closed = |why| Item::Closed { session: session("gone"), why };
    let begun = || {
        let mut writer = Writer::new(run(), 1);
        assert!(forgets(&mut writer, 0).0 >= LOG_ROSTER_OBJECTS, "nothing else holds it up");
        writer.handle_item(0, entries("gone", 1..=5));
        make_all(&mut writer, 0);
        let held = writer.next_number() - 1;
        (writer, held)
    };
    let (mut writer, held) = begun();
    writer.handle_item(0, closed(Closed::LedElsewhere));
    assert_eq!(forgets(&mut writer, DEPARTED_US - 1), (held, vec![]));
    assert_eq!(forgets(&mut writer, DEPARTED_US), (0, vec![gone.clone()]));
    assert_eq!(forgets(&mut writer, DEPARTED_US), (0, vec![]), "once a while");
    assert_eq!(forgets(&mut writer, 2 * DEPARTED_US), (0, vec![gone.clone()]));
    // What was asked of another time that it was here, or of another log, is no answer.
    let log = writer.log();
    writer.handle_settled(log, &gone, held + 1);
    writer.handle_settled(log.after(9), &gone, held);
    assert_eq!(forgets(&mut writer, 2 * DEPARTED_US).0, 0);
    writer.handle_settled(log, &gone, held);
    assert!(forgets(&mut writer, 2 * DEPARTED_US).0 > held);
    // It comes back: what there was is needed until it has a checkpoint here.
    let (mut writer, held) = begun();
    writer.handle_item(0, closed(Closed::LedElsewhere));
    writer.handle_item(1, entries("gone", 9..=9));
    assert_eq!(forgets(&mut writer, DEPARTED_US), (held, vec![]));
    writer.handle_item(1, checkpoint("gone", 9, 10));
    assert!(forgets(&mut writer, DEPARTED_US).0 > held);
    // It goes again before anything of that is stored.
    let (mut writer, held) = begun();
    writer.handle_item(0, closed(Closed::LedElsewhere));
    writer.handle_item(1, entries("gone", 9..=9));
    writer.handle_item(1, closed(Closed::LedElsewhere));
    assert_eq!(forgets(&mut writer, 1), (held, vec![]));
    // Nobody needs what has ended, or is in the store.
    let (mut writer, held) = begun();
    writer.handle_item(0, closed(Closed::LedElsewhere));
    writer.handle_item(0, closed(Closed::Ended));
    assert!(forgets(&mut writer, 0).0 > held);
    let (mut writer, held) = begun();
    writer.handle_evicted(0, gone);
    assert!(forgets(&mut writer, 0).0 > held);
}

#[test]
fn beyond_the_bound_of_those_that_others_lead_nothing_is_forgotten() {
    let mut writer = Writer::new(run(), 1);
    let leaves = |writer: &mut Writer, key: &str| {
        writer.handle_item(0, entries(key, 1..=1));
        make_all(writer, 0);
        let held = writer.next_number() - 1;
        writer.handle_item(0, Item::Closed { session: session(key), why: Closed::LedElsewhere });
        held
    };
    let keys: Vec<String> = (0..LOG_DEPARTED).map(|at| format!("k{at}")).collect();
    let firsts: Vec<u64> = keys.iter().map(|key| leaves(&mut writer, key)).collect();
    let held = leaves(&mut writer, "beyond");
    let log = writer.log();
    keys.iter().zip(firsts).for_each(|(key, first)| writer.handle_settled(log, &session(key), first));
    for _ in 0..2 {
        assert!((0..=held).contains(&forgets(&mut writer, DEPARTED_US).0));
    }
    assert!(writer.next_number() > held + LOG_ROSTER_OBJECTS);
}

#[test]
fn an_increment_needs_the_whole_checkpoint_that_it_goes_back_to() {
    let mut writer = Writer::new(run(), 1);
    for (at, item) in [
        entries("a", 1..=4),
        checkpoint("a", 4, 10),
        entries("a", 5..=8),
        increment("a", 4, 8),
        entries("a", 9..=9),
        increment("a", 8, 9),
    ]
    .into_iter()
    .enumerate()
    {
        writer.handle_item(at as u64, item);
        make_all(&mut writer, at as u64);
    }
    let first = |writer: &Writer| writer.sessions().map(|(_, first)| first).next().unwrap();
    assert_eq!((writer.next_number(), first(&writer)), (7, Some(2)));
    writer.handle_item(9, checkpoint("a", 9, 10));
    make_all(&mut writer, 9);
    assert_eq!((first(&writer), writer.left_out()), (Some(7), 0));
}

#[test]
fn an_increment_whose_base_was_left_out_is_left_out_and_a_whole_one_asked_for() {
    let mut writer = Writer::new(run(), 1);
    writer.handle_item(0, entries("a", 1..=4));
    writer.handle_item(0, checkpoint("a", 4, LOG_ITEM_BYTES));
    writer.handle_item(0, increment("a", 4, 6));
    writer.handle_item(0, increment("a", 6, 8));
    let asked = make_all(&mut writer, 0);
    assert_eq!((asked, writer.left_out()), (vec![Output::Checkpoint(session("a")), stored("a", 4)], 3));
    writer.handle_item(1, checkpoint("a", 9, 10));
    writer.handle_item(1, increment("a", 9, 10));
    assert_eq!(make_all(&mut writer, 1), [stored("a", 9), stored("a", 10)]);
    // Nor does one follow what another epoch had.
    let Item::Increment { base, mut checkpoint } = increment("a", 10, 12) else { panic!("an increment") };
    checkpoint.epoch.number += 1;
    writer.handle_item(2, Item::Increment { base, checkpoint });
    assert_eq!(make_all(&mut writer, 2), [Output::Checkpoint(session("a"))]);
}

#[test]
fn an_increment_fills_a_hole_and_its_base_stays_though_it_did_not() {
    let mut writer = Writer::new(run(), 1);
    writer.handle_item(0, entries("a", 1..=4));
    make_all(&mut writer, 0);
    // Entries are lost, and a checkpoint from before that is written.
    writer.handle_item(1, entries("a", 9..=9));
    writer.handle_item(1, checkpoint("a", 6, 10));
    let said = make_all(&mut writer, 1);
    assert!(!said.iter().any(|said| matches!(said, Output::Stored { .. })), "{said:?}");
    writer.handle_item(2, increment("a", 6, 9));
    assert_eq!(make_all(&mut writer, 2), [stored("a", 9)]);
    let (_, first) = writer.sessions().next().unwrap();
    assert!(first.is_some_and(|first| first <= 3), "{first:?}");
}

/// Seals the log under the object that is on its way.
fn seal(writer: &mut Writer, now: u64) {
    let (question, number, _) = create(writer);
    writer.handle_reply(now, question, Reply::Exists);
    let Some((question, Request::Read { .. })) = said(writer).0 else { panic!("it is looked at") };
    let seal = super::super::recovery::seal(run(), number, 9, run());
    writer.handle_reply(now, question, Reply::Found(seal));
    assert_eq!(said(writer), (None, vec![Output::Sealed]));
}

#[test]
fn after_a_seal_another_log_begins_with_whom_the_run_leads_and_nothing_else() {
    let mut writer = Writer::new(run(), 1);
    let opened = |key| Opened { session: session(key), tier: Tier::Volatile, charter: Bytes::new() };
    writer.handle_item(0, Item::Opened(opened("v")));
    writer.handle_item(0, entries("a", 1..=2));
    let (question, ..) = create(&mut writer);
    writer.handle_reply(0, question, Reply::Created);
    said(&mut writer);
    writer.handle_item(0, entries("a", 3..=3));
    seal(&mut writer, 0);
    // Others come and go meanwhile.
    writer.handle_item(1, Item::Opened(opened("w")));
    writer.handle_item(1, Item::Closed { session: session("v"), why: Closed::Ended });
    writer.handle_reopen(1);
    writer.handle_item(1, entries("a", 4..=4));
    let (question, number, object) = create(&mut writer);
    assert_eq!((number, writer.log()), (3, LogName { run: run(), first: 3 }));
    assert_eq!(object.content, Content::Items(vec![Item::Roster(vec![opened("w")])]));
    assert_eq!(object.first, 3);
    assert!(writer.is_sealed());
    writer.handle_reply(2, question, Reply::Created);
    assert_eq!(said(&mut writer), (None, vec![Output::Reopened]));
    assert!(!writer.is_sealed());
    // It has nothing of what came before.
    writer.handle_item(3, entries("a", 5..=5));
    let (asked, others) = said(&mut writer);
    assert_eq!(others, [Output::Checkpoint(session("a"))]);
    let Some((question, _)) = asked else { panic!("it is written") };
    writer.handle_reply(3, question, Reply::Created);
    assert_eq!(said(&mut writer), (None, Vec::new()), "not stored: it lacks what came before");
}

#[test]
fn a_log_that_is_sealed_again_and_again_is_begun_anew_later_each_time() {
    let mut writer = Writer::new(run(), 1);
    let mut now = 0;
    let sealed = |writer: &mut Writer, now: u64| {
        writer.handle_item(now, entries("a", 1..=2));
        seal(writer, now);
        writer.handle_reopen(now);
        let is_at_once = writer.flight.is_some();
        let due = if is_at_once { now } else { writer.next_timeout().unwrap() };
        writer.handle_timeout(due);
        let (question, ..) = create(writer);
        writer.handle_reply(due, question, Reply::Created);
        assert_eq!(said(writer), (None, vec![Output::Reopened]));
        due - now
    };
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let pause = sealed(&mut writer, now);
        now += pause;
        pauses.push(pause);
    }
    assert_eq!(pauses[..3], [0, FIRST_REOPEN_US, 2 * FIRST_REOPEN_US]);
    assert_eq!(pauses.last(), Some(&LONGEST_REOPEN_US));
    // Whoever sealed it can be reached again.
    assert_eq!(sealed(&mut writer, now + CALM_US), 0);
}
