//! The directory's bounds, each reached.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::*;
use crate::ids::{Certificate, ModuleHash, NodeId};
use crate::limits;
use crate::membership::{Contact, Fact, State};
use crate::placement::Policy;
use crate::ring::Position;

const ME: Node = Node { id: NodeId(1), generation: 7 };
const OTHER: Node = Node { id: NodeId(2), generation: 7 };
const THIRD: Node = Node { id: NodeId(3), generation: 7 };

/// This node, among others, with room for so many sessions. What it says to them stays unanswered.
fn directory(nodes: &[Node], sessions: usize) -> Directory {
    let mut directory = Directory::new(ME, Limits { sessions });
    let facts = GameFacts {
        module: ModuleHash([0; 32]),
        replicas: Replicas::default(),
        pace: Pace::Prompt,
        min_players: 2,
        max_players: 2,
        late_join: true,
    };
    directory.handle_game("pong".parse().unwrap(), facts);
    directory.handle_worker(WorkerId(0));
    let address = ([10, 0, 0, 1], 1).into();
    let fact = |node: &Node| {
        let contact = Contact { workers: vec![address], ..Contact::at(address, Certificate([0; 32])) };
        Fact { version: 1, state: State::Active, ..Fact::new(*node, contact) }
    };
    let facts: Vec<Fact> = nodes.iter().map(fact).collect();
    directory.handle_view(0, &View::new(facts.iter().map(|fact| (fact, fact.state))));
    directory
}

fn actions(directory: &mut Directory) -> Vec<Action> {
    std::iter::from_fn(|| directory.poll_action()).collect()
}

/// What it says to a node.
fn said(directory: &mut Directory, to: Node) -> Vec<Message> {
    let said = actions(directory).into_iter().filter_map(|action| match action {
        Action::Send { to: node, message } if node == to => Some(*message),
        _ => None,
    });
    said.collect()
}

/// Keys whose home a node is.
fn keys(directory: &Directory, home: Node) -> impl Iterator<Item = SessionKey> + use<> {
    let cluster = directory.cluster.clone();
    let game: GameName = "pong".parse().unwrap();
    let keys = (0..).map(|number: u64| format!("k{number}").parse::<SessionKey>().unwrap());
    keys.filter(move |key| cluster.home(Position::of_key(&game, key)) == Some(home))
}

fn create(key: SessionKey) -> Create {
    Create {
        game: "pong".parse().unwrap(),
        key: Some(key),
        config: Bytes::new(),
        record: false,
        listed: None,
        policy: Policy::Ring,
        draw: Draw { key: 0, incarnation: 1 },
    }
}

fn open(key: SessionKey, may_create: bool) -> Open {
    let draw = Draw { key: 0, incarnation: 1 };
    Open { game: "pong".parse().unwrap(), key, record: false, may_create, draw }
}

/// Creates a session on this node, which is alone; its answer.
fn begin(directory: &mut Directory, now: u64, key: SessionKey) -> Result<SessionId, Refusal> {
    directory.handle_create(now, 1, create(key));
    let mut answer = None;
    while let Some(action) = directory.poll_action() {
        match action {
            Action::Create { session, worker, .. } => directory.handle_created(now, &session, worker, Ok(())),
            Action::Answer { answer: given, .. } => answer = Some(given.map(|placed| placed.session)),
            _ => {}
        }
    }
    answer.expect("an answer")
}

#[test]
fn entries_of_a_home_are_bounded() {
    let mut directory = directory(&[ME], limits::HOME_ENTRIES + 10);
    let mut keys = keys(&directory, ME);
    for key in keys.by_ref().take(limits::HOME_ENTRIES) {
        begin(&mut directory, 0, key).unwrap();
    }
    let refused = begin(&mut directory, 0, keys.next().unwrap());
    assert_eq!(refused, Err(Refusal::Full(limits::HOME_ENTRIES)));
    assert_eq!(directory.sizes().entries, limits::HOME_ENTRIES);
}

#[test]
fn ends_are_remembered_up_to_the_bound_and_for_their_time() {
    let mut directory = directory(&[ME], 10);
    let mut keys = keys(&directory, ME);
    for key in keys.by_ref().take(limits::TOMBSTONES) {
        let session = begin(&mut directory, 0, key).unwrap();
        directory.handle_ended(0, &session, "over".to_owned());
    }
    let key = keys.next().unwrap();
    assert_eq!(begin(&mut directory, limits::TOMBSTONE_US - 1, key.clone()), Err(Refusal::Busy));
    assert!(begin(&mut directory, limits::TOMBSTONE_US, key).is_ok());
    let over = |number: usize| -> SessionId { format!("pong/o{number}@0000000000000001").parse().unwrap() };
    let mut remembered = over::Over::default();
    for number in 0..limits::OVER_SESSIONS + 10 {
        remembered.remember(0, &over(number), false);
    }
    let count = (0..limits::OVER_SESSIONS + 10).filter(|number| remembered.has_ended(&over(*number))).count();
    assert_eq!((count, remembered.has_ended(&over(9))), (limits::OVER_SESSIONS, false), "the oldest are forgotten");
    // So are those that were lost, and what has ended after all was not lost.
    let name = |number: usize| message::name_of(&over(number));
    for number in 0..limits::OVER_SESSIONS + 10 {
        remembered.remember(1, &over(100_000 + number), true);
    }
    assert_eq!(remembered.lost(&name(100_009)), None);
    assert_eq!(remembered.lost(&name(100_010)), Some(&over(100_010)));
    remembered.remember(1, &over(100_010), false);
    assert_eq!(remembered.lost(&name(100_010)), None);
}

#[test]
fn requests_of_others_that_wait_are_bounded() {
    let mut directory = directory(&[ME, OTHER], 10);
    let key = keys(&directory, ME).next().unwrap();
    let ring = directory.ring();
    actions(&mut directory);
    let ask = |number| Message::Ask { number, ring, want: Box::new(Want::Open(open(key.clone(), true))) };
    for number in 0..limits::HOME_WAITING as u64 {
        directory.handle_message(0, OTHER, ask(number));
    }
    assert!(!said(&mut directory, OTHER).iter().any(|message| matches!(message, Message::Answer { .. })));
    directory.handle_message(0, OTHER, ask(u64::MAX));
    let busy = Message::Answer { number: u64::MAX, answer: Err(Denial::Refused(Refusal::Busy)) };
    assert!(said(&mut directory, OTHER).contains(&busy));
}

#[test]
fn questions_come_in_parts() {
    let mut directory = directory(&[ME, OTHER], 10);
    let keys: Vec<SessionKey> = keys(&directory, ME).take(3 * limits::QUESTION_NAMES).collect();
    actions(&mut directory);
    for (number, key) in keys.into_iter().enumerate() {
        directory.handle_open(0, number as u64, open(key, false));
    }
    let (mut names, mut parts) = (0, 0);
    loop {
        let question = said(&mut directory, OTHER).into_iter().find_map(|message| match message {
            Message::Question { number, ring, names } => Some((number, ring, names)),
            _ => None,
        });
        let Some((number, ring, asked)) = question else { break };
        assert!(asked.len() <= limits::QUESTION_NAMES);
        (names, parts) = (names + asked.len(), parts + 1);
        directory.handle_message(0, OTHER, Message::Told { number, ring, known: vec![] });
    }
    assert_eq!(names, 3 * limits::QUESTION_NAMES);
    assert!(parts >= 3, "{parts}");
}

/// No bound, but stepped as those are: one who was the home before says of a session what its leader does not.
#[test]
fn hearsay_of_a_leader_that_has_told_everything_is_not_taken() {
    let mut directory = directory(&[ME, OTHER, THIRD], 10);
    let key = keys(&directory, ME).next().unwrap();
    let term = said(&mut directory, THIRD).into_iter().find_map(|message| match message {
        Message::Sync { term, .. } => Some(term),
        _ => None,
    });
    let all = Message::Announce { term: term.unwrap(), run: 1, serial: 1, items: Vec::new(), is_complete: true };
    directory.handle_message(0, THIRD, all);
    actions(&mut directory);
    directory.handle_open(0, 1, open(key.clone(), true));
    let mut questions = BTreeMap::new();
    for action in actions(&mut directory) {
        if let Action::Send { to, message } = action
            && let Message::Question { number, ring, .. } = *message
        {
            questions.insert(to, (number, ring));
        }
    }
    let session = SessionId { game: "pong".parse().unwrap(), key: key.clone(), incarnation: Incarnation(9) };
    let lead = Lead {
        session,
        leader: THIRD,
        worker: WorkerId(0),
        epoch: THIRD.first_epoch(),
        inputs: 0,
        config: [0; 16],
        is_live: true,
        listing: None,
    };
    let mut tell = |from: Node, known: Vec<Lead>| {
        let (number, ring) = questions[&from];
        directory.handle_message(0, from, Message::Told { number, ring, known });
        directory.entry(&"pong".parse().unwrap(), &key).cloned()
    };
    assert_eq!(tell(OTHER, vec![lead]), None, "the leader is asked itself");
    assert_eq!(tell(THIRD, vec![]), None, "and leads nothing of that key");
    let placed = actions(&mut directory).into_iter().any(|action| {
        matches!(&action, Action::Create { .. })
            || matches!(&action, Action::Send { message, .. } if matches!(**message, Message::Host { .. }))
    });
    assert!(placed, "one begins");
}

#[test]
fn duplicates_that_are_being_settled_are_bounded() {
    let mut directory = directory(&[ME, OTHER, THIRD], 10);
    let keys: Vec<SessionKey> = keys(&directory, ME).take(limits::DUPLICATES + 5).collect();
    let term = |directory: &mut Directory| {
        let mut terms = BTreeMap::new();
        for action in actions(directory) {
            if let Action::Send { to, message } = action
                && let Message::Sync { term, .. } = *message
            {
                terms.insert(to, term);
            }
        }
        terms
    };
    let terms = term(&mut directory);
    for leader in [OTHER, THIRD] {
        let lead = |key: &SessionKey| Lead {
            session: SessionId {
                game: "pong".parse().unwrap(),
                key: key.clone(),
                incarnation: Incarnation(leader.id.0),
            },
            leader,
            worker: WorkerId(0),
            epoch: leader.first_epoch(),
            inputs: 0,
            config: [0; 16],
            is_live: true,
            listing: None,
        };
        let items = keys.iter().map(|key| Item::Led(Box::new(lead(key)))).collect();
        let announce = Message::Announce { term: terms[&leader], run: 1, serial: 1, items, is_complete: true };
        directory.handle_message(0, leader, announce);
    }
    assert_eq!(directory.sizes().duplicates, limits::DUPLICATES);
    let (mut verdicts, mut is_acknowledged) = (BTreeSet::new(), false);
    for action in actions(&mut directory) {
        let Action::Send { to, message } = action else { continue };
        match *message {
            Message::Superseded { session, .. } => _ = verdicts.insert(session),
            Message::Acknowledge { .. } if to == THIRD => is_acknowledged = true,
            _ => {}
        }
    }
    assert!(is_acknowledged, "what frees the room is announced after this");
    assert_eq!(verdicts.len(), keys.len(), "be it that those without room are told once");
}

#[test]
fn ends_that_a_home_was_not_told_of_are_bounded() {
    let mut directory = directory(&[ME, OTHER], 10);
    let ring = directory.ring();
    directory.handle_message(0, OTHER, Message::Sync { ring, term: 1 });
    let runs = |directory: &mut Directory| {
        let said = said(directory, OTHER);
        said.into_iter().filter_map(|message| match message {
            Message::Announce { run, .. } => Some(run),
            _ => None,
        })
    };
    let first: Vec<u64> = runs(&mut directory).collect();
    assert_eq!(first.len(), 1, "and nothing is acknowledged");
    let decision =
        crate::placement::place(&directory.cluster.ring, Position(0), Policy::Pinned(ME.id), &Loads::new(), &[])
            .unwrap();
    let mut begun_anew = 0;
    for key in keys(&directory, OTHER).take(limits::UNTOLD_ENDS + 10) {
        let birth = Birth {
            session: SessionId { game: "pong".parse().unwrap(), key, incarnation: Incarnation(1) },
            config: Bytes::new(),
            record: false,
            listed: None,
            ends_when_empty: false,
            origin: Origin::Named,
            policy: Policy::Pinned(ME.id),
        };
        let session = birth.session_at(ME);
        let host = Message::Host { ring, birth: Box::new(birth), decision: Box::new(decision.clone()) };
        directory.handle_message(0, OTHER, host);
        directory.handle_created(0, &session, WorkerId(0), Ok(()));
        directory.handle_ended(0, &session, "over".to_owned());
        begun_anew += runs(&mut directory).filter(|run| *run > first[0]).count();
    }
    assert!(begun_anew >= 1, "it is announced anew instead of remembered without end");
}

/// Sessions of a list led here for another home, each with every seat taken by a player whose name is as long as any.
fn full_sessions(directory: &mut Directory, count: usize) -> Vec<Name> {
    let game: GameName = "crowd".parse().unwrap();
    let seats = limits::SLOTS as u32;
    let facts = GameFacts {
        module: ModuleHash([0; 32]),
        replicas: Replicas::default(),
        pace: Pace::Prompt,
        min_players: 1,
        max_players: seats,
        late_join: true,
    };
    directory.handle_game(game.clone(), facts);
    let ring = directory.ring();
    let policy = Policy::Pinned(ME.id);
    let decision = crate::placement::place(&directory.cluster.ring, Position(0), policy, &Loads::new(), &[]).unwrap();
    let cluster = directory.cluster.clone();
    let keys = (0..).map(|number: u64| format!("{number:0>64}").parse::<SessionKey>().unwrap());
    let keys = keys.filter(|key| cluster.home(Position::of_key(&game, key)) == Some(OTHER));
    let mut names = Vec::new();
    for key in keys.take(count) {
        let birth = Birth {
            session: SessionId { game: game.clone(), key: key.clone(), incarnation: Incarnation(u64::MAX) },
            config: Bytes::new(),
            record: false,
            listed: Some("c".repeat(CRITERIA_BYTES)),
            ends_when_empty: false,
            origin: Origin::Named,
            policy,
        };
        let session = birth.session_at(ME);
        let host = Message::Host { ring, birth: Box::new(birth), decision: Box::new(decision.clone()) };
        directory.handle_message(0, OTHER, host);
        directory.handle_created(0, &session, WorkerId(0), Ok(()));
        for player in 0..seats {
            directory.handle_joined(0, &session, &format!("{player:0>64}").parse().unwrap());
        }
        names.push((game.clone(), key));
    }
    names
}

#[test]
fn announcements_and_answers_fit_a_frame_at_their_largest() {
    let count = limits::ANNOUNCED_ITEMS;
    let mut directory = directory(&[ME, OTHER], 2 * count);
    let names = full_sessions(&mut directory, count);
    let ring = directory.ring();
    actions(&mut directory);
    directory.handle_message(0, OTHER, Message::Sync { ring, term: 1 });
    let (mut told, mut parts) = (0, 0);
    loop {
        let said = said(&mut directory, OTHER);
        let part = said.into_iter().find(|message| matches!(message, Message::Announce { .. }));
        let Some(message) = part else { break };
        let bytes = postcard::to_allocvec(&message).unwrap().len();
        assert!(bytes <= limits::ANNOUNCED_BYTES + 64, "{bytes}");
        let Message::Announce { term, run, serial, items, .. } = message else { break };
        (told, parts) = (told + items.len(), parts + 1);
        directory.handle_message(0, OTHER, Message::Acknowledge { term, run, serial });
    }
    assert_eq!(told, count, "everything is told, in {parts} parts");
    assert!(parts > 10, "{parts}");
    directory.handle_message(0, OTHER, Message::Question { number: 1, ring, names });
    let answers = said(&mut directory, OTHER);
    let answer = answers.iter().find(|message| matches!(message, Message::Told { .. })).expect("an answer");
    assert!(matches!(answer, Message::Told { known, .. } if known.len() == count));
    assert!(postcard::to_allocvec(answer).unwrap().len() <= limits::ANNOUNCED_BYTES);
}
