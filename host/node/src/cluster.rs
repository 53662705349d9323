//! What nodes say to each other, below what they decide: the secret that makes them one cluster, sealed gossip, the links
//! that carry control messages, and the tasks that feed with them the state machines of `ringside-core`, which decide.
//!
//! ```text
//!  gossip ─snapshots─► pulse ─facts, ages─► member ─views─► control task
//!  links ─► inbox ─┬─ memberships' words ──┘                   ▲
//!                  ├─ directories' messages, signals ──────────┘
//!                  └─ questions, answers ─► peers ◄─ operators, games
//! ```

pub mod counted;
pub mod fact;
pub mod games;
pub mod gossip;
pub mod inbox;
pub mod join;
pub mod links;
pub mod member;
pub mod peers;
pub mod pulse;
pub mod remembered;
pub mod running;
pub mod seal;
pub mod secret;
pub mod versions;
pub mod wire;
