//! Whom a link believes: both ends show a certificate of the cluster's authority, TLS 1.3 only.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use webpki::EndEntityCert;

use super::LinkError;
use crate::cluster::secret::{ClusterSecret, NodeCertificate};

/// What links speak: a name of its own, so that a player's client is refused by the handshake.
const ALPN: &[u8] = b"ringside-link/1";
/// A link on which nothing was heard for so long is lost.
const IDLE: Duration = Duration::from_secs(5);
/// How often something is said on it.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Bytes of frames that a peer may have sent and that are not read yet.
const WINDOW: u32 = 1 << 20;

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));

/// Both sides' configuration.
pub fn configure(secret: &ClusterSecret, node: u64) -> Result<(ServerConfig, ClientConfig), LinkError> {
    let setup = |error: &dyn std::fmt::Display| LinkError::Setup(error.to_string());
    let mut roots = RootCertStore::empty();
    roots.add(secret.authority()).map_err(|error| setup(&error))?;
    let roots = Arc::new(roots);
    let certificate = |secret: &ClusterSecret| {
        secret.node_certificate(node, SystemTime::now()).map_err(|error| LinkError::Setup(error.to_string()))
    };

    let NodeCertificate { chain, key } = certificate(secret)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), PROVIDER.clone())
        .build()
        .map_err(|error| setup(&error))?;
    let mut tls = rustls::ServerConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| setup(&error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| setup(&error))?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut server =
        ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).map_err(|error| setup(&error))?));
    server.transport_config(Arc::new(transport())).migration(false);

    let NodeCertificate { chain, key } = certificate(secret)?;
    let mut tls = rustls::ClientConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| setup(&error))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|error| setup(&error))?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).map_err(|error| setup(&error))?));
    client.transport_config(Arc::new(transport()));
    Ok((server, client))
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(IdleTimeout::try_from(IDLE).ok())
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(1))
        .stream_receive_window(VarInt::from_u32(WINDOW))
        .receive_window(VarInt::from_u32(2 * WINDOW))
        .send_window(2 * u64::from(WINDOW))
        .datagram_receive_buffer_size(None);
    transport
}

/// Whether the peer of a connection showed the certificate of the node that it says it is.
pub fn is_node(connection: &quinn::Connection, name: &str) -> bool {
    let Some(identity) = connection.peer_identity() else { return false };
    let Ok(chain) = identity.downcast::<Vec<CertificateDer<'static>>>() else { return false };
    let certificate = chain.first().map(EndEntityCert::try_from);
    let (Some(Ok(certificate)), Ok(name)) = (certificate, ServerName::try_from(name)) else { return false };
    certificate.verify_is_valid_for_subject_name(&name).is_ok()
}
