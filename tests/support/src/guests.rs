//! Where the built programs and guests are: `cargo xtask test` says so in the environment, otherwise the usual place.

use std::path::{Path, PathBuf};

/// The bytes of a built guest (`pong`, `arena`, ...).
///
/// # Panics
/// If it is not built: `cargo xtask test` builds it first.
pub fn module(name: &str) -> Vec<u8> {
    let path = module_path(name);
    match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) => panic!("{}: {error}; run `cargo xtask test`, which builds the guests first", path.display()),
    }
}

/// Where a built guest lies.
pub fn module_path(name: &str) -> PathBuf {
    let directory = std::env::var_os("RINGSIDE_GUESTS").map_or_else(|| root().join("target-guests"), PathBuf::from);
    directory.join("modules").join(format!("{name}.wasm"))
}

/// The `ringside` program.
pub fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("RINGSIDE_BIN") {
        return path.into();
    }
    // A test program lies in target/release/deps, the program in target/release.
    let here = std::env::current_exe().unwrap_or_default();
    let directory = here.ancestors().find(|path| path.ends_with("release") || path.ends_with("debug"));
    directory.unwrap_or(Path::new("target/release")).join("ringside")
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).to_owned()
}
