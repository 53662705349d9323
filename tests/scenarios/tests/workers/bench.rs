//! Workers on real sockets with the smallest possible node around them: the real directory behind a lock, and a thread
//! that hands it what the workers say.

mod desk;

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use ring::signature::KeyPair;
use ringside_client::{Client, ConnectError, Options, TargetText, Trust};
use ringside_core::ids::{Node, NodeId, SessionId, WorkerId};
use ringside_protocol::frame::{ALPN, Certificate, Open, VERSION};
use ringside_protocol::limits;
use ringside_protocol::reason::Reason;
use ringside_protocol::token::{Capability, SessionClaims};
use ringside_sandbox::{Module, Sandbox, SandboxConfig};
use ringside_test_support::guests;
use ringside_test_support::wait::{until, within};
use ringside_worker::accounting::Counters;
use ringside_worker::authority::Keys;
use ringside_worker::peers::tls::Membership;
use ringside_worker::shell::{self, Config, PeerConfig, WorkerHandle};
use ringside_worker::{Command, Event, SessionReport, transport};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::memory;
use desk::Desk;

/// Seals the tickets of all nodes.
pub const TICKET_KEY: [u8; 32] = [3; 32];

/// What the workers said that tests ask about.
#[derive(Default)]
pub struct News {
    pub ended: Vec<(SessionId, String)>,
    pub faults: Vec<(SessionId, String)>,
    pub moved: Vec<SessionId>,
    pub recorded: HashMap<SessionId, Vec<u8>>,
}

/// Two workers and their node. New sessions are created at the first; the second is the penalty worker, and a door like
/// the first.
pub struct Bench {
    pub handles: Vec<WorkerHandle>,
    pub news: Arc<Mutex<News>>,
    pub certificate: CertificateDer<'static>,
    desk: Arc<Mutex<Desk>>,
    sandbox: Sandbox,
    signing: jsonwebtoken::EncodingKey,
    threads: Vec<JoinHandle<()>>,
    started: std::time::Instant,
}

impl Bench {
    pub fn start() -> Bench {
        Bench::with_seat_window(limits::SEAT_WINDOW)
    }

    pub fn with_seat_window(seat_window: Duration) -> Bench {
        Bench::with(seat_window, Duration::ZERO, None)
    }

    /// Workers that may be linked to others: those of node 1 in its first run.
    pub fn with_peers(membership: Membership) -> Bench {
        Bench::with(limits::SEAT_WINDOW, Duration::ZERO, Some(membership))
    }

    /// A node that has run for so long already: the eras of its tickets are later ones.
    pub fn that_has_run_for(age: Duration) -> Bench {
        Bench::with(limits::SEAT_WINDOW, age, None)
    }

    fn with(seat_window: Duration, age: Duration, membership: Option<Membership>) -> Bench {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let certificate = made.cert.der().clone();
        let (signing, public) = signing_key();
        let (events, inbox) = sync_channel(1 << 16);
        let started = std::time::Instant::now().checked_sub(age).expect("the machine has run for longer");
        let (mut handles, mut threads) = (Vec::new(), Vec::new());
        for number in 0..2_u8 {
            let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
            let config = Config {
                node: Node { id: NodeId(1), generation: 1 },
                node_started: started,
                worker: WorkerId(number),
                certificate: sha256(&certificate),
                epochs: Default::default(),
                seat_window,
                penalty: number == 1,
                keys: Keys::new(&[public], &TICKET_KEY),
                crypto: transport::server_crypto(vec![certificate.clone()], key, vec![ALPN.to_vec()]).unwrap(),
                seed: [number + 1; 32],
                events: events.clone(),
                processor: None,
                peers: membership
                    .clone()
                    .map(|membership| PeerConfig { socket: UdpSocket::bind("127.0.0.1:0").unwrap(), membership }),
            };
            let (handle, thread) = shell::spawn(config, UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
            handles.push(handle);
            threads.push(thread);
        }
        let news = Arc::<Mutex<News>>::default();
        let desk = Arc::new(Mutex::new(Desk::new(handles.clone(), sha256(&certificate), started)));
        let (told, asked) = (Arc::clone(&news), Arc::clone(&desk));
        threads.push(std::thread::spawn(move || serve(&inbox, &asked, &told)));
        let sandbox = Sandbox::new(SandboxConfig { cache_directory: None, warm_sessions: Some(256) }).unwrap();
        Bench { handles, news, certificate, desk, sandbox, signing, threads, started }
    }

    /// How long the node has run.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Gives the workers another certificate, which players who come from now on expect.
    pub fn certify(&mut self) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        self.certificate = made.cert.der().clone();
        for handle in &self.handles {
            let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
            let crypto = transport::server_crypto(vec![self.certificate.clone()], key, vec![ALPN.to_vec()]).unwrap();
            handle.certify(crypto, sha256(&self.certificate)).ok().unwrap();
        }
        self.desk.lock().unwrap().certify(sha256(&self.certificate));
    }

    /// Serves a built game from now on.
    pub fn serve(&self, name: &str) -> Module {
        let module = self.sandbox.upload(&guests::module(name)).unwrap();
        self.desk.lock().unwrap().serve(&module);
        module
    }

    /// The first worker's address: the door that is next to the sessions.
    pub fn address(&self) -> SocketAddr {
        self.handles[0].address()
    }

    /// The first worker's counters.
    pub fn counters(&self) -> Arc<Counters> {
        self.handles[0].counters()
    }

    /// Connections that the first worker ended for this reason.
    pub fn ended(&self, reason: Reason) -> u64 {
        self.counters().ends.of(reason)
    }

    /// Creates a session of a served game and waits until it plays. `target` is `game/key`.
    pub async fn create(&self, target: &str) -> SessionId {
        self.create_with(target, Bytes::new(), false).await
    }

    pub async fn create_with(&self, target: &str, config: Bytes, record: bool) -> SessionId {
        let (game, key) = target.split_once('/').unwrap();
        let answer = self.desk.lock().unwrap().create(game.parse().unwrap(), key.parse().unwrap(), config, record);
        let placed = within("the session to be created", answer).await;
        placed.expect("the node answers").expect("the session starts").session
    }

    /// What its worker knows of a session; nothing once it is over.
    pub async fn report(&self, session: &SessionId) -> Option<SessionReport> {
        let worker = self.desk.lock().unwrap().worker_of(session)?;
        let (reply, answer) = tokio::sync::oneshot::channel();
        let reply = Box::new(move |report| drop(reply.send(report)));
        self.handles[worker].send(Command::Show { session: session.clone(), reply }).ok().unwrap();
        within("a report", answer).await.expect("the worker answers").map(|report| *report)
    }

    /// The session's report, as soon as it is as asked for.
    pub async fn report_when(
        &self,
        what: &str,
        session: &SessionId,
        is: impl Fn(&SessionReport) -> bool,
    ) -> SessionReport {
        until(what, async || self.report(session).await.filter(|report| is(report))).await
    }

    /// Bytes that the first worker's thread has allocated and not freed.
    pub async fn live_bytes(&self) -> isize {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let reply = Box::new(move |_| _ = reply.send(memory::live_bytes_of_this_thread()));
        let session = "nobody/none@0000000000000000".parse().unwrap();
        self.handles[0].send(Command::Show { session, reply }).ok().unwrap();
        within("the worker's memory", answer).await.expect("the worker answers")
    }

    /// Lets the first worker's thread go before all others, as if it had a core of its own like a node's workers: what
    /// else this machine does must not cost its sessions ticks. Where the system refuses, it goes on as before.
    pub fn give_a_core(&self) {
        // SAFETY: plain numbers; on Linux "process 0" means the calling thread, which is the worker's.
        let reply = Box::new(|_| _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) });
        let session = "nobody/none@0000000000000000".parse().unwrap();
        self.handles[0].send(Command::Show { session, reply }).ok().unwrap();
    }

    /// Claims that allow a player everything.
    pub fn claims(player: &str) -> SessionClaims {
        SessionClaims {
            player: player.parse().unwrap(),
            expires_s: 4_000_000_000,
            issued_s: 1,
            game: None,
            session: None,
            capabilities: vec![Capability::Create],
        }
    }

    /// A token of the workers' issuer.
    pub fn sign(&self, claims: &SessionClaims) -> String {
        sign(&self.signing, claims)
    }

    pub fn token(&self, player: &str) -> String {
        self.sign(&Bench::claims(player))
    }

    /// What a player's first frame says.
    pub fn open(&self, player: &str, target: &str) -> Open {
        Open {
            version: VERSION,
            token: self.token(player),
            target: target.parse::<TargetText>().unwrap().0,
            mode: Default::default(),
            resume: None,
            ticket: None,
            relay: false,
        }
    }

    pub fn options(&self, at: SocketAddr, player: &str, target: &str) -> Options {
        let trust = Trust::CertificateSha256(vec![sha256(&self.certificate).0]);
        Options::new([at], trust, self.token(player), target).unwrap()
    }

    pub async fn try_join(&self, at: SocketAddr, player: &str, target: &str) -> Result<Client, ConnectError> {
        within("the player to be let in or not", Client::connect(self.options(at, player, target))).await
    }

    /// A player in a session, through the first worker.
    pub async fn join(&self, player: &str, target: &str) -> Client {
        self.try_join(self.address(), player, target).await.unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.desk.lock().unwrap_or_else(std::sync::PoisonError::into_inner).stop();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A key to sign session tokens with, and its public half.
pub fn signing_key() -> (jsonwebtoken::EncodingKey, [u8; 32]) {
    let pkcs8 = ring::signature::Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
    let pair = ring::signature::Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let public = pair.public_key().as_ref().try_into().unwrap();
    (jsonwebtoken::EncodingKey::from_ed_der(pkcs8.as_ref()), public)
}

pub fn sign(key: &jsonwebtoken::EncodingKey, claims: &SessionClaims) -> String {
    jsonwebtoken::encode(&jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA), claims, key).unwrap()
}

pub fn sha256(certificate: &[u8]) -> Certificate {
    let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
    Certificate(digest.as_ref().try_into().unwrap())
}

/// Until the last worker has stopped.
fn serve(inbox: &Receiver<(WorkerId, Event)>, desk: &Mutex<Desk>, news: &Mutex<News>) {
    while let Ok((worker, event)) = inbox.recv() {
        match event {
            Event::GuestFault { session, message, .. } => news.lock().unwrap().faults.push((session, message)),
            Event::Recorded { session, piece } => {
                news.lock().unwrap().recorded.entry(session).or_default().extend_from_slice(&piece.frames);
            }
            event => {
                match &event {
                    Event::Overran(moved) => news.lock().unwrap().moved.push(moved.id().clone()),
                    Event::Ended { session, reason, .. } => {
                        news.lock().unwrap().ended.push((session.clone(), reason.clone()));
                    }
                    _ => {}
                }
                desk.lock().unwrap().handle(worker, event);
            }
        }
    }
}
