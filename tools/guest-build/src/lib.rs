//! Builds games as WebAssembly modules: finds or installs a compiler ([`toolchain`]), runs cargo as every guest needs
//! it ([`Build`]), and finds the game in a directory ([`Project`]). Some of that takes minutes, so it says on standard
//! error what it does, and cargo's own progress appears there too.
//!
//! `cargo xtask` builds the sample games with it, `ringside push` everybody's. Knows nothing of nodes.

mod build;
mod error;
mod project;
pub mod toolchain;

pub use build::{Build, cargo};
pub use error::BuildError;
pub use project::Project;
pub use toolchain::{TARGET, Toolchain};
