use super::*;
use crate::scratch::Scratch;

#[test]
fn a_new_directory_is_made_and_opened_again() {
    let scratch = Scratch::new("new");
    let path = scratch.0.join("a/b");
    let state = StateDirectory::open(&path).unwrap();
    let secret = state.secret("admin.token", || b"secret".to_vec()).unwrap();
    let mode = fs::metadata(state.path().join("admin.token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(state);
    let again = StateDirectory::open(&path).unwrap();
    assert_eq!(again.secret("admin.token", || b"other".to_vec()).unwrap(), secret);
}

#[test]
fn two_nodes_cannot_share_one() {
    let scratch = Scratch::new("two");
    let _first = StateDirectory::open(&scratch.0).unwrap();
    let error = StateDirectory::open(&scratch.0).unwrap_err().to_string();
    assert!(error.contains(&format!("a node runs on it (process {})", std::process::id())), "{error}");
}

#[test]
fn other_versions_files_and_garbage_are_refused_untouched() {
    let scratch = Scratch::new("other");
    fs::write(scratch.0.join("version"), "ringside state 2\n").unwrap();
    let error = StateDirectory::open(&scratch.0).unwrap_err().to_string();
    assert!(error.contains("its version is \"ringside state 2\", this release reads \"ringside state 1\""), "{error}");

    fs::write(scratch.0.join("version"), [0xff, 0, 7]).unwrap();
    assert!(matches!(StateDirectory::open(&scratch.0), Err(StateError::Version { .. })));

    fs::remove_file(scratch.0.join("version")).unwrap();
    fs::write(scratch.0.join("thesis.tex"), "dear reader").unwrap();
    let error = StateDirectory::open(&scratch.0).unwrap_err().to_string();
    assert!(error.contains("it holds \"thesis.tex\" and no `version` file"), "{error}");
    assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1, "nothing was added");
}

#[test]
fn a_file_and_a_path_below_a_file_are_no_directories() {
    let scratch = Scratch::new("file");
    let file = scratch.0.join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(StateDirectory::open(&file), Err(StateError::NotADirectory(_))));
    assert!(matches!(StateDirectory::open(&file.join("below")), Err(StateError::NotADirectory(_))));
}

#[test]
fn an_unwritable_place_is_named() {
    let error = StateDirectory::open(Path::new("/proc/ringside")).unwrap_err().to_string();
    assert!(error.contains("cannot make /proc/ringside"), "{error}");
}

#[test]
fn a_node_is_found_while_it_runs() {
    let scratch = Scratch::new("find");
    let state = StateDirectory::open(&scratch.0).unwrap();
    assert!(find_node(&scratch.0).unwrap_err().contains("no node runs on state directory"));
    let node = NodeFile {
        pid: 1,
        admin: "http://127.0.0.1:7401".to_owned(),
        node: "1".to_owned(),
        workers: vec!["127.0.0.1:7400".parse().unwrap()],
        links: "127.0.0.1:7390".parse().unwrap(),
        certificate_sha256: "00".repeat(32),
    };
    state.publish(&node).unwrap();
    assert_eq!(find_node(&scratch.0).unwrap(), node);
    fs::write(scratch.0.join("node.json"), "{").unwrap();
    assert!(find_node(&scratch.0).unwrap_err().contains("node.json is damaged"));
    state.unpublish();
    assert!(find_node(&scratch.0).is_err());
}
