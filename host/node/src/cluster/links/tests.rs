//! Links over real sockets: order, refusals by name, and what hostile peers can do.

use std::time::SystemTime;

use ringside_core::ids::NodeId;
use ringside_test_support::proxy::{Faults, Proxy};
use ringside_test_support::wait::{until, within};

use super::*;
use crate::cluster::inbox;
use crate::limits::{LINK_ADDRESS_GREETINGS, LINK_FRAME_BYTES, LINK_INBOX};

pub(super) struct Started {
    pub links: Links<(u32, String)>,
    pub inbox: mpsc::Receiver<Arrival<(u32, String)>>,
    pub address: SocketAddr,
}

fn hello(node: u64, generation: u64, address: SocketAddr) -> Hello {
    Hello { versions: VERSIONS, node, generation, links: address, gossip: address }
}

fn start_as(secret: &ClusterSecret, certified: u64, hello: impl Fn(SocketAddr) -> Hello, admit: Admit) -> Started {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let (sender, inbox) = mpsc::channel(16);
    let own = hello(address);
    let node = own.node;
    let links = Links::start(Hello { node: certified, ..own.clone() }, secret, socket, admit, sender).unwrap();
    // A liar has another node's certificate.
    let links = if certified == node {
        links
    } else {
        let shared = Arc::try_unwrap(Arc::clone(&links.shared)).unwrap_or_else(|shared| Shared {
            endpoint: shared.endpoint.clone(),
            client: shared.client.clone(),
            secret: shared.secret.clone(),
            own: own.clone(),
            admit: Arc::clone(&shared.admit),
            inbox: shared.inbox.clone(),
            peers: Mutex::new(HashMap::new()),
            greetings: Arc::clone(&shared.greetings),
            greeting: Mutex::default(),
            places: Arc::clone(&shared.places),
            counters: LinkCounters::default(),
        });
        Links { shared: Arc::new(shared) }
    };
    Started { links, inbox, address }
}

pub(super) fn start(secret: &ClusterSecret, node: u64) -> Started {
    start_as(secret, node, |address| hello(node, 1, address), Arc::new(|_| Ok(())))
}

pub(super) fn to(node: u64, generation: u64, address: SocketAddr) -> Destination {
    Destination { node: Node { id: NodeId(node), generation }, address }
}

pub(super) fn secret() -> ClusterSecret {
    ClusterSecret::generate(SystemTime::now()).unwrap()
}

#[tokio::test]
async fn messages_arrive_in_order_with_the_senders_name() {
    let secret = secret();
    let (one, mut two) = (start(&secret, 1), start(&secret, 2));
    let many = 5_000;
    for number in 0..many {
        // The queue is bounded: whoever sends faster than a link carries waits here.
        while !one.links.send(to(2, 1, two.address), (number, "text".into())) {
            tokio::task::yield_now().await;
        }
        while let Ok(arrival) = two.inbox.try_recv() {
            assert_eq!((arrival.node, arrival.generation), (1, 1));
            if arrival.message.0 == many - 1 {
                return;
            }
        }
    }
    let mut last = None;
    while let Some(arrival) = two.inbox.recv().await {
        assert!(last < Some(arrival.message.0), "in order");
        last = Some(arrival.message.0);
        if last == Some(many - 1) {
            return;
        }
    }
}

#[tokio::test]
async fn whoever_knows_only_an_address_learns_who_is_there() {
    let secret = secret();
    let (one, two) = (start(&secret, 1), start(&secret, 2));
    let hello = one.links.greet(two.address).await.unwrap();
    assert_eq!((hello.node, hello.links), (2, two.address));
}

#[tokio::test]
async fn another_cluster_is_refused_and_told_what_to_do() {
    let (one, stranger) = (start(&secret(), 1), start(&secret(), 2));
    let error = stranger.links.greet(one.address).await.unwrap_err().to_string();
    assert!(error.contains("is no node of this cluster") && error.contains("cluster.json"), "{error}");
    assert_eq!(one.links.counters().received.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn another_version_a_taken_number_and_a_false_certificate_are_refused_by_name() {
    let secret = secret();
    let admit: Admit = Arc::new(|hello| match hello.node {
        7 => Err(Refusal::DuplicateNode { node: 7, address: hello.links }),
        _ => Ok(()),
    });
    let one = start_as(&secret, 1, |address| hello(1, 5, address), admit);
    let allowed: Admit = Arc::new(|_| Ok(()));
    let newer = start_as(
        &secret,
        2,
        |address| Hello { versions: (VERSIONS.1 + 1, VERSIONS.1 + 2), ..hello(2, 1, address) },
        Arc::clone(&allowed),
    );
    let twin = start_as(&secret, 1, |address| hello(1, 6, address), Arc::clone(&allowed));
    let known = start_as(&secret, 7, |address| hello(7, 1, address), Arc::clone(&allowed));
    let liar = start_as(&secret, 3, |address| hello(4, 1, address), allowed);
    for (node, says) in [
        (&newer, "run adjacent releases"),
        (&twin, "two nodes must not share a state directory"),
        (&known, "two nodes must not share a state directory"),
        (&liar, "not that of the node that it claims to be"),
    ] {
        let error = node.links.greet(one.address).await.unwrap_err();
        assert!(matches!(error, LinkError::Refused { .. }) && error.to_string().contains(says), "{error}");
    }
    // Whoever means one node does not speak to another that is at its address.
    assert!(newer.links.send(to(99, 1, one.address), (0, String::new())));
    assert_eq!(one.links.counters().received.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_node_that_comes_back_elsewhere_is_found_again() {
    let secret = secret();
    let (one, mut two) = (start(&secret, 1), start(&secret, 2));
    assert!(one.links.send(to(2, 1, two.address), (1, "first".into())));
    assert_eq!(two.inbox.recv().await.unwrap().message.0, 1);
    two.links.stop().await;
    let mut again = start(&secret, 2);
    assert!(one.links.send(to(2, 1, again.address), (2, "second".into())));
    assert_eq!(again.inbox.recv().await.unwrap().message.0, 2);
}

#[test]
fn a_run_that_follows_another_on_its_address_gets_a_connection_of_its_own() {
    let secret = secret();
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (here, there) = (runtime(), runtime());
    let one = here.block_on(async { start(&secret, 1) });
    let mut two = there.block_on(async { start(&secret, 2) });
    assert!(here.block_on(async { one.links.send(to(2, 1, two.address), (1, "first".into())) }));
    assert_eq!(there.block_on(two.inbox.recv()).unwrap().message.0, 1);
    // It dies without a word, and its successor has its address before anybody knows.
    let address = two.address;
    there.shutdown_timeout(GREETING);
    drop(two);
    here.block_on(async {
        let socket = UdpSocket::bind(address).unwrap();
        let (sender, mut inbox) = mpsc::channel::<Arrival<(u32, String)>>(16);
        let admit: Admit = Arc::new(|_| Ok(()));
        let _again = Links::start(hello(2, 2, address), &secret, socket, admit, sender).unwrap();
        assert!(one.links.send(to(2, 2, address), (2, "second".into())));
        let arrived = timeout(4 * GREETING, inbox.recv()).await.expect("it does not go into the dead connection");
        assert_eq!(arrived.unwrap().message, (2, "second".to_owned()));
    });
}

#[tokio::test]
async fn parts_of_long_messages_wait_for_room_and_for_everything_else() {
    let (peer, mut queues) = Peer::new(([127, 0, 0, 1], 1).into());
    for part in 0..LINK_PARTS {
        assert!(peer.parts.try_send(part).is_ok());
    }
    assert!(peer.parts.try_send(LINK_PARTS).is_err(), "parts have no more room");
    for message in 100..103 {
        assert!(peer.control.try_send(message).is_ok(), "others have");
    }
    drop(peer);
    let mut order = Vec::new();
    while let Some(message) = queues.next().await {
        order.push(message);
    }
    assert_eq!(order, [100, 101, 102, 0, 1, 2, 3]);
}

#[tokio::test]
async fn a_peer_that_nobody_reads_is_dropped_for_and_nothing_grows() {
    let secret = secret();
    let (one, two) = (start(&secret, 1), start(&secret, 2));
    // Two's inbox has 16 places and nobody reads it.
    let text = "x".repeat(8 << 10);
    let mut refused = 0;
    while refused < 100 {
        if !one.links.send(to(2, 1, two.address), (0, text.clone())) {
            refused += 1;
            tokio::task::yield_now().await;
        }
    }
    let counters = one.links.counters();
    assert!(counters.dropped.load(Ordering::Relaxed) >= 100);
    let held = counters.sent.load(Ordering::Relaxed) - two.links.counters().received.load(Ordering::Relaxed);
    assert!(held * (8 << 10) < 8 << 20, "{held} messages are under way");
}

#[tokio::test]
async fn a_message_that_fits_no_frame_is_dropped_and_the_link_goes_on() {
    let secret = secret();
    let (one, mut two) = (start(&secret, 1), start(&secret, 2));
    for (number, length) in [(1, 1), (2, LINK_FRAME_BYTES + 1), (3, 1)] {
        assert!(one.links.send(to(2, 1, two.address), (number, "x".repeat(length))));
    }
    assert_eq!(two.inbox.recv().await.unwrap().message.0, 1);
    assert_eq!(two.inbox.recv().await.unwrap().message.0, 3, "over the same link");
    assert_eq!(one.links.counters().dropped.load(Ordering::Relaxed), 1);
    const { assert!(ringside_core::limits::ANNOUNCED_BYTES * 3 / 2 <= LINK_FRAME_BYTES) };
}

#[tokio::test]
async fn noise_and_silence_cost_a_bound() {
    let secret = secret();
    let one = start(&secret, 1);
    let noise = UdpSocket::bind("127.0.0.1:0").unwrap();
    for length in [1, 20, 1200] {
        for first in 0..=255 {
            let mut datagram = vec![0x5a; length];
            datagram[0] = first;
            noise.send_to(&datagram, one.address).unwrap();
        }
    }
    // A member that connects and says nothing: its greeting ends.
    let two = start(&secret, 2);
    let connecting =
        two.links.shared.endpoint.connect_with(two.links.shared.client.clone(), one.address, &secret.node_name(1));
    let silent = connecting.unwrap().await.unwrap();
    let closed = silent.closed().await;
    assert!(matches!(closed, ConnectionError::ApplicationClosed(_) | ConnectionError::ConnectionClosed(_)), "{closed}");
    assert!(two.links.greet(one.address).await.is_ok());
}

#[tokio::test]
async fn what_is_no_message_ends_the_link() {
    let secret = secret();
    let one = start(&secret, 1);
    let two = start(&secret, 2);
    for bytes in [&[0xff; 4][..], &[3, 0, 0, 0, 0xff, 0xff, 0xff], &[8, 0, 0, 0, 1, 1, b'x', 9, 9, 9, 9, 9]] {
        let (connection, _) = two.links.shared.connect(one.address, &secret.node_name(1)).await.unwrap();
        let mut stream = connection.open_uni().await.unwrap();
        stream.write_all(bytes).await.unwrap();
        connection.closed().await;
    }
    assert_eq!(one.links.counters().received.load(Ordering::Relaxed), 0);
}

#[test]
fn frames_are_bounded_and_whole() {
    assert!(matches!(frame::encode(&vec![0u8; LINK_FRAME_BYTES + 1]), Err(FrameError::TooLong(_))));
    let frame = frame::encode(&(7u32, "seven")).unwrap();
    assert_eq!(frame::decode::<(u32, String)>(&frame[4..]).unwrap(), (7, "seven".to_owned()));
    for cut in 4..frame.len() {
        assert!(frame::decode::<(u32, String)>(&frame[4..cut]).is_err());
    }
    let mut longer = frame[4..].to_vec();
    longer.push(0);
    assert!(matches!(frame::decode::<(u32, String)>(&longer), Err(FrameError::Malformed)));
}

#[tokio::test]
async fn links_and_those_who_begin_are_bounded() {
    let secret = secret();
    let (one, two) = (start(&secret, 1), start(&secret, 2));
    let shared = &two.links.shared;
    let places = Arc::clone(&shared.places).acquire_many_owned(LINKS as u32).await.unwrap();
    let error = one.links.greet(two.address).await.unwrap_err();
    assert!(matches!(error, LinkError::Refused { refusal: Refusal::Busy, .. }), "{error}");
    drop(places);
    let turns = Arc::clone(&shared.greetings).acquire_many_owned(LINK_GREETINGS as u32).await.unwrap();
    let error = one.links.greet(two.address).await.unwrap_err();
    assert!(matches!(error, LinkError::Unreachable { .. }), "{error}");
    drop(turns);
    // Others are let in where one address has as many as it may.
    let address = IpAddr::from([127, 0, 0, 1]);
    for (other, is_let_in) in [(IpAddr::from([192, 0, 2, 1]), true), (address, false)] {
        *shared.greeting.lock().unwrap() = HashMap::from([(other, LINK_ADDRESS_GREETINGS)]);
        assert_eq!(one.links.greet(two.address).await.is_ok(), is_let_in, "{other}");
    }
    shared.greeting.lock().unwrap().clear();
    assert!(one.links.greet(two.address).await.is_ok());
}

#[tokio::test]
async fn peers_are_bounded_until_one_is_not_used_any_more() {
    let secret = secret();
    let (one, mut two) = (start(&secret, 1), start(&secret, 2));
    let mut queues = Vec::new();
    for node in 10..10 + LINK_PEERS as u64 {
        let (peer, queue) = Peer::new(two.address);
        queues.push(queue);
        one.links.shared.peers.lock().unwrap().insert(Node { id: NodeId(node), generation: 1 }, peer);
    }
    assert!(!one.links.send(to(2, 1, two.address), (1, "no".into())));
    assert_eq!(one.links.counters().dropped.load(Ordering::Relaxed), 1);
    queues.pop();
    assert!(one.links.send(to(2, 1, two.address), (2, "yes".into())));
    assert_eq!(two.inbox.recv().await.unwrap().message.0, 2);
}

#[tokio::test]
async fn links_wait_where_nobody_takes_what_they_bring_and_lose_nothing() {
    let secret = secret();
    let one = start(&secret, 1);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let (sender, mut arrivals) = inbox::queue::<(u32, String)>();
    let two = Links::start(hello(2, 1, address), &secret, socket, Arc::new(|_| Ok(())), sender).unwrap();
    let many = LINK_INBOX as u32 + 100;
    for number in 0..many {
        while !one.links.send(to(2, 1, address), (number, String::new())) {
            tokio::task::yield_now().await;
        }
    }
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let received = || read(&two.counters().received) as usize;
    until("all to be sent", async || (read(&one.links.counters().sent) == u64::from(many)).then_some(())).await;
    until("the inbox to be full", async || (received() == LINK_INBOX + 1).then_some(())).await;
    // A greeting goes to and fro beside it; the link takes no more meanwhile.
    assert!(one.links.greet(address).await.is_ok());
    assert_eq!((received(), arrivals.len()), (LINK_INBOX + 1, LINK_INBOX));
    for number in 0..many {
        assert_eq!(arrivals.recv().await.unwrap().message.0, number, "in order, and none is lost");
    }
}

#[tokio::test]
async fn the_first_message_after_a_cut_arrives_though_the_other_end_has_given_the_connection_up() {
    let secret = secret();
    let (one, mut two) = (start(&secret, 1), start(&secret, 2));
    let path = Proxy::start(two.address, Faults::default(), 1).await.unwrap();
    assert!(one.links.send(to(2, 1, path.address()), (1, "before".into())));
    assert_eq!(two.inbox.recv().await.unwrap().message.0, 1);
    let places = &two.links.shared.places;
    assert_eq!(places.available_permits(), LINKS - 1);
    assert_eq!(path.cut_all(Duration::from_secs(600)), 1);
    until("the other end to give up", async || (places.available_permits() == LINKS).then_some(())).await;
    path.clients().into_iter().for_each(|client| path.mend(client));
    assert!(one.links.send(to(2, 1, path.address()), (2, "after".into())));
    assert_eq!(within("it to arrive", two.inbox.recv()).await.unwrap().message.0, 2);
    assert_eq!(one.links.counters().dropped.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_comes_while_a_try_fails_goes_with_the_next() {
    let secret = secret();
    let one = start(&secret, 1);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = socket.local_addr().unwrap();
    let hear = |socket: &UdpSocket| socket.recv_from(&mut [0; 2048]).ok();
    assert!(one.links.send(to(2, 1, address), (1, "old".into())));
    until("a try", async || hear(&socket)).await;
    assert!(one.links.send(to(2, 1, address), (2, "new".into())));
    let dropped = || one.links.counters().dropped.load(Ordering::Relaxed);
    until("it to fail", async || {
        while hear(&socket).is_some() {}
        (dropped() > 0).then_some(())
    })
    .await;
    let (sender, mut inbox) = mpsc::channel::<Arrival<(u32, String)>>(16);
    let _two = Links::start(hello(2, 1, address), &secret, socket, Arc::new(|_| Ok(())), sender).unwrap();
    assert_eq!(within("it to arrive", inbox.recv()).await.unwrap().message, (2, "new".to_owned()));
    assert_eq!(dropped(), 1);
}
