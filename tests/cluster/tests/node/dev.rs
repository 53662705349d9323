//! `cargo xtask dev`, which the README's first command is.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use ringside_test_support::directory::Directory;
use ringside_test_support::guests;
use ringside_test_support::node::ringside;

#[test]
fn dev_starts_a_cluster_with_the_samples_says_what_to_type_and_leaves_nothing() {
    let directory = Directory::new();
    let state = directory.path().join("state");
    let program = guests::program().with_file_name("xtask");
    let mut dev = Command::new(&program)
        .args(["dev", "--state"])
        .arg(&state)
        .arg("--any-port")
        .current_dir(guests::root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // As a shell does for what is typed: the terminal's Ctrl-C goes to the whole group.
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let mut errors = dev.stderr.take().unwrap();
    let log = std::thread::spawn(move || {
        let mut said = Vec::new();
        let _ = errors.read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    });
    let mut said = String::new();
    for line in BufReader::new(dev.stdout.take().unwrap()).lines().map_while(Result::ok) {
        said.push_str(&line);
        said.push('\n');
        if line.contains("Ctrl-C") {
            break;
        }
    }
    assert!(said.contains("ringside play arena --bots 7"), "{said}");
    let cluster = ringside(&state, &["node", "list", "--json"]).json();
    let pids: BTreeSet<u64> =
        cluster["nodes"].as_array().unwrap().iter().map(|node| node["pid"].as_u64().unwrap()).collect();
    assert_eq!((pids.len(), &cluster["agree"]), (3, &true.into()), "{cluster}");
    for node in [state.clone(), state.join("node-2"), state.join("node-3")] {
        let games = ringside(&node, &["game", "list"]).succeeded();
        for game in ["pong", "arena", "chess"] {
            assert!(games.contains(game), "{games}");
        }
    }
    let is_there = |pid: &u64| std::path::Path::new(&format!("/proc/{pid}")).exists();
    assert!(pids.iter().all(is_there));
    let group = libc::pid_t::try_from(dev.id()).unwrap();
    // SAFETY: plain numbers; the child has not been waited for, so the group is its own.
    assert_eq!(unsafe { libc::kill(-group, libc::SIGINT) }, 0);
    assert!(dev.wait().unwrap().success());
    let said = log.join().unwrap();
    assert!(said.contains("stopped") && !said.contains("stopped at once"), "one signal, one orderly end: {said}");
    assert!(!pids.iter().any(is_there), "the nodes ended with it");
}
