//! Replicated sessions between the directory and workers.

use ringside_core::directory::{self as directory, Charter, GameFacts, Message as Said, NotFollowed, Pace, Replicas};
use ringside_core::ids::{Certificate, ModuleHash};
use ringside_core::leadership::message::{Message as Words, Party};
use ringside_core::leadership::record::{Cause, ChainHome, Member, Motive, PartitionPolicy, Record, Tier};
use ringside_core::membership::{Contact, Fact, PeerPorts, Seen, State, View};
use ringside_core::placement;
use ringside_core::ring::Position;
use ringside_worker::replication::Promoted;

use super::*;
use crate::chains::Chains;
use crate::chains::NotBegun;
use crate::cluster::wire::{Message as PeerMessage, Probe, Step};
use crate::durable::recovery::Wanted;
use crate::limits::{DEPARTED, FORMER_MODULES};
use crate::store::Store;

fn node(id: u64) -> Node {
    Node { id: NodeId(id), generation: 2 }
}

fn member(id: u64) -> Member {
    Member { node: node(id), worker: WorkerId(0) }
}

fn view(ids: &[u64]) -> Arc<View> {
    let fact = |id: &u64| {
        let address = SocketAddr::from(([10, 0, 0, *id as u8], 7000));
        let peers = PeerPorts { address: address.ip(), ports: vec![9000, 9001] };
        let contact = Contact { workers: vec![address], peers, ..Contact::at(address, Certificate([*id as u8; 32])) };
        Fact { version: 1, state: State::Active, ..Fact::new(node(*id), contact) }
    };
    let facts: Vec<Fact> = ids.iter().map(fact).collect();
    Arc::new(View::new(facts.iter().map(|fact| (fact, fact.state))))
}

/// What directories were told.
type Sent = Arc<Mutex<Vec<(Node, Said)>>>;

/// A desk among others, and what it says to their directories.
fn among(ids: &[u64]) -> (Bench, Sent) {
    let (mut bench, sent) = (Bench::new(1), Sent::default());
    let out = Arc::clone(&sent);
    let outlet = move |seen: &Seen, message| {
        if let PeerMessage::Directory { message, .. } = message {
            out.lock().unwrap().push((seen.node, *message));
        }
        true
    };
    bench.desk.connect(Box::new(outlet), false);
    bench.desk.handle(0, Message::View(view(ids)));
    (bench, sent)
}

impl Bench {
    fn hash(&self) -> ModuleHash {
        self.module.hash()
    }

    fn hear(&mut self, from: u64, message: Said) {
        self.desk.handle(2_000_000, Message::Directory(node(from), Box::new(message)));
    }
}

/// What a leader says of its session.
fn charter(key: &str, module: ModuleHash) -> Charter {
    let session: SessionId = format!("pong/{key}@0000000000000007").parse().unwrap();
    let ring = view(&[1, 2]).ring().clone();
    let position = Position::of_key(&session.game, &session.key);
    let decision = placement::place(&ring, position, Policy::Ring, &Default::default(), &[]).unwrap();
    let replicas = Replicas { tier: Tier::Replicated, policy: PartitionPolicy::Available, followers: 1 };
    Charter {
        session,
        facts: GameFacts { module, replicas, pace: Pace::Ticking, min_players: 2, max_players: 2, late_join: true },
        config: directory::ConfigHash::default(),
        record: false,
        listed: None,
        ends_when_empty: false,
        decision: Box::new(decision),
    }
}

fn follow(charter: &Charter) -> Said {
    Said::Follow { charter: Box::new(charter.clone()), leader: member(2), age_us: 1_000_000 }
}

/// What was said of following to a node, last.
fn answer(sent: &Sent, to: u64) -> Option<Result<WorkerId, NotFollowed>> {
    let sent = sent.lock().unwrap();
    let mut answers = sent.iter().rev().filter_map(|(node, said)| match said {
        Said::Follows { answer, .. } if node.id.0 == to => Some(*answer),
        _ => None,
    });
    answers.next()
}

#[test]
fn a_worker_follows_what_another_node_leads_and_comes_to_lead_it() {
    let (mut bench, sent) = among(&[1, 2]);
    let charter = charter("final", bench.hash());
    let session = charter.session.clone();
    bench.commands(0);
    bench.hear(2, follow(&charter));
    let commands = bench.commands(0);
    let [Command::Follow(order)] = &commands[..] else { panic!("it is followed") };
    assert_eq!((&order.terms.session, order.terms.followers, order.leader), (&session, 1, member(2)));
    assert_eq!(order.module.hash(), bench.hash());
    assert_eq!(answer(&sent, 2), Some(Ok(WorkerId(0))));

    // Its leader is gone; it leads.
    bench.desk.handle(2_000_000, Message::View(view(&[1])));
    let counted = Record::first(session.clone(), member(2)).with_set([member(1)].into(), 2, Cause::Admitted);
    let epoch = member(1).epoch_after(1);
    let record = counted.succeeded(member(1), epoch, [].into(), 9, (Cause::Promoted, ChainHome::Log));
    let words = Words::Lead { record: Box::new(record.clone()), end: Some(10) };
    bench.event(0, Event::ToHome { session: session.clone(), message: Box::new(words) });
    let promoted =
        Promoted { session: session.clone(), record: Arc::new(record.clone()), players: vec![player("ada")] };
    bench.event(0, Event::Promoted(Box::new(promoted)));
    let commands = bench.commands(0);
    let home = commands.iter().find_map(|command| match command {
        Command::FromHome { message, .. } => Some((**message).clone()),
        _ => None,
    });
    assert_eq!(home, Some(Words::Lead { record: Box::new(record), end: None }), "this node is its home now");
    let shown = bench.ask(Message::Sessions).try_recv().unwrap().unwrap();
    assert_eq!((shown.len(), shown[0].players, shown[0].session.parse()), (1, 1, Ok(session.clone())));
    let target = Target::Session { game: session.game.clone(), key: session.key.clone() };
    let (player, resumes) = (player("ada"), None);
    bench.event(0, Event::Resolve { request: 4, player, target, may_create: false, resumes });
    let commands = bench.commands(0);
    let [Command::Resolved { answer: Ok(place), .. }] = &commands[..] else { panic!("players are sent there") };
    assert_eq!((&place.session, place.worker), (&session, WorkerId(0)));
}

#[test]
fn who_led_follows_and_says_nothing_of_an_end() {
    let (mut bench, sent) = among(&[1]);
    bench.commands(0);
    let session = bench.session("final");
    bench.desk.handle(2_000_000, Message::View(view(&[1, 2])));
    let first = Record::first(session.clone(), member(1)).with_set([member(2)].into(), 2, Cause::Admitted);
    let epoch = member(2).epoch_after(1);
    let by = first.succeeded(member(2), epoch, [].into(), 9, (Cause::Granted, ChainHome::Log));
    bench.event(0, Event::Deposed { session: session.clone(), by: Arc::new(by) });
    assert_eq!(answer(&sent, 2), Some(Ok(WorkerId(0))), "it offers itself to the new leader");
    assert!(bench.ask(Message::Sessions).try_recv().unwrap().unwrap().is_empty());
    assert!(bench.ask(Message::Ended).try_recv().unwrap().unwrap().is_empty());

    bench.commands(0);
    bench.hear(2, Said::Unfollow { session: session.clone() });
    let Some(Command::Unfollow { reply, .. }) = bench.commands(0).pop() else { panic!("it is not wanted") };
    reply(false);
    let later = |bench: &mut Bench| {
        let due = bench.desk.next_timeout().unwrap();
        bench.desk.handle_timeout(due);
        bench.commands(0).into_iter().find_map(|command| match command {
            Command::Unfollow { reply, .. } => Some(reply),
            _ => None,
        })
    };
    let again = (0..20).find_map(|_| later(&mut bench)).expect("it counted: the worker is asked again");
    again(true);
    assert!((0..20).all(|_| later(&mut bench).is_none()), "it is over");
    // Whoever had it moved may ask only now what came of that.
    let mut moved = bench.ask(|reply| Message::Move(name(&session), node(2), Motive::Order, reply));
    assert_eq!(moved.try_recv().unwrap().unwrap(), MoveState::Led(node(2)));
}

#[test]
fn of_sessions_that_went_elsewhere_the_last_are_remembered_until_they_are_back() {
    let (mut bench, _) = among(&[1, 2]);
    let session = |number: usize| format!("pong/k{number}@0000000000000007").parse::<SessionId>().unwrap();
    for number in 0..=DEPARTED {
        let by = Arc::new(Record::first(session(number), member(2)));
        bench.event(0, Event::Deposed { session: session(number), by });
    }
    let moved = |bench: &mut Bench, number| {
        let asked = name(&session(number));
        bench.ask(|reply| Message::Move(asked, node(2), Motive::Order, reply)).try_recv().unwrap()
    };
    assert!(matches!(moved(&mut bench, 0), Err(ControlError::NoSuchSession(_))));
    assert_eq!(moved(&mut bench, 1).unwrap(), MoveState::Led(node(2)));
    let record = Arc::new(Record::first(session(1), member(1)));
    let promoted = Promoted { session: session(1), record, players: Vec::new() };
    bench.event(0, Event::Promoted(Box::new(promoted)));
    assert!(!matches!(moved(&mut bench, 1), Ok(MoveState::Led(_))), "it came back");
}

#[test]
fn workers_know_where_all_nodes_are_reached_and_their_eras() {
    let (mut bench, _) = among(&[1, 2]);
    let nodes = |bench: &Bench| {
        let told = bench.commands(0).into_iter().filter_map(|command| match command {
            Command::Nodes(nodes) => Some(nodes),
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    let told = nodes(&bench);
    let contacts = &told.last().unwrap()[&node(2)];
    assert_eq!(contacts.peer(WorkerId(1)), Some(SocketAddr::from(([10, 0, 0, 2], 9001))));
    assert_eq!((contacts.workers.len(), contacts.era), (1, 0));
    assert!(told.last().unwrap().contains_key(&node(1)), "this one, too");
    bench.desk.handle(0, Message::Eras([(node(2), 3)].into()));
    assert_eq!(nodes(&bench).last().unwrap()[&node(2)].era, 3);
    bench.desk.handle(0, Message::Eras([(node(2), 3)].into()));
    assert!(nodes(&bench).is_empty(), "nothing new");

    bench.told[&WorkerId(0)].lock().unwrap().full = true;
    bench.desk.handle(0, Message::View(view(&[1, 2, 3])));
    bench.told[&WorkerId(0)].lock().unwrap().full = false;
    bench.desk.read_loads(1_000_000);
    assert_eq!(nodes(&bench).last().unwrap().len(), 3, "it is told when it has room");
}

#[test]
fn what_cannot_be_followed_yet_is_said_and_asked_for_again() {
    let (mut bench, sent) = among(&[1, 2]);
    bench.commands(0);
    bench.hear(2, follow(&charter("final", ModuleHash([9; 32]))));
    assert!(bench.commands(0).is_empty());
    assert_eq!(answer(&sent, 2), Some(Err(NotFollowed::NotYet)), "no such module here");
    let charter = charter("final", bench.hash());
    bench.told[&WorkerId(0)].lock().unwrap().full = true;
    bench.hear(2, follow(&charter));
    assert_eq!(answer(&sent, 2), Some(Err(NotFollowed::NotYet)), "the worker takes nothing");
    bench.told[&WorkerId(0)].lock().unwrap().full = false;
    bench.hear(2, follow(&charter));
    assert_eq!(answer(&sent, 2), Some(Ok(WorkerId(0))));
}

#[test]
fn a_session_of_a_version_that_is_served_no_more_is_followed_while_its_module_is_kept() {
    let (mut bench, sent) = among(&[1, 2]);
    let hash = bench.hash();
    let sandbox = Sandbox::new(SandboxConfig { cache_directory: None, warm_sessions: Some(4) }).unwrap();
    let echo = sandbox.upload(&guests::module("echo")).unwrap();
    let mut push = |version: u32, module: &ringside_sandbox::Module| {
        let served = Served { game: "pong".parse().unwrap(), version, module: module.clone(), may_sleep: true };
        bench.desk.handle(0, Message::Game(served));
    };
    push(2, &echo);
    (0..FORMER_MODULES as u32 - 1).for_each(|more| push(3 + more, &echo));
    let asked = |bench: &mut Bench, key: &str| {
        bench.hear(2, follow(&charter(key, hash)));
        answer(&sent, 2).unwrap()
    };
    assert_eq!(asked(&mut bench, "kept"), Ok(WorkerId(0)));
    bench.desk.handle(
        0,
        Message::Game(Served { game: "pong".parse().unwrap(), version: 100, module: echo, may_sleep: true }),
    );
    assert_eq!(asked(&mut bench, "forgotten"), Err(NotFollowed::NotYet));
}

/// What was said of probes, and to whom.
type Probes = Arc<Mutex<Vec<(Node, Step, Probe)>>>;

fn probing(ids: &[u64]) -> (Bench, Probes) {
    let (mut bench, probes) = (Bench::new(1), Probes::default());
    let out = Arc::clone(&probes);
    let outlet = move |seen: &Seen, message| {
        if let PeerMessage::Probe { step, probe } = message {
            out.lock().unwrap().push((seen.node, step, *probe));
        }
        true
    };
    bench.desk.connect(Box::new(outlet), false);
    bench.desk.handle(0, Message::View(view(ids)));
    bench.commands(0);
    (bench, probes)
}

fn session() -> SessionId {
    "pong/final@0000000000000007".parse().unwrap()
}

#[test]
fn two_others_try_whom_a_worker_does_not_hear_of() {
    let (mut bench, probes) = probing(&[1, 2, 3, 4, 5]);
    let party = Party::Member(member(2));
    bench.event(0, Event::Probe { session: session(), party });
    let asked = std::mem::take(&mut *probes.lock().unwrap());
    let helpers: std::collections::BTreeSet<Node> = asked.iter().map(|(helper, ..)| *helper).collect();
    assert_eq!(helpers.len(), 2, "{asked:?}");
    assert!(!helpers.contains(&node(1)) && !helpers.contains(&node(2)), "neither itself nor who is tried");
    let (_, step, probe) = asked[0].clone();
    assert_eq!((step, probe.prober, probe.target, probe.party), (Step::Ask, node(1), node(2), party));
    bench.desk.handle(2_000_000, Message::Reached(Box::new(probe)));
    let commands = bench.commands(0);
    assert!(matches!(&commands[..], [Command::Reached { party: reached, .. }] if *reached == party));

    let (mut bench, probes) = probing(&[1, 2]);
    bench.event(0, Event::Probe { session: session(), party });
    assert!(probes.lock().unwrap().is_empty(), "there is nobody to ask");
}

#[tokio::test]
async fn a_worker_that_is_tried_answers_itself_and_a_home_by_its_node() {
    let (mut bench, probes) = probing(&[1, 2, 3]);
    let (control, mut queue) = Control::queue(Default::default());
    bench.desk.reach_itself(control.later());
    let probe =
        |party| Box::new(Probe { prober: node(2), worker: WorkerId(0), session: session(), party, target: node(1) });
    bench.desk.handle(0, Message::Try(node(3), probe(Party::Home)));
    let said = |probes: &Probes| std::mem::take(&mut *probes.lock().unwrap());
    assert!(matches!(&said(&probes)[..], [(helper, Step::There, _)] if *helper == node(3)));

    bench.desk.handle(0, Message::Try(node(3), probe(Party::Member(member(1)))));
    assert!(said(&probes).is_empty(), "its worker has not answered");
    let Some(Command::Ping { reply }) = bench.commands(0).pop() else { panic!("it is asked") };
    reply(());
    let answered = queue.try_recv().unwrap();
    bench.desk.handle(0, answered);
    assert!(matches!(&said(&probes)[..], [(helper, Step::There, _)] if *helper == node(3)));

    let former = Member { node: Node { generation: 1, ..node(1) }, worker: WorkerId(0) };
    bench.desk.handle(0, Message::Try(node(3), probe(Party::Member(former))));
    assert!(bench.commands(0).is_empty(), "this run of the node is another member");
}

#[tokio::test]
async fn a_session_whose_records_are_in_the_store_begins_when_the_first_is_there() {
    let mut bench = Bench::new(1);
    let sandbox = Sandbox::new(SandboxConfig { cache_directory: None, warm_sessions: Some(4) }).unwrap();
    let module = sandbox.upload(&guests::module("echo-consistent")).unwrap();
    let game: GameName = "echo-consistent".parse().unwrap();
    bench.desk.handle(0, Message::Game(Served { game: game.clone(), version: 1, module, may_sleep: true }));
    let (control, mut queue) = Control::queue(Default::default());
    let store = Store::memory();
    bench.desk.reach_itself(control.later());
    bench.desk.keep_chains(Chains::new(store.clone(), Wanted::queue().0));
    let create = |incarnation| Create {
        game: game.clone(),
        key: Some("final".parse().unwrap()),
        config: Bytes::new(),
        record: false,
        listed: None,
        policy: Policy::Ring,
        draw: Draw { key: 1, incarnation },
    };
    let _answer = bench.ask(|reply| Message::Create(Box::new(create(1)), reply));
    assert!(bench.commands(0).is_empty(), "it has no record yet");
    let begun = queue.recv().await.unwrap();
    bench.desk.handle(2_000_000, begun);
    let commands = bench.commands(0);
    let [Command::Create(order)] = &commands[..] else { panic!("it begins") };
    let first = Record::first(order.session.clone(), member(1));
    assert_eq!(store.newest_record(&order.session).await.unwrap(), Some(first));

    // Where another has begun it, it does not.
    let session = order.session.clone();
    bench.event(0, Event::Ended { session: session.clone(), reason: String::new(), outcome: None });
    let mut answer = bench.ask(|reply| Message::Create(Box::new(create(2)), reply));
    let Message::Begun(worker, order, begun) = queue.recv().await.unwrap() else { panic!() };
    assert_eq!(begun, Ok(()), "another session of the key has a chain of its own");
    bench.desk.handle(
        2_000_000,
        Message::Begun(worker, order, Err(NotBegun::Failed("it was begun by another node".to_owned()))),
    );
    let refused = answer.try_recv().unwrap().unwrap_err();
    assert!(refused.to_string().contains("another node"), "{refused}");
}

#[test]
fn a_session_is_moved_to_a_node_that_is_made_to_follow_it_first() {
    let (mut bench, sent) = among(&[1, 2, 3]);
    let sandbox = Sandbox::new(SandboxConfig { cache_directory: None, warm_sessions: Some(4) }).unwrap();
    let module = sandbox.upload(&guests::module("echo-replicated")).unwrap();
    let game: GameName = "echo-replicated".parse().unwrap();
    let served = Served { game: game.clone(), version: 1, module, may_sleep: true };
    let facts = served.facts();
    bench.desk.handle(0, Message::Game(served));
    bench.commands(0);
    // It comes to be led here: that is shorter than to create it among silent nodes.
    let charter = Charter { facts, ..charter("final", facts.module) };
    let session = SessionId { game, ..charter.session.clone() };
    let charter = Charter { session: session.clone(), ..charter };
    bench.hear(2, follow(&charter));
    let counted = Record::first(session.clone(), member(2)).with_set([member(1)].into(), 2, Cause::Admitted);
    let epoch = member(1).epoch_after(1);
    let record = counted.succeeded(member(1), epoch, [member(2)].into(), 9, (Cause::Granted, ChainHome::Log));
    let (id, players) = (session.clone(), Vec::new());
    bench.event(0, Event::Promoted(Box::new(Promoted { session: id, record: Arc::new(record.clone()), players })));
    bench.commands(0);
    let step =
        |bench: &mut Bench, to: u64| bench.ask(|reply| Message::Move(name(&session), node(to), Motive::Order, reply));
    assert_eq!(step(&mut bench, 1).try_recv().unwrap(), Ok(MoveState::Led(node(1))));
    let gone = step(&mut bench, 9).try_recv().unwrap();
    assert!(matches!(&gone, Ok(MoveState::Refused(why)) if why.contains("not in the cluster")), "{gone:?}");
    sent.lock().unwrap().clear();
    assert!(matches!(step(&mut bench, 3).try_recv().unwrap(), Ok(MoveState::Waits(why)) if why.contains("not follow")));
    let asked = sent.lock().unwrap().iter().any(|(to, said)| *to == node(3) && matches!(said, Said::Follow { .. }));
    assert!(asked, "it is to follow first");
    bench.hear(3, Said::Follows { session: session.clone(), answer: Ok(WorkerId(0)) });
    assert!(matches!(&bench.commands(0)[..], [Command::Recruit { member: recruited, .. }] if *recruited == member(3)));
    let mut moving = step(&mut bench, 3);
    let Some(Command::Move { to, reply, .. }) = bench.commands(0).pop() else { panic!("its leader is told") };
    assert_eq!(to, member(3));
    reply(Ok(()));
    assert_eq!(moving.try_recv().unwrap(), Ok(MoveState::Begun));
    let epoch = member(3).epoch_after(2);
    let by = record.succeeded(member(3), epoch, [member(1)].into(), 12, (Cause::Granted, ChainHome::Log));
    bench.event(0, Event::Deposed { session: session.clone(), by: Arc::new(by) });
    assert_eq!(step(&mut bench, 3).try_recv().unwrap(), Ok(MoveState::Led(node(3))));
}

/// One that asks for no followers has one for the time of the move, on the node that it goes to.
#[test]
fn a_session_without_followers_is_followed_where_it_is_to_go() {
    let (mut bench, sent) = among(&[1]);
    bench.commands(0);
    let session = bench.session("final");
    bench.desk.handle(0, Message::View(view(&[1, 2])));
    bench.commands(0);
    let gone = bench.ask(|reply| Message::Move(name(&session), node(3), Motive::Order, reply)).try_recv().unwrap();
    assert!(matches!(&gone, Ok(MoveState::Refused(why)) if why.contains("not in the cluster")), "{gone:?}");
    let waits = bench.ask(|reply| Message::Move(name(&session), node(2), Motive::Order, reply)).try_recv().unwrap();
    assert!(matches!(waits, Ok(MoveState::Waits(_))), "{waits:?}");
    let asked = sent.lock().unwrap().iter().any(|(to, said)| *to == node(2) && matches!(said, Said::Follow { .. }));
    assert!(asked, "the other node is to follow");
    bench.hear(2, Said::Follows { session: session.clone(), answer: Ok(WorkerId(0)) });
    let recruited =
        bench.commands(0).into_iter().any(|it| matches!(it, Command::Recruit { member: who, .. } if who == member(2)));
    assert!(recruited, "the leader's worker is told of it");
    bench.ask(|reply| Message::Move(name(&session), node(2), Motive::Order, reply));
    let moved = bench.commands(0).into_iter().any(|it| matches!(it, Command::Move { to, .. } if to == member(2)));
    assert!(moved, "it is to move");
    let unknown = SessionName { key: "other".parse().unwrap(), ..name(&session) };
    let missing = bench.ask(|reply| Message::Move(unknown, node(2), Motive::Order, reply)).try_recv().unwrap();
    assert_eq!(missing, Err(ControlError::NoSuchSession("pong/other".to_owned())));
}
