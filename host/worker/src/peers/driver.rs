//! Carries links over QUIC: makes and closes connections as [`Links`] says, greets, hands frames, datagrams and what is
//! long both ways. Reads at most what it is allowed in a turn; whatever a peer can hold here has a bound.

mod reading;
mod talk;
mod writing;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use quinn_proto as quic;
use ringside_core::ids::{Node, SessionId};

use super::frame::{self, Frame, Greeting, VERSIONS};
use super::links::{Action, Change, LinkError, Links};
use super::{End, News, Peer, SendError, tls};
use crate::endpoint::{Endpoint, LinkId, LinkLimits, as_seen};
use crate::limits::{PEER_GREETING, PEER_HANDSHAKE_SHARE, PEER_HANDSHAKES};
use crate::outlet::Outlet;
use crate::receive::Datagram;
use talk::Talk;

/// What a piece of news counts for beside its bytes.
const NEWS_BYTES: usize = 64;

/// How a worker speaks to peers; made by [`Membership::configure`](tls::Membership::configure).
pub struct PeersConfig {
    /// The worker.
    pub own: Peer,
    /// Connection ids, resets.
    pub endpoint: Arc<quic::EndpointConfig>,
    /// How peers are served.
    pub server: Arc<quic::ServerConfig>,
    /// How peers are dialed.
    pub client: quic::ClientConfig,
    /// What the names in the cluster's certificates end with.
    pub domain: String,
    /// Whether the socket never fragments, so that larger packets may be tried.
    pub unfragmented: bool,
    /// Whether the socket is one of IPv6.
    pub ipv6: bool,
    /// Connections at a time, at most.
    pub connections: usize,
}

/// What was counted of peers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeerCounts {
    /// Links that are up.
    pub up: u64,
    /// Frames that came in.
    pub frames_in: u64,
    /// Frames that were sent.
    pub frames_out: u64,
    /// Bytes of packets to them.
    pub bytes_out: u64,
    /// Connections that this worker closed because of what the peer is or says.
    pub refused: u64,
}

/// How full tables and queues are.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PeersHeld {
    /// Handshakes of others under way.
    pub handshakes: usize,
    /// Connections, those closing included.
    pub connections: usize,
    /// Peers that are linked or dialed.
    pub peers: usize,
    /// Bytes of frames that wait for a stream, the most of any.
    pub frame_bytes: usize,
}

/// A worker's peers.
pub(crate) struct Peers {
    own: Peer,
    domain: String,
    ipv6: bool,
    client: quic::ClientConfig,
    endpoint: Endpoint,
    links: Links,
    talks: Vec<Option<Talk>>,
    unwritten: Vec<LinkId>,
    news: VecDeque<(Peer, News)>,
    /// What whoever closed the last connection said.
    detail: Option<String>,
    counts: PeerCounts,
}

impl Peers {
    /// Those of a worker that has none.
    pub fn new(config: PeersConfig) -> Peers {
        let limits = LinkLimits {
            connections: config.connections,
            // The workers of a node share an address.
            per_address: config.connections,
            handshakes: PEER_HANDSHAKES,
            handshake: PEER_GREETING,
        };
        Peers {
            own: config.own,
            domain: config.domain,
            ipv6: config.ipv6,
            client: config.client,
            endpoint: Endpoint::new(config.endpoint, config.server, limits, config.unfragmented),
            links: Links::new(config.own),
            talks: Vec::new(),
            unwritten: Vec::new(),
            news: VecDeque::new(),
            detail: None,
            counts: PeerCounts::default(),
        }
    }

    /// A session needs a peer.
    pub fn link(&mut self, now: Instant, session: SessionId, peer: Peer, at: SocketAddr) -> Result<(), LinkError> {
        let linked = self.links.link(now, session, peer, at);
        self.act(now);
        linked
    }

    /// Another run of this node is beside it, or is not any more; whether this run begins so.
    pub fn beside(&mut self, companion: Option<Node>, begins_beside: bool) {
        self.links.beside(companion, begins_beside);
    }

    /// A session needs a peer no longer.
    pub fn unlink(&mut self, now: Instant, session: &SessionId, peer: Peer) {
        self.links.unlink(session, peer);
        self.act(now);
    }

    /// Sends a frame.
    pub fn send_frame(&mut self, now: Instant, peer: Peer, body: &Bytes) -> Result<(), SendError> {
        let sent = self.with_talk(peer, |talk, quic| talk.send_frame(quic, body))?;
        match sent {
            Ok(()) => self.counts.frames_out += 1,
            Err(SendError::TooSlow) => {
                let link = self.links.channel(peer).map(LinkId::from_bits);
                link.into_iter().for_each(|link| self.close(now, link, End::TooSlow, None));
            }
            Err(_) => {}
        }
        sent
    }

    /// Sends a datagram.
    pub fn send_datagram(&mut self, peer: Peer, body: Bytes) -> Result<(), SendError> {
        self.with_talk(peer, |_, quic| quic.datagrams().send(body, true).map_err(|_| SendError::TooLong))?
    }

    /// Sends something long.
    pub fn send_long(&mut self, peer: Peer, body: Bytes) -> Result<(), SendError> {
        self.with_talk(peer, |talk, quic| talk.send_long(quic, body))?
    }

    fn with_talk<T>(
        &mut self,
        peer: Peer,
        act: impl FnOnce(&mut Talk, &mut quic::Connection) -> T,
    ) -> Result<T, SendError> {
        let link = self.links.channel(peer).map(LinkId::from_bits).ok_or(SendError::NotLinked)?;
        self.mark(link);
        let (talk, quic) = self.talk_and_quic(link).ok_or(SendError::NotLinked)?;
        Ok(act(talk, quic))
    }

    /// Takes a datagram of the peers' socket in.
    pub fn handle_datagram(&mut self, now: Instant, datagram: Datagram<'_>) {
        self.endpoint.handle_datagram(now, datagram);
    }

    /// Handles what is due and reads what peers sent, up to so many bytes, with what news cost beside theirs. Answers
    /// whether more waits.
    pub fn read(&mut self, now: Instant, mut budget: usize) -> bool {
        self.handle_timeouts(now);
        while let Some(link) = self.endpoint.next_ready() {
            self.read_link(now, link, &mut budget);
            if budget == 0 {
                return self.endpoint.has_ready();
            }
        }
        false
    }

    /// Handshakes, for their share of a turn, then everything that is to be sent.
    pub fn send(&mut self, outlet: &mut dyn Outlet) {
        let begun = outlet.now();
        while self.endpoint.has_waiting() {
            self.endpoint.admit(begun, outlet);
            if outlet.now().saturating_duration_since(begun) >= PEER_HANDSHAKE_SHARE {
                break;
            }
        }
        self.write_all();
        let now = outlet.now();
        self.endpoint.flush(now, outlet);
    }

    fn handle_timeouts(&mut self, now: Instant) {
        self.endpoint.handle_timeouts(now);
        if self.links.next_timeout().is_some_and(|due| due <= now) {
            self.links.handle_timeout(now);
            self.act(now);
        }
    }

    /// What may be lost, and is late soon, where there is no room for anything else: heartbeats and acknowledgements.
    pub fn read_datagrams(&mut self, now: Instant, mut budget: usize) {
        self.handle_timeouts(now);
        let links: Vec<LinkId> = self.talks.iter().flatten().map(|talk| talk.link).collect();
        links.into_iter().for_each(|link| self.read_datagrams_of(link, &mut budget));
    }

    /// What was heard, oldest first.
    pub fn poll_news(&mut self) -> Option<(Peer, News)> {
        self.news.pop_front()
    }

    /// Whether something waits to be read, whatever the time.
    pub fn has_work(&self) -> bool {
        self.endpoint.has_waiting() || self.endpoint.has_ready()
    }

    /// When something is due if nothing arrives before.
    pub fn next_timeout(&self) -> Option<Instant> {
        [self.endpoint.next_timeout(), self.links.next_timeout()].into_iter().flatten().min()
    }

    /// Whether there is no connection, none is to be made and nobody is to be answered.
    pub fn is_idle(&self) -> bool {
        // Whoever is still connected to the run before is answered.
        let answers = self.endpoint.has_responses();
        self.endpoint.open_links() == 0 && self.links.peers() == 0 && !self.has_work() && !answers
    }

    /// How full it is.
    pub fn held(&self) -> PeersHeld {
        PeersHeld {
            handshakes: self.endpoint.handshakes(),
            connections: self.endpoint.open_links(),
            peers: self.links.peers(),
            frame_bytes: self.talks.iter().flatten().map(Talk::waiting_bytes).max().unwrap_or(0),
        }
    }

    /// What was counted.
    pub fn counts(&self) -> PeerCounts {
        let up = self.talks.iter().flatten().filter(|talk| talk.peer.is_some()).count() as u64;
        PeerCounts { up, bytes_out: self.endpoint.counts().transmitted_bytes, ..self.counts }
    }

    /// Closes every connection with a reason.
    pub fn stop(&mut self, now: Instant) {
        self.links.stop();
        self.act(now);
        let greeting: Vec<LinkId> = self.talks.iter().flatten().map(|talk| talk.link).collect();
        for link in greeting {
            self.close(now, link, End::Stopping, None);
        }
    }

    /// Does what the links ask for, and tells what became of them.
    fn act(&mut self, now: Instant) {
        while let Some(action) = self.links.poll_action() {
            match action {
                Action::Dial { peer, address, dial } => self.dial(now, peer, address, dial),
                Action::Close { channel, end } => self.end(now, LinkId::from_bits(channel), end, end.text()),
                Action::SayDone { channel } => self.say(LinkId::from_bits(channel), &Frame::Done),
            }
        }
        while let Some((peer, change)) = self.links.poll_news() {
            let news = match change {
                Change::Up { channel, version } => {
                    let link = LinkId::from_bits(channel);
                    self.endpoint.set_deadline(link, None);
                    if let Some(talk) = self.talk(link) {
                        talk.peer = Some(peer);
                    }
                    News::Up { version }
                }
                Change::Down { end, by_peer } => {
                    let detail = self.detail.take().unwrap_or_else(|| end.text().to_owned());
                    News::Down { end, by_peer, detail }
                }
            };
            self.news.push_back((peer, news));
        }
        self.detail = None;
    }

    fn dial(&mut self, now: Instant, peer: Peer, address: SocketAddr, dial: u64) {
        // Every member has this name: who it is exactly is seen when the certificate is there, so that the error is exact.
        let name = tls::any_name(&self.domain);
        // Answers come from what the socket calls it.
        let address = as_seen(address, self.ipv6);
        match self.endpoint.connect(now, self.client.clone(), address, &name) {
            Some(link) => {
                self.keep(Talk::dialing(link, peer, dial));
                self.links.dialed(peer, dial, link.to_bits());
            }
            None => self.links.failed(now, peer, dial, End::Unreachable),
        }
    }

    fn keep(&mut self, talk: Talk) {
        let index = talk.link.index as usize;
        if self.talks.len() <= index {
            self.talks.resize_with(index + 1, || None);
        }
        self.talks[index] = Some(talk);
    }

    fn talk(&mut self, link: LinkId) -> Option<&mut Talk> {
        talk_of(&mut self.talks, link)
    }

    fn talk_and_quic(&mut self, link: LinkId) -> Option<(&mut Talk, &mut quic::Connection)> {
        talk_of(&mut self.talks, link).zip(self.endpoint.link(link))
    }

    fn mark(&mut self, link: LinkId) {
        if let Some(talk) = self.talk(link)
            && !std::mem::replace(&mut talk.unwritten, true)
        {
            self.unwritten.push(link);
        }
    }

    fn say(&mut self, link: LinkId, frame: &Frame) {
        if let Some(talk) = self.talk(link) {
            frame::encode(frame, &mut talk.out);
            self.mark(link);
        }
    }

    fn greeting(&self, to: Peer, dial: u64) -> Greeting {
        Greeting { versions: VERSIONS, from: self.own, to, dial }
    }

    /// Closes a connection because of what the peer is, says or does not.
    fn close(&mut self, now: Instant, link: LinkId, end: End, detail: Option<String>) {
        if end != End::Stopping {
            self.counts.refused += 1;
        }
        let detail = detail.unwrap_or_else(|| end.text().to_owned());
        self.end(now, link, end, &detail);
        self.gone(now, link, end, false, detail);
    }

    /// Closes a connection of which nobody is to be told.
    fn end(&mut self, now: Instant, link: LinkId, end: End, detail: &str) {
        self.endpoint.close(now, link, end.code(), detail);
        self.forget(link);
    }

    fn forget(&mut self, link: LinkId) {
        if self.talk(link).is_some() {
            self.talks[link.index as usize] = None;
        }
    }

    /// A connection is no more.
    fn gone(&mut self, now: Instant, link: LinkId, end: End, by_peer: bool, detail: String) {
        self.forget(link);
        self.detail = Some(detail);
        self.links.lost(now, link.to_bits(), end, by_peer);
        self.act(now);
    }
}

fn talk_of(talks: &mut [Option<Talk>], link: LinkId) -> Option<&mut Talk> {
    talks.get_mut(link.index as usize)?.as_mut().filter(|talk| talk.link == link)
}
