//! Questions over real sockets, with a control task whose only worker says that it has made whatever session it is told.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::SystemTime;

use ringside_client::protocol::frame::Target;
use ringside_client::{ConnectError, TargetText, Trust};
use ringside_core::directory::Limits;
use ringside_core::ids::{Node, WorkerId};
use ringside_protocol::frame::{Certificate, Place};
use ringside_protocol::limits;
use ringside_protocol::token::SessionClaims;
use ringside_sandbox::{Sandbox, SandboxConfig};
use ringside_test_support::guests;
use ringside_worker::authority::Keys;
use ringside_worker::{Command, Event};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;

use super::*;
use crate::catalogue::Served;
use crate::certificate::ServerCertificate;
use crate::cluster::secret::ClusterSecret;
use crate::control::{self, Desk, Identity, Message, Port, Usage};
use crate::limits::{RESOLVE_ADDRESS_CONNECTIONS, RESOLVE_BURST};
use crate::scratch::Scratch;
use crate::state_directory::StateDirectory;
use crate::tokens::TokenKey;

const NODE: Node = Node { id: NodeId(5), generation: 1 };
/// Where the worker says that it is.
const WORKER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7);

struct Bench {
    address: SocketAddr,
    certificate: Certificate,
    tokens: TokenKey,
    /// The worker that tickets are for.
    worker: Authority,
    _scratch: Scratch,
}

impl Bench {
    async fn start(name: &str) -> Bench {
        Bench::with(name, bounds(), |entrance| entrance).await
    }

    async fn with(name: &str, bounds: Bounds, hasten: impl FnOnce(Entrance) -> Entrance) -> Bench {
        let scratch = Scratch::new(name);
        let state = StateDirectory::open(&scratch.0).unwrap();
        let certificate = ServerCertificate::open(&state, 14, SystemTime::now()).unwrap();
        let secret = ClusterSecret::generate(SystemTime::now()).unwrap();
        let tokens = TokenKey::new(secret.token_key()).unwrap();
        let keys = Keys::new(&[tokens.public()], secret.ticket_key());
        let authority = Authority::new(keys.clone(), NODE, WorkerId(u8::MAX), &[1; 32]);
        let control = control(certificate.sha256());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (served, tls) = watch::channel(tls(&certificate).unwrap());
        let entrance = hasten(Entrance::new(tls));
        tokio::spawn(async move {
            Resolver::new(control, authority, bounds).serve(listener, entrance, std::future::pending()).await;
            drop(served);
        });
        let worker = Authority::new(keys, NODE, WorkerId(0), &[2; 32]);
        Bench { address, certificate: certificate.sha256(), tokens, worker, _scratch: scratch }
    }

    fn token(&self, expires_s: u64, game: Option<&str>, capabilities: Vec<Capability>) -> String {
        let game = game.map(|game| game.parse().unwrap());
        let player = "ada".parse().unwrap();
        let claims = SessionClaims { player, expires_s, issued_s: 1, game, session: None, capabilities };
        self.tokens.issue(&claims).unwrap()
    }

    fn good(&self) -> String {
        self.token(4_000_000_000, None, vec![Capability::Create])
    }

    fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// As clients ask.
    async fn ask(&self, token: &str, target: &str) -> Result<Place, Reason> {
        let trust = Trust::CertificateSha256(vec![self.certificate.0]);
        let target: Target = target.parse::<TargetText>().unwrap().0;
        match ringside_client::resolve(&self.url(), trust, token, target).await {
            Ok(place) => Ok(place),
            Err(ConnectError::Refused { reason, .. }) => Err(reason),
            Err(other) => panic!("{other}"),
        }
    }

    /// Says these bytes over TLS and takes what comes until the end.
    async fn say(&self, bytes: impl Into<Vec<u8>>) -> String {
        let (address, certificate, bytes) = (self.address, self.certificate, bytes.into());
        tokio::task::spawn_blocking(move || say(address, certificate, &bytes)).await.unwrap()
    }

    async fn post(&self, body: &str) -> (u16, Refusal) {
        let head = format!("POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
        understood(&self.say(head + body).await)
    }
}

/// A control task with a game, and a worker that has every session at once.
fn control(certificate: Certificate) -> Control {
    let (control, queue) = Control::queue(Default::default());
    let (orders, made) = std::sync::mpsc::channel();
    let send = Box::new(move |command| {
        if let Command::Create(order) = command {
            let _ = orders.send(order.session);
        }
        Ok(())
    });
    let port = Port { penalty: false, address: WORKER, send, usage: Box::new(Usage::default) };
    let worker = control.clone();
    std::thread::spawn(move || {
        for session in made {
            worker.event(WorkerId(0), Event::Created { session, result: Ok(()) });
        }
    });
    let started = std::time::Instant::now();
    let identity = Identity { node: NODE.id.0, generation: NODE.generation, started, certificate };
    let mut desk = Desk::new(identity, Limits { sessions: 100 }, false, BTreeMap::from([(WorkerId(0), port)]));
    let sandbox = Sandbox::new(SandboxConfig { cache_directory: None, warm_sessions: Some(4) }).unwrap();
    let module = sandbox.upload(&guests::module("echo")).unwrap();
    desk.handle(0, Message::Game(Served { game: "echo".parse().unwrap(), version: 1, module, may_sleep: true }));
    tokio::spawn(control::run(desk, queue));
    control
}

fn say(address: SocketAddr, certificate: Certificate, bytes: &[u8]) -> String {
    let mut tls = ringside_client::shell::pinned_tls(certificate).unwrap();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ringside_client::shell::PINNED_NAME.try_into().unwrap();
    let mut tls = rustls::ClientConnection::new(Arc::new(tls), name).unwrap();
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    let mut stream = rustls::Stream::new(&mut tls, &mut socket);
    let mut answer = Vec::new();
    // Who is closed while writing reads why.
    let _ = stream.write_all(bytes);
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn understood(answer: &str) -> (u16, Refusal) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")))
}

#[tokio::test]
async fn who_may_open_is_told_where_and_gets_a_ticket_for_one_time() {
    let mut bench = Bench::start("resolve").await;
    let place = bench.ask(&bench.good(), "echo/final").await.unwrap();
    assert_eq!((place.address, place.certificate_sha256), (WORKER, bench.certificate));
    let claims = bench.worker.redeem_ticket(&place.ticket, 0).unwrap();
    assert_eq!((claims.player.as_str(), claims.session.key.as_str(), claims.redirects), ("ada", "final", 0));
    assert_eq!(claims.token_expires_s, 4_000_000_000, "it does not prolong the token");
    assert_eq!(bench.worker.redeem_ticket(&place.ticket, 0), Err(Reason::TicketInvalid), "used");
    let again = bench.ask(&bench.token(4_000_000_000, None, vec![]), "echo/final").await.unwrap();
    assert_ne!(again.ticket, place.ticket);
    let any = bench.ask(&bench.good(), "echo?eu").await.unwrap();
    let met = bench.worker.redeem_ticket(&any.ticket, 0).unwrap().session;
    let any = bench.ask(&bench.good(), "echo?eu").await.unwrap();
    assert_eq!(bench.worker.redeem_ticket(&any.ticket, 0).unwrap().session, met, "asking twice makes one");
}

#[tokio::test]
async fn who_may_not_open_is_told_the_same_as_at_a_door() {
    let bench = Bench::start("resolve-refused").await;
    let table = [
        ("a.b.c".to_owned(), "echo/one", Reason::TokenInvalid),
        (bench.token(9, None, vec![]), "echo/one", Reason::TokenExpired),
        (bench.token(4_000_000_000, Some("pong"), vec![]), "echo/one", Reason::TokenForbids),
        (bench.token(4_000_000_000, None, vec![]), "echo/one", Reason::NoSuchSession),
        (bench.token(4_000_000_000, None, vec![]), "echo?any", Reason::TokenForbids),
        (bench.good(), "mahjong/one", Reason::NoSuchGame),
        ("t".repeat(limits::TOKEN_BYTES + 1), "echo/one", Reason::TooLarge),
    ];
    for (token, target, reason) in table {
        assert_eq!(bench.ask(&token, target).await, Err(reason), "{target}");
    }
}

#[tokio::test]
async fn whoever_has_another_certificate_is_not_asked() {
    let bench = Bench::start("resolve-pinned").await;
    let trust = Trust::CertificateSha256(vec![[0; 32]]);
    let target = "echo/one".parse::<TargetText>().unwrap().0;
    let error = ringside_client::resolve(&bench.url(), trust, bench.good(), target).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused { reason: Reason::Unreachable, .. }), "{error}");
}

#[tokio::test]
async fn faults_in_questions_are_named() {
    let bench = Bench::start("resolve-faults").await;
    for body in ["", "{", r#"{"token":"t"}"#, r#"{"token":"t","game":"echo","room":1}"#] {
        let (status, refusal) = bench.post(body).await;
        assert_eq!((status, &*refusal.reason, refusal.code), (400, "protocol", Reason::Protocol.code()), "{body}");
        assert!(refusal.message.contains("not understood"), "{refusal:?}");
    }
    for request in ["GET / HTTP/1.1\r\nhost: x\r\n\r\n", "GET /v1/resolve HTTP/1.1\r\nhost: x\r\n\r\n"] {
        assert_eq!(understood(&bench.say(request).await).1.code, Reason::Protocol.code(), "{request}");
    }
}

#[tokio::test]
async fn a_question_that_is_too_large_is_refused() {
    let bench = Bench::start("resolve-large").await;
    let (status, refusal) = bench.post(&" ".repeat(RESOLVE_BODY_BYTES + 1)).await;
    assert_eq!((status, &*refusal.reason), (413, "too-large"));
    let chunked = format!(
        "POST {PATH} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2000\r\n{}\r\n0\r\n\r\n",
        " ".repeat(0x2000)
    );
    assert_eq!(understood(&bench.say(chunked).await).1.code, Reason::TooLarge.code(), "nor by pieces");
}

#[tokio::test]
async fn a_question_that_does_not_come_is_given_up() {
    let soon = Duration::from_millis(50);
    let hasty = Bounds { head: soon, body: soon, ..bounds() };
    let bench = Bench::with("resolve-slow", hasty, |entrance| entrance.hasty(soon)).await;
    let head = format!("POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{{");
    let (status, refusal) = understood(&bench.say(head).await);
    assert_eq!((status, &*refusal.reason, refusal.retry_after_ms), (408, "open-timeout", 500));
    assert_eq!(bench.say("POST /v1/res").await, "", "half a head gets no answer");
    // Nor does half a handshake, or none.
    for hello in [&b""[..], b"\x16\x03\x01"] {
        let mut silent = TcpStream::connect(bench.address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut silent, hello).await.unwrap();
        let mut rest = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut silent, &mut rest).await;
        assert!(rest.is_empty());
    }
}

#[tokio::test]
async fn who_speaks_no_tls_is_told_in_tls_and_closed() {
    let bench = Bench::start("resolve-plain").await;
    let mut plain = TcpStream::connect(bench.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut plain, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut plain, &mut rest).await;
    assert_eq!(rest.first(), Some(&21), "an alert: {rest:?}");
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_refused_by_name_and_then_closed() {
    let bench = Bench::start("resolve-rate").await;
    let mut answers = Vec::new();
    // Questions take their time: some more come due meanwhile.
    for _ in 0..6 * RESOLVE_BURST {
        answers.push(bench.ask("a.b.c", "echo/one").await.unwrap_err());
        if answers.last() == Some(&Reason::AddressLimit) {
            break;
        }
    }
    assert!(answers.len() as u32 > RESOLVE_BURST, "{}", answers.len());
    assert_eq!(answers.pop(), Some(Reason::AddressLimit));
    assert!(answers.iter().all(|answer| *answer == Reason::TokenInvalid));
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_and_an_address_has_its_share() {
    let bench = Bench::start("resolve-seats").await;
    let connect = async |from: u8| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, from], 0))).unwrap();
        socket.connect(bench.address).await.unwrap()
    };
    // Half a handshake each, which takes a seat for three seconds.
    let mut inside = Vec::new();
    for number in 0..RESOLVE_CONNECTIONS {
        let from = 2 + (number / RESOLVE_ADDRESS_CONNECTIONS) as u8;
        let mut held = connect(from).await;
        tokio::io::AsyncWriteExt::write_all(&mut held, b"\x16").await.unwrap();
        inside.push(held);
        if number + 1 == RESOLVE_ADDRESS_CONNECTIONS {
            let mut beyond = connect(2).await;
            let read = tokio::io::AsyncReadExt::read(&mut beyond, &mut [0]).await;
            assert!(!matches!(read, Ok(1..)), "closed at once");
        }
    }
    let asked = bench.ask("a.b.c", "echo/one");
    tokio::pin!(asked);
    let soon = tokio::time::sleep(Duration::from_millis(20));
    tokio::select! {
        answer = &mut asked => panic!("there is no seat for it: {answer:?}"),
        () = soon => {}
    }
    inside.pop();
    assert_eq!(asked.await, Err(Reason::TokenInvalid), "its turn has come");
}
