//! Links between two workers over real sockets with the mutual TLS of a cluster, and who is refused by name.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::ConnectionError;
use ringside_core::ids::{SessionId, WorkerId};
use ringside_protocol::frame::Certificate;
use ringside_protocol::limits;
use ringside_test_support::members::{Authority, peer};
use ringside_test_support::proxy::{Faults, Proxy};
use ringside_test_support::wait::{PATIENCE, within};
use ringside_worker::authority::Keys;
use ringside_worker::peers::frame::{Greeting, VERSIONS};
use ringside_worker::peers::tls::Membership;
use ringside_worker::peers::{End, News, Order, Peer, SendError};
use ringside_worker::shell::{self, Config, PeerConfig, WorkerHandle};
use ringside_worker::{Command, Event, transport};
use rustls::pki_types::PrivateKeyDer;

use crate::stranger::Stranger;

/// A worker's thread and what it says.
pub struct Running {
    pub own: Peer,
    handle: WorkerHandle,
    thread: Option<JoinHandle<()>>,
    events: Mutex<Receiver<(WorkerId, Event)>>,
}

impl Running {
    /// Worker 0 of a node's run.
    pub fn start(own: Peer, membership: Membership) -> Running {
        Running::start_at(own, membership, "127.0.0.1:0".parse().unwrap())
    }

    fn start_at(own: Peer, membership: Membership, at: SocketAddr) -> Running {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let (sender, events) = sync_channel(1 << 16);
        let config = Config {
            node: own.node,
            node_started: Instant::now(),
            worker: own.worker,
            certificate: Certificate([0; 32]),
            epochs: Default::default(),
            seat_window: limits::SEAT_WINDOW,
            penalty: false,
            keys: Keys::new(&[], &[3; 32]),
            crypto: transport::server_crypto(vec![made.cert.der().clone()], key, vec![]).unwrap(),
            seed: [own.node.id.0 as u8; 32],
            events: sender,
            processor: None,
            peers: Some(PeerConfig { socket: UdpSocket::bind(at).unwrap(), membership }),
        };
        let (handle, thread) = shell::spawn(config, UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        Running { own, handle, thread: Some(thread), events: Mutex::new(events) }
    }

    pub fn address(&self) -> SocketAddr {
        self.handle.peer_address().unwrap()
    }

    fn order(&self, order: Order) {
        let mut command = Command::Peers(order);
        // A full queue empties with the worker's next turn.
        while let Err(back) = self.handle.send(command) {
            command = *back;
            std::thread::yield_now();
        }
    }

    /// A session links this peer, from now on.
    pub fn link(&self, peer: Peer, address: SocketAddr) {
        let reply = Box::new(|linked: Result<_, _>| linked.unwrap());
        self.order(Order::Link { session: session(), peer, address, reply });
    }

    fn unlink(&self, peer: Peer) {
        self.order(Order::Unlink { session: session(), peer });
    }

    /// Whether a frame waits to be sent.
    fn frame(&self, peer: Peer, body: Bytes) -> Result<(), SendError> {
        let (answer, answers) = sync_channel(1);
        let reply = Box::new(move |sent| _ = answer.send(sent));
        self.order(Order::Frame { peer, body, reply });
        answers.recv_timeout(PATIENCE).unwrap()
    }

    fn datagram(&self, peer: Peer, body: Bytes) {
        self.order(Order::Datagram { peer, body, reply: Box::new(|sent| sent.unwrap()) });
    }

    /// What is heard next.
    pub fn hear(&self) -> (Peer, News) {
        loop {
            let (_, event) = self.events.lock().unwrap().recv_timeout(PATIENCE).expect("news");
            if let Event::Peer { peer, news } = event {
                return (peer, news);
            }
        }
    }

    fn hear_up(&self) {
        let (peer, news) = self.hear();
        assert_eq!(news, News::Up { version: VERSIONS.1 }, "{peer}");
    }

    /// Why a link is down, and what is said of it.
    pub fn hear_down(&self) -> (End, String) {
        match self.hear() {
            (_, News::Down { end, detail, .. }) => (end, detail),
            (peer, news) => panic!("{peer}: {news:?}"),
        }
    }

    fn count(&self, name: &str) -> u64 {
        self.handle.counters().named().iter().find(|(of, _)| *of == name).unwrap().1
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        while self.handle.send(Command::Stop).is_err() {
            std::thread::yield_now();
        }
        // The last events are waited for.
        while self.events.get_mut().is_ok_and(|events| events.recv().is_ok()) {}
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn session() -> SessionId {
    "echo/linked@0000000000000001".parse().unwrap()
}

fn two() -> (Running, Running) {
    let cluster = Authority::new();
    (Running::start(peer(1, 5), cluster.member(1)), Running::start(peer(2, 6), cluster.member(2)))
}

#[test]
fn ten_thousand_frames_arrive_in_order_and_the_link_ends_with_its_last_session() {
    let (one, two) = two();
    one.link(two.own, two.address());
    one.hear_up();
    two.hear_up();
    let frames = 10_000_u32;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..frames {
                let mut body = vec![7; number as usize % 1_000];
                body.extend(number.to_le_bytes());
                one.frame(two.own, body.into()).unwrap();
            }
            // Behind the frames.
            one.unlink(two.own);
        });
        scope.spawn(|| {
            for number in 0..100_u32 {
                two.datagram(one.own, Bytes::copy_from_slice(&number.to_le_bytes()));
            }
        });
        for number in 0..frames {
            let (from, News::Frame(body)) = two.hear() else { panic!("a frame") };
            assert_eq!((from, body.len()), (one.own, number as usize % 1_000 + 4));
            assert_eq!(body[body.len() - 4..], number.to_le_bytes());
        }
    });
    assert_eq!(two.hear_down().0, End::Unlinked);
    let mut datagrams = 0;
    let end = loop {
        match one.hear() {
            (_, News::Datagram(_)) => datagrams += 1,
            (_, News::Down { end, by_peer: true, .. }) => break end,
            (_, news) => panic!("{news:?}"),
        }
    };
    assert_eq!(end, End::Unlinked);
    assert!(datagrams > 0, "of a hundred over loopback");
    assert_eq!(one.frame(two.own, Bytes::new()), Err(SendError::NotLinked));
}

#[test]
fn both_dial_at_once_and_one_connection_stays() {
    let cluster = Authority::new();
    for round in 0..10 {
        let one = Running::start(peer(1, 5 + round), cluster.member(1));
        let two = Running::start(peer(2, 6), cluster.member(2));
        one.link(two.own, two.address());
        two.link(one.own, one.address());
        one.hear_up();
        two.hear_up();
        // Both ways over the same connection: nobody hears of another.
        one.frame(two.own, Bytes::from_static(b"to two")).unwrap();
        two.frame(one.own, Bytes::from_static(b"to one")).unwrap();
        assert_eq!(two.hear().1, News::Frame(Bytes::from_static(b"to two")));
        assert_eq!(one.hear().1, News::Frame(Bytes::from_static(b"to one")));
        // One session still needs it after the first has left.
        one.unlink(two.own);
        two.frame(one.own, Bytes::from_static(b"still")).unwrap();
        assert_eq!(one.hear().1, News::Frame(Bytes::from_static(b"still")));
        two.unlink(one.own);
        assert_eq!((one.hear_down().0, two.hear_down().0), (End::Unlinked, End::Unlinked));
    }
}

#[test]
fn a_peer_that_stops_says_so_and_its_next_run_is_another_peer() {
    let cluster = Authority::new();
    let one = Running::start(peer(1, 1), cluster.member(1));
    let two = Running::start(peer(2, 1), cluster.member(2));
    let (old, address) = (two.own, two.address());
    one.link(old, address);
    one.hear_up();
    drop(two);
    assert_eq!(one.hear_down().0, End::Stopping);
    // At the same place: whoever means the old run does not speak to the new one.
    let two = Running::start_at(peer(2, 2), cluster.member(2), address);
    let end = loop {
        match one.hear_down() {
            (End::Stopping | End::Unreachable | End::Silent, _) => {}
            (end, detail) => break (end, detail),
        }
    };
    assert_eq!(end.0, End::OtherRun);
    assert!(end.1.contains("started anew"), "{}", end.1);
    one.link(two.own, address);
    one.hear_up();
}

/// A round in which this machine took so long shows nothing: by then a connection may be lost by itself.
const SPOILT: Duration = Duration::from_secs(3);

/// It died without a word. Whoever is still connected hears that from its next run, which has the same key for resets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_started_again_ends_the_connections_of_its_peers_at_once() {
    let cluster = Authority::new();
    for round in 1..=5 {
        let one = Running::start(peer(1, round), cluster.member(1));
        let two = Running::start(peer(2, 1), cluster.member(2));
        let (old, address) = (two.own, two.address());
        let proxy = Proxy::start(address, Faults::default(), 1).await.unwrap();
        one.link(old, proxy.address());
        one.hear_up();
        let begun = Instant::now();
        assert_eq!(proxy.cut_all(PATIENCE), 1, "its last words are not heard");
        drop(two);
        let _two = Running::start_at(peer(2, 2), cluster.member(2), address);
        proxy.clients().into_iter().for_each(|client| proxy.mend(client));
        let is_spoilt = begun.elapsed() > SPOILT;
        if !is_spoilt {
            // Something for the connection to say; the end of it follows.
            one.datagram(old, Bytes::from(vec![0; 200]));
        }
        let (end, detail) = one.hear_down();
        if !is_spoilt {
            assert!(end == End::Unreachable && detail.contains("reset"), "{end:?}: {detail}");
            return;
        }
    }
    ringside_test_support::skip!("this machine is too busy: the worker was never back within {SPOILT:?}");
}

#[test]
fn another_cluster_is_refused_at_both_ends() {
    let one = Running::start(peer(1, 1), Authority::new().member(1));
    let two = Running::start(peer(2, 1), Authority::new().member(2));
    one.link(two.own, two.address());
    let (end, detail) = one.hear_down();
    assert_eq!(end, End::OtherCluster);
    assert!(detail.contains("no node of this cluster"), "{detail}");
}

/// The certificate of another node, at the end that was dialed and at the end that dials.
#[test]
fn the_certificate_of_another_node_is_refused() {
    let cluster = Authority::new();
    let one = Running::start(peer(1, 1), cluster.member(1));
    let liar = Running::start(peer(2, 1), cluster.member(3));
    one.link(liar.own, liar.address());
    let (end, detail) = one.hear_down();
    assert_eq!(end, End::Certificate);
    assert!(detail.contains("not that of the node"), "{detail}");
    let other = Running::start(peer(4, 1), cluster.member(4));
    liar.link(other.own, other.address());
    loop {
        // What the first dials of it are refused with comes beside.
        if let (from, News::Down { end: End::Certificate, by_peer: true, .. }) = liar.hear() {
            assert_eq!(from, other.own);
            break;
        }
    }
}

#[test]
fn two_processes_with_one_number_are_refused() {
    let cluster = Authority::new();
    let one = Running::start(peer(1, 1), cluster.member(1));
    let twin = Running::start(peer(1, 2), cluster.member(1));
    twin.link(peer(1, 3), one.address());
    let (end, detail) = twin.hear_down();
    assert_eq!(end, End::DuplicateNode);
    assert!(detail.contains("must not share a state directory"), "{detail}");
}

#[tokio::test]
async fn strangers_are_refused_by_name() {
    let cluster = Authority::new();
    let one = Running::start(peer(9, 5), cluster.member(9));
    let newer = Running::start(peer(3, 8), cluster.member(3));
    one.link(newer.own, newer.address());
    one.hear_up();
    let honest = Greeting { versions: VERSIONS, from: peer(2, 1), to: one.own, dial: 1 };
    for (greeting, end, says) in [
        (Greeting { versions: (VERSIONS.1 + 1, VERSIONS.1 + 3), ..honest }, End::Version, "run adjacent releases"),
        (Greeting { to: peer(9, 4), ..honest }, End::OtherRun, "started anew"),
        (Greeting { from: peer(4, 1), ..honest }, End::Certificate, "not that of the node"),
    ] {
        let mut stranger = Stranger::connect(&cluster, Some(2), one.address()).await.unwrap();
        stranger.greet(&greeting).await;
        let (said, text) = stranger.ended().await;
        assert_eq!(said, end);
        assert!(text.contains(says), "{text}");
    }
    let mut stale = Stranger::connect(&cluster, Some(3), one.address()).await.unwrap();
    stale.greet(&Greeting { from: peer(3, 7), ..honest }).await;
    assert_eq!(stale.ended().await.0, End::OldRun);
    // A later release that speaks this one's version as well is let in.
    let mut adjacent = Stranger::connect(&cluster, Some(2), one.address()).await.unwrap();
    adjacent.greet(&Greeting { versions: (VERSIONS.1, VERSIONS.1 + 1), ..honest }).await;
    assert!(adjacent.is_welcome().await);
    let (from, news) = one.hear();
    assert_eq!((from, news), (peer(2, 1), News::Up { version: VERSIONS.1 }));
}

#[tokio::test]
async fn who_shows_no_certificate_or_one_of_another_cluster_is_refused_by_the_handshake() {
    let cluster = Authority::new();
    let one = Running::start(peer(1, 5), cluster.member(1));
    let greeting = Greeting { versions: VERSIONS, from: peer(2, 1), to: one.own, dial: 1 };
    let mut nobody = Stranger::connect(&cluster, None, one.address()).await.unwrap();
    nobody.greet(&greeting).await;
    assert!(nobody.is_refused_by_tls().await);
    let other = Authority::new();
    assert!(Stranger::connect(&other, Some(2), one.address()).await.is_none(), "it does not believe ours");
    let mut spy = Stranger::connect_believing(&cluster, other.member(2), one.address()).await.unwrap();
    spy.greet(&greeting).await;
    assert!(spy.is_refused_by_tls().await);
    assert!(one.events.lock().unwrap().try_recv().is_err(), "nobody was linked");
    drop((nobody, spy));
}

/// A peer that is linked and reads nothing; its own packets go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_peer_is_given_up_as_too_slow() {
    let cluster = Authority::new();
    let one = Running::start(peer(1, 5), cluster.member(1));
    let mut slow = Stranger::connect(&cluster, Some(2), one.address()).await.unwrap();
    slow.greet(&Greeting { versions: VERSIONS, from: peer(2, 1), to: one.own, dial: 1 }).await;
    assert!(slow.is_welcome().await);
    one.hear_up();
    let body = Bytes::from(vec![1; 200 << 10]);
    let error = loop {
        if let Err(error) = one.frame(peer(2, 1), body.clone()) {
            break error;
        }
    };
    assert_eq!(error, SendError::TooSlow);
    assert_eq!(one.hear_down().0, End::TooSlow);
    // What it is told may be lost behind all that it did not read: then it hears nothing more.
    match within("the connection to end", slow.connection.closed()).await {
        ConnectionError::ApplicationClosed(close) => {
            assert_eq!(End::from_code(close.error_code.into()), End::TooSlow);
        }
        other => assert!(matches!(other, ConnectionError::TimedOut | ConnectionError::Reset), "{other}"),
    }
    assert!(one.count("peer_frames_out") > 20);
    assert_eq!(one.handle.counters().kernel_drops.load(Relaxed), 0);
}
