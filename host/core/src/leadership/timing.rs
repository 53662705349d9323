//! The one table of leadership's times, and the arithmetic that ties them together. Every time is in µs of the clock of
//! whoever measures it, which counts from boot and goes on while the machine sleeps; no time is compared across nodes,
//! only its length is.
//!
//! | time | is | because |
//! |---|---|---|
//! | [`HEARTBEAT_US`] | 50 ms | six of them fit into what a leader waits for a silent follower, so that the loss of a few is none |
//! | [`SUSPICION_US`] | 250 ms | five heartbeats are missing |
//! | [`PROBE_US`] | 100 ms | two round trips of a bad link |
//! | [`ANSWER_US`] | 200 ms | suspicion, probe and this one end before the promise does |
//! | [`REMOVAL_US`] | 300 ms | a stall as long as that is none |
//! | [`RIGHT_US`] | 400 ms | a leader has 100 ms to remove a silent follower before its right lapses |
//! | [`PROMISE_US`] | 600 ms | outlasts the right by half, however the two clocks drift |
//! | [`STALL_US`] | 250 ms | shorter than what the right is longer than a heartbeat |
//! | [`SLEEP_US`] | 4 s | connections end after 5 s without a word |
//! | [`FINDING_US`] | 2 s | gossip has to find the others first, and a dial or two |
//! | [`SUSPECT_US`] | 2 s | a client sends again what it has at once, behind everything that a bad link loses |
//! | [`SUSPECT_WAIT_US`] | 250 ms | who was led by the dead is answered within a second all the same |
//! | [`PAUSE_US`] | 1 s | views go on through what is over at once, and no longer |
//!
//! **Why no two release.** A batch is sent at `s`, arrives at `a ≥ s`, and is acknowledged. Its sender may release until
//! `s + RIGHT`; who acknowledged it does not promote before `a + PROMISE`. The right is counted from the *sending*:
//! counted from the answer it would last `RIGHT` from a time that the follower knows nothing of, and the answer may be
//! late by any time. Clocks may run apart by a half (`PROMISE / RIGHT`) before the two meet.
//!
//! **When a follower promotes.** A leader dies at 0. Its last heartbeat was sent between −`HEARTBEAT` and 0 and arrives
//! a way (below 50 ms) later:
//!
//! ```text
//!   heard last          −50 ..  50     h
//!   suspects            200 .. 300     h + SUSPICION
//!   stands, asks        300 .. 400     h + SUSPICION + PROBE
//!   has every answer    500 .. 600     h + SUSPICION + PROBE + ANSWER at the latest
//!   promotes            550 .. 650     h + PROMISE
//! ```
//!
//! So the promise alone decides when: 550 to 650 ms after the death, whatever else is late.

/// A leader says at least so often how far its log is.
pub const HEARTBEAT_US: u64 = 50_000;
/// Heartbeats are due at multiples of this, at most so much earlier than they would be.
pub const BEAT_PHASE_US: u64 = HEARTBEAT_US / 5;
/// A leader that was not heard of directly for so long is suspected.
pub const SUSPICION_US: u64 = 250_000;
/// How long others have to reach somebody who is not reached directly.
pub const PROBE_US: u64 = 100_000;
/// How long a member has to answer a candidate; who did not, and whom no other reaches, is gone.
pub const ANSWER_US: u64 = 200_000;
/// A leader's right to release after the *sending* of the last batch or heartbeat that every in-sync follower has
/// acknowledged.
pub const RIGHT_US: u64 = 400_000;
/// Each acknowledgement promises not to promote for so long.
pub const PROMISE_US: u64 = 600_000;
/// A turn that comes so long after the last is a stall: a leader confirms its epoch, a follower trusts no silence.
pub const STALL_US: u64 = 250_000;
/// Reliable output waits so long for a silent follower before its removal from the record starts.
pub const REMOVAL_US: u64 = 300_000;
/// The same for a follower that is heard of and takes nothing: it replays, it is not gone.
pub const LAGGING_US: u64 = 1_000_000;
/// Whoever stood still for so long has to find others again before it can hear of them.
pub const SLEEP_US: u64 = 4_000_000;
/// How long a leader that did waits for followers before it goes on without them: they may have gone on without it.
pub const FINDING_US: u64 = 2_000_000;
/// Views of a consistent session pause when the right has lapsed for so long.
pub const PAUSE_US: u64 = 1_000_000;
/// Entries that were sent and not acknowledged for so long are sent again.
pub const RESEND_US: u64 = 100_000;
/// An answer of the store is waited for so long before the chain is read again.
pub const STORE_US: u64 = 1_000_000;
/// A new leader tells those of the record before it so often, until they answer; a leader that met another repeats its
/// claim so often.
pub const INTRODUCTION_US: u64 = 250_000;
/// Reminders of that come with growing pauses, and no longer ones than this.
pub const REMINDER_US: u64 = 4_000_000;
/// A follower beyond those that the session asks for counts for so long after it was last wanted.
pub const WANTED_US: u64 = 5_000_000;
/// A move holds a session's inputs back for at most so long before it is given up.
pub const HOLD_US: u64 = 100_000;
/// A leader whose session is evicted tells those who counted for at most so long before it forgets the session.
pub const TELL_US: u64 = 500_000;
/// A leader that gave way and never hears of the winner's new epoch goes on after so long.
pub const YIELD_US: u64 = 2_000_000;
/// What a player sends for so long after it is back where its leader died may be what killed it.
pub const SUSPECT_US: u64 = 2_000_000;
/// Such a message waits for at most so long until followers know of it; and where none counts, until so long after the
/// promotion for one to come.
pub const SUSPECT_WAIT_US: u64 = 250_000;

/// When the heartbeats are due that follow those of `now`: all sessions of a worker have theirs in one of a few phases, so
/// that those for one follower fill their datagrams.
pub fn next_beat(now: u64) -> u64 {
    (now + HEARTBEAT_US) / BEAT_PHASE_US * BEAT_PHASE_US
}

// The inequalities that the above rests on.
const _: () = {
    // Safety: the promise outlasts the right, with room for clocks.
    assert!(PROMISE_US * 2 >= RIGHT_US * 3);
    // A candidate has every answer before its promise ends, so that the promise alone decides when it promotes.
    assert!(SUSPICION_US + PROBE_US + ANSWER_US < PROMISE_US);
    // 550 to 650 ms after the death.
    assert!(PROMISE_US - HEARTBEAT_US >= 550_000 && PROMISE_US + HEARTBEAT_US <= 650_000);
    // A stall of 300 ms promotes nobody and removes nobody's leader.
    assert!(300_000 + HEARTBEAT_US + PROBE_US < PROMISE_US);
    // Removal starts before the right lapses, and not because of a few lost heartbeats.
    assert!(REMOVAL_US < RIGHT_US && REMOVAL_US >= 6 * HEARTBEAT_US);
    // A stall that is not noticed leaves the right its worth.
    assert!(STALL_US + HEARTBEAT_US < RIGHT_US);
    // What was lost is sent again before its follower counts as silent.
    assert!(RESEND_US >= 2 * HEARTBEAT_US && RESEND_US * 2 < REMOVAL_US);
    // Who lost a leader is answered within a second, whoever has to be waited for.
    assert!(PROMISE_US + HEARTBEAT_US + SUSPECT_WAIT_US <= 900_000);
    // A follower that does not answer in time is waited for once.
    assert!(SUSPECT_WAIT_US >= 2 * HEARTBEAT_US && SUSPECT_WAIT_US < REMOVAL_US && SUSPECT_WAIT_US < SUSPECT_US);
    // Who has slept waits for longer than others, not for shorter.
    assert!(SLEEP_US > PROMISE_US && FINDING_US > REMOVAL_US && FINDING_US > LAGGING_US);
    // A held move ends before anybody suspects anything.
    assert!(HOLD_US < SUSPICION_US);
};
