//! Compiled modules on disk: code, so they stay in this process's own directory, are keyed by module, rewriter and
//! engine, and are checked before they are used. A broken or foreign file is compiled anew, never trusted.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use ringside_core::ids::ModuleHash;

use crate::rewrite;

const CHECKSUM_BYTES: usize = 32;

pub(crate) struct Artefacts {
    directory: Option<PathBuf>,
    engine: u64,
}

impl Artefacts {
    pub(crate) fn new(directory: Option<PathBuf>, engine: &wasmtime::Engine) -> std::io::Result<Self> {
        if let Some(directory) = &directory {
            fs::create_dir_all(directory)?;
        }
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Artefacts { directory, engine: hasher.finish() })
    }

    fn path(&self, hash: ModuleHash) -> Option<PathBuf> {
        let name = format!("{hash}-r{}-{:016x}.compiled", rewrite::VERSION, self.engine);
        self.directory.as_ref().map(|directory| directory.join(name))
    }

    /// Over the code and what it is the code of: a file under another's name is a damaged one.
    fn checksum(&self, hash: ModuleHash, code: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&hash.0).update(&rewrite::VERSION.to_le_bytes()).update(&self.engine.to_le_bytes());
        hasher.update(code).finalize()
    }

    /// A whole, undamaged artefact of this module for this engine.
    pub(crate) fn read(&self, hash: ModuleHash) -> Option<Vec<u8>> {
        let path = self.path(hash)?;
        let mut bytes = fs::read(&path).ok()?;
        let code = bytes.len().saturating_sub(CHECKSUM_BYTES);
        if self.checksum(hash, &bytes[..code]).as_bytes() != &bytes[code..] {
            tracing::warn!(path = %path.display(), "a compiled module is damaged and is compiled anew");
            return None;
        }
        bytes.truncate(code);
        Some(bytes)
    }

    /// Keeps an artefact; a failure costs the next start a compilation, so it is only told.
    pub(crate) fn write(&self, hash: ModuleHash, code: &[u8]) {
        let Some(path) = self.path(hash) else { return };
        if let Err(error) = write_whole(&path, code, self.checksum(hash, code)) {
            tracing::warn!(path = %path.display(), %error, "a compiled module cannot be kept");
        }
    }
}

/// Writes beside and renames, so that a reader sees all of it or nothing.
fn write_whole(path: &Path, code: &[u8], checksum: blake3::Hash) -> std::io::Result<()> {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let write = WRITES.fetch_add(1, Ordering::Relaxed);
    let beside = path.with_extension(format!("writing-{}-{write}", std::process::id()));
    let written = (|| {
        let mut file = fs::File::create(&beside)?;
        file.write_all(code)?;
        file.write_all(checksum.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    })();
    if written.is_err() {
        // Nothing more can be done about a leftover than to name the error that caused it.
        let _ = fs::remove_file(&beside);
    }
    written
}
