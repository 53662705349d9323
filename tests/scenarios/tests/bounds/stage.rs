//! One worker, its peers and the packets between them, in virtual time. Peers do what a test says and nothing else.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Instant;

use bytes::Bytes;
use ringside_client::core::{LinkId, Lost};
use ringside_core::durable::object::Item;
use ringside_core::ids::{Incarnation, Node, NodeId, SessionId, WorkerId};
use ringside_core::leadership::record::{Member, PartitionPolicy, Terms, Tier};
use ringside_protocol::frame::{Attached, ClientFrame, FrameDecoder, Open, ServerFrame, Target, VERSION, WireFrame};
use ringside_sandbox::{Module, Sandbox, SandboxConfig};
use ringside_simulation::scheduler::Micros;
use ringside_simulation::worker::dialer::{Dialer, Heard, Packet};
use ringside_simulation::worker::host::Host;
use ringside_simulation::worker::identity;
use ringside_test_support::guests;
use ringside_worker::authority::Authority;
use ringside_worker::durable::Stored;
use ringside_worker::replication::Follow;
use ringside_worker::{Command, Create, Event, Resolved, SessionReport, WorkerConfig};

pub const SECOND: Micros = 1_000_000;
/// What a packet takes.
const DELAY: Micros = 1_000;

/// A peer's connection, and what it has heard.
#[derive(Default)]
pub struct Link {
    pub connected: bool,
    pub frames: Vec<ServerFrame>,
    pub datagrams: Vec<Bytes>,
    pub lost: Option<Lost>,
    address: Option<SocketAddr>,
    decoder: FrameDecoder<ServerFrame>,
}

impl Link {
    /// Messages that it has heard.
    pub fn messages(&self) -> usize {
        self.frames.iter().filter(|frame| matches!(frame, ServerFrame::Message { .. })).count()
    }
}

/// The stage.
pub struct Stage {
    pub host: Host,
    /// What the worker told the node, but for questions.
    pub events: Vec<Event>,
    /// Whether the node answers no question.
    pub silent: bool,
    /// Every session that is asked for is at another node.
    pub elsewhere: bool,
    /// Whether what the worker sends is lost.
    pub mute: bool,
    /// Whether the node takes nothing that the worker tells it.
    pub deaf: bool,
    pub now: Micros,
    /// Turns that the worker took.
    pub turns: u64,
    base: Instant,
    sessions: Vec<SessionId>,
    next_turn: Micros,
    held_until: Micros,
    flights: BTreeMap<(Micros, u64), (SocketAddr, Packet)>,
    sent: u64,
    dialers: BTreeMap<SocketAddr, Dialer>,
    links: BTreeMap<LinkId, Link>,
}

impl Stage {
    /// A worker with the ordinary limits, but for what `adjust` changes.
    pub fn new(adjust: impl FnOnce(&mut WorkerConfig)) -> Stage {
        let base = Instant::now();
        Stage {
            host: Host::new(0, base, 7, adjust),
            events: Vec::new(),
            silent: false,
            elsewhere: false,
            mute: false,
            deaf: false,
            now: 0,
            turns: 0,
            base,
            sessions: Vec::new(),
            next_turn: 0,
            held_until: 0,
            flights: BTreeMap::new(),
            sent: 0,
            dialers: BTreeMap::new(),
            links: BTreeMap::new(),
        }
    }

    /// Creates a session of a built game.
    pub fn create(&mut self, game: &str) -> SessionId {
        let (session, result) = self.try_to_create(game);
        result.expect("a session");
        session
    }

    /// Why a session cannot be created.
    pub fn refused(&mut self, game: &str) -> String {
        self.try_to_create(game).1.expect_err("no session")
    }

    fn try_to_create(&mut self, game: &str) -> (SessionId, Result<(), String>) {
        let session = self.begin(game);
        let is_log = |event: &Event| matches!(event, Event::Log(_));
        self.until("an answer, or something to be stored before that", SECOND, |stage| {
            (stage.created().is_some() || stage.events.iter().any(is_log)).then_some(())
        });
        self.store();
        let result = self.until("an answer", SECOND, |stage| stage.created());
        self.events.clear();
        (session, result)
    }

    /// The answer to who had a session created, if there is one.
    pub fn created(&self) -> Option<Result<(), String>> {
        self.events.iter().find_map(|event| match event {
            Event::Created { result, .. } => Some(result.clone()),
            _ => None,
        })
    }

    /// What a node's log does: it stores the entries that were handed in, and says so.
    pub fn store(&mut self) {
        let mut stored = Vec::new();
        for event in &self.events {
            let Event::Log(items) = event else { continue };
            for item in items {
                if let Item::Entries { session, epoch, entries } = item {
                    let position = entries.last().map_or(0, |entry| entry.position);
                    stored.push(Stored { session: session.clone(), epoch: *epoch, position });
                }
            }
        }
        if !stored.is_empty() {
            self.tell(Command::Stored(stored));
        }
    }

    /// Has a session created, and does not wait for it.
    pub fn begin(&mut self, game: &str) -> SessionId {
        let number = self.sessions.len() + 1;
        let session: SessionId = format!("{game}/room-{number}@{number:016x}").parse().expect("a session");
        let create = Create {
            session: session.clone(),
            module: module(game),
            config: Bytes::new(),
            seed: [5; 32],
            epoch: Node { id: NodeId(identity::NODE), generation: identity::GENERATION }.first_epoch(),
            record: true,
            followers: 0,
        };
        self.sessions.push(session.clone());
        self.tell(Command::Create(Box::new(create)));
        session
    }

    /// Has it follow a session of a built game, whose leader is never heard of.
    pub fn follow(&mut self, session: &SessionId, module: &Module) {
        let leader = Member { node: Node { id: NodeId(identity::NODE + 1), generation: 1 }, worker: WorkerId(0) };
        let (tier, policy) = (Tier::Replicated, PartitionPolicy::Available);
        let terms = Terms { session: session.clone(), tier, policy, followers: 1, is_recorded: false };
        self.tell(Command::Follow(Box::new(Follow { module: module.clone(), terms, leader })));
    }

    pub fn tell(&mut self, command: Command) {
        self.host.tell(command);
        self.next_turn = self.now;
    }

    pub fn report(&mut self, session: &SessionId) -> SessionReport {
        self.host.show(self.now, session).expect("the session is there")
    }

    /// Begins a connection from an address.
    pub fn connect(&mut self, from: SocketAddr) -> LinkId {
        let id = LinkId(self.links.len() as u32);
        let (now, to) = (self.instant(), self.host.address);
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&(self.dialers.len() as u64).to_le_bytes());
        self.dialers.entry(from).or_insert_with(|| Dialer::new(seed)).connect(now, id, to);
        self.links.insert(id, Link { address: Some(from), ..Link::default() });
        self.collect(from);
        id
    }

    /// A connection whose handshake is done.
    pub fn connected(&mut self, from: SocketAddr) -> LinkId {
        let id = self.connect(from);
        self.until("a handshake", SECOND, |stage| stage.link(id).connected.then_some(()));
        id
    }

    /// A player in a session.
    pub fn attach(&mut self, player: &str, session: &SessionId) -> (LinkId, Attached) {
        let id = self.connected(address(200, self.links.len()));
        self.say(id, &open(player, session));
        let attached = self.until("an attachment", SECOND, |stage| match stage.link(id).frames.first() {
            Some(ServerFrame::Attached(attached)) => Some((**attached).clone()),
            _ => None,
        });
        (id, attached)
    }

    pub fn say(&mut self, id: LinkId, frame: &ClientFrame) {
        let address = self.link(id).address.expect("it was connected");
        self.dialer(address).write(id, frame.to_bytes().freeze());
        self.collect(address);
    }

    pub fn send_datagram(&mut self, id: LinkId, bytes: Bytes) {
        let address = self.link(id).address.expect("it was connected");
        self.dialer(address).datagram(id, bytes);
        self.collect(address);
    }

    pub fn link(&mut self, id: LinkId) -> &mut Link {
        self.links.get_mut(&id).expect("it was connected")
    }

    pub fn stats(&mut self, id: LinkId) -> quinn_proto::ConnectionStats {
        let address = self.link(id).address.expect("it was connected");
        self.dialer(address).quic(id).expect("it is open").0.stats()
    }

    /// The worker's thread gets no processor for so long; packets wait at its socket.
    pub fn hold(&mut self, time: Micros) {
        self.held_until = self.now + time;
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Micros) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Lets time pass until something is there, at most so long.
    pub fn until<T>(&mut self, what: &str, most: Micros, mut found: impl FnMut(&mut Stage) -> Option<T>) -> T {
        let end = self.now + most;
        loop {
            if let Some(found) = found(self) {
                return found;
            }
            assert!(self.step(end), "waited {most} µs for {what}");
        }
    }

    fn instant(&self) -> Instant {
        self.base + std::time::Duration::from_micros(self.now)
    }

    fn dialer(&mut self, address: SocketAddr) -> &mut Dialer {
        self.dialers.get_mut(&address).expect("a dialer at this address")
    }

    /// Goes to the next thing that happens and lets it; false where there is none before `end`.
    fn step(&mut self, end: Micros) -> bool {
        let base = self.base;
        let since = |at: Instant| at.saturating_duration_since(base).as_micros() as Micros + 1;
        let flight = self.flights.first_key_value().map(|((at, _), _)| *at);
        let wake = self.dialers.iter_mut().filter_map(|(from, dialer)| Some((since(dialer.next_wake()?), *from))).min();
        let turn = self.next_turn.max(self.held_until);
        let wake_at = wake.map_or(Micros::MAX, |(at, _)| at);
        let next = turn.min(flight.unwrap_or(Micros::MAX)).min(wake_at);
        if next > end {
            return false;
        }
        self.now = self.now.max(next);
        if flight == Some(next) {
            self.land();
        } else if let Some((_, from)) = wake.filter(|(at, _)| *at == next) {
            self.collect(from);
        } else {
            self.turn();
        }
        true
    }

    fn land(&mut self) {
        let Some((_, (to, (from, bytes)))) = self.flights.pop_first() else { return };
        if to == self.host.address {
            if self.host.arrive((from, bytes)) {
                self.next_turn = self.next_turn.min(self.now);
            }
            return;
        }
        let (now, mut sent) = (self.instant(), Vec::new());
        if let Some(dialer) = self.dialers.get_mut(&to) {
            dialer.handle_packet(now, from, &bytes, &mut sent);
            self.fly(to, sent);
            self.collect(to);
        }
    }

    /// Hears what connections of an address say, and takes their packets.
    fn collect(&mut self, address: SocketAddr) {
        let (now, mut sent, mut heard) = (self.instant(), Vec::new(), Vec::new());
        self.dialer(address).process(now, &mut sent, &mut heard);
        self.fly(address, sent);
        for heard in heard {
            match heard {
                Heard::Connected(id) => self.link(id).connected = true,
                Heard::Stream(id, bytes) => {
                    let link = self.link(id);
                    let mut rest = &bytes[..];
                    while let Some(frame) = link.decoder.next(&mut rest).expect("the worker's frames are right") {
                        link.frames.push(frame);
                    }
                }
                Heard::Datagram(id, bytes) => self.link(id).datagrams.push(bytes),
                Heard::Lost(id, lost) => self.link(id).lost = Some(lost),
            }
        }
    }

    fn fly(&mut self, from: SocketAddr, sent: Vec<Packet>) {
        for (to, bytes) in sent {
            self.sent += 1;
            self.flights.insert((self.now + DELAY, self.sent), (to, (from, bytes)));
        }
    }

    fn turn(&mut self) {
        if self.deaf {
            self.next_turn = self.host.turn_unheard(self.now).max(self.now + 1);
            return;
        }
        let done = self.host.turn(self.now);
        self.turns += 1;
        self.next_turn = done.next.max(self.now + 1);
        let address = self.host.address;
        if !self.mute {
            self.fly(address, done.sent);
        }
        for event in done.events {
            match event {
                Event::Resolve { request, target, .. } if self.elsewhere => {
                    let answer = Ok(at_another_node(&target));
                    self.tell(Command::Resolved { request, answer });
                }
                Event::Resolve { request, target, .. } if !self.silent => {
                    let session = self.sessions.iter().find(|id| names(&target, id)).expect("a session that exists");
                    let answer = Ok(Resolved {
                        session: session.clone(),
                        node: identity::NODE,
                        generation: identity::GENERATION,
                        era: 0,
                        worker: WorkerId(0),
                        address,
                        certificate: identity::CERTIFICATE,
                    });
                    self.tell(Command::Resolved { request, answer });
                }
                Event::Resolve { .. } => {}
                event => self.events.push(event),
            }
        }
    }

    /// What is recorded of a session that has not been told before.
    pub fn recorded(&mut self, session: &SessionId) -> Vec<u8> {
        self.tell(Command::Flush { session: session.clone(), reply: Box::new(|()| {}) });
        let flushed = Rc::new(RefCell::new(Vec::new()));
        self.until("the recording", SECOND, |stage| {
            let mut over = false;
            for event in stage.events.drain(..) {
                match event {
                    Event::Recorded { piece, .. } => flushed.borrow_mut().extend_from_slice(&piece.frames),
                    Event::Flushed(_) => over = true,
                    _ => {}
                }
            }
            over.then_some(())
        });
        flushed.take()
    }
}

/// Where a session is that another node leads.
fn at_another_node(target: &Target) -> Resolved {
    let Target::Session { game, key } = target else { panic!("a session by its key") };
    Resolved {
        session: SessionId { game: game.clone(), key: key.clone(), incarnation: Incarnation(1) },
        node: identity::NODE + 1,
        generation: identity::GENERATION,
        era: 0,
        worker: WorkerId(0),
        address: address(201, 0),
        certificate: identity::CERTIFICATE,
    }
}

fn names(target: &Target, session: &SessionId) -> bool {
    matches!(target, Target::Session { game, key } if *game == session.game && *key == session.key)
}

/// What a player's first frame says.
pub fn open(player: &str, session: &SessionId) -> ClientFrame {
    ClientFrame::Open(Box::new(Open {
        version: VERSION,
        token: identity::token(player),
        target: Target::Session { game: session.game.clone(), key: session.key.clone() },
        mode: Default::default(),
        resume: None,
        ticket: None,
        relay: false,
    }))
}

/// The same of a player whom another node sends to this worker, after so many redirects.
pub fn open_with_ticket(player: &str, session: &SessionId, redirects: u8) -> ClientFrame {
    let node = Node { id: NodeId(identity::NODE + 1), generation: identity::GENERATION };
    let mut door = Authority::new(identity::keys(), node, WorkerId(0), &[1; 32]);
    let place = Resolved {
        session: session.clone(),
        node: identity::NODE,
        generation: identity::GENERATION,
        era: 0,
        worker: WorkerId(0),
        address: address(0, 0),
        certificate: identity::CERTIFICATE,
    };
    let ticket = door.ticket(&player.parse().expect("a player"), &place, redirects, u64::MAX);
    let ClientFrame::Open(mut asked) = open(player, session) else { panic!("an open frame") };
    asked.ticket = Some(ticket);
    ClientFrame::Open(asked)
}

/// An IPv4 address of a network, with a port of its own.
pub fn address(network: u8, number: usize) -> SocketAddr {
    SocketAddr::from(([192, 168, network, 1], 10_000 + number as u16))
}

/// A message for the echo game.
pub fn echo_message(number: u64, bytes: usize) -> ClientFrame {
    let body = ringside_guest::encode(&ringside_guest::Bytes(vec![7; bytes]));
    ClientFrame::Message { number, body: body.into() }
}

pub fn module(name: &str) -> Module {
    static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| {
        let config = SandboxConfig { cache_directory: None, warm_sessions: Some(8) };
        Sandbox::new(config).expect("a sandbox")
    });
    SANDBOX.upload(&guests::module(name)).expect("an accepted module")
}
