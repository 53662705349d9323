//! `cargo xtask dev`, which the README's first command is.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use ringside_test_support::directory::Directory;
use ringside_test_support::guests;
use ringside_test_support::node::ringside;

#[test]
fn dev_starts_a_node_with_the_samples_says_what_to_type_and_leaves_nothing() {
    let directory = Directory::new();
    let state = directory.path().join("state");
    let program = guests::program().with_file_name("xtask");
    let mut dev = Command::new(&program)
        .args(["dev", "--state"])
        .arg(&state)
        .env("RINGSIDE_LISTEN", "127.0.0.1:0")
        .env("RINGSIDE_ADMIN", "127.0.0.1:0")
        .current_dir(guests::root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let mut said = String::new();
    for line in BufReader::new(dev.stdout.take().unwrap()).lines().map_while(Result::ok) {
        said.push_str(&line);
        said.push('\n');
        if line.contains("Ctrl-C") {
            break;
        }
    }
    assert!(said.contains("ringside play arena --bots 7"), "{said}");
    let node: serde_json::Value = ringside(&state, &["node", "show", "--json"]).json();
    let games = ringside(&state, &["game", "list"]).succeeded();
    for game in ["pong", "arena", "chess"] {
        assert!(games.contains(game), "{games}");
    }
    let pid = node["pid"].as_u64().unwrap();
    assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
    let interrupted = Command::new("kill").args(["-INT", &dev.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    assert!(dev.wait().unwrap().success());
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "the node ended with it");
}
