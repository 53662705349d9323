//! Which versions of checkpoints this program reads and writes: for the release that has a second one, and until then for the
//! program that tests what two releases do to each other. A release of this library has one, which it reads for ever;
//! a program that has a later one as well says so once, when it begins. It writes the newest, unless somebody who is to read
//! it reads older ones alone: there may be more than one reason for that, and the lowest counts.

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

/// For whom an older version is written than could be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// The process that this one takes over from.
    Predecessor,
    /// The nodes of the cluster.
    Cluster,
}

static LATER: OnceLock<Later> = OnceLock::new();
/// The newest version that may be written, for each of [`For`].
static NEWEST: [AtomicU16; 2] = [AtomicU16::new(u16::MAX), AtomicU16::new(u16::MAX)];

/// This program has another version from now on: before its first checkpoint, once. Whether it has.
pub fn adopt(later: Later) -> bool {
    later.version > VERSION && LATER.set(later).is_ok()
}

/// The versions that this program reads, the oldest and the newest.
pub fn versions() -> (u16, u16) {
    (VERSION, LATER.get().map_or(VERSION, |later| later.version))
}

/// No later version than this one is written from now on for these readers; none: they read whatever is. What is asked for
/// others is as it was.
pub fn write_at_most(readers: For, newest: Option<u16>) {
    NEWEST[readers as usize].store(newest.unwrap_or(u16::MAX), Ordering::Relaxed);
}

/// The version that is written now.
pub fn writes() -> u16 {
    written().map_or(VERSION, |later| later.version)
}

/// The later version, if it is to be written.
pub(super) fn written() -> Option<&'static Later> {
    let most = NEWEST.iter().map(|newest| newest.load(Ordering::Relaxed)).min();
    LATER.get().filter(|later| most.is_none_or(|most| later.version <= most))
}

/// The later version, if it is this one.
pub(super) fn later(version: u16) -> Option<&'static Later> {
    LATER.get().filter(|later| later.version == version)
}
