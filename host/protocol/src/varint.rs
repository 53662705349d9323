//! The one variable-length integer of the wire: little-endian groups of seven bits, the high bit set on all but the
//! last byte, as postcard writes them. Only the shortest form is accepted.

use bytes::{Buf, BufMut};

/// Most bytes that a 64-bit integer takes.
pub const MAX_BYTES: usize = 10;

/// Why bytes are not an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VarintError {
    /// The bytes end inside the integer.
    #[error("an integer is cut short")]
    Truncated,
    /// The integer is longer than its shortest form, or than 64 bits.
    #[error("an integer is not in its shortest form")]
    NotShortest,
}

/// Bytes that `value` takes: 1 to 10.
pub fn size(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Writes `value`.
pub fn put(out: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Reads an integer and consumes its bytes.
///
/// # Errors
/// [`VarintError`]; how much of `bytes` was consumed is then unspecified.
pub fn take(bytes: &mut impl Buf) -> Result<u64, VarintError> {
    let mut value = 0u64;
    for group in 0..MAX_BYTES {
        if !bytes.has_remaining() {
            return Err(VarintError::Truncated);
        }
        let byte = bytes.get_u8();
        let bits = u64::from(byte & 0x7f);
        if group == MAX_BYTES - 1 && bits > 1 {
            return Err(VarintError::NotShortest);
        }
        value |= bits << (7 * group);
        if byte & 0x80 == 0 {
            return if byte == 0 && group > 0 { Err(VarintError::NotShortest) } else { Ok(value) };
        }
    }
    Err(VarintError::NotShortest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_integer_reads_back(value: u64, shift in 0u32..64) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            prop_assert_eq!(bytes.len(), size(value));
            prop_assert_eq!(take(&mut &bytes[..]), Ok(value));
            prop_assert_eq!(postcard::to_allocvec(&value).unwrap(), bytes.clone());
            bytes.pop();
            prop_assert_eq!(take(&mut &bytes[..]), Err(VarintError::Truncated));
        }
    }

    #[test]
    fn longer_forms_are_refused() {
        assert_eq!(take(&mut &[0x80, 0x00][..]), Err(VarintError::NotShortest));
        assert_eq!(take(&mut &[0xff; 10][..]), Err(VarintError::NotShortest));
        let mut over = [0xff; 10];
        over[9] = 0x02;
        assert_eq!(take(&mut &over[..]), Err(VarintError::NotShortest));
        over[9] = 0x01;
        assert_eq!(take(&mut &over[..]), Ok(u64::MAX));
    }
}
