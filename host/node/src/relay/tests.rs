//! Relays with real workers and sockets: a front that leads nothing, and a leader on "another node".

use std::sync::mpsc::{Receiver as Events, sync_channel};
use std::thread::JoinHandle;
use std::time::SystemTime;

use ringside_client::{Arrival, Client, Event, Options, Trust};
use ringside_core::ids::{Epoch, Node, NodeId, SessionId};
use ringside_guest::{Bytes as Body, decode, encode};
use ringside_protocol::frame::{ALPN, Certificate};
use ringside_protocol::token::{Capability, SessionClaims};
use ringside_sandbox::{Sandbox, SandboxConfig};
use ringside_test_support::guests;
use ringside_worker::authority::Keys;
use ringside_worker::shell::{self, Config};
use ringside_worker::{Create, Event as Said, Resolved, transport};

use super::*;
use crate::certificate::ServerCertificate;
use crate::cluster::secret::ClusterSecret;
use crate::scratch::Scratch;
use crate::state_directory::StateDirectory;
use crate::tokens::TokenKey;

struct Two {
    front: WorkerHandle,
    leader: WorkerHandle,
    certificate: Certificate,
    token: String,
    threads: Vec<JoinHandle<()>>,
    _scratch: Scratch,
}

const SESSION: &str = "echo/relayed@00000000000000aa";

impl Two {
    fn start(name: &str) -> Two {
        Two::start_at(name, "127.0.0.1:0")
    }

    fn start_at(name: &str, leader: &str) -> Two {
        let scratch = Scratch::new(name);
        let state = StateDirectory::open(&scratch.0).unwrap();
        let served = ServerCertificate::open(&state, 14, SystemTime::now()).unwrap();
        let secret = ClusterSecret::generate(SystemTime::now()).unwrap();
        let tokens = TokenKey::new(secret.token_key()).unwrap();
        let keys = Keys::new(&[tokens.public()], secret.ticket_key());
        let crypto = transport::server_crypto(served.chain(), served.key(), vec![ALPN.to_vec()]).unwrap();
        let started = std::time::Instant::now();
        let spawn = |node: u64, address: &str| {
            let (events, said) = sync_channel(4096);
            let config = Config {
                node: Node { id: NodeId(node), generation: 1 },
                node_started: started,
                worker: WorkerId(0),
                certificate: served.sha256(),
                epochs: Default::default(),
                seat_window: Duration::from_secs(30),
                penalty: false,
                keys: keys.clone(),
                crypto: Arc::clone(&crypto),
                seed: [node as u8; 32],
                events,
                processor: None,
                peers: None,
            };
            let (handle, thread) = shell::spawn(config, UdpSocket::bind(address).unwrap()).unwrap();
            (handle, thread, said)
        };
        let (front, front_thread, front_said) = spawn(1, "127.0.0.1:0");
        let (leader, leader_thread, leader_said) = spawn(2, leader);
        create(&leader, &leader_said);
        let place = Resolved {
            session: SESSION.parse().unwrap(),
            node: 2,
            generation: 1,
            era: 0,
            worker: WorkerId(0),
            address: leader.address(),
            certificate: served.sha256(),
        };
        let relays = Relays::start().unwrap();
        let claims = SessionClaims {
            player: "ada".parse().unwrap(),
            expires_s: 4_000_000_000,
            issued_s: 1,
            game: Some("echo".parse().unwrap()),
            session: None,
            capabilities: vec![Capability::Create],
        };
        let forward = {
            let handle = front.clone();
            std::thread::spawn(move || answer(&handle, &front_said, &place, &relays))
        };
        let drain = std::thread::spawn(move || leader_said.iter().for_each(drop));
        Two {
            front,
            leader,
            certificate: served.sha256(),
            token: tokens.issue(&claims).unwrap(),
            threads: vec![front_thread, leader_thread, forward, drain],
            _scratch: scratch,
        }
    }

    fn options(&self, relay: bool) -> Options {
        let trust = Trust::CertificateSha256(vec![self.certificate.0]);
        let mut options = Options::new([self.front.address()], trust, self.token.clone(), "echo/relayed").unwrap();
        options.relay = relay;
        options
    }

    async fn stop(self) {
        for handle in [&self.front, &self.leader] {
            let _ = handle.send(Command::Stop);
        }
        tokio::task::spawn_blocking(|| self.threads.into_iter().for_each(|thread| thread.join().unwrap()))
            .await
            .unwrap();
    }
}

fn create(leader: &WorkerHandle, said: &Events<(WorkerId, Said)>) {
    let sandbox = Sandbox::new(SandboxConfig { cache_directory: None, warm_sessions: Some(4) }).unwrap();
    let module = sandbox.upload(&guests::module("echo")).unwrap();
    let session: SessionId = SESSION.parse().unwrap();
    let epoch = Epoch { number: 1, node: 2, node_generation: 1 };
    let create = Create { session, module, config: Bytes::new(), seed: [0; 32], epoch, record: false, followers: 0 };
    leader.send(Command::Create(Box::new(create))).map_err(drop).unwrap();
    loop {
        if let (_, Said::Created { result, .. }) = said.recv().unwrap() {
            return result.unwrap();
        }
    }
}

/// What a node does for the front: every session is at the other.
fn answer(front: &WorkerHandle, said: &Events<(WorkerId, Said)>, place: &Resolved, relays: &Relays) {
    for (worker, event) in said {
        match event {
            Said::Resolve { request, .. } => {
                let _ = front.send(Command::Resolved { request, answer: Ok(place.clone()) });
            }
            Said::Relay(order) => relays.begin(worker, front.clone(), order),
            Said::Relayed { relay, what } => relays.handle(worker, relay, what),
            _ => {}
        }
    }
}

async fn say(client: &mut Client, count: u64) {
    let (mut sent, mut heard) = (0, 0);
    while heard < count {
        while sent < count && client.send(encode(&Body(vec![sent as u8; 300 + (sent % 7) as usize * 2000]))).is_ok() {
            sent += 1;
        }
        match client.next().await.expect("the match goes on") {
            Event::Message { body, .. } => {
                let reply: echo::Reply = decode(&body).unwrap();
                heard += 1;
                assert_eq!(reply.number, heard, "in order, none lost, none doubled");
            }
            other => assert!(matches!(other, Event::Attached(_)), "{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_player_who_asks_is_relayed_and_notices_nothing() {
    let two = Two::start("relay-asked");
    let mut client = Client::connect(two.options(true)).await.unwrap();
    assert_eq!(client.attachment().arrival, Arrival::Relayed);
    assert_eq!(client.attachment().node, 2, "it knows who leads");
    say(&mut client, 500).await;
    client.send_datagram(encode(&Body(vec![7; 900]))).unwrap();
    let answer = loop {
        match client.next().await.unwrap() {
            Event::Datagram { body, .. } => break body,
            _ => continue,
        }
    };
    assert_eq!(decode::<echo::Reply>(&answer).unwrap().body.0, vec![7; 900]);
    client.leave().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_does_not_ask_is_redirected_once() {
    let two = Two::start("relay-not-asked");
    let mut client = Client::connect(two.options(false)).await.unwrap();
    assert_eq!(client.attachment().arrival, Arrival::Redirected(1));
    say(&mut client, 50).await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_gone_ends_the_relay_with_a_reason() {
    let two = Two::start("relay-gone");
    let mut options = two.options(true);
    options.give_up_after = Duration::from_secs(3);
    let mut client = Client::connect(options).await.unwrap();
    say(&mut client, 10).await;
    two.leader.send(Command::Stop).map_err(drop).unwrap();
    loop {
        match client.next().await {
            Some(Event::Disconnected { .. } | Event::GoingAway { .. }) => continue,
            Some(Event::Detached { .. } | Event::Failed { .. }) | None => break,
            Some(other) => panic!("{other:?}"),
        }
    }
    two.stop().await;
}

/// The leader's address is IPv6, the client speaks IPv4 only.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_the_player_cannot_reach_is_relayed_to() {
    if UdpSocket::bind("[::1]:0").is_err() {
        ringside_test_support::skip!("there is no IPv6 loopback here");
    }
    let two = Two::start_at("relay-unreachable", "[::1]:0");
    let mut client = Client::connect(two.options(false)).await.unwrap();
    assert_eq!(client.attachment().arrival, Arrival::Relayed);
    say(&mut client, 50).await;
    two.stop().await;
}

#[tokio::test]
async fn bytes_that_the_players_worker_never_takes_end_the_relay() {
    let full = |command| Err(Box::new(command));
    let stuck = tell(1, Relayed::Stream(Bytes::from_static(b"half a message")), full).await;
    assert_eq!(stuck, Err(Stuck), "and nothing is sent behind them");
    assert_eq!(tell(1, Relayed::Took(1), |_| Ok(())).await, Ok(()));
}

#[tokio::test]
async fn relays_of_a_node_are_bounded_by_what_a_leader_takes_from_one_address() {
    let places = Places::default();
    let taken: Vec<_> = (0..NODE_RELAYS).map(|_| places.take().expect("a place")).collect();
    assert!(places.take().is_none(), "the player is refused as overloaded");
    drop(taken);
    assert!(places.take().is_some());
    let mut turns = Vec::new();
    for _ in 0..OPENING_RELAYS {
        turns.push(places.turn().await);
    }
    assert_eq!(places.opening.available_permits(), 0, "the next waits until one is let in");
    const {
        assert!(NODE_RELAYS < limits::CONNECTIONS_PER_ADDRESS && OPENING_RELAYS < limits::UNATTACHED_PER_ADDRESS);
    }
}

/// A relay that is not let in yet waits for the player's end as well, and loses nothing of what came before its leader.
#[tokio::test]
async fn what_a_player_says_before_there_is_a_leader_is_kept_in_order_until_they_are_gone() {
    let (inlet, mut outflow) = Inlet::new();
    let said = |number: u8| Relayed::Stream(Bytes::from(vec![number]));
    let counters = RelayCounters::default();
    (1..=3).for_each(|number| inlet.take(said(number), &counters));
    let waits = tokio::time::timeout(Duration::from_millis(1), outflow.stream.gone()).await;
    assert!(waits.is_err(), "they are there");
    inlet.take(said(4), &counters);
    for number in 1..=4 {
        assert_eq!(outflow.stream.next().await, Some(said(number)));
    }
    inlet.take(said(5), &counters);
    inlet.take(Relayed::Closed(Reason::Left), &counters);
    assert_eq!(outflow.stream.gone().await, Reason::Left);
}

#[test]
fn datagrams_that_find_no_room_are_dropped_and_counted_and_hold_nothing_up() {
    let ((inlet, mut outflow), counters) = (Inlet::new(), RelayCounters::default());
    let datagram = |number: usize| Relayed::Datagram(Bytes::from(vec![number as u8]));
    (0..RELAY_DATAGRAMS + 3).for_each(|number| inlet.take(datagram(number), &counters));
    inlet.take(Relayed::Took(1), &counters);
    assert_eq!(counters.dropped.load(Ordering::Relaxed), 3);
    assert_eq!(outflow.stream.queue.try_recv().ok(), Some(Relayed::Took(1)));
    let waiting: Vec<u8> = std::iter::from_fn(|| outflow.datagrams.try_recv().ok()).map(|bytes| bytes[0]).collect();
    assert_eq!(waiting, (0..RELAY_DATAGRAMS as u8).collect::<Vec<_>>());
    inlet.take(datagram(7), &counters);
    assert!(outflow.datagrams.try_recv().is_ok(), "there is room again");
    // A relay that has ended takes nothing, which is no want of room.
    drop(outflow);
    inlet.take(datagram(8), &counters);
    assert_eq!(counters.dropped.load(Ordering::Relaxed), 3);
}
