//! How often, and how much at a time, an address may ask. A policy: time is an argument, nothing is sent or closed here.
//!
//! ```text
//!   within its rate ───────────────► served
//!   up to twice its rate ──────────► refused, by name: that costs a handshake
//!   beyond, or too much at a time ─► closed at once
//! ```

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ringside_worker::bucket::Bucket;
use ringside_worker::endpoint::address_group;

use crate::limits::{RESOLVE_ADDRESS_CONNECTIONS, RESOLVE_ADDRESSES, RESOLVE_BURST, RESOLVE_RATE};

/// How often a full table is looked through for addresses that need not be remembered.
const SWEEP: Duration = Duration::from_secs(1);

/// What becomes of a connection that is not closed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its question is answered.
    Serve,
    /// It is told that it asks too often.
    Refuse,
}

/// Addresses that have asked lately. An IPv6 network of 64 bits is one.
#[derive(Debug, Default)]
pub struct Addresses {
    table: HashMap<IpAddr, Address>,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Address {
    connections: usize,
    /// Questions that may be answered.
    answered: Bucket,
    /// Connections that may be spoken to.
    heard: Bucket,
}

impl Address {
    fn new() -> Address {
        let burst = Duration::from_secs(1) * RESOLVE_BURST / RESOLVE_RATE;
        Address {
            connections: 0,
            answered: Bucket::new(RESOLVE_RATE, burst),
            heard: Bucket::new(2 * RESOLVE_RATE, burst),
        }
    }

    fn need_not_be_remembered(&self, now: Instant) -> bool {
        self.connections == 0 && self.answered.is_full(now) && self.heard.is_full(now)
    }
}

impl Addresses {
    /// A connection has come; `None`: it is to be closed at once. Otherwise [`Addresses::disconnected`] follows it.
    pub fn connected(&mut self, now: Instant, from: IpAddr) -> Option<Verdict> {
        let group = address_group(from);
        if !self.table.contains_key(&group) && self.is_full(now) {
            return None;
        }
        let address = self.table.entry(group).or_insert_with(Address::new);
        if address.connections >= RESOLVE_ADDRESS_CONNECTIONS || !address.heard.take(now) {
            return None;
        }
        address.connections += 1;
        Some(if address.answered.take(now) { Verdict::Serve } else { Verdict::Refuse })
    }

    /// A connection has ended.
    pub fn disconnected(&mut self, from: IpAddr) {
        if let Some(address) = self.table.get_mut(&address_group(from)) {
            address.connections = address.connections.saturating_sub(1);
        }
    }

    fn is_full(&mut self, now: Instant) -> bool {
        if self.table.len() < RESOLVE_ADDRESSES {
            return false;
        }
        if self.swept.is_none_or(|swept| swept + SWEEP <= now) {
            self.swept = Some(now);
            self.table.retain(|_, address| !address.need_not_be_remembered(now));
        }
        self.table.len() >= RESOLVE_ADDRESSES
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + number).into()
    }

    /// Asks and is gone again.
    fn ask(addresses: &mut Addresses, now: Instant, from: IpAddr) -> Option<Verdict> {
        let verdict = addresses.connected(now, from);
        if verdict.is_some() {
            addresses.disconnected(from);
        }
        verdict
    }

    #[test]
    fn who_asks_too_often_is_told_so_and_then_not_spoken_to() {
        let (mut addresses, now) = (Addresses::default(), Instant::now());
        let verdicts: Vec<_> = (0..3 * RESOLVE_BURST).map(|_| ask(&mut addresses, now, address(1))).collect();
        let count = |wanted| verdicts.iter().filter(|verdict| **verdict == wanted).count() as u32;
        assert_eq!(
            [count(Some(Verdict::Serve)), count(Some(Verdict::Refuse)), count(None)],
            [RESOLVE_BURST, RESOLVE_BURST, RESOLVE_BURST]
        );
        assert_eq!(ask(&mut addresses, now, address(2)), Some(Verdict::Serve), "others are not the worse for it");
        let later = now + Duration::from_secs(1);
        let served = (0..100).filter(|_| ask(&mut addresses, later, address(1)) == Some(Verdict::Serve)).count();
        assert_eq!(served as u32, RESOLVE_RATE, "a second later it may ask as often as every second");
    }

    #[test]
    fn connections_of_an_address_at_a_time_are_bounded_and_a_network_of_64_bits_is_one() {
        let (mut addresses, now) = (Addresses::default(), Instant::now());
        let of = |number: u16| IpAddr::V6([0x2001, 0xdb8, 0, 7, 0, 0, 0, number].into());
        for number in 0..RESOLVE_ADDRESS_CONNECTIONS as u16 {
            assert_eq!(addresses.connected(now, of(number)), Some(Verdict::Serve));
        }
        assert_eq!(addresses.connected(now, of(999)), None);
        addresses.disconnected(of(0));
        assert!(addresses.connected(now, of(999)).is_some());
    }

    #[test]
    fn addresses_are_remembered_up_to_the_bound_and_no_longer_than_they_must() {
        let (mut addresses, now) = (Addresses::default(), Instant::now());
        for number in 0..RESOLVE_ADDRESSES as u32 {
            assert_eq!(addresses.connected(now, address(number)), Some(Verdict::Serve));
        }
        assert_eq!(addresses.connected(now, address(u32::MAX >> 8)), None);
        let last = RESOLVE_ADDRESSES as u32 - 1;
        for number in 0..last {
            addresses.disconnected(address(number));
        }
        let later = now + Duration::from_secs(60);
        assert_eq!(ask(&mut addresses, later, address(u32::MAX >> 8)), Some(Verdict::Serve));
        assert_eq!(addresses.table.len(), 2, "the new one, and the one that is still connected");
    }
}
