//! The sandbox: the only crate that names the WebAssembly engine. Checks uploads (`validate`), makes them capturable,
//! interruptible and portable (`rewrite`), runs them as folds of a log ([`Fold`]), captures and restores whole states
//! ([`State`]), rebuilds after a fault ([`Rebuild`]), replays recordings and answers queries. Synchronous; without I/O
//! but the artefact cache, without threads but the watchdog.
//!
//! Start reading at `fold`; `module` is how an upload gets there.

mod artefacts;
mod context;
mod cost;
mod description;
mod engine;
mod error;
mod fold;
#[doc(hidden)]
pub mod fuzz;
mod host_state;
mod imports;
mod instance;
mod module;
mod query;
mod rebuild;
mod replay;
pub mod rewrite;
mod state;
mod upload_error;
pub mod validate;
mod watchdog;

pub use cost::CallCost;
pub use description::{Description, Followers};
#[doc(hidden)]
pub use engine::MAPPINGS_PER_SESSION;
pub use error::{FoldError, QueryError, ReplayError, SandboxError, StateError};
pub use fold::{Fold, FoldOptions, Role};
pub use host_state::{Ending, SlotState};
pub use module::{Module, Sandbox, SandboxConfig};
pub use query::query;
pub use rebuild::{Rebuild, Step};
pub use replay::{CheckpointResult, OutputDifference, ReplayReport, Replayed, Replayer, read_header, replay_recording};
pub use rewrite::VERSION as REWRITER_VERSION;
pub use state::{
    Encoded, Hashing, INCREMENT_VERSION, Increment, State, StateDifference, VERSION as CHECKPOINT_VERSION,
    versions as checkpoint_versions,
};
pub use upload_error::{Place, UploadError};
