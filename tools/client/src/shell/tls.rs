//! Whom to believe, and QUIC's parameters. A pinned certificate is believed by its SHA-256 alone; that the server
//! holds its key is checked in every case.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, TokenStore, TransportConfig, VarInt};
use ringside_protocol::frame::{ALPN, Certificate};
use ringside_protocol::limits;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};

use super::link::lost;
use super::options::{ConnectError, Trust};
use crate::core::Lost;

/// The name for servers that are believed by their certificate's hash.
const ANY_NAME: &str = "ringside";
/// Views of 64 KiB that may wait unread.
const DATAGRAM_RECEIVE_BYTES: usize = 4 * limits::VIEW_BYTES;

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));

/// A client's QUIC configuration that believes one certificate: for programs that speak the frames themselves, such as
/// relays.
///
/// # Errors
/// [`ConnectError::Tls`].
pub fn pinned(certificate: Certificate, idle_timeout: Duration) -> Result<ClientConfig, ConnectError> {
    quic(pinned_tls(certificate)?, &Arc::new(transport(idle_timeout)?))
}

/// The same trust without QUIC: for programs that speak HTTPS themselves.
///
/// # Errors
/// [`ConnectError::Tls`].
pub fn pinned_tls(certificate: Certificate) -> Result<rustls::ClientConfig, ConnectError> {
    believing(Believe::Pinned(vec![certificate.0]))
}

/// The name to connect to where the certificate is believed by its hash.
pub const PINNED_NAME: &str = ANY_NAME;

/// A seed that differs from client to client.
pub(super) fn random_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one("seed")
}

/// Whom to believe, as TLS takes it.
#[derive(Debug, Clone)]
pub(super) struct Believed {
    pub tls: rustls::ClientConfig,
    /// The name that a certificate is to be for.
    pub name: String,
    loopback_only: bool,
}

impl Believed {
    pub fn new(trust: Trust) -> Result<Believed, ConnectError> {
        let loopback_only = matches!(trust, Trust::InsecureLoopback);
        let (tls, name) = match trust {
            Trust::CertificateSha256(pins) => (believing(Believe::Pinned(pins))?, ANY_NAME.to_owned()),
            Trust::InsecureLoopback => (believing(Believe::Anybody)?, ANY_NAME.to_owned()),
            Trust::Roots(roots, name) => (builder()?.with_root_certificates(roots).with_no_client_auth(), name),
        };
        Ok(Believed { tls, name, loopback_only })
    }

    /// Whether a server at an address may be spoken to at all.
    pub fn may_reach(&self, address: SocketAddr) -> Result<(), Lost> {
        if self.loopback_only && !address.ip().is_loopback() {
            return Err(Lost::Untrusted(format!("{address} is not a loopback address: name a certificate to trust")));
        }
        Ok(())
    }
}

/// Proofs of this client's address, as servers gave them: the newest few, for one use each. They are one cluster's
/// servers, whatever their names, and believe each other.
#[derive(Debug, Default)]
struct Tokens(Mutex<VecDeque<Bytes>>);

impl Tokens {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TokenStore for Tokens {
    fn insert(&self, _: &str, token: Bytes) {
        let mut tokens = self.lock();
        tokens.push_back(token);
        if tokens.len() > limits::CLIENT_ADDRESS_TOKENS {
            tokens.pop_front();
        }
    }

    fn take(&self, _: &str) -> Option<Bytes> {
        self.lock().pop_back()
    }
}

/// Makes connections.
#[derive(Debug)]
pub(super) struct Dialer {
    endpoint: Endpoint,
    believed: Believed,
    trusting: ClientConfig,
    transport: Arc<TransportConfig>,
    tokens: Arc<Tokens>,
}

impl Dialer {
    pub fn new(endpoint: Endpoint, believed: Believed, idle_timeout: Duration) -> Result<Dialer, ConnectError> {
        let transport = Arc::new(transport(idle_timeout)?);
        let mut trusting = quic(believed.tls.clone(), &transport)?;
        let tokens = Arc::<Tokens>::default();
        trusting.token_store(tokens.clone());
        Ok(Dialer { endpoint, believed, trusting, transport, tokens })
    }

    /// Begins a handshake.
    pub fn dial(&self, address: SocketAddr, certificate: Option<Certificate>) -> Result<quinn::Connecting, Lost> {
        self.believed.may_reach(address)?;
        let (config, name) = match certificate {
            None => (self.trusting.clone(), self.believed.name.as_str()),
            Some(certificate) => {
                let config = believing(Believe::Pinned(vec![certificate.0])).and_then(|tls| quic(tls, &self.transport));
                let mut config = config.map_err(|error| Lost::Transport(error.to_string()))?;
                config.token_store(self.tokens.clone());
                (config, ANY_NAME)
            }
        };
        self.endpoint.connect_with(config, address, name).map_err(|error| match error {
            quinn::ConnectError::EndpointStopping => lost(quinn::ConnectionError::LocallyClosed),
            other => Lost::Transport(other.to_string()),
        })
    }
}

fn builder() -> Result<rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier>, ConnectError> {
    rustls::ClientConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| ConnectError::Tls(error.to_string()))
}

fn believing(believe: Believe) -> Result<rustls::ClientConfig, ConnectError> {
    let verifier = Arc::new(Verifier { believe });
    Ok(builder()?.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn quic(mut tls: rustls::ClientConfig, transport: &Arc<TransportConfig>) -> Result<ClientConfig, ConnectError> {
    tls.alpn_protocols = vec![ALPN.to_vec()];
    // Sessions are resumed by Ringside's own tokens; nothing is sent before the handshake is done.
    tls.resumption = Resumption::disabled();
    let crypto = QuicClientConfig::try_from(tls).map_err(|error| ConnectError::Tls(error.to_string()))?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport.clone());
    Ok(config)
}

fn transport(idle_timeout: Duration) -> Result<TransportConfig, ConnectError> {
    let idle = idle_timeout.try_into().map_err(|_| ConnectError::Tls("the idle timeout is too long".into()))?;
    let window = VarInt::from_u32(4 * limits::SERVER_FRAME_BYTES as u32);
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(idle))
        // Where it plays the server's keep-alives come far more often; this is for where it waits at a follower.
        .keep_alive_interval(Some(idle_timeout / 2))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(window)
        .receive_window(window)
        .datagram_receive_buffer_size(Some(DATAGRAM_RECEIVE_BYTES));
    Ok(transport)
}

/// Who is believed.
#[derive(Debug)]
enum Believe {
    Pinned(Vec<[u8; 32]>),
    Anybody,
}

#[derive(Debug)]
struct Verifier {
    believe: Believe,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let believed = match &self.believe {
            Believe::Anybody => true,
            Believe::Pinned(pins) => {
                let hash = ring::digest::digest(&ring::digest::SHA256, certificate);
                pins.iter().any(|pin| pin == hash.as_ref())
            }
        };
        match believed {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(rustls::CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &PROVIDER.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &PROVIDER.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        PROVIDER.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proofs_of_the_address_are_kept_up_to_the_bound_and_shown_once() {
        let tokens = Tokens::default();
        for number in 0..=limits::CLIENT_ADDRESS_TOKENS as u8 {
            tokens.insert("any", Bytes::from(vec![number]));
        }
        let kept: Vec<u8> = std::iter::from_fn(|| tokens.take("other")).map(|token| token[0]).collect();
        let expected: Vec<u8> = (1..=limits::CLIENT_ADDRESS_TOKENS as u8).rev().collect();
        assert_eq!(kept, expected, "the newest first, the oldest not at all");
    }
}
