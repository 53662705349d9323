//! Checkpoints as memory objects: the old process writes one, seals it and passes its descriptor; the successor reads it if
//! nobody can change it any more and it is what was announced. Whatever is not is let go of: its session's checkpoint comes
//! over the workers' link.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use ringside_core::ids::WorkerId;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};
use serde::{Deserialize, Serialize};

use crate::limits::HANDOVER_OBJECT_BYTES;

/// What makes an object one that stays as it is.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::WRITE);

/// What is said of an object that comes along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The worker of the old process that it is from.
    pub from: WorkerId,
    /// The worker of the successor that it is for.
    pub to: WorkerId,
    /// How long it is.
    pub bytes: u64,
    /// BLAKE3 of it.
    pub hash: [u8; 32],
}

/// An object that is not read.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It did not come with one descriptor.
    #[error("it comes with {0} descriptors instead of one")]
    Descriptors(usize),
    /// It is no memory object.
    #[error("its seals cannot be read: {0}")]
    NoMemory(io::Error),
    /// Its sender could change it while it is read.
    #[error("it is not sealed")]
    NotSealed,
    /// It has more bytes than a checkpoint on a link may have.
    #[error("it is said to have {0} bytes, at most {HANDOVER_OBJECT_BYTES} are read")]
    TooLong(u64),
    /// It is not as long as was said.
    #[error("it is said to have {said} bytes, it has {has}")]
    Length {
        /// What was said.
        said: u64,
        /// What it has.
        has: u64,
    },
    /// It is not what was said.
    #[error("its hash is another than was said: it is damaged")]
    Hash,
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Read(io::Error),
}

/// Writes an object that nobody can change, for a worker of the other process.
///
/// # Errors
/// It is too long, or the system gives no memory objects.
pub fn write(from: WorkerId, to: WorkerId, body: &[u8]) -> io::Result<(Label, OwnedFd)> {
    if body.len() > HANDOVER_OBJECT_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let object = memfd_create("ringside-checkpoint", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut object = File::from(object);
    object.write_all(body)?;
    fcntl_add_seals(&object, SEALS | SealFlags::SEAL)?;
    let hash = *blake3::hash(body).as_bytes();
    Ok((Label { from, to, bytes: body.len() as u64, hash }, object.into()))
}

/// Reads an object that came with these descriptors.
///
/// # Errors
/// [`Refused`].
pub fn read(label: &Label, descriptors: Vec<OwnedFd>) -> Result<Vec<u8>, Refused> {
    let [object] = <[OwnedFd; 1]>::try_from(descriptors).map_err(|other| Refused::Descriptors(other.len()))?;
    if label.bytes > HANDOVER_OBJECT_BYTES as u64 {
        return Err(Refused::TooLong(label.bytes));
    }
    // First of all: what is found out about it stays true from here on.
    let seals = fcntl_get_seals(&object).map_err(|error| Refused::NoMemory(error.into()))?;
    if !seals.contains(SEALS) {
        return Err(Refused::NotSealed);
    }
    let object = File::from(object);
    let has = object.metadata().map_err(Refused::Read)?.len();
    if has != label.bytes {
        return Err(Refused::Length { said: label.bytes, has });
    }
    // Read rather than mapped: a copy costs less than its hash, and no fault of memory can end this process.
    let mut body = vec![0; label.bytes as usize];
    object.read_exact_at(&mut body, 0).map_err(Refused::Read)?;
    match *blake3::hash(&body).as_bytes() == label.hash {
        true => Ok(body),
        false => Err(Refused::Hash),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: WorkerId = WorkerId(1);
    const TO: WorkerId = WorkerId(2);

    /// An object as somebody else may make it.
    fn object(body: &[u8], seals: SealFlags) -> OwnedFd {
        let object = memfd_create("other", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).expect("an object");
        let mut object = File::from(object);
        object.write_all(body).expect("written");
        fcntl_add_seals(&object, seals).expect("sealed");
        object.into()
    }

    fn label(body: &[u8]) -> Label {
        Label { from: FROM, to: TO, bytes: body.len() as u64, hash: *blake3::hash(body).as_bytes() }
    }

    #[test]
    fn what_is_written_is_read_and_cannot_be_changed() {
        let body = vec![7; 100_000];
        let (label, object) = write(FROM, TO, &body).expect("an object");
        let other = File::from(object.try_clone().expect("another descriptor"));
        assert!(other.write_at(b"x", 0).is_err() && other.set_len(0).is_err() && other.set_len(1 << 20).is_err());
        assert_eq!(read(&label, vec![object]).expect("read"), body);
        assert_eq!((label.from, label.to), (FROM, TO));
    }

    #[test]
    fn what_could_change_while_it_is_read_is_refused() {
        let body = b"state";
        for lacks in [SealFlags::SHRINK, SealFlags::GROW, SealFlags::WRITE, SEALS] {
            let unsealed = object(body, SEALS.difference(lacks));
            assert!(matches!(read(&label(body), vec![unsealed]), Err(Refused::NotSealed)), "without {lacks:?}");
        }
        // A file has no seals, and a pipe no end.
        let file = File::open("/proc/self/exe").expect("a file");
        assert!(matches!(read(&label(body), vec![file.into()]), Err(Refused::NoMemory(_))));
        let (pipe, _other) = std::io::pipe().expect("a pipe");
        assert!(matches!(read(&label(body), vec![pipe.into()]), Err(Refused::NoMemory(_))));
    }

    #[test]
    fn what_is_not_what_was_said_is_refused() {
        let body = b"state";
        let sealed = || object(body, SEALS);
        for bytes in [0, 4, 6] {
            let said = Label { bytes, ..label(body) };
            assert!(matches!(read(&said, vec![sealed()]), Err(Refused::Length { has: 5, .. })), "{bytes} bytes");
        }
        assert!(matches!(read(&label(b"other"), vec![sealed()]), Err(Refused::Hash)));
        assert!(matches!(read(&label(body), Vec::new()), Err(Refused::Descriptors(0))));
        assert!(matches!(read(&label(body), vec![sealed(), sealed()]), Err(Refused::Descriptors(2))));
    }

    #[test]
    fn what_is_too_long_is_neither_written_nor_read() {
        let long = vec![0; HANDOVER_OBJECT_BYTES + 1];
        assert!(write(FROM, TO, &long).is_err());
        // All of it a hole: it costs its sender nothing.
        let hole = memfd_create("hole", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).expect("an object");
        let hole = File::from(hole);
        hole.set_len(1 << 50).expect("a size");
        fcntl_add_seals(&hole, SEALS).expect("sealed");
        let said = Label { bytes: 1 << 50, ..label(b"") };
        assert!(matches!(read(&said, vec![hole.into()]), Err(Refused::TooLong(_))));
    }
}
