//! Finds, or installs, a compiler for WebAssembly, in this order:
//!
//! 1. the compiler in use has the target (or a distribution's compiler has);
//! 2. a standard library that an earlier run of step 4 has built;
//! 3. `rustup target add`;
//! 4. on Debian and Ubuntu: a distribution's compiler that comes with the standard library's source, from which that
//!    library is built once, into the user's cache directory;
//! 5. a message that says what to do.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::build::{home, own_cargo, run, without_paths};
use crate::error::{BuildError, file};

/// The target of guests.
pub const TARGET: &str = "wasm32-unknown-unknown";

const DISTRIBUTION_RUSTC: &str = "/usr/bin/rustc";
const PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];

/// A compiler for WebAssembly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchain {
    /// A compiler that has the target.
    Whole {
        /// Which; the one in use if none.
        rustc: Option<PathBuf>,
    },
    /// A compiler with a standard library of our own beside it.
    Assembled {
        /// Which.
        rustc: PathBuf,
        /// Where the library is.
        sysroot: PathBuf,
        /// Its linker.
        linker: PathBuf,
    },
}

impl Toolchain {
    /// Makes cargo use this compiler, with these flags for everything compiled to WebAssembly.
    pub fn apply(&self, cargo: &mut Command, flags: &[String]) {
        let mut flags = flags.to_vec();
        match self {
            Toolchain::Whole { rustc: None } => {}
            Toolchain::Whole { rustc: Some(rustc) } => {
                cargo.env("RUSTC", rustc);
            }
            Toolchain::Assembled { rustc, sysroot, linker } => {
                cargo.env("RUSTC", rustc);
                flags.push(format!("--sysroot={}", sysroot.display()));
                flags.push(format!("-Clinker={}", linker.display()));
            }
        }
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Toolchain::Whole { rustc: None } => write!(f, "the compiler in use"),
            Toolchain::Whole { rustc: Some(rustc) } => write!(f, "{}", rustc.display()),
            Toolchain::Assembled { rustc, sysroot, .. } => {
                write!(f, "{} and the standard library in {}", rustc.display(), sysroot.display())
            }
        }
    }
}

/// Programs that are looked for.
struct Programs {
    rustc: PathBuf,
    rustup: PathBuf,
    apt_get: PathBuf,
    distribution: PathBuf,
}

/// Finds or installs a compiler.
///
/// # Errors
/// If every way failed; the error says what to do.
pub fn find() -> Result<Toolchain, BuildError> {
    find_by(&Programs {
        rustc: "rustc".into(),
        rustup: "rustup".into(),
        apt_get: "apt-get".into(),
        distribution: DISTRIBUTION_RUSTC.into(),
    })
}

fn find_by(programs: &Programs) -> Result<Toolchain, BuildError> {
    let distribution = &*programs.distribution;
    if has_target(&programs.rustc) {
        return Ok(Toolchain::Whole { rustc: None });
    }
    if has_target(distribution) {
        return Ok(Toolchain::Whole { rustc: Some(distribution.to_owned()) });
    }
    if let Some(sysroot) = built_sysroot(distribution).filter(|sysroot| sysroot.is_dir()) {
        return assembled(distribution, sysroot);
    }
    if add_by_rustup(programs) {
        return Ok(Toolchain::Whole { rustc: None });
    }
    if !has_source(distribution) {
        install_packages(programs)?;
    }
    let sysroot = built_sysroot(distribution).ok_or_else(|| none("the distribution's compiler does not run"))?;
    build_library(distribution, &sysroot)?;
    assembled(distribution, sysroot)
}

fn none(reason: &str) -> BuildError {
    BuildError::NoToolchain(reason.to_owned())
}

/// What a compiler answers to a question about itself; nothing if it is not there.
fn ask(rustc: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(rustc).args(arguments).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn has_target(rustc: &Path) -> bool {
    let directory = ask(rustc, &["--print", "target-libdir", "--target", TARGET]);
    directory.is_some_and(|directory| has_library(Path::new(&directory)))
}

fn has_library(directory: &Path) -> bool {
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    files.into_iter().any(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
}

fn has_source(rustc: &Path) -> bool {
    let sysroot = ask(rustc, &["--print", "sysroot"]).map(PathBuf::from);
    sysroot.is_some_and(|sysroot| sysroot.join("lib/rustlib/src/rust/library/Cargo.lock").is_file())
}

fn add_by_rustup(programs: &Programs) -> bool {
    let Programs { rustc, rustup, .. } = programs;
    if ask(rustup, &["--version"]).is_none() {
        return false;
    }
    eprintln!("installing {TARGET} by rustup");
    run(Command::new(rustup).args(["target", "add", TARGET])).is_ok() && has_target(rustc)
}

fn install_packages(programs: &Programs) -> Result<(), BuildError> {
    let Programs { apt_get, distribution, .. } = programs;
    if ask(apt_get, &["--version"]).is_none() {
        return Err(none("rustup could not install it, and this is no Debian or Ubuntu"));
    }
    let apt_get = &*apt_get.to_string_lossy();
    eprintln!("installing {} by apt-get", PACKAGES.join(" and "));
    let installed = as_root(&[apt_get, "update"]).and_then(|()| {
        as_root(&[&[apt_get, "install", "-y", "--no-install-recommends", "--no-remove"], &PACKAGES[..]].concat())
    });
    match installed {
        Ok(()) if has_source(distribution) => Ok(()),
        Ok(()) => Err(none("the distribution's packages lack the standard library's source")),
        Err(error) => Err(none(&format!("neither rustup nor apt-get could install it ({error})"))),
    }
}

fn as_root(command: &[&str]) -> Result<(), BuildError> {
    let root = ask(Path::new("id"), &["-u"]).is_some_and(|id| id == "0");
    // Without a password or not at all: nobody may be there to type one.
    let sudo: &[&str] = if root { &[] } else { &["sudo", "-n"] };
    let words = [sudo, command].concat();
    run(Command::new(words[0]).args(&words[1..]).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Where the standard library for this compiler is or will be: a directory for each version of the compiler.
fn built_sysroot(rustc: &Path) -> Option<PathBuf> {
    let version = ask(rustc, &["-vV"])?;
    let of = |key: &str| version.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let commit = of("commit-hash:").unwrap_or("unknown");
    let name = format!("{}-{}", of("release:")?, commit.get(..9).unwrap_or(commit));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| Some(home()?.join(".cache")))?;
    Some(cache.join("ringside/guest-sysroot").join(name))
}

/// Builds the standard library from the compiler's own source. It appears at once or, after a failure, not at all.
fn build_library(rustc: &Path, sysroot: &Path) -> Result<(), BuildError> {
    eprintln!("building the standard library for {TARGET} into {} (once, about a minute)", sysroot.display());
    let partial = sysroot.with_extension(format!("partial-{}", std::process::id()));
    let built = build_partial(rustc, &partial).and_then(|()| match std::fs::rename(&partial, sysroot) {
        // Another run was faster: its result is as good.
        Err(_) if sysroot.is_dir() => Ok(()),
        renamed => renamed.map_err(file(sysroot)),
    });
    if partial.is_dir() {
        std::fs::remove_dir_all(&partial).map_err(file(&partial))?;
    }
    built
}

fn build_partial(rustc: &Path, partial: &Path) -> Result<(), BuildError> {
    let package = partial.join("build");
    let source = package.join("src/lib.rs");
    std::fs::create_dir_all(package.join("src")).map_err(file(&package))?;
    std::fs::write(package.join("Cargo.toml"), BUILDER_MANIFEST).map_err(file(&package))?;
    std::fs::write(&source, "#![no_std]\n").map_err(file(&source))?;

    let mut cargo = own_cargo();
    cargo.current_dir(&package).args(["build", "--release", "-Zbuild-std=std,panic_abort", "--target", TARGET]);
    // The compiler builds its own library: the one place that needs its unstable features. Bitcode is for guests' LTO.
    let flags =
        [vec!["-Cembed-bitcode=yes".to_owned()], without_paths(&[(package.clone(), "ringside".to_owned())])].concat();
    cargo.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1").env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    cargo.env("CARGO_TARGET_DIR", package.join("target"));
    run(&mut cargo)?;

    let library = partial.join("lib/rustlib").join(TARGET).join("lib");
    std::fs::create_dir_all(&library).map_err(file(&library))?;
    copy_library(&package.join("target").join(TARGET).join("release/deps"), &library)?;
    std::fs::remove_dir_all(&package).map_err(file(&package))
}

const BUILDER_MANIFEST: &str = "[package]\nname = \"ringside-std-builder\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n\
    [profile.release]\npanic = \"abort\"\n\n[workspace]\n";

fn copy_library(from: &Path, to: &Path) -> Result<(), BuildError> {
    for entry in std::fs::read_dir(from).map_err(file(from))? {
        let path = entry.map_err(file(from))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".rlib") && !name.starts_with("libringside_std_builder") {
            std::fs::copy(&path, to.join(&name)).map_err(file(&path))?;
        }
    }
    if has_library(to) { Ok(()) } else { Err(none("the standard library was built, but is not where it should be")) }
}

fn assembled(rustc: &Path, sysroot: PathBuf) -> Result<Toolchain, BuildError> {
    let linker = linker(rustc).ok_or_else(|| none("there is no linker for it (rust-lld or wasm-ld)"))?;
    Ok(Toolchain::Assembled { rustc: rustc.to_owned(), sysroot, linker })
}

/// A linker for WebAssembly: the one that comes with a compiler, or the system's.
fn linker(rustc: &Path) -> Option<PathBuf> {
    let bundled = [Path::new("rustc"), rustc].into_iter().filter_map(|rustc| {
        let libraries = PathBuf::from(ask(rustc, &["--print", "target-libdir"])?);
        Some(libraries.parent()?.join("bin/rust-lld"))
    });
    let llvm = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let llvm = llvm.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("llvm-")));
    let system = std::iter::once(PathBuf::from("/usr/bin/wasm-ld")).chain(llvm.map(|path| path.join("bin/wasm-ld")));
    bundled.chain(system).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assembled_toolchain_is_handed_to_cargo() {
        let toolchain =
            Toolchain::Assembled { rustc: "/c/rustc".into(), sysroot: "/my sysroot".into(), linker: "/l".into() };
        let mut command = Command::new("cargo");
        toolchain.apply(&mut command, &["-Cx".to_owned()]);
        let of = |key: &str| command.get_envs().find(|(name, _)| *name == key).and_then(|(_, value)| value);
        assert_eq!(of("RUSTC").unwrap(), "/c/rustc");
        assert_eq!(of("CARGO_ENCODED_RUSTFLAGS").unwrap(), "-Cx\u{1f}--sysroot=/my sysroot\u{1f}-Clinker=/l");
    }

    /// A program that does this.
    fn program(directory: &Path, name: &str, does: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = directory.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{does}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn where_no_way_leads_to_a_compiler_it_is_said_what_to_do() {
        let directory = std::env::temp_dir().join(format!("ringside-toolchain-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        // A compiler without the target, and nothing else.
        let rustc = program(&directory, "rustc", "echo /no/such/library");
        let nowhere = || PathBuf::from("/no/such/program");
        let alone = Programs { rustc, rustup: nowhere(), apt_get: nowhere(), distribution: nowhere() };
        let error = find_by(&alone).unwrap_err().full();
        assert!(error.starts_with("cannot compile for wasm32-unknown-unknown: rustup could not install it"), "{error}");
        assert!(error.contains("this is no Debian or Ubuntu"), "{error}");
        assert!(
            error.contains("rustup target add wasm32-unknown-unknown") && error.contains("apt-get install"),
            "{error}"
        );
        // A rustup that downloads nothing, and packages that lack what they should bring.
        let rustup = program(&directory, "rustup", "test $1 = --version");
        let apt_get = program(&directory, "apt-get", "echo apt 2.0");
        let error = find_by(&Programs { rustup, apt_get, ..alone }).unwrap_err().full();
        // Whoever may not install without a password is told that.
        let says = ["packages lack the standard library's source", "neither rustup nor apt-get could install it"];
        assert!(says.iter().any(|says| error.contains(says)) && error.contains("rustup target add"), "{error}");
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_compiler_that_is_not_there_has_nothing() {
        let missing = Path::new("/no/such/rustc");
        assert!(!has_target(missing) && !has_source(missing));
        assert_eq!(built_sysroot(missing), None);
    }
}
