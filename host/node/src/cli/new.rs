//! `ringside new`: a game to begin with.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use ringside_core::ids::GameName;
use serde::Serialize;

use super::{CliError, CliResult, Common};
use crate::play::GAMES;
use crate::starter::{self, Sdk};

/// Longest name that a game can have.
const GAME_NAME_BYTES: usize = 40;

/// `ringside new --help`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ringside new mygame\n  ringside new mygame --sdk ../ringside\n\n\
                        Writes ./mygame: a dice game for two, its tests, and the SDK. Nothing is downloaded.")]
pub struct NewArgs {
    /// Name of the game, its package and its directory: a-z, 0-9 and '-'.
    name: String,
    /// Use the SDK in this checkout instead of a copy of it.
    #[arg(long, value_name = "PATH")]
    sdk: Option<PathBuf>,
}

/// What was made, as `--json` shows it.
#[derive(Debug, Serialize)]
struct Made {
    game: String,
    directory: PathBuf,
    /// What to type next.
    next: Vec<Step>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Step {
    command: String,
    does: String,
}

pub fn run(common: &Common, args: &NewArgs) -> CliResult {
    let name = &args.name;
    check(name)?;
    let sdk = match &args.sdk {
        Some(path) => Sdk::find(path).map_err(|error| no_sdk(path, &error))?,
        None => Sdk::Copy,
    };
    let here = std::env::current_dir();
    let here =
        here.map_err(|error| CliError::new("bad_file", format!("there is no current directory: {error}"), ""))?;
    let directory = here.join(name);
    let files = starter::files(name, &sdk);
    let files = files.map_err(|error| CliError::new("internal", format!("the SDK's manifest: {error}"), ""))?;
    starter::write(&directory, &files).map_err(|error| not_written(&directory, &error))?;
    let next = next(name, &program(), named_state(common).as_deref());
    let made = Made { game: name.clone(), directory, next };
    common.print(&made, text);
    Ok(ExitCode::SUCCESS)
}

/// Whether a game, a package and a directory can have that name.
fn check(name: &str) -> Result<(), CliError> {
    let Some(why) = objection(name) else { return Ok(()) };
    let hint = suggestion(name).map_or_else(String::new, |better| format!("ringside new {better}"));
    Err(CliError::new("bad_name", why, hint))
}

/// Why nothing can be called so.
fn objection(name: &str) -> Option<String> {
    if let Err(error) = name.parse::<GameName>() {
        return Some(error.to_string());
    }
    if GAMES.contains(&name) {
        return Some(format!("{name} is a sample game, which `ringside play` draws in its own way"));
    }
    let taken = starter::is_taken(name);
    taken.then(|| format!("{name} cannot be a package's name: it is a word of Rust, of cargo or of the SDK"))
}

/// A name that a game can have, as near as possible to one that it cannot have.
fn suggestion(name: &str) -> Option<String> {
    let lower = name.to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit()).filter(|word| !word.is_empty());
    let joined = words.collect::<Vec<_>>().join("-");
    let named = joined.trim_start_matches(|c: char| !c.is_ascii_lowercase());
    let short: String = named.chars().take(GAME_NAME_BYTES).collect();
    [short.clone(), format!("{short}-game")].into_iter().find(|better| objection(better).is_none())
}

fn no_sdk(path: &Path, error: &std::io::Error) -> CliError {
    CliError::new(
        "no_sdk",
        format!("no SDK in {}: {error}", path.display()),
        "name a checkout of Ringside, or leave out --sdk: the game gets a copy of the SDK then",
    )
}

fn not_written(directory: &Path, error: &std::io::Error) -> CliError {
    let shown = directory.display();
    let (what, hint) = match error.kind() {
        ErrorKind::DirectoryNotEmpty => (format!("{shown} is not empty"), "choose another name; nothing was changed"),
        ErrorKind::NotADirectory => (format!("{shown} is a file"), "choose another name; nothing was changed"),
        _ => (format!("cannot write {shown}: {error}"), "nothing was changed"),
    };
    CliError::new("bad_directory", what, hint)
}

/// The state directory that must be named again when the current directory is another, absolute.
fn named_state(common: &Common) -> Option<PathBuf> {
    let named = common.state.as_ref()?;
    let exported = std::env::var_os("RINGSIDE_STATE").is_some_and(|exported| *named == *exported);
    if exported && named.is_absolute() { None } else { std::path::absolute(named).ok() }
}

/// How this program is called: by its name where that finds it.
fn program() -> String {
    let Ok(me) = std::env::current_exe() else { return "ringside".to_owned() };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let first = std::env::split_paths(&path).map(|directory| directory.join("ringside")).find(|file| file.is_file());
    let same = first.and_then(|file| file.canonicalize().ok()) == me.canonicalize().ok();
    if same { "ringside".to_owned() } else { quoted(&me) }
}

/// A path as a shell takes it for one word.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c));
    if plain { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

fn next(name: &str, program: &str, state: Option<&Path>) -> Vec<Step> {
    let step = |command: String, does: &str| Step { command, does: does.to_owned() };
    let mut steps = vec![step(format!("cd {name}"), "")];
    if let Some(state) = state {
        steps.push(step(format!("export RINGSIDE_STATE={}", quoted(state)), ""));
    }
    steps.extend([
        step("cargo test".to_owned(), "plays matches of it, without a node"),
        step(format!("{program} push"), "builds it and uploads it to the node that runs"),
        step(format!("{program} play {name}"), "plays it: in two terminals, or alone"),
    ]);
    steps
}

fn text(made: &Made) -> String {
    let Made { game, next, .. } = made;
    let width = next.iter().map(|step| step.command.len()).max().unwrap_or(0);
    let lines = next.iter().map(|Step { command, does }| match does.as_str() {
        "" => format!("  {command}\n"),
        does => format!("  {command:<width$}   # {does}\n"),
    });
    format!(
        "{game} is there: pig, a dice game for two, to play and to change. It is all in {game}/src/lib.rs.\n\n\
         Type next:\n{}",
        lines.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(name: &str) -> (String, String) {
        let CliError(failure) = check(name).unwrap_err();
        (failure.what, failure.hint)
    }

    #[test]
    fn names_that_cannot_be_are_refused_with_one_that_can() {
        for good in ["mygame", "a", "tic-tac-toe", "arena61", "nim-21"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let cases = [
            ("My Game", "a-z", "ringside new my-game"),
            ("42tug", "beginning with a letter", "ringside new tug"),
            ("../tug", "a-z", "ringside new tug"),
            ("tug_of_war", "a-z", "ringside new tug-of-war"),
            ("Fn", "a-z", "ringside new fn-game"),
            ("ü", "a-z", ""),
            ("", "a-z", ""),
            ("pong", "is a sample game", "ringside new pong-game"),
            ("match", "a word of Rust", "ringside new match-game"),
            ("serde", "a word of Rust, of cargo or of the SDK", "ringside new serde-game"),
        ];
        for (name, why, hint) in cases {
            let (what, offered) = refusal(name);
            assert!(what.contains(why), "{name}: {what}");
            assert_eq!(offered, hint, "{name}");
        }
        assert_eq!(refusal(&"long".repeat(20)).1, format!("ringside new {}", "long".repeat(10)));
    }

    #[test]
    fn what_to_type_next_is_exact() {
        let next = next("dice", "ringside", Some(Path::new("/srv/my node")));
        let made = Made { game: "dice".to_owned(), directory: "/x/dice".into(), next };
        let text = text(&made);
        assert!(text.contains("  cd dice\n  export RINGSIDE_STATE='/srv/my node'\n  cargo test "), "{text}");
        assert!(text.contains("\n  ringside push") && text.contains("\n  ringside play dice "), "{text}");
    }

    #[test]
    fn paths_are_one_word_to_a_shell() {
        assert_eq!(quoted(Path::new("/usr/bin/ringside")), "/usr/bin/ringside");
        assert_eq!(quoted(Path::new("/it's here")), r"'/it'\''s here'");
    }
}
