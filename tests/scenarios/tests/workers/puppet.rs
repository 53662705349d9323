//! A client's half of QUIC without a driver: no packet leaves or arrives but by its owner's word. Blocks; for
//! `spawn_blocking`.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn_proto::congestion::CubicConfig;
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig, Event, StreamId,
    TransportConfig,
};
use ringside_test_support::wait::PATIENCE;

use crate::bench::Bench;
use crate::raw;

/// What it takes to make puppets, anywhere.
#[derive(Clone)]
pub struct Strings {
    config: ClientConfig,
    server: SocketAddr,
}

impl Strings {
    pub fn new(bench: &Bench) -> Strings {
        let mut transport = TransportConfig::default();
        // Nothing but the worker's flow control holds it back.
        let mut congestion = CubicConfig::default();
        congestion.initial_window(1 << 30);
        transport.congestion_controller_factory(Arc::new(congestion)).enable_segmentation_offload(false);
        let mut config = ClientConfig::new(raw::crypto(bench));
        config.transport_config(Arc::new(transport));
        Strings { config, server: bench.address() }
    }
}

/// A connection by hand.
pub struct Puppet {
    endpoint: Endpoint,
    handle: ConnectionHandle,
    pub connection: Connection,
    socket: UdpSocket,
    server: SocketAddr,
}

impl Puppet {
    /// One that has begun a handshake; its first packets wait in [`Puppet::packets`].
    pub fn new(strings: &Strings) -> Puppet {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, false, None);
        let (handle, connection) =
            endpoint.connect(Instant::now(), strings.config.clone(), strings.server, "localhost").unwrap();
        Puppet { endpoint, handle, connection, socket, server: strings.server }
    }

    /// The packets that QUIC wants to send now.
    pub fn packets(&mut self) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        loop {
            let mut packet = Vec::new();
            if self.connection.poll_transmit(Instant::now(), 1, &mut packet).is_none() {
                return packets;
            }
            packets.push(packet);
        }
    }

    pub fn send(&self, packet: &[u8]) {
        self.socket.send_to(packet, self.server).unwrap();
    }

    /// Sends everything that QUIC wants to send now.
    pub fn send_all(&mut self) {
        for packet in self.packets() {
            self.send(&packet);
        }
    }

    /// Takes the next packet in; false where none comes for a while.
    pub fn receive(&mut self) -> bool {
        let mut buffer = [0; 2048];
        let Ok((length, from)) = self.socket.recv_from(&mut buffer) else { return false };
        let (now, bytes) = (Instant::now(), BytesMut::from(&buffer[..length]));
        let event = self.endpoint.handle(now, from, None, None, bytes, &mut Vec::new());
        if let Some(DatagramEvent::ConnectionEvent(_, event)) = event {
            self.connection.handle_event(event);
        }
        while let Some(event) = self.connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(self.handle, event) {
                self.connection.handle_event(event);
            }
        }
        true
    }

    /// Completes the handshake.
    pub fn shake_hands(&mut self) {
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < PATIENCE, "the handshake is never done");
            self.send_all();
            if !self.receive() && self.connection.poll_timeout().is_some_and(|due| due <= Instant::now()) {
                self.connection.handle_timeout(Instant::now());
            }
            while let Some(event) = self.connection.poll() {
                match event {
                    Event::Connected => return self.send_all(),
                    Event::ConnectionLost { reason } => panic!("{reason}"),
                    _ => {}
                }
            }
        }
    }

    /// The one stream.
    pub fn open_stream(&mut self) -> StreamId {
        self.connection.streams().open(Dir::Bi).expect("one stream is allowed")
    }
}
