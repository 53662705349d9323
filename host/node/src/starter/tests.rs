//! What a new game consists of. That it compiles, is tested, uploaded and played is shown with real processes.

use std::collections::BTreeSet;

use super::*;
use crate::scratch::Scratch;

fn sdk_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-sdk")
}

fn file<'a>(files: &'a [File], path: &str) -> &'a str {
    let found = files.iter().find(|file| file.path == path);
    found.map(|file| file.text.as_str()).unwrap_or_else(|| panic!("no {path}"))
}

#[test]
fn the_copy_of_the_sdk_is_whole() {
    fn walk(root: &Path, directory: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(root.join(directory)).unwrap().map(Result::unwrap) {
            let path = directory.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                walk(root, &path, found);
            } else {
                found.insert(path.to_string_lossy().into_owned());
            }
        }
    }
    let mut there = BTreeSet::from(["README.md".to_owned()]);
    walk(&sdk_directory(), Path::new("rust/src"), &mut there);
    walk(&sdk_directory(), Path::new("wit"), &mut there);
    let copied: BTreeSet<String> = sdk::FILES.iter().map(|(path, _)| path.to_string()).collect();
    assert_eq!(copied, there, "the list in starter/sdk.rs is what lies in guest-sdk");
}

#[test]
fn the_copied_manifest_stands_alone() {
    let manifest: toml::Table = sdk::manifest().unwrap().parse().unwrap();
    let text = manifest.to_string();
    assert!(!text.contains("workspace") && !text.contains("lints"), "{text}");
    assert!(manifest.get("dev-dependencies").is_none());
    assert_eq!(manifest["package"]["edition"].as_str(), Some("2024"));
    let names = |table: &toml::Value| table.as_table().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&manifest["dependencies"]), ["libm", "postcard", "serde"]);
    let targets = manifest["target"].as_table().unwrap();
    let wasm = &targets[r#"cfg(target_arch = "wasm32")"#]["dependencies"]["wit-bindgen"];
    assert!(wasm["version"].is_str() && wasm["features"].is_array(), "{wasm}");
    // What every game depends on cannot be a game's name.
    for (_, target) in targets {
        assert!(names(&target["dependencies"]).iter().all(|name| is_taken(&name.replace('_', "-"))));
    }
    assert!(names(&manifest["dependencies"]).iter().all(|name| is_taken(name)));
}

#[test]
fn the_game_has_its_name_everywhere() {
    let files = files("dice", &Sdk::Copy).unwrap();
    let manifest: toml::Table = file(&files, "Cargo.toml").parse().unwrap();
    assert_eq!(manifest["package"]["name"].as_str(), Some("dice"));
    assert_eq!(manifest["dependencies"]["ringside-guest"]["path"].as_str(), Some("vendor/guest-sdk/rust"));
    assert!(file(&files, "src/lib.rs").contains(r#"Description::new("dice")"#));
    assert!(file(&files, "README.md").contains("ringside play dice\n"));
    for own in files.iter().filter(|file| !file.path.starts_with("vendor")) {
        assert!(!own.text.contains(TEMPLATE_NAME) && !own.text.contains('@'), "{}: {}", own.path, own.text);
    }
    assert_eq!(file(&files, "vendor/guest-sdk/wit/game.wit"), include_str!("../../../../guest-sdk/wit/game.wit"));
}

#[test]
fn a_checkout_serves_instead_of_a_copy() {
    let sdk = sdk_directory();
    let crate_directory = sdk.join("rust").canonicalize().unwrap();
    for place in [sdk.join(".."), sdk.clone(), sdk.join("rust")] {
        assert_eq!(Sdk::find(&place).unwrap(), Sdk::At(crate_directory.clone()));
    }
    assert!(Sdk::find(&sdk.join("wit")).is_err());
    let files = files("dice", &Sdk::At("/a \"b\"/rust".into())).unwrap();
    assert!(files.iter().all(|file| !file.path.starts_with("vendor")));
    let manifest: toml::Table = file(&files, "Cargo.toml").parse().unwrap();
    assert_eq!(manifest["dependencies"]["ringside-guest"]["path"].as_str(), Some("/a \"b\"/rust"));
}

#[test]
fn a_directory_is_written_as_a_whole_or_not_at_all() {
    let scratch = Scratch::new("starter");
    let one = |text: &str| [File { path: "a/b.txt".to_owned(), text: text.to_owned() }];
    let directory = scratch.0.join("new");
    write(&directory, &one("first")).unwrap();
    assert_eq!(write(&directory, &one("second")).unwrap_err().kind(), io::ErrorKind::DirectoryNotEmpty);
    assert_eq!(std::fs::read_to_string(directory.join("a/b.txt")).unwrap(), "first");

    let empty = scratch.0.join("empty");
    std::fs::create_dir(&empty).unwrap();
    write(&empty, &one("third")).unwrap();
    assert_eq!(std::fs::read_to_string(empty.join("a/b.txt")).unwrap(), "third");

    let taken = scratch.0.join("taken");
    std::fs::write(&taken, "mine").unwrap();
    write(&taken, &one("fourth")).unwrap_err();
    assert_eq!(std::fs::read_to_string(&taken).unwrap(), "mine");

    let clash = [one("x"), [File { path: "a/b.txt/c".to_owned(), text: String::new() }]].concat();
    write(&scratch.0.join("clash"), &clash).unwrap_err();
    let left: BTreeSet<_> = std::fs::read_dir(&scratch.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["empty", "new", "taken"].map(Into::into).into());
}
