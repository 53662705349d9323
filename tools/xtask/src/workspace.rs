//! Where things are: the workspace's root, its build directories and the programs in them. Builds nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Why a command of xtask could not be carried out. What was built or started before it stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This program does not lie in a cargo target directory.
    #[error("run this as `cargo xtask`, from inside the repository")]
    Place,
    /// A program could not be started.
    #[error("cannot run {program}: {source}")]
    Start {
        /// Which.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// A step that everything after it needs has failed; its own output says why.
    #[error("{0} failed; see above")]
    Step(String),
    /// The node did not come up, or went away.
    #[error("{0}")]
    Node(String),
    /// A file or directory could not be used.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The repository and its build output.
pub struct Workspace {
    root: PathBuf,
    programs: PathBuf,
}

impl Workspace {
    /// Finds the workspace that this program was built from.
    pub fn find() -> Result<Workspace, Error> {
        let manifest =
            std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        let root = manifest.ancestors().nth(2).ok_or(Error::Place)?.to_owned();
        let programs =
            std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_owned)).ok_or(Error::Place)?;
        Ok(Workspace { root, programs })
    }

    /// The repository's root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A program of this workspace, by name; it may have to be built first.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// The cargo target directory.
    pub fn target(&self) -> &Path {
        self.programs.parent().unwrap_or(&self.programs)
    }

    /// `cargo` at the root of the workspace.
    pub fn cargo(&self) -> Command {
        let mut command = ringside_guest_build::cargo();
        command.current_dir(&self.root);
        command
    }
}
