//! What shells and disks do to a program: names that are no text, readers that go away.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, ExitStatus, Stdio};

use ringside_test_support::directory::Directory;
use ringside_test_support::node::{Node, command, ringside};
use ringside_test_support::wait::PATIENCE;

#[test]
fn names_of_files_need_not_be_text() {
    let directory = Directory::new();
    let named = |bytes: &[u8]| directory.path().join(OsStr::from_bytes(bytes));
    let (state, file) = (named(b"st\xffte"), named(b"rec\xfe"));
    let node = Node::start(&state, &[]);
    node.push("pong");
    node.ringside(&["session", "create", "pong", "--key", "a", "--record"]).succeeded();
    node.ringside(&["session", "end", "pong/a"]).succeeded();
    let saved = command(&state).args(["session", "recording", "pong/a", "--output"]).arg(&file).output().unwrap();
    assert!(saved.status.success(), "{saved:?}");
    let replayed = command(&state).arg("replay").arg(&file).output().unwrap();
    assert!(replayed.status.success(), "{replayed:?}");
    let store = named(b"store\xfd");
    let (status, _) = node.stop();
    assert!(status.success());
    let mut elsewhere = command(&state);
    elsewhere.args(["node", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--store"]).arg(&store);
    let mut elsewhere = elsewhere.stdin(Stdio::null()).spawn().unwrap();
    comes_up(&state);
    assert!(store.is_dir(), "the very directory that was named");
    assert!(ends(&mut elsewhere).success());
}

/// `ringside node | head` leaves a node without a reader: it is not ended by that.
#[test]
fn readers_may_go_away() {
    let directory = Directory::new();
    let nobody = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer
    };
    let mut node = command(directory.path());
    node.args(["node", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let mut node = node.stdin(Stdio::null()).stdout(nobody()).stderr(nobody()).spawn().unwrap();
    comes_up(directory.path());
    for arguments in [&["node", "show"][..], &["session", "list"], &["game", "list", "--json"]] {
        let status = command(directory.path()).args(arguments).stdout(nobody()).status().unwrap();
        assert!(status.success(), "{arguments:?}");
    }
    let status = command(directory.path()).args(["game", "show", "none"]).stderr(nobody()).status().unwrap();
    assert_eq!(status.code(), Some(1), "an error, not a crash");
    assert!(ends(&mut node).success());
}

/// Asks until the node answers.
fn comes_up(state: &std::path::Path) {
    let begun = std::time::Instant::now();
    while ringside(state, &["node", "show"]).code != Some(0) {
        assert!(begun.elapsed() < PATIENCE, "the node does not come up");
    }
}

fn ends(node: &mut Child) -> ExitStatus {
    let id = libc::pid_t::try_from(node.id()).expect("a process id");
    // SAFETY: plain numbers; the child has not been waited for, so the id is its own.
    assert_eq!(unsafe { libc::kill(id, libc::SIGTERM) }, 0);
    node.wait().expect("it ends")
}
