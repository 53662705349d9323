//! Membership: who is in the cluster, as this node sees it. Turns observations (gossip, answers to probes, its own
//! stalls) into a [`View`], which ring and directory eat. Opens no socket and reads no clock.
//!
//! **Gossip is a hint.** A node that gossip has not heard of for [`SILENCE_US`] is asked directly, then through others;
//! only if nobody reaches it is it *presumed gone*. **A node that stood still trusts no silence**: after a gap in its
//! own calls everybody is heard anew. **Each node alone says what it is**: its [`Fact`] has one writer, and what others
//! hold of it (that they presumed it gone) it hears from their facts and answers with a new *stay*, so that all come to
//! the same view. **No time crosses nodes**: facts carry ages and counts, never clocks.
//!
//! Drive it so: call any `handle_*(now, ..)`, then [`Membership::poll_output`] until it is empty; call
//! [`Membership::handle_timeout`] when [`Membership::next_timeout`] has come. `now` is in µs from any fixed point of a
//! clock that stands still for nobody (boot time), and must not decrease.
//!
//! ```text
//!            fact, heard                silence              no answer       no vouch
//!  unknown ──────────────► present ──────────────► asked ──────────────► asked by others ──────► presumed gone
//!                             ▲  ◄──────── heard ─────┴────────────────────────┘                     │
//!                             └──────────────── a fact with a later stay or generation ◄─────────────┘
//! ```

mod fact;
mod graves;
mod peer;
mod reads;
mod twin;
mod view;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{Certificate, Node, NodeId};
use crate::limits;
use crate::timers::Timers;
use graves::Graves;
use peer::{Asked, Peer};
use twin::{Twin, Verdict};

pub use fact::{Contact, Fact, FactError, PeerPorts, Presumed, State};
pub use reads::Reads;
pub use view::{Seen, View, ViewDigest};

/// Age of a node's newest heartbeat at which it is asked directly, µs. Ten rounds of gossip.
pub const SILENCE_US: u64 = 1_000_000;
/// How long an answer to a probe is waited for, µs.
pub const PROBE_US: u64 = 250_000;
/// How many others are asked to try a node that does not answer.
pub const VOUCHERS: usize = 3;
/// The longest time between two calls, µs; [`Membership::next_timeout`] sees to it.
const PULSE_US: u64 = 100_000;
/// A gap between two calls that is a stall of this node, µs.
pub const STALL_US: u64 = 350_000;
/// How long a node with seeds listens before it becomes active, µs: an earlier run of its number, or another node with
/// the same one, is heard by then, or has been silent for longer than [`SILENCE_US`].
pub const LISTEN_US: u64 = 1_250_000;
/// How long gossip may keep what it heard of a node that is dead, µs: whoever drives gossip sets it so. What is over is
/// remembered here for longer.
pub const GOSSIP_MEMORY_US: u64 = 600_000_000;
/// New stays within [`FLAP_WINDOW_US`] that cost nothing.
const FREE_FLAPS: usize = 3;
/// The window in which new stays are counted, µs.
pub const FLAP_WINDOW_US: u64 = 60_000_000;
/// The longest time that a node that flaps keeps from the ring after it came back, µs.
pub const LONGEST_HOLD_US: u64 = 30_000_000;

/// What a node is told at its start.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its first fact: who and where it is. Its state must be [`State::Joining`].
    pub fact: Fact,
    /// Whether there are others to find. A node that knows of none begins a cluster.
    pub has_seeds: bool,
    /// Whether it is the node that another process was until just now, at the same addresses: it is what that one was,
    /// active, from the beginning, so that no ring changes.
    pub succeeds: bool,
}

/// What nodes say to each other about who is there. Small and idempotent: may be lost, doubled or late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Message {
    /// Are you there, in that run?
    Ping(Node),
    /// This run is here. Answers a ping for whichever run of the node, and none for another node: an address that changed
    /// hands says nothing about who has it now.
    Pong {
        /// Which.
        node: Node,
        /// The era of its tickets: where its gossip is not heard, tickets for it would be of one that is over.
        era: u32,
    },
    /// Please try that node, I do not reach it.
    Try(Node),
    /// I reached that node just now.
    Vouch {
        /// Which.
        node: Node,
        /// The era of its tickets.
        era: u32,
    },
}

/// Whose message it is: what its link says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender {
    /// Which run of which node.
    pub node: Node,
    /// Where its control link is.
    pub contact: SocketAddr,
}

/// What the driver must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Gossip this as the node's own fact, in place of the one before.
    Publish(Box<Fact>),
    /// Send a message.
    Send {
        /// To whom: a message for a later run must not go into a connection to an earlier one.
        to: Node,
        /// Where its control link is.
        contact: SocketAddr,
        /// What.
        message: Message,
    },
    /// The view changed: give it to the directory.
    View(Arc<View>),
    /// Another process says that it is a node that is here already: it is kept out, close its links.
    Refused(Node),
    /// This process has the number of another node, or was replaced by a later run of its own: it must end. Should it
    /// begin again, then with a later generation than that one.
    Duplicate(Node),
}

/// What was ignored, by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ignored {
    /// Facts of nodes beyond [`limits::NODES`].
    pub beyond_limit: u64,
    /// Facts older than what is known, of earlier runs or stays.
    pub stale: u64,
    /// Facts that break a bound.
    pub malformed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Pulse,
    Silence(NodeId),
    Asked(NodeId),
    Listened,
    Released,
}

/// A run with the number of a node that is here.
#[derive(Debug)]
struct Challenger {
    fact: Fact,
    heard_at: u64,
    refused: bool,
}

/// The cluster as one node sees it.
#[derive(Debug)]
pub struct Membership {
    own: Fact,
    wanted: State,
    has_seeds: bool,
    has_listened: bool,
    /// Whether it was ever more than joining.
    was_active: bool,
    peers: BTreeMap<NodeId, Peer>,
    challengers: BTreeMap<NodeId, Challenger>,
    graves: Graves,
    /// For whom a node was tried: answered when it is reached.
    errands: BTreeMap<NodeId, Vec<NodeId>>,
    flaps: VecDeque<u64>,
    held_until: u64,
    /// When it began, or was last found to have stood still.
    awake_since: u64,
    last_call: u64,
    stalls: u64,
    timers: Timers<Timer>,
    outputs: VecDeque<Output>,
    view: Arc<View>,
    view_is_old: bool,
    ignored: Ignored,
}

impl Membership {
    /// A node that has just started and knows nobody.
    pub fn new(now: u64, config: Config) -> Membership {
        let mut timers = Timers::default();
        timers.set(now + PULSE_US, Timer::Pulse);
        if !config.has_seeds {
            timers.set(now, Timer::Listened);
        }
        let state = if config.succeeds { State::Active } else { State::Joining };
        let own = Fact { state, ..config.fact };
        let view = Arc::new(View::new([(&own, own.state)]));
        let outputs = VecDeque::from([Output::Publish(Box::new(own.clone())), Output::View(view.clone())]);
        Membership {
            own,
            wanted: state,
            has_seeds: config.has_seeds,
            has_listened: config.succeeds,
            was_active: config.succeeds,
            peers: BTreeMap::new(),
            challengers: BTreeMap::new(),
            graves: Graves::default(),
            errands: BTreeMap::new(),
            flaps: VecDeque::new(),
            held_until: 0,
            awake_since: now,
            last_call: now,
            stalls: 0,
            timers,
            outputs,
            view,
            view_is_old: false,
            ignored: Ignored::default(),
        }
    }

    /// The next thing to do. The view is made anew at the end of what one call changed.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front().or_else(|| self.next_view().map(Output::View))
    }

    /// When [`Membership::handle_timeout`] wants to be called, µs. Always within a tenth of a second: a call that comes
    /// much later is how a stall is noticed.
    pub fn next_timeout(&self) -> Option<u64> {
        self.timers.next()
    }

    /// The view, as [`Membership::poll_output`] told it last.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// What the node says of itself.
    pub fn own(&self) -> &Fact {
        &self.own
    }

    /// The nodes' loads as last heard, CPU µs a second.
    pub fn loads(&self) -> BTreeMap<NodeId, u64> {
        let peers = self.peers.values().map(|peer| &peer.fact);
        peers.chain([&self.own]).map(|fact| (fact.node.id, fact.load_us)).collect()
    }

    /// The era of a node's tickets as last heard: what a ticket for it must say.
    pub fn era(&self, node: Node) -> Option<u32> {
        let peer = self.peers.get(&node.id).map(|peer| &peer.fact);
        peer.or(Some(&self.own)).filter(|fact| fact.node == node).map(|fact| fact.era)
    }

    /// How often this node stood still.
    pub fn stalls(&self) -> u64 {
        self.stalls
    }

    /// What was ignored.
    pub fn ignored(&self) -> Ignored {
        self.ignored
    }

    /// The node is ready to take sessions: it becomes active as soon as it may.
    pub fn activate(&mut self, now: u64) {
        self.resume(now);
        self.want(now, State::Active);
    }

    /// The node takes no new sessions from now on.
    pub fn drain(&mut self, now: u64) {
        self.resume(now);
        self.want(now, State::Draining);
    }

    /// The node leaves: publish what comes out of this before the process ends.
    pub fn leave(&mut self, now: u64) {
        self.resume(now);
        self.want(now, State::Gone);
    }

    /// What the node's sessions cost, CPU µs a second; and the era of its tickets. Call it once a second.
    pub fn handle_load(&mut self, now: u64, load_us: u64, era: u32) {
        self.resume(now);
        if (self.own.load_us, self.own.era) != (load_us, era) {
            (self.own.load_us, self.own.era) = (load_us, era);
            self.publish();
        }
    }

    /// The node's workers serve another certificate.
    pub fn handle_certificate(&mut self, now: u64, certificate: Certificate) {
        self.resume(now);
        if self.own.contact.certificate != certificate {
            self.own.contact.certificate = certificate;
            self.publish();
            self.view_is_old = true;
        }
    }

    /// Gossip has a fact whose newest heartbeat is `age_us` old. Call it for each new version of a fact and for each new
    /// heartbeat. A heartbeat that was not seen to grow yet is of unknown age: [`u64::MAX`].
    pub fn handle_gossip(&mut self, now: u64, fact: &Fact, age_us: u64) {
        self.resume(now);
        if fact.check().is_err() {
            self.ignored.malformed += 1;
            return;
        }
        let heard_at = now.saturating_sub(age_us);
        if fact.node.id == self.own.node.id {
            self.hear_own_number(now, fact, age_us);
            return;
        }
        if age_us < SILENCE_US {
            self.read_presumed(now, fact);
        }
        match self.peers.get_mut(&fact.node.id) {
            Some(peer) if fact.node.generation < peer.fact.node.generation => self.ignored.stale += 1,
            // Where a run can be reached it says once: this is a copy of it. It counts if it alone came back.
            Some(peer) if fact.node == peer.fact.node && is_copy(fact, &peer.fact) => self.ignored.stale += 1,
            Some(peer) if fact.node == peer.fact.node => self.update(now, fact, heard_at),
            Some(_) if age_us < SILENCE_US => self.challenge(now, fact, heard_at),
            Some(_) => {}
            None if age_us < SILENCE_US => self.admit(now, fact, heard_at),
            None if self.graves.covers(fact.node, fact.stay) => self.ignored.stale += 1,
            None => {}
        }
    }

    /// A message of another node. Whoever asks whether this node is there is answered, known or not: it may know this one
    /// and be unknown to it, while it is new or has the number of another that is thought to be here.
    pub fn handle_message(&mut self, now: u64, from: Sender, message: Message) {
        self.resume(now);
        match message {
            Message::Ping(asked) if asked.id == self.own.node.id => {
                self.answer(from, Message::Pong { node: self.own.node, era: self.own.era });
            }
            Message::Ping(_) => {}
            Message::Pong { node, era } => self.handle_pong(now, node, era),
            Message::Try(node) if node.id == self.own.node.id => {
                self.answer(from, Message::Vouch { node: self.own.node, era: self.own.era });
            }
            Message::Try(node) => {
                if self.peers.get(&node.id).is_some_and(|peer| peer.fact.node == node) {
                    let waiting = self.errands.entry(node.id).or_default();
                    if !waiting.contains(&from.node.id) && waiting.len() < limits::ERRANDS {
                        waiting.push(from.node.id);
                    }
                    self.send(node.id, Message::Ping(node));
                }
            }
            Message::Vouch { node, era } => {
                self.note_era(node, era);
                self.heard(now, node, now);
            }
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: u64) {
        self.resume(now);
        while let Some(timer) = self.timers.pop(now) {
            match timer {
                Timer::Pulse => {
                    self.timers.set(now + PULSE_US, Timer::Pulse);
                    if self.graves.expire(now) {
                        self.publish_graves();
                    }
                }
                Timer::Silence(id) => self.silence(now, id),
                Timer::Asked(id) => self.unanswered(now, id),
                Timer::Listened => {
                    self.has_listened = true;
                    self.settle_own(now);
                }
                Timer::Released => self.settle_own(now),
            }
        }
    }

    /// Every call comes through here: a gap since the last one is a stall, and after a stall nobody's silence counts.
    fn resume(&mut self, now: u64) {
        let gap = now.saturating_sub(self.last_call);
        self.last_call = now;
        if gap < STALL_US {
            return;
        }
        self.stalls += 1;
        self.awake_since = now;
        for (id, peer) in &mut self.peers {
            peer.heard_at = now;
            peer.asked = Asked::No;
            self.timers.cancel(&Timer::Asked(*id));
            self.timers.set(now + SILENCE_US, Timer::Silence(*id));
        }
        self.errands.clear();
    }

    /// Somebody speaks of a node with this one's number.
    fn hear_own_number(&mut self, now: u64, fact: &Fact, age_us: u64) {
        if self.wanted == State::Gone {
            return;
        }
        let me = Twin { was_active: self.was_active, ..Twin::of(&self.own) };
        let verdict = match fact.state {
            State::Gone if fact.contact.is_at(&self.own.contact) => Verdict::Itself,
            State::Gone => Verdict::Stays,
            _ if age_us >= SILENCE_US / 2 => return,
            _ => me.meets(&Twin::of(fact)),
        };
        match verdict {
            Verdict::Itself => {}
            // An earlier run's last heartbeats are on their way for a moment; what goes on after that is another process.
            Verdict::GivesWayIfAlive if now < self.awake_since + SILENCE_US => {}
            Verdict::GivesWay | Verdict::GivesWayIfAlive => {
                self.outputs.push_back(Output::Duplicate(fact.node));
                self.want(now, State::Gone);
            }
            // Nobody could tell the two apart: this one goes on under a stay that the other never had.
            Verdict::Stays if fact.node == self.own.node && fact.stay >= self.own.stay => {
                self.own.stay = fact.stay + 1;
                self.publish();
                self.view_is_old = true;
            }
            Verdict::Stays => {}
        }
    }

    /// What others hold of this node: if they presume its stay over, it begins another.
    fn read_presumed(&mut self, now: u64, fact: &Fact) {
        let of_own = || fact.presumed_gone.iter().filter(|presumed| presumed.node.id == self.own.node.id);
        if let Some(later) = of_own().find(|it| it.node.generation > self.own.node.generation) {
            // There was a later run of this number: nobody believes this one any more.
            self.outputs.push_back(Output::Duplicate(later.node));
            self.want(now, State::Gone);
            return;
        }
        let is_over = of_own().any(|it| it.node == self.own.node && it.stay >= self.own.stay);
        if is_over && self.own.state != State::Gone {
            self.own.stay += 1;
            self.note_flap(now);
            self.settle_own(now);
            self.publish();
            self.view_is_old = true;
        }
    }

    fn note_flap(&mut self, now: u64) {
        self.flaps.retain(|at| *at + FLAP_WINDOW_US > now);
        self.flaps.push_back(now);
        if let Some(beyond @ 1..) = self.flaps.len().checked_sub(FREE_FLAPS) {
            let hold = (1_000_000_u64 << beyond.min(5)).min(LONGEST_HOLD_US);
            self.held_until = now + hold;
            self.timers.set(self.held_until, Timer::Released);
        }
        // Older ones would be past the longest hold's step.
        self.flaps.truncate(FREE_FLAPS + 8);
    }

    /// A life goes one way: what has left or drains does not become active again in this run.
    fn want(&mut self, now: u64, state: State) {
        self.wanted = self.wanted.max(state);
        self.settle_own(now);
    }

    /// Makes the own state what it is wanted to be and may be.
    fn settle_own(&mut self, now: u64) {
        let state = match self.wanted {
            State::Active if !self.has_listened || now < self.held_until || self.is_alone_among_graves() => {
                State::Joining
            }
            wanted => wanted,
        };
        if state != self.own.state {
            self.was_active |= state.is_active();
            self.own.state = state;
            self.publish();
            self.view_is_old = true;
        }
    }

    /// Whether this node hears nobody although there were others: who can still hear it must not count on it.
    fn is_alone_among_graves(&self) -> bool {
        self.peers.is_empty() && self.graves.any_presumed()
    }

    /// A node that is not present.
    fn admit(&mut self, now: u64, fact: &Fact, heard_at: u64) {
        if self.graves.covers(fact.node, fact.stay) {
            self.ignored.stale += 1;
            self.graves.heard(now, fact.node);
            return;
        }
        if fact.state == State::Gone {
            return;
        }
        if self.peers.len() + 1 >= limits::NODES {
            self.ignored.beyond_limit += 1;
            return;
        }
        let id = fact.node.id;
        if self.has_seeds && !self.has_listened {
            self.timers.set_if_idle(now + LISTEN_US, Timer::Listened);
        }
        self.challengers.remove(&id);
        self.peers.insert(id, Peer::new(fact.clone(), heard_at));
        self.timers.set(heard_at + SILENCE_US, Timer::Silence(id));
        // One that is only joining succeeds nobody yet: an earlier run may come back, and is to hear what is held of it.
        if fact.state.is_active() {
            self.succeeded(fact.node);
        }
        self.view_is_old = true;
        self.settle_own(now);
    }

    /// A run is active: earlier ones, and earlier stays, are over without anybody having to be told.
    fn succeeded(&mut self, node: Node) {
        if self.graves.returned(node) {
            self.publish_graves();
        }
    }

    /// News of a node that is present, in the run that is present.
    fn update(&mut self, now: u64, fact: &Fact, heard_at: u64) {
        let Some(peer) = self.peers.get_mut(&fact.node.id) else { return };
        if (fact.stay, fact.version) > (peer.fact.stay, peer.fact.version) {
            let same = peer.fact.state == fact.state && peer.fact.stay == fact.stay;
            let same = same && peer.fact.contact == fact.contact;
            let same = same && peer.fact.weight == fact.weight && peer.fact.zone == fact.zone;
            let same = same && peer.fact.reads == fact.reads;
            // Its answers to pings may have said a later one.
            let era = fact.era.max(peer.fact.era);
            // One that gives way while it joins has succeeded nobody.
            let has_begun = fact.state.is_active() && !peer.was_active;
            peer.was_active |= has_begun;
            peer.fact = Fact { era, ..fact.clone() };
            if fact.state == State::Gone {
                self.remove(now, fact.node.id, false);
                return;
            }
            if !same {
                self.view_is_old = true;
            }
            if has_begun {
                self.succeeded(fact.node);
            }
        }
        self.heard(now, fact.node, heard_at);
    }

    /// Another run of a node that is present: its successor, once the run before is silent or says so itself.
    fn challenge(&mut self, now: u64, fact: &Fact, heard_at: u64) {
        let id = fact.node.id;
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if fact.state == State::Gone {
            self.challengers.remove(&id);
            return;
        }
        let ping = peer.fact.node;
        if peer.fact.contact.control == fact.contact.control {
            self.remove(now, id, true);
            self.admit(now, fact, heard_at);
            return;
        }
        let is_new = self.challengers.get(&id).is_none_or(|other| other.fact.node != fact.node);
        let refused = !is_new && self.challengers.get(&id).is_some_and(|other| other.refused);
        self.challengers.insert(id, Challenger { fact: fact.clone(), heard_at, refused });
        if is_new {
            self.send(id, Message::Ping(ping));
        }
    }

    /// A run's tickets are of this era, or of a later one that was heard of already.
    fn note_era(&mut self, node: Node, era: u32) {
        if let Some(peer) = self.peers.get_mut(&node.id).filter(|peer| peer.fact.node == node) {
            peer.fact.era = peer.fact.era.max(era);
        }
    }

    fn handle_pong(&mut self, now: u64, node: Node, era: u32) {
        if let Some(peer) = self.peers.get(&node.id)
            && node.generation > peer.fact.node.generation
        {
            // The run that was asked is over: another one answers at its address.
            self.remove(now, node.id, true);
        }
        for to in self.errands.remove(&node.id).unwrap_or_default() {
            self.send(to, Message::Vouch { node, era });
        }
        self.note_era(node, era);
        self.heard(now, node, now);
        if let Some(challenger) = self.challengers.get_mut(&node.id)
            && challenger.fact.node != node
            && !challenger.refused
            && self.peers.get(&node.id).is_some_and(|peer| peer.fact.node == node)
        {
            challenger.refused = true;
            self.outputs.push_back(Output::Refused(challenger.fact.node));
        }
    }

    /// A run of a node was there at `heard_at`.
    fn heard(&mut self, now: u64, node: Node, heard_at: u64) {
        let Some(peer) = self.peers.get_mut(&node.id).filter(|peer| peer.fact.node == node) else { return };
        if heard_at <= peer.heard_at {
            return;
        }
        peer.heard_at = heard_at;
        if heard_at + SILENCE_US > now {
            peer.asked = Asked::No;
            self.timers.cancel(&Timer::Asked(node.id));
            self.timers.set(heard_at + SILENCE_US, Timer::Silence(node.id));
        }
    }

    /// Nothing was heard of a node for a while: it is asked.
    fn silence(&mut self, now: u64, id: NodeId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.asked = Asked::Directly;
        let node = peer.fact.node;
        self.timers.set(now + PROBE_US, Timer::Asked(id));
        self.send(id, Message::Ping(node));
    }

    /// A node did not answer: others try, and when they have not reached it either it is presumed gone.
    fn unanswered(&mut self, now: u64, id: NodeId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let node = peer.fact.node;
        match peer.asked {
            Asked::No => {}
            Asked::Directly => {
                peer.asked = Asked::ThroughOthers;
                self.timers.set(now + 2 * PROBE_US, Timer::Asked(id));
                for voucher in self.vouchers(id) {
                    self.send(voucher, Message::Try(node));
                }
                self.send(id, Message::Ping(node));
            }
            Asked::ThroughOthers => self.remove(now, id, true),
        }
    }

    /// Who is asked to try a node: those after it in order of numbers, so that no one node is asked by all for all.
    fn vouchers(&self, id: NodeId) -> Vec<NodeId> {
        let after = self.peers.range((std::ops::Bound::Excluded(id), std::ops::Bound::Unbounded));
        let others = after.chain(self.peers.range(..id));
        others.filter(|(_, peer)| peer.asked == Asked::No).map(|(id, _)| *id).take(VOUCHERS).collect()
    }

    /// A run of a node is over, presumed or said.
    fn remove(&mut self, now: u64, id: NodeId, is_presumed: bool) {
        let Some(peer) = self.peers.remove(&id) else { return };
        self.timers.cancel(&Timer::Silence(id));
        self.timers.cancel(&Timer::Asked(id));
        self.errands.remove(&id);
        // A run that was only ever joining has kept and led nothing: where it is presumed gone it needs no new stay.
        if peer.was_active || !is_presumed {
            self.graves.bury(now, peer.fact.node, peer.fact.stay, peer.was_active, is_presumed);
            self.publish_graves();
        }
        if let Some(challenger) = self.challengers.remove(&id)
            && challenger.heard_at + SILENCE_US > now
        {
            self.admit(now, &challenger.fact, challenger.heard_at);
        }
        self.view_is_old = true;
        self.settle_own(now);
    }

    fn send(&mut self, to: NodeId, message: Message) {
        if let Some(peer) = self.peers.get(&to) {
            let (to, contact) = (peer.fact.node, peer.fact.contact.control);
            self.outputs.push_back(Output::Send { to, contact, message });
        }
    }

    fn answer(&mut self, to: Sender, message: Message) {
        self.outputs.push_back(Output::Send { to: to.node, contact: to.contact, message });
    }

    fn publish_graves(&mut self) {
        let presumed = self.graves.presumed(limits::PRESUMED_GONE);
        if presumed != self.own.presumed_gone {
            self.own.presumed_gone = presumed;
            self.publish();
        }
    }

    fn publish(&mut self) {
        self.own.version += 1;
        self.outputs.push_back(Output::Publish(Box::new(self.own.clone())));
    }

    fn next_view(&mut self) -> Option<Arc<View>> {
        if !std::mem::take(&mut self.view_is_old) {
            return None;
        }
        // Whoever does not count on this node while it is alone must not keep it from serving those who reach it.
        let own_state = if self.is_alone_among_graves() { self.wanted } else { self.own.state };
        let facts = self.peers.values().map(|peer| (&peer.fact, peer.fact.state));
        self.view = Arc::new(self.view.next(facts.chain([(&self.own, own_state)]))?);
        Some(self.view.clone())
    }
}

/// Whether a fact is of another process than the one that is known, though it has its number and generation.
fn is_copy(fact: &Fact, known: &Fact) -> bool {
    !fact.contact.is_at(&known.contact) && fact.stay <= known.stay
}
