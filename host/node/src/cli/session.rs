//! `ringside session`: running matches.

mod shown;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use reqwest::Method;
use ringside_core::ids::{GameName, SessionId, SessionKey};

use super::connection::{Connection, component};
use super::saving::Saving;
use super::{CliError, CliResult, Common, table};
use crate::api::{
    CreateSession, CreatedSession, EndSession, Explanation, MoveSession, Moved, SessionInfo, SessionList,
};
use crate::hex;
use crate::play::GAMES;
use shown::Listing;

/// `ringside session --help`.
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// Create a session.
    #[command(after_help = "Examples:\n  ringside session create pong\n  ringside session create pong --key final \
                            --record\n\nAsking twice with one key gives one session.")]
    Create(CreateArgs),
    /// List live sessions, those that are in the store until somebody asks for them, or those that ended last.
    #[command(after_help = "Examples:\n  ringside session list\n  ringside session list --evicted\n  \
                            ringside session list --ended")]
    List(ListArgs),
    /// Show one session: its players, where its log stands, who follows it, what it costs.
    #[command(after_help = "Example:\n  ringside session show pong/final")]
    Show(SessionArgs),
    /// Say why a session is on its node: where it lies on the ring, and what the nodes' loads were.
    #[command(after_help = "Example:\n  ringside session explain pong/final")]
    Explain(SessionArgs),
    /// Have another node lead a session, and wait until it does; its players go on there. A node that does not follow it yet
    /// follows it first, those of games that ask for no followers for as long as that takes.
    #[command(after_help = "Example:\n  ringside session move arena/final --to 3")]
    Move(MoveArgs),
    /// Put a session into the store that nobody sits in, now rather than when it has been idle for long, and wait until it is
    /// there. It goes on when somebody asks for it, or when a timer of it is due. Sessions of games that tick stay.
    #[command(after_help = "Example:\n  ringside session evict lobby/north")]
    Evict(SessionArgs),
    /// End a session; its players are told.
    #[command(after_help = "Example:\n  ringside session end pong/final --reason \"the hall closes\"")]
    End(EndArgs),
    /// Save a session's recording to a file, for `ringside replay`.
    #[command(after_help = "Examples:\n  ringside session recording pong/final --output final.recording\n  \
                            ringside replay final.recording")]
    Recording(RecordingArgs),
}

/// A new session.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The game.
    game: String,
    /// Its key; drawn if not given.
    #[arg(long)]
    key: Option<String>,
    /// What the game's `start` gets, as hexadecimal digits.
    #[arg(long, value_name = "HEX", conflicts_with = "config_file")]
    config_hex: Option<String>,
    /// What the game's `start` gets, as the bytes of a file.
    #[arg(long, value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Record its log.
    #[arg(long)]
    record: bool,
    /// Let in only those who know its key; others are not sent to it.
    #[arg(long)]
    private: bool,
    /// Players who ask for any match with these criteria may be sent to it.
    #[arg(long, default_value = "", conflicts_with = "private")]
    criteria: String,
    /// Have this node lead it, by its number, and no other [default: by the ring].
    #[arg(long, value_name = "N")]
    node: Option<String>,
}

/// What to list.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// List the sessions that ended last instead.
    #[arg(long)]
    ended: bool,
    /// List the sessions that nobody leads: they are in the store until somebody asks for them.
    #[arg(long, conflicts_with = "ended")]
    evicted: bool,
    /// Only those of this game.
    #[arg(long)]
    game: Option<String>,
}

/// Which session.
#[derive(Debug, Args)]
pub struct SessionArgs {
    /// `game/key` or `game/key@incarnation`.
    session: String,
}

/// Which session, and where to.
#[derive(Debug, Args)]
pub struct MoveArgs {
    /// `game/key` or `game/key@incarnation`.
    session: String,
    /// The node that is to lead it: its number, or the beginning of it, as `ringside node list` shows it.
    #[arg(long, value_name = "NODE")]
    to: String,
}

/// Which session, and why.
#[derive(Debug, Args)]
pub struct EndArgs {
    /// `game/key` or `game/key@incarnation`.
    session: String,
    /// Why, for its players.
    #[arg(long, default_value = "ended by an operator")]
    reason: String,
}

/// Which recording, and where to.
#[derive(Debug, Args)]
pub struct RecordingArgs {
    /// `game/key` (the newest recorded session of the key) or `game/key@incarnation`.
    session: String,
    /// The file to write.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

pub async fn run(common: &Common, command: &SessionCommand) -> CliResult {
    let node = Connection::find(common)?;
    match command {
        SessionCommand::Create(args) => create(common, &node, args).await?,
        SessionCommand::List(args) => {
            let (listing, path) = match (args.ended, args.evicted) {
                (true, _) => (Listing::Ended, "/v1/sessions?ended=true"),
                (_, true) => (Listing::Evicted, "/v1/sessions?evicted=true"),
                _ => (Listing::Live, "/v1/sessions"),
            };
            let mut list: SessionList = node.get(path).await?;
            list.sessions.retain(|session| args.game.as_ref().is_none_or(|game| *game == session.game));
            common.print(&list, |list| {
                let more = if list.is_cut { "\nThere are more." } else { "" };
                format!("{}{more}{}", shown::list(&list.sessions, listing), table::covers(&list.covers))
            });
        }
        SessionCommand::Show(args) => {
            let session: SessionInfo = node.get(&path(&args.session)?).await?;
            common.print(&session, shown::show);
        }
        SessionCommand::Explain(args) => {
            let explanation: Explanation = node.get(&format!("{}/placement", path(&args.session)?)).await?;
            common.print(&explanation, shown::explain);
        }
        SessionCommand::Move(args) => {
            let body = MoveSession { to: args.to.clone() };
            let moved: Moved = node.send(Method::POST, &format!("{}/move", path(&args.session)?), &body).await?;
            common.print(&moved, shown::moved);
        }
        SessionCommand::Evict(args) => {
            let session: SessionInfo = node.send(Method::POST, &format!("{}/evict", path(&args.session)?), &()).await?;
            common
                .print(&session, |session| format!("{} is in the store, until somebody asks for it", session.session));
        }
        SessionCommand::End(args) => {
            let body = EndSession { reason: args.reason.clone() };
            let session: SessionInfo = node.send(Method::DELETE, &path(&args.session)?, &body).await?;
            common.print(&session, |session| match session.state.as_str() {
                "ending" => format!(
                    "{} is ending: its followers or the store have not confirmed that yet; `session show` says when it is over",
                    session.session
                ),
                _ => format!("{} ended", session.session),
            });
        }
        SessionCommand::Recording(args) => recording(common, &node, args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(common: &Common, node: &Connection, args: &CreateArgs) -> Result<(), CliError> {
    let config = match (&args.config_hex, &args.config_file) {
        (Some(digits), _) => hex::decode(digits)
            .ok_or_else(|| CliError::new("bad_request", "--config-hex is no even number of hexadecimal digits", ""))?,
        (None, Some(file)) => std::fs::read(file)
            .map_err(|error| CliError::new("bad_file", format!("cannot read {}: {error}", file.display()), ""))?,
        (None, None) => Vec::new(),
    };
    let body = CreateSession {
        game: args.game.clone(),
        key: args.key.clone(),
        config_hex: hex::encode(&config),
        record: args.record,
        private: args.private,
        criteria: args.criteria.clone(),
        node: args.node.clone(),
    };
    let created: CreatedSession = node.send(Method::POST, "/v1/sessions", &body).await?;
    common.print(&created, |created| {
        let news = if created.created { "created" } else { "was there already" };
        let facts = table::facts(&[
            ("session", format!("{} ({news})", created.session)),
            ("node", created.node.clone()),
            ("worker", created.worker.to_string()),
            ("address", created.address.to_string()),
        ]);
        format!("{facts}\n{}", how_to_join(&created.game, &created.key))
    });
    Ok(())
}

/// The terminal client plays the sample games only.
fn how_to_join(game: &str, key: &str) -> String {
    if GAMES.contains(&game) {
        return format!("Join it: ringside play {game} --session {key}");
    }
    format!(
        "Join it: ringside play {game} --session {key}, if the game speaks text; otherwise with its own client, as \
         {game}/{key}, and a token: ringside token --player NAME"
    )
}

async fn recording(common: &Common, node: &Connection, args: &RecordingArgs) -> Result<(), CliError> {
    let mut response = node.download(&format!("{}/recording", path(&args.session)?)).await?;
    let unwritable = |error: std::io::Error| {
        CliError::new("bad_file", format!("cannot write {}: {error}", args.output.display()), "")
    };
    let mut saving = Saving::begin(&args.output).map_err(unwritable)?;
    let mut bytes = 0u64;
    loop {
        let broken = |error: reqwest::Error| CliError::new("unreachable", format!("the answer broke off: {error}"), "");
        let Some(chunk) = response.chunk().await.map_err(broken)? else { break };
        saving.write(&chunk).map_err(unwritable)?;
        bytes += chunk.len() as u64;
    }
    saving.finish().map_err(unwritable)?;
    let output = args.output.display().to_string();
    let saved = serde_json::json!({ "session": args.session, "output": output, "bytes": bytes });
    common.print(&saved, |_| format!("{output}: {}\nReplay it: ringside replay {output}", table::size(bytes)));
    Ok(())
}

/// The path of a session that was named `game/key` or `game/key@incarnation`.
fn path(session: &str) -> Result<String, CliError> {
    let wrong =
        |what: String| CliError::new("bad_request", what, "sessions are named game/key, as `session list` shows them");
    if session.contains('@') {
        let id: SessionId = session.parse().map_err(|error: ringside_core::ids::IdError| wrong(error.to_string()))?;
        return Ok(format!("/v1/sessions/{}/{}@{:016x}", id.game, component(id.key.as_str()), id.incarnation.0));
    }
    let (game, key) = session.split_once('/').ok_or_else(|| wrong(format!("{session:?} names no session")))?;
    let game: GameName = game.parse().map_err(|error: ringside_core::ids::IdError| wrong(error.to_string()))?;
    let key: SessionKey = key.parse().map_err(|error: ringside_core::ids::IdError| wrong(error.to_string()))?;
    Ok(format!("/v1/sessions/{game}/{}", component(key.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_be_playable_here_is_not_promised() {
        assert_eq!(how_to_join("pong", "final"), "Join it: ringside play pong --session final");
        let tug = how_to_join("tug", "one");
        assert!(tug.contains("ringside play tug --session one, if the game speaks text"), "{tug}");
    }

    #[test]
    fn sessions_are_named_by_game_and_key() {
        assert_eq!(path("pong/final").unwrap(), "/v1/sessions/pong/final");
        assert_eq!(path("pong/a@000000000000000f").unwrap(), "/v1/sessions/pong/a@000000000000000f");
        for bad in ["final", "Pong/final", "pong/", "pong/a b", "pong/a/b", "pong/a@1", "../a@0000000000000001"] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }
}
