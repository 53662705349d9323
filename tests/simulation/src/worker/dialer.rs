//! A client's QUIC side in virtual time: one endpoint with fixed seeds and plain-text cryptography, any number of
//! connections with one stream each. Does what the client's shell does with quinn; decides nothing.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use quinn_proto::{
    ClientConfig, ConnectionError, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig, Event, IdleTimeout,
    StreamEvent, StreamId, TransportConfig, VarInt, WriteError,
};
use ring::hmac;
use ringside_client::core::{LinkId, Lost};
use ringside_core::ids::WorkerId;
use ringside_protocol::limits;
use ringside_protocol::reason::Reason;
use ringside_worker::cid::WorkerConnectionIds;

use super::plaintext::Plaintext;

/// A packet and where it goes.
pub type Packet = (SocketAddr, Vec<u8>);

/// What a connection has to tell.
#[derive(Debug)]
pub enum Heard {
    /// Its handshake is done, and its stream can be written.
    Connected(LinkId),
    /// Bytes of its stream.
    Stream(LinkId, Bytes),
    /// A datagram.
    Datagram(LinkId, Bytes),
    /// It is gone.
    Lost(LinkId, Lost),
}

struct Link {
    id: LinkId,
    quic: quinn_proto::Connection,
    stream: Option<StreamId>,
    pending: VecDeque<Bytes>,
    /// Nobody asks for it any longer: what it still says is not heard.
    deaf: bool,
}

/// The endpoint.
pub struct Dialer {
    endpoint: Endpoint,
    config: ClientConfig,
    links: BTreeMap<usize, Link>,
    scratch: Vec<u8>,
}

impl Dialer {
    /// An endpoint whose every random number comes from `seed`.
    pub fn new(seed: [u8; 32]) -> Dialer {
        let reset_key = hmac::Key::new(hmac::HMAC_SHA256, &seed);
        let ids = WorkerConnectionIds::new(WorkerId(0xc1), &seed);
        let first_ids = WorkerConnectionIds::new(WorkerId(0xf1), &seed);
        let mut endpoint = EndpointConfig::new(Arc::new(reset_key));
        endpoint.cid_generator(move || Box::new(ids.clone())).rng_seed(Some(seed));
        let mut config = ClientConfig::new(Arc::new(Plaintext));
        config.initial_dst_cid_provider(Arc::new(move || {
            quinn_proto::ConnectionIdGenerator::generate_cid(&mut first_ids.clone())
        }));
        config.transport_config(Arc::new(transport()));
        let endpoint = Endpoint::new(Arc::new(endpoint), None, true, None);
        Dialer { endpoint, config, links: BTreeMap::new(), scratch: Vec::new() }
    }

    /// Begins a connection.
    pub fn connect(&mut self, now: Instant, id: LinkId, to: SocketAddr) {
        let connected = self.endpoint.connect(now, self.config.clone(), to, "ringside");
        let (handle, quic) = connected.expect("a worker's address can be connected to");
        self.links.insert(handle.0, Link { id, quic, stream: None, pending: VecDeque::new(), deaf: false });
    }

    /// Writes to a connection's stream.
    pub fn write(&mut self, id: LinkId, bytes: Bytes) {
        if let Some(link) = self.link(id) {
            link.pending.push_back(bytes);
            link.write();
        }
    }

    /// Sends a datagram; dropped where there is no room or no connection.
    pub fn datagram(&mut self, id: LinkId, bytes: Bytes) {
        if let Some(link) = self.link(id) {
            // What does not fit is lost, as datagrams may be.
            let _ = link.quic.datagrams().send(bytes, true);
        }
    }

    /// Closes a connection; nothing more is heard of it.
    pub fn close(&mut self, now: Instant, id: LinkId, reason: Reason) {
        if let Some(link) = self.link(id) {
            link.deaf = true;
            link.quic.close(now, VarInt::from_u32(u32::from(reason.code())), Bytes::new());
        }
    }

    /// The connection itself, for peers that do what no client does.
    pub fn quic(&mut self, id: LinkId) -> Option<(&mut quinn_proto::Connection, Option<StreamId>)> {
        self.link(id).map(|link| (&mut link.quic, link.stream))
    }

    /// The longest round trip that QUIC estimates for a connection.
    pub fn round_trip(&self) -> Option<Duration> {
        self.links.values().map(|link| link.quic.rtt()).max()
    }

    /// Connections that are not drained yet.
    pub fn open_links(&self) -> usize {
        self.links.len()
    }

    /// Takes a packet in.
    pub fn handle_packet(&mut self, now: Instant, from: SocketAddr, bytes: &[u8], sent: &mut Vec<Packet>) {
        self.scratch.clear();
        match self.endpoint.handle(now, from, None, None, BytesMut::from(bytes), &mut self.scratch) {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(link) = self.links.get_mut(&handle.0) {
                    link.quic.handle_event(event);
                }
            }
            Some(DatagramEvent::Response(transmit)) => {
                sent.push((transmit.destination, self.scratch[..transmit.size].to_vec()));
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.endpoint.ignore(incoming),
            None => {}
        }
    }

    /// When [`process`](Dialer::process) has something to do without a packet.
    pub fn next_wake(&mut self) -> Option<Instant> {
        self.links.values_mut().filter_map(|link| link.quic.poll_timeout()).min()
    }

    /// Lets expire what must, and collects what connections say and packets that leave.
    pub fn process(&mut self, now: Instant, sent: &mut Vec<Packet>, heard: &mut Vec<Heard>) {
        let handles: Vec<usize> = self.links.keys().copied().collect();
        for handle in handles {
            let Some(link) = self.links.get_mut(&handle) else { continue };
            if link.quic.poll_timeout().is_some_and(|due| due <= now) {
                link.quic.handle_timeout(now);
            }
            link.listen(heard);
            link.transmit(now, sent);
            let mut drained = false;
            while let Some(event) = link.quic.poll_endpoint_events() {
                drained |= event.is_drained();
                if let Some(event) = self.endpoint.handle_event(ConnectionHandle(handle), event) {
                    link.quic.handle_event(event);
                    link.transmit(now, sent);
                }
            }
            if drained {
                self.links.remove(&handle);
            }
        }
    }

    fn link(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.values_mut().find(|link| link.id == id && !link.deaf)
    }
}

impl Link {
    fn listen(&mut self, heard: &mut Vec<Heard>) {
        while let Some(event) = self.quic.poll() {
            match event {
                Event::Connected => {
                    self.stream = self.quic.streams().open(Dir::Bi);
                    self.say(heard, Heard::Connected(self.id));
                }
                Event::Stream(StreamEvent::Readable { .. }) => self.read(heard),
                Event::Stream(StreamEvent::Writable { .. } | StreamEvent::Available { .. }) => self.write(),
                Event::DatagramReceived => {
                    while let Some(bytes) = self.quic.datagrams().recv() {
                        self.say(heard, Heard::Datagram(self.id, bytes));
                    }
                }
                Event::ConnectionLost { reason } => {
                    // A connection that ends may have left frames unread, the reason among them.
                    self.read(heard);
                    self.say(heard, Heard::Lost(self.id, lost(reason)));
                    self.deaf = true;
                }
                _ => {}
            }
        }
    }

    fn say(&self, heard: &mut Vec<Heard>, what: Heard) {
        if !self.deaf {
            heard.push(what);
        }
    }

    fn read(&mut self, heard: &mut Vec<Heard>) {
        let Some(stream) = self.stream else { return };
        let mut bytes = Vec::new();
        let mut over = false;
        let mut stream = self.quic.recv_stream(stream);
        if let Ok(mut chunks) = stream.read(true) {
            loop {
                match chunks.next(usize::MAX) {
                    Ok(Some(chunk)) => bytes.push(chunk.bytes),
                    Ok(None) => {
                        over = true;
                        break;
                    }
                    Err(_) => break,
                }
            }
            let _ = chunks.finalize();
        }
        for bytes in bytes {
            self.say(heard, Heard::Stream(self.id, bytes));
        }
        if over {
            self.say(heard, Heard::Lost(self.id, Lost::Transport("the server ended the stream".into())));
        }
    }

    fn write(&mut self) {
        let Some(stream) = self.stream else { return };
        while let Some(bytes) = self.pending.front_mut() {
            match self.quic.send_stream(stream).write(bytes) {
                Ok(written) => drop(bytes.split_to(written)),
                Err(WriteError::Blocked) => return,
                Err(_) => bytes.clear(),
            }
            if bytes.is_empty() {
                self.pending.pop_front();
            }
        }
    }

    fn transmit(&mut self, now: Instant, sent: &mut Vec<Packet>) {
        let mut buffer = Vec::new();
        while let Some(transmit) = self.quic.poll_transmit(now, 1, &mut buffer) {
            sent.push((transmit.destination, std::mem::take(&mut buffer)));
        }
    }
}

fn lost(error: ConnectionError) -> Lost {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            let reason = u16::try_from(close.error_code.into_inner()).unwrap_or(u16::MAX);
            Lost::Closed(Reason::from_code(reason), String::from_utf8_lossy(&close.reason).into_owned())
        }
        other => Lost::Transport(other.to_string()),
    }
}

/// As the client's shell sets it up, but that it keeps nothing alive, as browsers do: what the worker sends must do.
fn transport() -> TransportConfig {
    let idle = VarInt::from_u32(limits::CLIENT_IDLE_TIMEOUT.as_millis() as u32);
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_idle_timeout(Some(IdleTimeout::from(idle)));
    config
}
