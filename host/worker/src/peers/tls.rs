//! Whom a member of a cluster believes: both ends show a certificate of the cluster's authority, TLS 1.3 only. Used by
//! workers for their peers and by nodes for their control links.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, LazyLock};

use quinn_proto::ClientConfig;
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use ring::hmac;
use ringside_core::ids::NodeId;
use rustls::RootCertStore;
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};

use super::{Peer, PeersConfig};
use crate::limits::PEER_CONNECTIONS;
use crate::transport::{self, CryptoError};

/// What peers speak: a name of its own, so that clients of players and of control links are refused by the handshake.
const ALPN: &[u8] = b"ringside-peer/1";

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));

/// What makes a worker a member of a cluster, from the cluster's secret.
#[derive(Clone)]
pub struct Membership {
    /// The authority that signed every node's certificate.
    pub authority: CertificateDer<'static>,
    /// The certificate of the worker's node.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: Arc<PrivateKeyDer<'static>>,
    /// What the names in the cluster's certificates end with.
    pub domain: String,
}

/// The name that the certificate of one node alone has.
pub fn node_name(domain: &str, node: NodeId) -> String {
    format!("node-{:016x}.{domain}", node.0)
}

/// The name that the certificates of all nodes have: for whoever knows only an address.
pub fn any_name(domain: &str) -> String {
    format!("any.{domain}")
}

/// The key in it is secret.
impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership").field("domain", &self.domain).finish_non_exhaustive()
    }
}

impl Membership {
    /// How the worker `own` speaks to peers. `seed` is secret and this worker's alone.
    ///
    /// # Errors
    /// The certificate or its key cannot serve.
    pub fn configure(&self, own: Peer, seed: &[u8; 32], unfragmented: bool) -> Result<PeersConfig, CryptoError> {
        let (server, client) = mutual(self.authority.clone(), self.chain.clone(), &self.key, ALPN)?;
        let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(client)?));
        client.transport_config(Arc::new(transport::peer_transport_config()));
        // Apart from what the players' endpoint draws from the same seed.
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, seed), b"peers");
        let mut seed = [0; 32];
        seed.copy_from_slice(tag.as_ref());
        let server = transport::peer_server_config(Arc::new(QuicServerConfig::try_from(server)?), &seed);
        Ok(PeersConfig {
            own,
            endpoint: Arc::new(transport::endpoint_config(own.worker, &seed)),
            server: Arc::new(server),
            client,
            domain: self.domain.clone(),
            unfragmented,
            ipv6: false,
            connections: PEER_CONNECTIONS,
        })
    }
}

/// Both ends' TLS of one protocol.
///
/// # Errors
/// The authority, the certificate or its key cannot serve.
pub fn mutual(
    authority: CertificateDer<'static>,
    chain: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'static>,
    protocol: &[u8],
) -> Result<(rustls::ServerConfig, rustls::ClientConfig), CryptoError> {
    let mut roots = RootCertStore::empty();
    roots.add(authority)?;
    let roots = Arc::new(roots);
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), PROVIDER.clone())
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut server = rustls::ServerConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), key.clone_key())?;
    server.alpn_protocols = vec![protocol.to_vec()];
    let mut client = rustls::ClientConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key.clone_key())?;
    client.alpn_protocols = vec![protocol.to_vec()];
    Ok((server, client))
}

/// Whether the certificate that a QUIC connection's peer showed has a name.
pub fn shows(identity: Option<Box<dyn Any>>, name: &str) -> bool {
    let Some(Ok(chain)) = identity.map(|identity| identity.downcast::<Vec<CertificateDer<'static>>>()) else {
        return false;
    };
    let certificate = chain.first().map(ParsedCertificate::try_from);
    let (Some(Ok(certificate)), Ok(name)) = (certificate, ServerName::try_from(name)) else { return false };
    verify_server_name(&certificate, &name).is_ok()
}
