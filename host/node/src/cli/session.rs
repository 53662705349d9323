//! `ringside session`: running matches.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use reqwest::Method;
use ringside_core::ids::{GameName, SessionId, SessionKey};

use super::connection::{Connection, component};
use super::saving::Saving;
use super::{CliError, CliResult, Common, table};
use crate::api::{CreateSession, CreatedSession, EndSession, SessionInfo};
use crate::hex;
use crate::play::GAMES;

/// `ringside session --help`.
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// Create a session.
    #[command(after_help = "Examples:\n  ringside session create pong\n  ringside session create pong --key final \
                            --record\n\nAsking twice with one key gives one session.")]
    Create(CreateArgs),
    /// List live sessions, and those that ended last.
    #[command(after_help = "Examples:\n  ringside session list\n  ringside session list --ended")]
    List(ListArgs),
    /// Show one session: its players, where its log stands, what it costs.
    #[command(after_help = "Example:\n  ringside session show pong/final")]
    Show(SessionArgs),
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
}

/// What to list.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// List the sessions that ended last instead.
    #[arg(long)]
    ended: bool,
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
            let sessions: Vec<SessionInfo> =
                node.get(if args.ended { "/v1/sessions?ended=true" } else { "/v1/sessions" }).await?;
            let wanted = |session: &SessionInfo| args.game.as_ref().is_none_or(|game| *game == session.game);
            let sessions: Vec<SessionInfo> = sessions.into_iter().filter(wanted).collect();
            common.print(&sessions, |sessions| list(sessions, args.ended));
        }
        SessionCommand::Show(args) => {
            let session: SessionInfo = node.get(&path(&args.session)?).await?;
            common.print(&session, show);
        }
        SessionCommand::End(args) => {
            let body = EndSession { reason: args.reason.clone() };
            let session: SessionInfo = node.send(Method::DELETE, &path(&args.session)?, &body).await?;
            common.print(&session, |session| format!("{} ended", session.session));
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
    };
    let created: CreatedSession = node.send(Method::POST, "/v1/sessions", &body).await?;
    common.print(&created, |created| {
        let news = if created.created { "created" } else { "was there already" };
        let facts = table::facts(&[
            ("session", format!("{} ({news})", created.session)),
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
    format!("Join it: with the game's own client, as {game}/{key}, and a token: ringside token --player NAME")
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

fn list(sessions: &[SessionInfo], ended: bool) -> String {
    if sessions.is_empty() {
        let none =
            if ended { "No session has ended yet." } else { "No sessions. Create one: ringside session create GAME" };
        return none.to_owned();
    }
    if ended {
        let rows: Vec<Vec<String>> = sessions.iter().map(ended_row).collect();
        return table::columns(&["session", "ended", "reason"], &rows);
    }
    let rows: Vec<Vec<String>> = sessions.iter().map(live_row).collect();
    table::columns(&["session", "state", "worker", "players", "age", "recorded"], &rows)
}

/// By its whole name: a key may have been used again.
fn ended_row(session: &SessionInfo) -> Vec<String> {
    let ago = format!("{} ago", table::duration(session.age_s));
    vec![session.session.clone(), ago, table::plain(session.reason.as_deref().unwrap_or_default())]
}

fn live_row(session: &SessionInfo) -> Vec<String> {
    vec![
        format!("{}/{}", session.game, session.key),
        session.state.clone(),
        session.worker.map_or_else(|| "-".to_owned(), |worker| worker.to_string()),
        players(session),
        table::duration(session.age_s),
        if session.record { "yes" } else { "no" }.to_owned(),
    ]
}

fn players(session: &SessionInfo) -> String {
    let expected = if session.reserved > 0 { format!(" (+{} expected)", session.reserved) } else { String::new() };
    format!("{}/{}{expected}", session.players, session.seats)
}

fn show(session: &SessionInfo) -> String {
    let mut facts = vec![("session", session.session.clone()), ("state", session.state.clone())];
    if session.state == "ended" {
        // Nothing is known any more of its players or of whether it was recorded.
        facts.push(("ended", format!("{} ago", table::duration(session.age_s))));
    } else {
        facts.extend([
            ("players", players(session)),
            ("age", table::duration(session.age_s)),
            ("recorded", if session.record { "yes" } else { "no" }.to_owned()),
        ]);
    }
    facts.extend(session.worker.map(|worker| ("worker", worker.to_string())));
    facts.extend(session.reason.as_deref().map(|reason| ("reason", table::plain(reason))));
    let Some(detail) = &session.detail else { return table::facts(&facts) };
    facts.extend([
        ("module", detail.module.clone()),
        ("epoch", detail.epoch.to_string()),
        ("position", detail.position.to_string()),
        ("tick", detail.tick.to_string()),
        ("session time", format!("{:.3} s", detail.time_us as f64 / 1e6)),
        ("memory", table::size(detail.memory_bytes)),
        ("CPU", format!("{:.3} s", detail.cpu_us as f64 / 1e6)),
    ]);
    if !detail.stats_hex.is_empty() {
        facts.push(("statistics", format!("{} (hexadecimal)", detail.stats_hex)));
    }
    let counters: Vec<String> = detail.counters.iter().map(|(name, count)| format!("{name} {count}")).collect();
    facts.push(("counters", counters.join(", ")));
    let rows: Vec<Vec<String>> = detail
        .players
        .iter()
        .map(|player| {
            let connected = if player.connected { "yes" } else { "no" };
            vec![
                player.slot.to_string(),
                player.player.clone(),
                connected.to_owned(),
                player.last_input.to_string(),
                player.unacknowledged.to_string(),
            ]
        })
        .collect();
    let players = table::columns(&["slot", "player", "connected", "messages", "unacknowledged"], &rows);
    format!("{}\n{players}", table::facts(&facts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::SessionDetail;

    fn session(state: &str) -> SessionInfo {
        SessionInfo {
            session: "tug/one@000000000000000f".into(),
            game: "tug".into(),
            key: "one".into(),
            state: state.into(),
            worker: Some(0),
            players: 1,
            seats: 2,
            reserved: 0,
            age_s: 61,
            record: true,
            reason: None,
            detail: None,
        }
    }

    #[test]
    fn an_ended_session_is_shown_with_what_is_known_of_it() {
        let over = SessionInfo { reason: Some("finished".into()), worker: None, record: false, ..session("ended") };
        let shown = show(&over);
        assert!(shown.contains("1m01s ago") && shown.contains("finished"), "{shown}");
        assert!(!shown.contains("recorded") && !shown.contains("players"), "not known any more:\n{shown}");
        assert_eq!(
            list(std::slice::from_ref(&over), true).lines().nth(1),
            Some("tug/one@000000000000000f  1m01s ago  finished")
        );
        let detail = SessionDetail { stats_hex: "2a".into(), ..SessionDetail::default() };
        let with_stats = show(&SessionInfo { detail: Some(detail), ..session("live") });
        assert!(with_stats.contains("statistics    2a (hexadecimal)"), "{with_stats}");
        let live = show(&session("live"));
        assert!(live.contains("recorded") && live.contains("1/2"), "{live}");
        assert!(list(&[session("live")], false).contains("tug/one  live   0       1/2      1m01s  yes"));
    }

    #[test]
    fn only_what_the_terminal_client_can_play_is_said_to_be_playable() {
        assert_eq!(how_to_join("pong", "final"), "Join it: ringside play pong --session final");
        assert!(!how_to_join("tug", "one").contains("ringside play"));
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
