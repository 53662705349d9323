//! The model of the host: what the imports do natively. It is installed in the thread for the length of one call.

use std::cell::RefCell;
use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::types::{LogLevel, Slot};

/// Least delay of a timer, µs: hosts have the same.
const TIMER_DELAY_US: u64 = 1_000;

/// Something that a call put out, as raw bytes, in the order in which the game asked for it. A broadcast is one `Send`
/// for each joined slot, ascending, and a view for everybody one `View` each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// A reliable message; its number counts the slot's messages from 1 since the join.
    Send {
        /// To whom.
        slot: Slot,
        /// Which.
        number: u64,
        /// What the client gets.
        body: Vec<u8>,
    },
    /// An unreliable message.
    Datagram {
        /// To whom.
        slot: Slot,
        /// What the client gets.
        body: Vec<u8>,
    },
    /// A slot's view was written.
    View {
        /// Whose.
        slot: Slot,
        /// The view.
        body: Vec<u8>,
    },
    /// The row of statistics was written.
    Stats {
        /// The row.
        row: Vec<u8>,
    },
    /// An event for the outside.
    Event {
        /// Its bytes.
        body: Vec<u8>,
    },
    /// A log line.
    Log {
        /// How much it matters.
        level: LogLevel,
        /// The line.
        line: String,
    },
    /// A message for another session.
    Signal {
        /// `game/key`.
        session: String,
        /// Its bytes.
        body: Vec<u8>,
    },
    /// A player's stay is to end.
    Kick {
        /// Whose.
        slot: Slot,
        /// Why.
        reason: String,
    },
    /// The session is over.
    Finish {
        /// Its result.
        outcome: Vec<u8>,
    },
}

/// The host's side of a session.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) now_us: u64,
    /// Joined slots, with the number of the last reliable message to each.
    pub(crate) joined: BTreeMap<Slot, u64>,
    /// Armed timers by due time and id.
    pub(crate) timers: BTreeMap<(u64, u64), ()>,
    /// What the call put out so far.
    pub(crate) effects: Vec<Effect>,
    timers_set: u64,
    random: ChaCha8Rng,
}

thread_local! {
    static INSTALLED: RefCell<Option<Host>> = const { RefCell::new(None) };
}

impl Host {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Host {
            now_us: 0,
            joined: BTreeMap::new(),
            timers: BTreeMap::new(),
            effects: Vec::new(),
            timers_set: 0,
            random: ChaCha8Rng::from_seed(seed),
        }
    }

    /// Runs a call with this host installed.
    pub(crate) fn during<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let idle = Host::new([0; 32]);
        let before = INSTALLED.replace(Some(std::mem::replace(self, idle)));
        let result = call();
        if let Some(host) = INSTALLED.replace(before) {
            *self = host;
        }
        result
    }

    fn send(&mut self, slot: Slot, body: &[u8]) {
        if let Some(number) = self.joined.get_mut(&slot) {
            *number += 1;
            self.effects.push(Effect::Send { slot, number: *number, body: body.to_vec() });
        }
    }

    fn set_view(&mut self, slot: Slot, view: &[u8]) {
        if self.joined.contains_key(&slot) {
            self.effects.push(Effect::View { slot, body: view.to_vec() });
        }
    }

    fn slots(&self) -> Vec<Slot> {
        self.joined.keys().copied().collect()
    }
}

/// The installed host, for an import. A context used outside a call has none: that is a mistake of the test.
fn host<T>(import: impl FnOnce(&mut Host) -> T) -> T {
    INSTALLED.with_borrow_mut(|installed| match installed {
        Some(host) => import(host),
        None => panic!("a game was called outside a match: use ringside_guest::Match"),
    })
}

fn slot(slot: u32) -> Slot {
    match slot.try_into() {
        Ok(slot) => Slot(slot),
        Err(_) => panic!("there is no slot {slot}"),
    }
}

pub(crate) fn send(to: u32, message: &[u8]) {
    host(|host| host.send(slot(to), message));
}

pub(crate) fn broadcast(message: &[u8]) {
    host(|host| host.slots().into_iter().for_each(|slot| host.send(slot, message)));
}

pub(crate) fn send_datagram(to: u32, datagram: &[u8]) {
    host(|host| {
        let slot = slot(to);
        if host.joined.contains_key(&slot) {
            host.effects.push(Effect::Datagram { slot, body: datagram.to_vec() });
        }
    });
}

pub(crate) fn set_view(whose: u32, view: &[u8]) {
    host(|host| host.set_view(slot(whose), view));
}

pub(crate) fn set_view_all(view: &[u8]) {
    host(|host| host.slots().into_iter().for_each(|slot| host.set_view(slot, view)));
}

pub(crate) fn set_stats(row: &[u8]) {
    host(|host| host.effects.push(Effect::Stats { row: row.to_vec() }));
}

pub(crate) fn emit(event: &[u8]) {
    host(|host| host.effects.push(Effect::Event { body: event.to_vec() }));
}

pub(crate) fn log(level: LogLevel, line: &str) {
    host(|host| host.effects.push(Effect::Log { level, line: line.to_owned() }));
}

pub(crate) fn now() -> u64 {
    host(|host| host.now_us)
}

pub(crate) fn random() -> u64 {
    host(|host| host.random.next_u64())
}

pub(crate) fn set_timer(delay_us: u64) -> u64 {
    host(|host| {
        host.timers_set += 1;
        let due = host.now_us.saturating_add(delay_us.max(TIMER_DELAY_US));
        host.timers.insert((due, host.timers_set), ());
        host.timers_set
    })
}

pub(crate) fn cancel_timer(id: u64) {
    host(|host| host.timers.retain(|(_, armed), ()| *armed != id));
}

pub(crate) fn signal(session: &str, bytes: &[u8]) {
    host(|host| host.effects.push(Effect::Signal { session: session.to_owned(), body: bytes.to_vec() }));
}

pub(crate) fn kick(whom: u32, reason: &str) {
    host(|host| {
        let slot = slot(whom);
        if host.joined.contains_key(&slot) {
            host.effects.push(Effect::Kick { slot, reason: reason.to_owned() });
        }
    });
}

pub(crate) fn finish(outcome: &[u8]) {
    host(|host| host.effects.push(Effect::Finish { outcome: outcome.to_vec() }));
}
