//! What `ringside new` writes: a small complete game with its tests, and the SDK that it is compiled against. The texts
//! are part of this program, so that a new game needs nothing but the package registry. Writes a directory as a whole
//! or not at all.

mod sdk;
#[cfg(test)]
#[path = "starter/template/lib.rs"]
#[rustfmt::skip] // as a new game, it keeps to the default style
mod template;

use std::io;
use std::path::{Path, PathBuf};

/// The template's game has this name; it is replaced wherever it stands.
const TEMPLATE_NAME: &str = "mygame";
const TEMPLATE: [(&str, &str); 5] = [
    ("Cargo.toml", include_str!("starter/template/manifest.toml")),
    ("src/lib.rs", include_str!("starter/template/lib.rs")),
    ("src/tests.rs", include_str!("starter/template/tests.rs")),
    ("README.md", include_str!("starter/template/README.md")),
    (".gitignore", include_str!("starter/template/gitignore")),
];
/// Where the SDK's copy lies in a new game.
const VENDOR: &str = "vendor/guest-sdk";

/// The SDK that a new game uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sdk {
    /// A copy of it, in the game's own directory.
    Copy,
    /// The directory of the crate `ringside-guest`.
    At(PathBuf),
}

impl Sdk {
    /// The SDK in a directory: a checkout of Ringside, its `guest-sdk`, or the crate itself.
    ///
    /// # Errors
    /// If it is in none of these places.
    pub fn find(path: &Path) -> io::Result<Sdk> {
        let is_sdk = |directory: &PathBuf| {
            let manifest = std::fs::read_to_string(directory.join("Cargo.toml")).unwrap_or_default();
            manifest.lines().any(|line| line.trim() == "name = \"ringside-guest\"")
        };
        let found = ["guest-sdk/rust", "rust", ""].map(|place| path.join(place)).into_iter().find(is_sdk);
        let none = || io::Error::new(io::ErrorKind::NotFound, "there is no crate ringside-guest");
        Ok(Sdk::At(found.ok_or_else(none)?.canonicalize()?))
    }
}

/// A file of a new game.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path in the game's directory.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// Names that packages cannot have or that would be taken for something else: words of the language, crates that every
/// game has, and directories of cargo's.
#[rustfmt::skip]
const TAKEN: &[&str] = &[
    "abstract", "alloc", "as", "async", "await", "become", "box", "break", "build", "const", "continue", "core",
    "crate", "deps", "do", "dyn", "else", "enum", "examples", "extern", "false", "final", "fn", "for", "gen",
    "if", "impl", "in", "incremental", "let", "libm", "loop", "macro", "match", "mod", "move", "mut", "override",
    "postcard", "priv", "proc-macro", "pub", "rand-chacha", "ref", "return", "ringside-guest", "self", "serde",
    "static", "std", "struct", "super", "test", "trait", "true", "try", "type", "typeof", "unsafe", "unsized",
    "use", "virtual", "where", "while", "wit-bindgen", "yield",
];

/// Whether a package cannot be called so, though a game could.
pub fn is_taken(name: &str) -> bool {
    TAKEN.contains(&name)
}

/// The files of a new game.
///
/// # Errors
/// If the SDK's manifest cannot be made, which a test rules out.
pub fn files(name: &str, sdk: &Sdk) -> Result<Vec<File>, toml::de::Error> {
    let (path, guide) = match sdk {
        Sdk::Copy => (format!("{VENDOR}/rust"), format!("The guide is `{VENDOR}/README.md`.")),
        Sdk::At(path) => (path.display().to_string(), "The guide is the README beside the SDK.".to_owned()),
    };
    let path = path.replace('\\', "\\\\").replace('"', "\\\"");
    let fill = |text: &str| text.replace("@SDK@", &path).replace("@GUIDE@", &guide).replace(TEMPLATE_NAME, name);
    let mut files: Vec<File> =
        TEMPLATE.iter().map(|(path, text)| File { path: (*path).to_owned(), text: fill(text) }).collect();
    if *sdk == Sdk::Copy {
        let copies = sdk::FILES.iter().map(|(path, text)| (path.to_string(), text.to_string()));
        let manifest = ("rust/Cargo.toml".to_owned(), sdk::manifest()?);
        files.extend(copies.chain([manifest]).map(|(path, text)| File { path: format!("{VENDOR}/{path}"), text }));
    }
    Ok(files)
}

/// Writes files into a new directory, or an empty one. It is there with all of them, or as it was.
///
/// # Errors
/// If there is something already, or it cannot be written.
pub fn write(directory: &Path, files: &[File]) -> io::Result<()> {
    match std::fs::read_dir(directory).map(|mut entries| entries.next().is_some()) {
        Ok(true) => return Err(io::ErrorKind::DirectoryNotEmpty.into()),
        Ok(false) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut name = std::ffi::OsString::from(".");
    name.push(directory.file_name().unwrap_or_default());
    name.push(format!(".new-{}", std::process::id()));
    let partial = directory.with_file_name(name);
    let written = write_all(&partial, files).and_then(|()| std::fs::rename(&partial, directory));
    if written.is_err() && partial.is_dir() {
        std::fs::remove_dir_all(&partial)?;
    }
    written
}

fn write_all(directory: &Path, files: &[File]) -> io::Result<()> {
    for File { path, text } in files {
        let path = directory.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(directory))?;
        std::fs::write(path, text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
