//! Every bound of a worker that is not of one connection, address, seat or session, in one table, each with what happens
//! at it. The others are in `ringside_protocol::limits` and `ringside_core::limits`.

use std::time::Duration;

/// Sessions of a worker, unless configured. Beyond: creation is refused, and a session that is moved here ends.
pub const SESSIONS: usize = 8_192;
/// Commands that wait for a worker. Beyond: who sends one gets it back, to send it again.
pub const COMMANDS: usize = 4_096;
/// Events that wait for the node. Beyond: what guests say and pieces of recordings are dropped and counted. The rest never
/// reaches it: it is bounded by sessions and players.
pub const EVENTS: usize = 16_384;
/// Bytes that these events carry. Beyond: the same.
pub const EVENT_BYTES: usize = 16 << 20;
/// Handshakes that may be under way at a time. Beyond: the address that has most of them gives its oldest to one that has
/// fewer; where none has fewer, first packets with a token are dropped.
pub const HANDSHAKES: usize = 512;
/// Handshake packets of peers that showed their address (a token, or a handshake under way) that may wait. Beyond: dropped
/// unparsed and counted.
pub const VALIDATED_WAITING: usize = 512;
/// First packets without a token that may wait: each can be spoofed, and is answered with a Retry. Beyond: dropped unparsed
/// and counted.
pub const FIRST_WAITING: usize = 256;
/// Datagrams that are read off the players' socket before a turn. Beyond: they wait in the system's buffer.
pub const TURN_DATAGRAMS: usize = 2_048;
/// Time for which a proof of an address spares its holder a Retry. Beyond: they get one.
pub const ADDRESS_TOKEN_LIFETIME: Duration = Duration::from_secs(10);
/// Proofs of addresses that are remembered so that each is believed once: twice a handshake's share of the connections that
/// a core accepts in their time. Beyond: further ones are not believed, and their holders get a Retry.
pub const ADDRESS_TOKENS: usize = 16_384;
/// Answers to packets of no connection (stateless resets, version negotiation) that wait for a turn. Beyond: not answered.
pub const RESPONSES: usize = 16;
/// Time between two stateless resets: all 8192 clients of a worker that was started again hear within seconds that their
/// connections are over, and whoever sends forged packets has a thousand answers a second, shorter than what was asked.
/// Beyond: not answered; whoever sent it sends again.
pub const RESET_INTERVAL: Duration = Duration::from_millis(1);
/// Bytes of frames that wait for a connection's stream. Beyond: further outputs stay in the session's state, which has a
/// bound of its own.
pub const STREAM_WAITING_BYTES: usize = 64 << 10;

// Of links between workers.

/// Peers (workers of other nodes) of a worker, linked or dialed. Beyond: a link is refused, and who dials is told that it is
/// busy.
pub const PEERS: usize = 1_024;
/// Links of a worker's sessions to peers, four for each session. Beyond: a link is refused.
pub const PEER_SESSIONS: usize = 4 * SESSIONS;
/// Handshakes of peers that may be under way at a time, dials of the worker's own not counted. Beyond: the address that has
/// most of them gives its oldest to one that has fewer, so that strangers would need as many addresses to keep peers out;
/// where none has fewer, first packets are dropped, and come again.
pub const PEER_HANDSHAKES: usize = 64;
/// Connections of peers, those that are closing or have not greeted included. Beyond: refused before the handshake.
pub const PEER_CONNECTIONS: usize = 2 * PEERS;
/// Time that a peer's handshake may take, and again its greeting. Beyond: closed as silent.
pub const PEER_GREETING: Duration = Duration::from_secs(3);
/// How long after a connection was made a dial of the peer may arrive that it began before: the time of a handshake, and of a
/// greeting. Beyond: the peer has lost the connection, and its new one replaces it.
pub const PEER_CROSSING: Duration = PEER_GREETING.saturating_mul(2);
/// Bytes of a greeting's body. Beyond: closed as too long.
pub const PEER_GREETING_BYTES: usize = 256;
/// Bytes of a frame's body. Beyond: whoever sends is told; a peer that sends one is closed as too long.
pub const PEER_FRAME_BYTES: usize = 256 << 10;
/// Bytes of frames that wait for a peer's stream, beside QUIC's window. Beyond: the link is closed as too slow, so that
/// whoever follows begins anew and misses no frame unknowingly.
pub const PEER_QUEUE_BYTES: usize = 4 << 20;
/// Bytes of datagrams that wait for a peer. Beyond: the oldest is dropped; they repeat what is newest.
pub const PEER_DATAGRAM_BYTES: usize = 64 << 10;
/// Long things under way to a peer at a time. Beyond: whoever sends is told to try again; a peer gets no further stream.
pub const PEER_LONGS: usize = 4;
/// Bytes of one of those. Beyond: whoever sends is told; a peer that sends more is closed as too long.
pub const PEER_LONG_BYTES: usize = 64 << 20;
/// Time of a turn for handshakes of peers, after the players'. Beyond: the rest waits for the next turn.
pub const PEER_HANDSHAKE_SHARE: Duration = Duration::from_micros(250);
/// Bytes of peers that are read in a turn. Beyond: the rest waits for the next turn, players and sessions first.
pub const PEER_TURN_BYTES: usize = 256 << 10;
/// Datagrams that are read off the peers' socket before a turn. Beyond: they wait in the system's buffer.
pub const PEER_TURN_DATAGRAMS: usize = 512;
/// Wait before a peer is dialed again after a first failure; doubles with each.
pub const PEER_BACKOFF_FIRST: Duration = Duration::from_millis(50);
/// The longest such wait. Beyond: it grows no more.
pub const PEER_BACKOFF_LONGEST: Duration = Duration::from_secs(1);
/// Silence of a peer's connection. Beyond: it is lost, and dialed again.
pub const PEER_IDLE: Duration = Duration::from_secs(5);
/// How often something is said on an idle connection, so that it is not lost. Beyond: a probe is sent.
pub const PEER_KEEP_ALIVE: Duration = Duration::from_secs(1);

// Of replication.

/// Entries of a session that are not released. Beyond: it takes no inputs until some are; ticks slip.
pub const UNRELEASED_ENTRIES: u64 = 16_384;
/// Entries before its checkpoint that a leader keeps for its followers. Beyond: the oldest go, and who lacks them is sent the
/// checkpoint.
pub const WINDOW_ENTRIES: usize = 5_000;
/// Branches that were left or lost, of which a session knows what was kept. Beyond: the oldest is forgotten, and who comes back
/// from it is told that all of what it saw is withdrawn.
pub const BRANCHES: usize = 16;
/// Entries that a follower keeps which does not replay them: four times what a leader appends between two checkpoints, of
/// which it is sent each. Beyond: it folds what it has, until it has a checkpoint of its own.
pub const KEPT_ENTRIES: usize = 4 * ringside_core::limits::CHECKPOINT_ENTRIES as usize;
/// Time that a follower which only keeps the log has to fold it before the lead is granted to it. Beyond: it is granted all
/// the same, and players wait until that is done.
pub const WARMING: Duration = Duration::from_secs(3);
/// Time for which such a follower folds after it was told that it is about to lead. Beyond: it keeps the log again.
pub const WARM: Duration = Duration::from_secs(10);
/// Changes of a session's leader that are shown. Beyond: the oldest is not.
pub const HISTORY: usize = 16;
/// Sessions that a worker follows. Beyond: it does not follow a further one, and the node asks another worker.
pub const FOLLOWED: usize = SESSIONS;
/// Checkpoints that come in at a time. Beyond: the oldest is given up, and sent again.
pub const CHECKPOINTS_IN: usize = 8;
/// Time for which a checkpoint may be on its way to a follower. Beyond: it is sent again.
pub const CHECKPOINT_SENDING: Duration = Duration::from_secs(5);
/// Jobs (checkpoints to be encoded or decoded) that wait for the thread beside a worker. Beyond: they wait in the worker, one
/// for each follower that lacks one.
pub const JOBS: usize = 64;
/// Connections that wait at a follower. Beyond: refused as overloaded; their players find the new leader by a front door.
pub const STANDBYS: usize = 2 * ringside_core::limits::SLOTS;
/// Time that players have to come to the target of a move before it is granted. Beyond: they come while it goes.
pub const ANNOUNCE: Duration = Duration::from_secs(1);
/// Grants of a move that may come to nothing. Beyond: the session stays, and a warning says so.
pub const GRANTS: usize = 8;
