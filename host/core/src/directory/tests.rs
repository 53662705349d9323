//! The directory's promises, one scenario each.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::*;
use crate::ids::{ModuleHash, NodeId};
use crate::limits;
use crate::placement::Policy;

const SECOND: u64 = 1_000_000;

fn me() -> Node {
    Node { id: NodeId(1), generation: 5 }
}

fn facts(max_players: u32, late_join: bool) -> GameFacts {
    GameFacts {
        module: ModuleHash([0; 32]),
        replicas: Replicas::default(),
        pace: Pace::Ticking,
        min_players: max_players.min(2),
        max_players,
        late_join,
    }
}

fn directory(max_players: u32, late_join: bool) -> Directory {
    let mut directory = Directory::new(me(), Limits { sessions: 1000 });
    directory.handle_game("pong".parse().unwrap(), facts(max_players, late_join));
    directory.handle_worker(WorkerId(0));
    directory
}

fn player(number: usize) -> PlayerId {
    format!("player-{number}").parse().unwrap()
}

fn find(number: usize) -> Find {
    Find {
        game: "pong".parse().unwrap(),
        criteria: String::new(),
        player: player(number),
        record: false,
        may_create: true,
        draw: Draw { key: (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15), incarnation: number as u64 },
    }
}

fn open(game: &str, key: &str) -> Open {
    let (game, key) = (game.parse().unwrap(), key.parse().unwrap());
    Open { game, key, record: false, may_create: false, draw: Draw { key: 1, incarnation: 1 } }
}

fn create(key: Option<&str>, config: &'static [u8]) -> Create {
    Create {
        game: "pong".parse().unwrap(),
        key: key.map(|key| key.parse().unwrap()),
        config: Bytes::from_static(config),
        record: false,
        listed: Some(String::new()),
        policy: Policy::Ring,
        draw: Draw { key: 7, incarnation: 7 },
    }
}

/// Confirms every creation and returns the answers.
fn settle(directory: &mut Directory, now: u64) -> Vec<(RequestId, Result<Placed, Refusal>)> {
    let mut answers = Vec::new();
    while let Some(action) = directory.poll_action() {
        match action {
            Action::Create { session, worker, .. } => directory.handle_created(now, &session, worker, Ok(())),
            Action::Answer { request, answer } => answers.push((request, answer)),
            Action::End { session, .. } => directory.handle_ended(now, &session, "ended".to_owned()),
            other => panic!("a node alone has nobody to talk to, and nothing is followed: {other:?}"),
        }
    }
    answers
}

fn only(mut answers: Vec<(RequestId, Result<Placed, Refusal>)>) -> Result<Placed, Refusal> {
    assert_eq!(answers.len(), 1, "{answers:?}");
    answers.remove(0).1
}

#[test]
fn ten_who_ask_at_once_fill_one_match() {
    let mut directory = directory(10, true);
    for number in 0..10 {
        directory.handle_find(0, number as u64, find(number));
    }
    let answers = settle(&mut directory, 0);
    assert_eq!(answers.len(), 10);
    let keys: BTreeSet<_> = answers.iter().map(|(_, answer)| answer.as_ref().unwrap().session.key.clone()).collect();
    assert_eq!(keys.len(), 1);
    assert_eq!(answers.iter().filter(|(_, answer)| answer.as_ref().unwrap().created).count(), 1);
    directory.handle_find(0, 11, find(11));
    assert!(!keys.contains(&only(settle(&mut directory, 0)).unwrap().session.key), "an eleventh needs another match");
}

#[test]
fn the_fullest_is_filled_first_and_the_oldest_of_equals() {
    let mut directory = directory(4, true);
    let [first, second] = [1, 2].map(|number| {
        let mut made = create(None, b"");
        made.draw = Draw { key: number, incarnation: number };
        directory.handle_create(number, number, made);
        only(settle(&mut directory, 0)).unwrap().session
    });
    directory.handle_find(3, 3, find(3));
    assert_eq!(only(settle(&mut directory, 3)).unwrap().session, first);
    directory.handle_joined(0, &second, &player(8));
    directory.handle_joined(0, &second, &player(9));
    directory.handle_find(4, 4, find(4));
    assert_eq!(only(settle(&mut directory, 4)).unwrap().session, second);
}

#[test]
fn a_kept_seat_is_given_up_when_its_time_is_over() {
    let mut directory = directory(2, true);
    directory.handle_find(0, 1, find(1));
    directory.handle_find(0, 2, find(2));
    let session = settle(&mut directory, 0)[0].1.clone().unwrap().session;
    directory.handle_joined(0, &session, &player(1));
    assert_eq!(directory.next_timeout(), Some(limits::CREATION_DEADLINE_US.min(limits::RESERVATION_US)));
    directory.handle_timeout(limits::RESERVATION_US - 1);
    directory.handle_find(limits::RESERVATION_US - 1, 3, find(3));
    assert_ne!(only(settle(&mut directory, 0)).unwrap().session, session);
    directory.handle_timeout(limits::RESERVATION_US);
    directory.handle_find(limits::RESERVATION_US, 4, find(4));
    assert_eq!(only(settle(&mut directory, 0)).unwrap().session, session);
}

#[test]
fn who_asks_again_gets_the_same_match() {
    let mut directory = directory(4, true);
    directory.handle_find(0, 1, find(1));
    let first = only(settle(&mut directory, 0)).unwrap().session;
    directory.handle_find(SECOND, 2, find(1));
    assert_eq!(only(settle(&mut directory, 0)).unwrap().session, first);
    directory.handle_joined(0, &first, &player(1));
    directory.handle_find(60 * SECOND, 3, find(1));
    assert_eq!(only(settle(&mut directory, 0)).unwrap().session, first);
    directory.handle_left(61 * SECOND, &first, &player(1));
    assert_eq!(directory.sessions().next().unwrap().reserved, 0);
}

#[test]
fn without_late_joining_a_left_seat_stays_empty() {
    let mut directory = directory(2, false);
    directory.handle_find(0, 1, find(1));
    directory.handle_find(0, 2, find(2));
    let session = settle(&mut directory, 0)[0].1.clone().unwrap().session;
    directory.handle_joined(0, &session, &player(1));
    directory.handle_joined(0, &session, &player(2));
    directory.handle_left(1, &session, &player(2));
    directory.handle_find(2, 3, find(3));
    assert_ne!(only(settle(&mut directory, 2)).unwrap().session, session);
}

#[test]
fn a_game_that_refuses_gets_nobody_else() {
    let mut directory = directory(4, true);
    directory.handle_find(0, 1, find(1));
    let session = only(settle(&mut directory, 0)).unwrap().session;
    directory.handle_refused(0, &session, &player(1));
    directory.handle_find(0, 2, find(1));
    assert_ne!(only(settle(&mut directory, 0)).unwrap().session, session);
}

#[test]
fn creation_is_idempotent_by_key_and_refuses_another_configuration() {
    let mut directory = directory(2, true);
    directory.handle_create(0, 1, create(Some("final"), b"a"));
    let again = Create { draw: Draw { key: 9, incarnation: 9 }, ..create(Some("final"), b"a") };
    directory.handle_create(0, 2, again);
    let answers = settle(&mut directory, 0);
    let [(1, Ok(first)), (2, Ok(second))] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!((first.created, second.created), (true, false));
    assert_eq!(first.session, second.session);
    let other = Create { draw: Draw { key: 3, incarnation: 3 }, ..create(Some("final"), b"b") };
    directory.handle_create(0, 3, other);
    assert_eq!(only(settle(&mut directory, 0)), Err(Refusal::KeyTaken(first.session.clone())));
    directory.handle_ended(1, &first.session, "over".to_owned());
    let mut again = create(Some("final"), b"b");
    again.draw.incarnation = 8;
    directory.handle_create(2, 4, again);
    assert_ne!(only(settle(&mut directory, 2)).unwrap().session.incarnation, first.session.incarnation);
    assert_eq!(directory.ended().next().unwrap().id, first.session);
}

#[test]
fn a_worker_that_fails_or_is_silent_refuses_all_who_wait() {
    let mut directory = directory(4, true);
    directory.handle_find(0, 1, find(1));
    directory.handle_find(0, 2, find(2));
    let Some(Action::Create { session, worker, .. }) = directory.poll_action() else { panic!() };
    directory.handle_created(0, &session, worker, Err("no memory".to_owned()));
    let answers = settle(&mut directory, 0);
    assert_eq!(answers.len(), 2);
    assert!(answers.iter().all(|(_, answer)| *answer == Err(Refusal::Failed("no memory".to_owned()))));
    assert_eq!(directory.sessions().count(), 0);
    assert_eq!(directory.ended().count(), 0, "it never was");

    directory.handle_find(0, 3, find(3));
    let Some(Action::Create { session, worker, .. }) = directory.poll_action() else { panic!() };
    directory.handle_timeout(limits::CREATION_DEADLINE_US);
    let end = Action::End { session: session.clone(), worker, why: Ending::TooLate };
    assert_eq!(directory.poll_action(), Some(end.clone()));
    assert_eq!(only(settle(&mut directory, 0)), Err(Refusal::TimedOut));
    directory.handle_created(limits::CREATION_DEADLINE_US + 1, &session, worker, Ok(()));
    assert_eq!(directory.poll_action(), Some(end), "it came too late and must go");
}

#[test]
fn what_does_not_go_on_from_the_store_has_not_ended() {
    let mut directory = directory(4, true);
    directory.handle_create(0, 1, create(Some("final"), b""));
    let Some(Action::Create { session: birth, .. }) = directory.poll_action() else { panic!() };
    let stored = SessionId { incarnation: Incarnation(99), ..birth.clone() };
    let name = message::name_of(&birth);
    let charter = directory.parts.led.get(&name).unwrap().charter.clone();
    let activate = |directory: &mut Directory, birth: &SessionId| {
        directory.handle_activating(0, birth, Charter { session: stored.clone(), ..charter.clone() }).unwrap();
    };
    activate(&mut directory, &birth);
    for late in 1..=3 {
        directory.handle_timeout(late * limits::CREATION_DEADLINE_US);
        let ends = std::iter::from_fn(|| directory.poll_action()).any(|action| matches!(action, Action::End { .. }));
        assert!(!ends, "the store may be slow");
    }
    let now = 3 * limits::CREATION_DEADLINE_US;
    directory.handle_not_created(now, &stored, &Refusal::Failed("the store is away".to_owned()));
    settle(&mut directory, now);
    assert_eq!((directory.sessions().count(), directory.ended().count()), (0, 0));
    assert!(!directory.parts.home.has_ended(&stored), "who asks again has it");
    directory.handle_create(now, 2, create(Some("final"), b""));
    let Some(Action::Create { session: birth, .. }) = directory.poll_action() else { panic!() };
    activate(&mut directory, &birth);
}

#[test]
fn that_the_store_cannot_be_asked_is_not_that_there_is_nothing_in_it() {
    let mut directory = directory(2, true);
    directory.handle_game("pong".parse().unwrap(), GameFacts { pace: Pace::Prompt, ..facts(2, true) });
    let wanted = open("pong", "final");
    let nothing = Refusal::NoSuchSession(wanted.game.clone(), wanted.key.clone());
    for (request, why) in [(1, Refusal::TimedOut), (2, Refusal::Busy), (3, nothing)] {
        let draw = Draw { key: request, incarnation: request };
        directory.handle_open(0, request, Open { draw, ..wanted.clone() });
        let action = directory.poll_action();
        let Some(Action::Create { session, origin: Origin::Evicted, .. }) = action else { panic!("{why}: {action:?}") };
        directory.handle_not_created(0, &session, &why);
        assert_eq!(only(settle(&mut directory, 0)), Err(why), "who has its timer asks again, unless there is none");
    }
}

#[test]
fn stale_news_of_an_earlier_incarnation_changes_nothing() {
    let mut directory = directory(2, true);
    directory.handle_create(0, 1, create(Some("final"), b""));
    let session = only(settle(&mut directory, 0)).unwrap().session;
    let stale = SessionId { incarnation: Incarnation(99), ..session.clone() };
    directory.handle_joined(0, &stale, &player(1));
    directory.handle_ended(0, &stale, "old".to_owned());
    let entry = directory.get(&session.game, &session.key).unwrap();
    assert_eq!((entry.players, entry.worker, entry.live), (0, WorkerId(0), true));
}

#[test]
fn a_match_made_for_a_player_ends_when_nobody_is_in_it() {
    let mut directory = directory(2, true);
    directory.handle_find(0, 1, find(1));
    let session = only(settle(&mut directory, 0)).unwrap().session;
    directory.handle_timeout(limits::RESERVATION_US);
    directory.handle_timeout(limits::RESERVATION_US + limits::EMPTY_SESSION_US - 1);
    assert_eq!(directory.poll_action(), None);
    directory.handle_timeout(limits::RESERVATION_US + limits::EMPTY_SESSION_US);
    assert_eq!(
        directory.poll_action(),
        Some(Action::End { session: session.clone(), worker: WorkerId(0), why: Ending::Empty })
    );
    directory.handle_ended(0, &session, "nobody is in it".to_owned());

    directory.handle_create(0, 2, create(Some("kept"), b""));
    settle(&mut directory, 0);
    directory.handle_timeout(1000 * SECOND);
    assert_eq!(directory.poll_action(), None, "one that somebody named stays");
}

#[test]
fn a_session_that_a_player_opened_by_its_key_ends_when_nobody_is_in_it() {
    let mut directory = directory(2, true);
    directory.handle_open(0, 1, Open { may_create: true, ..open("pong", "ours") });
    let session = only(settle(&mut directory, 0)).unwrap().session;
    // A second player is sent there: the time begins again, for nobody holds a seat yet.
    directory.handle_open(30 * SECOND, 2, open("pong", "ours"));
    settle(&mut directory, 0);
    directory.handle_timeout(30 * SECOND + limits::EMPTY_SESSION_US + limits::RESERVATION_US - 1);
    assert_eq!(directory.poll_action(), None);
    directory.handle_joined(200 * SECOND, &session, &player(1));
    directory.handle_timeout(1000 * SECOND);
    assert_eq!(directory.poll_action(), None, "somebody is in it");
    directory.handle_left(1000 * SECOND, &session, &player(1));
    directory.handle_timeout(1000 * SECOND + limits::EMPTY_SESSION_US);
    directory.handle_timeout(1000 * SECOND + limits::EMPTY_SESSION_US + limits::RESERVATION_US);
    let end = Action::End { session, worker: WorkerId(0), why: Ending::Empty };
    assert_eq!(directory.poll_action(), Some(end));
}

#[test]
fn an_end_is_ordered_again_until_it_is_heard_of_or_somebody_comes() {
    let mut directory = directory(2, true);
    directory.handle_find(0, 1, find(1));
    let session = only(settle(&mut directory, 0)).unwrap().session;
    directory.handle_timeout(limits::EMPTY_SESSION_US);
    let mut now = limits::RESERVATION_US + limits::EMPTY_SESSION_US;
    let told = |directory: &mut Directory, now: u64| {
        directory.handle_timeout(now);
        directory.poll_action()
    };
    let end = |worker| Some(Action::End { session: session.clone(), worker: WorkerId(worker), why: Ending::Empty });
    assert_eq!(told(&mut directory, now), end(0));
    assert_eq!(told(&mut directory, now + limits::END_REPEAT_US - 1), None);
    now += limits::END_REPEAT_US;
    assert_eq!(told(&mut directory, now), end(0), "the worker was too busy to be told");
    directory.handle_absent(&session, WorkerId(0));
    directory.handle_moved(now, &session, WorkerId(1));
    now += limits::END_REPEAT_US;
    assert_eq!(told(&mut directory, now), end(1), "it was on its way to another worker");
    directory.handle_joined(now, &session, &player(1));
    assert_eq!(told(&mut directory, now + limits::END_REPEAT_US), None, "somebody came after all");
    now += limits::END_REPEAT_US;
    directory.handle_left(now, &session, &player(1));
    assert_eq!(told(&mut directory, now + limits::EMPTY_SESSION_US), None);
    now += limits::EMPTY_SESSION_US + limits::RESERVATION_US;
    assert_eq!(told(&mut directory, now), end(1));
    directory.handle_ended(now, &session, "nobody is in it".to_owned());
    assert_eq!(told(&mut directory, now + 1000 * SECOND), None);
    assert_eq!(directory.next_timeout(), None);
}

#[test]
fn a_session_that_was_given_up_is_ended_wherever_it_turns_up_and_counts_until_then() {
    let mut directory = directory(2, true);
    directory.handle_find(0, 1, find(1));
    let Some(Action::Create { session, worker, .. }) = directory.poll_action() else { panic!() };
    let mut now = limits::CREATION_DEADLINE_US;
    directory.handle_timeout(now);
    let ends = |directory: &mut Directory| {
        let actions = std::iter::from_fn(|| directory.poll_action());
        actions
            .filter_map(|action| match action {
                Action::End { session, worker, .. } => Some((session, worker)),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(ends(&mut directory), [(session.clone(), worker)]);
    for _ in 0..3 {
        now += limits::END_REPEAT_US;
        directory.handle_timeout(now);
        assert_eq!(ends(&mut directory), [(session.clone(), worker)]);
    }
    // The worker gave it away before it could be told.
    directory.handle_absent(&session, worker);
    now += limits::END_REPEAT_US;
    directory.handle_timeout(now);
    assert_eq!(ends(&mut directory), []);
    directory.handle_moved(now, &session, WorkerId(1));
    assert_eq!(ends(&mut directory), [(session.clone(), WorkerId(1))]);
    directory.handle_absent(&session, worker);
    now += limits::END_REPEAT_US;
    directory.handle_timeout(now);
    assert_eq!(ends(&mut directory), [(session.clone(), WorkerId(1))], "stale news of the other worker change nothing");
    directory.handle_ended(now, &session, "ended".to_owned());
    directory.handle_timeout(now + 1000 * SECOND);
    assert_eq!(ends(&mut directory), []);

    let mut small = Directory::new(me(), Limits { sessions: 1 });
    small.handle_worker(WorkerId(0));
    small.handle_game("pong".parse().unwrap(), facts(2, true));
    small.handle_find(0, 1, find(1));
    small.handle_timeout(limits::CREATION_DEADLINE_US);
    while small.poll_action().is_some() {}
    small.handle_find(limits::CREATION_DEADLINE_US, 2, find(2));
    let answer = Action::Answer { request: 2, answer: Err(Refusal::Full(1)) };
    assert_eq!(small.poll_action(), Some(answer), "its worker may still have it");
}

#[test]
fn a_match_that_is_used_again_is_not_ended() {
    let mut directory = directory(2, true);
    directory.handle_find(0, 1, find(1));
    let session = only(settle(&mut directory, 0)).unwrap().session;
    directory.handle_joined(0, &session, &player(1));
    directory.handle_left(SECOND, &session, &player(1));
    directory.handle_joined(0, &session, &player(2));
    directory.handle_timeout(1000 * SECOND);
    assert_eq!(directory.poll_action(), None);
    assert_eq!(directory.next_timeout(), None);
}

#[test]
fn a_node_that_has_just_come_waits_for_the_games_of_the_others() {
    let mut directory = directory(2, true);
    directory.handle_lacks_games(true);
    directory.handle_open(0, 1, open("chess", "a"));
    assert_eq!(settle(&mut directory, 0), [], "it may be served elsewhere");
    directory.handle_game("chess".parse().unwrap(), facts(2, true));
    directory.handle_lacks_games(false);
    directory.handle_timeout(RESEND_US);
    let (game, key): (GameName, SessionKey) = ("chess".parse().unwrap(), "a".parse().unwrap());
    assert_eq!(only(settle(&mut directory, RESEND_US)), Err(Refusal::NoSuchSession(game, key)));
    directory.handle_open(RESEND_US, 2, open("go", "a"));
    let unknown = Refusal::UnknownGame("go".parse().unwrap());
    assert_eq!(only(settle(&mut directory, RESEND_US)), Err(unknown));
}

#[test]
fn unknown_games_keys_and_long_criteria_are_refused_by_name() {
    let mut directory = directory(2, true);
    let chess: GameName = "chess".parse().unwrap();
    directory.handle_open(0, 1, open("chess", "a"));
    assert_eq!(only(settle(&mut directory, 0)), Err(Refusal::UnknownGame(chess)));
    let (game, key): (GameName, SessionKey) = ("pong".parse().unwrap(), "a".parse().unwrap());
    directory.handle_open(0, 2, open("pong", "a"));
    assert_eq!(only(settle(&mut directory, 0)), Err(Refusal::NoSuchSession(game, key)));
    directory.handle_find(0, 3, Find { criteria: "x".repeat(CRITERIA_BYTES + 1), ..find(1) });
    assert_eq!(only(settle(&mut directory, 0)), Err(Refusal::CriteriaTooLong));
}

#[test]
fn only_who_may_create_does() {
    let mut directory = directory(2, true);
    directory.handle_find(0, 1, Find { may_create: false, ..find(1) });
    assert_eq!(only(settle(&mut directory, 0)), Err(Refusal::MayNotCreate));
    directory.handle_find(0, 2, find(1));
    directory.handle_find(0, 3, Find { may_create: false, ..find(2) });
    let answers = settle(&mut directory, 0);
    assert!(answers.iter().all(|(_, answer)| answer.is_ok()), "{answers:?}");
    directory.handle_open(0, 4, Open { may_create: true, ..open("pong", "mine") });
    let placed = only(settle(&mut directory, 0)).unwrap();
    assert_eq!((placed.session.key.as_str(), placed.created), ("mine", true));
}

#[test]
fn draining_refuses_new_sessions_and_keeps_old_ones() {
    let mut directory = directory(2, true);
    directory.handle_create(0, 1, create(Some("old"), b""));
    settle(&mut directory, 0);
    directory.handle_worker_closed(WorkerId(0));
    directory.handle_create(0, 2, create(Some("new"), b""));
    assert_eq!(only(settle(&mut directory, 0)), Err(Refusal::NoWorker));
    directory.handle_open(0, 3, open("pong", "old"));
    assert!(only(settle(&mut directory, 0)).is_ok());
}

#[test]
fn the_bounds_hold() {
    let mut directory = directory(1, true);
    for number in 0..1000 {
        directory.handle_find(0, number as u64, find(number));
    }
    assert!(settle(&mut directory, 0).iter().all(|(_, answer)| answer.is_ok()));
    directory.handle_find(0, 1001, find(1001));
    assert_eq!(only(settle(&mut directory, 0)), Err(Refusal::Full(1000)));

    let sessions: Vec<SessionId> = directory.sessions().map(|entry| entry.id.clone()).collect();
    for (number, session) in sessions.iter().enumerate() {
        for player in (0..1001).map(player) {
            if number < limits::OPEN_SESSIONS + 10 {
                directory.handle_left(1, session, &player);
            }
        }
    }
    directory.handle_timeout(limits::RESERVATION_US);
    let list = ListKey { game: "pong".parse().unwrap(), criteria: String::new() };
    assert_eq!(directory.parts.lists.open_in(&list), limits::OPEN_SESSIONS);
    for session in &sessions {
        directory.handle_ended(2, session, "over".to_owned());
    }
    assert_eq!(directory.ended().count(), limits::ENDED_SESSIONS);
    assert_eq!((directory.parts.lists.len(), directory.next_timeout(), directory.sizes().requests), (0, None, 0));
}

#[test]
fn too_many_waiting_requests_and_lists_are_refused() {
    let mut directory = directory(1, true);
    directory.handle_create(0, 0, create(Some("one"), b""));
    for request in 1..limits::WAITING_REQUESTS as u64 {
        directory.handle_open(0, request, open("pong", "one"));
    }
    directory.handle_open(0, 9999, open("pong", "one"));
    directory.handle_find(0, 9998, find(1));
    let answers = settle(&mut directory, 0);
    assert_eq!(answers.iter().filter(|(_, answer)| *answer == Err(Refusal::Busy)).count(), 2);

    let mut directory = Directory::new(me(), Limits { sessions: usize::MAX });
    directory.handle_game("pong".parse().unwrap(), facts(2, true));
    directory.handle_worker(WorkerId(0));
    for number in 0..=limits::OPEN_LISTS {
        directory.handle_find(0, number as u64, Find { criteria: number.to_string(), ..find(number) });
        settle(&mut directory, 0).into_iter().for_each(|(request, answer)| {
            assert_eq!(answer.is_err(), request as usize == limits::OPEN_LISTS, "{request}");
        });
    }
}
