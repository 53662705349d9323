//! Workers with sockets for peers in virtual time, and a network that carries everything to whoever is not deaf.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringside_core::ids::SessionId;
use ringside_simulation::worker::host::Host;
use ringside_test_support::members::{Authority, peer};
use ringside_worker::outlet::{Destination, Outlet};
use ringside_worker::peers::{End, LinkError, News, Order, Peer, PeersConfig, SendError};
use ringside_worker::receive::Datagram;
use ringside_worker::{Command, Event, Turn, Worker};

/// A worker: number `n` is worker 0 of the first run of node `n + 1`.
pub struct Side {
    pub worker: Worker,
    now: Instant,
    pub address: SocketAddr,
    /// Packets are lost on their way here.
    pub is_deaf: bool,
    /// Whether somebody takes its events.
    pub is_taken: bool,
    /// How long a look at the clock takes.
    pub look: Duration,
    pub heard: Vec<(Peer, News)>,
    up: HashMap<Peer, bool>,
    linked: Option<Peer>,
    inbox: VecDeque<(SocketAddr, Vec<u8>)>,
    sent: Vec<(SocketAddr, Vec<u8>)>,
}

/// Where packets go, and what time it is.
struct Out {
    now: Instant,
    look: Duration,
    buffer: Vec<u8>,
    sent: Vec<(SocketAddr, Vec<u8>)>,
}

impl Outlet for Out {
    fn now(&mut self) -> Instant {
        self.now += self.look;
        self.now
    }

    fn buffer(&mut self) -> &mut Vec<u8> {
        self.buffer.clear();
        &mut self.buffer
    }

    fn commit(&mut self, to: Destination) {
        self.sent.push((to.address, self.buffer.clone()));
    }
}

fn session() -> SessionId {
    "echo/linked@0000000000000001".parse().expect("a session")
}

impl Side {
    pub fn without_peers(number: usize, now: Instant) -> Side {
        Side {
            worker: Host::new(number as u8, now, 1, |_| {}).worker,
            now,
            address: SocketAddr::from(([10, 0, (number / 200) as u8, (number % 200) as u8 + 1], 7000)),
            is_deaf: false,
            is_taken: true,
            look: Duration::ZERO,
            heard: Vec::new(),
            up: HashMap::new(),
            linked: None,
            inbox: VecDeque::new(),
            sent: Vec::new(),
        }
    }

    fn new(number: usize, now: Instant, authority: &Authority, adjust: &impl Fn(&mut PeersConfig)) -> Side {
        let own = peer(number as u64 + 1, 1);
        let mut config =
            authority.member(own.node.id.0).configure(own, &[number as u8 + 1; 32], true).expect("a member");
        adjust(&mut config);
        let mut side = Side::without_peers(number, now);
        side.worker.open_to_peers(config);
        side
    }

    fn asked<T: Send + 'static>(&mut self, order: impl FnOnce(Box<dyn FnOnce(T) + Send>) -> Order) -> T {
        let (answer, answers) = channel();
        let order = order(Box::new(move |value| drop(answer.send(value))));
        self.worker.handle_command(self.now, Command::Peers(order));
        answers.recv().expect("an answer at once")
    }

    pub fn link(&mut self, peer: Peer, address: SocketAddr) -> Result<(), LinkError> {
        self.linked = Some(peer);
        self.asked(|reply| Order::Link { session: session(), peer, address, reply })
    }

    pub fn unlink(&mut self) {
        let peer = self.linked.expect("a peer");
        self.worker.handle_command(self.now, Command::Peers(Order::Unlink { session: session(), peer }));
    }

    fn peer(&self) -> Peer {
        self.linked.expect("a peer")
    }

    pub fn frame(&mut self, body: Bytes) -> Result<(), SendError> {
        let peer = self.peer();
        self.asked(|reply| Order::Frame { peer, body, reply })
    }

    pub fn datagram(&mut self, body: Bytes) -> Result<(), SendError> {
        let peer = self.peer();
        self.asked(|reply| Order::Datagram { peer, body, reply })
    }

    pub fn long(&mut self, body: Bytes) -> Result<(), SendError> {
        let peer = self.peer();
        self.asked(|reply| Order::Long { peer, body, reply })
    }

    pub fn is_up(&self) -> bool {
        self.up.values().any(|up| *up)
    }

    pub fn has_mail(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// What was heard since it was last asked.
    pub fn news(&mut self) -> Vec<News> {
        self.heard.drain(..).map(|(_, news)| news).collect()
    }

    fn take<T>(&mut self, pick: impl Fn(&News) -> Option<T>) -> Vec<T> {
        let mut taken = Vec::new();
        self.heard.retain(|(_, news)| {
            let picked = pick(news);
            let keep = picked.is_none();
            taken.extend(picked);
            keep
        });
        taken
    }

    pub fn frames(&mut self) -> Vec<Bytes> {
        self.take(|news| if let News::Frame(body) = news { Some(body.clone()) } else { None })
    }

    pub fn frame_bytes(&self) -> usize {
        let bytes = |(_, news): &(Peer, News)| if let News::Frame(body) = news { body.len() } else { 0 };
        self.heard.iter().map(bytes).sum()
    }

    pub fn datagrams(&mut self) -> usize {
        self.take(|news| matches!(news, News::Datagram(_)).then_some(())).len()
    }

    pub fn downs(&mut self) -> Vec<End> {
        self.take(|news| if let News::Down { end, .. } = news { Some(*end) } else { None })
    }

    pub fn ups(&mut self) -> usize {
        self.take(|news| matches!(news, News::Up { .. }).then_some(())).len()
    }

    /// Hands the worker what came.
    pub fn deliver(&mut self) {
        let now = self.now;
        for (from, bytes) in self.inbox.drain(..) {
            self.worker.handle_peer_datagram(now, Datagram { from, to: None, ecn: None, bytes: &bytes });
        }
    }

    /// One turn, as the shell has it.
    pub fn turn(&mut self) -> Turn {
        let mut out = Out { now: self.now, look: self.look, buffer: Vec::new(), sent: Vec::new() };
        let turn = self.worker.turn(&mut out);
        assert!(out.sent.is_empty(), "players are sent nothing");
        self.worker.send_to_peers(&mut out);
        self.sent.append(&mut out.sent);
        while self.is_taken
            && let Some(event) = self.worker.poll_event()
        {
            let Event::Peer { peer, news } = event else { continue };
            match news {
                News::Up { .. } => _ = self.up.insert(peer, true),
                News::Down { .. } => _ = self.up.insert(peer, false),
                _ => {}
            }
            self.heard.push((peer, news));
        }
        turn
    }
}

/// The workers.
pub struct Pair {
    pub now: Instant,
    pub sides: Vec<Side>,
    /// Packets that were carried.
    pub carried: u64,
}

impl Pair {
    pub fn new(sides: usize) -> Pair {
        Pair::with(sides, &Authority::new(), |_| {})
    }

    pub fn with(sides: usize, authority: &Authority, adjust: impl Fn(&mut PeersConfig)) -> Pair {
        let now = Instant::now();
        let sides = (0..sides).map(|number| Side::new(number, now, authority, &adjust)).collect();
        Pair { now, sides, carried: 0 }
    }

    /// Two of which the first has linked a session to the second; the second linked none.
    pub fn linked() -> Pair {
        let mut pair = Pair::new(2);
        let address = pair.sides[1].address;
        pair.sides[0].link(peer(2, 1), address).expect("a link");
        pair.sides[1].linked = Some(peer(1, 1));
        pair.settle();
        assert!(pair.sides.iter().all(Side::is_up));
        assert_eq!(pair.sides.iter_mut().map(Side::ups).sum::<usize>(), 2);
        pair
    }

    /// Everybody has a turn with what arrived. Answers whether anything was done.
    pub fn step(&mut self) -> bool {
        let mut busy = false;
        for side in &mut self.sides {
            busy |= side.has_mail();
            side.deliver();
            busy |= side.turn() == Turn::More;
            busy |= side.worker.next_wake(self.now).is_some_and(|wake| wake <= self.now);
        }
        for from in 0..self.sides.len() {
            let address = self.sides[from].address;
            for (to, bytes) in std::mem::take(&mut self.sides[from].sent) {
                busy = true;
                if let Some(side) = self.sides.iter_mut().find(|side| side.address == to && !side.is_deaf) {
                    self.carried += 1;
                    side.inbox.push_back((address, bytes));
                }
            }
        }
        busy
    }

    fn go_to(&mut self, now: Instant) {
        self.now = now;
        self.sides.iter_mut().for_each(|side| side.now = now);
    }

    fn wake(&self) -> Instant {
        let wakes = self.sides.iter().filter_map(|side| side.worker.next_wake(self.now));
        wakes.min().unwrap_or(self.now + Duration::from_secs(1)).max(self.now + Duration::from_micros(1))
    }

    /// As long as anything is to be done within the next moments.
    pub fn settle(&mut self) {
        let end = self.now + Duration::from_millis(100);
        loop {
            while self.step() {}
            let wake = self.wake();
            if wake > end {
                return;
            }
            self.go_to(wake);
        }
    }

    /// So much time passes.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            while self.step() {}
            self.go_to(self.wake().min(end));
        }
        while self.step() {}
    }

    /// Time passes until something is so.
    pub fn pass_until(&mut self, is: impl Fn(&Pair) -> bool) {
        let end = self.now + Duration::from_secs(120);
        loop {
            while self.step() {
                if is(self) {
                    return;
                }
            }
            if is(self) {
                return;
            }
            assert!(self.now < end, "it never becomes so");
            self.go_to(self.wake());
        }
    }
}
