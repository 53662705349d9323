//! How small objects are written: magic, kind, format version, payload (JSON), SHA-256 of all before it. What does not
//! fit is refused by name, never guessed at.

use serde::Serialize;
use serde::de::DeserializeOwned;

const MAGIC: &[u8; 4] = b"RGSD";
const FORMAT: u8 = 1;
const HEADER: usize = 6;
const CHECKSUM: usize = 32;
/// Largest object that is read, bytes.
const LARGEST: usize = 1 << 20;

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A version of a game.
    Version = 1,
}

/// Why bytes are not the object that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// They do not begin like one of ours, or are cut short.
    #[error("it is no object of Ringside's, or cut short")]
    Malformed,
    /// Another format version.
    #[error("its format is {0}, this release reads {FORMAT}")]
    Format(u8),
    /// Another kind.
    #[error("it is an object of another kind")]
    Kind,
    /// The checksum is another.
    #[error("its checksum is wrong")]
    Checksum,
    /// The payload does not have the expected fields.
    #[error("its content is not understood: {0}")]
    Payload(String),
}

/// The object's bytes.
pub fn seal<T: Serialize>(kind: Kind, payload: &T) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend([kind as u8, FORMAT]);
    // Plain structs of numbers and text always serialize.
    bytes.extend(serde_json::to_vec(payload).unwrap_or_default());
    let checksum = ring::digest::digest(&ring::digest::SHA256, &bytes);
    bytes.extend_from_slice(checksum.as_ref());
    bytes
}

/// What `seal` was given.
pub fn open<T: DeserializeOwned>(kind: Kind, bytes: &[u8]) -> Result<T, EnvelopeError> {
    if bytes.len() < HEADER + CHECKSUM || bytes.len() > LARGEST || !bytes.starts_with(MAGIC) {
        return Err(EnvelopeError::Malformed);
    }
    let (body, checksum) = bytes.split_at(bytes.len() - CHECKSUM);
    if ring::digest::digest(&ring::digest::SHA256, body).as_ref() != checksum {
        return Err(EnvelopeError::Checksum);
    }
    if body[5] != FORMAT {
        return Err(EnvelopeError::Format(body[5]));
    }
    if body[4] != kind as u8 {
        return Err(EnvelopeError::Kind);
    }
    serde_json::from_slice(&body[HEADER..]).map_err(|error| EnvelopeError::Payload(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_damage_is_noticed() {
        let sealed = seal(Kind::Version, &(1, "two"));
        assert_eq!(open::<(u32, String)>(Kind::Version, &sealed), Ok((1, "two".to_owned())));
        for cut in 0..sealed.len() {
            assert!(open::<(u32, String)>(Kind::Version, &sealed[..cut]).is_err());
        }
        for bit in 0..sealed.len() * 8 {
            let mut bytes = sealed.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(open::<(u32, String)>(Kind::Version, &bytes).is_err(), "bit {bit}");
        }
        assert!(matches!(open::<u32>(Kind::Version, &sealed), Err(EnvelopeError::Payload(_))));
    }

    #[test]
    fn another_format_is_named() {
        let mut body = seal(Kind::Version, &1);
        body.truncate(body.len() - CHECKSUM);
        body[5] = 9;
        let checksum = ring::digest::digest(&ring::digest::SHA256, &body);
        body.extend_from_slice(checksum.as_ref());
        let error = open::<u32>(Kind::Version, &body).unwrap_err();
        assert_eq!(error.to_string(), "its format is 9, this release reads 1");
    }
}
