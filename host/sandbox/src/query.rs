//! Asking a session's state a question: on a scratch instance restored from a checkpoint, never on the live one.

use std::time::Duration;

use crate::context::{Allowed, Context};
use crate::error::QueryError;
use crate::instance::Watched;
use crate::module::Module;
use crate::state::State;
use ringside_core::limits;

/// Processor time that a query may take.
const QUERY_LIMIT: Duration = Duration::from_millis(100);

/// The game's answer to a question about a state.
///
/// # Errors
/// A game that refuses or fails, or a state that does not fit the module.
pub fn query(module: &Module, state: &State, question: &[u8]) -> Result<Vec<u8>, QueryError> {
    if question.len() > limits::GUEST_VALUE_BYTES {
        return Err(QueryError::Fault(format!("a question has at most {} bytes", limits::GUEST_VALUE_BYTES)));
    }
    state.check_fits(module)?;
    let context = Context::new(state.host().clone(), Allowed::Read, limits::GUEST_MEMORY_BYTES);
    let mut scratch = module.offline(context)?;
    state.write_guest(&mut scratch, module.initial_memory_bytes())?;
    let watched = Watched { watchdog: &module.sandbox().watchdog, limit: QUERY_LIMIT };
    let answer = scratch.query(Some(watched), question).map_err(|fault| QueryError::Fault(fault.message))?;
    let answer = answer.map_err(QueryError::Refused)?;
    if answer.len() > limits::CALL_OUTPUT_BYTES {
        let most = limits::CALL_OUTPUT_BYTES;
        return Err(QueryError::Fault(format!("its answer has {} bytes, at most {most} are taken", answer.len())));
    }
    Ok(answer)
}
