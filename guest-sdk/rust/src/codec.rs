//! How typed values become bytes: postcard, for players' inputs, outputs, views and everything else that the SDK
//! encodes. A decoder accepts nothing that the encoder would not have written: integers that are longer than they need
//! to be and left-over bytes are errors. Both sides are the same natively and as WebAssembly, but for `usize` and
//! `isize`: they are 32 bits wide there, so types that are encoded should have integers of a fixed width instead.

mod reader;

use std::fmt;

use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use self::reader::{Malformed, Reader};

/// Bytes that are not an encoding of the type that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError(Cause);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Cause {
    Malformed(Malformed),
    LeftOver(usize),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::Malformed(error) => error.fmt(f),
            Cause::LeftOver(bytes) => write!(f, "{bytes} bytes too many"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Bytes in a typed value: encoded like a `Vec<u8>`, but at once instead of one by one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowed;

        impl Visitor<'_> for Borrowed {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }

        deserializer.deserialize_bytes(Borrowed)
    }
}

/// A value as bytes.
///
/// # Panics
/// If the type's own `Serialize` fails, or it is a sequence that cannot tell its length: no derived type does.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    encode_into(value, Vec::new())
}

/// Bytes as a value.
///
/// # Errors
/// If the bytes are not exactly one encoded `T`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let mut reader = Reader { rest: bytes };
    let value = T::deserialize(&mut reader).map_err(|what| DecodeError(Cause::Malformed(what)))?;
    match reader.rest {
        [] => Ok(value),
        rest => Err(DecodeError(Cause::LeftOver(rest.len()))),
    }
}

/// Encodes after what `buffer` holds, and gives it back.
#[allow(clippy::expect_used)]
pub(crate) fn encode_into<T: Serialize + ?Sized>(value: &T, buffer: Vec<u8>) -> Vec<u8> {
    match postcard::to_extend(value, buffer) {
        Ok(buffer) => buffer,
        Err(error) => panic!("a value of type {} cannot be encoded: {error}", std::any::type_name::<T>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let value = (7u32, String::from("seven"), [Some(-1i64), None]);
        assert_eq!(decode(&encode(&value)), Ok(value));
    }

    #[test]
    fn bytes_are_encoded_like_a_list() {
        let bytes = vec![3u8, 0, 255];
        assert_eq!(encode(&Bytes(bytes.clone())), encode(&bytes));
        assert_eq!(decode(&encode(&bytes)), Ok(Bytes(bytes)));
    }

    #[test]
    fn bytes_too_many_are_refused() {
        let mut bytes = encode(&7u32);
        bytes.push(0);
        let error = decode::<u32>(&bytes).unwrap_err();
        assert_eq!(error.to_string(), "1 bytes too many");
    }

    #[test]
    fn bytes_too_few_are_refused() {
        assert!(decode::<(u32, u32)>(&encode(&7u32)).is_err());
    }
}
