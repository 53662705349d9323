//! Asking a node over HTTPS where a session is led: one question on one connection. HTTP/1.0, so that the answer is
//! everything until the connection's end, whatever proxy stands between. Decides nothing: what follows from an answer is
//! the core's.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use ringside_protocol::frame::{Place, Refused};
use ringside_protocol::limits::CLIENT_ANSWER_BYTES;
use ringside_protocol::resolve::{Answer, PATH, Question, Refusal};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;

use super::Shared;
use super::link::Order;
use super::options::ConnectError;
use super::tls::Dialer;
use crate::core::{LinkId, Lost};

/// Bytes that are read from the socket at a time.
const PIECE_BYTES: usize = 4 << 10;

/// A node that can be asked.
#[derive(Debug)]
pub(super) struct Resolver {
    /// Host and port.
    authority: String,
    tls: Arc<rustls::ClientConfig>,
    /// The name that its certificate is for.
    name: ServerName<'static>,
}

/// Asks, and tells the core, unless the core has ended it.
pub(super) async fn run(shared: Arc<Shared>, id: LinkId, question: Question, mut orders: UnboundedReceiver<Order>) {
    let asking = async {
        match &shared.resolver {
            Some(resolver) => resolver.ask(&shared.dialer, &question).await,
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
    /// The node at a URL, believed as the dialer believes servers.
    pub fn new(url: &str, dialer: &Dialer) -> Result<Resolver, ConnectError> {
        let wrong = || ConnectError::ResolverUrl(url.to_owned());
        let authority = authority(url).ok_or_else(wrong)?;
        let (mut tls, name) = dialer.tls();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = ServerName::try_from(name.to_owned()).map_err(|error| ConnectError::Tls(error.to_string()))?;
        Ok(Resolver { authority, tls: Arc::new(tls), name })
    }

    async fn ask(&self, dialer: &Dialer, question: &Question) -> Result<Result<Place, Refused>, Lost> {
        let failed = |error: io::Error| Lost::Transport(format!("{}: {error}", self.authority));
        let mut last = failed(io::ErrorKind::NotFound.into());
        for address in tokio::net::lookup_host(&self.authority).await.map_err(failed)? {
            dialer.may_reach(address)?;
            match self.ask_at(address, question).await {
                Ok(answer) => return Ok(answer),
                Err(lost @ Lost::Untrusted(_)) => return Err(lost),
                Err(lost) => last = lost,
            }
        }
        Err(last)
    }

    async fn ask_at(&self, address: SocketAddr, question: &Question) -> Result<Result<Place, Refused>, Lost> {
        let tls = ClientConnection::new(Arc::clone(&self.tls), self.name.clone())
            .map_err(|error| Lost::Transport(error.to_string()))?;
        let socket = TcpStream::connect(address).await.map_err(|error| lost(&error))?;
        let body = serde_json::to_vec(question).unwrap_or_default();
        let head = format!(
            "POST {PATH} HTTP/1.0\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.authority,
            body.len()
        );
        let answer = exchange(tls, socket, &[head.as_bytes(), &body].concat()).await.map_err(|error| lost(&error))?;
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
async fn exchange(mut tls: ClientConnection, mut socket: TcpStream, request: &[u8]) -> io::Result<Vec<u8>> {
    tls.writer().write_all(request)?;
    let (mut answer, mut piece) = (Vec::new(), [0; PIECE_BYTES]);
    loop {
        while tls.wants_write() {
            let mut sealed = Vec::new();
            tls.write_tls(&mut sealed)?;
            socket.write_all(&sealed).await?;
        }
        let read = socket.read(&mut piece).await?;
        let mut sealed = &piece[..read];
        loop {
            tls.read_tls(&mut sealed)?;
            tls.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let room = (CLIENT_ANSWER_BYTES + 1 - answer.len()) as u64;
            match tls.reader().take(room).read_to_end(&mut answer) {
                Ok(_) if answer.len() <= CLIENT_ANSWER_BYTES => return Ok(answer),
                Ok(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is too long")),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if sealed.is_empty() {
                break;
            }
        }
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
    use proptest::prelude::*;
    use ringside_protocol::reason::Reason;

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

    proptest! {
        #[test]
        fn any_bytes_are_understood_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = understand(&bytes);
            let answer = understand(&[b"HTTP/1.0 200 OK\r\n\r\n", &bytes[..]].concat());
            prop_assert!(answer.is_none_or(|answer| answer.is_ok()));
        }
    }
}
