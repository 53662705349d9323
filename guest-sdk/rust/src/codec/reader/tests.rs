use std::collections::BTreeMap;
use std::fmt::Debug;

use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec::{Bytes, decode, encode};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Nothing,
    One(i32),
    Two(u8, i128),
    Named { name: String, at: Option<(i8, i16)> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Everything {
    flag: bool,
    small: (u16, u32),
    large: (u64, u128, i64),
    real: (f32, f64),
    letter: char,
    bytes: Bytes,
    list: Vec<Shape>,
    table: BTreeMap<String, Unit>,
    nothing: (),
}

fn shapes() -> impl Strategy<Value = Shape> {
    prop_oneof![
        Just(Shape::Nothing),
        any::<i32>().prop_map(Shape::One),
        any::<(u8, i128)>().prop_map(|(a, b)| Shape::Two(a, b)),
        (".{0,4}", any::<Option<(i8, i16)>>()).prop_map(|(name, at)| Shape::Named { name, at }),
    ]
}

prop_compose! {
    fn everything()(
        (flag, small, large, real) in any::<(bool, (u16, u32), (u64, u128, i64), (f32, f64))>(),
        letter in any::<char>(),
        bytes in any::<Vec<u8>>(),
        list in prop::collection::vec(shapes(), 0..4),
        keys in prop::collection::vec(".{0,3}", 0..3),
    ) -> Everything {
        let table = keys.into_iter().map(|key| (key, Unit)).collect();
        Everything { flag, small, large, real, letter, bytes: Bytes(bytes), list, table, nothing: () }
    }
}

/// What is read here postcard reads as the same, and writes so again. (Maps may be written in any order.)
fn as_postcard<T: DeserializeOwned + Serialize + Debug>(bytes: &[u8]) {
    if let Ok(value) = decode::<T>(bytes) {
        assert_eq!(encode(&value), bytes);
        let (theirs, rest) = postcard::take_from_bytes::<T>(bytes).expect("postcard's own");
        assert_eq!((encode(&theirs), rest.len()), (encode(&value), 0));
    }
}

proptest! {
    #[test]
    fn what_postcard_writes_is_read(value in everything()) {
        prop_assert_eq!(decode::<Everything>(&encode(&value)), Ok(value));
    }

    #[test]
    fn what_is_read_postcard_wrote(bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0..4_u8], 0..24)) {
        as_postcard::<(u16, i16)>(&bytes);
        as_postcard::<(u32, i32, bool)>(&bytes);
        as_postcard::<(u64, i64)>(&bytes);
        as_postcard::<(u128, i8)>(&bytes);
        as_postcard::<(String, char)>(&bytes);
        as_postcard::<Vec<Shape>>(&bytes);
        as_postcard::<(Bytes, Option<Unit>)>(&bytes);
        as_postcard::<Vec<[u32; 2]>>(&bytes);
    }

    #[test]
    fn cut_short_it_is_refused(value in everything(), share in 0.0..1.0_f64) {
        let bytes = encode(&value);
        let length = (bytes.len() as f64 * share) as usize;
        prop_assert!(decode::<Everything>(&bytes[..length]).is_err());
    }
}

fn words<T: DeserializeOwned + Debug>(bytes: &[u8]) -> String {
    decode::<T>(bytes).expect_err("refused").to_string()
}

#[test]
fn a_length_is_the_same_on_every_platform() {
    // Postcard reads these as 0 where `usize` has 64 bits, and refuses them where it has 32.
    for bytes in [&[0x80, 0][..], &[0x80, 0x80, 0x80, 0x80, 0x80, 0]] {
        assert!(words::<String>(bytes).contains("integer"));
        assert!(words::<Bytes>(bytes).contains("integer"));
        assert!(words::<Vec<u8>>(bytes).contains("integer"));
        assert!(words::<BTreeMap<u8, u8>>(bytes).contains("integer"));
    }
    assert!(words::<Bytes>(&[0xff, 0xff, 0xff, 0xff, 0x1f, 1]).contains("integer"), "33 bits");
    assert!(words::<Bytes>(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1]).contains("end"), "32 bits");
    assert!(words::<Vec<[u64; 8]>>(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1]).contains("end"), "nothing is allocated for it");
}

#[test]
fn each_fault_is_named() {
    assert!(words::<u16>(&[0xff, 0xff, 0x04]).contains("integer"));
    assert_eq!(decode(&[0xff, 0xff, 0x03]), Ok(u16::MAX));
    assert!(words::<u64>(&[0xff; 11]).contains("integer"));
    assert!(words::<bool>(&[2]).contains("flag"));
    assert!(words::<Option<u8>>(&[2, 1]).contains("flag"));
    assert!(words::<String>(&[1, 0xff]).contains("UTF-8"));
    assert!(words::<char>(&[2, b'a', b'b']).contains("UTF-8"));
    assert!(words::<Shape>(&[4]).contains("none that its type has"));
    assert!(words::<f64>(&[0; 7]).contains("end"));
}
