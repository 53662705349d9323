//! The decoders' fuzz functions under libFuzzer, each for a few seconds, where a nightly compiler and cargo-fuzz are at
//! hand. Everywhere else the seeded mutators of the ordinary tests drive the same functions.

use std::process::Command;

use crate::steps;
use crate::tally::Tally;
use crate::workspace::{Error, Workspace};

/// How long each target runs, seconds: enough to notice a target that does not build or fails at once.
const SECONDS: u32 = 5;
const NAME: &str = "decoders under cargo-fuzz";

/// Runs every target, or says why not.
pub fn run(workspace: &Workspace, tally: &mut Tally) -> Result<(), Error> {
    let nightly = || {
        let mut command = Command::new("rustup");
        command.current_dir(workspace.root()).args(["run", "nightly", "cargo"]);
        command
    };
    for (question, missing) in [
        (["--version"].as_slice(), "no nightly toolchain (`rustup toolchain install nightly`)"),
        (&["fuzz", "--version"], "cargo-fuzz is not installed (`cargo install --locked cargo-fuzz`)"),
    ] {
        if !steps::answers(nightly().args(question)) {
            tally.skip(NAME, missing);
            return Ok(());
        }
    }
    let targets = workspace.root().join("tests/fuzz/fuzz_targets");
    for target in names(&targets).map_err(|source| Error::File { path: targets, source })? {
        let mut fuzz = nightly();
        fuzz.args(["fuzz", "run", "--fuzz-dir", "tests/fuzz", "--target-dir"]).arg(workspace.target().join("fuzz"));
        // Inputs that are found stay out of the repository, as what was built does.
        fuzz.arg(&target).arg(workspace.target().join("fuzz-corpus").join(&target));
        fuzz.args(["--", &format!("-max_total_time={SECONDS}")]);
        std::fs::create_dir_all(workspace.target().join("fuzz-corpus").join(&target))
            .map_err(|source| Error::File { path: workspace.target().join("fuzz-corpus"), source })?;
        let name = format!("{NAME}: {target}");
        tally.check(&name, steps::run(&name, &mut fuzz)?);
    }
    Ok(())
}

/// The targets, each a file, in order.
fn names(directory: &std::path::Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).filter(|_| path.extension().is_some());
        names.extend(name.map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_found_and_is_a_program() {
        let fuzz = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz");
        let names = names(&fuzz.join("fuzz_targets")).unwrap();
        let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
        assert_eq!(manifest.matches("[[bin]]").count(), names.len());
        for name in names {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        }
    }
}
