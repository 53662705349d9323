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
/// Handshakes that may be under way at a time. Beyond: first packets with a token are dropped.
pub const HANDSHAKES: usize = 512;
/// Handshake packets of peers that showed their address (a token, or a handshake under way) that may wait. Beyond: dropped
/// unparsed and counted.
pub const VALIDATED_WAITING: usize = 512;
/// First packets without a token that may wait: each can be spoofed, and is answered with a Retry. Beyond: dropped unparsed
/// and counted.
pub const FIRST_WAITING: usize = 256;
/// Time for which a proof of an address spares its holder a Retry. Beyond: they get one.
pub const ADDRESS_TOKEN_LIFETIME: Duration = Duration::from_secs(10);
/// Proofs of addresses that are remembered so that each is believed once: twice a handshake's share of the connections that
/// a core accepts in their time. Beyond: further ones are not believed, and their holders get a Retry.
pub const ADDRESS_TOKENS: usize = 16_384;
/// Answers to packets of no connection (stateless resets, version negotiation) that wait for a turn. Beyond: not answered.
pub const RESPONSES: usize = 16;
/// Bytes of frames that wait for a connection's stream. Beyond: further outputs stay in the session's state, which has a
/// bound of its own.
pub const STREAM_WAITING_BYTES: usize = 64 << 10;
