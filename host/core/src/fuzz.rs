//! One function for each decoder of this crate, for a fuzzer or a seeded mutator: it feeds bytes of nobody in
//! particular and asserts what must hold for all of them. Not part of the public interface.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use crate::durable::object::{self, Object};
use crate::durable::recovery::Chain;
use crate::envelope::{self, Kind};
use crate::ids::{GameName, ModuleHash, PlayerId, SessionId, SessionKey};
use crate::recording::{self, Item, Reader};

pub use ringside_protocol::fuzz::Target;

/// Every decoder of this crate.
pub const TARGETS: &[Target] =
    &[("envelope", fuzz_envelope), ("recording", fuzz_recording), ("ids", fuzz_ids), ("node_log", fuzz_node_log)];

/// An object's envelope: what opens was sealed so.
pub fn fuzz_envelope(bytes: &[u8]) {
    const LIMIT: usize = 1 << 16;
    for (kind, version) in [(Kind::Checkpoint, 1), (Kind::Checkpoint, 2)] {
        if let Ok(payload) = envelope::open(kind, version, LIMIT, bytes) {
            assert!(payload.len() <= LIMIT);
            assert_eq!(envelope::seal(kind, version, payload), bytes);
        }
        let sealed = envelope::seal(kind, version, bytes);
        assert_eq!(envelope::open(kind, version, usize::MAX, &sealed), Ok(bytes));
    }
}

/// A recording: it is read to its end or its first fault, which stays where it is. Also the same bytes as the content
/// of a frame, behind the checksum that keeps damage from the content's decoder.
pub fn fuzz_recording(bytes: &[u8]) {
    read_all(bytes);
    let mut file = Vec::new();
    recording::begin(&mut file);
    recording::append_payload(&mut file, bytes);
    let items = read_all(&file);
    assert!(items.len() <= 1);
    for item in items {
        let mut again = Vec::new();
        recording::begin(&mut again);
        assert!(recording::append(&mut again, &item).is_ok());
        assert_eq!(read_all(&again), [item]);
    }
}

fn read_all(bytes: &[u8]) -> Vec<Item> {
    let mut items = Vec::new();
    let Ok(mut reader) = Reader::new(bytes) else { return items };
    loop {
        let before = reader.offset();
        match reader.next_item() {
            Ok(Some(item)) => items.push(item),
            end => {
                assert_eq!(reader.offset(), before);
                assert_eq!(reader.next_item(), end);
                return items;
            }
        }
        assert!(before < reader.offset() && reader.offset() <= bytes.len());
    }
}

/// Names and hashes as texts: what is read prints as it was written, but for the case of hexadecimal digits.
pub fn fuzz_ids(bytes: &[u8]) {
    fn read<T: FromStr + Display + Debug>(text: &str) {
        if let Ok(id) = text.parse::<T>() {
            assert!(id.to_string().eq_ignore_ascii_case(text), "{id:?} from {text:?}");
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    read::<GameName>(text);
    read::<SessionKey>(text);
    read::<PlayerId>(text);
    read::<SessionId>(text);
    read::<ModuleHash>(text);
}

/// An object of a node's log, and the same bytes as what its envelope holds: what is read is folded, and is written as it
/// was read.
pub fn fuzz_node_log(bytes: &[u8]) {
    let sealed = [1, object::FORMAT].map(|format| envelope::seal(Kind::NodeLog, format, bytes));
    for bytes in [bytes, &sealed[0], &sealed[1]] {
        let Ok(object) = Object::decode(bytes) else { continue };
        assert_eq!(Object::decode(&object.encode()), Ok(object.clone()));
        let mut chain = Chain::default();
        // Far from the end of the numbers, and of those before it few are missing.
        if object.number < 64 {
            chain.handle_object(object.run, object.number, bytes);
            assert_eq!(chain.next_number(), object.number + 1);
            assert!(chain.durable().len() + chain.others().count() <= bytes.len());
        }
    }
}
