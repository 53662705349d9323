//! What sessions and workers use: plain counters in a session, atomics that other threads read for a worker. Counting
//! never allocates and never waits.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use ringside_protocol::reason::Reason;

/// Upper bounds of the classes of tick lateness, µs; the last class has none.
pub const LATENESS_CLASSES_US: [u64; 7] = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000];

/// What a session used and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time of its guest's calls, µs.
    pub call_us: u64,
    /// Calls.
    pub calls: u64,
    /// Calls over their budget.
    pub overruns: u64,
    /// Entries that were skipped.
    pub skipped: u64,
    /// Reliable messages in.
    pub messages_in: u64,
    /// Reliable messages out.
    pub messages_out: u64,
    /// Datagrams in.
    pub datagrams_in: u64,
    /// Views and datagrams out.
    pub datagrams_out: u64,
    /// Bytes of messages and datagrams in.
    pub bytes_in: u64,
    /// Bytes of messages, views and datagrams out.
    pub bytes_out: u64,
    /// Session time that was given up because ticks were missed, µs.
    pub slipped_us: u64,
    /// Ticks by how late they ran; classes are [`LATENESS_CLASSES_US`] and one above.
    pub lateness: [u64; LATENESS_CLASSES_US.len() + 1],
    /// Inputs that were dropped at a bound.
    pub dropped: u64,
    /// Log lines, events and signals that were dropped at a bound.
    pub news_dropped: u64,
}

impl Usage {
    /// Counts a tick that ran so late.
    pub fn count_tick(&mut self, late: Duration) {
        self.lateness[class_of(late)] += 1;
    }

    /// Its counters by name.
    pub fn named(&self) -> [(&'static str, u64); 13] {
        [
            ("calls", self.calls),
            ("overruns", self.overruns),
            ("skipped", self.skipped),
            ("messages_in", self.messages_in),
            ("messages_out", self.messages_out),
            ("datagrams_in", self.datagrams_in),
            ("datagrams_out", self.datagrams_out),
            ("bytes_in", self.bytes_in),
            ("bytes_out", self.bytes_out),
            ("slipped_us", self.slipped_us),
            ("late_ticks", late_ticks(&self.lateness)),
            ("dropped", self.dropped),
            ("news_dropped", self.news_dropped),
        ]
    }
}

/// Ticks that were late enough for a player to notice: by more than 4 ms.
fn late_ticks(lateness: &[u64; LATENESS_CLASSES_US.len() + 1]) -> u64 {
    lateness[4..].iter().sum()
}

/// Whether a counter of [`Counters::named`] says what is so at present, and goes down as well.
pub fn is_gauge(name: &str) -> bool {
    matches!(name, "sessions" | "players" | "connections" | "peers" | "degraded" | "follower_lag" | "follower_late_us")
}

/// The class of a tick that ran so late.
pub fn class_of(late: Duration) -> usize {
    let late = late.as_micros() as u64;
    LATENESS_CLASSES_US.iter().position(|&bound| late <= bound).unwrap_or(LATENESS_CLASSES_US.len())
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// A worker's counters, read by any thread.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: AtomicU64,)+
            /// Ticks by how late they ran.
            pub lateness: [AtomicU64; LATENESS_CLASSES_US.len() + 1],
            /// Connections that the worker refused, detached or closed, by the reason that they were given.
            pub ends: Ends,
        }

        impl Counters {
            /// Every counter by name; of the classes of lateness, all ticks and those that were late.
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                let lateness = self.lateness.each_ref().map(|class| class.load(Relaxed));
                let (ticks, late) = (lateness.iter().sum(), late_ticks(&lateness));
                vec![$((stringify!($name), self.$name.load(Relaxed)),)+ ("ticks", ticks), ("late_ticks", late)]
            }
        }
    };
}

counters! {
    /// CPU time of the worker's thread, µs.
    busy_us,
    /// Turns.
    turns,
    /// Sessions at present.
    sessions,
    /// Players with an attached connection at present.
    players,
    /// Connections at present.
    connections,
    /// Datagrams (packets) in.
    packets_in,
    /// Packets out.
    packets_out,
    /// Bytes out.
    bytes_out,
    /// Packets that the kernel dropped before they were read.
    kernel_drops,
    /// Packets that the kernel refused to send.
    send_drops,
    /// Handshakes accepted.
    accepted,
    /// Retries sent.
    retried,
    /// Connections refused by a limit.
    refused,
    /// Handshake packets dropped unparsed.
    handshakes_dropped,
    /// Guest calls.
    calls,
    /// Guest calls over their budget.
    overruns,
    /// Entries skipped.
    skipped,
    /// Messages skipped because a process died when they were about to run.
    suspects_skipped,
    /// Inputs dropped at a bound.
    inputs_dropped,
    /// Datagrams of players that did not parse.
    malformed_datagrams,
    /// Links to workers of other nodes at present.
    peers,
    /// Frames of such workers in.
    peer_frames_in,
    /// Frames to such workers out.
    peer_frames_out,
    /// Bytes of packets to such workers.
    peer_bytes_out,
    /// Connections of such workers that were closed because of what they are or say.
    peers_refused,
    /// Sessions at present of which nobody else has what is appended, against their tier; looked at once a second.
    degraded,
    /// Entries that the log of a follower lacks which counts, the most of any session at present; looked at once a second.
    follower_lag,
    /// How long ago the newest thing was sent that a follower which counts has acknowledged, the longest of any session at present,
    /// µs; looked at once a second.
    follower_late_us,
    /// Checkpoints of the run before this one that came through memory, and not over a link.
    checkpoints_passed,
    /// News of guests and pieces of recordings that found the queue to the node full.
    events_lost,
}

/// How many connections were ended by the worker, for each reason.
#[derive(Debug)]
pub struct Ends([AtomicU64; Reason::ALL.len()]);

impl Default for Ends {
    fn default() -> Self {
        Ends([const { AtomicU64::new(0) }; Reason::ALL.len()])
    }
}

impl Ends {
    /// Counts an end. A reason without a name is not counted: the worker gives none.
    pub(crate) fn count(&self, reason: Reason) {
        if let Some(at) = Reason::ALL.iter().position(|&named| named == reason) {
            add(&self.0[at], 1);
        }
    }

    /// Ends for this reason so far.
    pub fn of(&self, reason: Reason) -> u64 {
        self.named().find_map(|(named, count)| (named == reason).then_some(count)).unwrap_or(0)
    }

    /// Every reason and its ends so far.
    pub fn named(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.iter().zip(&self.0).map(|(&reason, count)| (reason, count.load(Relaxed)))
    }
}

/// Adds to a counter that only the worker's thread writes.
pub(crate) fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(amount), Relaxed);
}
