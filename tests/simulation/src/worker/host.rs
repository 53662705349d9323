//! A real worker in virtual time: its socket is a queue, its clock a number that each look moves on a little, so that
//! work takes time and a turn can be cut short. The shell's loop without the waiting.

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringside_core::ids::{Node, NodeId, SessionId, WorkerId};
use ringside_core::log::Input;
use ringside_sandbox::CallCost;
use ringside_worker::addresses::AddressTokens;
use ringside_worker::authority::Authority;
use ringside_worker::outlet::{Destination, Outlet};
use ringside_worker::receive::Datagram;
use ringside_worker::{Command, Event, SessionReport, Turn, Worker, WorkerConfig, transport};

use super::dialer::Packet;
use super::identity;
use super::plaintext::Plaintext;
use crate::scheduler::Micros;

/// Time that passes between two looks at the clock within a turn.
const LOOK: Micros = 2;

/// A worker and its surroundings.
pub struct Host {
    /// The worker.
    pub worker: Worker,
    /// Where it is reached.
    pub address: SocketAddr,
    /// How long a look at the clock takes.
    pub look: Micros,
    base: Instant,
    inbox: VecDeque<Packet>,
    commands: VecDeque<Command>,
    buffer: Vec<u8>,
}

/// What a turn brought.
pub struct Done {
    /// When it began.
    pub begun: Micros,
    /// When it ended.
    pub ended: Micros,
    /// When the next is due, unless something arrives that wakes the worker.
    pub next: Micros,
    /// What left.
    pub sent: Vec<Packet>,
    /// What it told the node.
    pub events: Vec<Event>,
    /// Whether it took anything in, put anything out or called a guest.
    pub was_busy: bool,
    /// Whether it did all that was due.
    pub complete: bool,
}

struct Surroundings<'a> {
    base: Instant,
    look: Micros,
    clock: Micros,
    buffer: &'a mut Vec<u8>,
    sent: Vec<Packet>,
}

impl Outlet for Surroundings<'_> {
    fn now(&mut self) -> Instant {
        self.clock += self.look + WORKED.take();
        self.base + Duration::from_micros(self.clock)
    }

    fn buffer(&mut self) -> &mut Vec<u8> {
        self.buffer.clear();
        self.buffer
    }

    fn commit(&mut self, to: Destination) {
        self.sent.push((to.address, self.buffer.clone()));
    }
}

impl Host {
    /// Worker `number` of the simulated node; even numbers are ordinary ones, odd ones penalty workers.
    pub fn new(number: u8, base: Instant, seed: u64, adjust: impl FnOnce(&mut WorkerConfig)) -> Host {
        let id = WorkerId(number);
        let mut secret = [number + 1; 32];
        secret[..8].copy_from_slice(&seed.to_le_bytes());
        let mut config = WorkerConfig::new(identity::NODE, id, identity::CERTIFICATE, identity::STARTED_MS, base);
        config.penalty = number % 2 == 1;
        config.cost_of = nothing;
        // A record a turn: how far a rebuild comes must not depend on how fast this machine is.
        config.slice = Duration::ZERO;
        adjust(&mut config);
        let server = transport::server_config(Arc::new(Plaintext), &AddressTokens::alone(&secret));
        config.generation = identity::GENERATION;
        let node = Node { id: NodeId(identity::NODE), generation: identity::GENERATION };
        let authority = Authority::new(identity::keys(), node, id, &secret);
        let endpoint = Arc::new(transport::endpoint_config(id, &secret));
        Host {
            worker: Worker::new(config, endpoint, Arc::new(server), authority, true),
            address: SocketAddr::from(([10, 0, 0, number + 1], 4433)),
            look: LOOK,
            base,
            inbox: VecDeque::new(),
            commands: VecDeque::new(),
            buffer: Vec::new(),
        }
    }

    /// A packet has come to the socket. Answers whether the worker wakes for it.
    pub fn arrive(&mut self, packet: Packet) -> bool {
        self.inbox.push_back(packet);
        self.worker.is_prompt()
    }

    /// The node says something; the worker wakes.
    pub fn tell(&mut self, command: Command) {
        self.commands.push_back(command);
    }

    /// A turn at `begun`, with everything that has arrived.
    pub fn turn(&mut self, begun: Micros) -> Done {
        let calls = self.calls();
        let mut was_busy = !self.inbox.is_empty() || !self.commands.is_empty();
        let (turn, ended, sent) = self.take_turn(begun);
        let events: Vec<Event> = std::iter::from_fn(|| self.worker.poll_event()).collect();
        was_busy |= !sent.is_empty() || !events.is_empty() || self.calls() != calls;
        let next = self.next_turn(turn, ended).max(ended);
        Done { begun, ended, next, sent, events, was_busy, complete: turn == Turn::Done }
    }

    fn take_turn(&mut self, begun: Micros) -> (Turn, Micros, Vec<Packet>) {
        let now = self.base + Duration::from_micros(begun);
        for (from, bytes) in self.inbox.drain(..) {
            self.worker.handle_datagram(now, Datagram { from, to: None, ecn: None, bytes: &bytes });
        }
        for command in self.commands.drain(..) {
            self.worker.handle_command(now, command);
        }
        let (base, look) = (self.base, self.look);
        let mut around = Surroundings { base, look, clock: begun, buffer: &mut self.buffer, sent: Vec::new() };
        let turn = self.worker.turn(&mut around);
        (turn, around.clock, around.sent)
    }

    /// A turn of a worker whose node does not listen and whose packets are lost; answers when the next is due.
    pub fn turn_unheard(&mut self, begun: Micros) -> Micros {
        let (turn, ended, _) = self.take_turn(begun);
        self.next_turn(turn, ended)
    }

    /// What the worker knows of a session.
    pub fn show(&mut self, now: Micros, session: &SessionId) -> Option<SessionReport> {
        let (answer, shown) = std::sync::mpsc::channel();
        // The answer is there when the command was handled, or there is none.
        let reply = Box::new(move |shown: Option<Box<SessionReport>>| drop(answer.send(shown)));
        let command = Command::Show { session: session.clone(), reply };
        self.worker.handle_command(self.base + Duration::from_micros(now), command);
        shown.try_recv().ok().flatten().map(|report| *report)
    }

    /// A virtual time as the worker sees it.
    pub fn instant(&self, at: Micros) -> Instant {
        self.base + Duration::from_micros(at)
    }

    fn calls(&self) -> u64 {
        self.worker.counters().calls.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn next_turn(&self, turn: Turn, now: Micros) -> Micros {
        if turn == Turn::More {
            return now;
        }
        let wake = self.worker.next_wake(self.instant(now));
        // The shell looks in once a second in any case.
        wake.map_or(now + 1_000_000, |wake| {
            wake.saturating_duration_since(self.base).as_nanos().div_ceil(1000) as Micros
        })
    }
}

thread_local! {
    /// Virtual time of calls that the clock has not counted.
    static WORKED: Cell<Micros> = const { Cell::new(0) };
}

/// Lets a call of the worker in this thread take virtual time, where a worker's
/// [`cost_of`](WorkerConfig::cost_of) answers with this.
pub fn takes(cost: CallCost) -> CallCost {
    WORKED.set(WORKED.get() + cost.wall.as_micros() as Micros);
    cost
}

/// Calls cost nothing.
fn nothing(_: &Input, _: &CallCost) -> CallCost {
    CallCost::default()
}
