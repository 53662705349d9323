//! A node's life: one a state directory, ended in order or killed, started again.

use ringside_test_support::directory::Directory;
use ringside_test_support::node::{Node, ringside};

#[test]
fn a_node_that_is_stopped_leaves_in_order_and_comes_back_with_its_games() {
    let directory = Directory::new();
    let node = Node::start(directory.path(), &[]);
    let version = node.push("pong");
    let certificate = node.certificate();
    let (status, _) = node.stop();
    assert!(status.success(), "{status}");
    let error = ringside(directory.path(), &["session", "list"]).failed();
    assert!(error.contains("no node runs on state directory"), "{error}");
    let node = Node::start(directory.path(), &[]);
    assert_eq!(node.ready()["games"], 1);
    assert_eq!(node.certificate(), certificate, "players know it by its hash");
    let games = node.ringside(&["game", "list", "--json"]).json();
    assert_eq!(games["games"][0]["module"], version["module"]);
    node.ringside(&["session", "create", "pong"]).succeeded();
}

#[test]
fn a_killed_node_can_be_started_again() {
    let directory = Directory::new();
    let node = Node::start(directory.path(), &[]);
    node.push("arena");
    node.ringside(&["session", "create", "arena", "--key", "a"]).succeeded();
    node.kill();
    let error = ringside(directory.path(), &["session", "list"]).failed();
    assert!(error.contains("does not answer") && error.contains("it may have crashed"), "{error}");
    let node = Node::start(directory.path(), &[]);
    assert_eq!(node.ready()["games"], 1);
    let sessions = node.ringside(&["session", "list", "--json"]).json();
    assert_eq!(sessions["sessions"].as_array().map(Vec::len), Some(0), "sessions live in memory");
}

#[test]
fn a_state_directory_has_one_node() {
    let directory = Directory::new();
    let node = Node::start(directory.path(), &[]);
    let error = ringside(directory.path(), &["node", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).failed();
    assert!(error.contains(&node.pid().to_string()), "the other's process is named: {error}");
    node.ringside(&["node", "show"]).succeeded();
}

#[test]
fn directories_that_are_not_ours_are_left_alone() {
    let directory = Directory::new();
    let start =
        |state: &std::path::Path| ringside(state, &["node", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let foreign = directory.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("letter.txt"), "dear").unwrap();
    let error = start(&foreign).failed();
    assert!(error.contains("letter.txt") && error.contains("--state"), "{error}");
    assert_eq!(std::fs::read(foreign.join("letter.txt")).unwrap(), b"dear");

    let later = directory.path().join("later");
    std::fs::create_dir(&later).unwrap();
    std::fs::write(later.join("version"), "ringside state 99\n").unwrap();
    let error = start(&later).failed();
    assert!(error.contains("ringside state 99"), "{error}");

    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(start(&file).failed().contains("not a directory"));
}

#[test]
fn a_taken_port_is_named_with_what_to_do() {
    let directory = Directory::new();
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = ringside(directory.path(), &["node", "--listen", &address, "--admin", "127.0.0.1:0"]).failed();
    assert!(error.contains(&address) && error.contains("--listen"), "{error}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = ringside(directory.path(), &["node", "--listen", "127.0.0.1:0", "--admin", &address]).failed();
    assert!(error.contains(&address) && error.contains("--admin"), "{error}");
}
