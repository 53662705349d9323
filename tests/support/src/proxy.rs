//! A link that is worse than loopback: a UDP proxy between clients and a server that drops, delays, doubles, reorders
//! and cuts, by a seed. What happens to a flow's n-th packet depends on the seed, the flow's number and n alone; when
//! it happens is the machine's business.

mod faults;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::Instant;

use faults::Fate;
pub use faults::Faults;

use crate::random::Random;

/// Largest datagram, bytes.
const SIZE: usize = 65_536;

/// What the proxy did, all flows together.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Packets passed on.
    pub passed: u64,
    /// Packets dropped.
    pub dropped: u64,
    /// Packets passed on twice.
    pub doubled: u64,
    /// Packets that were held back.
    pub delayed: u64,
    /// Packets that fell into a cut.
    pub cut: u64,
}

/// A running proxy; ends when dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    server: SocketAddr,
    front: UdpSocket,
    faults: Faults,
    random: Random,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    flows: HashMap<SocketAddr, Flow>,
    tally: Tally,
}

struct Flow {
    socket: Arc<UdpSocket>,
    fates: Fate,
    cut_until: Option<Instant>,
    cuts: u64,
}

impl Proxy {
    /// Starts a proxy in front of `server`.
    ///
    /// # Errors
    /// If no socket can be had.
    pub async fn start(server: SocketAddr, faults: Faults, seed: u64) -> io::Result<Proxy> {
        let front = UdpSocket::bind(("127.0.0.1", 0)).await?;
        let address = front.local_addr()?;
        let shared = Arc::new(Shared { server, front, faults, random: Random::new(seed), state: Mutex::default() });
        let task = tokio::spawn(shared.clone().run());
        Ok(Proxy { address, shared, task })
    }

    /// Where clients go.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts every flow that there is now: nothing passes either way for `length`. Says how many flows were cut.
    pub fn cut_all(&self, length: Duration) -> usize {
        let mut state = self.shared.lock();
        let until = Instant::now() + length;
        state.flows.values_mut().for_each(|flow| flow.cut(until));
        state.flows.len()
    }

    /// Cuts one client's flow. False if that client is unknown.
    pub fn cut(&self, client: SocketAddr, length: Duration) -> bool {
        let until = Instant::now() + length;
        self.shared.lock().flows.get_mut(&client).map(|flow| flow.cut(until)).is_some()
    }

    /// Ends a client's cut before its time.
    pub fn mend(&self, client: SocketAddr) {
        if let Some(flow) = self.shared.lock().flows.get_mut(&client) {
            flow.cut_until = None;
        }
    }

    /// The clients that have sent something.
    pub fn clients(&self) -> Vec<SocketAddr> {
        self.shared.lock().flows.keys().copied().collect()
    }

    /// What was done so far.
    pub fn tally(&self) -> Tally {
        self.shared.lock().tally
    }

    /// Fewest cuts that any flow has seen.
    pub fn fewest_cuts(&self) -> u64 {
        self.shared.lock().flows.values().map(|flow| flow.cuts).min().unwrap_or(0)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn run(self: Arc<Self>) {
        let mut readers = JoinSet::new();
        let mut buffer = vec![0; SIZE];
        loop {
            let Ok((length, client)) = self.front.recv_from(&mut buffer).await else { continue };
            let known = self.lock().flows.get(&client).map(|flow| flow.socket.clone());
            let socket = match known {
                Some(socket) => socket,
                None => match self.open(client).await {
                    Ok(socket) => {
                        readers.spawn(self.clone().read_back(client, socket.clone()));
                        socket
                    }
                    Err(_) => continue,
                },
            };
            for delay in self.fates(client, true) {
                let (socket, packet) = (socket.clone(), buffer[..length].to_vec());
                deliver(delay, async move {
                    let _ = socket.send(&packet).await;
                })
                .await;
            }
        }
    }

    async fn open(&self, client: SocketAddr) -> io::Result<Arc<UdpSocket>> {
        let socket = Arc::new(UdpSocket::bind(("127.0.0.1", 0)).await?);
        socket.connect(self.server).await?;
        let mut state = self.lock();
        let number = state.flows.len() as u64;
        let fates = Fate::new(self.faults, &self.random.fork(number));
        state.flows.insert(client, Flow { socket: socket.clone(), fates, cut_until: None, cuts: 0 });
        Ok(socket)
    }

    async fn read_back(self: Arc<Self>, client: SocketAddr, socket: Arc<UdpSocket>) {
        let mut buffer = vec![0; SIZE];
        loop {
            // A refused packet (the server is down for a moment) is reported here; the flow stays.
            let Ok(length) = socket.recv(&mut buffer).await else { continue };
            for delay in self.fates(client, false) {
                let (shared, packet) = (self.clone(), buffer[..length].to_vec());
                deliver(delay, async move {
                    let _ = shared.front.send_to(&packet, client).await;
                })
                .await;
            }
        }
    }

    /// When copies of the flow's next packet arrive: none if it is lost.
    fn fates(&self, client: SocketAddr, up: bool) -> Vec<Duration> {
        let mut state = self.lock();
        let State { flows, tally } = &mut *state;
        let Some(flow) = flows.get_mut(&client) else { return Vec::new() };
        if flow.cut_until.is_some_and(|until| Instant::now() < until) {
            tally.cut += 1;
            return Vec::new();
        }
        let delays = flow.fates.next(up);
        match delays.len() {
            0 => tally.dropped += 1,
            1 => tally.passed += 1,
            _ => tally.doubled += 1,
        }
        tally.delayed += u64::from(delays.iter().any(|delay| !delay.is_zero()));
        delays
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flow {
    fn cut(&mut self, until: Instant) {
        self.cut_until = Some(until);
        self.cuts += 1;
    }
}

async fn deliver(delay: Duration, send: impl Future<Output = ()> + Send + 'static) {
    if delay.is_zero() {
        send.await;
    } else {
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            send.await;
        });
    }
}

#[cfg(test)]
mod tests;
