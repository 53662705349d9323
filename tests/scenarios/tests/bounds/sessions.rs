//! What bounds a session in time: windows, checkpoints, ticks that are made up, slices of a rebuild.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bad_citizens::Command as Deed;
use bytes::Bytes;
use ringside_client::core::LinkId;
use ringside_core::durable::object::Item as Logged;
use ringside_core::durable::recovery::Start;
use ringside_core::ids::{Node, NodeId, SessionId, WorkerId};
use ringside_core::leadership::record::{Cause, ChainHome, Member, PartitionPolicy, Record, Terms, Tier};
use ringside_core::limits;
use ringside_core::log::Input;
use ringside_core::recording::{Item, Reader};
use ringside_protocol::frame::{ClientFrame, Resume, ServerFrame};
use ringside_protocol::reason::Reason;
use ringside_sandbox::{CallCost, State};
use ringside_worker::durable::Restore;
use ringside_worker::limits::FOLLOWED;
use ringside_worker::{Command, Event, WorkerConfig};

use crate::stage::{SECOND, Stage, address, echo_message, module, open};

fn deed(number: u64, deed: &Deed) -> ClientFrame {
    ClientFrame::Message { number, body: Bytes::from(ringside_guest::encode(deed)) }
}

/// A player does something and the session is over it.
fn does(stage: &mut Stage, session: &SessionId, id: LinkId, number: u64, what: &Deed) {
    stage.say(id, &deed(number, what));
    stage.until("the deed", SECOND, |stage| {
        let report = stage.host.show(stage.now, session);
        report.is_none_or(|report| report.players[0].last_input == number && report.pause.is_none()).then_some(())
    });
}

fn is_over(stage: &Stage) -> bool {
    stage.events.iter().any(|event| matches!(event, Event::Ended { .. }))
}

#[test]
fn traps_count_for_their_window_and_no_longer() {
    let mut stage = Stage::new(|_| {});
    let session = stage.create("bad-citizens");
    let (id, _) = stage.attach("ann", &session);
    let mut number = 0;
    let mut trap = |stage: &mut Stage| {
        number += 1;
        does(stage, &session, id, number, &Deed::Panic);
    };
    for _ in 1..limits::TRAPS {
        trap(&mut stage);
    }
    stage.pass(limits::TRAP_WINDOW_US);
    for _ in 1..limits::TRAPS {
        trap(&mut stage);
    }
    assert!(!is_over(&stage), "the first ones are forgotten");
    stage.pass(limits::TRAP_WINDOW_US - SECOND);
    trap(&mut stage);
    assert!(is_over(&stage), "these are not");
}

/// Counts calls by what they were told, not by what they took.
fn by_deed(input: &Input, _: &CallCost) -> CallCost {
    let over_budget = matches!(input, Input::Message { body, .. } if **body == *ringside_guest::encode(&overwork()));
    CallCost { over_budget, ..CallCost::default() }
}

fn overwork() -> Deed {
    Deed::Compute(1)
}

#[test]
fn overruns_count_for_their_window_and_no_longer() {
    let mut stage = Stage::new(|config: &mut WorkerConfig| config.cost_of = by_deed);
    let session = stage.create("bad-citizens");
    let (id, _) = stage.attach("ann", &session);
    let moved = |stage: &Stage| stage.events.iter().any(|event| matches!(event, Event::Overran(_)));
    let mut number = 0;
    let mut overrun = |stage: &mut Stage| {
        number += 1;
        does(stage, &session, id, number, &overwork());
    };
    for _ in 1..limits::BUDGET_OVERRUNS {
        overrun(&mut stage);
    }
    stage.pass(limits::BUDGET_WINDOW_US);
    for _ in 1..limits::BUDGET_OVERRUNS {
        overrun(&mut stage);
    }
    assert!(!moved(&stage), "the first ones are forgotten");
    stage.pass(limits::BUDGET_WINDOW_US - SECOND);
    overrun(&mut stage);
    assert!(moved(&stage), "these are not");
}

/// Positions of the checkpoints in a piece of a recording.
fn checkpoints(recorded: &[u8]) -> Vec<u64> {
    let mut reader = Reader::new(recorded).expect("a recording");
    let items = std::iter::from_fn(|| reader.next_item().expect("a whole recording"));
    items
        .filter_map(|item| match item {
            Item::Checkpoint { position, .. } => Some(position),
            _ => None,
        })
        .collect()
}

#[test]
fn checkpoints_come_with_time() {
    let mut stage = Stage::new(|_| {});
    let session = stage.create("arena");
    stage.attach("ann", &session);
    stage.pass(4 * limits::CHECKPOINT_INTERVAL_US);
    let recorded = stage.recorded(&session);
    let found = checkpoints(&recorded);
    assert!((4..=5).contains(&found.len()), "{found:?}");
    let apart = limits::CHECKPOINT_INTERVAL_US / 50_000;
    assert!(found.windows(2).all(|pair| (apart * 4 / 5..=apart + 1).contains(&(pair[1] - pair[0]))), "{found:?}");
}

#[test]
fn checkpoints_come_with_many_entries() {
    let mut stage = Stage::new(|_| {});
    let session = stage.create("echo");
    let (id, attached) = stage.attach("ann", &session);
    stage.pass(limits::CHECKPOINT_INTERVAL_US + 1);
    let before = stage.report(&session).position;
    // As many as may come in less than the interval, each with its acknowledgement.
    let rate = u64::from(attached.input_rate);
    let began = stage.now;
    let mut number = 0;
    while stage.report(&session).position < before + limits::CHECKPOINT_ENTRIES + 100 {
        number += 1;
        stage.say(id, &echo_message(number, 1));
        if number > 1 {
            stage.say(id, &ClientFrame::Acknowledge { up_to: number - 1 });
        }
        stage.pass(SECOND / rate);
    }
    let took = stage.now - began;
    let found = checkpoints(&stage.recorded(&session));
    let by_entries = found.iter().any(|at| (limits::CHECKPOINT_ENTRIES..).contains(&(at - before)));
    assert!(took < limits::CHECKPOINT_INTERVAL_US && by_entries, "{took} µs: {found:?} after {before}");
}

#[test]
fn a_durable_session_is_created_when_the_store_has_its_beginning() {
    let mut stage = Stage::new(|_| {});
    stage.begin("echo-durable");
    stage.pass(SECOND);
    assert_eq!(stage.created(), None, "whoever had it created could lose it");
    stage.store();
    stage.pass(SECOND / 10);
    assert_eq!(stage.created(), Some(Ok(())));
    // One that is not has nothing to wait for.
    stage.events.clear();
    stage.begin("echo");
    stage.pass(SECOND / 10);
    assert_eq!(stage.created(), Some(Ok(())));
}

#[test]
fn a_whole_checkpoint_follows_as_many_increments_as_there_may_be() {
    let mut stage = Stage::new(|_| {});
    let session = stage.create("echo-durable");
    let mut bases = Vec::new();
    for _ in 0..2 * limits::INCREMENTS + 3 {
        let (game, key) = (session.game.clone(), session.key.clone());
        stage.tell(Command::Signal { game, key, source: "echo/other".into(), body: Bytes::from_static(b"hello") });
        let items = logged(&mut stage, limits::CHECKPOINT_INTERVAL_US + SECOND);
        bases.extend(items.into_iter().filter_map(|item| match item {
            Logged::Checkpoint(checkpoint) => Some((None, checkpoint.position)),
            Logged::Increment { base, checkpoint } => Some((Some(base), checkpoint.position)),
            _ => None,
        }));
    }
    let whole: Vec<usize> = (0..bases.len()).filter(|at| bases[*at].0.is_none()).collect();
    assert_eq!(whole, [0, 1 + limits::INCREMENTS as usize, 2 + 2 * limits::INCREMENTS as usize], "{bases:?}");
    let follows = |two: &[(Option<u64>, u64)]| two[1].0.is_none_or(|base| base == two[0].1);
    assert!(bases.windows(2).all(follows), "each is of the one before: {bases:?}");
}

/// What is handed on for the log of the node while some time passes. What is done beside a worker's thread is done at once.
fn logged(stage: &mut Stage, time: u64) -> Vec<Logged> {
    stage.pass(time);
    while let Some(job) = stage.host.worker.poll_job() {
        stage.tell(Command::Done(job.run()));
    }
    stage.pass(SECOND / 100);
    let items = stage.events.drain(..).filter_map(|event| match event {
        Event::Log(items) => Some(items),
        _ => None,
    });
    items.flatten().collect()
}

#[test]
fn a_session_that_begins_again_has_no_checkpoint_of_before_its_epoch_in_its_log() {
    let mut stage = Stage::new(|_| {});
    let session = stage.create("echo-durable");
    let says = |stage: &mut Stage| {
        let (game, key) = (session.game.clone(), session.key.clone());
        stage.tell(Command::Signal { game, key, source: "echo/other".into(), body: Bytes::from_static(b"hello") });
    };
    says(&mut stage);
    let items = logged(&mut stage, limits::CHECKPOINT_INTERVAL_US + SECOND);
    let checkpoint = items.into_iter().find_map(|item| match item {
        Logged::Checkpoint(checkpoint) => Some(checkpoint),
        _ => None,
    });
    let checkpoint = checkpoint.expect("a checkpoint");
    (0..5).for_each(|_| says(&mut stage));
    let entries = logged(&mut stage, SECOND).into_iter().filter_map(|item| match item {
        Logged::Entries { entries, .. } => Some(entries),
        _ => None,
    });
    let log: Vec<_> = entries.flatten().filter(|entry| entry.position > checkpoint.position).collect();
    let end = log.last().expect("entries after it").position;
    // Its node is gone. Another goes on with all of that.
    let me = Member { node: Node { id: NodeId(9), generation: 2 }, worker: WorkerId(0) };
    let first = Record::first(session.clone(), me);
    let cause = (Cause::Recovered { seal: 3 }, ChainHome::Store);
    let record = Arc::new(first.succeeded(me, me.epoch_after(1), BTreeSet::new(), end, cause));
    let (tier, policy) = (Tier::Durable, PartitionPolicy::Consistent);
    let terms = Terms { session: session.clone(), tier, policy, followers: 0, is_recorded: false };
    let state = Some(Arc::new(State::decode(&checkpoint.state).expect("a state")));
    let start = Start { checkpoint: Some(checkpoint), increments: Vec::new(), log, end, lacks: None };
    let mut other = Stage::new(|_| {});
    let module = module("echo-durable");
    let restore = Restore { module, terms, record, state, start, slept: Duration::ZERO };
    other.tell(Command::Restore(Box::new(restore)));
    let items: Vec<Logged> = (0..20).flat_map(|_| logged(&mut other, SECOND / 10)).collect();
    let checkpoints: Vec<u64> = items
        .iter()
        .filter_map(|item| match item {
            Logged::Checkpoint(checkpoint) | Logged::Increment { checkpoint, .. } => Some(checkpoint.position),
            _ => None,
        })
        .collect();
    // What came after the older one is in the log of the node that is gone: it would seem to be all there is.
    assert_eq!(checkpoints, [end]);
}

#[test]
fn ticks_that_were_missed_are_made_up_as_far_as_the_bound_and_then_slipped() {
    let mut stage = Stage::new(|_| {});
    let session = stage.create("arena");
    stage.attach("ann", &session);
    stage.pass(SECOND);
    let period = SECOND / 20;
    for (missed, slipped) in [(limits::TICKS_MADE_UP, 0), (limits::TICKS_MADE_UP + 5, 5)] {
        let tick = stage.report(&session).tick;
        stage.until("a tick", SECOND, |stage| (stage.report(&session).tick > tick).then_some(()));
        let before = stage.report(&session);
        let began = stage.now;
        // The next tick is due in a period; then so many more are missed, and a half.
        stage.hold(period * (missed + 1) + period / 2);
        stage.pass(SECOND);
        let after = stage.report(&session);
        let lost = (after.usage.slipped_us - before.usage.slipped_us) / period;
        assert_eq!(lost, slipped, "of {missed} ticks");
        let ticks = (stage.now - began) / period;
        assert!(after.tick - before.tick + lost + 1 >= ticks, "the others ran");
        let time = after.time_us - before.time_us;
        assert!(time <= (ticks - lost + 1) * period, "session time stands still for what was given up");
    }
}

#[test]
fn a_rebuild_goes_by_slices() {
    let mut ordinary = std::time::Duration::ZERO;
    // The stage's worker does a record a turn.
    let mut stage = Stage::new(|config: &mut WorkerConfig| {
        ordinary =
            WorkerConfig::new(config.node, config.worker, config.certificate, config.started_ms, config.started).slice;
    });
    assert_eq!(ordinary.as_micros() as u64, limits::SLICE_US);
    let session = stage.create("bad-citizens");
    let (id, _) = stage.attach("ann", &session);
    for number in 1..=100 {
        does(&mut stage, &session, id, number, &Deed::Behave);
    }
    let before = stage.turns;
    does(&mut stage, &session, id, 101, &Deed::Panic);
    let turns = stage.turns - before;
    assert!(turns >= 100, "{turns} turns for the rebuild of more than 100 entries");
}

#[test]
fn a_large_checkpoint_is_restored_by_slices() {
    let mut stage = Stage::new(|_| {});
    let session = stage.create("bad-citizens");
    let (id, _) = stage.attach("ann", &session);
    let (pieces, piece) = (16, 256 << 10);
    for number in 1..=pieces {
        does(&mut stage, &session, id, number, &Deed::Hoard(piece));
    }
    stage.pass(limits::CHECKPOINT_INTERVAL_US);
    let before = stage.turns;
    does(&mut stage, &session, id, pieces + 1, &Deed::Panic);
    let rebuilt = stage.turns - before;
    assert!(rebuilt > pieces, "{rebuilt} turns for the rebuild of a state of {pieces} pieces");
    assert!(!checkpoints(&stage.recorded(&session)).is_empty(), "its hash, made by slices, is in the recording");
}

#[test]
fn sessions_that_a_worker_follows_are_bounded() {
    let mut stage = Stage::new(|_| ());
    let module = module("echo");
    for number in 0..=FOLLOWED {
        stage.follow(&format!("echo/room@{number:016x}").parse().expect("a session"), &module);
    }
    stage.pass(SECOND);
    assert_eq!(stage.host.worker.held().followed, FOLLOWED);
}

#[test]
fn sessions_of_a_worker_are_bounded() {
    let mut ordinary = 0;
    let mut stage = Stage::new(|config: &mut WorkerConfig| {
        ordinary = config.sessions;
        config.sessions = 3;
        config.cost_of = by_deed;
    });
    assert_eq!(ordinary, ringside_worker::limits::SESSIONS);
    let sessions: Vec<SessionId> = (0..3).map(|_| stage.create("bad-citizens")).collect();
    let refusal = stage.refused("echo");
    assert!(refusal.contains("3 sessions"), "{refusal}");
    // One is given away, its place is taken, and it comes back.
    let (id, _) = stage.attach("ann", &sessions[0]);
    for number in 1..=limits::BUDGET_OVERRUNS as u64 {
        does(&mut stage, &sessions[0], id, number, &overwork());
    }
    let moved = |event: Event| match event {
        Event::Overran(moved) => Some(moved),
        _ => None,
    };
    let moved = std::mem::take(&mut stage.events).into_iter().find_map(moved).expect("it was over its budget");
    stage.create("echo");
    stage.tell(Command::Adopt(moved));
    stage.pass(SECOND);
    let ended = |event: &Event| match event {
        Event::Ended { session, reason, .. } => Some((session.clone(), reason.clone())),
        _ => None,
    };
    let (session, reason) = stage.events.iter().find_map(ended).expect("there is no place for it");
    assert_eq!(session, sessions[0]);
    assert!(reason.contains("3 sessions"), "{reason}");
}

#[test]
fn a_rejection_that_was_lost_with_its_connection_is_told_again() {
    let mut stage = Stage::new(|_| {});
    let session = stage.create("bad-citizens");
    let (id, attached) = stage.attach("ann", &session);
    stage.mute = true;
    does(&mut stage, &session, id, 1, &Deed::Panic);
    stage.mute = false;
    let again = stage.connected(address(201, 1));
    let ClientFrame::Open(mut frame) = open("ann", &session) else { unreachable!("it opens") };
    frame.resume = Some(Resume {
        token: attached.resume_token.clone(),
        incarnation: session.incarnation,
        joined: attached.joined,
        branch: attached.branch,
        last_output: 0,
    });
    stage.say(again, &ClientFrame::Open(frame));
    stage.until("the news", SECOND, |stage| {
        let told =
            |frame: &ServerFrame| matches!(frame, ServerFrame::Rejected { number: 1, cause: Reason::MessageTrapped });
        stage.link(again).frames.iter().any(told).then_some(())
    });
    assert!(matches!(stage.link(again).frames[0], ServerFrame::Attached(_)));
}

#[test]
fn a_session_that_is_thought_empty_ends_only_if_it_is() {
    let mut stage = Stage::new(|_| {});
    let session = stage.create("echo");
    let (id, _) = stage.attach("ann", &session);
    let order = |stage: &mut Stage| {
        let (reply, answer) = std::sync::mpsc::channel();
        let reply = Box::new(move |was_there| reply.send(was_there).expect("heard"));
        stage.tell(Command::End { session: session.clone(), if_empty: true, reason: "nobody is in it".into(), reply });
        stage.pass(SECOND / 10);
        assert!(answer.recv().expect("an answer"), "it is here");
    };
    order(&mut stage);
    assert!(!is_over(&stage), "somebody has come");
    stage.say(id, &ClientFrame::Leave);
    stage.until("the leave", SECOND, |stage| {
        stage.host.show(stage.now, &session).expect("the session").players.is_empty().then_some(())
    });
    order(&mut stage);
    assert!(is_over(&stage));
}
