//! A worker's sockets, each with both its directions.

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Instant;

use crate::outlet::{Destination, Outlet};
use crate::receive::{Datagram, Receiver as Socket};
use crate::transmit::Transmitter;
use crate::worker::LONGEST_SLEEP;

pub(super) struct SocketOutlet {
    pub(super) transmitter: Transmitter,
}

impl Outlet for SocketOutlet {
    fn now(&mut self) -> Instant {
        Instant::now()
    }

    fn buffer(&mut self) -> &mut Vec<u8> {
        self.transmitter.buffer()
    }

    fn commit(&mut self, to: Destination) {
        self.transmitter.commit(to);
    }
}

/// A socket of the worker, both ways.
pub(super) struct Port {
    pub(super) socket: Socket,
    pub(super) out: SocketOutlet,
}

impl Port {
    pub(super) fn new(socket: UdpSocket) -> io::Result<Port> {
        let socket = Socket::new(socket)?;
        let transmitter = Transmitter::new(socket.socket().as_raw_fd(), socket.joins());
        Ok(Port { out: SocketOutlet { transmitter }, socket })
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.socket.socket().as_raw_fd()
    }

    /// Hands over what has arrived, up to so many datagrams and the rest of a batch.
    pub(super) fn receive(&mut self, most: usize, mut take: impl FnMut(Instant, Datagram<'_>)) {
        let mut received = 0;
        loop {
            let now = Instant::now();
            let (datagrams, more) = self.socket.receive(|datagram| take(now, datagram));
            received += datagrams;
            if !more || received >= most {
                return;
            }
        }
    }
}

/// The socket for peers. While nobody is linked it is looked at now and then, or when it was heard: a worker without
/// peers makes no system call for them in a turn.
pub(super) struct PeerPort {
    pub(super) port: Port,
    pub(super) looked: Instant,
    pub(super) heard: bool,
}

impl PeerPort {
    pub(super) fn is_due(&mut self, now: Instant, alone: bool) -> bool {
        let due =
            !alone || std::mem::take(&mut self.heard) || now.saturating_duration_since(self.looked) >= LONGEST_SLEEP;
        if due {
            self.looked = now;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{PEER_TURN_DATAGRAMS, TURN_DATAGRAMS};

    #[test]
    fn a_socket_is_read_in_parts_and_the_rest_waits() {
        let mut port = Port::new(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        let address = port.socket.socket().local_addr().unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        // As large parts of the bounds as every system's buffer holds.
        for (most, sent) in [PEER_TURN_DATAGRAMS / 8, TURN_DATAGRAMS / 32].map(|part| (part, 4 * part)) {
            for _ in 0..sent {
                sender.send_to(&[7; 30], address).unwrap();
            }
            let mut taken = 0;
            port.receive(most, |_, _| taken += 1);
            assert!(taken >= most && taken < 2 * most, "{taken}");
            while taken < sent {
                port.receive(most, |_, _| taken += 1);
            }
            assert_eq!(taken, sent);
        }
    }

    /// While nobody is linked the socket is looked at when it was heard, or its time has come.
    #[test]
    fn a_socket_that_nobody_uses_is_left_alone() {
        let port = Port::new(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        let now = Instant::now();
        let mut peers = PeerPort { port, looked: now, heard: false };
        assert!(!peers.is_due(now + LONGEST_SLEEP / 2, true));
        assert!(peers.is_due(now + LONGEST_SLEEP / 2, false), "somebody is linked");
        assert!(!peers.is_due(now + LONGEST_SLEEP, true));
        peers.heard = true;
        assert!(peers.is_due(now + LONGEST_SLEEP, true) && !peers.is_due(now + LONGEST_SLEEP, true));
        assert!(peers.is_due(now + 2 * LONGEST_SLEEP, true));
    }
}
