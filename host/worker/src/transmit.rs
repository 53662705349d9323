//! Batched sending: packets are written straight into a fixed set of buffers and leave with one `sendmmsg` for up
//! to [`BATCH`] of them, each to its own peer. Packets of one size that go to one peer, one after the other, are one message
//! of it (`UDP_SEGMENT`): they cross the kernel together, and a network card that can takes them apart. Where a system call or
//! a way out cannot do the one or the other, packets leave one by one.
//!
//! Never blocks and never queues: a packet that the socket refuses is dropped and counted, since QUIC repairs it.

use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;

use crate::outlet::Destination;

/// Packets that leave with one system call.
pub const BATCH: usize = 64;

/// Room of a packet buffer, bytes: the largest UDP payload that MTU discovery tries fits.
const PACKET_BYTES: usize = 2048;

/// Room for control messages: the source address (IPv6 needs 20 bytes and a header of 16, aligned to 8), and the size of segments
/// (2 bytes, the same).
const CONTROL_BYTES: usize = 64;

/// Bytes of packets that are one message, at most: with their headers they are one IP packet until they are taken apart.
const RUN_BYTES: usize = 65_000;

/// How many messages of several packets may be refused in a row before no more are tried. A single one may be because a packet
/// in it is larger than the way bears, as those are that try that.
const REFUSALS: u32 = 64;

/// What became of the packets so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Packets that the kernel took.
    pub packets: u64,
    /// System calls made.
    pub calls: u64,
    /// Packets that the kernel refused.
    pub dropped: u64,
}

/// A batch of outgoing packets and the socket that they leave by.
pub struct Transmitter {
    socket: RawFd,
    buffers: Vec<Vec<u8>>,
    destinations: Vec<Destination>,
    headers: Box<Headers>,
    one_by_one: bool,
    /// Whether packets to one peer are one message, and how many such were refused since one was taken.
    joins: bool,
    refused: u32,
    sent: Sent,
}

/// What `sendmmsg` reads, in fixed places: the pointers between these arrays are set anew at each flush.
struct Headers {
    messages: [libc::mmsghdr; BATCH],
    vectors: [libc::iovec; BATCH],
    names: [libc::sockaddr_storage; BATCH],
    controls: [Control; BATCH],
    /// How many packets each message is.
    packets: [usize; BATCH],
}

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

// SAFETY: the raw pointers in `messages` and `vectors` are written and used within one call of `flush` only.
unsafe impl Send for Headers {}

impl Transmitter {
    /// A transmitter over a datagram socket, which must outlive it.
    ///
    /// Whether it `joins` packets is to be false where the system does not know `UDP_SEGMENT`: an old one passes it over, and what
    /// was several packets is one.
    pub fn new(socket: RawFd, joins: bool) -> Self {
        // SAFETY: all of `Headers` is plain data of the C kind, for which zeroes are a value.
        let headers = unsafe { Box::<Headers>::new_zeroed().assume_init() };
        let buffers = (0..BATCH).map(|_| Vec::with_capacity(PACKET_BYTES)).collect();
        let destinations = Vec::with_capacity(BATCH);
        Transmitter {
            socket,
            buffers,
            destinations,
            headers,
            one_by_one: false,
            joins,
            refused: if joins { 0 } else { REFUSALS },
            sent: Sent::default(),
        }
    }

    /// Sends packets one by one from now on, as where the system lacks `sendmmsg`.
    pub fn send_one_by_one(&mut self) {
        (self.one_by_one, self.joins) = (true, false);
    }

    /// The next packet's buffer, empty.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        let buffer = &mut self.buffers[self.destinations.len()];
        buffer.clear();
        buffer
    }

    /// Adds what the buffer holds to the batch, and sends the batch when it is full.
    pub fn commit(&mut self, to: Destination) {
        self.destinations.push(to);
        if self.destinations.len() == BATCH {
            self.flush();
        }
    }

    /// Sends what is in the batch.
    pub fn flush(&mut self) {
        let mut next = 0;
        while next < self.destinations.len() {
            let messages = self.point(next);
            next += self.send(messages);
        }
        self.destinations.clear();
        self.joins = self.refused < REFUSALS && !self.one_by_one;
    }

    /// What became of the packets so far.
    pub fn sent(&self) -> Sent {
        self.sent
    }

    /// Prepares messages of the packets from this one on; how many.
    fn point(&mut self, mut next: usize) -> usize {
        let mut messages = 0;
        while next < self.destinations.len() {
            let (to, run) = (self.destinations[next], if self.joins { self.run_from(next) } else { 1 });
            let headers = &mut *self.headers;
            for (vector, buffer) in headers.vectors[next..next + run].iter_mut().zip(&mut self.buffers[next..]) {
                *vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
            }
            let (name, control) = (&mut headers.names[messages], &mut headers.controls[messages]);
            let source = to.source.map_or(0, |source| write_source(control, source));
            let size = self.buffers[next].len() as u16;
            let segments =
                if run > 1 { write_control(control, source, libc::SOL_UDP, libc::UDP_SEGMENT, size) } else { 0 };
            let message = &mut headers.messages[messages].msg_hdr;
            message.msg_iov = headers.vectors[next..].as_mut_ptr();
            message.msg_iovlen = run as _;
            message.msg_namelen = write_name(name, to.address);
            message.msg_name = (&raw mut *name).cast();
            message.msg_controllen = (source + segments) as _;
            message.msg_control =
                if message.msg_controllen == 0 { std::ptr::null_mut() } else { (&raw mut *control).cast() };
            headers.packets[messages] = run;
            (messages, next) = (messages + 1, next + run);
        }
        messages
    }

    /// How many packets from this one on may be one message: to one peer, each as large as the first, but for the last, which
    /// may be smaller.
    fn run_from(&self, first: usize) -> usize {
        let (to, size) = (self.destinations[first], self.buffers[first].len());
        let most = (RUN_BYTES / size.max(1)).clamp(1, self.destinations.len() - first);
        let mut run = 1;
        while run < most && self.destinations[first + run] == to && self.buffers[first + run].len() <= size {
            run += 1;
            if self.buffers[first + run - 1].len() < size {
                break;
            }
        }
        run
    }

    /// Sends these messages; answers how many packets are dealt with, none if it is to be tried again.
    fn send(&mut self, messages: usize) -> usize {
        self.sent.calls += 1;
        let taken = if self.one_by_one {
            // SAFETY: `point` set every pointer of this header to memory that lives until the call returns.
            let result = unsafe { libc::sendmsg(self.socket, &self.headers.messages[0].msg_hdr, 0) };
            if result < 0 { -1 } else { 1 }
        } else {
            let first = &raw mut self.headers.messages[0];
            // SAFETY: as above, for so many headers from the first on.
            unsafe { libc::sendmmsg(self.socket, first, messages as libc::c_uint, 0) }
        };
        let packets = |messages: usize| self.headers.packets[..messages].iter().sum::<usize>();
        if taken > 0 {
            if self.headers.packets[..taken as usize].iter().any(|run| *run > 1) {
                self.refused = 0;
            }
            let taken = packets(taken as usize);
            self.sent.packets += taken as u64;
            return taken;
        }
        let is_run = self.headers.packets[0] > 1;
        match io::Error::last_os_error().raw_os_error() {
            Some(libc::EINTR) => 0,
            Some(libc::ENOSYS) if !self.one_by_one => {
                self.send_one_by_one();
                0
            }
            Some(libc::EAGAIN | libc::ENOBUFS) => {
                let dropped = packets(messages);
                self.sent.dropped += dropped as u64;
                dropped
            }
            // The way out may be unable to, or a packet too large: the rest leaves by itself.
            Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE | libc::ENOPROTOOPT | libc::EOPNOTSUPP) if is_run => {
                self.joins = false;
                self.refused += 1;
                if self.refused == REFUSALS {
                    tracing::info!("the system does not take packets together: they leave one by one from now on");
                }
                0
            }
            _ => {
                let dropped = packets(1);
                self.sent.dropped += dropped as u64;
                dropped
            }
        }
    }
}

/// Writes a socket address as the kernel wants it; answers its length.
fn write_name(name: &mut libc::sockaddr_storage, address: SocketAddr) -> libc::socklen_t {
    match address {
        SocketAddr::V4(address) => {
            let plain = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: a `sockaddr_storage` is larger than and at least as aligned as every socket address.
            unsafe { (&raw mut *name).cast::<libc::sockaddr_in>().write(plain) };
            mem::size_of::<libc::sockaddr_in>() as libc::socklen_t
        }
        SocketAddr::V6(address) => {
            let plain = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: address.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                sin6_scope_id: address.scope_id(),
            };
            // SAFETY: as above.
            unsafe { (&raw mut *name).cast::<libc::sockaddr_in6>().write(plain) };
            mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t
        }
    }
}

/// Writes the control message that sets a packet's source address; answers its length.
fn write_source(control: &mut Control, source: IpAddr) -> usize {
    match source {
        IpAddr::V4(source) => {
            let information = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(source.octets()) },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            write_control(control, 0, libc::IPPROTO_IP, libc::IP_PKTINFO, information)
        }
        IpAddr::V6(source) => {
            let information =
                libc::in6_pktinfo { ipi6_ifindex: 0, ipi6_addr: libc::in6_addr { s6_addr: source.octets() } };
            write_control(control, 0, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, information)
        }
    }
}

/// Writes a control message behind others; answers its length.
fn write_control<T>(control: &mut Control, behind: usize, level: libc::c_int, kind: libc::c_int, value: T) -> usize {
    let size = mem::size_of::<T>() as libc::c_uint;
    // SAFETY: `CMSG_SPACE` and `CMSG_LEN` compute and read nothing.
    let (space, length) = unsafe { (libc::CMSG_SPACE(size) as usize, libc::CMSG_LEN(size) as usize) };
    assert!(behind + space <= CONTROL_BYTES && behind.is_multiple_of(8), "control messages outgrew their room");
    control.0[behind..behind + space].fill(0);
    // SAFETY: `Control` is aligned to 8 as `cmsghdr` is, and so is what is behind a control message; it holds header and value, as
    // asserted.
    unsafe {
        let header = (&raw mut *control).cast::<u8>().add(behind).cast::<libc::cmsghdr>();
        (*header).cmsg_level = level;
        (*header).cmsg_type = kind;
        (*header).cmsg_len = length as _;
        libc::CMSG_DATA(header).cast::<T>().write_unaligned(value);
    }
    space
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    use super::*;

    fn exchange(bind: &str, source: Option<IpAddr>, one_by_one: bool) {
        let from = UdpSocket::bind(bind).unwrap();
        let to = UdpSocket::bind(bind).unwrap();
        to.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut transmitter = Transmitter::new(from.as_raw_fd(), true);
        if one_by_one {
            transmitter.send_one_by_one();
        }
        let packets = BATCH + 3;
        for number in 0..packets {
            transmitter.buffer().extend_from_slice(&[number as u8; 40]);
            transmitter.commit(Destination { address: to.local_addr().unwrap(), source });
        }
        transmitter.flush();
        let mut buffer = [0; 100];
        for number in 0..packets {
            let (length, sender) = to.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], &[number as u8; 40]);
            assert_eq!(sender, from.local_addr().unwrap());
        }
        let calls = if one_by_one { packets as u64 } else { 2 };
        assert_eq!(transmitter.sent(), Sent { packets: packets as u64, calls, dropped: 0 });
    }

    #[test]
    fn batches_arrive_complete_and_in_order() {
        exchange("127.0.0.1:0", None, false);
    }

    #[test]
    fn packets_arrive_one_by_one_too() {
        exchange("127.0.0.1:0", None, true);
    }

    #[test]
    fn a_source_address_can_be_named() {
        exchange("127.0.0.1:0", Some("127.0.0.1".parse().unwrap()), false);
    }

    #[test]
    fn ipv6_works_where_the_machine_has_it() {
        if UdpSocket::bind("[::1]:0").is_ok() {
            exchange("[::1]:0", Some("::1".parse().unwrap()), false);
        }
    }

    #[test]
    fn a_refused_packet_is_counted_and_the_rest_goes_on() {
        let from = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = UdpSocket::bind("127.0.0.1:0").unwrap();
        to.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut transmitter = Transmitter::new(from.as_raw_fd(), true);
        for address in ["127.0.0.1:0".parse().unwrap(), to.local_addr().unwrap()] {
            transmitter.buffer().push(7);
            transmitter.commit(Destination { address, source: None });
        }
        transmitter.flush();
        assert_eq!(to.recv_from(&mut [0; 10]).unwrap().0, 1);
        assert_eq!((transmitter.sent().packets, transmitter.sent().dropped), (1, 1));
    }

    /// A socket with a transmitter over it, and two peers.
    fn two_peers() -> (UdpSocket, [UdpSocket; 2], Transmitter) {
        let from = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        to.iter().for_each(|socket| socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap());
        let transmitter = Transmitter::new(from.as_raw_fd(), true);
        (from, to, transmitter)
    }

    /// Packets of these sizes to these of two peers.
    fn send_all(transmitter: &mut Transmitter, to: &[UdpSocket; 2], packets: &[(usize, usize)]) {
        for (number, (peer, size)) in packets.iter().enumerate() {
            transmitter.buffer().resize(*size, number as u8);
            let source = Some("127.0.0.1".parse().unwrap());
            transmitter.commit(Destination { address: to[*peer].local_addr().unwrap(), source });
        }
        transmitter.flush();
        for (number, (peer, size)) in packets.iter().enumerate() {
            let mut buffer = [0; 2_000];
            let length = to[*peer].recv(&mut buffer).unwrap();
            assert_eq!((length, buffer[0], buffer[length - 1]), (*size, number as u8, number as u8));
        }
    }

    #[test]
    fn packets_to_one_peer_are_one_message_and_arrive_as_they_were() {
        let (_from, to, mut transmitter) = two_peers();
        // Runs: of four, the last smaller; of one, for the next is larger; of two; to another; and back.
        let packets =
            [(0, 1_200), (0, 1_200), (0, 1_200), (0, 700), (0, 30), (0, 900), (0, 900), (1, 900), (0, 900), (0, 900)];
        for joins in [true, false] {
            transmitter.joins = joins;
            let before = transmitter.sent().packets;
            send_all(&mut transmitter, &to, &packets);
            assert_eq!(transmitter.sent().packets - before, packets.len() as u64);
        }
        assert_eq!((transmitter.sent().calls, transmitter.sent().dropped), (2, 0));
        transmitter.destinations = packets
            .map(|(peer, _)| {
                let address = to[peer].local_addr().unwrap();
                Destination { address, source: None }
            })
            .to_vec();
        for (buffer, (_, size)) in transmitter.buffers.iter_mut().zip(packets) {
            buffer.resize(size, 0);
        }
        transmitter.joins = true;
        assert_eq!(transmitter.point(0), 5);
        assert_eq!(transmitter.headers.packets[..5], [4, 1, 2, 1, 2]);
        // As many as one packet of IP holds, until they are taken apart.
        transmitter.destinations = vec![transmitter.destinations[0]; BATCH];
        transmitter.buffers.iter_mut().for_each(|buffer| buffer.resize(1_452, 0));
        assert_eq!(transmitter.point(0), 2);
        assert_eq!(transmitter.headers.packets[..2], [44, 20]);
        transmitter.destinations.clear();
    }

    #[test]
    fn where_runs_are_refused_their_packets_leave_by_themselves() {
        let (from, to, mut transmitter) = two_peers();
        // Without checksums the system takes no runs.
        let on: libc::c_int = 1;
        // SAFETY: an option of a socket that is open, of the size that is said.
        let set = unsafe {
            let size = mem::size_of::<libc::c_int>() as libc::socklen_t;
            libc::setsockopt(from.as_raw_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, (&raw const on).cast(), size)
        };
        assert_eq!(set, 0);
        for refused in 1..=REFUSALS {
            assert!(transmitter.joins, "it may have been a packet that is too large");
            send_all(&mut transmitter, &to, &[(0, 500), (0, 500), (1, 500)]);
            assert_eq!(transmitter.refused, refused);
        }
        assert!(!transmitter.joins);
        assert_eq!((transmitter.sent().packets, transmitter.sent().dropped), (3 * u64::from(REFUSALS), 0));
    }

    #[test]
    fn asking_again_takes_back_what_was_written() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut transmitter = Transmitter::new(socket.as_raw_fd(), true);
        transmitter.buffer().push(1);
        assert!(transmitter.buffer().is_empty());
    }
}
