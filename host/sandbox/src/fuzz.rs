//! One function for each decoder of this crate, for a fuzzer or a seeded mutator: it feeds bytes of nobody in
//! particular and asserts what must hold for all of them. Not part of the public interface.

use ringside_core::envelope::{self, Kind};
use ringside_core::limits;

use crate::description;
use crate::rewrite::rewrite;
use crate::state::{self, Increment, State};
use crate::upload_error::UploadError;
use crate::validate::{inspect, inspect_without_world};

pub use ringside_protocol::fuzz::Target;

/// Every decoder of this crate.
pub const TARGETS: &[Target] = &[
    ("upload", fuzz_upload),
    ("checkpoint", fuzz_checkpoint),
    ("increment", fuzz_increment),
    ("description", fuzz_description),
];

/// An upload: what is accepted, as a game or as a module that speaks no contract, can be rewritten to a valid module.
pub fn fuzz_upload(bytes: &[u8]) {
    for inspect in [inspect, inspect_without_world] {
        match inspect(bytes) {
            Ok(inspection) => {
                let rewritten = rewrite(bytes, &inspection);
                assert!(rewritten.is_ok(), "accepted, but {:?}", rewritten.err());
            }
            Err(error) => assert!(!matches!(error, UploadError::Internal(_)), "{error}"),
        }
    }
}

/// A checkpoint: what is read encodes to something that is read as the same. Also the same bytes as its content,
/// behind the checksum that keeps damage from the content's decoder.
pub fn fuzz_checkpoint(bytes: &[u8]) {
    for bytes in [bytes, &envelope::seal(Kind::Checkpoint, state::VERSION, bytes)] {
        if let Ok(state) = State::decode(bytes) {
            let again = State::decode(&state.encode());
            assert_eq!(again.map(|state| state.hash()), Ok(state.hash()));
        }
    }
}

/// An increment: what is read encodes to something that is read as the same. Also the same bytes as its content, behind the
/// checksum that keeps damage from the content's decoder.
pub fn fuzz_increment(bytes: &[u8]) {
    for bytes in [bytes, &envelope::seal(Kind::Increment, state::INCREMENT_VERSION, bytes)] {
        let Ok(increment) = Increment::decode(bytes) else { continue };
        let encoded = increment.encode();
        assert_eq!(Increment::decode(&encoded).map(|again| again.encode()), Ok(encoded));
        assert!(increment.base() < increment.position());
    }
}

/// A guest's memory, with the address (4 bytes before it) at which it says that its description lies.
pub fn fuzz_description(bytes: &[u8]) {
    let Some((at, memory)) = bytes.split_first_chunk() else { return };
    if let Ok(read) = description::read(memory, u32::from_le_bytes(*at)) {
        assert!(read.min_players <= read.max_players && read.max_players as usize <= limits::SLOTS);
        assert!(read.tick_rate <= 120 && (1..=120).contains(&read.view_rate));
    }
}
