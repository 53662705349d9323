//! Cargo, as guests need it: for WebAssembly, in a target directory of their own (their compiler may be another than
//! the host's), with a small stack, and without this machine's paths in what comes out.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{BuildError, file};
use crate::toolchain::{TARGET, Toolchain};

/// A guest's stack: ample for games, and an eighth of what linkers reserve by default.
const STACK_BYTES: u32 = 128 << 10;

/// One run of cargo that builds the libraries of packages.
#[derive(Debug, Clone)]
pub struct Build<'a> {
    /// Where cargo runs: in the packages' workspace.
    pub directory: &'a Path,
    /// The packages.
    pub packages: &'a [&'a str],
    /// The cargo profile.
    pub profile: &'a str,
    /// A cargo feature, as `package/feature`.
    pub feature: Option<&'a str>,
    /// Cargo's target directory for guests.
    pub target: &'a Path,
    /// Directories of sources, and the names that stand for them in modules: a module's hash must not depend on where
    /// it was built.
    pub sources: &'a [(PathBuf, String)],
}

impl Build<'_> {
    /// Builds. Answers the directory in which the modules are, each under its library's name.
    ///
    /// # Errors
    /// If cargo cannot be run, or a package does not compile.
    pub fn run(&self, toolchain: &Toolchain) -> Result<PathBuf, BuildError> {
        run(&mut self.command(toolchain))?;
        Ok(self.target.join(TARGET).join(self.profile))
    }

    fn command(&self, toolchain: &Toolchain) -> Command {
        let mut cargo = own_cargo();
        cargo.current_dir(self.directory).args(["build", "--lib", "--target", TARGET, "--profile", self.profile]);
        cargo.arg("--target-dir").arg(self.target);
        for package in self.packages {
            cargo.args(["--package", package]);
        }
        if let Some(feature) = self.feature {
            cargo.args(["--features", feature]);
        }
        let mut flags = without_paths(self.sources);
        flags.push(format!("-Clink-arg=-zstack-size={STACK_BYTES}"));
        toolchain.apply(&mut cargo, &flags);
        cargo
    }
}

/// Cargo, as if nobody had called it from inside a run of cargo: it tells what it runs about the package in its
/// environment, and build scripts that look there (ring's does) would run again, with everything above them.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(tells_of_a_package) {
            command.env_remove(name);
        }
    }
    command
}

fn tells_of_a_package(name: &str) -> bool {
    let of_a_package = ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_PACKAGE"];
    of_a_package.iter().any(|prefix| name.starts_with(prefix))
}

/// Cargo with a target directory and flags of the guests' own.
pub(crate) fn own_cargo() -> Command {
    let mut cargo = cargo();
    cargo.env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS");
    cargo
}

/// Flags that put names in the place of paths: of cargo's home, and of directories of sources.
pub(crate) fn without_paths(sources: &[(PathBuf, String)]) -> Vec<String> {
    let cargo = std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(home()?.join(".cargo")));
    let cargo = cargo.map(|path| (path, "cargo".to_owned()));
    let names = cargo.iter().chain(sources);
    names.map(|(path, name)| format!("--remap-path-prefix={}=/{name}", path.display())).collect()
}

/// Runs a program; its output goes straight to the terminal.
pub(crate) fn run(command: &mut Command) -> Result<(), BuildError> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(BuildError::Failed(name(command))),
        Err(source) => Err(BuildError::Start { program: name(command), source }),
    }
}

/// A program's name without its directory.
pub(crate) fn name(command: &Command) -> String {
    let program = Path::new(command.get_program());
    program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()
}

pub(crate) fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from)
}

/// A path without links and dots.
pub(crate) fn canonical(path: &Path) -> Result<PathBuf, BuildError> {
    path.canonicalize().map_err(file(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_hears_nothing_of_the_package_that_calls_it() {
        let removed: Vec<_> =
            cargo().get_envs().filter(|(_, value)| value.is_none()).map(|(name, _)| name.to_owned()).collect();
        // This test itself is run by cargo, which told it about this package.
        assert!(removed.iter().any(|name| name == "CARGO_PKG_NAME"), "{removed:?}");
        assert!(["CARGO", "CARGO_HOME", "CARGO_TARGET_DIR", "PATH"].iter().all(|kept| !tells_of_a_package(kept)));
    }

    #[test]
    fn guests_are_built_apart_with_a_small_stack_and_without_paths() {
        let build = Build {
            directory: Path::new("/home/ann/tug"),
            packages: &["tug"],
            profile: "release",
            feature: Some("tug/fast"),
            target: Path::new("/home/ann/tug/target/guest"),
            sources: &[("/home/ann/tug".into(), "game".to_owned())],
        };
        let command = build.command(&Toolchain::Whole { rustc: None });
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        let words = words.join(" ");
        assert!(words.contains("--target wasm32-unknown-unknown --profile release"), "{words}");
        assert!(
            words.ends_with("--target-dir /home/ann/tug/target/guest --package tug --features tug/fast"),
            "{words}"
        );
        let flags =
            command.get_envs().find(|(name, _)| *name == "CARGO_ENCODED_RUSTFLAGS").and_then(|(_, flags)| flags);
        let flags = flags.unwrap().to_string_lossy();
        assert!(flags.contains("--remap-path-prefix=/home/ann/tug=/game"), "{flags}");
        assert!(flags.ends_with("-Clink-arg=-zstack-size=131072"), "{flags}");
        assert!(command.get_envs().any(|(name, value)| name == "CARGO_TARGET_DIR" && value.is_none()));
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("/nowhere/no-such-program-here")).unwrap_err();
        assert!(error.to_string().starts_with("cannot run no-such-program-here: "), "{error}");
    }
}
