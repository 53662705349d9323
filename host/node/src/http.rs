//! What the node's two HTTP services share: accepting connections within bounds, and reading a bounded body. And how this
//! program asks others.

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

/// A client of a node's admin API, which is spoken without TLS on loopback: it trusts no certificate, so that it does not
/// have to look for the machine's.
pub fn client() -> reqwest::ClientBuilder {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    match builder {
        Ok(builder) => {
            let tls = builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
            reqwest::Client::builder().tls_backend_preconfigured(tls)
        }
        // The provider has the protocol's versions, or the program would speak to nobody.
        Err(_) => reqwest::Client::builder(),
    }
}

/// Libraries that make TLS connections of their own, to the object store, use the crypto library that everything uses.
pub fn use_ring() {
    // Whoever was first has chosen the same.
    _ = rustls::crypto::ring::default_provider().install_default();
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
