//! A QUIC endpoint of a worker, for players or for peers: connections in a table, one timer each, and lists of those
//! that have something to read and something to send. Decides who may connect (Retry, limits, the handshake queues);
//! knows nothing of sessions, players or frames.
//!
//! A connection here is a *link*; its index is quinn-proto's handle, its generation tells reuses of the index apart.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use quinn_proto as quic;
use quinn_proto::{ConnectionHandle, DatagramEvent, Incoming, VarInt};

use crate::admission::{Admission, Class, Waiting, classify};
use crate::arena::Arena;
use crate::limits::RESPONSES;
use crate::outlet::{Destination, Outlet};
use crate::receive::Datagram;
use crate::timers::Timers;
use crate::transport::{LONGEST_ACKNOWLEDGE_DELAY, QUIC_ACKNOWLEDGE_DELAY};

/// Packets of a link whose times are remembered: more than a player of a ticking session sends between two views.
const HEARD: usize = 4;

/// Received bytes are copied into chunks of this size, so that a packet costs no allocation.
const ARENA_BYTES: usize = 64 << 10;

/// Which link: an index that is used again, and a generation that is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkId {
    /// Place in the table.
    pub index: u32,
    /// Counts accepted connections.
    pub generation: u32,
}

impl LinkId {
    /// Whether its connection was made after the other's.
    pub fn is_newer_than(self, other: LinkId) -> bool {
        self.generation > other.generation
    }
}

impl LinkId {
    /// As one number, for those outside who only hand it back.
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// What [`to_bits`](LinkId::to_bits) made.
    pub fn from_bits(bits: u64) -> Self {
        LinkId { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// Bounds on who may be connected.
#[derive(Debug, Clone, Copy)]
pub struct LinkLimits {
    /// Connections at a time. Beyond: refused.
    pub connections: usize,
    /// Connections of one address (IPv6: of one /64) at a time. Beyond: refused.
    pub per_address: usize,
    /// Handshakes of others that may be under way at a time. Beyond: the address (IPv6: the /64) that has most of them gives
    /// its oldest to one that has fewer; where none has fewer, first packets with a token are dropped.
    pub handshakes: usize,
    /// Time that a handshake may take. Beyond: the link is ready, for its owner to close it.
    pub handshake: Duration,
}

/// What was counted at the door.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkCounts {
    /// Datagrams that came in.
    pub received: u64,
    /// Datagrams that went out.
    pub transmitted: u64,
    /// Bytes of those.
    pub transmitted_bytes: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Retries sent.
    pub retried: u64,
    /// Connections refused by a limit.
    pub refused: u64,
    /// Handshake packets dropped unparsed.
    pub dropped: u64,
}

struct Link {
    quic: quic::Connection,
    generation: u32,
    address: IpAddr,
    /// The peer's address, until the handshake is done.
    handshaking: Option<SocketAddr>,
    /// Whether this end made the connection.
    dialed: bool,
    /// When the owner wants to see this link again.
    deadline: Option<Instant>,
    /// When the last packets came. QUIC holds the acknowledgement of one of them back for [`QUIC_ACKNOWLEDGE_DELAY`].
    heard: [Instant; HEARD],
    /// After how long without a packet it is pinged, again and again; and when it was last.
    probe: Option<Duration>,
    probed: Instant,
    /// By when something leaves on which an acknowledgement can ride.
    ride: Option<Instant>,
    ready: bool,
    unsent: bool,
}

impl Link {
    /// When its timer is to be handled. Where that would only send an acknowledgement by itself, and it can ride on what
    /// leaves within the delay that the peer was told of, it waits for that.
    fn timeout(&mut self) -> Option<Instant> {
        let due = self.quic.poll_timeout()?;
        let Some(ride) = self.ride.filter(|&ride| ride > due) else { return Some(due) };
        let patient =
            |&heard: &Instant| due == heard + QUIC_ACKNOWLEDGE_DELAY && ride <= heard + LONGEST_ACKNOWLEDGE_DELAY;
        Some(if self.heard.iter().any(patient) { ride } else { due })
    }

    /// When it is to be pinged.
    fn probe_due(&self) -> Option<Instant> {
        let interval = self.probe.filter(|_| !self.quic.is_closed())?;
        Some(self.heard[0].max(self.probed) + interval)
    }

    /// A packet came.
    fn hear(&mut self, now: Instant) {
        if self.heard[0] != now {
            self.heard.rotate_right(1);
            self.heard[0] = now;
        }
    }
}

/// A worker's endpoint and its links.
pub struct Endpoint {
    quic: quic::Endpoint,
    links: Vec<Option<Link>>,
    timers: Timers,
    ready: VecDeque<u32>,
    unsent: Vec<u32>,
    flushing: Vec<u32>,
    admission: Admission,
    addresses: HashMap<IpAddr, usize>,
    limits: LinkLimits,
    open: usize,
    handshakes: usize,
    /// How many of them each address has.
    shares: HashMap<IpAddr, usize>,
    /// Handshakes under way with each address: as many entries as handshakes.
    handshakers: HashMap<SocketAddr, usize>,
    /// Those of them that this end began.
    dialing: HashMap<SocketAddr, usize>,
    generation: u32,
    arena: Arena<ARENA_BYTES>,
    scratch: Vec<u8>,
    responses: Vec<(SocketAddr, Option<IpAddr>, Vec<u8>)>,
    counts: LinkCounts,
}

impl Endpoint {
    /// An endpoint without links. `unfragmented` says that the socket never fragments, so that larger packets may
    /// be tried.
    pub fn new(
        endpoint: Arc<quic::EndpointConfig>,
        server: Arc<quic::ServerConfig>,
        limits: LinkLimits,
        unfragmented: bool,
    ) -> Self {
        Endpoint {
            quic: quic::Endpoint::new(endpoint, Some(server), unfragmented, None),
            links: Vec::new(),
            timers: Timers::default(),
            ready: VecDeque::new(),
            unsent: Vec::new(),
            flushing: Vec::new(),
            admission: Admission::default(),
            addresses: HashMap::new(),
            limits,
            open: 0,
            handshakes: 0,
            shares: HashMap::new(),
            handshakers: HashMap::new(),
            dialing: HashMap::new(),
            generation: 0,
            arena: Arena::new(),
            scratch: Vec::with_capacity(2048),
            responses: Vec::new(),
            counts: LinkCounts::default(),
        }
    }

    /// New connections are served with this from now on.
    pub fn set_server_config(&mut self, server: Arc<quic::ServerConfig>) {
        self.quic.set_server_config(Some(server));
    }

    /// Takes a datagram in: a link's data at once, anything of a handshake into the queue of
    /// [`admit`](Endpoint::admit).
    pub fn handle_datagram(&mut self, now: Instant, datagram: Datagram<'_>) {
        self.counts.received += 1;
        let mut class = classify(datagram.bytes);
        if class == Class::Malformed {
            return;
        }
        // The first answer of whoever is dialed bears no token, and does not wait behind those that anybody may send.
        if class == Class::First && self.dialing.contains_key(&datagram.from) {
            class = Class::Validated;
        }
        let bytes = self.arena.copy_mut(datagram.bytes);
        // What a peer sends behind the last packet of its handshake cannot be read before that one, which waits.
        if class == Class::Established && !self.handshakers.contains_key(&datagram.from) {
            self.handle_packet(now, datagram.from, datagram.to, datagram.ecn, bytes);
            return;
        }
        // Handshake packets wait: a buffer of their own, so that they do not pin the shared one.
        let bytes = BytesMut::from(&bytes[..]);
        let Datagram { from, to, ecn, .. } = datagram;
        self.admission.push(class, Waiting { arrived: now, from, to, ecn, bytes });
        self.counts.dropped = self.admission.dropped();
    }

    /// Whether packets of no connection have answers that are not sent.
    pub fn has_responses(&self) -> bool {
        !self.responses.is_empty()
    }

    /// Whether handshake packets wait.
    pub fn has_waiting(&self) -> bool {
        !self.admission.is_empty()
    }

    /// Handles one waiting handshake packet, which may cost a key exchange and a signature. Answers whether there
    /// was one.
    pub fn admit(&mut self, now: Instant, outlet: &mut dyn Outlet) -> bool {
        let Some(packet) = self.admission.pop() else { return false };
        if let Some(incoming) = self.handle_packet(now, packet.from, packet.to, packet.ecn, packet.bytes) {
            self.decide(now, incoming, outlet);
        }
        true
    }

    /// Lets links whose time has come expire what must, and marks them ready.
    pub fn handle_timeouts(&mut self, now: Instant) {
        while let Some(index) = self.timers.pop_due(now) {
            if let Some(link) = self.links[index as usize].as_mut() {
                link.quic.handle_timeout(now);
                if link.probe_due().is_some_and(|due| due <= now) {
                    link.probed = now;
                    link.quic.ping();
                }
                mark(&mut link.ready, index, |index| self.ready.push_back(index));
                mark(&mut link.unsent, index, |index| self.unsent.push(index));
            }
        }
    }

    /// When [`handle_timeouts`](Endpoint::handle_timeouts) has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// The next link that has something for its owner to read, or whose deadline came. Its events must be read to
    /// their end.
    pub fn next_ready(&mut self) -> Option<LinkId> {
        while let Some(index) = self.ready.pop_front() {
            if let Some(link) = self.links[index as usize].as_mut() {
                link.ready = false;
                if link.quic.is_drained() {
                    // It is removed when its owner has heard of its end.
                    mark(&mut link.unsent, index, |index| self.unsent.push(index));
                }
                return Some(LinkId { index, generation: link.generation });
            }
        }
        None
    }

    /// Has a link read again, after all that wait.
    pub fn mark_ready(&mut self, id: LinkId) {
        if let Some(Some(link)) = self.links.get_mut(id.index as usize)
            && link.generation == id.generation
        {
            mark(&mut link.ready, id.index, |index| self.ready.push_back(index));
        }
    }

    /// Whether a link waits to be read.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// A link's connection, for reading and writing; it is looked at for packets by the next
    /// [`flush`](Endpoint::flush).
    pub fn link(&mut self, id: LinkId) -> Option<&mut quic::Connection> {
        let link = self.links.get_mut(id.index as usize)?.as_mut()?;
        if link.generation != id.generation {
            return None;
        }
        mark(&mut link.unsent, id.index, |index| self.unsent.push(index));
        Some(&mut link.quic)
    }

    /// A link's connection, only to look at.
    pub fn peek(&self, id: LinkId) -> Option<&quic::Connection> {
        let link = self.links.get(id.index as usize)?.as_ref()?;
        (link.generation == id.generation).then_some(&link.quic)
    }

    /// The link's next event; handles what concerns the handshake itself.
    pub fn poll(&mut self, id: LinkId) -> Option<quic::Event> {
        let link = self.links.get_mut(id.index as usize)?.as_mut()?;
        if link.generation != id.generation {
            return None;
        }
        let event = link.quic.poll();
        if let Some(quic::Event::ConnectionLost { .. }) = event {
            link.deadline = None;
        }
        if let Some(quic::Event::Connected | quic::Event::ConnectionLost { .. }) = event
            && let Some(from) = link.handshaking.take()
        {
            link.deadline = None;
            let dialed = link.dialed;
            self.end_handshake(from, dialed);
        }
        event
    }

    fn end_handshake(&mut self, from: SocketAddr, dialed: bool) {
        take_from(&mut self.handshakers, &from);
        if dialed {
            take_from(&mut self.dialing, &from);
        } else {
            self.handshakes -= 1;
            take_from(&mut self.shares, &address_group(from.ip()));
        }
    }

    /// Has the address with the most handshakes under way give its oldest up, if that is fair. Its link is ready, with its
    /// deadline come, for its owner to close it.
    fn make_room(&mut self, now: Instant, newcomer: IpAddr) -> bool {
        let own = self.shares.get(&newcomer).copied().unwrap_or(0);
        // Of equals the greater address, so that a run depends on its seed alone.
        let most = self.shares.iter().map(|(&address, &share)| (share, address)).max();
        let Some((_, greedy)) = most.filter(|(share, _)| *share > own + 1) else { return false };
        let theirs = |link: &Link| link.address == greedy && !link.dialed && link.handshaking.is_some();
        let links = self.links.iter_mut().enumerate().filter_map(|(index, link)| Some((index, link.as_mut()?)));
        let oldest = links.filter(|(_, link)| theirs(link)).min_by_key(|(_, link)| link.generation);
        let Some((index, link)) = oldest else { return false };
        let Some(from) = link.handshaking.take() else { return false };
        link.deadline = Some(now);
        mark(&mut link.ready, index as u32, |index| self.ready.push_back(index));
        self.end_handshake(from, false);
        true
    }

    /// Makes a connection to whoever shows a certificate with this name. `None` where the address cannot be dialed.
    pub fn connect(&mut self, now: Instant, config: quic::ClientConfig, to: SocketAddr, name: &str) -> Option<LinkId> {
        let (handle, quic) = self.quic.connect(now, config, to, name).ok()?;
        *self.dialing.entry(to).or_default() += 1;
        Some(self.insert(now, handle, quic, to, true))
    }

    /// Asks for the link to be ready again at a time, instead of the time asked for before.
    pub fn set_deadline(&mut self, id: LinkId, deadline: Option<Instant>) {
        if let Some(Some(link)) = self.links.get_mut(id.index as usize)
            && link.generation == id.generation
            && link.deadline != deadline
        {
            link.deadline = deadline;
            mark(&mut link.unsent, id.index, |index| self.unsent.push(index));
        }
    }

    /// Pings a link whenever nothing was heard of it for so long. For one whose handshake is done.
    pub fn probe(&mut self, id: LinkId, interval: Duration) {
        if let Some(Some(link)) = self.links.get_mut(id.index as usize)
            && link.generation == id.generation
        {
            link.probe = Some(interval);
            mark(&mut link.unsent, id.index, |index| self.unsent.push(index));
        }
    }

    /// Says by when something will leave on a link, so that acknowledgements can ride on it; `None` says nothing.
    pub fn expect(&mut self, id: LinkId, ride: Option<Instant>) {
        if let Some(Some(link)) = self.links.get_mut(id.index as usize)
            && link.generation == id.generation
        {
            link.ride = ride;
        }
    }

    /// When the owner wants to see the link again.
    pub fn deadline(&self, id: LinkId) -> Option<Instant> {
        let link = self.links.get(id.index as usize)?.as_ref()?;
        if link.generation == id.generation { link.deadline } else { None }
    }

    /// Closes a link with a code and a reason that the peer sees. Its owner gets no further event but may still read.
    pub fn close(&mut self, now: Instant, id: LinkId, code: u32, reason: &str) {
        if let Some(link) = self.link(id) {
            link.close(now, VarInt::from_u32(code), Bytes::copy_from_slice(reason.as_bytes()));
        }
        self.set_deadline(id, None);
    }

    /// Links at present, those closing included.
    pub fn open_links(&self) -> usize {
        self.open
    }

    /// Handshakes under way.
    pub fn handshakes(&self) -> usize {
        self.handshakes
    }

    /// Writes the packets of every link that has any, and arms its timer anew.
    pub fn flush(&mut self, now: Instant, outlet: &mut dyn Outlet) {
        for (address, source, bytes) in self.responses.drain(..) {
            outlet.buffer().extend_from_slice(&bytes);
            outlet.commit(Destination { address, source });
        }
        // What the endpoint answers to a link (new connection ids) is sent at once as well.
        while !self.unsent.is_empty() {
            std::mem::swap(&mut self.unsent, &mut self.flushing);
            for place in 0..self.flushing.len() {
                self.flush_link(now, self.flushing[place], outlet);
            }
            self.flushing.clear();
        }
    }

    /// What was counted so far.
    pub fn counts(&self) -> LinkCounts {
        self.counts
    }

    fn flush_link(&mut self, now: Instant, index: u32, outlet: &mut dyn Outlet) {
        if let Some(link) = self.links[index as usize].as_mut() {
            link.unsent = false;
            while let Some(transmit) = link.quic.poll_transmit(now, 1, outlet.buffer()) {
                outlet.commit(Destination { address: transmit.destination, source: transmit.src_ip });
                self.counts.transmitted += 1;
                self.counts.transmitted_bytes += transmit.size as u64;
            }
        }
        self.settle(index);
    }

    /// Passes on what a link has to tell the endpoint, removes it when it is over and its owner knows, and arms its timer.
    fn settle(&mut self, index: u32) {
        let Some(link) = self.links[index as usize].as_mut() else { return };
        if link.ready && link.quic.is_drained() {
            // Ends by time or by a reset are there whole at once: its owner's turn to read may be a later one.
            return self.timers.set(index, None);
        }
        while let Some(event) = link.quic.poll_endpoint_events() {
            let drained = event.is_drained();
            if let Some(event) = self.quic.handle_event(ConnectionHandle(index as usize), event) {
                link.quic.handle_event(event);
                mark(&mut link.unsent, index, |index| self.unsent.push(index));
            }
            if drained {
                self.remove(index);
                return;
            }
        }
        let deadline = [link.timeout(), link.probe_due(), link.deadline].into_iter().flatten().min();
        self.timers.set(index, deadline);
    }

    fn remove(&mut self, index: u32) {
        self.timers.set(index, None);
        let Some(link) = self.links[index as usize].take() else { return };
        self.open -= 1;
        if let Some(from) = link.handshaking {
            self.end_handshake(from, link.dialed);
        }
        take_from(&mut self.addresses, &link.address);
    }

    fn handle_packet(
        &mut self,
        now: Instant,
        from: SocketAddr,
        to: Option<IpAddr>,
        ecn: Option<quic::EcnCodepoint>,
        bytes: BytesMut,
    ) -> Option<Incoming> {
        self.scratch.clear();
        match self.quic.handle(now, from, to, ecn, bytes, &mut self.scratch)? {
            DatagramEvent::ConnectionEvent(handle, event) => {
                let index = handle.0 as u32;
                let link = self.links.get_mut(handle.0)?.as_mut()?;
                link.hear(now);
                link.quic.handle_event(event);
                mark(&mut link.ready, index, |index| self.ready.push_back(index));
                mark(&mut link.unsent, index, |index| self.unsent.push(index));
                None
            }
            DatagramEvent::Response(transmit) => {
                if self.responses.len() < RESPONSES {
                    let bytes = self.scratch[..transmit.size].to_vec();
                    self.responses.push((transmit.destination, transmit.src_ip, bytes));
                }
                None
            }
            DatagramEvent::NewConnection(incoming) => Some(incoming),
        }
    }

    fn decide(&mut self, now: Instant, incoming: Incoming, outlet: &mut dyn Outlet) {
        if !incoming.remote_address_validated() {
            let buffer = outlet.buffer();
            match self.quic.retry(incoming, buffer) {
                Ok(transmit) => {
                    self.counts.retried += 1;
                    outlet.commit(Destination { address: transmit.destination, source: transmit.src_ip });
                }
                Err(error) => self.quic.ignore(error.into_incoming()),
            }
            return;
        }
        let address = address_group(incoming.remote_address().ip());
        let same = self.addresses.get(&address).copied().unwrap_or(0);
        let is_refused = self.open >= self.limits.connections || same >= self.limits.per_address;
        // Nobody gives up a handshake for one that is refused.
        if self.handshakes >= self.limits.handshakes && (is_refused || !self.make_room(now, address)) {
            self.counts.dropped += 1;
            self.quic.ignore(incoming);
            return;
        }
        if is_refused {
            self.counts.refused += 1;
            let transmit = self.quic.refuse(incoming, outlet.buffer());
            outlet.commit(Destination { address: transmit.destination, source: transmit.src_ip });
            return;
        }
        self.accept(now, incoming, outlet);
    }

    fn accept(&mut self, now: Instant, incoming: Incoming, outlet: &mut dyn Outlet) {
        let from = incoming.remote_address();
        match self.quic.accept(incoming, now, outlet.buffer(), None) {
            Ok((handle, quic)) => {
                self.insert(now, handle, quic, from, false);
                self.handshakes += 1;
                *self.shares.entry(address_group(from.ip())).or_default() += 1;
                self.counts.accepted += 1;
            }
            Err(error) => {
                if let Some(transmit) = error.response {
                    outlet.commit(Destination { address: transmit.destination, source: transmit.src_ip });
                }
            }
        }
    }

    /// Puts a connection whose handshake begins into the table.
    fn insert(
        &mut self,
        now: Instant,
        handle: ConnectionHandle,
        quic: quic::Connection,
        peer: SocketAddr,
        dialed: bool,
    ) -> LinkId {
        if self.links.len() <= handle.0 {
            self.links.resize_with(handle.0 + 1, || None);
        }
        self.generation = self.generation.wrapping_add(1);
        let address = address_group(peer.ip());
        self.links[handle.0] = Some(Link {
            quic,
            generation: self.generation,
            address,
            handshaking: Some(peer),
            dialed,
            deadline: Some(now + self.limits.handshake),
            heard: [now; HEARD],
            probe: None,
            probed: now,
            ride: None,
            ready: true,
            unsent: true,
        });
        let index = handle.0 as u32;
        self.ready.push_back(index);
        self.unsent.push(index);
        *self.addresses.entry(address).or_default() += 1;
        self.open += 1;
        *self.handshakers.entry(peer).or_default() += 1;
        LinkId { index, generation: self.generation }
    }
}

/// Takes one from a count, and the count from its table when it is none.
pub fn take_from<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// Sets a flag and puts the index on its list, once.
fn mark(flag: &mut bool, index: u32, push: impl FnOnce(u32)) {
    if !std::mem::replace(flag, true) {
        push(index);
    }
}

/// Whom a limit for each address counts together: an IPv6 customer has a /64.
pub fn address_group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
    }
}

/// An address as a socket names whoever is there: one of IPv6 has those of IPv4 mapped.
pub fn as_seen(address: SocketAddr, ipv6: bool) -> SocketAddr {
    match address {
        SocketAddr::V4(address) if ipv6 => SocketAddr::new(address.ip().to_ipv6_mapped().into(), address.port()),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_dialed_as_the_socket_names_whoever_answers_there() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        assert_eq!(as_seen(address("192.0.2.7:7"), true), address("[::ffff:192.0.2.7]:7"));
        assert_eq!(as_seen(address("192.0.2.7:7"), false), address("192.0.2.7:7"));
        assert_eq!(as_seen(address("[2001:db8::7]:7"), true), address("[2001:db8::7]:7"));
    }
}
