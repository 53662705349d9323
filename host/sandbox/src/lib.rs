//! The sandbox: the only crate that names the WebAssembly engine. Checks uploads (`validate`), makes them capturable,
//! interruptible and portable (`rewrite`). Synchronous, without I/O but the artefact cache.

pub mod rewrite;
mod upload_error;
pub mod validate;

pub use upload_error::{Place, UploadError};
