//! The control task with workers that only write down what they are told.

mod replicated;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use ringside_core::directory::{Draw, Limits};
use ringside_core::ids::{Epoch, PlayerId, SessionId, WorkerId};
use ringside_core::placement::Policy;
use ringside_protocol::frame::Target;
use ringside_protocol::reason::Reason;
use ringside_sandbox::{Sandbox, SandboxConfig};
use ringside_test_support::guests;
use ringside_worker::{Command, Resumed, SessionReport};

use super::*;
use crate::limits::{RESOLVES, SIGNALS};

/// What a fake worker was told, and whether its queue is full.
#[derive(Default)]
struct Told {
    commands: Vec<Command>,
    full: bool,
}

struct Bench {
    desk: Desk,
    module: ringside_sandbox::Module,
    told: BTreeMap<WorkerId, Arc<Mutex<Told>>>,
}

impl Bench {
    fn new(workers: u8) -> Bench {
        let mut told = BTreeMap::new();
        let mut ports = BTreeMap::new();
        for id in 0..=workers {
            let log = Arc::new(Mutex::new(Told::default()));
            told.insert(WorkerId(id), log.clone());
            let send = Box::new(move |command| {
                let mut log = log.lock().unwrap();
                if log.full {
                    return Err(Box::new(command));
                }
                log.commands.push(command);
                Ok(())
            });
            let address = SocketAddr::from(([127, 0, 0, 1], 7000 + u16::from(id)));
            let usage = Box::new(|| Usage { busy_us: 5, counters: BTreeMap::new() });
            ports.insert(WorkerId(id), Port { penalty: id == workers, address, send, usage });
        }
        let identity = Identity {
            node: 1,
            generation: 2,
            started: std::time::Instant::now(),
            certificate: ringside_protocol::frame::Certificate([0; 32]),
        };
        let mut desk = Desk::new(identity, Limits { sessions: 100 }, false, ports);
        let sandbox = Sandbox::new(SandboxConfig { cache_directory: None, warm_sessions: Some(4) }).unwrap();
        let module = sandbox.upload(&guests::module("pong")).unwrap();
        desk.handle(
            0,
            Message::Game(Served {
                game: "pong".parse().unwrap(),
                version: 1,
                module: module.clone(),
                may_sleep: true,
            }),
        );
        Bench { desk, module, told }
    }

    fn commands(&self, worker: u8) -> Vec<Command> {
        std::mem::take(&mut self.told[&WorkerId(worker)].lock().unwrap().commands)
    }

    fn ask<T>(&mut self, message: impl FnOnce(Reply<T>) -> Message) -> oneshot::Receiver<Result<T, ControlError>> {
        let (reply, answer) = oneshot::channel();
        self.desk.handle(1_000_000, message(reply));
        answer
    }

    fn create(&mut self, key: &str) -> oneshot::Receiver<Result<(Placed, SocketAddr), ControlError>> {
        let create = Create {
            game: "pong".parse().unwrap(),
            key: Some(key.parse().unwrap()),
            config: Bytes::new(),
            record: false,
            listed: None,
            policy: Policy::Ring,
            draw: Draw { key: 1, incarnation: 1 },
        };
        self.ask(|reply| Message::Create(Box::new(create), reply))
    }

    fn event(&mut self, worker: u8, event: Event) {
        self.desk.handle(2_000_000, Message::Event(WorkerId(worker), event));
    }

    /// Creates a session and has its worker confirm it.
    fn session(&mut self, key: &str) -> SessionId {
        let mut answer = self.create(key);
        let commands = self.commands(0);
        let [Command::Create(order)] = &commands[..] else { panic!("a session is created on the free worker") };
        let session = order.session.clone();
        self.event(0, Event::Created { session: session.clone(), result: Ok(()) });
        assert_eq!(answer.try_recv().unwrap().unwrap().0.session, session);
        session
    }
}

fn report(session: &SessionId) -> SessionReport {
    SessionReport {
        session: session.clone(),
        module: String::new(),
        epoch: Epoch { number: 1, node: 1, node_generation: 2 },
        position: 9,
        tick: 7,
        time_us: 1,
        pause: None,
        stats: Bytes::new(),
        memory_bytes: 1,
        usage: Default::default(),
        replication: None,
        players: Vec::new(),
    }
}

fn name(session: &SessionId) -> SessionName {
    SessionName { game: session.game.clone(), key: session.key.clone(), incarnation: None }
}

fn player(name: &str) -> PlayerId {
    name.parse().unwrap()
}

#[test]
fn a_session_is_answered_when_its_worker_has_it() {
    let mut bench = Bench::new(1);
    let mut answer = bench.create("final");
    assert!(answer.try_recv().is_err());
    let commands = bench.commands(0);
    let [Command::Create(order)] = &commands[..] else { panic!() };
    assert_eq!((order.epoch.number, order.epoch.node, order.epoch.node_generation), (1, 1, 2));
    bench.event(0, Event::Created { session: order.session.clone(), result: Ok(()) });
    let (placed, address) = answer.try_recv().unwrap().unwrap();
    assert_eq!((placed.created, address.port()), (true, 7000));
    assert_eq!(bench.ask(Message::Status).try_recv().unwrap().unwrap().sessions, 1);
}

#[test]
fn what_the_worker_refuses_and_a_full_queue_reach_the_caller() {
    let mut bench = Bench::new(1);
    let mut answer = bench.create("final");
    let commands = bench.commands(0);
    let [Command::Create(order)] = &commands[..] else { panic!() };
    bench
        .event(0, Event::Created { session: order.session.clone(), result: Err("points must be positive".to_owned()) });
    let refused = ControlError::Refused(Refusal::Failed("points must be positive".to_owned()));
    assert_eq!(answer.try_recv().unwrap().unwrap_err(), refused);

    bench.told[&WorkerId(0)].lock().unwrap().full = true;
    let error = bench.create("other").try_recv().unwrap().unwrap_err();
    assert!(error.to_string().contains("too much to do"), "{error}");
    assert_eq!(bench.ask(Message::Status).try_recv().unwrap().unwrap().sessions, 0);
}

#[test]
fn players_are_sent_where_their_session_is() {
    let mut bench = Bench::new(1);
    let session = bench.session("final");
    let ask = |request, target, may_create| Event::Resolve {
        request,
        player: player("ada"),
        target,
        may_create,
        resumes: None,
    };
    let target = Target::Session { game: session.game.clone(), key: session.key.clone() };
    bench.event(0, ask(9, target, false));
    let commands = bench.commands(0);
    let [Command::Resolved { request: 9, answer: Ok(place) }] = &commands[..] else { panic!() };
    assert_eq!((&place.session, place.address.port()), (&session, 7000));

    let target = Target::FindOrCreate { game: "chess".parse().unwrap(), criteria: String::new() };
    bench.event(0, ask(10, target, true));
    let commands = bench.commands(0);
    let [Command::Resolved { request: 10, answer: Err(refusal) }] = &commands[..] else { panic!() };
    assert_eq!((refusal.reason, refusal.message.as_str()), (Reason::NoSuchGame, "no game is called chess"));
}

#[test]
fn who_comes_back_to_a_session_of_a_node_that_is_gone_is_told_that_it_was_lost() {
    let mut bench = Bench::new(1);
    for (node, node_generation, is_lost) in [(7, 1, true), (1, 1, true), (1, 2, false)] {
        let target = Target::Session { game: "pong".parse().unwrap(), key: "final".parse().unwrap() };
        let epoch = Epoch { number: 1, node, node_generation };
        let resumes = Some(Resumed { incarnation: Incarnation(9), epoch });
        let (request, player) = (node, player("ada"));
        bench.event(0, Event::Resolve { request, player, target, may_create: false, resumes });
        let commands = bench.commands(0);
        let [Command::Resolved { answer: Err(refusal), .. }] = &commands[..] else { panic!("there is none") };
        assert_eq!(refusal.reason, Reason::NoSuchSession);
        assert_eq!(refusal.message.contains("was lost"), is_lost, "node {node}: {}", refusal.message);
    }
}

#[test]
fn a_signal_reaches_the_session_that_it_names() {
    let mut bench = Bench::new(1);
    let session = bench.session("final");
    let signal = |to: &str| Event::Signal { source: "pong/a".to_owned(), to: to.to_owned(), body: Bytes::new() };
    bench.event(0, signal("pong/other"));
    bench.event(0, signal("no name"));
    bench.event(0, signal("pong/final"));
    let commands = bench.commands(0);
    let [Command::Signal { key, source, .. }] = &commands[..] else { panic!("one of three names a session") };
    assert_eq!((key, source.as_str()), (&session.key, "pong/a"));
}

#[test]
fn signals_that_wait_are_bounded_and_take_no_players_place() {
    let mut bench = Bench::new(1);
    // A node that does not know yet which games there are keeps what it is asked.
    bench.desk.connect(Box::new(|_, _| true), true);
    let signal = || Event::Signal { source: "pong/a".to_owned(), to: "chess/b".to_owned(), body: Bytes::new() };
    let dropped = |bench: &mut Bench| bench.ask(Message::Status).try_recv().unwrap().unwrap().signals_dropped;
    (0..SIGNALS + 10).for_each(|_| bench.event(0, signal()));
    assert_eq!(dropped(&mut bench), 10);
    bench.desk.handle(2_000_000, Message::GamesKnown);
    let due = bench.desk.next_timeout().expect("they are asked for again");
    bench.desk.handle_timeout(due);
    bench.desk.connect(Box::new(|_, _| true), true);
    (0..SIGNALS).for_each(|_| bench.event(0, signal()));
    assert_eq!(dropped(&mut bench), 10, "their places are free again");
}

#[test]
fn a_session_is_shown_with_its_detail_ended_and_listed_as_ended() {
    let mut bench = Bench::new(1);
    let session = bench.session("final");
    bench.event(0, Event::Joined { session: session.clone(), player: player("ada") });
    let mut shown = bench.ask(|reply| Message::Show(name(&session), reply));
    let Some(Command::Show { reply, .. }) = bench.commands(0).pop() else { panic!() };
    reply(Some(Box::new(report(&session))));
    let info = shown.try_recv().unwrap().unwrap();
    assert_eq!((info.players, info.seats, info.detail.unwrap().tick), (1, 2, 7));

    let mut ended = bench.ask(|reply| Message::End(name(&session), "enough".to_owned(), reply));
    let Some(Command::End { if_empty: false, reason, reply, .. }) = bench.commands(0).pop() else { panic!() };
    let (ending, mut has_ended) = ended.try_recv().unwrap().unwrap();
    assert_eq!(
        (ending.reason.as_deref(), has_ended.try_recv()),
        (Some("enough"), Err(oneshot::error::TryRecvError::Empty))
    );
    reply(true);
    assert_eq!((reason.as_str(), has_ended.try_recv()), ("enough", Ok(true)));
    bench.event(0, Event::Ended { session: session.clone(), reason, outcome: None });
    assert!(bench.ask(Message::Sessions).try_recv().unwrap().unwrap().is_empty());
    assert_eq!(bench.ask(Message::Ended).try_recv().unwrap().unwrap()[0].reason.as_deref(), Some("enough"));
    let gone = bench.ask(|reply| Message::Show(name(&session), reply)).try_recv().unwrap().unwrap();
    assert_eq!(gone.state, "ended");
    let unknown = SessionName { key: "other".parse().unwrap(), ..name(&session) };
    let error = bench.ask(|reply| Message::End(unknown, String::new(), reply)).try_recv().unwrap().unwrap_err();
    assert_eq!(error, ControlError::NoSuchSession("pong/other".to_owned()));
}

#[test]
fn a_worker_that_takes_nothing_drops_the_reply_and_the_caller_hears_of_it() {
    let mut bench = Bench::new(1);
    let session = bench.session("final");
    bench.told[&WorkerId(0)].lock().unwrap().full = true;
    let mut shown = bench.ask(|reply| Message::Show(name(&session), reply));
    assert!(matches!(shown.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
}

#[test]
fn a_worker_that_was_too_busy_to_be_told_of_an_end_is_told_again() {
    let mut bench = Bench::new(1);
    let target = Target::Session { game: "pong".parse().unwrap(), key: "ours".parse().unwrap() };
    bench.event(0, Event::Resolve { request: 1, player: player("ada"), target, may_create: true, resumes: None });
    let Some(Command::Create(order)) = bench.commands(0).pop() else { panic!() };
    bench.event(0, Event::Created { session: order.session.clone(), result: Ok(()) });
    let pass = |bench: &mut Bench| {
        bench.commands(0);
        let due = bench.desk.next_timeout().expect("something is due");
        bench.desk.handle_timeout(due);
        bench.commands(0)
    };
    bench.told[&WorkerId(0)].lock().unwrap().full = true;
    assert!(pass(&mut bench).is_empty(), "it takes nothing");
    bench.told[&WorkerId(0)].lock().unwrap().full = false;
    let told = pass(&mut bench);
    let [Command::End { session, if_empty: true, .. }] = &told[..] else { panic!("it is told again") };
    assert_eq!(*session, order.session);
    bench.event(0, Event::Ended { session: session.clone(), reason: String::new(), outcome: None });
    assert_eq!(bench.desk.next_timeout(), None);

    // One that never was created is asked for until the worker says that it has none.
    drop(bench.create("late"));
    let mut told = pass(&mut bench);
    let Some(Command::End { if_empty: false, reply, .. }) = told.pop() else { panic!("it is given up") };
    assert!(matches!(&pass(&mut bench)[..], [Command::End { if_empty: false, .. }]), "not heard of yet");
    reply(false);
    assert!(pass(&mut bench).is_empty());
    assert_eq!(bench.desk.next_timeout(), None);
}

#[tokio::test]
async fn the_end_of_the_task_is_noticed() {
    let (control, queue) = Control::queue(Default::default());
    let ended = tokio::spawn(async move { control.broken().await });
    drop(queue);
    ended.await.unwrap();
}

#[tokio::test]
async fn requests_beyond_the_queue_are_refused_as_busy() {
    let (control, queue) = Control::queue(Default::default());
    for _ in 0..CONTROL_QUEUE {
        control.drain().await;
    }
    assert_eq!(control.status().await, Err(ControlError::Overloaded));
    drop(queue);
    assert_eq!(control.status().await, Err(ControlError::Stopping));
}

/// Takes as long as the bound is: a question is asked of a task that is there and does nothing.
#[tokio::test]
async fn a_question_that_is_not_answered_is_given_up() {
    let (control, _queue) = Control::queue(Default::default());
    assert_eq!(control.status().await, Err(ControlError::Overloaded));
}

/// Takes as long as the bound is.
#[tokio::test]
async fn an_end_that_nobody_confirms_is_said_to_be_on_its_way() {
    let mut bench = Bench::new(1);
    let session = bench.session("final");
    let (control, mut queue) = Control::queue(Default::default());
    let asked = tokio::spawn(async move { control.end(name(&session), "enough".to_owned()).await });
    bench.desk.handle(0, queue.recv().await.unwrap());
    // The worker has the reply, and does not answer.
    let told = bench.commands(0).pop();
    assert_eq!(asked.await.unwrap().unwrap().state, "ending");
    assert!(matches!(told, Some(Command::End { .. })));
}

#[test]
fn draining_takes_no_new_sessions() {
    let mut bench = Bench::new(1);
    bench.desk.handle(0, Message::Drain);
    let error = bench.create("final").try_recv().unwrap().unwrap_err();
    assert_eq!(error, ControlError::Refused(Refusal::NoWorker));
    assert!(bench.ask(Message::Status).try_recv().unwrap().unwrap().draining);
}

#[test]
fn the_penalty_worker_gets_no_new_sessions() {
    let mut bench = Bench::new(2);
    for key in ["a", "b", "c", "d"] {
        drop(bench.create(key));
    }
    assert!(bench.commands(2).is_empty());
    assert_eq!(bench.commands(0).len() + bench.commands(1).len(), 4);
}

#[test]
fn questions_in_advance_that_wait_are_bounded_and_take_no_players_place() {
    let mut bench = Bench::new(1);
    let target = Target::Session { game: "pong".parse().unwrap(), key: "slow".parse().unwrap() };
    let resolve = || Box::new(Resolve { player: player("ada"), target: target.clone(), may_create: true });
    let mut waiting: Vec<_> = (0..RESOLVES).map(|_| bench.ask(|reply| Message::Resolve(resolve(), reply))).collect();
    let mut beyond = bench.ask(|reply| Message::Resolve(resolve(), reply));
    assert_eq!(beyond.try_recv().unwrap(), Err(ControlError::Overloaded));
    // A worker's player is none of those.
    let (resumes, may_create) = (None, true);
    bench.event(0, Event::Resolve { request: 7, player: player("bob"), target: target.clone(), may_create, resumes });
    let commands = bench.commands(0);
    let [Command::Create(order)] = &commands[..] else { panic!("one session for all") };
    bench.event(0, Event::Created { session: order.session.clone(), result: Ok(()) });
    for answer in &mut waiting {
        let place = answer.try_recv().unwrap().unwrap().unwrap();
        assert_eq!((&place.session, place.worker, place.address.port()), (&order.session, WorkerId(0), 7000));
    }
    let commands = bench.commands(0);
    assert!(matches!(&commands[..], [Command::Resolved { request: 7, answer: Ok(_) }]));
    assert!(bench.ask(|reply| Message::Resolve(resolve(), reply)).try_recv().unwrap().unwrap().is_ok());
}
