//! Batched sending: packets are written straight into a fixed set of buffers and leave with one `sendmmsg` for up
//! to [`BATCH`] of them, each to its own peer. Where the system call is missing they leave one by one.
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

/// Room for one control message: the source address (IPv6 needs 20 bytes and a header of 16, aligned to 8).
const CONTROL_BYTES: usize = 48;

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
    used: usize,
    headers: Box<Headers>,
    one_by_one: bool,
    sent: Sent,
}

/// What `sendmmsg` reads, in fixed places: the pointers between these arrays are set anew at each flush.
struct Headers {
    messages: [libc::mmsghdr; BATCH],
    vectors: [libc::iovec; BATCH],
    names: [libc::sockaddr_storage; BATCH],
    name_lengths: [libc::socklen_t; BATCH],
    controls: [Control; BATCH],
    control_lengths: [usize; BATCH],
}

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

// SAFETY: the raw pointers in `messages` and `vectors` are written and used within one call of `flush` only.
unsafe impl Send for Headers {}

impl Transmitter {
    /// A transmitter over a datagram socket, which must outlive it.
    pub fn new(socket: RawFd) -> Self {
        // SAFETY: all of `Headers` is plain data of the C kind, for which zeroes are a value.
        let headers = unsafe { Box::<Headers>::new_zeroed().assume_init() };
        let buffers = (0..BATCH).map(|_| Vec::with_capacity(PACKET_BYTES)).collect();
        Transmitter { socket, buffers, used: 0, headers, one_by_one: false, sent: Sent::default() }
    }

    /// Sends packets one by one from now on, as where the system lacks `sendmmsg`.
    pub fn send_one_by_one(&mut self) {
        self.one_by_one = true;
    }

    /// The next packet's buffer, empty.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        let buffer = &mut self.buffers[self.used];
        buffer.clear();
        buffer
    }

    /// Adds what the buffer holds to the batch, and sends the batch when it is full.
    pub fn commit(&mut self, to: Destination) {
        let headers = &mut *self.headers;
        headers.name_lengths[self.used] = write_name(&mut headers.names[self.used], to.address);
        headers.control_lengths[self.used] =
            to.source.map_or(0, |source| write_source(&mut headers.controls[self.used], source));
        self.used += 1;
        if self.used == BATCH {
            self.flush();
        }
    }

    /// Sends what is in the batch.
    pub fn flush(&mut self) {
        let count = mem::take(&mut self.used);
        if count == 0 {
            return;
        }
        self.point(count);
        let mut next = 0;
        while next < count {
            next += self.send_from(next, count);
        }
    }

    /// What became of the packets so far.
    pub fn sent(&self) -> Sent {
        self.sent
    }

    fn point(&mut self, count: usize) {
        let headers = &mut *self.headers;
        for index in 0..count {
            let buffer = &mut self.buffers[index];
            headers.vectors[index] = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
            let message = &mut headers.messages[index].msg_hdr;
            message.msg_iov = &mut headers.vectors[index];
            message.msg_iovlen = 1;
            message.msg_name = (&raw mut headers.names[index]).cast();
            message.msg_namelen = headers.name_lengths[index];
            let control_length = headers.control_lengths[index];
            message.msg_controllen = control_length as _;
            message.msg_control =
                if control_length == 0 { std::ptr::null_mut() } else { (&raw mut headers.controls[index]).cast() };
        }
    }

    /// Sends from `next` on; answers how many packets are dealt with, at least one.
    fn send_from(&mut self, next: usize, count: usize) -> usize {
        self.sent.calls += 1;
        let taken = if self.one_by_one {
            // SAFETY: `point` set every pointer of this header to memory that lives until the call returns.
            let result = unsafe { libc::sendmsg(self.socket, &self.headers.messages[next].msg_hdr, 0) };
            if result < 0 { -1 } else { 1 }
        } else {
            let first = &raw mut self.headers.messages[next];
            // SAFETY: as above, for the `count - next` headers from `first` on.
            unsafe { libc::sendmmsg(self.socket, first, (count - next) as libc::c_uint, 0) }
        };
        if taken > 0 {
            self.sent.packets += taken as u64;
            return taken as usize;
        }
        match io::Error::last_os_error().raw_os_error() {
            Some(libc::EINTR) => 0,
            Some(libc::ENOSYS) if !self.one_by_one => {
                self.one_by_one = true;
                0
            }
            Some(libc::EAGAIN | libc::ENOBUFS) => {
                self.sent.dropped += (count - next) as u64;
                count - next
            }
            _ => {
                self.sent.dropped += 1;
                1
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
            write_control(control, libc::IPPROTO_IP, libc::IP_PKTINFO, information)
        }
        IpAddr::V6(source) => {
            let information =
                libc::in6_pktinfo { ipi6_ifindex: 0, ipi6_addr: libc::in6_addr { s6_addr: source.octets() } };
            write_control(control, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, information)
        }
    }
}

fn write_control<T>(control: &mut Control, level: libc::c_int, kind: libc::c_int, value: T) -> usize {
    let size = mem::size_of::<T>() as libc::c_uint;
    // SAFETY: `CMSG_SPACE` and `CMSG_LEN` compute and read nothing.
    let (space, length) = unsafe { (libc::CMSG_SPACE(size) as usize, libc::CMSG_LEN(size) as usize) };
    assert!(space <= CONTROL_BYTES, "a control message outgrew its room");
    control.0 = [0; CONTROL_BYTES];
    let header = (&raw mut *control).cast::<libc::cmsghdr>();
    // SAFETY: `Control` is aligned to 8 as `cmsghdr` is, and holds header and value, as asserted.
    unsafe {
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
        let mut transmitter = Transmitter::new(from.as_raw_fd());
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
        let mut transmitter = Transmitter::new(from.as_raw_fd());
        for address in ["127.0.0.1:0".parse().unwrap(), to.local_addr().unwrap()] {
            transmitter.buffer().push(7);
            transmitter.commit(Destination { address, source: None });
        }
        transmitter.flush();
        assert_eq!(to.recv_from(&mut [0; 10]).unwrap().0, 1);
        assert_eq!((transmitter.sent().packets, transmitter.sent().dropped), (1, 1));
    }

    #[test]
    fn asking_again_takes_back_what_was_written() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut transmitter = Transmitter::new(socket.as_raw_fd());
        transmitter.buffer().push(1);
        assert!(transmitter.buffer().is_empty());
    }
}
