//! `ringside game`: what is served.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::connection::{Connection, component};
use super::{CliResult, Common, table};
use crate::api::{GameInfo, GameList};

/// `ringside game --help`.
#[derive(Debug, Subcommand)]
pub enum GameCommand {
    /// List the games, each with the version that new sessions run.
    #[command(after_help = "Example:\n  ringside game list")]
    List,
    /// Show one game and all its versions.
    #[command(after_help = "Example:\n  ringside game show pong")]
    Show(ShowArgs),
}

/// Which game.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Its name.
    game: String,
}

pub async fn run(common: &Common, command: &GameCommand) -> CliResult {
    let node = Connection::find(common)?;
    match command {
        GameCommand::List => {
            let games: GameList = node.get("/v1/games").await?;
            common.print(&games, |games| format!("{}{}", list(&games.games), table::covers(&games.covers)));
        }
        GameCommand::Show(args) => {
            let game: GameInfo = node.get(&format!("/v1/games/{}", component(&args.game))).await?;
            common.print(&game, show);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(games: &[GameInfo]) -> String {
    if games.is_empty() {
        return "No games yet. Upload one: ringside push FILE.wasm".to_owned();
    }
    let rows: Vec<Vec<String>> = games
        .iter()
        .map(|game| {
            vec![
                game.game.clone(),
                game.version.to_string(),
                table::short(&game.module).to_owned(),
                table::size(game.size_bytes),
                pace(game),
                players(game),
                game.sessions.to_string(),
            ]
        })
        .collect();
    table::columns(&["game", "version", "module", "size", "pace", "players", "sessions"], &rows)
}

fn show(game: &GameInfo) -> String {
    let facts = table::facts(&[
        ("game", game.game.clone()),
        ("version", game.version.to_string()),
        ("module", game.module.clone()),
        ("pace", pace(game)),
        ("players", players(game)),
        ("late joining", if game.late_join { "yes" } else { "no" }.to_owned()),
        ("inputs", format!("{} a second and player", game.input_rate)),
        ("views", format!("{} a second", game.view_rate)),
        ("tier", game.tier.clone()),
        ("partition", game.partition_policy.clone()),
        ("sessions", game.sessions.to_string()),
    ]);
    let rows: Vec<Vec<String>> = game
        .versions
        .iter()
        .map(|version| vec![version.version.to_string(), version.module.clone(), table::size(version.size_bytes)])
        .collect();
    format!("{facts}\n{}", table::columns(&["version", "module", "size"], &rows))
}

fn pace(game: &GameInfo) -> String {
    match game.tick_rate {
        0 => "event-driven".to_owned(),
        rate => format!("{rate} Hz"),
    }
}

fn players(game: &GameInfo) -> String {
    if game.min_players == game.max_players {
        return game.max_players.to_string();
    }
    format!("{} to {}", game.min_players, game.max_players)
}
