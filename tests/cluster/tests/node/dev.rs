//! `cargo xtask dev`, which the README's first command is.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use ringside_test_support::directory::Directory;
use ringside_test_support::guests;
use ringside_test_support::node::ringside;
use ringside_test_support::wait::PATIENCE;
use serde_json::Value;

/// The command, as somebody types it.
struct Dev {
    process: Child,
    log: std::thread::JoinHandle<String>,
}

impl Dev {
    fn start(state: &Path, more: &[&str], cargo: Option<&Path>) -> Dev {
        let program = guests::program().with_file_name("xtask");
        let mut dev = Command::new(&program);
        dev.args(["dev", "--any-port", "--state"]).arg(state).args(more).current_dir(guests::root());
        dev.envs(cargo.map(|cargo| ("CARGO", cargo)));
        dev.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // As a shell does for what is typed: the terminal's Ctrl-C goes to the whole group.
        dev.process_group(0);
        let mut process = dev.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut errors = process.stderr.take().expect("its errors");
        let log = std::thread::spawn(move || {
            let mut said = Vec::new();
            let _ = errors.read_to_end(&mut said);
            String::from_utf8_lossy(&said).into_owned()
        });
        Dev { process, log }
    }

    /// What it says when everything runs.
    fn explained(&mut self) -> String {
        let mut said = String::new();
        for line in BufReader::new(self.process.stdout.take().expect("its output")).lines().map_while(Result::ok) {
            said.push_str(&line);
            said.push('\n');
            if line.contains("Ctrl-C") {
                break;
            }
        }
        said
    }

    /// Ctrl-C, and what comes of it.
    fn interrupt(mut self) -> (ExitStatus, String) {
        let group = libc::pid_t::try_from(self.process.id()).expect("a process");
        // SAFETY: plain numbers; the child has not been waited for, so the group is its own.
        assert_eq!(unsafe { libc::kill(-group, libc::SIGINT) }, 0);
        let status = self.process.wait().expect("its end");
        (status, self.log.join().expect("its log"))
    }
}

/// Processes that were told of a file or directory, but for the one that is named.
fn processes_of(path: &Path, but: u32) -> BTreeSet<u32> {
    let text = path.as_os_str().as_encoded_bytes();
    let names =
        std::fs::read_dir("/proc").expect("processes").filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let is_told = |id: &u32| {
        let told = |what: &str| std::fs::read(format!("/proc/{id}/{what}")).unwrap_or_default();
        [told("environ"), told("cmdline")].iter().any(|bytes| bytes.windows(text.len()).any(|part| part == text))
    };
    names.filter_map(|name| name.parse().ok()).filter(|id| *id != but && is_told(id)).collect()
}

/// Waits until there is such a process.
fn until_there(path: &Path, but: u32) -> BTreeSet<u32> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let found = processes_of(path, but);
        if !found.is_empty() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("no process for {}", path.display());
}

fn list(state: &Path) -> Value {
    ringside(state, &["node", "list", "--json"]).json()
}

#[test]
fn dev_starts_a_cluster_with_the_samples_says_what_to_type_and_leaves_nothing() {
    let directory = Directory::new();
    let state = directory.path().join("state");
    let mut dev = Dev::start(&state, &[], None);
    let said = dev.explained();
    assert!(said.contains("ringside play arena --bots 7"), "{said}");
    let cluster = list(&state);
    let pids: BTreeSet<u64> =
        cluster["nodes"].as_array().unwrap().iter().map(|node| node["pid"].as_u64().unwrap()).collect();
    assert_eq!((pids.len(), &cluster["agree"]), (3, &true.into()), "{cluster}");
    for node in [state.clone(), state.join("node-2"), state.join("node-3")] {
        let games = ringside(&node, &["game", "list"]).succeeded();
        for game in ["pong", "arena", "chess"] {
            assert!(games.contains(game), "{games}");
        }
    }
    let is_there = |pid: &u64| Path::new(&format!("/proc/{pid}")).exists();
    assert!(pids.iter().all(is_there));
    let (status, said) = dev.interrupt();
    assert!(status.success());
    assert!(said.contains("stopped") && !said.contains("stopped at once"), "one signal, one orderly end: {said}");
    assert!(!pids.iter().any(is_there), "the nodes ended with it");
}

#[test]
fn a_node_whose_program_was_replaced_ends_with_dev_and_not_before() {
    let directory = Directory::new();
    let state = directory.path().join("state");
    let mut dev = Dev::start(&state, &["--nodes", "1"], None);
    dev.explained();
    let pid = |state: &Path| list(state)["nodes"][0]["pid"].as_u64().expect("a process");
    let before = pid(&state);
    let program = guests::program().to_string_lossy().into_owned();
    ringside(&state, &["node", "upgrade", "1", "--binary", &program]).succeeded();
    let after = pid(&state);
    assert_ne!(before, after);
    let is_there = |pid: u64| Path::new(&format!("/proc/{pid}")).exists();
    let deadline = Instant::now() + PATIENCE;
    while is_there(before) {
        assert!(Instant::now() < deadline, "the old process has ended");
        std::thread::sleep(Duration::from_millis(5));
    }
    let (status, said) = dev.interrupt();
    assert!(status.success(), "{said}");
    assert!(!is_there(after), "the new one ended with it: {said}");
    let mut again = Dev::start(&state, &["--nodes", "1"], None);
    again.explained();
    let (status, said) = again.interrupt();
    assert!(status.success(), "its ports and its state are free again: {said}");
}

#[test]
fn state_is_kept_unless_it_is_to_be_fresh_and_nodes_are_as_many_as_asked_for() {
    let directory = Directory::new();
    let state = directory.path().join("state");
    let run = |more: &[&str]| {
        let mut dev = Dev::start(&state, more, None);
        dev.explained();
        let cluster = list(&state);
        let (status, said) = dev.interrupt();
        assert!(status.success(), "{said}");
        (cluster["cluster"].clone(), cluster["nodes"].as_array().unwrap().len())
    };
    let (first, nodes) = run(&["--nodes", "1"]);
    assert_eq!(nodes, 1);
    assert_eq!(run(&["--nodes", "2"]), (first.clone(), 2));
    let (fresh, nodes) = run(&["--nodes", "1", "--fresh"]);
    assert_eq!(nodes, 1);
    assert_ne!(fresh, first, "another cluster, with a secret of its own");
    assert!(!state.join("node-2").exists());
}

#[test]
fn ctrl_c_while_it_builds_leaves_nothing() {
    let directory = Directory::new();
    let (state, cargo) = (directory.path().join("state"), directory.path().join("cargo"));
    // A build that takes for ever. It is `sleep` itself that is interrupted: a shell loses a signal that comes while it
    // starts a child.
    std::fs::write(&cargo, "#!/bin/sh\nexec sleep 3600\n").unwrap();
    std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).unwrap();
    let dev = Dev::start(&state, &[], Some(&cargo));
    let sleeps = |id: &u32| std::fs::read(format!("/proc/{id}/comm")).is_ok_and(|name| name == b"sleep\n");
    let mut building = until_there(&cargo, dev.process.id());
    while !building.iter().all(sleeps) {
        std::thread::sleep(Duration::from_millis(1));
        building = until_there(&cargo, dev.process.id());
    }
    let (status, _) = dev.interrupt();
    assert!(!status.success(), "nothing runs, and it does not say otherwise");
    let deadline = Instant::now() + PATIENCE;
    while building.iter().any(|id| PathBuf::from(format!("/proc/{id}")).exists()) {
        assert!(Instant::now() < deadline, "{building:?} go on");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(processes_of(&cargo, 0), BTreeSet::new());
    assert!(!state.exists(), "nothing was begun");
}

#[test]
fn ctrl_c_while_nodes_start_leaves_nothing() {
    let directory = Directory::new();
    let state = directory.path().join("state");
    let dev = Dev::start(&state, &[], None);
    // The second node is on its way while the first runs.
    until_there(&state.join("node-2"), dev.process.id());
    let (status, said) = dev.interrupt();
    assert!(status.success(), "{said}");
    assert_eq!(processes_of(&state, 0), BTreeSet::new(), "{said}");
    assert!(!said.contains("error:"), "it was asked for: {said}");
}
