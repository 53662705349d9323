//! Core, network and model server in virtual time, from a seed. Streams are reliable and cut at will; datagrams are
//! lost, doubled and reordered; connections are cut in the middle of anything, and what was on its way is lost.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringside_protocol::fuzz::Mutator;
use ringside_protocol::reason::Reason;

use super::model::{Model, Said, address};
use crate::core::{Action, Config, Core, Event, LinkId, Lost, SendError, TargetText};

const STEP: Duration = Duration::from_millis(5);

/// How often what happens, in a thousand steps (of 5 ms) or datagrams.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    pub cuts: u64,
    pub lost_datagrams: u64,
    pub failed_handshakes: u64,
    pub moves: u64,
    pub rewinds: u64,
}

impl Faults {
    pub const NONE: Faults = Faults { cuts: 0, lost_datagrams: 0, failed_handshakes: 0, moves: 0, rewinds: 0 };
    pub const NETWORK: Faults = Faults { cuts: 12, lost_datagrams: 200, failed_handshakes: 150, moves: 0, rewinds: 0 };
}

/// What is on its way.
#[derive(Debug)]
enum Packet {
    Up(Bytes),
    UpDatagram(Bytes),
    Down(Bytes),
    DownDatagram(Bytes),
    Connected(std::net::SocketAddr),
    Refused,
    Closed(Reason),
    ClosedByClient,
}

/// Everything.
#[derive(Debug)]
pub struct World {
    core: Core,
    pub server: Model,
    now: Instant,
    /// By arrival (step, then order of sending).
    network: BTreeMap<(u64, u64), (LinkId, Packet)>,
    /// Connections that are up, with the step at which the last stream packet arrives each way.
    links: BTreeMap<LinkId, [u64; 2]>,
    random: Mutator,
    faults: Faults,
    step: u64,
    order: u64,
    received: Vec<Bytes>,
    shown: u64,
    pub disconnections: u32,
    pub moved: u32,
    pub rewound: u32,
    pub trace: Vec<String>,
}

impl World {
    pub fn new(seed: u64, faults: Faults) -> Self {
        let config = Config {
            token: "token".into(),
            target: "echo/one".parse::<TargetText>().unwrap().0,
            doors: vec![(address(1), None), (address(2), None)],
            relay: false,
            standby: true,
            seed,
            resolve: false,
            give_up_after: Duration::from_secs(60),
        };
        World {
            core: Core::new(config),
            server: Model::new(),
            now: Instant::now(),
            network: BTreeMap::new(),
            links: BTreeMap::new(),
            random: Mutator::new(seed),
            faults,
            step: 0,
            order: 0,
            received: Vec::new(),
            shown: 0,
            disconnections: 0,
            moved: 0,
            rewound: 0,
            trace: Vec::new(),
        }
    }

    pub fn connections(&self) -> usize {
        self.core.next_link as usize
    }

    fn chance(&mut self, of_a_thousand: u64) -> bool {
        self.random.draw() % 1000 < of_a_thousand
    }

    /// Sends `count` messages through whatever happens, and checks that each has its effect once and comes back once.
    pub fn play(mut self, count: usize) -> Self {
        let messages: Vec<Bytes> = (0..count).map(|number| Bytes::from(format!("message {number}"))).collect();
        self.core.start(self.now);
        let mut sent = 0;
        while self.received.len() < count || self.server.applied.len() < count || sent < count {
            assert!(self.step < 60_000, "stuck: {sent} sent, {} applied", self.server.applied.len());
            if sent < count && self.chance(300) {
                match self.core.send(messages[sent].clone()) {
                    Ok(_) => sent += 1,
                    Err(SendError::Full) => {}
                    Err(error) => {
                        self.take_events(true);
                        panic!("{error}");
                    }
                }
            }
            if self.chance(250) {
                let _ = self.core.send_datagram(b"input");
            }
            self.advance();
        }
        assert_eq!(self.server.applied, messages);
        assert_eq!(self.received, messages);
        self.depart();
        self
    }

    fn depart(&mut self) {
        self.faults = Faults::NONE;
        let mut settled = 0;
        while settled < 100 {
            self.advance();
            settled = if self.core.is_attached() && !self.server.is_moving() { settled + 1 } else { 0 };
        }
        self.core.leave(self.now);
        while !self.core.is_done() {
            self.advance();
        }
        self.take_events(true);
        assert!(self.server.left);
        assert_eq!(self.trace.last().map(String::as_str), Some("detached: Left"));
    }

    fn advance(&mut self) {
        self.step += 1;
        self.now += STEP;
        while let Some(entry) = self.network.first_entry()
            && entry.key().0 <= self.step
        {
            let (id, packet) = entry.remove();
            self.arrive(id, packet);
        }
        self.server_steps();
        self.cuts();
        if self.core.next_wake().is_some_and(|wake| wake <= self.now) {
            self.core.handle_timeout(self.now);
        }
        self.take_events(false);
        self.carry();
    }

    fn server_steps(&mut self) {
        if self.step.is_multiple_of(10) {
            let most = if self.chance(100) { 1162 } else { 1300 };
            self.server.step(most);
        }
        if self.chance(60) {
            self.server.save();
        }
        if self.chance(self.faults.moves) {
            self.server.announce();
        }
        if self.chance(60) {
            self.server.take_over();
        }
        if self.chance(self.faults.rewinds) {
            self.server.rewind();
        }
        if self.chance(self.faults.cuts) {
            self.server.forget_tokens();
        }
    }

    fn cuts(&mut self) {
        if !self.chance(self.faults.cuts) {
            return;
        }
        let ids: Vec<LinkId> = self.links.keys().copied().collect();
        if ids.is_empty() {
            return;
        }
        let id = ids[self.random.below(ids.len())];
        self.links.remove(&id);
        self.network.retain(|_, (link, _)| *link != id);
        self.core.handle_lost(self.now, id, Lost::Transport("cut".into()));
        // The server notices at once, or when the client is back: a replaced connection.
        if self.chance(500) {
            self.server.gone(id);
        }
    }

    fn arrive(&mut self, id: LinkId, packet: Packet) {
        match packet {
            Packet::Connected(address) => {
                self.server.connected(id, address);
                self.links.insert(id, [self.step; 2]);
                self.core.handle_connected(self.now, id);
            }
            Packet::Refused => self.core.handle_lost(self.now, id, Lost::Transport("no handshake".into())),
            Packet::Up(bytes) => self.server.stream(id, &bytes),
            Packet::UpDatagram(bytes) => self.server.datagram(id, bytes),
            Packet::Down(bytes) => self.core.handle_stream(self.now, id, &bytes),
            Packet::DownDatagram(bytes) => self.core.handle_datagram(self.now, id, bytes),
            Packet::Closed(reason) => {
                self.links.remove(&id);
                self.core.handle_lost(self.now, id, Lost::Closed(reason, String::new()));
            }
            Packet::ClosedByClient => {
                self.links.remove(&id);
                self.server.gone(id);
            }
        }
    }

    fn take_events(&mut self, all: bool) {
        while all || self.random.below(3) > 0 {
            let Some(event) = self.core.poll_event(self.now) else { return };
            self.event(event);
        }
    }

    fn event(&mut self, event: Event) {
        let line = match event {
            Event::Message { number, body } => {
                self.received.push(body);
                assert_eq!(self.received.len() as u64, number, "in order, once");
                format!("message {number}")
            }
            Event::View(view) => {
                assert!(view.tick >= self.shown, "older than what was shown");
                assert!(view.body.iter().all(|&byte| byte == view.tick as u8));
                self.shown = view.tick;
                format!("view {}", view.tick)
            }
            Event::Rewound { tick, last_output, lost_messages, .. } => {
                assert_eq!(lost_messages, 0, "what was not safe was kept");
                self.rewound += 1;
                self.shown = self.shown.min(tick);
                self.received.truncate(last_output as usize);
                format!("rewound to {tick}")
            }
            Event::Disconnected { cause } => {
                self.disconnections += 1;
                format!("disconnected: {cause}")
            }
            Event::Moved { address } => {
                self.moved += 1;
                format!("moved to {address}")
            }
            Event::Attached(attachment) => {
                assert_eq!(attachment.lost_messages, 0);
                format!("attached at {}", attachment.last_input)
            }
            Event::Detached { reason, .. } => format!("detached: {reason:?}"),
            Event::Failed { reason, message } => panic!("failed: {reason:?}, {message}\n{:#?}", self.trace),
            other => format!("{other:?}"),
        };
        self.trace.push(format!("{} {line}", self.step).split_once(' ').map_or(line, |(_, line)| line.to_owned()));
    }

    /// Puts what core and server said on its way.
    fn carry(&mut self) {
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::Connect { link, address, .. } => {
                    let failed = self.chance(self.faults.failed_handshakes);
                    let packet = if failed { Packet::Refused } else { Packet::Connected(address) };
                    let delay = 2 + self.random.below(8) as u64;
                    self.put(link, delay, packet);
                }
                Action::Resolve { .. } => panic!("there is nobody to ask"),
                Action::Write { link, bytes } => self.stream(link, 0, bytes, Packet::Up),
                Action::Datagram { link, bytes } => self.datagrams(link, bytes, Packet::UpDatagram),
                Action::Close { link, .. } => {
                    self.last(link, 0, Packet::ClosedByClient);
                    self.network.retain(|_, (id, packet)| {
                        *id != link || matches!(packet, Packet::Up(_) | Packet::UpDatagram(_) | Packet::ClosedByClient)
                    });
                }
            }
        }
        for said in std::mem::take(&mut self.server.said) {
            match said {
                Said::Stream(id, bytes) => self.stream(id, 1, bytes, Packet::Down),
                Said::Datagram(id, bytes) => self.datagrams(id, bytes, Packet::DownDatagram),
                Said::Close(id, reason) => {
                    self.server.gone(id);
                    self.last(id, 1, Packet::Closed(reason));
                }
            }
        }
    }

    fn put(&mut self, id: LinkId, delay: u64, packet: Packet) {
        self.order += 1;
        self.network.insert((self.step + delay, self.order), (id, packet));
    }

    /// In order, cut into pieces.
    fn stream(&mut self, id: LinkId, way: usize, mut bytes: Bytes, packet: fn(Bytes) -> Packet) {
        while !bytes.is_empty() {
            let size = if self.chance(200) { 1 } else { 1 + self.random.below(1200) };
            let piece = bytes.split_to(size.min(bytes.len()));
            self.last(id, way, packet(piece));
        }
    }

    /// After everything that is on its way on the stream.
    fn last(&mut self, id: LinkId, way: usize, packet: Packet) {
        let delay = 1 + self.random.below(6) as u64;
        let Some(arrivals) = self.links.get_mut(&id) else { return };
        arrivals[way] = arrivals[way].max(self.step + delay);
        let delay = arrivals[way] - self.step;
        self.put(id, delay, packet);
    }

    fn datagrams(&mut self, id: LinkId, bytes: Bytes, packet: fn(Bytes) -> Packet) {
        if !self.links.contains_key(&id) {
            return;
        }
        let copies = if self.chance(self.faults.lost_datagrams) { self.random.below(3) } else { 1 };
        for _ in 0..copies {
            let delay = 1 + self.random.below(6) as u64;
            self.put(id, delay, packet(bytes.clone()));
        }
    }
}
