//! Ports that a test has for itself for as long as it runs, whether something is bound to them or not: those below the ones that
//! the system gives out, divided among the tests that run beside each other.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// The first port that is given.
const FIRST: u16 = 12_000;
/// How many a test has, and how many tests have some.
const EACH: u16 = 500;
const TESTS: u16 = 40;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port for datagrams on loopback that nobody else has.
///
/// # Panics
/// If there is none.
pub fn reserve() -> u16 {
    // Numbered by nextest; without it tests run in one process, which counts.
    let slot = std::env::var("NEXTEST_TEST_GLOBAL_SLOT").ok().and_then(|slot| slot.parse::<u16>().ok());
    let first = FIRST + slot.unwrap_or_default() % TESTS * EACH;
    let is_free = |port: &u16| UdpSocket::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let mut candidates = (0..EACH).map(|_| first + NEXT.fetch_add(1, Ordering::Relaxed) % EACH);
    candidates.find(is_free).unwrap_or_else(|| panic!("all of {EACH} ports from {first} on are in use"))
}
