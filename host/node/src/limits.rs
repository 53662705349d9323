//! Every bound of the node's own queues, tables and waits, each with what happens at it. What bounds players is in
//! `ringside_protocol::limits`, what bounds guests and sessions in `ringside_core::limits`. `tests/scenarios` names the
//! test that reaches each.

use std::time::Duration;

/// Requests and news that wait for the control task. Beyond: a request is refused as busy; the workers' forwarder waits
/// (never a worker).
pub const CONTROL_QUEUE: usize = 4_096;
/// Time that an answer of the control task may take. Beyond: the caller is told to try again.
pub const CONTROL_ANSWER: Duration = Duration::from_secs(15);
/// Time for which somebody who ends a session waits until that is safe. Beyond: the answer is that it is ending.
pub const END_ANSWER: Duration = Duration::from_secs(3);
/// Events of all workers that wait for the forwarding thread. Beyond: they wait in the workers' own bounded queues.
pub const WORKER_EVENTS: usize = 8_192;

/// Signals of guests that wait until it is known who leads their target. Beyond: dropped and counted
/// (`ringside_signals_dropped_total`), so that guests use up no player's requests.
pub const SIGNALS: usize = 256;

/// Connections to the admin API at a time. Beyond: they wait in the system's backlog until one ends.
pub const ADMIN_CONNECTIONS: usize = 64;
/// Time until the whole head of a request is there, counted from the connection's begin or the answer before. Beyond:
/// closed, so that silent connections do not keep others out.
pub const ADMIN_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that a peer may take none of its answer. Beyond: closed.
pub const ADMIN_WRITE_STALL: Duration = Duration::from_secs(30);
/// Bytes of the head of a request to either HTTP service. Beyond: refused and closed.
pub const HTTP_HEAD_BYTES: usize = 16 << 10;
/// Bytes of a JSON body: a configuration of 64 KiB in hexadecimal, and room. Beyond: refused.
pub const BODY_BYTES: usize = 256 << 10;
/// Time that a request's body may take. Beyond: refused.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Uploads at a time, each with its bytes in memory. Beyond: refused as busy, to be tried again.
pub const UPLOADS: usize = 2;

/// Connections to resolve at a time. Beyond: they wait in the system's backlog until one ends.
pub const RESOLVE_CONNECTIONS: usize = 256;
/// Connections of one address (IPv6: of one /64) to resolve at a time, an eighth of all. Beyond: closed at once.
pub const RESOLVE_ADDRESS_CONNECTIONS: usize = 32;
/// Questions of one address (IPv6: of one /64) to resolve a second, in the long run: a campus that comes back from its
/// lessons. Beyond: refused as `address-limit`; beyond twice as many, closed before a handshake is spent on it.
pub const RESOLVE_RATE: u32 = 16;
/// Questions of one address to resolve at once. Beyond: refused as `address-limit`; beyond twice as many, closed before a
/// handshake is spent on it.
pub const RESOLVE_BURST: u32 = 64;
/// Addresses whose questions to resolve are counted: at the rate, about 100 bytes each. Beyond: further ones are closed at
/// once; those that have not asked for some seconds are forgotten.
pub const RESOLVE_ADDRESSES: usize = 8_192;
/// Time that the TLS handshake of a connection to resolve may take. Beyond: closed.
pub const RESOLVE_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// Time until the whole head of a question to resolve is there. Beyond: closed.
pub const RESOLVE_HEAD_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of a question to resolve: a token of 2048, criteria of 256 at their longest in JSON, names. Beyond: refused as
/// `too-large`.
pub const RESOLVE_BODY_BYTES: usize = 4 << 10;
/// Time that a question's body may take. Beyond: refused as `open-timeout`.
pub const RESOLVE_BODY_TIMEOUT: Duration = Duration::from_secs(3);
/// Time that a peer may take none of its answer. Beyond: closed.
pub const RESOLVE_WRITE_STALL: Duration = Duration::from_secs(5);
/// Questions to resolve that wait for the directory, those that nobody waits for any more included. Beyond: refused as
/// `overloaded`, so that they take no opening player's place.
pub const RESOLVES: usize = 512;

/// Batches that wait for the recorder. Beyond: the session's recording ends there, counted as a gap.
pub const RECORDER_BATCHES: usize = 8_192;
/// Bytes that wait for the recorder. Beyond: the session's recording ends there, counted as a gap.
pub const RECORDER_BYTES: u64 = 64 << 20;
/// Bytes that make a segment. Beyond: it is written at once.
pub const SEGMENT_BYTES: usize = 256 << 10;
/// Age of a segment's first batch. Beyond: it is written though it is small.
pub const SEGMENT_AGE: Duration = Duration::from_secs(2);
/// Segments of a recording. Beyond: the recording ends there, counted as a gap.
pub const SEGMENTS: u32 = 999_999;
/// Versions of a game. Beyond: pushes of it are refused.
pub const VERSIONS: u32 = 999_999;

/// Longest life of a token that the node issues, seconds: a year. Beyond: refused.
pub const TOKEN_LIFETIME_S: u64 = 365 * 86_400;
/// Time that players get to hear that the node stops, and recordings to be written. Beyond: the node stops all the same,
/// and says so.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);

// Of the cluster.

/// Other nodes whose links are kept between runs. Beyond: further ones are not, any one that answers leads to the rest.
pub const REMEMBERED_NODES: usize = 32;
/// Players that a node relays. Beyond: a further one is refused as overloaded. At one leader they all have this node's
/// address, which may have 1 024 connections.
pub const NODE_RELAYS: usize = 960;
/// Relays of a node that are not let in by their leaders yet. Beyond: the next waits for its turn. At one leader an
/// address may have 256 connections that are not attached.
pub const OPENING_RELAYS: usize = 128;
/// Datagrams of a relayed player to their leader that wait. Beyond: the newest is dropped and counted
/// (`ringside_relay_datagrams_dropped_total`).
pub const RELAY_DATAGRAMS: usize = 64;
/// Messages to another node that wait. Beyond: they are dropped and counted, and their state machines try again.
pub const LINK_QUEUE: usize = 1024;
/// Parts of long messages to another node that wait, 64 KiB each. Beyond: whoever sends waits.
pub const LINK_PARTS: usize = 4;
/// Bytes of a message on a link: a page of directory entries, with room. Beyond: whoever has one drops and counts it; a
/// peer that sends one is closed.
pub const LINK_FRAME_BYTES: usize = 256 << 10;
/// Nodes that this one has links to, at a time. Beyond: messages to further ones are dropped and counted.
pub const LINK_PEERS: usize = 1024;
/// Handshakes and greetings of nodes at a time. Beyond: the connection is refused.
pub const LINK_GREETINGS: usize = 64;
/// Those of one address (IPv6: of one /64), a quarter of all. Beyond: the connection is refused, so that a stranger keeps no node
/// out.
pub const LINK_ADDRESS_GREETINGS: usize = 16;
/// Links that others made, at a time. Beyond: refused.
pub const LINKS: usize = 2048;
/// Messages of all links that wait to be handed on. Beyond: the links wait, and whoever sends on them behind QUIC's window.
pub const LINK_INBOX: usize = 1024;
/// Questions of other nodes that are answered at a time. Beyond: a question is dropped and counted
/// (`ringside_questions_dropped_total`), and counts as not answered there.
pub const ANSWERS: usize = 64;
/// Orders to membership, and what other nodes' memberships say, that wait. Beyond: whoever has one waits, the links
/// included.
pub const MEMBER_ORDERS: usize = 1024;
/// Values that wait to be gossiped. Beyond: whoever has one waits.
pub const GOSSIP_VALUES: usize = 256;
/// Questions to other nodes that wait for answers. Beyond: a question counts as not answered.
pub const QUESTIONS: usize = 1024;
/// Bytes of an answer of another node: all sessions of a full node, with room. A module may have as many as an upload.
/// Beyond: it counts as not answered.
pub const ANSWER_BYTES: usize = 8 << 20;
/// Processes whose heartbeats are remembered, restarted ones included. Beyond: further ones are not heard.
pub const PULSES: usize = 4 * ringside_core::limits::NODES;
/// Runs of nodes that are kept out because their numbers are taken. Beyond: the oldest number is let try again.
pub const REFUSED_RUNS: usize = 64;
/// Bytes of a value in gossip, the longest: the fact of a node with all the workers that can be configured, on IPv6. An ordinary one
/// has 200 to 300; what does not fit into one datagram goes with the next round.
/// Beyond: it is not said.
pub const GOSSIP_VALUE_BYTES: usize = 5120;
/// Modules that were served until lately and are kept ready, for sessions of them that other nodes lead. Beyond: the oldest
/// is forgotten, and no further session of it is followed here.
pub const FORMER_MODULES: usize = 16;
/// Sessions that went to other nodes and are remembered for whoever has them moved. Beyond: the oldest is forgotten; who asks then
/// is told that it is not here.
pub const DEPARTED: usize = 1024;
/// Questions about chains of leadership records that are with the store. Beyond: a session that would begin is refused, and
/// other questions are asked again when their time is over.
pub const CHAIN_QUESTIONS: usize = 256;
/// Sessions that somebody wants and that are not over by their records, and for whose leaders it is looked. Beyond: a further
/// one is not looked after until it is asked for again.
pub const WANTED: usize = 1_024;
/// Words that wait for the task of idle sessions. Beyond: what would be evicted stays in memory for longer, and a session that
/// would begin is refused for the moment.
pub const IDLE_QUEUE: usize = 1_024;
/// Evicted sessions that one answer lists. Beyond: it says that there are more.
pub const LISTED_ASLEEP: usize = 1_000;
/// Words that wait for the log of durable sessions. Beyond: workers' news wait, and of a session that
/// begins just then nothing is known, should it be lost, but what its log says.
pub const LOG_QUEUE: usize = 8_192;
/// Sessions that do not get away from a node that leaves, and are named in what is shown of it. Beyond: they are counted
/// among its sessions, and named in its log.
pub const STUCK_SHOWN: usize = 16;
/// Bytes of what the two processes of a handover say at once. Beyond: it is not sent; a process that sends more is not heard
/// any further.
pub const HANDOVER_FRAME_BYTES: usize = 1 << 20;
/// Things that wait to be said in a handover, each way. Beyond: they are dropped, and what directories say is repeated.
pub const HANDOVER_QUEUE: usize = 256;
/// Checkpoints among them, each with a memory object: a quarter of the sessions that go at a time. Beyond: they go over the
/// workers' links; the successor reads no further while so many that came are not decoded.
pub const HANDOVER_OBJECTS: usize = 16;
/// Bytes of one of those: what a link carries. Beyond: it goes over the link, which refuses it; the successor does not read
/// it.
pub const HANDOVER_OBJECT_BYTES: usize = ringside_worker::limits::PEER_LONG_BYTES;
/// Parts of logs (branches that lost, sides of divergences) that the store keeps of a session. Beyond: a further one is not
/// kept, and an error in the log says so, until somebody deletes some.
pub const KEPT: usize = 8;
/// Those of all sessions of a game. Beyond: likewise.
pub const KEPT_OF_GAME: usize = 64;
/// Bytes of one. Beyond: likewise.
pub const KEPT_BYTES: usize = 64 << 20;
