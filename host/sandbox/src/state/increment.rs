//! What has changed of a state since an earlier one of the same session: blocks of pages, found by comparing the two page by
//! page, and all of what is small. Whoever has the earlier state has the later one by it, and nobody else: an increment names both by
//! their hashes, so that one that is put on another state than its own is refused, not believed.
//!
//! Comparing takes as long as copying; it is done beside the worker, like encoding, where no tick waits for it.

use serde::{Deserialize, Serialize};

use ringside_core::envelope::{self, Kind};
use ringside_core::ids::{Position, StateHash};

use super::{PAGE, PAYLOAD_BYTES, Page, State, Written, versions};
use crate::error::StateError;

/// Version of an increment's format.
pub const VERSION: u16 = 1;
/// An increment has at most so many hundredths of the bytes of the whole state's pages: one that saves less is not worth
/// that recovery needs its base, too.
const SHARE: usize = 75;
/// Unit in which a page that changed is written: a sixteenth, for what a game writes lies scattered.
const BLOCK: usize = 256;
/// What a page is that is not in a state.
const ZEROS: &[u8] = &[0; PAGE];

/// What has changed of a state since an earlier one.
#[derive(Debug, Clone)]
pub struct Increment {
    base: Position,
    base_hash: StateHash,
    hash: StateHash,
    /// Numbers of pages that are all zero now and were not, ascending.
    cleared: Vec<u32>,
    /// Numbers of the other pages that changed, ascending, each with which of its blocks did.
    pages: Vec<(u32, u16)>,
    /// Those blocks, one after the other.
    blocks: Vec<u8>,
    /// The later state without its pages.
    later: State,
}

/// An increment as it is written.
#[derive(Serialize, Deserialize)]
struct WrittenIncrement<'a> {
    base: Position,
    base_hash: StateHash,
    hash: StateHash,
    cleared: Vec<u32>,
    pages: Vec<(u32, u16)>,
    #[serde(borrow)]
    blocks: Page<'a>,
    #[serde(borrow)]
    later: Written<'a>,
}

/// Which blocks of a page are others than before.
fn changes(before: &[u8], page: &[u8]) -> u16 {
    let pairs = before.chunks(BLOCK).zip(page.chunks(BLOCK)).enumerate();
    pairs.filter(|(_, (before, block))| before != block).fold(0, |mask, (at, _)| mask | 1 << at)
}

/// The places of blocks in their page.
fn places(mask: u16) -> impl Iterator<Item = usize> {
    (0..PAGE / BLOCK).filter(move |at| mask & 1 << at != 0).map(|at| at * BLOCK)
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
        let (mut pages, mut blocks, mut cleared) = (Vec::new(), Vec::new(), Vec::new());
        let most = state.contents.len() * SHARE / 100;
        let mut before = base.pages().peekable();
        for (number, page) in state.pages() {
            while let Some((gone, _)) = before.next_if(|(other, _)| *other < number) {
                cleared.push(gone);
            }
            let was = before.next_if(|(other, _)| *other == number).map_or(ZEROS, |(_, was)| was);
            let mask = if was == page { 0 } else { changes(was, page) };
            if mask != 0 {
                pages.push((number, mask));
                places(mask).for_each(|at| blocks.extend_from_slice(&page[at..][..BLOCK]));
                if blocks.len() > most {
                    return None;
                }
            }
        }
        cleared.extend(before.map(|(number, _)| number));
        let (base, base_hash, hash) = (base.position(), base.hash(), state.hash());
        Some(Increment { base, base_hash, hash, cleared, pages, blocks, later: state.without_pages() })
    }

    /// The later state, of the earlier one.
    ///
    /// # Errors
    /// It is not this increment's base, or what comes of it is not what the increment says.
    pub fn apply(&self, base: &State) -> Result<State, StateError> {
        let later = &self.later;
        let fits = base.position() == self.base && base.hash() == self.base_hash && base.module == later.module;
        if !fits || base.memory_bytes > later.memory_bytes {
            return Err(StateError::Content("it is not an increment of this state"));
        }
        let mut state = later.without_pages();
        state.numbers.reserve_exact(base.numbers.len() + self.pages.len());
        state.contents.reserve_exact(base.contents.len() + self.pages.len() * PAGE);
        let mut kept = base.pages().filter(|(number, _)| self.cleared.binary_search(number).is_err()).peekable();
        let mut blocks = self.blocks.chunks(BLOCK);
        for (number, mask) in &self.pages {
            while let Some((other, page)) = kept.next_if(|(other, _)| other < number) {
                state.push(other, page);
            }
            let was = kept.next_if(|(other, _)| other == number).map_or(ZEROS, |(_, was)| was);
            let page = state.push(*number, was);
            for (at, block) in places(*mask).zip(&mut blocks) {
                page[at..][..BLOCK].copy_from_slice(block);
            }
        }
        kept.for_each(|(number, page)| _ = state.push(number, page));
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
        self.later.position()
    }

    /// Its bytes: magic, version, content, checksum.
    pub fn encode(&self) -> Vec<u8> {
        let written = WrittenIncrement {
            base: self.base,
            base_hash: self.base_hash,
            hash: self.hash,
            cleared: self.cleared.clone(),
            pages: self.pages.clone(),
            blocks: Page(&self.blocks),
            later: self.later.written(),
        };
        // Plain data into memory always serializes.
        envelope::seal(Kind::Increment, VERSION, &postcard::to_stdvec(&written).unwrap_or_default())
    }

    /// An increment from its bytes.
    ///
    /// # Errors
    /// Bytes that are not a whole, undamaged increment of this version.
    pub fn decode(bytes: &[u8]) -> Result<Increment, StateError> {
        if let Some(found) = envelope::other_version(Kind::Increment, VERSION..=VERSION, PAYLOAD_BYTES, bytes) {
            return Err(StateError::Version { what: "increment", found, oldest: VERSION, newest: VERSION });
        }
        let payload = envelope::open(Kind::Increment, VERSION, PAYLOAD_BYTES, bytes)?;
        let written: WrittenIncrement<'_> =
            postcard::from_bytes(payload).map_err(|_| StateError::Content("its fields cannot be read"))?;
        let WrittenIncrement { base, base_hash, hash, cleared, pages, blocks, later } = written;
        let later = State::read(later)?;
        let numbers = pages.iter().map(|(number, _)| *number);
        if !cleared.is_sorted_by(|one, two| one < two) || !numbers.is_sorted_by(|one, two| one < two) {
            return Err(StateError::Content("its pages are out of order"));
        }
        if pages.last().is_some_and(|(number, _)| *number as usize >= later.memory_bytes / PAGE) {
            return Err(StateError::Content("a page lies outside its memory"));
        }
        let count: usize = pages.iter().map(|(_, mask)| mask.count_ones() as usize).sum();
        if blocks.0.len() != count * BLOCK || !later.numbers.is_empty() {
            return Err(StateError::Content("it has other blocks than it says"));
        }
        if base >= later.position() {
            return Err(StateError::Content("its base is not before it"));
        }
        Ok(Increment { base, base_hash, hash, cleared, pages, blocks: blocks.0.to_vec(), later })
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
    /// Its bytes for whoever has `base`: an increment where that is much less. Of a later version than this library's own there
    /// are no increments, nor of a state that was written in one: whoever reads the increment alone could do nothing with it.
    pub fn encode_after(&self, base: Option<&State>) -> Encoded {
        let base = base.filter(|base| versions::written().is_none() && base.version() == super::VERSION);
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
