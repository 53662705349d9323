//! Builds the sample games as WebAssembly modules, always from source, into `target-guests/modules/NAME.wasm`.
//!
//! Guests have a target directory of their own (their compiler may be another than the host's) and their own cargo
//! profile. Where the compiler for WebAssembly comes from, and how cargo is run, is in `ringside-guest-build`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use ringside_guest_build::{Build, BuildError, Toolchain, toolchain};

use crate::workspace::Error;

/// A module to build: a package of the workspace, with a cargo feature (`package/feature`) or without.
struct Sample {
    module: &'static str,
    package: &'static str,
    feature: Option<&'static str>,
}

const fn plain(name: &'static str) -> Sample {
    Sample { module: name, package: name, feature: None }
}

const SAMPLES: [Sample; 21] = [
    plain("pong"),
    plain("arena"),
    Sample { module: "echo-replicated", package: "echo", feature: Some("echo/replicated") },
    Sample { module: "echo-kept", package: "echo", feature: Some("echo/kept") },
    Sample { module: "echo-consistent", package: "echo", feature: Some("echo/consistent") },
    Sample { module: "echo-durable", package: "echo", feature: Some("echo/durable") },
    Sample { module: "echo-lasting", package: "echo", feature: Some("echo/lasting") },
    Sample { module: "echo-durable-ticking", package: "echo", feature: Some("echo/durable-ticking") },
    Sample { module: "echo-ticking", package: "echo", feature: Some("echo/ticking") },
    Sample { module: "arena-kept", package: "arena", feature: Some("arena/kept") },
    Sample { module: "arena60", package: "arena", feature: Some("arena/sixty-hertz") },
    Sample { module: "arena60-mebibyte", package: "arena", feature: Some("arena/mebibyte") },
    Sample { module: "arena60-heavy", package: "arena", feature: Some("arena/heavy") },
    Sample { module: "arena60-alone", package: "arena", feature: Some("arena/alone") },
    plain("chess"),
    plain("echo"),
    plain("tally"),
    Sample { module: "tally-replicated", package: "tally", feature: Some("tally/replicated") },
    Sample { module: "tally-durable", package: "tally", feature: Some("tally/durable") },
    Sample { module: "tally-ticking", package: "tally", feature: Some("tally/ticking") },
    plain("bad-citizens"),
];

/// Where a sample's module is after [`build`].
pub fn module(root: &Path, name: &str) -> PathBuf {
    modules(root).join(name).with_extension("wasm")
}

/// `cargo xtask guests`.
pub fn command(root: &Path) -> Result<ExitCode, Error> {
    match build(root) {
        Ok(modules) => modules.iter().for_each(|module| println!("{}", module.display())),
        Err(error) => {
            eprintln!("error: {}", error.full());
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds all sample games; what is up to date costs a second. Answers the modules' paths.
///
/// # Errors
/// If there is no compiler, or a game does not compile. Modules of earlier builds stay.
pub fn build(root: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let started = Instant::now();
    let toolchain = toolchain::find()?;
    eprintln!("building {} guests with {toolchain}", SAMPLES.len());
    let plain = SAMPLES.iter().filter(|sample| sample.feature.is_none());
    let mut built = compile(root, &toolchain, None, plain)?;
    for sample in SAMPLES.iter().filter(|sample| sample.feature.is_some()) {
        built.extend(compile(root, &toolchain, sample.feature, [sample])?);
    }
    eprintln!("built {} guests in {:.1} s", built.len(), started.elapsed().as_secs_f64());
    Ok(built)
}

/// One run of cargo. It always names all packages, so that their dependencies have the same features in every run and
/// are compiled once.
fn compile<'a>(
    root: &Path,
    toolchain: &Toolchain,
    feature: Option<&str>,
    keep_these: impl IntoIterator<Item = &'a Sample>,
) -> Result<Vec<PathBuf>, BuildError> {
    let build = Build {
        directory: root,
        packages: &SAMPLES.map(|sample| sample.package),
        profile: "wasm",
        feature,
        target: &root.join("target-guests"),
        sources: &[(root.to_owned(), "ringside".to_owned())],
    };
    let built = build.run(toolchain)?;
    keep_these.into_iter().map(|sample| keep(root, &built, sample)).collect()
}

/// Copies a module out of cargo's directory, if it differs from the copy that is there.
fn keep(root: &Path, built: &Path, sample: &Sample) -> Result<PathBuf, BuildError> {
    let from = built.join(sample.package.replace('-', "_")).with_extension("wasm");
    let to = module(root, sample.module);
    let bytes = std::fs::read(&from).map_err(file(&from))?;
    if std::fs::read(&to).is_ok_and(|kept| kept == bytes) {
        return Ok(to);
    }
    std::fs::create_dir_all(modules(root)).map_err(file(&to))?;
    let new = to.with_extension("new");
    std::fs::write(&new, &bytes).and_then(|()| std::fs::rename(&new, &to)).map_err(file(&to))?;
    eprintln!("    {}.wasm: {:.1} kB", sample.module, bytes.len() as f64 / 1000.0);
    Ok(to)
}

fn modules(root: &Path) -> PathBuf {
    root.join("target-guests/modules")
}

fn file(path: &Path) -> impl FnOnce(std::io::Error) -> BuildError {
    let path = path.to_owned();
    move |source| BuildError::File { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_a_package_of_the_workspace() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        for sample in &SAMPLES {
            let manifest = root.join("sample-games").join(sample.package).join("Cargo.toml");
            let manifest = std::fs::read_to_string(&manifest).unwrap();
            let feature = sample.feature.map(|feature| feature.split_once('/').unwrap());
            assert!(feature.is_none_or(|(package, name)| {
                package == sample.package && manifest.contains(&format!("{name} = "))
            }));
        }
    }

    #[test]
    fn modules_lie_beside_each_other() {
        assert_eq!(module(Path::new("/r"), "pong"), Path::new("/r/target-guests/modules/pong.wasm"));
    }
}
