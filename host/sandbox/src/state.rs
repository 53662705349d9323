//! A session's full state away from its instance: guest memory, mutable globals and the host struct. Captured between
//! calls, written with magic, version and checksum, restored into a fresh instance, hashed the same way live or not.

mod difference;
mod increment;
pub mod versions;

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use ringside_core::envelope::{self, EnvelopeError, Kind};
use ringside_core::ids::{ModuleHash, Position, StateHash};
use ringside_core::limits;

use crate::error::{FoldError, StateError};
use crate::host_state::HostState;
use crate::instance::Instance;
use crate::module::Module;

pub use difference::StateDifference;
pub use increment::{Encoded, Increment, VERSION as INCREMENT_VERSION};

/// Version of a checkpoint's format; a program may have a later one beside it ([`versions`]).
pub const VERSION: u16 = 1;
/// Unit in which memory is written and hashed; pages of zeros are left out.
const PAGE: usize = 4096;
/// Host state: 256 players with a view of 64 KiB and 1 MiB of unacknowledged outputs each, and room.
const HOST_BYTES: usize = 300 << 20;
/// Largest payload that is read.
const PAYLOAD_BYTES: usize = limits::GUEST_MEMORY_BYTES + (1 << 20) + HOST_BYTES;

/// Pages that are hashed or written between two looks at the clock: about 0.1 ms.
const PIECE_PAGES: usize = 64;

/// A full state.
#[derive(Debug, Clone)]
pub struct State {
    module: ModuleHash,
    rewriter: u32,
    /// Numbers of memory's pages that are not all zero, ascending.
    numbers: Vec<u32>,
    /// Those pages, one after the other.
    contents: Vec<u8>,
    memory_bytes: usize,
    globals: Vec<u128>,
    host: HostState,
    /// Its hash, once it was asked for.
    hash: OnceLock<StateHash>,
    version: Encodings,
}

/// The newest version in which a state, or one that it is an increment of, was written: says nothing of the state itself.
#[derive(Debug)]
struct Encodings(AtomicU16);

impl Default for Encodings {
    fn default() -> Encodings {
        Encodings(AtomicU16::new(VERSION))
    }
}

impl Clone for Encodings {
    fn clone(&self) -> Encodings {
        Encodings(AtomicU16::new(self.0.load(Ordering::Relaxed)))
    }
}

/// A state as it is written.
#[derive(Serialize, Deserialize)]
struct Written<'a> {
    module: ModuleHash,
    rewriter: u32,
    memory_bytes: u64,
    #[serde(borrow)]
    pages: Vec<(u32, Page<'a>)>,
    globals: Vec<u128>,
    host: HostState,
}

/// A page's bytes, written in one piece.
struct Page<'a>(&'a [u8]);

impl Serialize for Page<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'a, 'de: 'a> Deserialize<'de> for Page<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&[u8]>::deserialize(deserializer).map(Page)
    }
}

/// Memory's pages that are not all zero, by number.
fn pages(memory: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    memory.chunks(PAGE).enumerate().filter(|(_, page)| !is_zero(page)).map(|(number, page)| (number as u32, page))
}

fn is_zero(page: &[u8]) -> bool {
    // SAFETY: any eight bytes are a valid u64.
    let (head, words, tail) = unsafe { page.align_to::<u64>() };
    head.iter().all(|&byte| byte == 0) && words.iter().all(|&word| word == 0) && tail.iter().all(|&byte| byte == 0)
}

/// Memory's part of a hash. Pages and their numbers are hashed apart: whole pages, aligned, are what the hash is fastest at.
#[derive(Default)]
struct PagesHasher {
    numbers: blake3::Hasher,
    contents: blake3::Hasher,
}

impl PagesHasher {
    fn update<'a>(&mut self, pages: impl Iterator<Item = (u32, &'a [u8])>) {
        for (number, page) in pages {
            self.numbers.update(&number.to_le_bytes());
            self.contents.update(page);
        }
    }

    /// The hash of the state that has these pages.
    fn finish(
        &self,
        module: ModuleHash,
        rewriter: u32,
        memory_bytes: usize,
        globals: impl Iterator<Item = u128>,
        host: &HostState,
    ) -> StateHash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&module.0);
        hasher.update(&rewriter.to_le_bytes());
        hasher.update(&(memory_bytes as u64).to_le_bytes());
        hasher.update(self.numbers.finalize().as_bytes());
        hasher.update(self.contents.finalize().as_bytes());
        // The module says how many globals there are.
        for bits in globals {
            hasher.update(&bits.to_le_bytes());
        }
        // Plain data into memory always serializes; were it not to, every hash would show it.
        hasher.update(&postcard::to_stdvec(host).unwrap_or_default());
        StateHash(*hasher.finalize().as_bytes())
    }
}

/// The hash of a state on its way, in slices.
pub struct Hashing {
    state: Arc<State>,
    next: usize,
    pages: PagesHasher,
}

impl Hashing {
    /// Nothing is done before the first step.
    pub fn new(state: Arc<State>) -> Hashing {
        Hashing { state, next: 0, pages: PagesHasher::default() }
    }

    /// Goes on for about `budget`, by 256 KiB at least; answers the position and the hash when it is done.
    pub fn step(&mut self, budget: Duration) -> Option<(Position, StateHash)> {
        let begun = Instant::now();
        while self.next < self.state.numbers.len() {
            self.pages.update(self.state.pages().skip(self.next).take(PIECE_PAGES));
            self.next += PIECE_PAGES;
            if begun.elapsed() >= budget {
                return None;
            }
        }
        Some((self.state.position(), self.state.finish_hash(&self.pages)))
    }
}

/// The hash that [`State::hash`] of a capture would have, without the copy.
pub(crate) fn hash_fold(module: &Module, instance: &mut Instance) -> StateHash {
    let globals: Vec<u128> = instance.globals().collect();
    let memory = instance.memory();
    let host = &instance.context().host;
    let mut hasher = PagesHasher::default();
    hasher.update(pages(memory));
    hasher.finish(module.hash(), module.rewriter_version(), memory.len(), globals.into_iter(), host)
}

impl State {
    pub(crate) fn capture(module: &Module, instance: &mut Instance) -> State {
        let globals = instance.globals().collect();
        let memory = instance.memory();
        let mut numbers: Vec<u32> = pages(memory).map(|(number, _)| number).collect();
        numbers.shrink_to_fit();
        let mut contents = Vec::with_capacity(numbers.len() * PAGE);
        numbers.iter().for_each(|&number| contents.extend_from_slice(&memory[number as usize * PAGE..][..PAGE]));
        State {
            module: module.hash(),
            rewriter: module.rewriter_version(),
            memory_bytes: memory.len(),
            numbers,
            contents,
            globals,
            host: instance.context().host.clone(),
            hash: OnceLock::new(),
            version: Encodings::default(),
        }
    }

    pub(crate) fn host(&self) -> &HostState {
        &self.host
    }

    pub(crate) fn check_fits(&self, module: &Module) -> Result<(), FoldError> {
        if self.module != module.hash() {
            return Err(FoldError::State("it is of another module"));
        }
        if self.rewriter != module.rewriter_version() {
            return Err(FoldError::State("its module went through another version of the rewrite"));
        }
        Ok(())
    }

    /// Makes a fresh instance the captured one.
    pub(crate) fn write_guest(&self, instance: &mut Instance, initial_bytes: usize) -> Result<(), FoldError> {
        self.begin_guest(instance, initial_bytes)?;
        let mut next = 0;
        while let Some(after) = self.write_pages(instance, next) {
            next = after;
        }
        Ok(())
    }

    /// Begins to make a fresh instance the captured one: what is left are its pages.
    pub(crate) fn begin_guest(&self, instance: &mut Instance, initial_bytes: usize) -> Result<(), FoldError> {
        if self.memory_bytes < initial_bytes {
            return Err(FoldError::State("its memory is smaller than the module's"));
        }
        instance.set_globals(&self.globals)?;
        let memory = instance.grown_memory(self.memory_bytes)?;
        if memory.len() != self.memory_bytes {
            return Err(FoldError::State("its memory is not a whole number of pages"));
        }
        // Above what a fresh instance begins with there are zeros already; a page of zeros that is only read takes no
        // memory.
        for page in memory[..initial_bytes].chunks_mut(PAGE).filter(|page| !is_zero(page)) {
            page.fill(0);
        }
        Ok(())
    }

    /// Writes [`PIECE_PAGES`] of the pages to an instance that was begun, from this one of them on; answers where to go on,
    /// if there are more.
    pub(crate) fn write_pages(&self, instance: &mut Instance, from: usize) -> Option<usize> {
        let memory = instance.memory_mut();
        for (number, page) in self.pages().skip(from).take(PIECE_PAGES) {
            memory[number as usize * PAGE..][..PAGE].copy_from_slice(page);
        }
        let next = from + PIECE_PAGES;
        (next < self.numbers.len()).then_some(next)
    }

    /// Memory's pages that are not all zero, by number.
    fn pages(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.numbers.iter().copied().zip(self.contents.chunks(PAGE))
    }

    /// The position after which it was captured.
    pub fn position(&self) -> Position {
        self.host.position
    }

    /// The module that it fits.
    pub fn module(&self) -> ModuleHash {
        self.module
    }

    /// Bytes that it holds in memory, roughly.
    pub fn size_bytes(&self) -> usize {
        self.contents.len() + self.globals.len() * 16 + size_of::<HostState>()
    }

    /// Its hash, equal to [`Fold::state_hash`](crate::Fold::state_hash) at the same position of the same log.
    pub fn hash(&self) -> StateHash {
        *self.hash.get_or_init(|| {
            let mut pages = PagesHasher::default();
            pages.update(self.pages());
            self.finish_hash(&pages)
        })
    }

    fn finish_hash(&self, pages: &PagesHasher) -> StateHash {
        let globals = self.globals.iter().copied();
        pages.finish(self.module, self.rewriter, self.memory_bytes, globals, &self.host)
    }

    /// Its bytes: magic, version, content with the pages that are not zero, checksum.
    pub fn encode(&self) -> Vec<u8> {
        // Plain data into memory always serializes.
        let payload = postcard::to_stdvec(&self.written()).unwrap_or_default();
        match versions::written() {
            Some(later) => {
                self.note_version(later.version);
                envelope::seal(Kind::Checkpoint, later.version, &(later.write)(payload))
            }
            None => envelope::seal(Kind::Checkpoint, VERSION, &payload),
        }
    }

    /// All of it but its pages.
    fn without_pages(&self) -> State {
        State {
            module: self.module,
            rewriter: self.rewriter,
            numbers: Vec::new(),
            contents: Vec::new(),
            memory_bytes: self.memory_bytes,
            globals: self.globals.clone(),
            host: self.host.clone(),
            hash: OnceLock::new(),
            version: Encodings::default(),
        }
    }

    /// Adds a page after all others.
    fn push(&mut self, number: u32, page: &[u8]) -> &mut [u8] {
        let at = self.contents.len();
        self.numbers.push(number);
        self.contents.extend_from_slice(page);
        &mut self.contents[at..]
    }

    fn written(&self) -> Written<'_> {
        Written {
            module: self.module,
            rewriter: self.rewriter,
            memory_bytes: self.memory_bytes as u64,
            pages: self.pages().map(|(number, page)| (number, Page(page))).collect(),
            globals: self.globals.clone(),
            host: self.host.clone(),
        }
    }

    /// A state from its bytes.
    ///
    /// # Errors
    /// Bytes that are not a whole, undamaged checkpoint of a version that this program reads.
    pub fn decode(bytes: &[u8]) -> Result<State, StateError> {
        let payload = match envelope::open(Kind::Checkpoint, VERSION, PAYLOAD_BYTES, bytes) {
            Err(EnvelopeError::Version { found, .. }) => {
                let (oldest, newest) = versions::versions();
                // Damage may say anything: what is of another release is whole.
                let payload = envelope::open(Kind::Checkpoint, found, PAYLOAD_BYTES, bytes)?;
                let other = StateError::Version { what: "checkpoint", found, oldest, newest };
                let later = versions::later(found).ok_or(other)?;
                let payload = (later.read)(payload).ok_or(StateError::Content("its later version cannot be read"))?;
                let state = State::of_payload(&payload)?;
                state.note_version(found);
                return Ok(state);
            }
            opened => opened?,
        };
        State::of_payload(payload)
    }

    /// The newest version that whoever has this state's bytes may have been given them in.
    fn version(&self) -> u16 {
        self.version.0.load(Ordering::Relaxed)
    }

    fn note_version(&self, version: u16) {
        self.version.0.fetch_max(version, Ordering::Relaxed);
    }

    fn of_payload(payload: &[u8]) -> Result<State, StateError> {
        let written: Written<'_> =
            postcard::from_bytes(payload).map_err(|_| StateError::Content("its fields cannot be read"))?;
        State::read(written)
    }

    /// What was written, if it makes sense.
    fn read(written: Written<'_>) -> Result<State, StateError> {
        let memory_bytes = usize::try_from(written.memory_bytes).unwrap_or(usize::MAX);
        if memory_bytes > limits::GUEST_MEMORY_BYTES {
            return Err(StateError::Content("its memory is larger than a session's may be"));
        }
        if !memory_bytes.is_multiple_of(64 << 10) {
            return Err(StateError::Content("its memory is not a whole number of pages"));
        }
        if written.globals.len() > limits::MODULE_GLOBALS as usize {
            return Err(StateError::Content("it has more globals than a module may have"));
        }
        if !written.host.is_sound() {
            return Err(StateError::Content("its players, timers or counters contradict one another"));
        }
        let (mut numbers, mut contents) = (Vec::new(), Vec::new());
        let mut end = 0;
        for (number, page) in written.pages {
            let start = (number as usize).saturating_mul(PAGE);
            if start < end {
                return Err(StateError::Content("its pages are out of order"));
            }
            if start >= memory_bytes {
                return Err(StateError::Content("a page lies outside its memory"));
            }
            if page.0.len() != PAGE {
                return Err(StateError::Content("a page has another size"));
            }
            end = start + PAGE;
            if !is_zero(page.0) {
                numbers.push(number);
                contents.extend_from_slice(page.0);
            }
        }
        Ok(State {
            module: written.module,
            rewriter: written.rewriter,
            numbers,
            contents,
            memory_bytes,
            globals: written.globals,
            host: written.host,
            hash: OnceLock::new(),
            version: Encodings::default(),
        })
    }
}
