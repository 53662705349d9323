//! The way to the questions: an address is looked at before anything is spent on it, then TLS with the certificate of the
//! node's doors.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ringside_worker::transport::{self, CryptoError};
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::addresses::{Addresses, Verdict};
use crate::certificate::ServerCertificate;
use crate::http::door;
use crate::limits::RESOLVE_HANDSHAKE_TIMEOUT;

/// TLS as new connections are served with it.
pub type Tls = Arc<ServerConfig>;

/// TLS with a certificate.
///
/// # Errors
/// The certificate cannot serve.
pub fn tls(certificate: &ServerCertificate) -> Result<Tls, CryptoError> {
    let mut tls = transport::server_tls(certificate.chain(), certificate.key(), vec![b"http/1.1".to_vec()])?;
    // A connection is a question: nobody comes back to one.
    tls.send_tls13_tickets = 0;
    Ok(Arc::new(tls))
}

/// The way in; cheap to clone.
#[derive(Clone)]
pub struct Entrance {
    tls: watch::Receiver<Tls>,
    handshake: Duration,
    addresses: Arc<Mutex<Addresses>>,
}

impl Entrance {
    /// With TLS as it was said last.
    pub fn new(tls: watch::Receiver<Tls>) -> Entrance {
        Entrance { tls, handshake: RESOLVE_HANDSHAKE_TIMEOUT, addresses: Arc::default() }
    }

    /// The same with less patience for handshakes.
    #[cfg(test)]
    pub fn hasty(self, handshake: Duration) -> Entrance {
        Entrance { handshake, ..self }
    }
}

/// Counts a connection for as long as it lasts.
#[derive(Clone)]
pub struct Pass {
    verdict: Verdict,
    _counted: Arc<Counted>,
}

impl Pass {
    /// Whether its address asks too often.
    pub fn is_over_rate(&self) -> bool {
        self.verdict == Verdict::Refuse
    }
}

struct Counted {
    from: IpAddr,
    addresses: Arc<Mutex<Addresses>>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        lock(&self.addresses).disconnected(self.from);
    }
}

/// The addresses, also after a panic elsewhere: each call leaves them whole.
fn lock(addresses: &Mutex<Addresses>) -> std::sync::MutexGuard<'_, Addresses> {
    addresses.lock().unwrap_or_else(PoisonError::into_inner)
}

impl door::Entrance for Entrance {
    type Pass = Pass;
    type Stream = TlsStream<TcpStream>;

    fn admit(&self, from: IpAddr) -> Option<Pass> {
        let verdict = lock(&self.addresses).connected(Instant::now(), from)?;
        Some(Pass { verdict, _counted: Arc::new(Counted { from, addresses: Arc::clone(&self.addresses) }) })
    }

    async fn enter(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = self.tls.borrow().clone();
        tokio::time::timeout(self.handshake, TlsAcceptor::from(config).accept(socket)).await?
    }
}
