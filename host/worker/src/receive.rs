//! Batched receiving: `recvmmsg` and GRO through `quinn-udp`, split into single datagrams; the receive buffer's size
//! and the kernel's own count of what it dropped. Never waits: an empty socket is an answer.

use std::io::{self, IoSliceMut};
use std::mem;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use quinn_proto::EcnCodepoint;
use quinn_udp::{RecvMeta, UdpSocketState};

/// Receive buffer of a worker's socket, bytes: 20 ms of full load, taken as 100 000 datagrams a second that the
/// kernel accounts with about 1.3 kB each, and the kernel doubles what is asked for.
pub const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// Send buffer of a worker's socket, bytes: a full view to every player of a full worker at once.
pub const SEND_BUFFER_BYTES: usize = 4 << 20;

/// Bytes that one message may hold: 64 coalesced datagrams of the largest size are cut at this by the kernel.
const MESSAGE_BYTES: usize = 65_536;

/// One datagram and where it came from.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// The sender.
    pub from: SocketAddr,
    /// Our address that it was sent to, where the socket is bound to several.
    pub to: Option<IpAddr>,
    /// Its congestion mark.
    pub ecn: Option<EcnCodepoint>,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// A socket's receiving side.
pub struct Receiver {
    socket: UdpSocket,
    state: UdpSocketState,
    storage: Vec<u8>,
    wildcard: bool,
}

impl Receiver {
    /// Prepares a bound socket: non-blocking, unfragmented, with buffers of [`RECEIVE_BUFFER_BYTES`] and
    /// [`SEND_BUFFER_BYTES`] where the system grants them.
    pub fn new(socket: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        grow_buffer(socket.as_raw_fd(), libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, RECEIVE_BUFFER_BYTES);
        grow_buffer(socket.as_raw_fd(), libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, SEND_BUFFER_BYTES);
        let wildcard = socket.local_addr()?.ip().is_unspecified();
        Ok(Receiver { storage: vec![0; quinn_udp::BATCH_SIZE * MESSAGE_BYTES], socket, state, wildcard })
    }

    /// The socket.
    pub fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Whether the system may fragment what is sent, so that MTU discovery would find nothing out.
    pub fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    /// Whether the system takes several packets as one message.
    pub fn joins(&self) -> bool {
        self.state.max_gso_segments() > 1
    }

    /// Hands over one batch of what has arrived. Answers the number of datagrams and whether there may be more.
    pub fn receive(&mut self, mut take: impl FnMut(Datagram<'_>)) -> (usize, bool) {
        let mut meta = [RecvMeta::default(); quinn_udp::BATCH_SIZE];
        let mut parts = self.storage.chunks_exact_mut(MESSAGE_BYTES);
        let mut slices: [IoSliceMut<'_>; quinn_udp::BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(parts.next().unwrap_or(&mut [])));
        let messages = match self.state.recv((&self.socket).into(), &mut slices, &mut meta) {
            Ok(messages) => messages,
            // An ICMP error of some earlier packet, or nothing there: either way nothing to hand over.
            Err(error) => return (0, error.kind() == io::ErrorKind::ConnectionRefused),
        };
        let mut datagrams = 0;
        for (meta, slice) in meta.iter().zip(&slices).take(messages) {
            for bytes in slice[..meta.len].chunks(meta.stride.max(1)) {
                datagrams += 1;
                let ecn = meta.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8));
                take(Datagram { from: meta.addr, to: meta.dst_ip.filter(|_| self.wildcard), ecn, bytes });
            }
        }
        (datagrams, messages == quinn_udp::BATCH_SIZE)
    }

    /// Datagrams that the kernel dropped because the receive buffer was full, since the socket was made.
    pub fn kernel_drops(&self) -> u64 {
        kernel_drops(self.socket.as_raw_fd()).unwrap_or(0)
    }
}

/// Asks for a buffer size, beyond the system's limit where privileges allow it.
fn grow_buffer(socket: RawFd, forced: libc::c_int, plain: libc::c_int, bytes: usize) {
    if !set_option(socket, forced, bytes) {
        set_option(socket, plain, bytes);
    }
}

fn set_option(socket: RawFd, option: libc::c_int, bytes: usize) -> bool {
    let value = bytes as libc::c_int;
    let size = mem::size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the pointer and size describe `value`, which outlives the call.
    unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, option, (&raw const value).cast(), size) == 0 }
}

fn kernel_drops(socket: RawFd) -> Option<u64> {
    /// Index of the drop counter in what `SO_MEMINFO` answers.
    const DROPS: usize = 8;
    let mut values = [0_u32; 9];
    let mut size = mem::size_of_val(&values) as libc::socklen_t;
    // SAFETY: the pointer and size describe `values`, which outlives the call.
    let result =
        unsafe { libc::getsockopt(socket, libc::SOL_SOCKET, libc::SO_MEMINFO, values.as_mut_ptr().cast(), &mut size) };
    (result == 0 && size as usize > DROPS * mem::size_of::<u32>()).then(|| u64::from(values[DROPS]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_come_out_whole_with_their_senders() {
        let mut receiver = Receiver::new(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        let address = receiver.socket().local_addr().unwrap();
        let senders: Vec<UdpSocket> = (0..3).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        for number in 0..60_u8 {
            senders[usize::from(number) % 3].send_to(&[number; 30], address).unwrap();
        }
        let mut seen = Vec::new();
        while seen.len() < 60 {
            receiver.receive(|datagram| {
                let sender = &senders[usize::from(datagram.bytes[0]) % 3];
                assert_eq!(datagram.from, sender.local_addr().unwrap());
                assert_eq!((datagram.bytes.len(), datagram.to), (30, None));
                seen.push(datagram.bytes[0]);
            });
        }
        seen.sort_unstable();
        assert!(seen.iter().copied().eq(0..60));
        assert_eq!(receiver.receive(|_| ()), (0, false));
    }

    #[test]
    fn the_kernels_drops_are_counted() {
        let receiver = Receiver::new(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        assert!(set_option(receiver.socket().as_raw_fd(), libc::SO_RCVBUF, 4096));
        let address = receiver.socket().local_addr().unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..200 {
            sender.send_to(&[0; 1000], address).unwrap();
        }
        assert!(receiver.kernel_drops() > 100);
    }
}
