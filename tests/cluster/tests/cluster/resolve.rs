//! Clients who ask by HTTPS, before they open anything, where their session is.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use ringside_client::protocol::frame::{
    Attached, ClientFrame, FrameDecoder, Mode, Open, Place, ServerFrame, Target, VERSION, WireFrame,
};
use ringside_client::protocol::reason::Reason;
use ringside_client::shell::{PINNED_NAME, endpoint, pinned};
use ringside_client::{Arrival, TargetText, Trust};
use ringside_test_support::cluster::Cluster;
use ringside_test_support::node::Node;
use ringside_test_support::wait::{until, within};

use crate::player::{Player, options};

fn resolver(node: &Node) -> &str {
    node.ready()["resolve"].as_str().expect("it says where it answers")
}

fn target(text: &str) -> Target {
    text.parse::<TargetText>().expect("a target").0
}

async fn place(node: &Node, token: &str, at: &str) -> Place {
    let trust = Trust::CertificateSha256(vec![node.certificate()]);
    let place = ringside_client::resolve(resolver(node), trust, token, target(at)).await;
    place.unwrap_or_else(|error| panic!("{at}: {error}"))
}

/// Opens at a place as a client does, and takes the first answer.
async fn open(place: &Place, token: &str, at: &str) -> Result<Box<Attached>, Reason> {
    let config = pinned(place.certificate_sha256, Duration::from_secs(5)).expect("a configuration");
    let endpoint = endpoint(place.address).expect("a socket");
    let connecting = endpoint.connect_with(config, place.address, PINNED_NAME).expect("a connection");
    let connection = within("a handshake", connecting).await.expect("the worker shows the certificate that was named");
    let (mut send, mut receive) = connection.open_bi().await.expect("a stream");
    let frame = ClientFrame::Open(Box::new(Open {
        version: VERSION,
        token: token.to_owned(),
        target: target(at),
        mode: Mode::Attach,
        resume: None,
        ticket: Some(place.ticket.clone()),
        relay: false,
    }));
    send.write_all(&frame.to_bytes()).await.expect("written");
    let mut decoder = FrameDecoder::<ServerFrame>::default();
    let mut read = Bytes::new();
    loop {
        let mut rest = &read[..];
        if let Some(frame) = decoder.next(&mut rest).expect("a frame") {
            return match frame {
                ServerFrame::Attached(attached) => Ok(attached),
                ServerFrame::Refused(refused) => Err(refused.cause),
                other => panic!("{other:?}"),
            };
        }
        let chunk = within("an answer", receive.read_chunk(usize::MAX, true)).await.expect("the connection stands");
        read = chunk.expect("the stream goes on").bytes;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_any_node_first_is_let_in_without_a_redirect() {
    let cluster = Cluster::start(3).await;
    cluster.node(1).push("echo");
    for key in 0..9 {
        cluster.node(key % 3 + 1).ringside(&["session", "create", "echo", "--key", &format!("k{key}")]).succeeded();
    }
    let sessions = cluster.sessions(1);
    let leaders: BTreeSet<&String> = sessions.iter().map(|(_, node)| node).collect();
    assert_eq!((sessions.len(), leaders.len()), (9, 3), "{sessions:?}");
    for (session, leader) in &sessions {
        let at = session.split('@').next().expect("a name");
        for (number, node) in cluster.nodes() {
            let name = format!("by-{number}");
            let options = options(node, &node.token(&name), at).resolve(resolver(node));
            let mut player = Player::join_with(options, &name).await;
            let attachment = player.attachment().clone();
            assert_eq!((attachment.session.to_string(), attachment.arrival), (session.clone(), Arrival::Resolved));
            assert_eq!(format!("{:x}", attachment.node), *leader, "{session} by node {number}");
            player.exchange(10).await;
        }
    }
    // Nobody has been in a match of these criteria: the question makes one, for all who ask the same.
    let mut met = BTreeSet::new();
    for (number, node) in cluster.nodes() {
        let mut options = options(node, &node.token(&format!("any-{number}")), "echo/any").resolve(resolver(node));
        options.target = target("echo?together");
        let player = Player::join_with(options, "any").await;
        assert_eq!(player.attachment().arrival, Arrival::Resolved);
        met.insert(player.attachment().session.clone());
    }
    assert_eq!(met.len(), 1, "{met:?}");
    // One that is not there does not keep anybody out.
    let node = cluster.node(2);
    let nobody = options(node, &node.token("bob"), "echo/k0").resolve("https://127.0.0.1:1");
    let mut player = Player::join_with(nobody, "bob").await;
    assert!(matches!(player.attachment().arrival, Arrival::Direct | Arrival::Redirected(1)));
    player.exchange(10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_was_answered_is_good_once_there_and_for_a_while() {
    let mut cluster = Cluster::start(2).await;
    cluster.node(1).push("echo");
    for (key, node) in [("near", "1"), ("far", "2")] {
        cluster.node(1).ringside(&["session", "create", "echo", "--key", key, "--node", node]).succeeded();
    }
    let ada = cluster.node(1).token("ada");
    let far = place(cluster.node(1), &ada, "echo/far").await;
    assert_eq!(far.address, cluster.node(2).address());
    let near = place(cluster.node(2), &ada, "echo/near").await;
    let elsewhere = Place { ticket: near.ticket, ..far.clone() };
    assert_eq!(open(&elsewhere, &ada, "echo/far").await, Err(Reason::TicketInvalid), "another worker's");
    let bob = cluster.node(1).token("bob");
    assert_eq!(open(&far, &bob, "echo/far").await, Err(Reason::TicketInvalid), "another player's");
    let far = place(cluster.node(1), &ada, "echo/far").await;
    let attached = open(&far, &ada, "echo/far").await.expect("let in");
    assert_eq!((attached.node, attached.session.key.as_str()), (2, "far"));
    assert_eq!(open(&far, &ada, "echo/far").await, Err(Reason::TicketInvalid), "used");
    // Each shown once, until those of its time are over.
    let mut tickets = Vec::new();
    for _ in 0..40 {
        tickets.push(place(cluster.node(1), &ada, "echo/far").await);
    }
    until("the time of the tickets to end", async || {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let ticket = tickets.pop().expect("tickets for longer than they may last");
        match open(&ticket, &ada, "echo/far").await {
            Ok(_) => None,
            Err(reason) => {
                assert_eq!(reason, Reason::TicketInvalid);
                Some(())
            }
        }
    })
    .await;
    // A later run of the node takes none of the earlier.
    let far = place(cluster.node(1), &ada, "echo/far").await;
    let old = cluster.take(2);
    old.stop();
    cluster.add(2, &[]);
    cluster.agreed().await;
    let now = cluster.node(2);
    let there = Place { address: now.address(), ..far };
    assert_eq!(open(&there, &ada, "echo/far").await, Err(Reason::TicketInvalid), "an earlier run's");
}

#[test]
fn the_terminal_asks_first_where_it_is_told_to() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let cluster = runtime.block_on(Cluster::start(2));
    cluster.node(1).push("arena");
    cluster.node(1).ringside(&["session", "create", "arena", "--key", "far", "--node", "2"]).succeeded();
    let play = ["play", "arena", "--session", "far", "--bots", "1", "--headless", "--seconds", "1", "--resolve"];
    let said = cluster.node(1).ringside(&play).succeeded();
    assert!(said.contains("node 2, worker 0 (direct, resolved)"), "{said}");
    let shown = cluster.node(1).ringside(&["node", "show"]).succeeded();
    assert!(shown.contains(resolver(cluster.node(1))), "{shown}");
}
