//! Builds the guests (sample games and fixtures) for WebAssembly, into a target directory of their own.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds every guest of the workspace; the error says what to do.
pub fn build(root: &Path) -> Result<(), String> {
    let status = Command::new("cargo")
        .args(["build", "--profile", "wasm", "--target", "wasm32-unknown-unknown", "--target-dir", "target-guests"])
        .args(["--package", "pong", "--package", "arena", "--package", "chess"])
        .current_dir(root)
        .status()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if status.success() { Ok(()) } else { Err("install the target: rustup target add wasm32-unknown-unknown".into()) }
}

/// Where a built guest lies.
pub fn module(root: &Path, name: &str) -> PathBuf {
    root.join("target-guests/wasm32-unknown-unknown/wasm").join(format!("{name}.wasm"))
}
