//! The one rewrite of an accepted module, which makes it capturable, interruptible and portable. Works on bytes that
//! [`inspect`](crate::validate::inspect) has accepted; never compiles or runs anything.
//!
//! * **Capture**: the memory, every mutable global and the start function are exported under the names below.
//!   Segment drops become no-operations: whether a segment was dropped is state that cannot be captured, so a
//!   module behaves as if none ever were. The start function no longer runs at instantiation, so that restoring an
//!   instance does not run it again. Active segments are applied at instantiation as ever; restoring overwrites
//!   what they wrote.
//! * **Interruption**: `poke` puts a dead load from a memory of its own at the head of every function and loop. A
//!   watchdog that makes this memory inaccessible stops the call by a trap.
//! * **Portability**: `nan` finds the places where the bits of a NaN that arithmetic made could be seen; they are
//!   made canonical there. The result computes, bit for bit, what the original computes on an engine that makes
//!   every arithmetic result canonical.
//!
//! Nothing is renumbered: functions, globals, types and locals keep their indices. Custom sections are dropped,
//! but for the names that backtraces show.

mod emit;
pub(crate) mod floats;
mod nan;
mod poke;

use wasmparser::Validator;

use crate::upload_error::UploadError;
use crate::validate::{Inspection, features};

/// Version of the rewrite. A checkpoint fits the version that it was made with, and no other; any change of what a
/// rewritten module computes or exports is another version.
pub const VERSION: u32 = 1;

/// Export name of the memory whose accessibility lets the module run.
pub const INTERRUPT_MEMORY: &str = "ringside:interrupt";
/// Export name of the guest's memory.
pub const GUEST_MEMORY: &str = "ringside:memory";
/// Export name of the former start function; absent if there was none.
pub const START: &str = "ringside:start";
/// What begins the export name of each mutable global; its index in decimal follows.
pub const GLOBAL_PREFIX: &str = "ringside:global:";

/// The export name of the mutable global with this index.
pub fn global_name(index: u32) -> String {
    format!("{GLOBAL_PREFIX}{index}")
}

/// Rewrites a module that was inspected.
///
/// # Errors
/// Only [`UploadError::Internal`]: bytes other than those inspected, or a fault of the rewrite. The result has been
/// validated.
pub fn rewrite(bytes: &[u8], inspection: &Inspection) -> Result<Vec<u8>, UploadError> {
    let plans = nan::plan_module(bytes)?;
    let rewritten = emit::emit(bytes, inspection, &plans)?;
    Validator::new_with_features(features::REWRITTEN)
        .validate_all(&rewritten)
        .map_err(|error| UploadError::Internal(format!("the rewritten module is invalid: {error}")))?;
    Ok(rewritten)
}

/// The rewrite met what inspection should have refused.
#[derive(Debug)]
struct Fault(String);

impl From<wasmparser::Error> for Fault {
    fn from(error: wasmparser::Error) -> Fault {
        Fault(error.to_string())
    }
}

impl From<wasm_encoder::reencode::Error> for Fault {
    fn from(error: wasm_encoder::reencode::Error) -> Fault {
        Fault(error.to_string())
    }
}

impl From<Fault> for UploadError {
    fn from(fault: Fault) -> UploadError {
        UploadError::Internal(format!("rewrite: {}", fault.0))
    }
}
