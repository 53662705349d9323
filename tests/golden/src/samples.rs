//! Values of a type that has many variants, so that each occurs: [`samples`] reads the type from nothing, as a decoder
//! would from bytes, and takes at each choice the variant that it took least there. What a type gains it has samples of
//! without anybody's writing one.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::de::value::U32Deserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

/// Values without a new variant after which there is none to be found.
const IDLE: u32 = 512;
/// Elements of lists and maps.
const ELEMENTS: usize = 2;

/// Values in which every variant occurs of every enum that is anywhere in `T`, in each struct or variant that holds it.
/// Each is named by those that occur in it first. The same for each call. Numbers differ from each other, so that fields
/// which change places are seen.
///
/// # Panics
/// If the type refuses what is made up: names are `a1`, `a2`, …
pub fn samples<T: DeserializeOwned>() -> Vec<(String, T)> {
    let mut sampler = Sampler::default();
    let (mut samples, mut idle) = (Vec::new(), 0);
    while idle < IDLE {
        sampler.number = 0;
        let value = T::deserialize(&mut sampler).unwrap_or_else(|error| panic!("{error}"));
        let news = std::mem::take(&mut sampler.news);
        idle = if news.is_empty() && !samples.is_empty() { idle + 1 } else { 0 };
        if idle == 0 {
            let name = if news.is_empty() { "only".to_owned() } else { news.join("+") };
            samples.push((name, value));
        }
    }
    samples
}

/// Why there is no value.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

impl de::Error for Refused {
    fn custom<M: Display>(message: M) -> Refused {
        Refused(message.to_string())
    }
}

#[derive(Default)]
struct Sampler {
    /// The last number that was made up.
    number: u64,
    /// The structs and variants that it is in.
    within: Vec<String>,
    /// How often each variant was taken, by what holds the enum, its name and its variants.
    taken: BTreeMap<(String, &'static str, &'static [&'static str]), Vec<u32>>,
    /// Variants that were taken for the first time.
    news: Vec<String>,
}

impl Sampler {
    fn next(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn text(&mut self) -> String {
        format!("a{}", self.next())
    }

    /// The variant that was taken least here.
    fn choose(&mut self, name: &'static str, variants: &'static [&'static str]) -> Result<usize, Refused> {
        let holder = self.within.last().cloned().unwrap_or_default();
        let taken = self.taken.entry((holder.clone(), name, variants)).or_insert_with(|| vec![0; variants.len()]);
        let least = taken.iter().enumerate().min_by_key(|(_, taken)| **taken);
        let (index, _) = least.ok_or_else(|| Refused(format!("{name} has no variants")))?;
        taken[index] += 1;
        if taken[index] == 1 {
            self.news.push(format!("{holder}/{}", variants[index]));
        }
        Ok(index)
    }

    fn inside<R>(&mut self, holder: String, read: impl FnOnce(&mut Sampler) -> R) -> R {
        self.within.push(holder);
        let read = read(self);
        self.within.pop();
        read
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty,)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
            let number = self.next();
            visitor.$visit(number as $type)
        })*
    };
}

impl<'de> Deserializer<'de> for &mut Sampler {
    type Error = Refused;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refused> {
        Err(Refused("a type that takes anything has no samples".to_owned()))
    }

    numbers! {
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32, deserialize_i64 visit_i64 i64,
        deserialize_i128 visit_i128 i128, deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16, deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64, deserialize_u128 visit_u128 u128, deserialize_f32 visit_f32 f32, deserialize_f64 visit_f64 f64,
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let index = self.choose("bool", &["false", "true"])?;
        visitor.visit_bool(index == 1)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_char('a')
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_string(self.text())
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_string(self.text())
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_byte_buf(self.text().into_bytes())
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_byte_buf(self.text().into_bytes())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.choose("Option", &["Some", "None"])? {
            0 => visitor.visit_some(self),
            _ => visitor.visit_none(),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_seq(Elements { sampler: self, left: ELEMENTS })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_seq(Elements { sampler: self, left: length })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.inside(name.to_owned(), |sampler| sampler.deserialize_tuple(length, visitor))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_map(Elements { sampler: self, left: ELEMENTS })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.inside(name.to_owned(), |sampler| sampler.deserialize_tuple(fields.len(), visitor))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let index = self.choose(name, variants)?;
        let holder = format!("{name}::{}", variants[index]);
        self.inside(holder, |sampler| visitor.visit_enum(Chosen { sampler, index: index as u32 }))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_any(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_any(visitor)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// What a list, tuple, map or struct has left.
struct Elements<'a> {
    sampler: &'a mut Sampler,
    left: usize,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Refused;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Refused> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.sampler).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> MapAccess<'de> for Elements<'_> {
    type Error = Refused;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Refused> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refused> {
        seed.deserialize(&mut *self.sampler)
    }
}

/// An enum's variant that was chosen.
struct Chosen<'a> {
    sampler: &'a mut Sampler,
    index: u32,
}

impl<'de> EnumAccess<'de> for Chosen<'_> {
    type Error = Refused;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Refused> {
        let index: U32Deserializer<Refused> = self.index.into_deserializer();
        Ok((seed.deserialize(index)?, self))
    }
}

impl<'de> VariantAccess<'de> for Chosen<'_> {
    type Error = Refused;

    fn unit_variant(self) -> Result<(), Refused> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Refused> {
        seed.deserialize(self.sampler)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Refused> {
        self.sampler.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Refused> {
        self.sampler.deserialize_tuple(fields.len(), visitor)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    enum Outer {
        Empty,
        Inner(Inner),
        Both { first: Box<Inner>, list: Vec<u16> },
    }

    #[derive(Debug, Deserialize, PartialEq)]
    enum Inner {
        One(u8, String),
        Two,
        Three(Option<u64>),
    }

    #[test]
    fn every_variant_occurs_wherever_it_may() {
        let all: Vec<Outer> = samples().into_iter().map(|(_, value)| value).collect();
        let has = |wanted: fn(&Outer) -> bool| assert!(all.iter().any(wanted), "{all:?}");
        has(|value| *value == Outer::Empty);
        has(|value| *value == Outer::Inner(Inner::One(1, "a2".to_owned())));
        has(|value| *value == Outer::Inner(Inner::Two));
        has(|value| matches!(value, Outer::Inner(Inner::Three(_))));
        has(|value| matches!(value, Outer::Both { first, list } if **first == Inner::Two && list == &[1, 2]));
        has(|value| matches!(value, Outer::Both { first, .. } if matches!(**first, Inner::Three(_))));
        has(|value| matches!(value, Outer::Both { first, .. } if matches!(**first, Inner::One(..))));
        let nones =
            [Outer::Inner(Inner::Three(None)), Outer::Both { first: Box::new(Inner::Three(None)), list: vec![1, 2] }];
        assert!(nones.iter().any(|none| all.contains(none)), "{all:?}");
    }
}
