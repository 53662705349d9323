//! A network of hosts in namespaces of their own, joined by a switch in the test process that delays and loses their packets:
//! what netem does, on kernels that have none. Each host, the test's own included, has a TUN device; needs root,
//! `/dev/net/tun` and `ip` of iproute2. Where they are not to be had, the test that wants it is skipped and says why.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::random::Random;

/// The test's own host.
pub const OWN: u8 = 254;
/// Packets on their way; further ones wait in the kernel, which drops them in the end.
const FLYING: usize = 16_384;
/// The largest packet of a device of the usual size, and room.
const PACKET_BYTES: usize = 2048;

/// What the network does to a packet between two hosts.
#[derive(Debug, Clone, Copy)]
pub struct Quality {
    /// Time that it takes one way.
    pub delay: Duration,
    /// How many of a thousand are lost.
    pub loss_permille: u64,
}

/// Which packets go nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// All of and to a host.
    Host(u8),
    /// All that one host sends to another.
    OneWay {
        /// Who sends.
        from: u8,
        /// Who does not hear it.
        to: u8,
    },
    /// UDP of and to a port of a host.
    Port {
        /// Which host.
        host: u8,
        /// Which of its ports.
        port: u16,
    },
}

impl Cut {
    fn holds_back(&self, packet: &Packet<'_>) -> bool {
        match *self {
            Cut::Host(host) => packet.from == host || packet.to == host,
            Cut::OneWay { from, to } => (packet.from, packet.to) == (from, to),
            Cut::Port { host, port } => packet
                .udp
                .is_some_and(|udp| (packet.from, udp.from) == (host, port) || (packet.to, udp.to) == (host, port)),
        }
    }
}

/// An IPv4 packet between two hosts; everything else is of no interest.
struct Packet<'a> {
    from: u8,
    to: u8,
    udp: Option<Datagram<'a>>,
}

/// UDP in one piece: where a packet was cut into several, only its first has ports.
#[derive(Clone, Copy)]
struct Datagram<'a> {
    from: u16,
    to: u16,
    payload: &'a [u8],
}

impl Packet<'_> {
    fn parse(bytes: &[u8]) -> Option<Packet<'_>> {
        const UDP: u8 = 17;
        let (head, length) = (bytes.first_chunk::<20>()?, usize::from(bytes[0] & 15) * 4);
        if head[0] >> 4 != 4 {
            return None;
        }
        let is_later_piece = u16::from_be_bytes([head[6], head[7]]) & 0x1fff != 0;
        let udp = bytes.get(length..).filter(|_| head[9] == UDP && !is_later_piece).and_then(|udp| {
            let port = |at: usize| Some(u16::from_be_bytes([*udp.get(at)?, *udp.get(at + 1)?]));
            Some(Datagram { from: port(0)?, to: port(2)?, payload: udp.get(8..)? })
        });
        Some(Packet { from: head[15], to: head[19], udp })
    }
}

/// A packet, when it is due, and the host that it goes to.
type Flying = (Instant, u8, Vec<u8>);

/// Packets that hosts sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Packets {
    /// All of them.
    pub sent: u64,
    /// Those of them that were lost by chance.
    pub lost: u64,
}

/// What tests say to the switch while it runs, and what it keeps for them.
#[derive(Debug, Default)]
struct Switch {
    cuts: Vec<Cut>,
    /// How many of a thousand packets are lost, beside those that the network loses always.
    loss_permille: u64,
    packets: Packets,
    /// Whose datagrams are kept: a host and its port.
    tapped: Option<(u8, u16)>,
    kept: Vec<Vec<u8>>,
}

impl Switch {
    /// Whether the packet goes on, by chance and where no way is cut.
    fn pass(&mut self, packet: &Packet<'_>, always_permille: u64, random: &mut Random) -> bool {
        if let Some(udp) = packet.udp.filter(|udp| self.tapped == Some((packet.from, udp.from))) {
            self.kept.push(udp.payload.to_vec());
        }
        let is_lost = random.below(1000) < always_permille || random.below(1000) < self.loss_permille;
        self.packets.sent += 1;
        self.packets.lost += u64::from(is_lost);
        !is_lost && !self.holds_back(packet)
    }

    /// Whether a cut came while the packet was on its way.
    fn cuts(&self, bytes: &[u8]) -> bool {
        !self.cuts.is_empty() && Packet::parse(bytes).is_some_and(|packet| self.holds_back(&packet))
    }

    fn holds_back(&self, packet: &Packet<'_>) -> bool {
        self.cuts.iter().any(|cut| cut.holds_back(packet))
    }
}

/// The network. It is gone with the value.
#[derive(Debug)]
pub struct Network {
    name: String,
    subnet: [u8; 2],
    hosts: u8,
    switch: Arc<Mutex<Switch>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Network {
    /// A network of so many hosts, numbered from 1 on.
    ///
    /// # Errors
    /// Why this machine gives none.
    pub fn new(hosts: u8, quality: Quality) -> Result<Network, String> {
        let process = std::process::id();
        // Names of interfaces have 15 characters; other networks of the same machine have other processes.
        let name = format!("rs{:x}", process & 0xff_ffff);
        let subnet = [200 + (process % 50) as u8, (process / 50 % 250) as u8];
        let (switch, stop) = (Arc::default(), Arc::default());
        let mut network = Network { name, subnet, hosts, switch, stop, threads: Vec::new() };
        let mut devices = BTreeMap::new();
        for host in (1..=hosts).chain([OWN]) {
            devices.insert(host, Arc::new(network.join(host)?));
        }
        network.run(devices, quality);
        Ok(network)
    }

    /// Makes a host with one device, and answers the switch's end of it.
    fn join(&self, host: u8) -> Result<File, String> {
        let interface = format!("{}h{host}", self.name);
        let device = open_device(&interface)?;
        let address = format!("{}/24", self.address(host));
        if host == OWN {
            ip(&["address", "add", &address, "dev", &interface])?;
            ip(&["link", "set", &interface, "up"])?;
            return Ok(device);
        }
        let namespace = self.namespace(host);
        ip(&["netns", "add", &namespace])?;
        ip(&["link", "set", &interface, "netns", &namespace])?;
        let within = |arguments: &[&str]| ip(&[&["-n", &namespace], arguments].concat());
        within(&["address", "add", &address, "dev", &interface])?;
        within(&["link", "set", &interface, "up"])?;
        within(&["link", "set", "lo", "up"])?;
        Ok(device)
    }

    fn run(&mut self, devices: BTreeMap<u8, Arc<File>>, quality: Quality) {
        let (sender, flying) = sync_channel(FLYING);
        for (&host, device) in &devices {
            let (device, sender, switch, stop) =
                (device.clone(), sender.clone(), self.switch.clone(), self.stop.clone());
            self.threads.push(std::thread::spawn(move || take_in(host, &device, &sender, quality, &switch, &stop)));
        }
        let switch = self.switch.clone();
        self.threads.push(std::thread::spawn(move || hand_out(&devices, &flying, &switch)));
    }

    /// The namespace of a host, for `ip netns exec`.
    pub fn namespace(&self, host: u8) -> String {
        format!("{}-{host}", self.name)
    }

    /// The address of a host.
    pub fn address(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.subnet[0], self.subnet[1], host)
    }

    /// From now on these packets are lost, or no longer.
    pub fn set_cut(&self, cut: Cut, is_cut: bool) {
        let mut switch = self.lock();
        switch.cuts.retain(|&other| other != cut);
        if is_cut {
            switch.cuts.push(cut);
        }
    }

    /// From now on so many of a thousand packets are lost, beside those that the network loses always.
    pub fn set_loss(&self, permille: u64) {
        self.lock().loss_permille = permille;
    }

    /// Packets so far.
    pub fn packets(&self) -> Packets {
        self.lock().packets
    }

    /// From now on what a host sends from this port is kept, lost or not.
    pub fn tap(&self, host: u8, port: u16) {
        self.lock().tapped = Some((host, port));
    }

    /// The datagrams that were kept since they were asked for last, without their headers.
    pub fn tapped(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.lock().kept)
    }

    fn lock(&self) -> MutexGuard<'_, Switch> {
        self.switch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes packets of a host until the network ends.
fn take_in(
    host: u8,
    mut device: &File,
    sender: &SyncSender<Flying>,
    quality: Quality,
    switch: &Mutex<Switch>,
    stop: &AtomicBool,
) {
    let mut random = Random::new(u64::from(host));
    let mut bytes = [0; PACKET_BYTES];
    while !stop.load(SeqCst) {
        if !is_readable(device) {
            continue;
        }
        let Ok(length) = device.read(&mut bytes) else { continue };
        let Some(packet) = Packet::parse(&bytes[..length]) else { continue };
        let goes_on = {
            let mut switch = switch.lock().unwrap_or_else(PoisonError::into_inner);
            switch.pass(&packet, quality.loss_permille, &mut random)
        };
        if goes_on {
            // All take the same time, so the first in is the first out.
            let _ = sender.try_send((Instant::now() + quality.delay, packet.to, bytes[..length].to_vec()));
        }
    }
}

/// Hands packets out when they are due, until nobody takes any in. Where a cut came meanwhile, they are lost with it.
fn hand_out(devices: &BTreeMap<u8, Arc<File>>, flying: &Receiver<Flying>, switch: &Mutex<Switch>) {
    while let Ok((due, to, packet)) = flying.recv() {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let is_cut = switch.lock().unwrap_or_else(PoisonError::into_inner).cuts(&packet);
        if let Some(device) = devices.get(&to).filter(|_| !is_cut) {
            let _ = (&**device).write(&packet);
        }
    }
}

/// Waits for a packet, a little while.
fn is_readable(device: &File) -> bool {
    let mut poll = libc::pollfd { fd: device.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one descriptor, which outlives the call.
    unsafe { libc::poll(&raw mut poll, 1, 50) > 0 && poll.revents & libc::POLLIN != 0 }
}

/// A TUN device of this name, packets without a header of its own.
fn open_device(name: &str) -> Result<File, String> {
    const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
    let path = "/dev/net/tun";
    let device = OpenOptions::new().read(true).write(true).open(path).map_err(|error| format!("{path}: {error}"))?;
    // SAFETY: all zeros are a request without a name and flags.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes().take(libc::IFNAMSIZ - 1)) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: an open device and a request that outlives the call.
    let made = unsafe { libc::ioctl(device.as_raw_fd(), TUNSETIFF as _, &raw mut request) };
    if made == 0 { Ok(device) } else { Err(format!("a TUN device: {}", std::io::Error::last_os_error())) }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        for host in 1..=self.hosts {
            let _ = ip(&["netns", "delete", &self.namespace(host)]);
        }
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let said = arguments.join(" ");
    let output =
        Command::new("ip").args(arguments).output().map_err(|error| format!("no `ip` of iproute2: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("`ip {said}`: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
