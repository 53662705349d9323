//! A client that does what it is told, frame by frame, and no more: for what no honest client does.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream, TransportConfig, VarInt};
use ringside_protocol::frame::{ALPN, Attached, ClientFrame, FrameDecoder, Open, ServerFrame, WireFrame};
use ringside_protocol::reason::Reason;
use ringside_test_support::wait::within;
use rustls::RootCertStore;

use crate::bench::Bench;

/// TLS that believes the workers' certificate.
pub fn crypto(bench: &Bench) -> Arc<QuicClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(bench.certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    Arc::new(QuicClientConfig::try_from(tls).unwrap())
}

/// A connection with its stream.
pub struct Raw {
    pub connection: Connection,
    pub send: SendStream,
    receive: RecvStream,
    decoder: FrameDecoder<ServerFrame>,
    unread: Bytes,
    _endpoint: Endpoint,
}

impl Raw {
    /// Connects to the first worker; nothing is sent on the stream.
    pub async fn connect(bench: &Bench) -> Raw {
        Raw::connect_with(bench, bench.address(), TransportConfig::default()).await
    }

    pub async fn connect_with(bench: &Bench, at: SocketAddr, transport: TransportConfig) -> Raw {
        let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut config = quinn::ClientConfig::new(crypto(bench));
        config.transport_config(Arc::new(transport));
        let connecting = endpoint.connect_with(config, at, "localhost").unwrap();
        let connection = within("a handshake", connecting).await.unwrap();
        let (send, receive) = within("a stream", connection.open_bi()).await.unwrap();
        let (decoder, unread) = (FrameDecoder::default(), Bytes::new());
        Raw { connection, send, receive, decoder, unread, _endpoint: endpoint }
    }

    /// Connects and is attached.
    pub async fn attach(bench: &Bench, player: &str, target: &str) -> (Raw, Attached) {
        let mut raw = Raw::connect(bench).await;
        let attached = raw.attached(bench.open(player, target)).await;
        (raw, attached)
    }

    /// Opens, and is attached.
    pub async fn attached(&mut self, open: Open) -> Attached {
        match self.opened(open).await {
            ServerFrame::Attached(attached) => *attached,
            other => panic!("{other:?}"),
        }
    }

    /// Opens, and is refused.
    pub async fn refused(&mut self, open: Open) -> Reason {
        match self.opened(open).await {
            ServerFrame::Refused(refused) => refused.cause,
            other => panic!("{other:?}"),
        }
    }

    /// Opens; the answer.
    pub async fn opened(&mut self, open: Open) -> ServerFrame {
        self.say(&ClientFrame::Open(Box::new(open))).await;
        self.hear().await.expect("an answer")
    }

    /// Writes a frame; that the connection may be over is the test's business.
    pub async fn say(&mut self, frame: &ClientFrame) {
        self.write(&frame.to_bytes()).await;
    }

    /// Writes bytes; that the connection may be over is the test's business.
    pub async fn write(&mut self, bytes: &[u8]) {
        let _ = within("room on the stream", self.send.write_all(bytes)).await;
    }

    /// The next frame; none after the last.
    pub async fn hear(&mut self) -> Option<ServerFrame> {
        loop {
            let mut rest = &self.unread[..];
            let frame = self.decoder.next(&mut rest).expect("the worker's frames are right");
            self.unread = self.unread.slice(self.unread.len() - rest.len()..);
            if frame.is_some() {
                return frame;
            }
            self.unread = within("bytes of a frame", self.receive.read_chunk(4096, true)).await.ok()??.bytes;
        }
    }

    /// The reason with which the worker closes the connection.
    pub async fn ended(&self) -> Reason {
        match within("the connection's end", self.connection.closed()).await {
            ConnectionError::ApplicationClosed(close) => {
                Reason::from_code(u16::try_from(close.error_code.into_inner()).unwrap())
            }
            other => panic!("{other:?}"),
        }
    }

    /// Tells the worker that nothing on the stream is wanted.
    pub fn stop(&mut self) {
        self.receive.stop(VarInt::from_u32(0)).unwrap();
    }

    /// Closes the connection, as an application that ends.
    pub fn close(self) {
        self.connection.close(VarInt::from_u32(0), b"");
    }
}

/// A message frame.
pub fn message(number: u64, body: impl Into<Bytes>) -> ClientFrame {
    ClientFrame::Message { number, body: body.into() }
}

/// A message frame for the echo game.
pub fn echo_message(number: u64, body: &[u8]) -> ClientFrame {
    message(number, postcard::to_stdvec(&ringside_guest::Bytes(body.to_vec())).unwrap())
}
