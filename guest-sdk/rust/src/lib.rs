//! Write a match as an ordinary state machine; a host runs, moves, records and replays it.
//!
//! Three floors, the contract (`game.wit`) below them:
//! 1. `raw` (in modules): the imports and exports as generated from the contract.
//! 2. [`Context`], [`Description`] and the small types: the same, checked and typed.
//! 3. [`Game`] and [`export!`]: typed inputs, outputs and views; the SDK decodes, encodes and writes views.
//!
//! [`Match`] plays a game natively in a test. [`math`] has the functions that the standard library leaves to the
//! platform. This crate never depends on the host's crates, and games need no other.

mod codec;
mod context;
mod description;
mod export;
mod game;
#[cfg(not(target_arch = "wasm32"))]
mod harness;
mod imports;
pub mod math;
#[cfg(target_arch = "wasm32")]
pub mod raw;
mod runner;
mod types;

pub use codec::{Bytes, DecodeError, decode, encode};
pub use context::Context;
pub use description::{Description, Followers, PartitionPolicy, Tier};
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub use export::glue;
pub use game::Game;
#[cfg(not(target_arch = "wasm32"))]
pub use harness::{Effect, Match, Seed};
pub use runner::Runner;
pub use types::{LeaveReason, LogLevel, Refusal, Slot, Timer};

/// The examples of the documentation page are tests too.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
