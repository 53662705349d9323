//! A small disk that a test can fill: a file system in memory, mounted where it is wanted. Needs root; where it is not to be
//! had, the test that wants it is skipped and says why.

use std::ffi::CString;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What takes up the room.
const FILLER: &str = "filler";

/// The disk. It is gone with the value; who still has files on it keeps those.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
}

impl Disk {
    /// A disk of so many bytes in place of a directory, which is made.
    ///
    /// # Errors
    /// Why this machine gives none.
    pub fn mount(path: &Path, bytes: u64) -> Result<Disk, String> {
        std::fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let target = c_path(path)?;
        let options = CString::new(format!("size={bytes},mode=0700")).map_err(|error| error.to_string())?;
        // SAFETY: four strings that end with a zero and outlive the call.
        let made =
            unsafe { libc::mount(c"tmpfs".as_ptr(), target.as_ptr(), c"tmpfs".as_ptr(), 0, options.as_ptr().cast()) };
        if made == 0 {
            return Ok(Disk { path: path.to_owned() });
        }
        Err(format!("no disk of its own at {}: {}", path.display(), std::io::Error::last_os_error()))
    }

    /// Takes up all the room that is left.
    ///
    /// # Panics
    /// If it can be written to for another reason than that there is none.
    pub fn fill(&self) {
        let file = File::options().create(true).append(true).open(self.path.join(FILLER));
        let mut file = file.unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
        for piece in [64 << 10, 1 << 10, 1] {
            let bytes = vec![0; piece];
            loop {
                match file.write_all(&bytes) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("{}: {error}", self.path.display()),
                }
            }
        }
    }

    /// Gives that room back.
    ///
    /// # Panics
    /// If it was not taken.
    pub fn make_room(&self) {
        std::fs::remove_file(self.path.join(FILLER)).unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Ok(path) = c_path(&self.path) {
            // SAFETY: a string that ends with a zero and outlives the call.
            unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
        }
    }
}

fn c_path(path: &Path) -> Result<CString, String> {
    CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())
}
