//! What every benchmark is given, and how one can fail.

use std::path::{Path, PathBuf};

/// Why a benchmark has no figure.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// This machine lacks something that the benchmark needs.
    #[error("{0}")]
    Skipped(String),
    /// There is no benchmark of that name.
    #[error("no benchmark is called {0:?}; `list` prints the names")]
    Unknown(String),
    /// A process could not be started or talked to.
    #[error("a measured process: {0}")]
    Process(std::io::Error),
    /// A process does not behave as agreed.
    #[error("a measured process {0}")]
    Child(String),
    /// Something could not be set up or asked.
    #[error("{0}")]
    Setup(String),
}

impl BenchError {
    /// Anything that goes wrong while setting up.
    pub fn setup(error: impl std::fmt::Display) -> BenchError {
        BenchError::Setup(error.to_string())
    }
}

/// Where things are and how long to measure.
pub struct Context {
    full: bool,
    program: PathBuf,
    guests: PathBuf,
    scratch: PathBuf,
}

impl Context {
    /// Reads where things are from the environment that `cargo xtask bench` sets, or assumes the usual places.
    pub fn from_environment(full: bool) -> Result<Context, BenchError> {
        let here = std::env::current_exe().map_err(BenchError::Process)?;
        let directory = here.parent().unwrap_or(Path::new("."));
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."));
        let place = |variable, usual: PathBuf| std::env::var_os(variable).map_or(usual, PathBuf::from);
        Ok(Context {
            full,
            program: place("RINGSIDE_BIN", directory.join("ringside")),
            guests: place("RINGSIDE_GUESTS", root.join("target-guests")),
            scratch: place("RINGSIDE_SCRATCH", directory.join("bench")),
        })
    }

    /// How many pairs to measure: `usual`, or at least 15 for the record.
    pub fn pairs(&self, usual: usize) -> usize {
        if self.full { usual.max(15) } else { usual }
    }

    /// Whether this is for the record.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// The `ringside` program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The bytes of a built guest.
    pub fn guest(&self, name: &str) -> Result<Vec<u8>, BenchError> {
        let path = self.guest_path(name);
        std::fs::read(&path)
            .map_err(|error| BenchError::Setup(format!("{}: {error}; `cargo xtask bench` builds it", path.display())))
    }

    /// Where a built guest lies.
    pub fn guest_path(&self, name: &str) -> PathBuf {
        self.guests.join("modules").join(format!("{name}.wasm"))
    }

    /// A directory for what a benchmark writes; made if absent.
    pub fn scratch(&self, name: &str) -> Result<PathBuf, BenchError> {
        let path = self.scratch.join(name);
        std::fs::create_dir_all(&path).map_err(|error| BenchError::Setup(format!("{}: {error}", path.display())))?;
        Ok(path)
    }
}
