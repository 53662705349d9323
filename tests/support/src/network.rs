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
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::random::Random;

/// The test's own host.
const OWN: u8 = 254;
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

/// A packet, when it is due, and the host that it goes to.
type Flying = (Instant, u8, Vec<u8>);

/// Hosts whose packets go nowhere.
type Cut = Arc<Mutex<Vec<u8>>>;

/// The network. It is gone with the value.
#[derive(Debug)]
pub struct Network {
    name: String,
    subnet: [u8; 2],
    hosts: u8,
    cut: Cut,
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
        let (cut, stop) = (Cut::default(), Arc::default());
        let mut network = Network { name, subnet, hosts, cut, stop, threads: Vec::new() };
        let mut devices = BTreeMap::new();
        for host in (1..=hosts).chain([OWN]) {
            devices.insert(host, Arc::new(network.join(host)?));
        }
        network.switch(devices, quality);
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

    fn switch(&mut self, devices: BTreeMap<u8, Arc<File>>, quality: Quality) {
        let (sender, flying) = sync_channel(FLYING);
        for (&host, device) in &devices {
            let (device, sender, cut, stop) = (device.clone(), sender.clone(), self.cut.clone(), self.stop.clone());
            self.threads.push(std::thread::spawn(move || take_in(host, &device, &sender, quality, &cut, &stop)));
        }
        self.threads.push(std::thread::spawn(move || hand_out(&devices, &flying)));
    }

    /// The namespace of a host, for `ip netns exec`.
    pub fn namespace(&self, host: u8) -> String {
        format!("{}-{host}", self.name)
    }

    /// The address of a host.
    pub fn address(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.subnet[0], self.subnet[1], host)
    }

    /// From now on packets of and to this host are lost, or no longer.
    pub fn set_cut(&self, host: u8, is_cut: bool) {
        let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        cut.retain(|&other| other != host);
        if is_cut {
            cut.push(host);
        }
    }
}

/// Takes packets of a host until the network ends.
fn take_in(host: u8, mut device: &File, sender: &SyncSender<Flying>, quality: Quality, cut: &Cut, stop: &AtomicBool) {
    let mut random = Random::new(u64::from(host));
    let mut packet = [0; PACKET_BYTES];
    while !stop.load(SeqCst) {
        if !is_readable(device) {
            continue;
        }
        let Ok(length) = device.read(&mut packet) else { continue };
        // The destination of an IPv4 packet ends with its byte 19; everything else is of no interest.
        let Some(&to) = packet[..length].get(19).filter(|_| packet[0] >> 4 == 4) else { continue };
        let is_cut = |cut: &Vec<u8>| cut.contains(&host) || cut.contains(&to);
        let is_lost = random.below(1000) < quality.loss_permille;
        if !is_lost && !is_cut(&cut.lock().unwrap_or_else(PoisonError::into_inner)) {
            // All take the same time, so the first in is the first out.
            let _ = sender.try_send((Instant::now() + quality.delay, to, packet[..length].to_vec()));
        }
    }
}

/// Hands packets out when they are due, until nobody takes any in.
fn hand_out(devices: &BTreeMap<u8, Arc<File>>, flying: &Receiver<Flying>) {
    while let Ok((due, to, packet)) = flying.recv() {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if let Some(device) = devices.get(&to) {
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
