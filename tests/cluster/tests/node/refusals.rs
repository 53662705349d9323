//! Everything wrong that can be typed or uploaded gets an error that says what and what to do; the node goes on.

use std::fs::File;

use ringside_test_support::directory::Directory;
use ringside_test_support::guests;
use ringside_test_support::node::{Node, ringside};

#[test]
fn uploads_that_are_no_games() {
    let directory = Directory::new();
    let node = Node::start(&directory.path().join("state"), &[]);
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_string_lossy().into_owned()
    };
    let pong = guests::module("pong");
    let component = [&b"\0asm\x0d\0\x01\0"[..], &[0; 64]].concat();
    let cases = [
        (file("text.wasm", b"hello"), "not a WebAssembly module"),
        (file("empty.wasm", b""), "not a WebAssembly module"),
        (file("cut.wasm", &pong[..pong.len() / 2]), "module"),
        (file("component.wasm", &component), "component"),
        (file("bare.wasm", b"\0asm\x01\0\0\0"), "export"),
    ];
    for (path, expected) in &cases {
        let error = node.ringside(&["push", path]).failed();
        assert!(error.to_lowercase().contains(&expected.to_lowercase()), "{path}: {expected:?} is not in {error}");
    }
    let huge = directory.path().join("huge.wasm");
    File::create(&huge).and_then(|file| file.set_len(100 << 20)).unwrap();
    let error = node.ringside(&["push", &huge.to_string_lossy()]).failed();
    assert!(error.contains("100.0 MiB") && error.contains("32.0 MiB"), "{error}");
    let error = node.ringside(&["push", &directory.path().to_string_lossy()]).failed();
    assert!(error.contains("no Cargo.toml"), "{error}");
    assert!(node.ringside(&["push", "/nonexistent.wasm"]).failed().contains("cannot read /nonexistent.wasm"));
    assert!(node.ringside(&["game", "list"]).succeeded().contains("No games yet"), "nothing was taken");
    node.push("pong");
}

#[test]
fn names_that_mean_nothing() {
    let directory = Directory::new();
    let node = Node::start(directory.path(), &[]);
    node.push("pong");
    let cases: [(&[&str], &str); 9] = [
        (&["session", "create", "mahjong"], "no game is called mahjong"),
        (&["session", "create", "pong", "--key", "a b"], "a b"),
        (&["session", "create", "pong", "--config-hex", "abc"], "hexadecimal"),
        (&["session", "show", "pong/none"], "pong/none"),
        (&["session", "show", "pong"], "names no session"),
        (&["game", "show", "mahjong"], "mahjong"),
        (&["play", "mahjong"], "no game is called mahjong"),
        (&["play", "chess", "--headless", "--seconds", "1"], "no game is called chess"),
        (&["play", "pong", "--session", "none", "--headless", "--seconds", "1"], "no live session with key none"),
    ];
    for (arguments, expected) in cases {
        let error = node.ringside(arguments).failed();
        assert!(error.starts_with("error: ") && error.contains(expected), "{arguments:?}: {error}");
    }
    let error = node.ringside(&["session", "show", "pong/none", "--json"]).failed();
    let failure: serde_json::Value = serde_json::from_str(&error).unwrap();
    assert_eq!(failure["error"], "no_such_session");
    for unknown in [&["frobnicate"][..], &["play", "Mahjong"], &["token", "--player", "ada", "--ttl", "soon"], &["new"]]
    {
        let answer = node.ringside(unknown);
        assert_eq!(answer.code, Some(2), "{unknown:?}: {answer:?}");
    }
}

#[test]
fn configurations_that_cannot_be() {
    let directory = Directory::new();
    let state = directory.path().join("state");
    let file = directory.path().join("ringside.toml");
    let start = |text: &str| {
        std::fs::write(&file, text).unwrap();
        ringside(&state, &["node", "--config", &file.to_string_lossy()]).failed()
    };
    let error = start("workers = 0\n");
    assert!(error.contains("ringside.toml, line 1: `workers` is 0: expected a number from 1 to 64"), "{error}");
    let error = start("worker = 1\n");
    assert!(error.contains("did you mean `workers`?"), "{error}");
    let error = start("workers = [\n");
    assert!(error.contains("ringside.toml, line"), "{error}");
    let error = ringside(&state, &["node", "--listen", "localhost"]).failed();
    assert!(error.contains("--listen") && error.contains("localhost"), "{error}");
    let error = ringside(&state, &["node", "--config", "/nonexistent.toml"]).failed();
    assert!(error.contains("/nonexistent.toml"), "{error}");
    assert!(!state.exists(), "nothing was made for a node that does not start");
}

#[test]
fn a_wrong_token_opens_nothing() {
    let directory = Directory::new();
    let node = Node::start(directory.path(), &[]);
    let url = node.ready()["admin"].as_str().unwrap().to_owned();
    let other = directory.path().join("elsewhere");
    let error = ringside(&other, &["--admin-url", &url, "--admin-token", "wrong", "game", "list"]).failed();
    assert!(error.contains("bearer token is missing or wrong"), "{error}");
    let token = format!("@{}", directory.path().join("admin.token").display());
    ringside(&other, &["--admin-url", &url, "--admin-token", &token, "game", "list"]).succeeded();
    let error =
        ringside(&other, &["--admin-url", "https://example.org", "--admin-token", "x", "game", "list"]).failed();
    assert!(error.contains("does not begin with http://"), "{error}");
}
