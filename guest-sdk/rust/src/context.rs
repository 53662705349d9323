//! What a game may ask of its host during a call. Nothing here tells it anything that the log does not determine.

use std::fmt::Display;
use std::marker::PhantomData;
use std::ops::Range;
use std::time::Duration;

use serde::Serialize;

use crate::codec::encode_into;
use crate::game::Game;
use crate::imports;
use crate::types::{LogLevel, Slot, Timer};

/// A game's way to its host, and what the SDK knows of the session: who has joined.
pub struct Context<G: Game> {
    /// Joined slots, ascending.
    pub(crate) joined: Vec<Slot>,
    pub(crate) ignored_inputs: u64,
    pub(crate) finished: bool,
    /// Encodings are made here, so that a steady tick allocates nothing.
    scratch: Vec<u8>,
    game: PhantomData<fn(G)>,
}

impl<G: Game> Context<G> {
    pub(crate) fn new(joined: Vec<Slot>, ignored_inputs: u64) -> Self {
        Context { joined, ignored_inputs, finished: false, scratch: Vec::new(), game: PhantomData }
    }

    /// Session time since the start; never decreases; the same during one call.
    pub fn now(&self) -> Duration {
        Duration::from_micros(imports::now())
    }

    /// The slots in which somebody has joined, ascending.
    pub fn joined(&self) -> &[Slot] {
        &self.joined
    }

    /// Whether somebody has joined in `slot`.
    pub fn is_joined(&self, slot: Slot) -> bool {
        self.joined.binary_search(&slot).is_ok()
    }

    /// How many inputs were ignored because they could not be decoded.
    pub fn ignored_inputs(&self) -> u64 {
        self.ignored_inputs
    }

    /// Sends a reliable, ordered message to the player in `slot`. Dropped if nobody has joined there.
    pub fn send(&mut self, slot: Slot, output: &G::Output) {
        self.encoded(output, |bytes| imports::send(slot.0.into(), bytes));
    }

    /// Sends a reliable, ordered message to every joined player.
    pub fn broadcast(&mut self, output: &G::Output) {
        self.encoded(output, imports::broadcast);
    }

    /// Sends an unreliable, unordered message (at most 1000 bytes) to the player in `slot`, if connected.
    pub fn send_datagram(&mut self, slot: Slot, output: &G::Output) {
        self.encoded(output, |bytes| imports::send_datagram(slot.0.into(), bytes));
    }

    /// Writes the session's row of statistics, which `ringside session show` prints.
    pub fn set_stats(&mut self, row: &impl Serialize) {
        self.encoded(row, imports::set_stats);
    }

    /// Emits an event for the outside. The host notes in its log that there was one and does not keep it: folding the
    /// session's recording again gives it again.
    pub fn emit(&mut self, event: &impl Serialize) {
        self.encoded(event, imports::emit);
    }

    /// Writes a line to the session's log.
    pub fn log(&mut self, level: LogLevel, line: &str) {
        imports::log(level, line);
    }

    /// Writes a line of level *info* to the session's log.
    pub fn info(&mut self, line: impl Display) {
        self.log(LogLevel::Info, &line.to_string());
    }

    /// Arms a timer that fires once, `delay` of session time from now, and no less than a millisecond.
    pub fn set_timer(&mut self, delay: Duration) -> Timer {
        Timer(imports::set_timer(delay.as_micros().try_into().unwrap_or(u64::MAX)))
    }

    /// Disarms a timer. One that has fired already is ignored.
    pub fn cancel_timer(&mut self, timer: Timer) {
        imports::cancel_timer(timer.0);
    }

    /// Sends bytes to another session, named `game/key`.
    pub fn signal(&mut self, session: &str, bytes: &[u8]) {
        imports::signal(session, bytes);
    }

    /// Ends the stay of the player in `slot`, who is told the reason; `leave` follows.
    pub fn kick(&mut self, slot: Slot, reason: &str) {
        imports::kick(slot.0.into(), reason);
    }

    /// Ends the session with a result, which its connected players are told; nothing is delivered after this call. The
    /// host does not keep it: folding the session's recording again gives it again.
    pub fn finish(&mut self, outcome: &impl Serialize) {
        self.finished = true;
        self.encoded(outcome, imports::finish);
    }

    /// The next 64 bits of the session's generator.
    pub fn random(&mut self) -> u64 {
        imports::random()
    }

    /// A random number from 0 to `bound` less one, each equally likely.
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn random_below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "nothing is below 0");
        // The widest range of numbers that is a multiple of the bound begins at 2^64 mod bound.
        let first = bound.wrapping_neg() % bound;
        loop {
            let number = self.random();
            if number >= first {
                return number % bound;
            }
        }
    }

    /// A random number of a range, each equally likely.
    ///
    /// # Panics
    /// If the range is empty.
    pub fn random_range(&mut self, range: Range<i64>) -> i64 {
        assert!(range.start < range.end, "nothing is in an empty range");
        let width = range.end.wrapping_sub(range.start) as u64;
        range.start.wrapping_add(self.random_below(width) as i64)
    }

    /// A random number from 0 to 1, 1 excluded, in steps of 2⁻⁵³.
    pub fn random_unit(&mut self) -> f64 {
        (self.random() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// One of `items`, each equally likely; none if there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() { None } else { items.get(self.random_below(items.len() as u64) as usize) }
    }

    /// Puts `items` into a random order, each equally likely.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.random_below(at as u64 + 1) as usize);
        }
    }

    pub(crate) fn set_view(&mut self, slot: Slot, view: &G::View) {
        self.encoded(view, |bytes| imports::set_view(slot.0.into(), bytes));
    }

    pub(crate) fn set_view_all(&mut self, view: &G::View) {
        self.encoded(view, imports::set_view_all);
    }

    fn encoded<T: Serialize + ?Sized>(&mut self, value: &T, put: impl FnOnce(&[u8])) {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        self.scratch = encode_into(value, scratch);
        put(&self.scratch);
    }
}
