//! Compiled modules on disk: used when whole, made anew when not, written whole.

use std::fs;
use std::path::{Path, PathBuf};

use ringside_sandbox::{Sandbox, SandboxConfig};

use crate::play::Play;
use crate::toy::Toy;

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("ringside-artefacts-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Directory(path)
    }

    fn sandbox(&self) -> Sandbox {
        let config = SandboxConfig { cache_directory: Some(self.0.clone()), warm_sessions: Some(2) };
        Sandbox::new(config).expect("a sandbox")
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> =
            fs::read_dir(&self.0).expect("there").map(|file| file.expect("a file").path()).collect();
        files.sort();
        files
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn works(sandbox: &Sandbox, wasm: &[u8]) {
    let module = sandbox.upload(wasm).expect("a module");
    Play::begin(&module).join(0, "ann");
}

fn contents(path: &Path) -> Vec<u8> {
    fs::read(path).expect("readable")
}

#[test]
fn kept_reused_and_made_anew_when_damaged() {
    let directory = Directory::new("kept");
    let wasm = Toy::default().wasm();
    works(&directory.sandbox(), &wasm);
    let [file] = &directory.files()[..] else { panic!("one file: {:?}", directory.files()) };
    let whole = contents(file);
    let written = fs::metadata(file).expect("there").modified().expect("a time");
    works(&directory.sandbox(), &wasm);
    assert_eq!(fs::metadata(file).expect("there").modified().expect("a time"), written, "a hit writes nothing");

    let damage: [fn(&mut Vec<u8>); 5] = [
        |bytes| bytes[100] ^= 1,
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| bytes.truncate(10),
        |bytes| bytes.clear(),
        |bytes| *bytes.last_mut().expect("bytes") ^= 1,
    ];
    for damage in damage {
        let mut bytes = whole.clone();
        damage(&mut bytes);
        fs::write(file, &bytes).expect("written");
        works(&directory.sandbox(), &wasm);
        assert_ne!(contents(file), bytes);
        works(&directory.sandbox(), &wasm);
        assert_eq!(directory.files().len(), 1, "nothing lies about");
    }
}

#[test]
fn another_modules_artefact_under_this_name_is_not_used() {
    let directory = Directory::new("swapped");
    let wasm = Toy::default().wasm();
    let other = Toy { tick: "unreachable", ..Toy::default() }.wasm();
    works(&directory.sandbox(), &wasm);
    let first = directory.files().remove(0);
    directory.sandbox().upload(&other).expect("a module");
    let second = directory.files().into_iter().find(|file| *file != first).expect("two files");
    fs::copy(&second, &first).expect("copied");
    let sandbox = directory.sandbox();
    let module = sandbox.upload(&wasm).expect("a module");
    let mut play = Play::begin(&module);
    assert_eq!(play.run(ringside_core::log::Input::Tick), ringside_core::log::Outcome::Applied);
}

#[test]
fn a_refused_module_leaves_no_trace() {
    let directory = Directory::new("refused");
    let sandbox = directory.sandbox();
    assert!(sandbox.upload(&Toy { describe: "unreachable", ..Toy::default() }.wasm()).is_err());
    assert!(sandbox.upload(b"\0asm nonsense").is_err());
    assert_eq!(directory.files(), Vec::<PathBuf>::new());
}

#[test]
fn uploads_of_several_threads_at_once() {
    let directory = Directory::new("threads");
    let sandbox = directory.sandbox();
    let wasm = Toy::default().wasm();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| sandbox.upload(&wasm).expect("a module"));
        }
    });
    assert_eq!(directory.files().len(), 1);
    let written = fs::metadata(&directory.files()[0]).expect("there").modified().expect("a time");
    works(&directory.sandbox(), &wasm);
    assert_eq!(fs::metadata(&directory.files()[0]).expect("there").modified().expect("a time"), written);
}

#[test]
fn an_unusable_directory_is_an_error() {
    let directory = Directory::new("unusable");
    fs::write(&directory.0, b"a file").expect("written");
    let config = SandboxConfig { cache_directory: Some(directory.0.join("below")), warm_sessions: Some(2) };
    assert!(Sandbox::new(config).is_err());
    fs::remove_file(&directory.0).expect("removed");
}
