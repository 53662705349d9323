//! Whom a link believes: both ends show a certificate of the cluster's authority, TLS 1.3 only.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use ringside_worker::peers::tls;

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

/// Both sides' configuration.
pub fn configure(secret: &ClusterSecret, node: u64) -> Result<(ServerConfig, ClientConfig), LinkError> {
    let setup = |error: &dyn std::fmt::Display| LinkError::Setup(error.to_string());
    let certificate = secret.node_certificate(node, SystemTime::now()).map_err(|error| setup(&error))?;
    let NodeCertificate { chain, key } = certificate;
    let (server, client) = tls::mutual(secret.authority(), chain, &key, ALPN).map_err(|error| setup(&error))?;
    let mut server =
        ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(server).map_err(|error| setup(&error))?));
    server.transport_config(Arc::new(transport())).migration(false);
    let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(client).map_err(|error| setup(&error))?));
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
    tls::shows(connection.peer_identity(), name)
}
