//! House rules that a compiler does not check.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use ringside_test_support::guests::root;

/// Directories that hold no source.
const NOT_SOURCE: [&str; 5] = ["target", "target-guests", ".git", ".ringside", "node_modules"];
/// Endings of files that people write.
const WRITTEN: [&str; 8] = ["rs", "toml", "md", "wit", "mjs", "sh", "json", "ts"];

fn files() -> Vec<PathBuf> {
    fn walk(directory: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                if !NOT_SOURCE.iter().any(|skipped| name == *skipped) {
                    walk(&path, files);
                }
            } else if path.extension().is_some_and(|ending| WRITTEN.iter().any(|written| ending == *written)) {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    walk(&root(), &mut files);
    assert!(files.len() > 50, "the walk finds the repository");
    files
}

fn sources() -> impl Iterator<Item = (PathBuf, String)> {
    let rust = files().into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "rs"));
    rust.map(|path| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path, text)
    })
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().into_owned()
}

#[test]
fn nothing_is_left_over() {
    // Put together here, so that this file does not find itself.
    let markers = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let is_left_over = |line: &str| {
        markers.iter().any(|marker| line.contains(marker)) || line.trim_start().starts_with(concat!("#[ig", "nore"))
    };
    let mut found = Vec::new();
    for path in files() {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        for (number, line) in text.lines().enumerate() {
            if is_left_over(line) {
                found.push(format!("{}:{}: {}", relative(&path), number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "leftover markers:\n{}", found.join("\n"));
}

#[test]
fn every_source_says_first_what_it_is() {
    let silent: Vec<String> = sources()
        .filter(|(path, text)| !text.starts_with("//!") && !is_test(path))
        .map(|(path, _)| relative(&path))
        .collect();
    assert!(silent.is_empty(), "these files do not open with what they own:\n{}", silent.join("\n"));
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests") || path.file_stem().is_some_and(|stem| stem == "tests")
}

#[test]
fn every_path_that_the_architecture_names_exists() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    assert!(text.lines().count() < 350, "a map is short");
    let names: BTreeSet<&str> = text.split('`').skip(1).step_by(2).filter(|name| is_path(name)).collect();
    assert!(names.len() > 20, "the map names places: {names:?}");
    let missing: Vec<_> = names.iter().filter(|name| !root().join(name).exists()).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names what is not there: {missing:?}");
}

fn is_path(name: &str) -> bool {
    let plain = name.chars().all(|character| character.is_ascii_alphanumeric() || "/._-".contains(character));
    let tops = ["host/", "guest-sdk/", "sample-games/", "tests/", "tools/", ".ci/", ".config/"];
    plain && (tops.iter().any(|top| name.starts_with(top)) || name.ends_with(".md") || name.ends_with(".toml"))
}

#[test]
fn the_readme_sets_up_with_exactly_two_commands() {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let section = text.split("\n## ").find(|section| section.starts_with("Set up")).expect("a section \"Set up\"");
    let commands: Vec<&str> = section.lines().map(str::trim).filter(|line| line.starts_with("cargo ")).collect();
    let commands: Vec<&str> = commands.iter().map(|line| line.split('#').next().unwrap_or(line).trim()).collect();
    assert_eq!(commands, ["cargo xtask dev", "cargo xtask test"]);
}

/// Names of the packages that a package reaches when it is built alone.
fn reaches(package: &str) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--edges", "normal,build", "--prefix", "none", "--format", "{p}", "--package"])
        .arg(package)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn assert_unreachable(package: &str, forbidden: &[&str]) {
    let reached = reaches(package);
    assert!(reached.contains(package), "the graph of {package} was read: {reached:?}");
    let wrong: Vec<_> = forbidden.iter().filter(|name| reached.contains(**name)).collect();
    assert!(wrong.is_empty(), "{package} must not reach {wrong:?}");
}

#[test]
fn arrows_between_rooms_go_down_only() {
    let host = ["ringside-core", "ringside-sandbox", "ringside-worker", "ringside-node"];
    assert_unreachable(
        "ringside-protocol",
        &[&host[..], &["tokio", "quinn", "quinn-proto", "wasmtime", "ring"]].concat(),
    );
    assert_unreachable("ringside-core", &[&host[1..], &["tokio", "quinn", "quinn-proto", "wasmtime"]].concat());
    assert_unreachable("ringside-sandbox", &[&host[2..], &["tokio", "quinn", "quinn-proto"]].concat());
    assert_unreachable("ringside-client", &host);
    assert_unreachable("ringside-guest-build", &[&host[..], &["ringside-protocol", "tokio", "wasmtime"]].concat());
    for guest in ["ringside-guest", "pong", "arena", "chess"] {
        assert_unreachable(guest, &[&host[..], &["ringside-protocol", "tokio", "wasmtime"]].concat());
    }
}

#[test]
fn a_worker_cannot_reach_tokio() {
    assert_unreachable("ringside-worker", &["tokio", "quinn", "axum", "reqwest", "ringside-node", "async-std"]);
    assert!(reaches("ringside-node").contains("tokio"), "what the node reaches is seen by the same means");
}

#[test]
fn one_crate_names_the_engine() {
    let allowed = ["host/sandbox", "tools/bench"];
    let named: Vec<String> = sources()
        .filter(|(_, text)| text.contains(concat!("wasm", "time::")))
        .map(|(path, _)| relative(&path))
        .filter(|path| !allowed.iter().any(|place| path.starts_with(place)))
        .collect();
    assert!(named.is_empty(), "the engine is named outside {allowed:?}:\n{}", named.join("\n"));
    for path in files().iter().filter(|path| path.ends_with("Cargo.toml") && **path != root().join("Cargo.toml")) {
        let text = std::fs::read_to_string(path).unwrap();
        let names = text.lines().any(|line| line.starts_with("wasmtime"));
        assert!(!names || allowed.iter().any(|place| relative(path).starts_with(place)), "{}", relative(path));
    }
}

/// The crates with decoders, and the names and functions of their fuzz targets.
fn decoders() -> Vec<(String, String, String)> {
    let mut decoders = Vec::new();
    for (path, text) in sources().filter(|(path, _)| relative(path).ends_with("src/fuzz.rs")) {
        let crate_name = relative(&path).split('/').nth(1).unwrap().to_owned();
        let list = text.split("TARGETS: &[Target] =").nth(1).unwrap().split("];").next().unwrap();
        for entry in list.split('(').skip(1) {
            let (name, function) = entry.split(')').next().unwrap().split_once(", ").unwrap();
            decoders.push((crate_name.clone(), name.trim_matches('"').to_owned(), function.to_owned()));
        }
    }
    decoders
}

/// The fuzzer calls the functions that the seeded mutator drives, each of them.
#[test]
fn every_decoder_has_a_fuzz_target() {
    let directory = root().join("tests/fuzz");
    let decoders = decoders();
    assert!(decoders.len() > 15, "{decoders:?}");
    for (crate_name, name, function) in &decoders {
        let target = directory.join("fuzz_targets").join(format!("{name}.rs"));
        let text = std::fs::read_to_string(&target).unwrap_or_else(|error| panic!("{}: {error}", target.display()));
        let call = format!("ringside_{crate_name}::fuzz::{function}(bytes)");
        assert!(text.contains(&call), "{} does not call {call}", target.display());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--offline", "--no-deps", "--format-version", "1", "--manifest-path"])
        .arg(directory.join("Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let bins = metadata["packages"][0]["targets"].as_array().unwrap();
    let bins: BTreeSet<&str> = bins.iter().filter_map(|bin| bin["name"].as_str()).collect();
    let names: BTreeSet<&str> = decoders.iter().map(|(_, name, _)| name.as_str()).collect();
    assert_eq!(bins, names);
}
