//! Recordings: written by one process, folded again by another.

use std::path::Path;

use ringside_test_support::directory::Directory;
use ringside_test_support::guests;
use ringside_test_support::node::{Node, ringside};

/// Has bots play a recorded match of a game, saves its recording, and ends the node.
fn record(directory: &Path, game: &str, bots: &str) -> String {
    let node = Node::start(&directory.join("state"), &[]);
    node.push(game);
    node.ringside(&["session", "create", game, "--key", "recorded", "--record"]).succeeded();
    let play = ["play", game, "--session", "recorded", "--bots", bots, "--headless", "--seconds", "7"];
    node.ringside(&play).succeeded();
    let file = directory.join("match.recording").to_string_lossy().into_owned();
    let session = format!("{game}/recorded");
    // The match may have ended with its last player, or still run: either way there is a recording.
    let saved = node.ringside(&["session", "recording", &session, "--output", &file]).succeeded();
    assert!(saved.contains("ringside replay"), "{saved}");
    let (status, _) = node.stop();
    assert!(status.success());
    file
}

#[test]
fn a_recorded_match_folds_to_the_same_hashes_in_another_process() {
    let directory = Directory::new();
    let file = record(directory.path(), "pong", "2");
    let state = directory.path().join("state");
    let summary = ringside(&state, &["replay", &file, "--json"]).json();
    assert_eq!(summary["same"], true, "{summary}");
    assert_eq!(summary["incomplete"], serde_json::Value::Null);
    assert!(summary["records"].as_u64().unwrap() > 300, "{summary}");
    let checkpoints = summary["checkpoints"].as_array().unwrap();
    assert!(checkpoints.len() >= 2, "one on the way and one at the end: {summary}");
    assert!(checkpoints.iter().all(|checkpoint| checkpoint["expected"] == checkpoint["got"]));
    assert!(summary["speed"].as_f64().unwrap() > 1.0);
    let text = ringside(&state, &["replay", &file]).succeeded();
    assert!(text.contains("x real time") && text.contains("OK: the same state at"), "{text}");

    // With the module as a file, no state directory is needed.
    let module = guests::module_path("pong").to_string_lossy().into_owned();
    let elsewhere = directory.path().join("elsewhere");
    let summary = ringside(&elsewhere, &["replay", &file, "--module", &module, "--json"]).json();
    assert_eq!(summary["same"], true);
    let error = ringside(&elsewhere, &["replay", &file]).failed();
    assert!(error.contains("there is no store at") && error.contains("--module FILE.wasm"), "{error}");
    let other = guests::module_path("arena").to_string_lossy().into_owned();
    let error = ringside(&elsewhere, &["replay", &file, "--module", &other]).failed();
    assert!(error.contains("module"), "another module is refused by name: {error}");
}

#[test]
fn damaged_recordings_are_refused_or_named_incomplete() {
    let directory = Directory::new();
    let file = record(directory.path(), "arena", "3");
    let state = directory.path().join("state");
    let bytes = std::fs::read(&file).unwrap();
    let broken = directory.path().join("broken.recording");
    let replay = |bytes: &[u8]| {
        std::fs::write(&broken, bytes).unwrap();
        ringside(&state, &["replay", &broken.to_string_lossy(), "--json"])
    };
    assert_eq!(replay(&bytes).json()["incomplete"], serde_json::Value::Null, "whole, it is fine");
    let cut = replay(&bytes[..bytes.len() * 2 / 3]);
    assert!(cut.code.is_some_and(|code| code <= 1), "{cut:?}");
    assert!(cut.out.contains("incomplete\": \"") || cut.err.contains("error"), "a cut is told: {cut:?}");
    let mut flipped = bytes.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let flipped = replay(&flipped);
    assert!(flipped.out.contains("incomplete\": \"") || flipped.code == Some(1), "damage is told: {flipped:?}");
    for garbage in [&b""[..], b"not a recording", &[0; 4096]] {
        let error = replay(garbage).failed();
        assert!(error.contains("broken.recording"), "{error}");
    }
    let missing = ringside(&state, &["replay", "/nonexistent/file"]).failed();
    assert!(missing.contains("cannot read /nonexistent/file"), "{missing}");
}

#[test]
fn what_was_not_recorded_is_said_so() {
    let directory = Directory::new();
    let node = Node::start(directory.path(), &[]);
    node.push("arena");
    node.ringside(&["session", "create", "arena", "--key", "a"]).succeeded();
    let file = directory.path().join("a.recording").to_string_lossy().into_owned();
    let error = node.ringside(&["session", "recording", "arena/a", "--output", &file]).failed();
    assert!(error.contains("no recording of arena/a") && error.contains("--record"), "{error}");
    assert!(!Path::new(&file).exists(), "nothing is left where nothing was saved");
}
