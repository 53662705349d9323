//! What the node's two HTTP services share: accepting connections within bounds, and reading a bounded body.

pub mod door;

use std::time::Duration;

use axum::extract::Request;
use bytes::Bytes;

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// It is longer than it may be.
    TooLarge,
    /// It did not come in time.
    TimedOut,
}

/// The whole body, refused before a byte of it is read if it says that it is too long.
///
/// # Errors
/// [`BodyError`].
pub async fn read_body(request: Request, limit: usize, patience: Duration) -> Result<Bytes, BodyError> {
    let length = request.headers().get("content-length").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit as u64) {
        return Err(BodyError::TooLarge);
    }
    match tokio::time::timeout(patience, axum::body::to_bytes(request.into_body(), limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(BodyError::TooLarge),
        Err(_) => Err(BodyError::TimedOut),
    }
}
