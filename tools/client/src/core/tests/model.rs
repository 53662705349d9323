//! A model of a server, in virtual time: one session that echoes, its seat, any number of connections. It follows the
//! wire format's rules to the letter, and asserts that the client does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use ringside_protocol::channel::{Arrival, Inbox, Outbox, Resumption, Standing, resume};
use ringside_protocol::datagram::ClientDatagram;
use ringside_protocol::frame::{
    Attached, Certificate, ClientFrame, FrameDecoder, Mode, Opaque, Open, Place, Refused, Rewound, Route, Seat,
    ServerFrame, WireFrame,
};
use ringside_protocol::ids::{Branch, Epoch, Incarnation, SessionId, Slot, WorkerId};
use ringside_protocol::reason::Reason;
use ringside_protocol::tier::Tier;
use ringside_protocol::view::ViewEncoder;

use crate::core::LinkId;

/// What the server wants the network to do.
#[derive(Debug)]
pub enum Said {
    Stream(LinkId, Bytes),
    Datagram(LinkId, Bytes),
    Close(LinkId, Reason),
}

/// A connection at the server.
#[derive(Debug)]
struct Peer {
    address: SocketAddr,
    decoder: FrameDecoder<ClientFrame>,
    unread: BytesMut,
    views: ViewEncoder,
    attached: bool,
    /// Opened at the target of a move that has not happened yet.
    held: Option<Box<Open>>,
}

/// What a rewind goes back to.
#[derive(Debug, Clone)]
struct Safe {
    applied: usize,
    outbox: Outbox,
    tick: u64,
}

/// The server.
#[derive(Debug)]
pub struct Model {
    peers: BTreeMap<LinkId, Peer>,
    attached: Option<LinkId>,
    pub said: Vec<Said>,
    /// Bodies of the messages that were applied, in order.
    pub applied: Vec<Bytes>,
    inbox: Inbox,
    pub outbox: Outbox,
    seated: bool,
    datagrams: BTreeSet<u64>,
    epoch: u64,
    branch: u64,
    forks: BTreeMap<u64, u64>,
    tokens: BTreeSet<u64>,
    next_token: u64,
    leader: SocketAddr,
    target: Option<SocketAddr>,
    pub tick: u64,
    safe: Safe,
    pub spent_tokens_shown: u32,
    pub left: bool,
}

pub fn epoch(number: u64) -> Epoch {
    Epoch { number, node: 1, node_generation: 1 }
}

pub fn session() -> SessionId {
    SessionId { game: "echo".parse().unwrap(), key: "one".parse().unwrap(), incarnation: Incarnation(7) }
}

pub fn address(worker: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 4000 + worker))
}

pub fn place(worker: u16) -> Place {
    Place {
        address: address(worker),
        certificate_sha256: Certificate([worker as u8; 32]),
        ticket: Opaque::new(&b"ticket"[..]).unwrap(),
    }
}

impl Model {
    pub fn new() -> Self {
        let outbox = Outbox::new(1024, 1 << 20);
        Model {
            peers: BTreeMap::new(),
            attached: None,
            said: Vec::new(),
            applied: Vec::new(),
            inbox: Inbox::default(),
            outbox: outbox.clone(),
            seated: false,
            datagrams: BTreeSet::new(),
            epoch: 1,
            branch: 1,
            forks: BTreeMap::new(),
            tokens: BTreeSet::new(),
            next_token: 1,
            leader: address(1),
            target: None,
            tick: 0,
            safe: Safe { applied: 0, outbox, tick: 0 },
            spent_tokens_shown: 0,
            left: false,
        }
    }

    pub fn connected(&mut self, id: LinkId, address: SocketAddr) {
        let peer = Peer {
            address,
            decoder: FrameDecoder::default(),
            unread: BytesMut::new(),
            views: ViewEncoder::new(),
            attached: false,
            held: None,
        };
        assert!(self.peers.insert(id, peer).is_none(), "a connection's name is used once");
    }

    pub fn gone(&mut self, id: LinkId) {
        self.peers.remove(&id);
        self.attached.take_if(|attached| *attached == id);
    }

    pub fn stream(&mut self, id: LinkId, bytes: &[u8]) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.unread.extend_from_slice(bytes);
        self.read(id);
    }

    fn read(&mut self, id: LinkId) {
        loop {
            let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.held.is_none()) else { return };
            let unread = peer.unread.split();
            let mut rest = &unread[..];
            let frame = peer.decoder.next(&mut rest).expect("the client writes frames");
            peer.unread.extend_from_slice(rest);
            match frame {
                Some(frame) => self.frame(id, frame),
                None => return,
            }
        }
    }

    fn frame(&mut self, id: LinkId, frame: ClientFrame) {
        let attached = self.peers.get(&id).is_some_and(|peer| peer.attached);
        match frame {
            ClientFrame::Open(open) => self.open(id, open),
            _ if !attached => panic!("{frame:?} before the attachment"),
            ClientFrame::Message { number, body } => self.message(number, body),
            ClientFrame::Acknowledge { up_to } => {
                self.outbox.acknowledge(up_to).expect("the client acknowledges what was sent");
            }
            ClientFrame::AskFollower => {}
            ClientFrame::Leave => {
                self.left = true;
                self.say(id, &ServerFrame::Detached { reason: Reason::Left, message: String::new() });
                self.said.push(Said::Close(id, Reason::Left));
            }
        }
    }

    fn open(&mut self, id: LinkId, open: Box<Open>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        assert!(!peer.attached, "opened twice");
        if Some(peer.address) == self.target && open.ticket.is_some() {
            peer.held = Some(open);
            return;
        }
        if peer.address != self.leader {
            let to = self.leader.port() - 4000;
            self.say(id, &ServerFrame::Redirect(place(to)));
            self.said.push(Said::Close(id, Reason::Moved));
            return;
        }
        if let Some(resume) = &open.resume {
            let token = resume.token.as_bytes();
            let known = token.is_empty() || self.tokens.remove(&u64::from_le_bytes(token.try_into().unwrap()));
            if !known {
                self.spent_tokens_shown += 1;
                return self.refuse(id, Reason::ResumeInvalid);
            }
        }
        self.attach(id, &open);
    }

    fn refuse(&mut self, id: LinkId, cause: Reason) {
        self.say(id, &ServerFrame::Refused(Refused { cause, message: String::new(), retry_after_ms: 0 }));
        self.said.push(Said::Close(id, cause));
    }

    fn attach(&mut self, id: LinkId, open: &Open) {
        if let Some(old) = self.attached.replace(id) {
            self.say(old, &ServerFrame::Detached { reason: Reason::Replaced, message: String::new() });
            self.said.push(Said::Close(old, Reason::Replaced));
        }
        let branch = Branch(epoch(self.branch));
        let seat = if std::mem::replace(&mut self.seated, true) { Seat::Kept } else { Seat::New };
        let mut rewound = None;
        let mut after = self.outbox.first() - 1;
        if let Some(claimed) = &open.resume {
            let standing = Standing { branch: claimed.branch, last: claimed.last_output };
            let fork = self.fork(claimed.branch.0.number);
            match resume(standing, branch, fork, &self.outbox).expect("the client claims what it got") {
                Resumption::Continue { after: number } => after = number,
                Resumption::Rewound { after: number } => {
                    after = number;
                    let last_input = self.inbox.last();
                    let tick = self.tick;
                    rewound = Some(Rewound { branch, tick, last_input, last_output: after });
                }
            }
            self.outbox.acknowledge(after).unwrap();
        }
        self.tokens.insert(self.next_token);
        let token = Opaque::new(self.next_token.to_le_bytes().to_vec()).unwrap();
        self.next_token += 1;
        let attached = Attached {
            session: session(),
            player: "ann".parse().unwrap(),
            slot: Slot(0),
            mode: Mode::Attach,
            seat,
            joined: 1,
            branch,
            epoch: epoch(self.epoch),
            node: 1,
            worker: WorkerId(0),
            route: Route::Direct,
            last_input: self.inbox.last(),
            last_output: after,
            last_datagram: self.datagrams.last().copied().unwrap_or(0),
            resume_token: token,
            tick_rate: 20,
            view_rate: 20,
            input_rate: 60,
            tier: Tier::Replicated,
            tick: self.tick,
            seat_window_ms: 30_000,
            paused: false,
            follower: None,
        };
        self.say(id, &ServerFrame::Attached(Box::new(attached)));
        rewound.into_iter().for_each(|rewound| self.say(id, &ServerFrame::Rewound(rewound)));
        let outputs: Vec<_> = self.outbox.after(after).map(|(number, body)| (number, body.clone())).collect();
        for (number, body) in outputs {
            self.say(id, &ServerFrame::Message { number, body });
        }
        self.peers.get_mut(&id).unwrap().attached = true;
        self.acknowledge();
        self.read(id);
    }

    /// The last output that an older branch and this one share.
    fn fork(&self, branch: u64) -> Option<u64> {
        self.forks.range(branch + 1..).map(|(_, last_output)| *last_output).min()
    }

    fn message(&mut self, number: u64, body: Bytes) {
        match self.inbox.arrive(number) {
            Arrival::Duplicate => return,
            Arrival::Gap { expected } => panic!("message {number} came, {expected} was next"),
            Arrival::New => {}
        }
        self.applied.push(body.clone());
        let number = self.outbox.push(body.clone()).expect("the client acknowledges");
        if let Some(id) = self.attached {
            self.say(id, &ServerFrame::Message { number, body });
            let up_to = self.inbox.last();
            self.say(id, &ServerFrame::Acknowledge { up_to, tier: Tier::Volatile });
        }
    }

    pub fn datagram(&mut self, id: LinkId, bytes: Bytes) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        match ClientDatagram::decode(bytes).expect("the client writes datagrams") {
            ClientDatagram::Input { number, view_acknowledged, .. } => {
                assert!(peer.views.acknowledge(view_acknowledged));
                self.datagrams.insert(number);
            }
            ClientDatagram::ViewAcknowledge { view } => assert!(peer.views.acknowledge(view)),
        }
    }

    /// A step of the game, and a view of it.
    pub fn step(&mut self, most: usize) {
        self.tick += 1;
        let Some(id) = self.attached else { return };
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let body = vec![self.tick as u8; 100 + (self.tick as usize * 337) % 4000];
        peer.views.offer(body.into(), self.tick, self.safe.tick.min(self.tick)).unwrap();
        loop {
            let mut datagram = BytesMut::new();
            if !peer.views.next_fragment(most, &mut datagram).unwrap() {
                return;
            }
            self.said.push(Said::Datagram(id, datagram.freeze()));
        }
    }

    /// What was applied until now is safe.
    pub fn save(&mut self) {
        self.safe = Safe { applied: self.applied.len(), outbox: self.outbox.clone(), tick: self.tick };
        self.acknowledge();
    }

    fn acknowledge(&mut self) {
        let Some(id) = self.attached else { return };
        let up_to = self.safe.applied as u64;
        self.say(id, &ServerFrame::Acknowledge { up_to, tier: Tier::Replicated });
    }

    /// The session goes back to what was safe, on another branch.
    pub fn rewind(&mut self) {
        let acknowledged = self.outbox.first() - 1;
        self.applied.truncate(self.safe.applied);
        self.inbox.rewind(self.safe.applied as u64);
        self.outbox = self.safe.outbox.clone();
        self.outbox.acknowledge(acknowledged.min(self.outbox.last())).unwrap();
        self.tick = self.safe.tick;
        self.epoch += 1;
        self.branch = self.epoch;
        self.forks.insert(self.branch, self.outbox.last());
        // Only another leader's log can be shorter, and that is at the other end of another connection.
        for id in std::mem::take(&mut self.peers).into_keys() {
            self.said.push(Said::Close(id, Reason::NotHere));
        }
        self.attached = None;
    }

    /// Resume tokens expire, or their key is changed.
    pub fn forget_tokens(&mut self) {
        self.tokens.clear();
    }

    pub fn is_moving(&self) -> bool {
        self.target.is_some()
    }

    /// Announces a move.
    pub fn announce(&mut self) {
        if self.target.is_none()
            && let Some(id) = self.attached
        {
            let to = self.leader.port() - 4000 + 1;
            self.target = Some(address(to));
            self.say(id, &ServerFrame::Moving(place(to)));
        }
    }

    /// Makes the announced move happen.
    pub fn take_over(&mut self) {
        let Some(target) = self.target.take() else { return };
        self.leader = target;
        self.epoch += 1;
        if let Some(old) = self.attached.take() {
            self.said.push(Said::Close(old, Reason::Moved));
        }
        let held: Vec<_> = self.peers.iter().filter(|(_, peer)| peer.held.is_some()).map(|(id, _)| *id).collect();
        for id in held {
            let open = self.peers.get_mut(&id).and_then(|peer| peer.held.take()).unwrap();
            let same = open.resume.as_ref().is_some_and(|resume| resume.branch == Branch(epoch(self.branch)));
            if same { self.attach(id, &open) } else { self.refuse(id, Reason::NotHere) }
        }
    }

    fn say(&mut self, id: LinkId, frame: &ServerFrame) {
        self.said.push(Said::Stream(id, frame.to_bytes().freeze()));
    }
}
