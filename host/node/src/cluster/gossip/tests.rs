//! Gossip over real sockets.

use std::time::SystemTime;

use futures_util::FutureExt;

use super::*;

struct Node {
    gossip: Gossip,
    address: SocketAddr,
}

async fn start(secret: &ClusterSecret, node: u64, generation: u64, seeds: &[SocketAddr]) -> Node {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let values = vec![("hello".to_owned(), format!("from {node}"))];
    let config = GossipConfig { node, generation, advertised: address, seeds: seeds.to_vec(), values };
    Node { gossip: Gossip::start(config, secret, socket).await.unwrap(), address }
}

impl Node {
    async fn until(&self, holds: impl Fn(&[Member]) -> bool) -> Snapshot {
        let mut snapshots = self.gossip.snapshots();
        snapshots.wait_for(|snapshot| holds(&snapshot.members)).await.unwrap().clone()
    }
}

fn live(members: &[Member]) -> Vec<u64> {
    members.iter().filter(|member| member.live).map(|member| member.node).collect()
}

#[tokio::test]
async fn nodes_meet_hear_what_is_said_and_miss_who_is_gone() {
    let secret = ClusterSecret::generate(SystemTime::now()).unwrap();
    let one = start(&secret, 1, 10, &[]).await;
    let two = start(&secret, 2, 10, &[one.address]).await;
    let three = start(&secret, 3, 10, &[one.address]).await;
    for node in [&one, &two, &three] {
        let seen = node.until(|members| live(members) == [1, 2, 3]).await;
        assert!(seen.members.iter().all(|member| member.values["hello"] == format!("from {}", member.node)));
    }
    assert!(two.gossip.publish("load", "7".into()).await);
    assert!(!two.gossip.publish("load", "x".repeat(GOSSIP_VALUE_BYTES + 1)).await);
    three.until(|members| members.iter().any(|member| member.values.get("load").is_some_and(|load| load == "7"))).await;

    two.gossip.stop().await;
    one.until(|members| live(members) == [1, 3]).await;
    let again = start(&secret, 2, 11, &[one.address]).await;
    let seen = one.until(|members| live(members) == [1, 2, 3]).await;
    let generations: Vec<u64> =
        seen.members.iter().filter(|member| member.node == 2 && member.live).map(|member| member.generation).collect();
    assert_eq!(generations, [11], "the new process, not the old one");
    drop(again);
}

#[tokio::test]
async fn strangers_forgers_and_noise_are_refused_and_counted() {
    let secret = ClusterSecret::generate(SystemTime::now()).unwrap();
    let one = start(&secret, 1, 10, &[]).await;
    let stranger = start(&ClusterSecret::generate(SystemTime::now()).unwrap(), 9, 10, &[one.address]).await;
    // Plain gossip of the very library, without a seal.
    let plain = chitchat::transport::UdpTransport;
    let forger_address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config =
        GossipConfig { node: 8, generation: 10, advertised: forger_address, seeds: vec![one.address], values: vec![] };
    let forger = spawn_chitchat(chitchat_config(&config, secret.id().to_string()), vec![], &plain).await.unwrap();
    let noise = UdpSocket::bind("127.0.0.1:0").unwrap();
    for length in [0, 1, 11, 12, 28, 1200, DATAGRAM_BYTES] {
        noise.send_to(&vec![7; length], one.address).unwrap();
    }
    let two = start(&secret, 2, 10, &[one.address]).await;
    one.until(|members| live(members) == [1, 2]).await;
    while one.gossip.traffic().refused.load(Ordering::Relaxed) < 20 {
        one.gossip.snapshots().changed().await.unwrap();
    }
    let known: Vec<u64> = one.gossip.snapshots().borrow().members.iter().map(|member| member.node).collect();
    assert_eq!(known, [1, 2]);
    assert_eq!(live(&stranger.gossip.snapshots().borrow().members), [9]);
    forger.abort();
    drop(two);
}

#[tokio::test]
async fn replayed_gossip_changes_nothing() {
    let secret = ClusterSecret::generate(SystemTime::now()).unwrap();
    // A proxy between two that keeps what passes.
    let (front, back) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let one = start(&secret, 1, 10, &[]).await;
    let two = start(&secret, 2, 10, &[front.local_addr().unwrap()]).await;
    let mut datagram = vec![0; DATAGRAM_BYTES];
    let mut kept = Vec::new();
    while kept.len() < 20 {
        let (length, from) = front.recv_from(&mut datagram).unwrap();
        assert_eq!(from, two.address);
        kept.push(datagram[..length].to_vec());
        back.send_to(&datagram[..length], one.address).unwrap();
    }
    one.until(|members| live(members) == [1, 2]).await;
    two.gossip.publish("load", "new".into()).await;
    one.until(|members| members.iter().any(|member| member.values.get("load").is_some_and(|load| load == "new"))).await;
    let received = one.gossip.traffic().received.load(Ordering::Relaxed);
    for old in &kept {
        back.send_to(old, one.address).unwrap();
    }
    while one.gossip.traffic().received.load(Ordering::Relaxed) < received + 20 {
        one.gossip.snapshots().changed().await.unwrap();
    }
    let seen = one.gossip.snapshots().borrow().clone();
    assert!(seen.members.iter().any(|member| member.values.get("load").is_some_and(|load| load == "new")));
    assert_eq!(live(&seen.members), [1, 2]);
}

/// A transport whose socket breaks at once.
struct Broken;

#[async_trait::async_trait]
impl Transport for Broken {
    async fn open(&self, _listen: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        Ok(Box::new(Broken))
    }
}

#[async_trait::async_trait]
impl Socket for Broken {
    async fn send(&mut self, _to: SocketAddr, _message: ChitchatMessage) -> anyhow::Result<()> {
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        Err(anyhow::anyhow!("the socket is broken"))
    }
}

#[tokio::test]
async fn gossip_that_ends_by_itself_ends_its_snapshots() {
    let config =
        GossipConfig { node: 1, generation: 1, advertised: ([127, 0, 0, 1], 1).into(), seeds: vec![], values: vec![] };
    let handle = spawn_chitchat(chitchat_config(&config, "test".to_owned()), vec![], &Broken).await.unwrap();
    let (_values, to_publish) = mpsc::channel(1);
    let snapshot = Snapshot { at: Instant::now(), stalled: Duration::ZERO, members: vec![] };
    let (snapshots, _) = watch::channel(snapshot);
    run(&handle, to_publish, &snapshots).await;
}

#[tokio::test]
async fn values_beyond_the_bound_wait_until_there_is_room() {
    let (values, mut to_publish) = mpsc::channel(GOSSIP_VALUES);
    let nobody = Snapshot { at: Instant::now(), stalled: Duration::ZERO, members: Vec::new() };
    let (traffic, snapshots) = (Arc::default(), watch::channel(nobody).1);
    // Its thread takes nothing.
    let gossip = Gossip { values, snapshots, traffic, thread: None };
    for number in 0..GOSSIP_VALUES {
        assert!(gossip.publish("load", number.to_string()).await);
    }
    let one_more = gossip.publish("load", "last".into());
    tokio::pin!(one_more);
    assert!((&mut one_more).now_or_never().is_none());
    assert_eq!(to_publish.recv().await.unwrap().1, "0");
    assert!(one_more.await);
    let rest: Vec<String> = std::iter::from_fn(|| to_publish.try_recv().ok()).map(|(_, value)| value).collect();
    assert_eq!((rest.len(), rest.last().map(String::as_str)), (GOSSIP_VALUES, Some("last")), "nothing is lost");
}
