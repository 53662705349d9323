//! Reads postcard's encoding, and only that: an integer is as short as it can be, and a length fits 32 bits. Native
//! builds and WebAssembly so refuse the same bytes for the same reason; postcard's own reader takes as many bytes of a
//! length as the platform's `usize` may need.

use std::fmt;

use serde::de::value::U32Deserializer;
use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};

/// What is wrong with bytes that are not an encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Malformed {
    End,
    Integer,
    Flag,
    Text,
    Value,
    Untyped,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Malformed::End => "they end too early",
            Malformed::Integer => "an integer is too large or too long",
            Malformed::Flag => "a flag is neither 0 nor 1",
            Malformed::Text => "a text is not UTF-8, or a character not one",
            Malformed::Value => "a value is none that its type has",
            Malformed::Untyped => "a type wants to see values whose type the encoding does not tell",
        })
    }
}

impl std::error::Error for Malformed {}

impl de::Error for Malformed {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Malformed::Value
    }
}

/// The bytes that are still to be read.
pub(super) struct Reader<'de> {
    pub(super) rest: &'de [u8],
}

macro_rules! integers {
    ($($unsigned:ident, $signed:ident: $unsigned_type:ty, $signed_type:ty;)+) => {$(
        fn $unsigned(&mut self) -> Result<$unsigned_type, Malformed> {
            let (mut value, mut shift): ($unsigned_type, u32) = (0, 0);
            loop {
                let byte = self.byte()?;
                let part = <$unsigned_type>::from(byte & 0x7f);
                let fits = shift < <$unsigned_type>::BITS && (part << shift) >> shift == part;
                if !fits || (byte == 0 && shift > 0) {
                    return Err(Malformed::Integer);
                }
                value |= part << shift;
                if byte & 0x80 == 0 {
                    return Ok(value);
                }
                shift += 7;
            }
        }

        fn $signed(&mut self) -> Result<$signed_type, Malformed> {
            let folded = self.$unsigned()?;
            Ok((folded >> 1) as $signed_type ^ -((folded & 1) as $signed_type))
        }
    )+};
}

impl<'de> Reader<'de> {
    integers! {
        u16, i16: u16, i16;
        u32, i32: u32, i32;
        u64, i64: u64, i64;
        u128, i128: u128, i128;
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let (byte, rest) = self.rest.split_first().ok_or(Malformed::End)?;
        self.rest = rest;
        Ok(*byte)
    }

    fn flag(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed::Flag),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(Malformed::End)?;
        self.rest = rest;
        Ok(*array)
    }

    fn bytes(&mut self) -> Result<&'de [u8], Malformed> {
        let length = self.u32()? as usize;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Malformed::End)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<&'de str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed::Text)
    }

    fn character(&mut self) -> Result<char, Malformed> {
        let mut characters = self.text()?.chars();
        characters.next().filter(|_| characters.next().is_none()).ok_or(Malformed::Text)
    }
}

macro_rules! plain {
    ($($name:ident => $visit:ident($reader:ident) $value:expr;)+) => {$(
        fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
            let $reader = self;
            visitor.$visit($value)
        }
    )+};
}

impl<'de> de::Deserializer<'de> for &mut Reader<'de> {
    type Error = Malformed;

    plain! {
        deserialize_bool => visit_bool(reader) reader.flag()?;
        deserialize_i8 => visit_i8(reader) reader.byte()? as i8;
        deserialize_i16 => visit_i16(reader) reader.i16()?;
        deserialize_i32 => visit_i32(reader) reader.i32()?;
        deserialize_i64 => visit_i64(reader) reader.i64()?;
        deserialize_i128 => visit_i128(reader) reader.i128()?;
        deserialize_u8 => visit_u8(reader) reader.byte()?;
        deserialize_u16 => visit_u16(reader) reader.u16()?;
        deserialize_u32 => visit_u32(reader) reader.u32()?;
        deserialize_u64 => visit_u64(reader) reader.u64()?;
        deserialize_u128 => visit_u128(reader) reader.u128()?;
        deserialize_f32 => visit_f32(reader) f32::from_le_bytes(reader.array()?);
        deserialize_f64 => visit_f64(reader) f64::from_le_bytes(reader.array()?);
        deserialize_char => visit_char(reader) reader.character()?;
        deserialize_str => visit_borrowed_str(reader) reader.text()?;
        deserialize_string => visit_borrowed_str(reader) reader.text()?;
        deserialize_bytes => visit_borrowed_bytes(reader) reader.bytes()?;
        deserialize_byte_buf => visit_borrowed_bytes(reader) reader.bytes()?;
        deserialize_seq => visit_seq(reader) Items { left: reader.u32()? as usize, reader };
        deserialize_map => visit_map(reader) Items { left: reader.u32()? as usize, reader };
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Malformed> {
        Err(Malformed::Untyped)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Malformed> {
        Err(Malformed::Untyped)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Malformed> {
        Err(Malformed::Untyped)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        if self.flag()? { visitor.visit_some(self) } else { visitor.visit_none() }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Malformed> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Malformed> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Malformed> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Malformed> {
        visitor.visit_seq(Items { left: length, reader: self })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Malformed> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Malformed> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Malformed> {
        visitor.visit_enum(self)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Elements of a sequence or a tuple, or pairs of a map.
struct Items<'a, 'de> {
    left: usize,
    reader: &'a mut Reader<'de>,
}

impl<'de> Items<'_, 'de> {
    fn next<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Malformed> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.reader).map(Some)
    }

    /// What is left, as far as there are bytes for it: a length that lies makes nobody allocate.
    fn hint(&self) -> usize {
        self.left.min(self.reader.rest.len())
    }
}

impl<'de> de::SeqAccess<'de> for Items<'_, 'de> {
    type Error = Malformed;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Malformed> {
        self.next(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.hint())
    }
}

impl<'de> de::MapAccess<'de> for Items<'_, 'de> {
    type Error = Malformed;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Malformed> {
        self.next(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Malformed> {
        seed.deserialize(&mut *self.reader)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.hint())
    }
}

impl<'de> de::EnumAccess<'de> for &mut Reader<'de> {
    type Error = Malformed;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Malformed> {
        let number: U32Deserializer<Malformed> = self.u32()?.into_deserializer();
        Ok((seed.deserialize(number)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for &mut Reader<'de> {
    type Error = Malformed;

    fn unit_variant(self) -> Result<(), Malformed> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Malformed> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Malformed> {
        de::Deserializer::deserialize_tuple(self, length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Malformed> {
        de::Deserializer::deserialize_tuple(self, fields.len(), visitor)
    }
}

#[cfg(test)]
mod tests;
