//! Runs other programs, visibly: a headline, their output as it comes, and how long they took.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::workspace::Error;

/// Prints a headline for what comes next.
pub fn headline(name: &str) {
    eprintln!("\n==> {name}");
}

/// Prints a text; a reader that has gone away (`| head`) is no error.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Runs a command with a headline; its output goes straight to the terminal. Says whether it succeeded.
pub fn run(name: &str, command: &mut Command) -> Result<bool, Error> {
    headline(name);
    let started = Instant::now();
    let status = command.status().map_err(|source| cannot_start(command, source))?;
    let verdict = if status.success() { "ok" } else { "FAILED" };
    eprintln!("    {name}: {verdict} ({:.1} s)", started.elapsed().as_secs_f64());
    Ok(status.success())
}

/// As [`run`], for a step without which the rest makes no sense.
pub fn require(name: &str, command: &mut Command) -> Result<(), Error> {
    if run(name, command)? { Ok(()) } else { Err(Error::Step(name.to_owned())) }
}

/// As [`run`], and also hands back everything that the command wrote.
pub fn run_and_keep(name: &str, command: &mut Command) -> Result<(bool, String), Error> {
    headline(name);
    let started = Instant::now();
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| cannot_start(command, source))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let output = std::thread::scope(|scope| {
        let stdout = scope.spawn(|| stdout.map(pass_on).unwrap_or_default());
        let stderr = stderr.map(pass_on).unwrap_or_default();
        stdout.join().unwrap_or_default() + &stderr
    });
    let status = child.wait().map_err(|source| cannot_start(command, source))?;
    let verdict = if status.success() { "ok" } else { "FAILED" };
    eprintln!("    {name}: {verdict} ({:.1} s)", started.elapsed().as_secs_f64());
    Ok((status.success(), output))
}

/// Whether a program is there and answers `--version` (or another harmless question).
pub fn answers(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn pass_on(stream: impl std::io::Read) -> String {
    let mut kept = String::new();
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
        // The terminal may be gone; what was said is still kept.
        let _ = std::io::stderr().write_all(&line);
        kept.push_str(&String::from_utf8_lossy(&line));
        line.clear();
    }
    kept
}

fn cannot_start(command: &Command, source: std::io::Error) -> Error {
    Error::Start { program: command.get_program().to_string_lossy().into_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_of_both_streams_is_kept_and_failure_is_seen() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; exit 3"]);
        let (succeeded, output) = run_and_keep("a test", &mut command).unwrap();
        assert!(!succeeded);
        assert_eq!(output, "out\nerr\n");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run("a test", &mut Command::new("no-such-program-here")).unwrap_err();
        assert!(error.to_string().contains("no-such-program-here"));
    }
}
