//! A node's process is replaced while its matches go on: the new one, the successor, is started beside the old one with
//! the same state directory and number and the next generation, and takes its sessions one by one.
//!
//! ```text
//!  old process                                            successor (standard input: the other end of a Unix socket)
//!  starts it ─────────────────────────────────────────►
//!        ◄── Hello: release, formats ──────────────────   refused where they differ; the old one goes on
//!        ─── Welcome: the cluster as it is ───────────►   opens the state directory, compiles the games, starts workers
//!        ◄── Ready: its workers ───────────────────────   on ports of their own
//!        ◄─► what directories say to each other, Cluster, Alive
//!   each session moves there as to any other node: its players are told, connect, and are attached as it is granted;
//!   its checkpoint goes ahead as a sealed memory object over the socket, the log's tail over the workers' link
//!        ─── Spare ───────────────────────────────────►   counts on the old process no longer where a session is safe without
//!        ◄── Spared: how many are left, until none is ─
//!        ─── Take, with the sockets of door, resolve, admin, links and gossip ──►   reads none of them yet
//!        ◄── Taken ────────────────────────────────────
//!   exits 0 ── (end of the socket) ───────────────────►   takes the lock, serves on those sockets: it is the node
//! ```
//!
//! **The pair is one node.** Only the old process is a member of the cluster until it exits, and only the new one after
//! that, in the state in which the old one was, at the same addresses: the ring's positions do not change, and nobody
//! ever hears of two. Until then the successor's directory speaks to the old one's alone (each counts the other as
//! present, on no ring), and its workers, which other nodes' workers know by nothing but what it tells them, keep the
//! links of both runs up.
//!
//! **Before `Take` nothing is final.** What was granted is followed by the old process, which counts, until the successor
//! is told to take over: should that one crash, hang or fall silent it is killed, and what it led goes on in the old
//! process like after any leader's death. Only durable sessions, and those that another node follows as well, do without it from
//! `Spare` on: their records are in the store, where a thousand take seconds, in which players would wait for a follower that is
//! gone. The old process follows them all the same, and sends on whoever comes to it. Should the successor die just then they go on
//! at that other node, or from the store, some seconds later. **After `Take`** the old process has nothing left but to end; one that does not is
//! killed by the successor, which alone has everything by then and waits for that as long as it takes. Every other wait has a
//! deadline. A memory object that is lost, damaged or not sealed costs time and nothing else: the checkpoint is sent again,
//! over the workers' link.

pub mod channel;
pub mod formats;
pub mod giving;
pub mod memory;
pub mod messages;
pub mod progress;
pub mod taking;

pub use progress::Upgrades;
