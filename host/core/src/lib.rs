//! Ringside's decisions without I/O: identities, limits, the log and everything that must come out the same on
//! every node. Nothing in this crate reads a clock, draws a random number, opens a file or a socket.
//!
//! # A node of a cluster
//!
//! Three state machines and two pure functions make a node. A shell gives them what it hears and does what they say:
//!
//! ```text
//!   gossip ──Fact, age──► Membership ──Arc<View>──► Directory ──Create, End──► workers
//!   links ◄──Send, ping──►    │                        ▲  │ ◄──created, joined, left, ended──┘
//!                             └──loads, eras──┐        │  └──Send──► links to other nodes' directories
//!   players ──► route(view, known, arrival) ──┴──asks──┘ ──Answer──► players, operators
//! ```
//!
//! - [`membership::Membership`]: who is there. Give it each fact and heartbeat that gossip brings
//!   (`handle_gossip`), messages of other nodes, its own load; publish the facts that it says, send its messages to the
//!   control addresses that come with them, and hand its views to the directory.
//! - [`directory::Directory`]: which sessions there are and who leads them. Give it views, loads, callers' requests,
//!   what workers report, and other directories' messages with the run ([`ids::Node`]) that the link authenticated.
//! - [`routing::tickets::Tickets`], one a worker: whom another node sent here.
//! - [`ring::Ring`] and [`placement::place`]: whose a name is, and where a session goes. The directory uses them; tools
//!   may use them to explain ([`placement::reproduce`]).
//! - [`rebalance::Rebalance`] and [`waves::Waves`]: which sessions go to other nodes by themselves, and how many at a time.
//! - [`routing::route`]: what becomes of a player who came to this port.
//!
//! All state machines are driven alike: call a `handle_*(now, ..)`, then `poll_*()` until it says `None`, then sleep
//! until `next_timeout()` at the latest and call `handle_timeout(now)`. `now` is µs of one monotonic clock that goes on
//! while the machine sleeps. Messages are plain data (`serde`) and survive loss, doubling and reordering: the shell
//! need not repeat anything, and drops what it cannot send at once. Views are to be handed over in the order in which
//! they come, before messages that came after them.

pub mod directory;
pub mod durable;
pub mod envelope;
#[doc(hidden)]
pub mod fuzz;
pub mod idle;
pub mod ids;
pub mod leadership;
pub mod limits;
pub mod log;
pub mod membership;
pub mod output;
pub mod placement;
pub mod random;
pub mod rebalance;
pub mod recording;
pub mod ring;
pub mod routing;
pub mod waves;

mod timers;
