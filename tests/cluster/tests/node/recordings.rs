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
    // The match may have ended with its last player; one that still runs has no end to be recorded.
    let _ = node.ringside(&["session", "end", &session]);
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
    assert_eq!((&summary["complete"], &summary["incomplete"]), (&true.into(), &serde_json::Value::Null));
    assert!(summary["records"].as_u64().unwrap() > 300, "{summary}");
    let checkpoints = summary["checkpoints"].as_array().unwrap();
    assert!(checkpoints.len() >= 2, "one on the way and one at the end: {summary}");
    assert!(checkpoints.iter().all(|checkpoint| checkpoint["expected"] == checkpoint["got"]));
    assert!(summary["speed"].as_f64().unwrap() > 1.0);
    let text = ringside(&state, &["replay", &file]).succeeded();
    assert!(
        text.contains("x real time") && text.contains("OK: the same state at") && text.contains("complete"),
        "{text}"
    );

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

/// Where the last frame of a recording begins: it is the end marker.
fn last_frame(file: &[u8]) -> usize {
    let (mut last, mut next) = (0, 8);
    while let Some(length) = file.get(next..next + 4) {
        last = next;
        next += 4 + u32::from_le_bytes(length.try_into().expect("four bytes")) as usize + 8;
    }
    assert_eq!(next, file.len(), "whole frames");
    last
}

#[test]
fn a_session_that_goes_on_or_was_stopped_is_no_whole_recording() {
    let directory = Directory::new();
    let state = directory.path().join("state");
    let node = Node::start(&state, &[]);
    node.push("arena");
    node.ringside(&["session", "create", "arena", "--key", "long", "--record"]).succeeded();
    let file = directory.path().join("long.recording").to_string_lossy().into_owned();
    let save = ["session", "recording", "arena/long", "--output", &file];
    node.ringside(&save).succeeded();
    let replay = |why: &str| {
        let replayed = ringside(&state, &["replay", &file, "--json"]);
        assert_eq!(replayed.code, Some(3), "{replayed:?}");
        let summary = replayed.parsed();
        assert!(summary["incomplete"].as_str().is_some_and(|said| said.contains(why)), "{summary}");
        assert_eq!((&summary["complete"], &summary["same"]), (&false.into(), &true.into()), "{summary}");
    };
    replay("without an end marker");
    let (status, _) = node.stop();
    assert!(status.success());
    let again = Node::start(&state, &[]);
    again.ringside(&save).succeeded();
    replay("the node was stopped at position");
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
    let within_a_frame = bytes.len() * 2 / 3;
    for length in [within_a_frame, last_frame(&bytes)] {
        let cut = replay(&bytes[..length]);
        assert_eq!(cut.code, Some(3), "{cut:?}");
        let summary = cut.parsed();
        assert_eq!((&summary["complete"], &summary["same"]), (&false.into(), &true.into()), "{summary}");
        assert!(summary["incomplete"].as_str().is_some_and(|why| !why.is_empty()), "a cut is told: {summary}");
    }
    let text = ringside(&state, &["replay", &broken.to_string_lossy()]);
    let told = text.out.contains("INCOMPLETE: it ends at position") && text.out.contains("without an end marker");
    assert!(told && !text.out.contains("OK:"), "{text:?}");
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
