//! How checkpoints and other objects are written: magic, kind, version, length, payload, checksum. A reader refuses what
//! does not fit by name, before it allocates for the payload.

use std::ops::RangeInclusive;

/// First bytes of every object.
pub const MAGIC: &[u8; 4] = b"RNGS";
/// Bytes before the payload: magic, kind, version (little-endian), payload length (little-endian).
pub const HEADER_BYTES: usize = 4 + 1 + 2 + 4;
/// Bytes after the payload: the first 16 of BLAKE3 over everything before them.
pub const CHECKSUM_BYTES: usize = 16;

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A session's full state.
    Checkpoint = 1,
    /// Which module a numbered version of a game is.
    GameVersion = 2,
    /// A session's leadership record.
    LeadershipRecord = 3,
    /// An object of the log of a run of a node.
    NodeLog = 4,
    /// A session that nobody leads until somebody asks for it.
    EvictedSession = 5,
    /// What has changed of a session's state since another one.
    Increment = 6,
}

impl Kind {
    /// Every kind there is.
    pub const ALL: [Kind; 6] = [
        Kind::Checkpoint,
        Kind::GameVersion,
        Kind::LeadershipRecord,
        Kind::NodeLog,
        Kind::EvictedSession,
        Kind::Increment,
    ];
}

/// Why bytes are not the object that was asked for. Nothing was decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not an object of ours.
    #[error("these bytes are not a Ringside object: the magic is missing")]
    Magic,
    /// Another kind of object.
    #[error("the object is of kind {found}, expected kind {expected}")]
    Kind {
        /// The kind that it says.
        found: u8,
        /// The kind that was asked for.
        expected: u8,
    },
    /// Written by another release.
    #[error("the object has format version {found}, this release reads {expected}")]
    Version {
        /// The version that it says.
        found: u16,
        /// The version that is read here.
        expected: u16,
    },
    /// Larger than its kind may be.
    #[error("the object claims {claimed} bytes of payload, at most {limit} are read")]
    TooLarge {
        /// What it claims.
        claimed: usize,
        /// The cap.
        limit: usize,
    },
    /// Cut short, or followed by something.
    #[error("the object should have {expected} bytes, it has {found}")]
    Length {
        /// What its header says.
        expected: usize,
        /// What there is.
        found: usize,
    },
    /// Damaged.
    #[error("the object's checksum does not match: it is damaged")]
    Checksum,
}

/// Wraps a payload. Payloads are bounded far below 4 GiB by their kinds' caps.
pub fn seal(kind: Kind, version: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len() + CHECKSUM_BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.push(kind as u8);
    bytes.extend_from_slice(&version.to_le_bytes());
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(payload);
    let checksum = blake3::hash(&bytes);
    bytes.extend_from_slice(&checksum.as_bytes()[..CHECKSUM_BYTES]);
    bytes
}

/// What bytes say that they are; nothing else of them is looked at.
pub fn kind(bytes: &[u8]) -> Option<Kind> {
    let said = *bytes.strip_prefix(MAGIC.as_slice())?.first()?;
    Kind::ALL.into_iter().find(|kind| *kind as u8 == said)
}

/// The version that bytes say; nothing else of them is looked at.
pub fn version(bytes: &[u8]) -> Option<u16> {
    let said = bytes.get(5..7)?;
    Some(u16::from_le_bytes([said[0], said[1]]))
}

/// The version of an object of this kind with at most `limit` bytes of payload, if it is whole and not of one of these: it was
/// written by another release, and whoever reads that version can do something with it.
pub fn other_version(kind: Kind, versions: RangeInclusive<u16>, limit: usize, bytes: &[u8]) -> Option<u16> {
    let said = version(bytes).filter(|said| !versions.contains(said))?;
    open(kind, said, limit, bytes).is_ok().then_some(said)
}

/// The payload of an object of this kind and version with at most `limit` bytes.
///
/// # Errors
/// The first thing that does not fit.
pub fn open(kind: Kind, version: u16, limit: usize, bytes: &[u8]) -> Result<&[u8], EnvelopeError> {
    let (header, rest) = bytes.split_at_checked(HEADER_BYTES).ok_or(EnvelopeError::Magic)?;
    if &header[..4] != MAGIC {
        return Err(EnvelopeError::Magic);
    }
    if header[4] != kind as u8 {
        return Err(EnvelopeError::Kind { found: header[4], expected: kind as u8 });
    }
    let found = u16::from_le_bytes([header[5], header[6]]);
    if found != version {
        return Err(EnvelopeError::Version { found, expected: version });
    }
    let claimed = u32::from_le_bytes([header[7], header[8], header[9], header[10]]) as usize;
    if claimed > limit {
        return Err(EnvelopeError::TooLarge { claimed, limit });
    }
    if rest.len() != claimed + CHECKSUM_BYTES {
        return Err(EnvelopeError::Length { expected: HEADER_BYTES + claimed + CHECKSUM_BYTES, found: bytes.len() });
    }
    let (payload, checksum) = rest.split_at(claimed);
    let expected = blake3::hash(&bytes[..HEADER_BYTES + claimed]);
    if &expected.as_bytes()[..CHECKSUM_BYTES] != checksum {
        return Err(EnvelopeError::Checksum);
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_and_every_damage_is_named() {
        let sealed = seal(Kind::Checkpoint, 3, b"state");
        assert_eq!(open(Kind::Checkpoint, 3, 100, &sealed), Ok(&b"state"[..]));
        assert_eq!((kind(&sealed), version(&sealed)), (Some(Kind::Checkpoint), Some(3)));
        assert_eq!((kind(&sealed[..4]), version(&sealed[..6]), kind(b"RNGS\x99")), (None, None, None));
        assert_eq!(open(Kind::Checkpoint, 4, 100, &sealed), Err(EnvelopeError::Version { found: 3, expected: 4 }));
        let other = |versions, bytes: &[u8]| other_version(Kind::Checkpoint, versions, 100, bytes);
        assert_eq!((other(1..=2, &sealed), other(1..=3, &sealed), other(4..=9, &sealed)), (Some(3), None, Some(3)));
        assert_eq!(open(Kind::Checkpoint, 3, 4, &sealed), Err(EnvelopeError::TooLarge { claimed: 5, limit: 4 }));
        for cut in 0..sealed.len() {
            assert!(open(Kind::Checkpoint, 3, 100, &sealed[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(open(Kind::Checkpoint, 3, 100, &damaged).is_err(), "flipped at {at}");
            assert_eq!(other(1..=3, &damaged), None, "flipped at {at}: it is damaged, not another release's");
        }
    }
}
