//! `cargo xtask test`: every check in one cargo profile, so that binary, tests and benchmarks share what was built.
//! Goes on after a failure, to show everything that is wrong in one run.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::steps;
use crate::tally::{Counts, Tally};
use crate::workspace::{Error, Workspace};
use crate::{dev, guests, libfuzzer, steps::headline};

/// Runs all checks, or only the tests that match `filter`. The last line printed counts.
pub fn run(workspace: &Workspace, filter: Option<&str>) -> Result<ExitCode, Error> {
    let mut tally = Tally::default();
    if filter.is_none() {
        check_source(workspace, &mut tally)?;
    }
    headline("guests");
    let guests = guests::build(workspace.root());
    if let Err(error) = &guests {
        eprintln!("    guests: FAILED: {}", error.full());
    }
    tally.check("guests", guests.is_ok());
    // What `cargo xtask dev` builds has other features of libraries than the whole: its tests must not wait for them.
    let program = steps::run("build for dev", &mut dev::program(workspace))?;
    tally.check("build for dev", program);
    let built = steps::run("build", workspace.cargo().args(["build", "--release", "--workspace", "--all-targets"]))?;
    tally.check("build", built);
    if built && guests.is_ok() {
        run_tests(workspace, filter, &mut tally)?;
    } else {
        tally.skip("tests", "something that they need was not built");
    }
    if filter.is_none() {
        libfuzzer::run(workspace, &mut tally)?;
        check_dependencies(workspace, &mut tally)?;
    }
    steps::say(&format!("\n{}", tally.summary()));
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
    let object_server = object_server(workspace)?;
    let with_environment = |mut command: Command| {
        command.envs(object_server.iter().map(|program| ("RINGSIDE_OBJECT_SERVER", program)));
        with_environment(command)
    };
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
    let mut counts = Counts::read(&output);
    if let Some(filter) = filter {
        // Those that the filter leaves out are said to be skipped too.
        counts.ignored = 0;
        if succeeded && counts.is_nothing() {
            tally.check(&format!("tests (none has {filter:?} in its name)"), false);
        }
    }
    tally.tests("tests", counts, succeeded, &std::fs::read_to_string(&skips).unwrap_or_default());
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

/// A server that speaks S3, for tests of the store: in an environment of its own within the target directory, made once.
/// Where that cannot be, the tests that need it say that they were skipped.
fn object_server(workspace: &Workspace) -> Result<Option<PathBuf>, Error> {
    let root = workspace.target().join("tools/moto");
    let program = root.join("bin/moto_server");
    let is_there = || steps::answers(Command::new(&program).arg("--help"));
    if is_there() {
        return Ok(Some(program));
    }
    if !steps::answers(Command::new("python3").args(["-m", "venv", "--help"])) {
        return Ok(None);
    }
    headline("a server that speaks S3 (once)");
    let made = steps::run("its environment", Command::new("python3").args(["-m", "venv", "--clear"]).arg(&root))?
        && steps::run("its packages", Command::new(root.join("bin/pip")).args(["install", "--quiet"]).args(MOTO))?;
    Ok((made && is_there()).then_some(program))
}

/// The release of moto that is installed, and what its server needs beside it for S3.
const MOTO: [&str; 3] = ["moto==5.2.5", "flask==3.1.3", "flask-cors==6.0.5"];

fn check_dependencies(workspace: &Workspace, tally: &mut Tally) -> Result<(), Error> {
    let Some(deny) = dependency_checker(workspace)? else {
        let reason = "cargo-deny is not installed and could not be (`cargo install --locked cargo-deny`)";
        tally.skip("dependencies: bans, licences, sources", reason);
        tally.skip("dependencies: advisories", reason);
        return Ok(());
    };
    let name = "dependencies: bans, licences, sources";
    tally.check(name, steps::run(name, deny().args(["check", "bans", "licenses", "sources"]))?);
    let name = "dependencies: advisories";
    if steps::answers(deny().args(["fetch", "db"])) {
        tally.check(name, steps::run(name, deny().args(["check", "--disable-fetch", "advisories"]))?);
    } else {
        tally.skip(name, "the advisory database cannot be reached from here");
    }
    Ok(())
}

/// Makes commands of cargo-deny: the one that is installed, or one of this workspace's own, built once.
fn dependency_checker(workspace: &Workspace) -> Result<Option<impl Fn() -> Command>, Error> {
    let root = workspace.target().join("tools");
    let own = root.join("bin/cargo-deny");
    let installed = steps::answers(workspace.cargo().args(["deny", "--version"]));
    if !installed && !steps::answers(Command::new(&own).args(["deny", "--version"])) {
        let mut install = workspace.cargo();
        install.args(["install", "--locked", "--version", DENY_VERSION, "--root"]).arg(&root).arg("cargo-deny");
        // A target directory that survives would only be in the way of the next version.
        install.env("CARGO_TARGET_DIR", root.join("build"));
        if !steps::run("installing cargo-deny (a few minutes, once)", &mut install)? {
            return Ok(None);
        }
        let _ = std::fs::remove_dir_all(root.join("build"));
    }
    let path = workspace.root().to_owned();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Ok(Some(move || {
        let mut command = Command::new(if installed { Path::new(&cargo) } else { &own });
        command.arg("deny").current_dir(&path);
        command
    }))
}

/// The release of cargo-deny that is built where none is installed.
const DENY_VERSION: &str = "0.20.2";

fn forget(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::File { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}
