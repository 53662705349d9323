//! A directory for one test, removed at its end.

use std::path::PathBuf;

/// The directory.
pub struct Scratch(pub PathBuf);

impl Scratch {
    /// An empty directory; `name` must be the test's own.
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringside-node-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
