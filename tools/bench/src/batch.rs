//! Many datagrams a system call, for the floor that servers are compared with. One by one where the system lacks it.

use std::io;
use std::net::{SocketAddr, UdpSocket};

/// Datagrams a system call.
pub const BATCH: usize = 64;
/// Largest datagram, bytes.
const SIZE: usize = 2048;

/// Buffers for a batch either way.
pub struct Batch {
    buffers: Vec<[u8; SIZE]>,
    lengths: [usize; BATCH],
    addresses: [SocketAddr; BATCH],
    filled: usize,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Batch { buffers: vec![[0; SIZE]; BATCH], lengths: [0; BATCH], addresses: [nowhere; BATCH], filled: 0 }
    }

    /// The datagrams that [`Batch::receive`] found, with where they came from.
    pub fn datagrams(&mut self) -> impl Iterator<Item = (SocketAddr, &mut [u8])> {
        let places = self.addresses.iter().zip(&self.lengths);
        self.buffers[..self.filled]
            .iter_mut()
            .zip(places)
            .map(|(buffer, (from, length))| (*from, &mut buffer[..*length]))
    }

    /// Adds a datagram that `write` writes into the buffer it is given, and returns its length. Sends when full.
    pub fn push(
        &mut self,
        socket: &UdpSocket,
        to: SocketAddr,
        write: impl FnOnce(&mut [u8]) -> usize,
    ) -> io::Result<()> {
        self.addresses[self.filled] = to;
        self.lengths[self.filled] = write(&mut self.buffers[self.filled]).min(SIZE);
        self.filled += 1;
        if self.filled == BATCH { self.send(socket) } else { Ok(()) }
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::os::fd::AsRawFd;

    use super::*;

    fn to_raw(address: SocketAddr) -> libc::sockaddr_in {
        let ip = match address {
            SocketAddr::V4(address) => *address.ip(),
            SocketAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
        };
        libc::sockaddr_in {
            sin_family: libc::AF_INET as libc::sa_family_t,
            sin_port: address.port().to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
            sin_zero: [0; 8],
        }
    }

    fn from_raw(address: &libc::sockaddr_in) -> SocketAddr {
        (Ipv4Addr::from(address.sin_addr.s_addr.to_ne_bytes()), u16::from_be(address.sin_port)).into()
    }

    impl Batch {
        /// Takes up to a batch of datagrams that have arrived; says how many.
        pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
            self.lengths = [SIZE; BATCH];
            let received = self.call(BATCH, |headers, names| {
                // SAFETY: every header points to a buffer and a name that live through the call.
                let count = unsafe {
                    libc::recvmmsg(
                        socket.as_raw_fd(),
                        headers.as_mut_ptr(),
                        BATCH as _,
                        libc::MSG_DONTWAIT,
                        std::ptr::null_mut(),
                    )
                };
                (count, headers.iter().map(|header| header.msg_len as usize).collect::<Vec<_>>(), *names)
            });
            let (count, lengths, names) = received;
            self.filled = 0;
            if count < 0 {
                let error = io::Error::last_os_error();
                return if error.kind() == io::ErrorKind::WouldBlock { Ok(0) } else { Err(error) };
            }
            self.filled = count as usize;
            self.lengths.copy_from_slice(&lengths);
            self.addresses.iter_mut().zip(&names).for_each(|(address, name)| *address = from_raw(name));
            Ok(self.filled)
        }

        /// Sends what was pushed. What a full send buffer refuses is lost, as on a network.
        pub fn send(&mut self, socket: &UdpSocket) -> io::Result<()> {
            let filled = std::mem::take(&mut self.filled);
            let count = self.call(filled, |headers, _| {
                // SAFETY: as above.
                unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), filled as _, libc::MSG_DONTWAIT) }
            });
            if count >= 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::WouldBlock { Ok(()) } else { Err(error) }
        }

        fn call<T>(
            &mut self,
            count: usize,
            system: impl FnOnce(&mut [libc::mmsghdr; BATCH], &[libc::sockaddr_in; BATCH]) -> T,
        ) -> T {
            let mut names = self.addresses.map(to_raw);
            // SAFETY: both are plain data for which zero is a value.
            let (mut vectors, mut headers): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) =
                unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
            for at in 0..count {
                vectors[at] = libc::iovec { iov_base: self.buffers[at].as_mut_ptr().cast(), iov_len: self.lengths[at] };
                headers[at].msg_hdr.msg_iov = &mut vectors[at];
                headers[at].msg_hdr.msg_iovlen = 1;
                headers[at].msg_hdr.msg_name = (&raw mut names[at]).cast();
                headers[at].msg_hdr.msg_namelen = std::mem::size_of::<libc::sockaddr_in>() as _;
            }
            system(&mut headers, &names)
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Batch {
    /// Takes up to a batch of datagrams that have arrived; says how many.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.filled = 0;
        while self.filled < BATCH {
            match socket.recv_from(&mut self.buffers[self.filled]) {
                Ok((length, from)) => {
                    self.lengths[self.filled] = length;
                    self.addresses[self.filled] = from;
                    self.filled += 1;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(self.filled)
    }

    /// Sends what was pushed. What a full send buffer refuses is lost, as on a network.
    pub fn send(&mut self, socket: &UdpSocket) -> io::Result<()> {
        for at in 0..std::mem::take(&mut self.filled) {
            match socket.send_to(&self.buffers[at][..self.lengths[at]], self.addresses[at]) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_arrive_as_they_were_pushed() {
        let (here, there) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let (mut out, mut arrived) = (Batch::new(), Batch::new());
        for length in 1..=BATCH + 3 {
            out.push(&here, there.local_addr().unwrap(), |buffer| {
                buffer[..length].fill(length as u8);
                length
            })
            .unwrap();
        }
        out.send(&here).unwrap();
        let mut seen = Vec::new();
        while arrived.receive(&there).unwrap() > 0 {
            for (from, bytes) in arrived.datagrams() {
                assert_eq!(from, here.local_addr().unwrap());
                assert!(bytes.iter().all(|byte| usize::from(*byte) == bytes.len()));
                seen.push(bytes.len());
            }
        }
        assert_eq!(seen, (1..=BATCH + 3).collect::<Vec<_>>(), "loopback delivers in the call that sends");
    }
}
