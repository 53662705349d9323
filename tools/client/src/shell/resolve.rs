//! Asking a node over HTTPS where a session is led: one question on one connection. HTTP/1.0, so that the answer is
//! everything until the connection's end, whatever proxy stands between. Decides nothing: what follows from an answer is
//! the core's.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use ringside_protocol::frame::{Place, Refused, Target};
use ringside_protocol::limits::{CLIENT_ANSWER_BYTES, CLIENT_ATTACH_TIMEOUT};
use ringside_protocol::reason::Reason;
use ringside_protocol::resolve::{Answer, PATH, Question, Refusal};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Shared;
use super::link::Order;
use super::options::{ConnectError, Trust};
use super::tls::Believed;
use crate::core::{LinkId, Lost};

/// A node that can be asked.
#[derive(Debug)]
pub(super) struct Resolver {
    /// Host and port.
    authority: String,
    believed: Believed,
    tls: Arc<rustls::ClientConfig>,
    name: ServerName<'static>,
}

/// Asks the node at a URL (`https://HOST:PORT`) where a player is to open a session, for programs that hand the answer to
/// somebody else or speak the frames themselves: [`Options::resolve`](super::Options::resolve) has a client do it. The
/// place's ticket is good once, for ten seconds at least.
///
/// # Errors
/// [`ConnectError`]: a URL that cannot be asked, a refusal, or nobody answered in time.
pub async fn resolve(url: &str, trust: Trust, token: impl Into<String>, target: Target) -> Result<Place, ConnectError> {
    let resolver = Resolver::new(url, Believed::new(trust)?)?;
    let question = Question::new(token.into(), target);
    let unreachable = |message| ConnectError::Refused { reason: Reason::Unreachable, message };
    match tokio::time::timeout(CLIENT_ATTACH_TIMEOUT, resolver.ask(&question)).await {
        Ok(Ok(Ok(place))) => Ok(place),
        Ok(Ok(Err(refused))) => Err(ConnectError::Refused { reason: refused.cause, message: refused.message }),
        Ok(Err(lost)) => Err(unreachable(lost.text())),
        Err(_) => Err(unreachable("nobody answered in time".to_owned())),
    }
}

/// Asks, and tells the core, unless the core has ended it.
pub(super) async fn run(shared: Arc<Shared>, id: LinkId, question: Question, mut orders: UnboundedReceiver<Order>) {
    let asking = async {
        match &shared.resolver {
            Some(resolver) => resolver.ask(&question).await,
            None => Err(Lost::Transport("there is nobody to ask".to_owned())),
        }
    };
    let answered = tokio::select! {
        answered = asking => answered,
        // Nothing is written to a question: this is a close, or the end of the client.
        _ = orders.recv() => return,
    };
    shared.lock().links.remove(&id);
    shared.run(|core| match answered {
        Ok(answer) => core.handle_resolved(Instant::now(), id, answer),
        Err(lost) => core.handle_lost(Instant::now(), id, lost),
    });
}

impl Resolver {
    /// The node at a URL, believed as its doors are.
    pub fn new(url: &str, believed: Believed) -> Result<Resolver, ConnectError> {
        let wrong = || ConnectError::ResolverUrl(url.to_owned());
        let authority = authority(url).ok_or_else(wrong)?;
        let mut tls = believed.tls.clone();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = ServerName::try_from(believed.name.clone()).map_err(|error| ConnectError::Tls(error.to_string()))?;
        Ok(Resolver { authority, believed, tls: Arc::new(tls), name })
    }

    async fn ask(&self, question: &Question) -> Result<Result<Place, Refused>, Lost> {
        let failed = |error: io::Error| Lost::Transport(format!("{}: {error}", self.authority));
        let mut last = failed(io::ErrorKind::NotFound.into());
        for address in tokio::net::lookup_host(&self.authority).await.map_err(failed)? {
            self.believed.may_reach(address)?;
            match self.ask_at(address, question).await {
                Ok(answer) => return Ok(answer),
                Err(lost @ Lost::Untrusted(_)) => return Err(lost),
                Err(lost) => last = lost,
            }
        }
        Err(last)
    }

    async fn ask_at(&self, address: SocketAddr, question: &Question) -> Result<Result<Place, Refused>, Lost> {
        let socket = TcpStream::connect(address).await.map_err(|error| lost(&error))?;
        let body = serde_json::to_vec(question).unwrap_or_default();
        let head = format!(
            "POST {PATH} HTTP/1.0\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.authority,
            body.len()
        );
        let connected = TlsConnector::from(Arc::clone(&self.tls)).connect(self.name.clone(), socket).await;
        let mut stream = connected.map_err(|error| lost(&error))?;
        let request = [head.as_bytes(), &body].concat();
        let answer = exchange(&mut stream, &request).await.map_err(|error| lost(&error))?;
        understand(&answer).ok_or_else(|| Lost::Transport(format!("{address} does not answer as a node does")))
    }
}

/// Host and port of a URL that names nothing else.
fn authority(url: &str) -> Option<String> {
    let authority = url.strip_prefix("https://")?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    if authority.is_empty() || !authority.bytes().all(is_plain) {
        return None;
    }
    let has_port = authority.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && (!host.contains(':') || host.ends_with(']')) && port.parse::<u16>().is_ok()
    });
    match authority.contains(':') && !authority.ends_with(']') {
        true if !has_port => None,
        true => Some(authority.to_owned()),
        false => Some(format!("{authority}:443")),
    }
}

/// Sends a request and takes everything that comes back.
async fn exchange(stream: &mut TlsStream<TcpStream>, request: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(request).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    match stream.take(CLIENT_ANSWER_BYTES as u64 + 1).read_to_end(&mut answer).await? {
        ..=CLIENT_ANSWER_BYTES => Ok(answer),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is too long")),
    }
}

/// What an HTTP answer says; `None` if it is none of a node's.
fn understand(answer: &[u8]) -> Option<Result<Place, Refused>> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, body) = (std::str::from_utf8(&answer[..end]).ok()?, &answer[end + 4..]);
    let mut words = head.lines().next()?.split(' ');
    let (version, status) = (words.next()?, words.next()?);
    if !version.starts_with("HTTP/1.") {
        return None;
    }
    match status {
        "200" => serde_json::from_slice::<Answer>(body).ok().map(|answer| Ok(answer.into())),
        _ => serde_json::from_slice::<Refusal>(body).ok().map(|refusal| Err(refusal.into())),
    }
}

/// How a question failed, in the core's words.
fn lost(error: &io::Error) -> Lost {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(_)) => Lost::Untrusted(error.to_string()),
        _ => Lost::Transport(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_url_names_a_host_and_perhaps_a_port() {
        for (url, expected) in [
            ("https://192.0.2.7:7400", Some("192.0.2.7:7400")),
            ("https://play.example.org/", Some("play.example.org:443")),
            ("https://[2001:db8::7]:7400", Some("[2001:db8::7]:7400")),
            ("https://[2001:db8::7]", Some("[2001:db8::7]:443")),
            ("http://192.0.2.7:7400", None),
            ("https://", None),
            ("https://:7400", None),
            ("https://host:", None),
            ("https://host:70000", None),
            ("https://2001:db8::7", None),
            ("https://user@host", None),
            ("https://host/elsewhere", None),
            ("https://host\r\nx: y", None),
        ] {
            assert_eq!(authority(url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn an_answer_is_a_place_or_a_reason_and_nothing_else() {
        let refusal = serde_json::to_string(&Refusal::new(Reason::NoSuchGame, "none", 5)).unwrap();
        let answered = |status: &str, body: &str| understand(format!("{status}\r\nx: y\r\n\r\n{body}").as_bytes());
        let refused = answered("HTTP/1.0 404 Not Found", &refusal).unwrap().unwrap_err();
        assert_eq!((refused.cause, refused.retry_after_ms), (Reason::NoSuchGame, 5));
        assert_eq!(answered("HTTP/1.0 200 OK", &refusal), None);
        assert_eq!(answered("HTTP/1.1 502 Bad Gateway", "<html>"), None);
        assert_eq!(answered("ICY 200 OK", &refusal), None);
        assert_eq!(understand(b"HTTP/1.0 200 OK"), None);
    }

    /// A server that says these bytes over TLS to whoever comes.
    fn server(says: Vec<u8>) -> SocketAddr {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate =
            rcgen::CertificateParams::new(vec!["ringside".to_owned()]).unwrap().self_signed(&key).unwrap();
        let tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
            .unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            let tls = rustls::ServerConnection::new(Arc::new(tls)).unwrap();
            let mut stream = rustls::StreamOwned::new(tls, socket);
            stream.read_exact(&mut [0; 4]).unwrap();
            // Who has read enough may have gone.
            let _ = stream.write_all(&says);
            stream.conn.send_close_notify();
            let _ = stream.flush();
        });
        address
    }

    async fn asked(says: &[u8]) -> Result<Place, ConnectError> {
        let url = format!("https://{}", server(says.to_vec()));
        let target = Target::FindOrCreate { game: "pong".parse().unwrap(), criteria: String::new() };
        resolve(&url, Trust::InsecureLoopback, "token", target).await
    }

    #[tokio::test]
    async fn an_answer_that_is_too_long_is_none() {
        let refusal = serde_json::to_vec(&Refusal::new(Reason::NoSuchGame, "none", 0)).unwrap();
        let answer = [b"HTTP/1.0 404 Not Found\r\n\r\n", &refusal[..]].concat();
        let padded = |length: usize| [&answer[..], &vec![b' '; length - answer.len()]].concat();
        for says in [answer.clone(), padded(CLIENT_ANSWER_BYTES)] {
            let error = asked(&says).await.unwrap_err();
            assert!(matches!(error, ConnectError::Refused { reason: Reason::NoSuchGame, .. }), "{error}");
        }
        let error = asked(&padded(CLIENT_ANSWER_BYTES + 1)).await.unwrap_err();
        assert!(error.to_string().contains("too long"), "{error}");
    }

    #[tokio::test]
    async fn a_url_that_cannot_be_asked_is_refused_before_anything_is_sent() {
        let target = Target::FindOrCreate { game: "pong".parse().unwrap(), criteria: String::new() };
        let at = async |url: &str| resolve(url, Trust::InsecureLoopback, "t", target.clone()).await.unwrap_err();
        assert!(matches!(at("http://127.0.0.1:1").await, ConnectError::ResolverUrl(_)));
        let far = at("https://192.0.2.7:1").await.to_string();
        assert!(far.contains("not a loopback address"), "{far}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_understood_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = understand(&bytes);
            let answer = understand(&[b"HTTP/1.0 200 OK\r\n\r\n", &bytes[..]].concat());
            prop_assert!(answer.is_none_or(|answer| answer.is_ok()));
        }
    }
}
