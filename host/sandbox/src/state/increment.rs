//! What has changed of a state since an earlier one of the same session: whole pages, found by comparing the two, and all
//! of what is small. Whoever has the earlier state has the later one by it, and nobody else: an increment names both by
//! their hashes, so that one that is put on another state than its own is refused, not believed.
//!
//! Comparing takes as long as copying; it is done beside the worker, like encoding, where no tick waits for it.

use serde::{Deserialize, Serialize};

use ringside_core::envelope::{self, Kind};
use ringside_core::ids::{Position, StateHash};

use super::{PAYLOAD_BYTES, State, Written};
use crate::error::StateError;

/// Version of an increment's format.
pub const VERSION: u16 = 1;
/// An increment has at most so many hundredths of the pages of the whole state: one that saves less is not worth that
/// recovery needs its base, too.
const SHARE: usize = 75;

/// What has changed of a state since an earlier one.
#[derive(Debug, Clone)]
pub struct Increment {
    base: Position,
    base_hash: StateHash,
    hash: StateHash,
    /// Numbers of pages that are all zero now and were not, ascending.
    cleared: Vec<u32>,
    /// The later state, with the pages alone that were others before.
    changed: State,
}

/// An increment as it is written.
#[derive(Serialize, Deserialize)]
struct WrittenIncrement<'a> {
    base: Position,
    base_hash: StateHash,
    hash: StateHash,
    cleared: Vec<u32>,
    #[serde(borrow)]
    changed: Written<'a>,
}

impl Increment {
    /// What has changed from `base` to `state`; none where that is not much less than the state, or it cannot be said so:
    /// they are of different modules, or not one after the other.
    pub fn between(base: &State, state: &State) -> Option<Increment> {
        let follows = base.module == state.module
            && base.rewriter == state.rewriter
            && base.memory_bytes <= state.memory_bytes
            && base.position() < state.position();
        if !follows {
            return None;
        }
        let (mut numbers, mut contents, mut cleared) = (Vec::new(), Vec::new(), Vec::new());
        let most = state.numbers.len() * SHARE / 100;
        let mut before = base.pages().peekable();
        for (number, page) in state.pages() {
            while let Some((gone, _)) = before.next_if(|(other, _)| *other < number) {
                cleared.push(gone);
            }
            let was = before.next_if(|(other, _)| *other == number);
            if was.is_none_or(|(_, was)| was != page) {
                numbers.push(number);
                contents.extend_from_slice(page);
                if numbers.len() > most {
                    return None;
                }
            }
        }
        cleared.extend(before.map(|(number, _)| number));
        let changed = State {
            module: state.module,
            rewriter: state.rewriter,
            numbers,
            contents,
            memory_bytes: state.memory_bytes,
            globals: state.globals.clone(),
            host: state.host.clone(),
            hash: Default::default(),
        };
        Some(Increment { base: base.position(), base_hash: base.hash(), hash: state.hash(), cleared, changed })
    }

    /// The later state, of the earlier one.
    ///
    /// # Errors
    /// It is not this increment's base, or what comes of it is not what the increment says.
    pub fn apply(&self, base: &State) -> Result<State, StateError> {
        let changed = &self.changed;
        let fits = base.position() == self.base && base.hash() == self.base_hash && base.module == changed.module;
        if !fits || base.memory_bytes > changed.memory_bytes {
            return Err(StateError::Content("it is not an increment of this state"));
        }
        let mut numbers = Vec::with_capacity(base.numbers.len() + changed.numbers.len());
        let mut contents = Vec::with_capacity(base.contents.len() + changed.contents.len());
        let mut put = |(number, page): (u32, &[u8])| {
            numbers.push(number);
            contents.extend_from_slice(page);
        };
        let mut kept = base.pages().filter(|(number, _)| self.cleared.binary_search(number).is_err()).peekable();
        for (number, page) in changed.pages() {
            while let Some(before) = kept.next_if(|(other, _)| *other < number) {
                put(before);
            }
            kept.next_if(|(other, _)| *other == number);
            put((number, page));
        }
        kept.for_each(put);
        let state = State {
            module: changed.module,
            rewriter: changed.rewriter,
            numbers,
            contents,
            memory_bytes: changed.memory_bytes,
            globals: changed.globals.clone(),
            host: changed.host.clone(),
            hash: Default::default(),
        };
        match state.hash() == self.hash {
            true => Ok(state),
            false => Err(StateError::Content("what comes of it is not the state that it says")),
        }
    }

    /// The position of the state that it is applied to.
    pub fn base(&self) -> Position {
        self.base
    }

    /// The position of the state that comes of it.
    pub fn position(&self) -> Position {
        self.changed.position()
    }

    /// Its bytes: magic, version, content, checksum.
    pub fn encode(&self) -> Vec<u8> {
        let written = WrittenIncrement {
            base: self.base,
            base_hash: self.base_hash,
            hash: self.hash,
            cleared: self.cleared.clone(),
            changed: self.changed.written(),
        };
        // Plain data into memory always serializes.
        envelope::seal(Kind::Increment, VERSION, &postcard::to_stdvec(&written).unwrap_or_default())
    }

    /// An increment from its bytes.
    ///
    /// # Errors
    /// Bytes that are not a whole, undamaged increment of this version.
    pub fn decode(bytes: &[u8]) -> Result<Increment, StateError> {
        let payload = envelope::open(Kind::Increment, VERSION, PAYLOAD_BYTES, bytes)?;
        let written: WrittenIncrement<'_> =
            postcard::from_bytes(payload).map_err(|_| StateError::Content("its fields cannot be read"))?;
        let WrittenIncrement { base, base_hash, hash, cleared, changed } = written;
        if !cleared.is_sorted_by(|one, two| one < two) {
            return Err(StateError::Content("its pages are out of order"));
        }
        let changed = State::read(changed)?;
        match base < changed.position() {
            true => Ok(Increment { base, base_hash, hash, cleared, changed }),
            false => Err(StateError::Content("its base is not before it")),
        }
    }
}

/// A state of a session, as it is written beside one that is written already.
pub struct Encoded {
    /// Its bytes: an increment's or the whole state's.
    pub bytes: Vec<u8>,
    /// The position of the state that it is an increment of; none where it is whole.
    pub base: Option<Position>,
}

impl State {
    /// Its bytes for whoever has `base`: an increment where that is much less.
    pub fn encode_after(&self, base: Option<&State>) -> Encoded {
        match base.and_then(|base| Increment::between(base, self)) {
            Some(increment) => Encoded { bytes: increment.encode(), base: Some(increment.base) },
            None => Encoded { bytes: self.encode(), base: None },
        }
    }

    /// A state from its bytes, be they its own or those of an increment of `base`.
    ///
    /// # Errors
    /// Neither, or an increment of another state.
    pub fn decode_after(base: Option<&State>, bytes: &[u8]) -> Result<State, StateError> {
        if envelope::kind(bytes) != Some(Kind::Increment) {
            return State::decode(bytes);
        }
        let base = base.ok_or(StateError::Content("it is an increment of a state that is not here"))?;
        Increment::decode(bytes)?.apply(base)
    }
}

#[cfg(test)]
mod tests;
