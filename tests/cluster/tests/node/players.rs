//! Players of a real node: what they hear when it ends, and when their match does.

use ringside_client::{Client, Event, Options, Trust};
use ringside_protocol::reason::Reason;
use ringside_test_support::directory::Directory;
use ringside_test_support::node::Node;
use ringside_test_support::wait::within;

async fn join(node: &Node, player: &str, target: &str) -> Client {
    let trust = Trust::CertificateSha256(vec![node.certificate()]);
    let options = Options::new([node.address()], trust, node.token(player), target).expect("a target");
    within("the player to be attached", Client::connect(options)).await.expect("the player is let in")
}

async fn last(client: &mut Client) -> Option<Event> {
    let mut last = None;
    while let Some(event) = within("an event", client.next()).await {
        let over = event.is_last();
        last = Some(event);
        if over {
            break;
        }
    }
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_an_operator_ends_says_why() {
    let directory = Directory::new();
    let node = Node::start(directory.path(), &[]);
    node.push("arena");
    let mut client = join(&node, "ada", "arena/hall").await;
    node.ringside(&["session", "end", "arena/hall", "--reason", "the hall closes"]).succeeded();
    match last(&mut client).await {
        Some(Event::Detached { reason: Reason::SessionEnded, message }) => assert_eq!(message, "the hall closes"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_says_so_at_once() {
    let directory = Directory::new();
    let node = Node::start(directory.path(), &[]);
    node.push("arena");
    let mut client = join(&node, "ada", "arena/hall").await;
    let (status, _) = tokio::task::spawn_blocking(move || node.stop()).await.unwrap();
    assert!(status.success());
    // Closed with a reason, not by silence: the client knows before its own timeout could tell it.
    let heard = loop {
        match within("an event", client.next()).await {
            Some(Event::View(_)) => {}
            other => break other,
        }
    };
    assert!(matches!(heard, Some(Event::GoingAway { .. } | Event::Disconnected { .. })), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_may_not_create_only_joins() {
    let directory = Directory::new();
    let node = Node::start(directory.path(), &[]);
    node.push("arena");
    let token = node.ringside(&["token", "--player", "ada", "--join-only"]).succeeded().trim().to_owned();
    let trust = Trust::CertificateSha256(vec![node.certificate()]);
    let options = Options::new([node.address()], trust, token, "arena/hall").unwrap();
    let refused = within("the refusal", Client::connect(options.clone())).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("no live session")));
    node.ringside(&["session", "create", "arena", "--key", "hall"]).succeeded();
    within("the player to be attached", Client::connect(options)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_of_play_are_on_the_metrics_page() {
    let directory = Directory::new();
    let node = Node::start(directory.path(), &[]);
    node.push("arena");
    let mut client = join(&node, "ada", "arena/hall").await;
    while !matches!(within("a view", client.next()).await, Some(Event::View(_))) {}
    let url = format!("{}/metrics", node.ready()["admin"].as_str().unwrap());
    let token = std::fs::read_to_string(directory.path().join("admin.token")).unwrap();
    let page = ringside_test_support::wait::until("the page to show a packet", || async {
        let page = ringside_node::http::client()
            .build()
            .unwrap()
            .get(&url)
            .bearer_auth(token.trim())
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        page.lines().any(|line| line.starts_with("ringside_worker_calls_total{worker=\"0\"}")).then_some(page)
    })
    .await;
    assert!(page.contains("ringside_sessions 1"), "{page}");
    assert!(page.contains("ringside_worker_players"), "{page}");
}
