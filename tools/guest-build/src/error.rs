//! Why a game was not built, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::toolchain::TARGET;

/// Why a game was not built. What earlier builds made stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No compiler for WebAssembly is there, and none could be installed.
    #[error("cannot compile for {TARGET}: {0}")]
    NoToolchain(String),
    /// A program could not be started.
    #[error("cannot run {program}: {source}")]
    Start {
        /// Which.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A program failed; what it said is above.
    #[error("{0} failed; see above")]
    Failed(String),
    /// A file or directory could not be used.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory is no cargo project.
    #[error("there is no Cargo.toml in {}", .0.display())]
    NoManifest(PathBuf),
    /// Cargo does not understand the project.
    #[error("cargo does not understand {}: {reason}", manifest.display())]
    Manifest {
        /// The project's manifest.
        manifest: PathBuf,
        /// What cargo said.
        reason: String,
    },
    /// The package does not make a module.
    #[error("package {0} has no library of type cdylib, so it makes no module")]
    NoModule(String),
    /// None of the workspace's packages makes a module.
    #[error("no package of the workspace in {} has a library of type cdylib", .0.display())]
    NoGame(PathBuf),
    /// Several packages of the workspace make modules.
    #[error("the workspace in {} has several games", workspace.display())]
    SeveralGames {
        /// The workspace.
        workspace: PathBuf,
        /// Their packages' directories.
        games: Vec<PathBuf>,
    },
}

const CDYLIB: &str = "write into its Cargo.toml:  [lib]  crate-type = [\"cdylib\", \"rlib\"]";

impl BuildError {
    /// What to do; empty where the error says it all.
    pub fn advice(&self) -> String {
        match self {
            BuildError::NoToolchain(_) => format!(
                "install the target by `rustup target add {TARGET}`, or, where rustup cannot download, on Debian and \
                 Ubuntu by `apt-get install rustc-web rust-web-src lld`, and try again"
            ),
            BuildError::Start { program, source } if program == "cargo" && source.kind() == io::ErrorKind::NotFound => {
                "install Rust: https://rustup.rs".to_owned()
            }
            BuildError::NoManifest(_) => {
                "name a game's directory or a .wasm file; `ringside new NAME` makes a game".to_owned()
            }
            BuildError::NoModule(_) | BuildError::NoGame(_) => CDYLIB.to_owned(),
            BuildError::SeveralGames { games, .. } => {
                let names: Vec<_> = games.iter().map(|game| game.display().to_string()).collect();
                format!("name the directory of one: {}", names.join(", "))
            }
            BuildError::Start { .. }
            | BuildError::Failed(_)
            | BuildError::File { .. }
            | BuildError::Manifest { .. } => String::new(),
        }
    }

    /// The error and what to do, for where both go into one text.
    pub fn full(&self) -> String {
        let advice = self.advice();
        if advice.is_empty() { self.to_string() } else { format!("{self}\n{advice}") }
    }
}

/// Makes an I/O error of a file or directory one of a build.
pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> BuildError {
    let path = path.to_owned();
    move |source| BuildError::File { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_somebody_can_mend_say_how() {
        let missing = |program: &str| BuildError::Start {
            program: program.to_owned(),
            source: io::Error::from(io::ErrorKind::NotFound),
        };
        assert!(missing("cargo").full().ends_with("\ninstall Rust: https://rustup.rs"));
        assert!(!missing("apt-get").full().contains('\n'));
        let several = BuildError::SeveralGames { workspace: "/w".into(), games: vec!["/w/a".into(), "/w/b".into()] };
        assert_eq!(several.full(), "the workspace in /w has several games\nname the directory of one: /w/a, /w/b");
        assert!(
            BuildError::NoToolchain("none".to_owned()).advice().contains("rustup target add wasm32-unknown-unknown")
        );
    }
}
