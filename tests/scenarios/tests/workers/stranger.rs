//! A peer of workers that does what it is told and no more: for what no honest worker does.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use ringside_test_support::members::{self, Authority};
use ringside_test_support::wait::within;
use ringside_worker::peers::End;
use ringside_worker::peers::frame::{Decoder, Frame, Greeting, encode};
use ringside_worker::peers::tls::Membership;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

/// A connection to a worker's socket for peers.
pub struct Stranger {
    pub connection: Connection,
    stream: Option<(SendStream, RecvStream)>,
    _endpoint: Endpoint,
}

impl Stranger {
    /// Shakes hands with whoever says it is of the cluster with this authority, showing what it shows, and is gone.
    pub async fn knock(authority: &CertificateDer<'static>, shown: &Membership, at: SocketAddr) {
        if let Some(stranger) = Stranger::connect_with(authority, Some(shown.clone()), at).await {
            stranger.connection.closed().await;
        }
    }

    /// Connects with the certificate of a node of a cluster, or without one; `None` where the handshake fails.
    pub async fn connect(cluster: &Authority, node: Option<u64>, at: SocketAddr) -> Option<Stranger> {
        Stranger::connect_with(&cluster.certificate(), node.map(|node| cluster.member(node)), at).await
    }

    /// Connects to a worker of this cluster with a certificate of another.
    pub async fn connect_believing(cluster: &Authority, other: Membership, at: SocketAddr) -> Option<Stranger> {
        Stranger::connect_with(&cluster.certificate(), Some(other), at).await
    }

    async fn connect_with(
        authority: &CertificateDer<'static>,
        shown: Option<Membership>,
        at: SocketAddr,
    ) -> Option<Stranger> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let mut tls = match shown {
            Some(member) => tls.with_client_auth_cert(member.chain, member.key.clone_key()).unwrap(),
            None => tls.with_no_client_auth(),
        };
        tls.alpn_protocols = vec![b"ringside-peer/1".to_vec()];
        let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let connecting = endpoint.connect_with(config, at, &members::any_name()).unwrap();
        let connection = within("a handshake", connecting).await.ok()?;
        Some(Stranger { connection, stream: None, _endpoint: endpoint })
    }

    /// Says some bytes on the stream. What cannot be said any more is not.
    pub async fn say(&mut self, bytes: &[u8]) {
        if self.stream.is_none() {
            self.stream = self.connection.open_bi().await.ok();
        }
        if let Some((send, _)) = &mut self.stream {
            let _ = send.write_all(bytes).await;
        }
    }

    pub async fn greet(&mut self, greeting: &Greeting) {
        let mut bytes = BytesMut::new();
        encode(&Frame::Hello(*greeting), &mut bytes);
        self.say(&bytes).await;
    }

    /// Whether the next that is said to it is a welcome.
    pub async fn is_welcome(&mut self) -> bool {
        let (_, receive) = self.stream.as_mut().unwrap();
        let mut decoder = Decoder::default();
        while let Ok(Some(chunk)) = within("a welcome", receive.read_chunk(1024, true)).await {
            decoder.push(&chunk.bytes);
            if let Some(frame) = decoder.next_frame().unwrap() {
                return matches!(frame, Frame::Welcome(_));
            }
        }
        false
    }

    /// Why the worker ended it, and what it said.
    pub async fn ended(&self) -> (End, String) {
        match within("the worker to close the connection", self.connection.closed()).await {
            ConnectionError::ApplicationClosed(close) => {
                (End::from_code(close.error_code.into()), String::from_utf8_lossy(&close.reason).into_owned())
            }
            other => panic!("{other}"),
        }
    }

    /// Whether TLS ended it.
    pub async fn is_refused_by_tls(&self) -> bool {
        let closed = within("the worker to close the connection", self.connection.closed()).await;
        matches!(closed, ConnectionError::ConnectionClosed(close) if (0x100..0x200).contains(&u64::from(close.error_code)))
    }
}
