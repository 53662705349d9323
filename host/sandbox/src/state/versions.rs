//! Which versions of checkpoints this program reads and writes: for the release that has a second one, and until then for the
//! program that tests a handover to it. A release of this library has one, which it reads for ever;
//! a program that has a later one as well says so once, when it begins. It writes the newest, unless who gets them reads
//! older ones alone.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use super::VERSION;

/// A version of checkpoints after this library's own, by what it is made of.
#[derive(Debug, Clone, Copy)]
pub struct Later {
    /// Its number.
    pub version: u16,
    /// Its payload, of a payload of this library's version.
    pub write: fn(Vec<u8>) -> Vec<u8>,
    /// The reverse; none if it is no such payload.
    pub read: fn(&[u8]) -> Option<Vec<u8>>,
}

static LATER: OnceLock<Later> = OnceLock::new();
/// The newest version that may be written.
static NEWEST: AtomicU16 = AtomicU16::new(u16::MAX);

/// This program has another version from now on: before its first checkpoint, once. Whether it has.
pub fn adopt(later: Later) -> bool {
    later.version > VERSION && LATER.set(later).is_ok()
}

/// The versions that this program reads, the oldest and the newest.
pub fn versions() -> (u16, u16) {
    (VERSION, LATER.get().map_or(VERSION, |later| later.version))
}

/// No later version than this one is written from now on; none: the newest is. For as long as somebody is to read what is
/// written here who may know no later one.
pub fn write_at_most(newest: Option<u16>) {
    NEWEST.store(newest.unwrap_or(u16::MAX), Ordering::Relaxed);
}

/// The later version, if it is to be written.
pub(super) fn written() -> Option<&'static Later> {
    LATER.get().filter(|later| later.version <= NEWEST.load(Ordering::Relaxed))
}

/// The later version, if it is this one.
pub(super) fn later(version: u16) -> Option<&'static Later> {
    LATER.get().filter(|later| later.version == version)
}
