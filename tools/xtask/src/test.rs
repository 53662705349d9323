//! `cargo xtask test`: every check in one cargo profile, so that binary, tests and benchmarks share what was built.
//! Goes on after a failure, to show everything that is wrong in one run.

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::steps;
use crate::tally::{Counts, Tally};
use crate::workspace::{Error, Workspace};
use crate::{guests, steps::headline};

/// Runs all checks, or only the tests that match `filter`. The last line printed counts.
pub fn run(workspace: &Workspace, filter: Option<&str>) -> Result<ExitCode, Error> {
    let mut tally = Tally::default();
    if filter.is_none() {
        check_source(workspace, &mut tally)?;
    }
    headline("guests");
    let guests = guests::build(workspace.root());
    if let Err(error) = &guests {
        eprintln!("    guests: FAILED: {error}");
    }
    tally.check("guests", guests.is_ok());
    let built = steps::run("build", workspace.cargo().args(["build", "--release", "--workspace", "--bins"]))?;
    tally.check("build", built);
    if built && guests.is_ok() {
        run_tests(workspace, filter, &mut tally)?;
    } else {
        tally.skip("tests", "something that they need was not built");
    }
    if filter.is_none() {
        check_dependencies(workspace, &mut tally)?;
    }
    println!("\n{}", tally.summary());
    Ok(if tally.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check_source(workspace: &Workspace, tally: &mut Tally) -> Result<(), Error> {
    tally.check("format", steps::run("format", workspace.cargo().args(["fmt", "--all", "--check"]))?);
    let mut clippy = workspace.cargo();
    clippy.args(["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    tally.check("lints", steps::run("lints", &mut clippy)?);
    let mut docs = workspace.cargo();
    docs.args(["doc", "--release", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
    tally.check("documentation", steps::run("documentation", &mut docs)?);
    Ok(())
}

fn run_tests(workspace: &Workspace, filter: Option<&str>, tally: &mut Tally) -> Result<(), Error> {
    let skips = workspace.target().join("skips.txt");
    let with_environment = |mut command: Command| {
        command
            .env("RINGSIDE_BIN", workspace.program("ringside"))
            .env("RINGSIDE_GUESTS", workspace.root().join("target-guests"))
            .env("RINGSIDE_SKIPS", &skips);
        command
    };
    forget(&skips)?;
    let mut runner = if steps::answers(workspace.cargo().args(["nextest", "--version"])) {
        let mut command = workspace.cargo();
        command.args(["nextest", "run", "--release", "--workspace", "--no-fail-fast", "--no-tests=pass"]);
        command
    } else {
        let mut command = workspace.cargo();
        command.args([
            "test",
            "--release",
            "--workspace",
            "--no-fail-fast",
            "--lib",
            "--bins",
            "--tests",
            "--examples",
        ]);
        command
    };
    let (succeeded, output) = steps::run_and_keep(
        "tests",
        &mut with_environment({
            runner.args(filter);
            runner
        }),
    )?;
    tally.tests("tests", Counts::read(&output), succeeded, &std::fs::read_to_string(&skips).unwrap_or_default());
    if filter.is_some() {
        return Ok(());
    }
    forget(&skips)?;
    let mut doctests = workspace.cargo();
    doctests.args(["test", "--release", "--workspace", "--doc", "--no-fail-fast"]);
    let (succeeded, output) = steps::run_and_keep("documentation tests", &mut with_environment(doctests))?;
    let skips = std::fs::read_to_string(&skips).unwrap_or_default();
    tally.tests("documentation tests", Counts::read(&output), succeeded, &skips);
    Ok(())
}

fn check_dependencies(workspace: &Workspace, tally: &mut Tally) -> Result<(), Error> {
    if !steps::answers(workspace.cargo().args(["deny", "--version"])) {
        let reason = "cargo-deny is not installed (`cargo install --locked cargo-deny`)";
        tally.skip("dependencies: bans, licences, sources", reason);
        tally.skip("dependencies: advisories", reason);
        return Ok(());
    }
    let name = "dependencies: bans, licences, sources";
    let mut policy = workspace.cargo();
    policy.args(["deny", "check", "bans", "licenses", "sources"]);
    tally.check(name, steps::run(name, &mut policy)?);
    let name = "dependencies: advisories";
    if steps::answers(workspace.cargo().args(["deny", "fetch", "db"])) {
        let mut advisories = workspace.cargo();
        advisories.args(["deny", "check", "--disable-fetch", "advisories"]);
        tally.check(name, steps::run(name, &mut advisories)?);
    } else {
        tally.skip(name, "the advisory database cannot be reached from here");
    }
    Ok(())
}

fn forget(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::File { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}
