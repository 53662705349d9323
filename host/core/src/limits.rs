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
/// Bytes that the broadcasts and views for all of one call come to, counted for each player. Beyond: the call traps.
/// They are copied and hashed after the call, outside its limit of time: 4 MiB take about as long as a call may.
pub const CALL_FAN_OUT_BYTES: usize = 4 << 20;
/// Armed timers of a session. Beyond: `set-timer` traps.
pub const TIMERS: usize = 1024;
/// Least delay of a timer, µs of session time. A shorter one counts as this one.
pub const TIMER_DELAY_US: u64 = 1_000;
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
/// CPU time of all calls of a session within a second before that second counts as a call over its budget, µs: what ticks
/// at their own bound, a quarter of the tick, come to.
pub const SESSION_CPU_US: u64 = 250_000;
/// Log lines, events and signals that a session may put out in a second, as many as two seconds bring at once. Beyond:
/// dropped and counted.
pub const NEWS_RATE: u32 = 500;
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
/// A worker's slice for anything long (rebuild, capture, hashes), µs a turn.
pub const SLICE_US: u64 = 500;

// What an upload may contain, so that checking and compiling it takes a bounded time. Beyond any: refused at upload.

/// Code of a module, all functions together, bytes: about 12 s of compilation at worst.
pub const MODULE_CODE_BYTES: usize = 8 << 20;
/// Functions of a module.
pub const MODULE_FUNCTIONS: u32 = 50_000;
/// Function types of a module.
pub const MODULE_TYPES: u32 = 10_000;
/// Globals of a module. Each mutable one is part of every checkpoint.
pub const MODULE_GLOBALS: u32 = 1_000;
/// Exports of a module.
pub const MODULE_EXPORTS: u32 = 10_000;
/// Data segments, and element segments, of a module.
pub const MODULE_SEGMENTS: u32 = 10_000;
/// Tables of a module.
pub const MODULE_TABLES: u32 = 1;
/// Body of one function, bytes. Also bounds what a call can do between two interrupt pokes: at 3 bytes a load that
/// misses every cache, 87 000 loads, under 10 ms.
pub const FUNCTION_BYTES: usize = 256 << 10;
/// Parameters of a function.
pub const FUNCTION_PARAMETERS: usize = 128;
/// Results of a function; parameters, and results, of a block.
pub const FUNCTION_RESULTS: usize = 16;
/// Locals of a function, its parameters included.
pub const FUNCTION_LOCALS: u32 = 10_000;
/// Blocks open at once in a function: more than the arms of any sensible `switch`.
pub const FUNCTION_NESTING: u32 = 5_000;
/// Locals × (blocks, loops and arms) of one function: what building SSA form costs at worst.
pub const FUNCTION_JOINS: u64 = 50_000_000;
/// The same, summed over a module's functions.
pub const MODULE_JOINS: u64 = 500_000_000;
/// Sessions of a node, led and followed, unless configured. Beyond: creation is refused, and further ones are followed by
/// other nodes.
pub const NODE_SESSIONS: usize = 16_384;
/// Open sessions that a find-or-create list knows. Beyond: a session is found by its key only, until a place is free
/// when its seats next change.
pub const OPEN_SESSIONS: usize = 64;
/// Find-or-create lists of a node. Beyond: players who ask for further (game, criteria) are refused, to try again.
pub const OPEN_LISTS: usize = 4096;
/// Requests that wait for sessions to be created. Beyond: refused, to be tried again.
pub const WAITING_REQUESTS: usize = 4096;
/// Time that find-or-create keeps a seat for a player who has not come yet, µs: a redirect and a handshake over a bad
/// link take three round trips of a second at most, twice that and some.
pub const RESERVATION_US: u64 = 10_000_000;
/// Time after which a session that was made for a player (by find-or-create, or by its key) ends when nobody is in it or
/// expected, µs.
pub const EMPTY_SESSION_US: u64 = 60_000_000;
/// Time after which a worker that was told to end a session and has not said that it did is told again, µs.
pub const END_REPEAT_US: u64 = 1_000_000;
/// Time that a worker has for creating a session, µs. Beyond: given up, and whoever waits is refused.
pub const CREATION_DEADLINE_US: u64 = 10_000_000;
/// Ended sessions that a node's directory remembers for operators. Beyond: the oldest is forgotten.
pub const ENDED_SESSIONS: usize = 256;
/// Loops of a function: each has an interrupt poke at an address of its own in a page of 64 KiB.
pub const FUNCTION_LOOPS: u32 = 60_000;

// Of a cluster.

/// Nodes that a node knows, itself included. Beyond: gossip about further ones is ignored and counted.
pub const NODES: usize = 1024;
/// Addresses of workers that a node names. Beyond: its fact is refused, it never appears.
pub const NODE_WORKERS: usize = 256;
/// Nodes that a fact names as presumed gone. Beyond: the longest gone are left out.
pub const PRESUMED_GONE: usize = 32;
/// Nodes for which a node tries one that they do not reach: as many as ask others for it a few times over. Beyond: a further
/// one gets no answer here, and has asked others.
pub const ERRANDS: usize = 12;
/// Entries that a home keeps, four times what one node may lead. Beyond: creation is refused, and announcements of
/// further sessions wait, so that this home asks all nodes before it creates anything.
pub const HOME_ENTRIES: usize = 4 * NODE_SESSIONS;
/// Leadership records of which a home keeps copies: one of each entry. Beyond: it does not say that it has one, and is
/// told again.
pub const RECORD_COPIES: usize = HOME_ENTRIES;
/// Items of one announcement. Further ones go with the next, when this one is acknowledged.
pub const ANNOUNCED_ITEMS: usize = 128;
/// Estimated bytes of the items of one announcement: a full list of a full session's players takes 17 KiB. Further items go
/// with the next, so that it fits a frame between nodes.
pub const ANNOUNCED_BYTES: usize = 128 << 10;
/// Names of one question to a node. Further ones go with the next, when this one is answered.
pub const QUESTION_NAMES: usize = 128;
/// Ends of sessions that a home was not told of yet. Beyond: the announcement to it begins anew.
pub const UNTOLD_ENDS: usize = 4096;
/// Requests of other nodes that wait at a home. Beyond: refused, to be tried again.
pub const HOME_WAITING: usize = 2 * WAITING_REQUESTS;
/// Duplicates that a home is settling. Beyond: the leader of a further one that has to give way is told so once, and again when
/// it says anew that it leads it.
pub const DUPLICATES: usize = 1024;
/// Sessions that are over that a home remembers, so that late news of them raises none and the players of lost ones
/// can be told. Beyond: the oldest is forgotten.
pub const OVER_SESSIONS: usize = 16_384;
/// Sessions that ended here within [`TOMBSTONE_US`]. Beyond: no new session is taken until some are older.
pub const TOMBSTONES: usize = 2 * NODE_SESSIONS;
/// How long a node remembers that a session ended, so that a placement that was long on its way does not begin it anew, µs.
pub const TOMBSTONE_US: u64 = 60_000_000;
/// Tickets that a worker remembers for each of the eras in which one is good. Beyond: further ones are refused, to be
/// asked for again: 4 000 players a second.
pub const TICKETS: usize = 40_000;

// Of a session's leadership.

/// Followers that a record counts, and that a leader sends to. Beyond: further ones are not recruited, and a record that
/// counts more is not valid.
pub const FOLLOWERS: usize = 7;
/// Former followers that a leader tells that they do not count, until they answer. Beyond: who was told of the oldest
/// record is told no more, and hears it from the home when it stands.
pub const FORMER: usize = 16;
/// Sessions that a worker led or followed, and has nothing of any more, of which it knows the last leadership record.
/// Beyond: the oldest is forgotten, and a leader that was away since then may go on with it.
pub const LAST_RECORDS: usize = 4_096;
/// Terms that a log's lineage remembers. Beyond: the oldest is forgotten, and a log that ends in it begins with a
/// checkpoint.
pub const LINEAGE: usize = 64;
/// Records in a log that do not count yet. Beyond: the set is not changed until one does.
pub const PENDING_RECORDS: usize = 4;
/// Entries of one batch to a follower. Further ones go with the next.
pub const BATCH_ENTRIES: u64 = 512;
/// Hashes of its fold that a follower keeps to compare. Beyond: the oldest is forgotten, and is not compared.
pub const MARKS: usize = 64;
/// Messages of a session that wait after the death of its leader until its followers know of them. Beyond: players' streams
/// are left unread until there is room.
pub const SUSPECTS: usize = 64;
/// Messages of which a session's leader knows that a process died when they were about to run. Beyond: the oldest is
/// forgotten, and is suspect when it comes again.
pub const KILLERS: usize = 16;

// Of the log of a node's durable sessions.

/// Bytes of an object of a node's log, unless one item alone is larger. Further items go with the next object.
pub const LOG_OBJECT_BYTES: usize = 4 << 20;
/// Bytes of one item of a node's log, which no checkpoint should come to: guest memory, views, unacknowledged outputs.
/// Beyond: it is left out, its session's log since the checkpoint before is kept, and that is said.
pub const LOG_ITEM_BYTES: usize = 64 << 20;
/// Timers of evicted sessions that a node knows of. Beyond: the latest are listed again when there is room.
pub const DUE_TIMERS: usize = 10_000;
/// Bytes that wait for a node's log. Beyond: what comes is left out, its sessions release nothing durable, and each goes
/// on with a checkpoint when there is room.
pub const LOG_BACKLOG_BYTES: usize = 64 << 20;
/// Objects of a node's log between two lists of the sessions that it holds. What is before the newest list and before
/// every session's newest whole checkpoint may be deleted.
pub const LOG_ROSTER_OBJECTS: u64 = 64;
/// Objects before such a list that a session's whole checkpoint may hold up. Beyond: another is asked for. Recovery reads so
/// many. With as few as there are between two lists, a busy log would ask its sessions for all of their state again and again
/// and no increment would ever follow; with many more, a node would take long to come back.
pub const LOG_HELD_OBJECTS: u64 = 1_024;
/// Sessions that others lead now of which a log is kept until they have theirs. Beyond that, what a log has from the first
/// such session on is kept as long as its run.
pub const LOG_DEPARTED: usize = 16_384;
/// Increments that follow a whole checkpoint. Beyond: the next is whole. At 5 s each recovery goes back 45 s at most, and
/// what is written of a state that changes little is a ninth of it.
pub const INCREMENTS: u32 = 8;
