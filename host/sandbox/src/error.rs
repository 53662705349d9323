//! What can go wrong in the sandbox besides a refused upload; each error says what became of the state.

use ringside_core::envelope::EnvelopeError;
use ringside_core::ids::Position;
use ringside_core::log::SkipCause;
use ringside_core::recording::RecordingError;

/// The sandbox itself cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The engine refuses its configuration.
    #[error("the WebAssembly engine cannot be set up: {0}; lower `warm_sessions` or raise vm.max_map_count")]
    Engine(String),
    /// The artefact directory cannot be used.
    #[error("the directory for compiled modules cannot be used: {0}")]
    Cache(std::io::Error),
    /// The watchdog's thread cannot be started.
    #[error("the watchdog's thread cannot be started: {0}")]
    Watchdog(std::io::Error),
}

/// An entry was not folded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// An earlier entry was skipped and left the guest half-changed. Nothing was done; rebuild.
    #[error("the fold is poisoned by a skipped entry: rebuild it from its last checkpoint")]
    Poisoned,
    /// The session is over. Nothing was done.
    #[error("the session is finished and takes no further entries")]
    Finished,
    /// The entry cannot follow the state. Nothing was done.
    #[error("the entry does not fit the session's state: {0}")]
    Invalid(&'static str),
    /// The log leaves out a position, or repeats one. Nothing was done.
    #[error("the log continues with position {found}, expected {expected}")]
    Position {
        /// The record's position.
        found: Position,
        /// The state's next position.
        expected: Position,
    },
    /// A record that was applied at its leader fails here: nondeterminism or damage. The fold is poisoned.
    #[error("record {position} was applied by its leader but fails here ({cause:?}): {message}")]
    Diverged {
        /// Its position.
        position: Position,
        /// How it fails.
        cause: SkipCause,
        /// The guest's fault in words.
        message: String,
    },
    /// No instance is to be had: all slots are taken, or the operating system refuses memory.
    #[error("no instance can be made: {0}")]
    Instance(String),
    /// The state is of another module, rewriter or shape.
    #[error("the state does not fit the module: {0}")]
    State(&'static str),
}

/// Bytes are not a state that can be restored. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The envelope does not fit.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// Written by another release, and whole: whoever reads that version can go on with it.
    #[error("the {what} has version {found}, this node reads {oldest} to {newest}: it is for nodes of another release")]
    Version {
        /// A checkpoint, or an increment of one.
        what: &'static str,
        /// The version that it says.
        found: u16,
        /// The oldest that is read here.
        oldest: u16,
        /// The newest.
        newest: u16,
    },
    /// The payload does not make sense.
    #[error("the checkpoint's content is not understood: {0}")]
    Content(&'static str),
}

/// A recording cannot be replayed (further).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The file cannot be read.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// The file does not begin with a header.
    #[error("the recording has no header")]
    NoHeader,
    /// The recording is of another module.
    #[error("the recording is of module {recorded} (rewriter {rewriter}), the module given is {given}")]
    Module {
        /// What the header says.
        recorded: String,
        /// The rewriter's version in the header.
        rewriter: u32,
        /// The hash of what was given.
        given: String,
    },
    /// A record cannot be folded.
    #[error("at {position}: {error}")]
    Fold {
        /// The record's position.
        position: Position,
        /// Why.
        error: FoldError,
    },
    /// A state in the recording cannot be read.
    #[error("the state at {position}: {error}")]
    State {
        /// Its position.
        position: Position,
        /// Why not.
        error: StateError,
    },
}

/// A query has no answer; no session was touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The game refuses the question.
    #[error("the game refuses the query: {0}")]
    Refused(String),
    /// The game's `query` fails.
    #[error("the game's query failed: {0}")]
    Fault(String),
    /// The instance cannot be made or the state does not fit.
    #[error(transparent)]
    Fold(#[from] FoldError),
}
