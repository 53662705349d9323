//! Every bound of a session's and a guest's resources, in one table, each with what happens at it. What bounds a
//! connection or an address is in `ringside_protocol::limits`.

/// Largest module that may be uploaded, bytes. Beyond: the upload is refused before it is parsed.
pub const MODULE_BYTES: usize = 32 << 20;
/// Guest memory of a session, bytes, unless its game asks for less. Beyond: `memory.grow` answers −1.
pub const GUEST_MEMORY_BYTES: usize = 16 << 20;
/// Entries in a guest's tables. Beyond: refused at upload.
pub const TABLE_ELEMENTS: u32 = 20_000;
/// Stack of a guest's call, bytes (followers and replays have twice this). Beyond: trap.
pub const GUEST_STACK_BYTES: usize = 512 << 10;
/// Largest single message, view, event, result or configuration that crosses the guest boundary, bytes.
/// Beyond: the call traps.
pub const GUEST_VALUE_BYTES: usize = 64 << 10;
/// Largest datagram of a game either way, bytes: fits the smallest packet that QUIC guarantees. Beyond: trap.
pub const DATAGRAM_BYTES: usize = 1000;
/// Bytes that one call may put out, all outputs together. Beyond: the call traps.
pub const CALL_OUTPUT_BYTES: usize = 1 << 20;
/// Outputs of one call. Beyond: the call traps.
pub const CALL_OUTPUTS: usize = 4096;
/// Armed timers of a session. Beyond: `set-timer` traps.
pub const TIMERS: usize = 1024;
/// Players of a session at a time. A description that says more is refused.
pub const SLOTS: usize = 256;
/// Reliable outputs that one player has not acknowledged, messages. Beyond: the player leaves as too slow.
pub const UNACKNOWLEDGED_MESSAGES: usize = 1024;
/// Reliable outputs that one player has not acknowledged, bytes. Beyond: the player leaves as too slow.
pub const UNACKNOWLEDGED_BYTES: usize = 1 << 20;
/// Rows of statistics, bytes. Beyond: trap.
pub const STATS_BYTES: usize = 4 << 10;
/// A line of a guest's log, bytes; longer ones are cut.
pub const LOG_LINE_BYTES: usize = 1024;
/// Log lines of one call; further ones are counted and dropped.
pub const LOG_LINES: usize = 64;
/// CPU time that a call may take before it is counted against its session, µs (and at most a quarter of the tick).
pub const CALL_BUDGET_US: u64 = 2_000;
/// CPU time after which the watchdog stops a call, as a multiple of its budget.
pub const CALL_LIMIT_FACTOR: u64 = 2;
/// Calls over their budget within [`BUDGET_WINDOW_US`] after which a session moves to the penalty worker.
pub const BUDGET_OVERRUNS: usize = 3;
/// The window in which overruns are counted, µs.
pub const BUDGET_WINDOW_US: u64 = 10_000_000;
/// Traps within [`TRAP_WINDOW_US`] that end a session.
pub const TRAPS: usize = 3;
/// The window in which traps are counted, µs.
pub const TRAP_WINDOW_US: u64 = 60_000_000;
/// Ticks missed in a row that are made up; beyond, session time slips and the slip is recorded.
pub const TICKS_MADE_UP: u64 = 3;
/// Time between a session's checkpoints, µs.
pub const CHECKPOINT_INTERVAL_US: u64 = 5_000_000;
/// Entries between a session's checkpoints, whichever comes first.
pub const CHECKPOINT_ENTRIES: u64 = 5_000;
/// Time that a player's seat is kept without a connection, µs, unless configured.
pub const SEAT_WINDOW_US: u64 = 30_000_000;
/// A worker's slice for anything long (rebuild, capture, hashes), µs a turn.
pub const SLICE_US: u64 = 500;
