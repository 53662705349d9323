//! The state directory: what a node keeps between runs, one node at a time. Owns its version, its lock and the names
//! of everything in it; what the files hold is their owners' business.
//!
//! ```text
//! version            format of this directory         lock         held while a node runs
//! node.json          how the command line finds the node (while it runs)
//! node.id            its number, drawn once           cluster.json the secret that makes it a member of its cluster
//! generation         its last start, ms since 1970    nodes.json   where the other nodes were
//! admin.token        bearer token of the admin API    artefacts/   compiled modules, this machine's only
//! certificate.json   what players connect to          store/       the store, unless configured elsewhere
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The bearer token of the admin API.
pub const TOKEN_FILE: &str = "admin.token";
/// What the version file says.
const VERSION: &str = "ringside state 1\n";

/// How the command line finds a running node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFile {
    /// The node's process.
    pub pid: u32,
    /// URL of the admin API.
    pub admin: String,
    /// Its number in its cluster.
    pub node: String,
    /// Addresses where players connect, one a worker.
    pub workers: Vec<std::net::SocketAddr>,
    /// Where other nodes reach its links.
    pub links: std::net::SocketAddr,
    /// SHA-256 of the certificate to expect there, in hexadecimal.
    pub certificate_sha256: String,
}

/// Why a directory cannot be a node's state.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be made, read or written.
    #[error("state directory {}: cannot {action} {}: {source}", directory.display(), file.display())]
    Io {
        /// The directory.
        directory: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The file.
        file: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The path is a file.
    #[error("state directory {}: it is not a directory: choose another with --state", .0.display())]
    NotADirectory(PathBuf),
    /// Somebody else's files are there.
    #[error(
        "state directory {}: it holds {found:?} and no `version` file, so it is no state directory: choose an empty \
         or new one with --state", directory.display()
    )]
    Foreign {
        /// The directory.
        directory: PathBuf,
        /// One of the files.
        found: String,
    },
    /// Another release made it.
    #[error(
        "state directory {}: its version is {found:?}, this release reads {:?}: use the release that made it, or \
         another directory with --state", directory.display(), VERSION.trim_end()
    )]
    Version {
        /// The directory.
        directory: PathBuf,
        /// What the version file says, cut.
        found: String,
    },
    /// A node runs on it.
    #[error(
        "state directory {}: a node runs on it{}: stop that one, or choose another directory with --state",
        directory.display(), pid.as_ref().map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    Locked {
        /// The directory.
        directory: PathBuf,
        /// The node's process, if it said.
        pid: Option<String>,
    },
    /// A file holds what it should not.
    #[error("state directory {}: {} {what}: {hint}", directory.display(), file.display())]
    Garbage {
        /// The directory.
        directory: PathBuf,
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: &'static str,
        /// What to do.
        hint: &'static str,
    },
}

/// A state directory that this process holds the lock of.
#[derive(Debug)]
pub struct StateDirectory {
    path: PathBuf,
    /// Dropping it gives the lock up, also when the process dies. None while another process has it that this one succeeds.
    lock: Option<File>,
}

impl StateDirectory {
    /// Opens or makes the directory and takes its lock.
    ///
    /// # Errors
    /// [`StateError`]; nothing was changed, except that a missing directory may have been made.
    pub fn open(path: &Path) -> Result<StateDirectory, StateError> {
        let at =
            |action, file: &Path, source| StateError::Io { directory: path.into(), action, file: file.into(), source };
        match fs::metadata(path) {
            Ok(metadata) if !metadata.is_dir() => return Err(StateError::NotADirectory(path.into())),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(path).map_err(|error| at("make", path, error))?;
                fs::set_permissions(path, fs::Permissions::from_mode(0o700))
                    .map_err(|error| at("protect", path, error))?;
            }
            Err(error) if error.kind() == ErrorKind::NotADirectory => {
                return Err(StateError::NotADirectory(path.into()));
            }
            Err(error) => return Err(at("read", path, error)),
        }
        let path = path.canonicalize().map_err(|error| at("read", path, error))?;
        let version_is_new = check_version(&path)?;
        let lock = take_lock(&path)?;
        if version_is_new {
            write_private(&path, &path.join("version"), VERSION.as_bytes())?;
        }
        Ok(StateDirectory { path, lock: Some(lock) })
    }

    /// Opens the directory of a node that runs, which this process is to succeed: its lock is taken later
    /// ([`StateDirectory::lock`]).
    ///
    /// # Errors
    /// [`StateError`].
    pub fn open_beside(path: &Path) -> Result<StateDirectory, StateError> {
        let at = |source| StateError::Io { directory: path.into(), action: "read", file: path.into(), source };
        let path = path.canonicalize().map_err(at)?;
        check_version(&path)?;
        Ok(StateDirectory { path, lock: None })
    }

    /// Takes the lock, if it is not held yet.
    ///
    /// # Errors
    /// [`StateError::Locked`] as long as the other process runs.
    pub fn lock(&mut self) -> Result<(), StateError> {
        if self.lock.is_none() {
            self.lock = Some(take_lock(&self.path)?);
        }
        Ok(())
    }

    /// Kills a process if it has the lock's file open. Whether it had.
    pub fn kill_holder(&self, pid: u32) -> bool {
        let number = libc::pid_t::try_from(pid).ok().filter(|pid| *pid > 1);
        let (Some(number), Ok(file)) = (number, self.path.join("lock").canonicalize()) else { return false };
        let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        let is_it = |entry: fs::DirEntry| fs::read_link(entry.path()).is_ok_and(|open| open == file);
        // SAFETY: of two numbers.
        open.flatten().any(is_it) && unsafe { libc::kill(number, libc::SIGKILL) } == 0
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A directory inside, made if missing.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn directory(&self, name: &str) -> Result<PathBuf, StateError> {
        let directory = self.path.join(name);
        fs::create_dir_all(&directory).map_err(|source| self.io("make", &directory, source))?;
        Ok(directory)
    }

    /// The content of a file; `None` where it is missing.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        let file = self.path.join(name);
        match fs::read(&file) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.io("read", &file, source)),
        }
    }

    /// The content of a file that only the owner may read, made with `new` where it is missing.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn secret(&self, name: &str, new: impl FnOnce() -> Vec<u8>) -> Result<Vec<u8>, StateError> {
        if let Some(content) = self.read(name)? {
            return Ok(content);
        }
        let content = new();
        self.write(name, &content)?;
        Ok(content)
    }

    /// Writes a file that only the owner may read, whole or not at all.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), StateError> {
        write_private(&self.path, &self.path.join(name), content)
    }

    /// Says how to reach the node.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn publish(&self, node: &NodeFile) -> Result<(), StateError> {
        let text = serde_json::to_vec_pretty(node).unwrap_or_default();
        self.write("node.json", &text)
    }

    /// The node can no longer be reached.
    pub fn unpublish(&self) {
        // Without it the command line says that no node runs; with it, that the node does not answer.
        let _ = fs::remove_file(self.path.join("node.json"));
    }

    /// An error about a file's content.
    pub fn garbage(&self, name: &str, what: &'static str, hint: &'static str) -> StateError {
        StateError::Garbage { directory: self.path.clone(), file: self.path.join(name), what, hint }
    }

    fn io(&self, action: &'static str, file: &Path, source: std::io::Error) -> StateError {
        StateError::Io { directory: self.path.clone(), action, file: file.into(), source }
    }
}

/// Whether the directory is new (empty); an error if it is not ours.
fn check_version(path: &Path) -> Result<bool, StateError> {
    let io = |action, file: PathBuf, source| StateError::Io { directory: path.into(), action, file, source };
    let file = path.join("version");
    match fs::read(&file) {
        Ok(content) if content == VERSION.as_bytes() => Ok(false),
        Ok(content) => {
            let found = String::from_utf8_lossy(&content).trim_end().chars().take(40).collect();
            Err(StateError::Version { directory: path.into(), found })
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mut entries = fs::read_dir(path).map_err(|error| io("read", path.into(), error))?;
            // These alone were left by a start that failed before the version was written.
            let started = |name: &std::ffi::OsStr| name == "lock" || name == "version.new";
            match entries.find_map(|entry| entry.ok().filter(|entry| !started(&entry.file_name()))) {
                None => Ok(true),
                Some(entry) => Err(StateError::Foreign {
                    directory: path.into(),
                    found: entry.file_name().to_string_lossy().into_owned(),
                }),
            }
        }
        Err(error) => Err(io("read", file, error)),
    }
}

fn take_lock(path: &Path) -> Result<File, StateError> {
    let file = path.join("lock");
    let io = |source| StateError::Io { directory: path.into(), action: "lock", file: file.clone(), source };
    let mut lock =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&file).map_err(io)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = (&lock).take(20).read_to_string(&mut pid);
            let pid = Some(pid.trim().to_owned()).filter(|pid| pid.parse::<u32>().is_ok());
            return Err(StateError::Locked { directory: path.into(), pid });
        }
        Err(fs::TryLockError::Error(error)) => return Err(io(error)),
    }
    // For people, and for a successor that waits in vain: a full disk is no reason to let go of the lock.
    let said = lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| writeln!(lock, "{}", std::process::id()));
    if let Err(error) = said {
        tracing::warn!(file = %file.display(), %error, "the lock does not say which process has it");
    }
    Ok(lock)
}

fn write_private(directory: &Path, file: &Path, content: &[u8]) -> Result<(), StateError> {
    let io = |source| StateError::Io { directory: directory.into(), action: "write", file: file.into(), source };
    let temporary = file.with_extension("new");
    let _ = fs::remove_file(&temporary);
    let mut handle = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).map_err(io)?;
    handle.write_all(content).and_then(|()| handle.sync_all()).map_err(io)?;
    fs::rename(&temporary, file).map_err(io)?;
    // The name is safe when its directory is: a key that is lost after a crash makes every token invalid.
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(io)
}

/// Reads `node.json` of a state directory, for the command line.
///
/// # Errors
/// What to tell the user.
pub fn find_node(state: &Path) -> Result<NodeFile, String> {
    let file = state.join("node.json");
    let text = fs::read(&file).map_err(|error| match error.kind() {
        ErrorKind::NotFound => format!(
            "no node runs on state directory {}: start one with `ringside node`, or name its directory with --state",
            state.display()
        ),
        _ => format!("cannot read {}: {error}", file.display()),
    })?;
    serde_json::from_slice(&text).map_err(|error| format!("{} is damaged: {error}", file.display()))
}

#[cfg(test)]
mod tests;
