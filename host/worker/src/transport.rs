//! How a worker's QUIC connections are set up: small windows, few streams, datagram buffers of two views, Retry for
//! addresses that have shown nothing, no 0-RTT data. One place, so that memory a hostile peer can pin is a sum of
//! numbers that stand here or in the table of limits.

use std::sync::Arc;
use std::time::Duration;

use quinn_proto::crypto::rustls::QuicServerConfig;
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{
    AckFrequencyConfig, ConnectionId, EndpointConfig, IdleTimeout, ServerConfig, Side, TransportConfig, VarInt, crypto,
};
use ring::hmac;
use ringside_core::ids::WorkerId;
use ringside_protocol::limits;
use rustls::CipherSuite;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::addresses::AddressTokens;
use crate::cid::WorkerConnectionIds;
use crate::limits::{PEER_DATAGRAM_BYTES, PEER_IDLE, PEER_KEEP_ALIVE, PEER_LONGS, RESET_INTERVAL};

/// Bytes of datagrams that wait to leave: the largest views in fragments, with their bookkeeping.
pub const DATAGRAM_SEND_BYTES: usize = (limits::VIEWS_IN_SEND_BUFFER + 1) * limits::VIEW_BYTES;

/// How long a client should hold an acknowledgement back so that it rides on its next input. QUIC's own bound of
/// max(round trip, 25 ms) applies on top.
pub const ACKNOWLEDGE_DELAY: Duration = Duration::from_millis(50);

/// How long quinn holds an acknowledgement back before it sends it by itself: QUIC's default.
pub const QUIC_ACKNOWLEDGE_DELAY: Duration = Duration::from_millis(25);

/// How long a worker may hold one back so that it rides on the next view: [`ACKNOWLEDGE_DELAY`], two instants of the
/// ticking grid, and some lateness. Peers are told, so that their round trips and probes take it into account.
pub const LONGEST_ACKNOWLEDGE_DELAY: Duration = Duration::from_millis(56);

/// Packets that a client may receive before it acknowledges at once.
pub const ACKNOWLEDGE_THRESHOLD: u32 = 10;

/// What both ends of a player's connection use. Who pings a silent one is the endpoint, for how often is not known before its
/// player has said what it wants ([`Endpoint::probe`](crate::endpoint::Endpoint::probe)).
pub fn transport_config() -> TransportConfig {
    let mut acknowledgements = AckFrequencyConfig::default();
    acknowledgements
        .ack_eliciting_threshold(VarInt::from_u32(ACKNOWLEDGE_THRESHOLD))
        .max_ack_delay(Some(ACKNOWLEDGE_DELAY));
    let idle = VarInt::from_u32(limits::IDLE_TIMEOUT.as_millis() as u32);
    let window = VarInt::from_u32(limits::RECEIVE_WINDOW_BYTES as u32);
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(limits::STREAMS as u32))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(window)
        .receive_window(window)
        .send_window(limits::SEND_WINDOW_BYTES as u64)
        .datagram_receive_buffer_size(Some(limits::DATAGRAM_RECEIVE_BYTES))
        .datagram_send_buffer_size(DATAGRAM_SEND_BYTES)
        .max_idle_timeout(Some(IdleTimeout::from(idle)))
        .ack_frequency_config(Some(acknowledgements))
        .initial_rtt(Duration::from_millis(100))
        .enable_segmentation_offload(false);
    config
}

/// Bytes that a peer may have sent on a stream and that are not read yet. What is long never fills the connection's window,
/// which has room for as much of every stream: so it does not keep a frame waiting.
const PEER_STREAM_WINDOW: u32 = 1 << 20;

/// What both ends of a connection between workers use.
pub fn peer_transport_config() -> TransportConfig {
    let idle = VarInt::from_u32(PEER_IDLE.as_millis() as u32);
    let window = PEER_STREAM_WINDOW * (PEER_LONGS as u32 + 1);
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(PEER_LONGS as u32))
        .stream_receive_window(VarInt::from_u32(PEER_STREAM_WINDOW))
        .receive_window(VarInt::from_u32(window))
        .send_window(u64::from(window))
        .datagram_receive_buffer_size(Some(PEER_DATAGRAM_BYTES))
        .datagram_send_buffer_size(PEER_DATAGRAM_BYTES)
        .max_idle_timeout(Some(IdleTimeout::from(idle)))
        .keep_alive_interval(Some(PEER_KEEP_ALIVE))
        .initial_rtt(Duration::from_millis(50))
        .enable_segmentation_offload(false);
    config
}

/// How a worker serves peers. Nobody moves to another address: workers have fixed ones.
pub fn peer_server_config(crypto: Arc<dyn quinn_proto::crypto::ServerConfig>, seed: &[u8; 32]) -> ServerConfig {
    let mut config = server_config_over(crypto, &AddressTokens::alone(seed), peer_transport_config());
    config.migration(false);
    config
}

/// A worker's server configuration over some cryptography; rustls' comes from [`server_crypto`].
pub fn server_config(crypto: Arc<dyn quinn_proto::crypto::ServerConfig>, addresses: &AddressTokens) -> ServerConfig {
    server_config_over(Arc::new(Patient(crypto)), addresses, transport_config())
}

fn server_config_over(
    crypto: Arc<dyn crypto::ServerConfig>,
    addresses: &AddressTokens,
    transport: TransportConfig,
) -> ServerConfig {
    let mut config = ServerConfig::new(crypto, addresses.key());
    addresses.configure(&mut config);
    config.transport_config(Arc::new(transport));
    config.max_incoming(64).incoming_buffer_size(16 << 10).incoming_buffer_size_total(256 << 10);
    config
}

/// Some cryptography that tells peers of [`LONGEST_ACKNOWLEDGE_DELAY`], which quinn has no setting for.
struct Patient(Arc<dyn crypto::ServerConfig>);

impl crypto::ServerConfig for Patient {
    fn initial_keys(&self, version: u32, id: &ConnectionId) -> Result<crypto::Keys, crypto::UnsupportedVersion> {
        self.0.initial_keys(version, id)
    }

    fn retry_tag(&self, version: u32, original: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.0.retry_tag(version, original, packet)
    }

    fn start_session(self: Arc<Self>, version: u32, parameters: &TransportParameters) -> Box<dyn crypto::Session> {
        let patient = with_acknowledge_delay(parameters);
        Arc::clone(&self.0).start_session(version, patient.as_ref().unwrap_or(parameters))
    }
}

/// The parameters with [`LONGEST_ACKNOWLEDGE_DELAY`]; nothing where they name a delay already.
fn with_acknowledge_delay(parameters: &TransportParameters) -> Option<TransportParameters> {
    /// The parameter's number in RFC 9000.
    const MAX_ACK_DELAY: u8 = 0x0b;
    // Below 64, a number is one byte.
    const { assert!(LONGEST_ACKNOWLEDGE_DELAY.as_millis() < 64) };
    let mut bytes = Vec::new();
    parameters.write(&mut bytes);
    bytes.extend([MAX_ACK_DELAY, 1, LONGEST_ACKNOWLEDGE_DELAY.as_millis() as u8]);
    TransportParameters::read(Side::Client, &mut &bytes[..]).ok()
}

/// A worker's endpoint configuration: its connection ids, reset key and random numbers all come from the seed, which
/// must be secret and used by this worker alone. Whoever has a socket that another may have had sets another reset key.
pub fn endpoint_config(worker: WorkerId, seed: &[u8; 32]) -> EndpointConfig {
    let derive = |purpose: &[u8]| {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, seed), purpose);
        let mut key = [0; 32];
        key.copy_from_slice(tag.as_ref());
        key
    };
    let reset_key = hmac::Key::new(hmac::HMAC_SHA256, &derive(b"reset"));
    let ids = WorkerConnectionIds::new(worker, &derive(b"connection ids"));
    let mut config = EndpointConfig::new(Arc::new(reset_key));
    config
        .cid_generator(move || Box::new(ids.clone()))
        .rng_seed(Some(derive(b"random")))
        .min_reset_interval(RESET_INTERVAL);
    config
}

/// [`server_tls`] for QUIC.
///
/// # Errors
/// [`CryptoError`].
pub fn server_crypto(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    protocols: Vec<Vec<u8>>,
) -> Result<Arc<dyn quinn_proto::crypto::ServerConfig>, CryptoError> {
    Ok(Arc::new(QuicServerConfig::try_from(server_tls(chain, key, protocols)?)?))
}

/// TLS 1.3 with ring, this certificate chain and these application protocols, without 0-RTT data. AES-128-GCM with SHA-256
/// before all else, whatever the client's order: processors have instructions for both, which rustls' own first choice,
/// with SHA-384, has not; a handshake costs a twentieth less.
///
/// # Errors
/// [`CryptoError::Certificate`].
pub fn server_tls(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    protocols: Vec<Vec<u8>>,
) -> Result<rustls::ServerConfig, CryptoError> {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    tls.alpn_protocols = protocols;
    tls.max_early_data_size = 0;
    tls.ignore_client_order = true;
    Ok(tls)
}

/// Why a certificate cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum CryptoError {
    /// The chain or the key is not usable.
    #[error("certificate: {0}")]
    Certificate(#[from] rustls::Error),
    /// The key allows no cipher that QUIC's first packets need.
    #[error("certificate: {0}")]
    Cipher(#[from] quinn_proto::crypto::rustls::NoInitialCipherSuite),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(parameters: &TransportParameters) -> Vec<u8> {
        let mut bytes = Vec::new();
        parameters.write(&mut bytes);
        bytes
    }

    #[test]
    fn peers_are_told_how_long_acknowledgements_may_wait_and_the_rest_stays() {
        // Initial stream data 16 384 on streams that the client opens, ten of them.
        let plain = [0x06, 4, 0x80, 0, 0x40, 0, 0x08, 1, 10];
        let plain = TransportParameters::read(Side::Client, &mut &plain[..]).unwrap();
        let patient = with_acknowledge_delay(&plain).unwrap();
        let mut expected = written(&plain);
        assert!(!expected.is_empty());
        expected.extend([0x0b, 1, LONGEST_ACKNOWLEDGE_DELAY.as_millis() as u8]);
        let sorted = |mut bytes: Vec<u8>| {
            bytes.sort_unstable();
            bytes
        };
        assert_eq!(sorted(written(&patient)), sorted(expected));
        assert!(with_acknowledge_delay(&patient).is_none(), "they are told once");
    }
}
