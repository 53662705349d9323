//! A store that is a bucket of a server that speaks S3.

use ringside_test_support::directory::Directory;
use ringside_test_support::node::{Node, Place, command};
use ringside_test_support::object_server::ObjectServer;
use ringside_test_support::skip;

#[test]
fn games_are_kept_in_a_bucket_and_served_by_whoever_starts_there() {
    let server = match ObjectServer::start() {
        Ok(server) => server,
        Err(why) => skip!("{why}"),
    };
    let place = || Place::default().with_environment(server.environment());
    let (one, two) = (Directory::new(), Directory::new());
    let store = format!("s3://{}/ringside/eu", ObjectServer::BUCKET);
    let first = Node::start_at(place(), one.path(), &["--store", &store]);
    let pushed = first.push("echo");
    assert_eq!(first.push("echo")["version"], pushed["version"], "the same module is the same version");
    let (status, _) = first.stop();
    assert!(status.success());
    let objects = server.objects();
    assert!(objects.iter().all(|name| name.starts_with("ringside/eu/")), "{objects:?}");
    assert!(objects.iter().any(|name| name == "ringside/eu/games/echo/versions/000001"), "{objects:?}");

    // Another node, with nothing of its own: what the bucket holds is served.
    let second = Node::start_at(place(), two.path(), &["--store", &store]);
    let games = second.ringside(&["game", "list", "--json"]).json();
    assert!(games.to_string().contains("\"echo\""), "{games}");
    assert!(second.ringside(&["node", "show"]).succeeded().contains("bucket s3://studio/ringside/eu"));
    drop(second);

    // A version that is damaged there is named, and nothing is served in its place; the node does what it can.
    server.put("ringside/eu/games/echo/versions/000001", b"rubbish");
    let third = Node::start_at(place(), two.path(), &["--store", &store]);
    third.logged("games/echo/versions/000001 is damaged");
    assert!(!third.ringside(&["game", "list", "--json"]).succeeded().contains("\"echo\""));
}

#[test]
fn a_service_that_cannot_be_used_is_named() {
    let server = match ObjectServer::start() {
        Ok(server) => server,
        Err(why) => skip!("{why}"),
    };
    let directory = Directory::new();
    let refused = start_in_vain(&server, directory.path(), "s3://nobodys-bucket");
    assert!(refused.contains("NoSuchBucket") && refused.contains("--store"), "{refused}");
}

/// What a node says that does not come up.
fn start_in_vain(server: &ObjectServer, state: &std::path::Path, store: &str) -> String {
    let mut node = command(state);
    node.envs(server.environment());
    let any =
        ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--links", "127.0.0.1:0", "--gossip", "127.0.0.1:0"];
    node.arg("node").args(any).args(["--store", store]);
    ringside_test_support::node::Answer::of(&mut node).failed()
}
