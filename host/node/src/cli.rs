//! The command line: what can be said, one file a command for what then happens. Tables for people by default, one
//! JSON document with `--json`; errors go to standard error and say what to do.

mod connection;
mod game;
mod new;
mod node;
mod play;
mod progress;
mod push;
mod replay;
mod saving;
mod session;
mod table;
mod token;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::api::Failure;
pub(crate) use table::{facts, plain, print};

/// Everything that can be said.
#[derive(Debug, Parser)]
#[command(
    name = "ringside",
    version,
    about = "Hosts game sessions: WebAssembly match logic, players over QUIC.",
    after_help = "A first match:\n  ringside node                      start a node (keep it running)\n  \
                  ringside new mygame                make a game\n  \
                  ringside push mygame               build and upload it\n  \
                  ringside play mygame               play it"
)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Heading of the options that say which node is meant; without it they would stand among a command's own.
const WHICH_NODE: &str = "Which node";

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// State directory of the node to talk to, or to run on [default: .ringside; to talk, also one in a directory above].
    #[arg(long, global = true, env = "RINGSIDE_STATE", value_name = "DIR", help_heading = WHICH_NODE)]
    state: Option<PathBuf>,
    /// URL of the admin API, where the state directory is not at hand.
    #[arg(long, global = true, env = "RINGSIDE_ADMIN_URL", value_name = "URL", requires = "admin_token")]
    #[arg(help_heading = WHICH_NODE)]
    admin_url: Option<String>,
    /// Bearer token of the admin API (the content of admin.token), or @FILE.
    #[arg(long, global = true, env = "RINGSIDE_ADMIN_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    #[arg(help_heading = WHICH_NODE)]
    admin_token: Option<String>,
    /// Print one JSON document instead of text.
    #[arg(long, global = true, display_order = 100)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node, with everything embedded, until SIGINT or SIGTERM; or ask one how it is.
    Node(Box<node::NodeArgs>),
    /// Make a game: a small complete one, with tests, to play and to change.
    New(new::NewArgs),
    /// Build a game and upload it, or upload its module; it becomes the version that new sessions run.
    Push(push::PushArgs),
    /// Games that the node serves.
    #[command(subcommand)]
    Game(game::GameCommand),
    /// Sessions: running matches.
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// Issue a session token for a player.
    Token(token::TokenArgs),
    /// Fold a recording again and compare the hashes.
    Replay(replay::ReplayArgs),
    /// Play a game in the terminal, or let bots play a sample game.
    Play(play::PlayArgs),
}

/// Why a command failed, for whoever typed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CliError(pub Failure);

impl CliError {
    /// An error with a code, what is wrong, and what to do.
    pub fn new(error: &str, what: impl Into<String>, hint: impl Into<String>) -> Self {
        CliError(Failure { error: error.to_owned(), what: what.into(), hint: hint.into() })
    }
}

type CliResult = Result<ExitCode, CliError>;

/// Parses the process's arguments and does what they say.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.common.json;
    match run(cli) {
        Ok(code) => code,
        Err(CliError(failure)) => {
            report(&failure, json);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> CliResult {
    let common = &cli.common;
    match cli.command {
        Command::Node(args) => match &args.command {
            None => node::run(common, &args),
            Some(command) => block_on(node::talk(common, command)),
        },
        Command::Replay(args) => replay::run(common, &args),
        Command::New(args) => new::run(common, &args),
        Command::Push(args) => block_on(push::run(common, &args)),
        Command::Game(command) => block_on(game::run(common, &command)),
        Command::Session(command) => block_on(session::run(common, &command)),
        Command::Token(args) => block_on(token::run(common, &args)),
        Command::Play(args) => block_on(play::run(common, args)),
    }
}

/// For commands that talk to a running node.
fn block_on(command: impl Future<Output = CliResult>) -> CliResult {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| CliError::new("internal", format!("cannot start: {error}"), ""))?;
    runtime.block_on(command)
}

fn report(failure: &Failure, json: bool) {
    if json {
        return table::complain(&serde_json::to_string(failure).unwrap_or_default());
    }
    // What a guest said may hold anything: control characters do not reach a terminal.
    table::complain(&format!("error: {}", table::plain(&failure.what)));
    if !failure.hint.is_empty() {
        table::complain(&format!("  hint: {}", failure.hint));
    }
}

impl Common {
    fn state(&self) -> PathBuf {
        self.state.clone().unwrap_or_else(|| crate::config::Config::default().state)
    }

    /// The state directory of a node that runs: where none is named, the nearest one in this directory and those above.
    fn state_of_node(&self) -> PathBuf {
        let state = self.state();
        if self.state.is_some() || state.is_absolute() {
            return state;
        }
        let here = std::env::current_dir().unwrap_or_default();
        nearest_node(&here, &state).unwrap_or(state)
    }

    /// Prints `value` as JSON, or what `text` makes of it.
    fn print<T: serde::Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) {
        let out = if self.json { serde_json::to_string_pretty(value).unwrap_or_default() } else { text(value) };
        table::print(&out);
    }
}

/// The nearest directory called `state`, in `here` or above, on which a node runs. As its file says where an admin
/// token may be sent, one above counts only if it belongs to whoever asks.
fn nearest_node(here: &Path, state: &Path) -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt;

    let owner = |path: &Path| std::fs::metadata(path).ok().map(|metadata| metadata.uid());
    // SAFETY: asks for a number, and cannot fail.
    let me = unsafe { libc::geteuid() };
    here.ancestors().map(|directory| directory.join(state)).find(|candidate| {
        let own = candidate.parent() == Some(here) || owner(candidate) == Some(me);
        own && candidate.join("node.json").is_file()
    })
}

#[cfg(test)]
mod tests;
