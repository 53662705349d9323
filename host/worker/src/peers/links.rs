//! Which peers a worker is linked to: who needs whom, who dials, which connection counts. Without I/O: it is told what
//! happened to connections, here *channels*, and says what is to be done.
//!
//! **One connection a pair.** Both ends may dial, since either may need the other first. Where they meet, the connection
//! that the smaller worker made stays: the smaller refuses the other's as [`End::Crossed`] while its own is on its way or
//! up, the greater gives its own up for the other's. A dialer that makes a new connection has lost its last: it replaces
//! that. Dials are counted, so that one that was given up and arrives late replaces nothing.
//!
//! **A dial of the greater that cannot have crossed** (the smaller's connection has been up for [`PEER_CROSSING`]) says that
//! the greater has lost that connection: it is replaced, too. The smaller may hear nothing of the loss for minutes, if it
//! stood still: QUIC waits for three of its probe timeouts, and those grow with the delay that it measured.
//!
//! **Closed after the last.** Whose last session unlinks says so on the stream, behind everything else; whoever hears it
//! and needs the link no more either closes it. So nothing that was sent before is lost with the link. A [final](End::is_final)
//! end unlinks every session: that peer is over.
//!
//! ```text
//!             link            welcome / hello of theirs
//!   (none) ─────────► Dialing ─────────────────────────► Up ── done heard, nobody here ──► (none)
//!                     ▲     │ refused, lost               │
//!          wait over  │     ▼                             │ lost
//!                     └── Apart ◄─────────────────────────┘
//! ```
//!
//! Drive it so: call what happened, then [`Links::poll_action`] until it is empty, then [`Links::poll_news`] until it is
//! empty, and [`Links::handle_timeout`] at [`Links::next_timeout`].

mod types;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringside_core::ids::{Node, SessionId};

use super::frame::{Greeting, VERSIONS, agree};
use super::{End, Peer};
use crate::limits::{PEER_BACKOFF_FIRST, PEER_BACKOFF_LONGEST, PEER_CROSSING, PEER_SESSIONS, PEERS};

pub use types::{Action, Change, Channel, LinkError};

/// From here on a run counts its dials that began beside the run before, which goes on for a while.
const BESIDE: u64 = 1 << 63;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No connection; the next try, if any.
    Apart { until: Option<Instant> },
    /// A try of this worker's.
    Dialing { dial: u64, channel: Option<Channel> },
    /// A connection.
    Up { channel: Channel, dialed_here: bool, since: Instant },
}

#[derive(Debug)]
struct Entry {
    address: Option<SocketAddr>,
    sessions: BTreeSet<SessionId>,
    state: State,
    /// How long to wait after the next failure.
    wait: Duration,
    /// The last of the peer's dials that was heard.
    heard: u64,
}

impl Entry {
    fn new() -> Entry {
        let state = State::Apart { until: None };
        Entry { address: None, sessions: BTreeSet::new(), state, wait: PEER_BACKOFF_FIRST, heard: 0 }
    }

    fn channel(&self) -> Option<Channel> {
        match self.state {
            State::Apart { .. } => None,
            State::Dialing { channel, .. } => channel,
            State::Up { channel, .. } => Some(channel),
        }
    }

    fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }
}

/// A worker's links.
#[derive(Debug)]
pub struct Links {
    own: Peer,
    peers: BTreeMap<Peer, Entry>,
    channels: HashMap<Channel, Peer>,
    /// Links of sessions, all peers together.
    links: usize,
    dials: u64,
    /// Another run of this node that may be linked to.
    companion: Option<Node>,
    wake: Option<Instant>,
    stopped: bool,
    actions: VecDeque<Action>,
    news: VecDeque<(Peer, Change)>,
}

impl Links {
    /// Those of a worker that has none.
    pub fn new(own: Peer) -> Links {
        Links {
            own,
            peers: BTreeMap::new(),
            channels: HashMap::new(),
            links: 0,
            dials: 0,
            companion: None,
            wake: None,
            stopped: false,
            actions: VecDeque::new(),
            news: VecDeque::new(),
        }
    }

    /// Another run of this node is beside it, or is not any more. A run that begins so counts its dials from `BESIDE` on:
    /// whoever it dials keeps the run before as long as that is linked.
    pub fn beside(&mut self, companion: Option<Node>, begins_beside: bool) {
        self.companion = companion;
        if begins_beside {
            self.dials = self.dials.max(BESIDE);
        }
    }

    /// A session needs a peer, which is reached at this address from now on.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn link(&mut self, now: Instant, session: SessionId, peer: Peer, address: SocketAddr) -> Result<(), LinkError> {
        if self.stopped {
            return Err(LinkError::Stopped);
        }
        if peer == self.own {
            return Err(LinkError::Itself);
        }
        if self.is_outdated(peer.node) {
            return Err(LinkError::OldRun);
        }
        self.outdate(peer.node);
        let known = self.peers.get(&peer);
        if known.is_none() && self.peers.len() >= PEERS {
            return Err(LinkError::Peers);
        }
        if known.is_none_or(|entry| !entry.sessions.contains(&session)) {
            if self.links >= PEER_SESSIONS {
                return Err(LinkError::Sessions);
            }
            self.links += 1;
        }
        let entry = self.peers.entry(peer).or_insert_with(Entry::new);
        entry.sessions.insert(session);
        let moved = entry.address.replace(address) != Some(address);
        if let State::Apart { until } = &mut entry.state
            && (moved || until.is_none())
        {
            *until = Some(now);
        }
        self.handle_timeout(now);
        Ok(())
    }

    /// A session needs a peer no longer.
    pub fn unlink(&mut self, session: &SessionId, peer: Peer) {
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        if !entry.sessions.remove(session) {
            return;
        }
        self.links -= 1;
        if entry.sessions.is_empty() {
            match entry.state {
                State::Up { channel, .. } => self.actions.push_back(Action::SayDone { channel }),
                State::Apart { .. } | State::Dialing { .. } => self.forget(peer, End::Unlinked),
            }
        }
        self.arm();
    }

    /// A dial is under way on a channel.
    pub fn dialed(&mut self, peer: Peer, dial: u64, channel: Channel) {
        if let Some(entry) = self.peers.get_mut(&peer)
            && entry.state == (State::Dialing { dial, channel: None })
        {
            entry.state = State::Dialing { dial, channel: Some(channel) };
            self.channels.insert(channel, peer);
            return;
        }
        // It was given up meanwhile.
        self.actions.push_back(Action::Close { channel, end: End::Crossed });
    }

    /// A dial could not even be begun.
    pub fn failed(&mut self, now: Instant, peer: Peer, dial: u64, end: End) {
        if let Some(entry) = self.peers.get(&peer)
            && matches!(entry.state, State::Dialing { dial: of, channel: None } if of == dial)
        {
            self.apart(now, peer, end, false);
        }
    }

    /// Whoever dialed this worker says hello; `shown` says whether its certificate is that of its node. Answers the version
    /// to be spoken: the link is up.
    ///
    /// # Errors
    /// Why the channel is to be closed.
    pub fn greeted(&mut self, now: Instant, channel: Channel, hello: &Greeting, shown: bool) -> Result<u16, End> {
        let Greeting { versions, from, to, dial } = *hello;
        let version = agree(VERSIONS, versions).ok_or(End::Version)?;
        if !shown {
            return Err(End::Certificate);
        }
        let is_other_run = from.node.id == self.own.node.id && from.node.generation != self.own.node.generation;
        if is_other_run && self.companion != Some(from.node) {
            return Err(End::DuplicateNode);
        }
        if to != self.own || from == self.own {
            return Err(End::OtherRun);
        }
        if self.stopped {
            return Err(End::Stopping);
        }
        if self.is_outdated(from.node) {
            return Err(End::OldRun);
        }
        if dial < BESIDE {
            self.outdate(from.node);
        }
        if !self.peers.contains_key(&from) && self.peers.len() >= PEERS {
            return Err(End::Busy);
        }
        if dial <= self.peers.get(&from).map_or(0, |entry| entry.heard) {
            return Err(End::Replaced);
        }
        let entry = self.peers.entry(from).or_insert_with(Entry::new);
        let may_cross = match entry.state {
            State::Apart { .. } => false,
            State::Dialing { .. } => true,
            State::Up { dialed_here, since, .. } => dialed_here && now < since + PEER_CROSSING,
        };
        if may_cross && self.own < from {
            return Err(End::Crossed);
        }
        entry.heard = dial;
        if let Some(old) = entry.channel() {
            let end = if entry.is_up() { End::Replaced } else { End::Crossed };
            self.channels.remove(&old);
            self.actions.push_back(Action::Close { channel: old, end });
        }
        if entry.is_up() {
            self.news.push_back((from, Change::Down { end: End::Replaced, by_peer: true }));
        }
        self.up(now, from, channel, version, false);
        Ok(version)
    }

    /// The peer that was dialed answers. Answers the version to be spoken: the link is up.
    ///
    /// # Errors
    /// Why the channel is to be closed; [`Links::lost`] is to be called for it.
    pub fn welcomed(&mut self, now: Instant, channel: Channel, welcome: &Greeting) -> Result<u16, End> {
        let version = agree(VERSIONS, welcome.versions).ok_or(End::Version)?;
        let peer = self.channels.get(&channel).copied().ok_or(End::Crossed)?;
        let entry = self.peers.get(&peer).ok_or(End::Unlinked)?;
        let State::Dialing { dial, .. } = entry.state else { return Err(End::Malformed) };
        if welcome.from != peer || welcome.to != self.own || welcome.dial != dial {
            return Err(End::OtherRun);
        }
        self.up(now, peer, channel, version, true);
        Ok(version)
    }

    /// The peer says that nobody there needs the link.
    pub fn heard_done(&mut self, channel: Channel) {
        let Some(peer) = self.channels.get(&channel).copied() else { return };
        if self.peers.get(&peer).is_some_and(|entry| entry.sessions.is_empty()) {
            self.news.push_back((peer, Change::Down { end: End::Unlinked, by_peer: false }));
            self.forget(peer, End::Unlinked);
        }
    }

    /// A channel is gone: the peer closed it (`by_peer`), it was lost, or whoever drives it closed it.
    pub fn lost(&mut self, now: Instant, channel: Channel, end: End, by_peer: bool) {
        if let Some(peer) = self.channels.remove(&channel) {
            self.apart(now, peer, end, by_peer);
        }
    }

    /// Dials whom it is time to dial again.
    pub fn handle_timeout(&mut self, now: Instant) {
        for (&peer, entry) in &mut self.peers {
            if let (State::Apart { until: Some(until) }, Some(address)) = (entry.state, entry.address)
                && until <= now
            {
                self.dials += 1;
                entry.state = State::Dialing { dial: self.dials, channel: None };
                self.actions.push_back(Action::Dial { peer, address, dial: self.dials });
            }
        }
        self.arm();
    }

    /// When [`handle_timeout`](Links::handle_timeout) has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.wake
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What became of peers, in order.
    pub fn poll_news(&mut self) -> Option<(Peer, Change)> {
        self.news.pop_front()
    }

    /// The connection to a peer, if there is one.
    pub fn channel(&self, peer: Peer) -> Option<Channel> {
        let entry = self.peers.get(&peer)?;
        entry.channel().filter(|_| entry.is_up())
    }

    /// Peers at present, those that are dialed included.
    pub fn peers(&self) -> usize {
        self.peers.len()
    }

    /// Closes everything and makes nothing anew.
    pub fn stop(&mut self) {
        self.stopped = true;
        let peers: Vec<Peer> = self.peers.keys().copied().collect();
        for peer in peers {
            self.forget(peer, End::Stopping);
        }
        self.arm();
    }

    fn up(&mut self, now: Instant, peer: Peer, channel: Channel, version: u16, dialed_here: bool) {
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        entry.state = State::Up { channel, dialed_here, since: now };
        entry.wait = PEER_BACKOFF_FIRST;
        self.channels.insert(channel, peer);
        self.news.push_back((peer, Change::Up { channel, version }));
        self.arm();
    }

    /// A peer has no connection any longer, or none yet.
    fn apart(&mut self, now: Instant, peer: Peer, end: End, by_peer: bool) {
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        // The other's own dial is on its way: nothing failed.
        if end != End::Crossed || entry.is_up() {
            self.news.push_back((peer, Change::Down { end, by_peer }));
        }
        entry.state = State::Apart { until: None };
        let is_over = entry.sessions.is_empty() || end.is_final();
        if is_over || self.is_outdated(peer.node) {
            let Some(entry) = self.peers.get(&peer) else { return };
            self.links -= entry.sessions.len();
            self.peers.remove(&peer);
        } else if let Some(entry) = self.peers.get_mut(&peer) {
            // The peer had nobody who needs it when it closed; here somebody does.
            let wait = if end == End::Unlinked { Duration::ZERO } else { entry.wait };
            entry.state = State::Apart { until: Some(now + wait) };
            entry.wait = (entry.wait * 2).min(PEER_BACKOFF_LONGEST);
        }
        self.arm();
    }

    /// Whether a later run of a node is known, or this process is one.
    fn is_outdated(&self, node: Node) -> bool {
        let is_up = |peer: &Peer| peer.node == node && self.peers.get(peer).is_some_and(Entry::is_up);
        if self.companion == Some(node) || self.peers.keys().any(is_up) {
            return false;
        }
        let later = |known: Node| known.id == node.id && known.generation > node.generation;
        later(self.own.node) || self.peers.keys().any(|peer| later(peer.node))
    }

    /// Earlier runs of a node are over.
    fn outdate(&mut self, node: Node) {
        let earlier = |peer: &&Peer| peer.node.id == node.id && peer.node.generation < node.generation;
        let over: Vec<Peer> = self.peers.keys().filter(earlier).copied().collect();
        for peer in over {
            self.news.push_back((peer, Change::Down { end: End::OldRun, by_peer: false }));
            self.forget(peer, End::OldRun);
        }
    }

    /// Takes a peer out of the table with whatever connection there is.
    fn forget(&mut self, peer: Peer, end: End) {
        let Some(entry) = self.peers.remove(&peer) else { return };
        self.links -= entry.sessions.len();
        if let Some(channel) = entry.channel() {
            self.channels.remove(&channel);
            self.actions.push_back(Action::Close { channel, end });
        }
        self.arm();
    }

    /// Links change rarely, and turns ask for the next instant often.
    fn arm(&mut self) {
        let due = self.peers.values().filter_map(|entry| match entry.state {
            State::Apart { until } => until.filter(|_| !entry.sessions.is_empty()),
            _ => None,
        });
        self.wake = due.min();
    }
}

#[cfg(test)]
mod tests;
