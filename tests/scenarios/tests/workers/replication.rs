//! Sessions that follow each other over real sockets: three workers, of which one leads. What it has acknowledged is there
//! when it is gone; what it granted goes on elsewhere.

mod ended;
mod forks;
mod keeping;
mod passed;
mod restored;
mod suspects;
mod volatile;

use std::collections::{BTreeMap, BTreeSet};
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jsonwebtoken::EncodingKey;
use ringside_client::{Client, Event as Heard, Options, Trust};
use ringside_core::ids::{SessionId, WorkerId};
use ringside_core::leadership::message::{Message, Party};
use ringside_core::leadership::record::{Copy, Member, Motive, Record, Terms};
use ringside_core::membership::PeerPorts;
use ringside_protocol::frame::{ALPN, Certificate, Target};
use ringside_protocol::limits;
use ringside_protocol::reason::Reason;
use ringside_sandbox::{Module, Sandbox, SandboxConfig};
use ringside_test_support::echo_history::EchoHistory;
use ringside_test_support::members::{Authority, peer};
use ringside_test_support::wait::PATIENCE;
use ringside_worker::authority::Keys;
use ringside_worker::replication::{Contacts, Follow, Promoted, ReplicationReport};
use ringside_worker::shell::{self, Config, PeerConfig, WorkerHandle};
use ringside_worker::{Command, Create, Event, Refusal, Resolved, SessionReport, transport};
use rustls::pki_types::PrivateKeyDer;

use crate::bench::{Bench, TICKET_KEY, sha256, sign, signing_key};

/// A worker's thread.
struct Running {
    me: Member,
    certificate: Certificate,
    handle: WorkerHandle,
    thread: JoinHandle<()>,
}

/// Workers of as many nodes, and the home of their sessions.
struct Group {
    running: BTreeMap<Member, Running>,
    events: Receiver<(Member, Event)>,
    copies: BTreeMap<SessionId, Copy>,
    /// Who leads each session, as the home would know.
    leaders: BTreeMap<SessionId, Member>,
    /// Whom the home does not hear, and nobody reaches.
    away: BTreeSet<Member>,
    module: Module,
    signing: EncodingKey,
    heard: Vec<(Member, Event)>,
}

fn session(number: u64) -> SessionId {
    format!("arena/match-{number}@{number:016x}").parse().unwrap()
}

impl Group {
    fn start(nodes: u64, game: &str) -> Group {
        let authority = Authority::new();
        let (signing, public) = signing_key();
        let (sender, events) = sync_channel(1 << 16);
        let mut running = BTreeMap::new();
        for node in 1..=nodes {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
            let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
            let certificate = sha256(made.cert.der());
            let own = peer(node, 1);
            let me = Member { node: own.node, worker: own.worker };
            let (said, says) = sync_channel(1 << 16);
            let config = Config {
                node: own.node,
                node_started: Instant::now(),
                worker: WorkerId(0),
                certificate,
                epochs: Default::default(),
                seat_window: limits::SEAT_WINDOW,
                penalty: false,
                keys: Keys::new(&[public], &TICKET_KEY),
                crypto: transport::server_crypto(vec![made.cert.der().clone()], key, vec![ALPN.to_vec()]).unwrap(),
                seed: [node as u8; 32],
                events: said,
                processor: None,
                peers: Some(PeerConfig {
                    socket: UdpSocket::bind("127.0.0.1:0").unwrap(),
                    membership: authority.member(node),
                }),
            };
            let (handle, thread) = shell::spawn(config, UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
            let all = sender.clone();
            std::thread::spawn(move || {
                while let Ok((_, event)) = says.recv() {
                    let _ = all.send((me, event));
                }
            });
            running.insert(me, Running { me, certificate, handle, thread });
        }
        let sandbox = Sandbox::new(SandboxConfig { cache_directory: None, warm_sessions: Some(64) }).unwrap();
        let module = sandbox.upload(&ringside_test_support::guests::module(game)).unwrap();
        let (copies, leaders) = (BTreeMap::new(), BTreeMap::new());
        let (away, heard) = (BTreeSet::new(), Vec::new());
        let group = Group { running, events, copies, leaders, away, module, signing, heard };
        group.introduce(|one| one.handle.peer_address().unwrap().port());
        group
    }

    /// Each is told by which port the others are reached.
    fn introduce(&self, port: impl Fn(&Running) -> u16) {
        let contacts = |one: &Running| Contacts {
            peers: PeerPorts { address: [127, 0, 0, 1].into(), ports: vec![port(one)] },
            workers: vec![one.handle.address()],
            certificate: one.certificate,
            era: 0,
        };
        let nodes = Arc::new(self.running.values().map(|one| (one.me.node, contacts(one))).collect());
        self.running.values().for_each(|one| one.tell(Command::Nodes(Arc::clone(&nodes))));
    }

    fn member(&self, node: u64) -> Member {
        let own = peer(node, 1);
        Member { node: own.node, worker: own.worker }
    }

    /// A session that a member leads, and others follow.
    fn create(&mut self, id: &SessionId, leader: u64, followers: &[u64]) {
        let leader = self.member(leader);
        let create = Create {
            session: id.clone(),
            module: self.module.clone(),
            config: Bytes::new(),
            seed: [5; 32],
            epoch: leader.node.first_epoch(),
            record: false,
            followers: followers.len(),
        };
        self.running[&leader].tell(Command::Create(Box::new(create)));
        self.leaders.insert(id.clone(), leader);
        for node in followers {
            self.follow(id, leader, *node, followers.len());
        }
    }

    fn follow(&self, id: &SessionId, leader: Member, node: u64, followers: usize) {
        let member = self.member(node);
        let description = self.module.description();
        let (tier, policy) = (description.tier, description.partition_policy);
        let terms = Terms { session: id.clone(), tier, policy, followers, is_recorded: false };
        let follow = Follow { module: self.module.clone(), terms, leader };
        self.running[&member].tell(Command::Follow(Box::new(follow)));
        self.running[&leader].tell(Command::Recruit { session: id.clone(), member });
    }

    /// Plays the home and the node until somebody says what is waited for.
    fn until<T>(&mut self, what: &str, mut found: impl FnMut(Member, &Event) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < PATIENCE, "waited for {what}; heard {:?}", self.heard);
            let (from, event) = match self.events.recv_timeout(Duration::from_millis(100)) {
                Ok(heard) => heard,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => panic!("nobody is left to say {what}"),
            };
            self.serve(from, &event);
            let found = found(from, &event);
            self.heard.push((from, event));
            if let Some(found) = found {
                return found;
            }
        }
    }

    fn runs(&self, member: Member) -> bool {
        self.running.get(&member).is_some_and(|running| !running.thread.is_finished())
    }

    fn serve(&mut self, from: Member, event: &Event) {
        match event {
            Event::ToHome { .. } | Event::Probe { .. } if self.away.contains(&from) => {}
            Event::ToHome { session, message } => {
                let copy = self.copies.entry(session.clone()).or_default();
                let answer = match &**message {
                    Message::Lead { record, .. } => {
                        let record = copy.told(&Arc::new(Record::clone(record)));
                        Message::Lead { record: Box::new(Record::clone(&record)), end: None }
                    }
                    Message::Ask(ask) => Message::Answer(copy.answer(ask)),
                    _ => return,
                };
                self.tell(from, Command::FromHome { session: session.clone(), message: Box::new(answer) });
            }
            Event::Probe { session, party } => {
                let (session, party) = (session.clone(), *party);
                match party {
                    Party::Member(member) if self.away.contains(&member) => {}
                    Party::Member(member) if !self.runs(member) => self.tell(from, Command::Died(member.node)),
                    _ => self.tell(from, Command::Reached { session, party }),
                }
            }
            // Where another branch won its leader announces itself; here the loser's word is enough.
            Event::Deposed { session, by } => {
                self.leaders.insert(session.clone(), by.leader);
            }
            Event::Promoted(promoted) => {
                self.leaders.insert(promoted.session.clone(), from);
            }
            Event::Resolve { request, target: Target::Session { key, .. }, .. } => {
                let found = self.leaders.iter().find(|(id, _)| id.key == *key);
                let place = found.and_then(|(id, leader)| Some((id, self.running.get(leader)?)));
                let answer = match place {
                    Some((id, leader)) => Ok(Resolved {
                        session: id.clone(),
                        node: leader.me.node.id.0,
                        generation: leader.me.node.generation,
                        era: 0,
                        worker: leader.me.worker,
                        address: leader.handle.address(),
                        certificate: leader.certificate,
                    }),
                    None => {
                        let message = "its leader is gone".to_owned();
                        Err(Refusal { reason: Reason::Unreachable, message })
                    }
                };
                self.tell(from, Command::Resolved { request: *request, answer });
            }
            _ => {}
        }
    }

    fn tell(&self, to: Member, command: Command) {
        if let Some(running) = self.running.get(&to) {
            running.tell(command);
        }
    }

    /// The record that counts names so many followers.
    fn until_in_sync(&mut self, id: &SessionId, followers: usize) -> Arc<Record> {
        self.until("followers in sync", |_, event| match event {
            Event::Record { session, record } if session == id && record.in_sync.len() == followers => {
                Some(Arc::clone(record))
            }
            _ => None,
        })
    }

    fn until_promoted(&mut self, id: &SessionId) -> (Member, Promoted) {
        self.until("a promotion", |from, event| match event {
            Event::Promoted(promoted) if promoted.session == *id => Some((from, (**promoted).clone())),
            _ => None,
        })
    }

    fn show(&self, node: u64, id: &SessionId) -> Option<Box<SessionReport>> {
        let (answer, answers) = sync_channel(1);
        let reply = Box::new(move |report| _ = answer.send(report));
        self.running[&self.member(node)].tell(Command::Show { session: id.clone(), reply });
        answers.recv_timeout(PATIENCE).unwrap()
    }

    /// Player inputs that a session has taken, as its leader says.
    fn inputs(&self, leader: Member, id: &SessionId) -> u64 {
        let (answer, answers) = sync_channel(1);
        self.tell(leader, Command::Counts { reply: Box::new(move |counts: Vec<_>| _ = answer.send(counts)) });
        let counts = answers.recv_timeout(PATIENCE).expect("an answer");
        counts.into_iter().find(|count| count.session == *id).expect("it is led there").inputs
    }

    fn replication(&self, node: u64, id: &SessionId) -> Box<ReplicationReport> {
        self.show(node, id).expect("a session").replication.expect("it is replicated")
    }

    /// A worker ends, with its socket.
    fn kill(&mut self, node: u64) {
        let running = self.running.remove(&self.member(node)).expect("a worker");
        running.tell(Command::Stop);
        running.thread.join().unwrap();
    }
}

impl Running {
    fn tell(&self, command: Command) {
        let mut command = command;
        while let Err(back) = self.handle.send(command) {
            command = *back;
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_follower_goes_on_where_a_leader_ended() {
    let mut group = Group::start(3, "arena");
    let id = session(1);
    group.create(&id, 1, &[2]);
    let record = group.until_in_sync(&id, 1);
    assert_eq!(record.in_sync.first(), Some(&group.member(2)));
    let committed = group.until_committed(1, &id, 20);
    group.kill(1);
    let (leader, promoted) = group.until_promoted(&id);
    assert_eq!(leader, group.member(2));
    assert!(promoted.record.position > committed, "all that was committed is there");
    // It has nobody now, takes another follower, and goes on.
    group.follow(&id, leader, 3, 1);
    let record = group.until_in_sync(&id, 1);
    assert_eq!((record.leader, record.in_sync.first()), (leader, Some(&group.member(3))));
    let later = group.until_committed(2, &id, promoted.record.position + 20);
    assert!(later > promoted.record.position);
    let leaders = |group: &Group, node| -> Vec<Member> {
        group.replication(node, &id).history.iter().map(|change| change.leader).collect()
    };
    assert_eq!(leaders(&group, 2), [leader]);
    // Who came last knows who led before, whether or not the log that it was sent says so.
    group.kill(2);
    let (last, _) = group.until_promoted(&id);
    assert_eq!((last, leaders(&group, 3)), (group.member(3), vec![leader, last]));
}

#[test]
fn what_all_sessions_append_in_a_turn_goes_to_a_follower_in_one_frame() {
    const SESSIONS: u64 = 30;
    const TICKS: u64 = 40;
    let mut group = Group::start(2, "arena");
    for number in 1..=SESSIONS {
        group.create(&session(number), 1, &[2]);
        group.until_in_sync(&session(number), 1);
    }
    let counted = |group: &Group| {
        let counters = group.running[&group.member(1)].handle.counters();
        let entries = (1..=SESSIONS).map(|number| group.replication(1, &session(number)).committed).sum::<u64>();
        (counters.turns.load(Relaxed), counters.peer_frames_out.load(Relaxed), entries)
    };
    let before = counted(&group);
    let first = group.replication(1, &session(1)).committed;
    group.until_committed(1, &session(1), first + TICKS);
    let after = counted(&group);
    let (turns, frames, entries) = (after.0 - before.0, after.1 - before.1, after.2 - before.2);
    assert!(entries >= TICKS * SESSIONS / 2, "{entries}");
    assert!(frames <= turns && frames * 5 <= entries, "{frames} frames in {turns} turns for {entries} entries");
}

#[test]
fn a_leader_whose_entries_nobody_waits_for_sleeps_between_its_ticks() {
    const TICKS: u64 = 40;
    // Of its grid of 2 ms, between two ticks at 20 Hz; and as much again for what it hears.
    const TURNS_A_TICK: u64 = 50;
    let mut group = Group::start(2, "arena");
    let id = session(1);
    group.create(&id, 1, &[2]);
    group.until_in_sync(&id, 1);
    let begun = group.until_committed(1, &id, 5);
    let counters = group.running[&group.member(1)].handle.counters();
    let before = counters.turns.load(Relaxed);
    // Each question is a turn.
    let (mut asked, mut ended) = (0, begun);
    while ended < begun + TICKS {
        group.drain();
        ended = group.replication(1, &id).committed;
        asked += 1;
    }
    let turns = counters.turns.load(Relaxed) - before;
    let count = ended - begun;
    assert!(turns <= asked + count * TURNS_A_TICK, "{turns} turns for {count} entries and {asked} questions");
}

#[test]
fn a_session_moves_and_moves_back_and_its_log_is_one() {
    let mut group = Group::start(2, "arena");
    let id = session(1);
    group.create(&id, 1, &[2]);
    for (from, to) in [(1, 2), (2, 1), (1, 2)] {
        group.until_in_sync(&id, 1);
        let before = group.until_committed(from, &id, 20);
        let (answer, answers) = sync_channel(1);
        let reply = Box::new(move |begun| _ = answer.send(begun));
        let to = group.member(to);
        group.tell(group.member(from), Command::Move { session: id.clone(), to, motive: Motive::Order, reply });
        answers.recv_timeout(PATIENCE).unwrap().expect("it can move");
        let (leader, promoted) = group.until_promoted(&id);
        assert_eq!(leader, to);
        assert!(promoted.record.position > before);
    }
    let history = group.replication(2, &id).history;
    assert_eq!(history.len(), 3, "{history:?}");
    let report = group.show(2, &id).unwrap();
    // Ticks, the start, a record for each change, one that took the follower in.
    let others = report.position - report.tick;
    assert!(others < 20, "{others} entries beside {} ticks", report.tick);
}

impl Group {
    /// Plays the home and the node for what was said so far.
    fn drain(&mut self) {
        while let Ok((from, event)) = self.events.try_recv() {
            self.serve(from, &event);
            self.heard.push((from, event));
        }
    }

    /// Up to where nothing is withdrawn, once that is far enough.
    fn until_committed(&mut self, node: u64, id: &SessionId, position: u64) -> u64 {
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < PATIENCE, "waited for position {position}; {:?}", self.replication(node, id));
            self.drain();
            let committed = self.replication(node, id).committed;
            if committed >= position {
                return committed;
            }
            std::thread::yield_now();
        }
    }
}

/// What became of a player's conversation.
#[derive(Debug, Default)]
struct Told {
    /// Replies that came, each once and in order, or it would have ended.
    replies: u64,
    moved: u32,
    disconnected: u32,
    /// How many messages were lost on the way there, if the session went back.
    rewound: Option<u64>,
    /// The longest time between two replies.
    gap: Duration,
}

/// A player who says something, waits for the reply, and says the next, until told to stop; each reply must be the next
/// and carry the hash over all that was said.
struct Talker {
    thread: JoinHandle<Told>,
    replies: Arc<AtomicU64>,
    /// Whether it was told, before its last reply, that it waits at the follower: that the worker there knows of it is less.
    stands_by: Arc<AtomicBool>,
    stops: Arc<AtomicBool>,
}

impl Talker {
    fn start(group: &Group, name: &str, id: &SessionId) -> Talker {
        let token = sign(&group.signing, &Bench::claims(name));
        let doors: Vec<_> = group.running.values().map(|one| one.handle.address()).collect();
        let target = format!("{}/{}", id.game, id.key);
        let options = Options::new(doors, Trust::InsecureLoopback, token, &target).unwrap();
        let (replies, stops) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let stands_by = Arc::<AtomicBool>::default();
        let (count, standing, ends) = (Arc::clone(&replies), Arc::clone(&stands_by), Arc::clone(&stops));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(talk(options, &count, &standing, &ends))
        });
        Talker { thread, replies, stands_by, stops }
    }

    fn replies(&self) -> u64 {
        self.replies.load(Relaxed)
    }

    /// Waits until it waits at the follower, be it there where it went last or at another.
    fn until_standing_by(&self, group: &mut Group) {
        self.stands_by.store(false, Relaxed);
        group.pump("the player at the follower", || self.stands_by.load(Relaxed));
    }

    fn finish(self, group: &mut Group) -> Told {
        self.stops.store(true, Relaxed);
        group.pump("the player's end", || self.thread.is_finished());
        self.thread.join().unwrap()
    }
}

async fn talk(options: Options, count: &AtomicU64, standing: &AtomicBool, ends: &AtomicBool) -> Told {
    let mut client = Client::connect(options).await.unwrap();
    let (mut told, mut last) = (Told::default(), Instant::now());
    let mut history = EchoHistory::new("talker", 1, last);
    let say = |client: &Client, history: &mut EchoHistory| {
        client.send(history.next_message()).unwrap();
        history.sent().unwrap();
    };
    say(&client, &mut history);
    loop {
        let heard =
            tokio::time::timeout(PATIENCE, client.next()).await.unwrap_or_else(|_| panic!("no reply: {told:?}"));
        match heard.unwrap_or_else(|| panic!("it ended: {told:?}")) {
            Heard::Message { body: reply, .. } => {
                let reply: echo::Reply = postcard::from_bytes(&reply).unwrap();
                told.replies = history.reply(&reply).unwrap();
                told.gap = told.gap.max(std::mem::replace(&mut last, Instant::now()).elapsed());
                standing.store(client.is_standing_by(), Relaxed);
                count.store(told.replies, Relaxed);
                if ends.load(Relaxed) {
                    return told;
                }
                say(&client, &mut history);
            }
            Heard::Moved { .. } => told.moved += 1,
            Heard::Disconnected { .. } => told.disconnected += 1,
            Heard::Attached(_) | Heard::Paused | Heard::Resumed => {}
            other => panic!("{other:?} after {told:?}"),
        }
    }
}

impl Group {
    /// Plays the home and the node until something is so.
    fn pump(&mut self, what: &str, mut is_so: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < 2 * PATIENCE, "waited for {what}; heard {:?}", self.heard);
            if let Ok((from, event)) = self.events.recv_timeout(Duration::from_millis(5)) {
                self.serve(from, &event);
                self.heard.push((from, event));
            }
        }
    }
}

/// Workers of which the first leads a session of this game, the second follows it, and a player talks to it.
fn talking(count: u64, game: &str) -> (Group, SessionId, Talker) {
    let mut group = Group::start(count, game);
    let id: SessionId = format!("{game}/match-1@0000000000000001").parse().unwrap();
    group.create(&id, 1, &[2]);
    group.until_in_sync(&id, 1);
    let talker = Talker::start(&group, "ann", &id);
    (group, id, talker)
}

#[test]
fn a_player_who_waits_at_the_follower_loses_nothing_with_the_leader() {
    let (mut group, id, talker) = talking(3, "echo-replicated");
    group.pump("replies", || talker.replies() > 100);
    // The client goes to the follower at a time of its own.
    talker.until_standing_by(&mut group);
    let before = talker.replies();
    group.kill(1);
    let (leader, _) = group.until_promoted(&id);
    assert!(
        group.inputs(leader, &id) >= before,
        "who settles between two of a key knows what was said to its leaders before"
    );
    group.pump("replies of the new leader", || talker.replies() > before + 100);
    let told = talker.finish(&mut group);
    println!("{told:?}");
    assert_eq!((told.moved, told.disconnected), (1, 0), "{told:?}");
}

#[test]
fn a_player_loses_nothing_when_a_session_moves_to_and_fro() {
    moves_to_and_fro("echo-replicated", 200);
}

/// Its session is moved again and again, after so many replies each time.
fn moves_to_and_fro(game: &str, replies: u64) {
    let (mut group, id, talker) = talking(2, game);
    for (number, (from, to)) in [(1, 2), (2, 1), (1, 2), (2, 1)].into_iter().enumerate() {
        let before = talker.replies();
        group.pump("replies", || talker.replies() > before + replies);
        // Be it that the player waits there already, or that it is told to come.
        if number >= 2 {
            talker.until_standing_by(&mut group);
        }
        group.move_to(&id, from, to);
    }
    let before = talker.replies();
    group.pump("replies", || talker.replies() > before + 200);
    let told = talker.finish(&mut group);
    println!("{told:?}");
    assert_eq!((told.moved, told.disconnected), (4, 0), "{told:?}");
}

impl Group {
    fn move_to(&mut self, id: &SessionId, from: u64, to: u64) {
        let to = self.member(to);
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < PATIENCE, "it does not move");
            let (answer, answers) = sync_channel(1);
            let reply = Box::new(move |begun: Result<_, _>| _ = answer.send(begun));
            self.tell(self.member(from), Command::Move { session: id.clone(), to, motive: Motive::Order, reply });
            if answers.recv_timeout(PATIENCE).unwrap().is_ok() {
                break;
            }
            self.drain();
        }
        self.until_promoted(id);
    }
}
