//! A file that is there whole or not at all: it is written beside its place and then takes it. What was there before
//! stays until then, and stays if the writing fails.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file on its way.
pub struct Saving {
    file: File,
    /// What it is written as until it is whole, and where it goes; a device or pipe is written as it is.
    rename: Option<(PathBuf, PathBuf)>,
}

impl Saving {
    /// Begins to write `path`.
    ///
    /// # Errors
    /// The file system's; nothing changed.
    pub fn begin(path: &Path) -> io::Result<Saving> {
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
            return Ok(Saving { file: OpenOptions::new().write(true).open(path)?, rename: None });
        }
        let name = path.file_name().filter(|_| !path.is_dir());
        let name = name.ok_or_else(|| io::Error::from(io::ErrorKind::IsADirectory))?;
        let mut beside = OsString::from(".");
        beside.push(name);
        beside.push(format!(".{:016x}", crate::random::u64()));
        let beside = path.with_file_name(beside);
        let file = OpenOptions::new().write(true).create_new(true).open(&beside)?;
        Ok(Saving { file, rename: Some((beside, path.to_owned())) })
    }

    /// Appends.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// It is whole: it takes its place.
    ///
    /// # Errors
    /// The file system's; what was there before is there.
    pub fn finish(mut self) -> io::Result<()> {
        if let Some((beside, path)) = &self.rename {
            self.file.sync_all()?;
            fs::rename(beside, path)?;
            self.rename = None;
        }
        Ok(())
    }
}

impl Drop for Saving {
    fn drop(&mut self) {
        if let Some((beside, _)) = &self.rename {
            let _ = fs::remove_file(beside);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn what_was_there_stays_until_the_new_is_whole() {
        let scratch = Scratch::new("saving");
        fs::create_dir_all(&scratch.0).unwrap();
        let path = scratch.0.join("a.recording");
        fs::write(&path, "old").unwrap();
        let files = || fs::read_dir(&scratch.0).unwrap().count();
        let mut saving = Saving::begin(&path).unwrap();
        saving.write(b"half").unwrap();
        drop(saving);
        assert_eq!((fs::read(&path).unwrap(), files()), (b"old".to_vec(), 1), "the answer broke off");
        let mut saving = Saving::begin(&path).unwrap();
        saving.write(b"new").unwrap();
        saving.finish().unwrap();
        assert_eq!((fs::read(&path).unwrap(), files()), (b"new".to_vec(), 1));
        assert!(Saving::begin(&scratch.0).is_err() && Saving::begin(&scratch.0.join("none/a")).is_err());
        let mut device = Saving::begin(Path::new("/dev/null")).unwrap();
        device.write(b"gone").unwrap();
        device.finish().unwrap();
        assert!(!Path::new("/dev/null").is_file(), "a device stays one");
    }
}
