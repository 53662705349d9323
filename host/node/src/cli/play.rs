//! `ringside play`: a person in a terminal, bots, or both.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use ringside_client::{Client, ConnectError, Options, Trust};
use ringside_protocol::frame::Target;
use ringside_protocol::reason::Reason;
use serde::Serialize;

use super::connection::Connection;
use super::{CliError, CliResult, Common, table, token};
use crate::api::{FULL_HINT, IssueToken, NodeInfo};
use crate::hex;
use crate::play::bot::{self, Tally};
use crate::play::{GAMES, brains, chess_table, screen, screens};

/// How long a player's token is good.
const TOKEN_TTL_S: u64 = 86_400;

/// `ringside play --help`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ringside play pong                    play, with whoever comes\n  \
                        ringside play pong --bots 1           play against a bot\n  \
                        ringside play arena --bots 7          play with seven bots\n  \
                        ringside play arena --bots 8 --headless --seconds 30 --json\n\n\
                        Without a terminal only bots play, and a summary is printed.")]
pub struct PlayArgs {
    /// pong, arena, arena60, chess or echo (bots only).
    #[arg(value_parser = game)]
    game: String,
    /// Join the session with this key instead of any.
    #[arg(long, value_name = "KEY")]
    session: Option<String>,
    /// Meet only players who ask for the same criteria.
    #[arg(long, default_value = "", conflicts_with = "session")]
    criteria: String,
    /// Bots that play too; each is a client connection.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=256))]
    bots: u16,
    /// Your player id; drawn if not given.
    #[arg(long)]
    name: Option<String>,
    /// Let only bots play, and print a summary.
    #[arg(long)]
    headless: bool,
    /// How long bots play without you, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
}

fn game(text: &str) -> Result<String, String> {
    if GAMES.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(format!("the terminal client knows {}; other games need a client of their own", GAMES.join(", ")))
}

pub async fn run(common: &Common, args: PlayArgs) -> CliResult {
    let connection = Connection::find(common)?;
    let door = Door::open(connection, &args).await?;
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if args.headless || common.json || !terminal || args.game == "echo" {
        return headless(common, &door, &args).await;
    }
    let name = args.name.clone().unwrap_or_else(|| drawn_name("player"));
    let client = door.connect(&name, door.target.clone()).await?;
    let bots = door.bots(&client, &args, None).await?;
    let ended = match screens::screen(&args.game) {
        Some(screen) => screen::play(client, screen).await,
        None => chess_table::play(client).await,
    };
    for bot in bots {
        bot.abort();
    }
    let ended = ended.map_err(|error| CliError::new("terminal", format!("the terminal failed: {error}"), ""))?;
    table::print(&ended);
    Ok(ExitCode::SUCCESS)
}

/// What it takes to connect players to a node.
struct Door {
    connection: Connection,
    node: NodeInfo,
    certificate: [u8; 32],
    target: Target,
}

impl Door {
    async fn open(connection: Connection, args: &PlayArgs) -> Result<Door, CliError> {
        let node: NodeInfo = connection.get("/v1/node").await?;
        let wrong = |what: String| CliError::new("bad_request", what, "");
        let certificate = hex::decode32(&node.certificate_sha256)
            .ok_or_else(|| wrong("the node's certificate hash is not understood".to_owned()))?;
        let game = args.game.parse().map_err(|error: ringside_core::ids::IdError| wrong(error.to_string()))?;
        let target = match &args.session {
            Some(key) => {
                let key = key.strip_prefix(&format!("{game}/")).unwrap_or(key);
                let key = key.parse().map_err(|error: ringside_core::ids::IdError| wrong(error.to_string()))?;
                Target::Session { game, key }
            }
            None => Target::FindOrCreate { game, criteria: args.criteria.clone() },
        };
        Ok(Door { connection, node, certificate, target })
    }

    async fn connect(&self, name: &str, target: Target) -> Result<Client, CliError> {
        let asked = IssueToken {
            player: name.to_owned(),
            game: Some(target.game().to_string()),
            session: None,
            ttl_s: TOKEN_TTL_S,
            may_create: matches!(target, Target::FindOrCreate { .. }),
        };
        let issued = token::issue(&self.connection, &asked).await?;
        let addresses = self.node.workers.iter().filter(|worker| !worker.penalty).map(|worker| worker.address);
        let trust = Trust::CertificateSha256(vec![self.certificate]);
        let mut options = Options::new(addresses, trust, issued.token, &format!("{}/any", target.game()))
            .map_err(|error| CliError::new("bad_request", error.to_string(), ""))?;
        options.target = target;
        options.give_up_after = Duration::from_secs(15);
        Client::connect(options).await.map_err(|error| refused(&error))
    }

    /// Bots in the session of `first`.
    async fn bots(
        &self,
        first: &Client,
        args: &PlayArgs,
        until: Option<Instant>,
    ) -> Result<Vec<tokio::task::JoinHandle<Tally>>, CliError> {
        let session = &first.attachment().session;
        let target = Target::Session { game: session.game.clone(), key: session.key.clone() };
        let mut bots = Vec::new();
        for _ in 0..args.bots {
            let client = self.connect(&drawn_name("bot"), target.clone()).await?;
            let brain =
                brains::brain(&args.game).ok_or_else(|| CliError::new("bad_request", "this game has no bots", ""))?;
            bots.push(tokio::spawn(bot::play(client, brain, until)));
        }
        Ok(bots)
    }
}

fn refused(error: &ConnectError) -> CliError {
    let hint = match error {
        ConnectError::Refused { reason: Reason::NoSuchGame, .. } => {
            "ringside game list shows what is served; ringside push FILE.wasm adds a game"
        }
        ConnectError::Refused { reason: Reason::NoSuchSession, .. } => "ringside session list shows them",
        ConnectError::Refused { reason: Reason::Overloaded, .. } => FULL_HINT,
        ConnectError::Refused { reason: Reason::SessionFull, .. } => "leave out --session, or join another one",
        _ => "",
    };
    CliError::new("refused", format!("the node does not let the player in: {error}"), hint)
}

fn drawn_name(prefix: &str) -> String {
    format!("{prefix}-{}", hex::encode(&crate::random::bytes::<4>()))
}

/// What headless bots did.
#[derive(Debug, Serialize)]
struct Summary {
    game: String,
    session: String,
    bots: u16,
    seconds: f64,
    #[serde(flatten)]
    tally: Tally,
    view_gap_ms: Option<Spread>,
    round_trip_ms: Option<Spread>,
}

/// Half, 99 of 100 and all values are at most this.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Spread {
    p50: f64,
    p99: f64,
    max: f64,
}

impl Spread {
    fn of(mut values_us: Vec<u64>) -> Option<Spread> {
        values_us.sort_unstable();
        let last = values_us.len().checked_sub(1)?;
        let at = |percent: usize| values_us[last * percent / 100] as f64 / 1000.0;
        Some(Spread { p50: at(50), p99: at(99), max: at(100) })
    }
}

async fn headless(common: &Common, door: &Door, args: &PlayArgs) -> CliResult {
    let start = Instant::now();
    let until = start + Duration::from_secs(args.seconds);
    let first = door.connect(&drawn_name("bot"), door.target.clone()).await?;
    let session = first.attachment().session.to_string();
    let count = args.bots.max(1);
    let others = PlayArgs {
        bots: count - 1,
        criteria: String::new(),
        session: None,
        name: None,
        game: args.game.clone(),
        ..*args
    };
    let mut bots = door.bots(&first, &others, Some(until)).await?;
    let brain = brains::brain(&args.game).ok_or_else(|| CliError::new("bad_request", "this game has no bots", ""))?;
    bots.push(tokio::spawn(bot::play(first, brain, Some(until))));
    let mut tally = Tally::default();
    for bot in bots {
        match bot.await {
            Ok(one) => tally.add(one),
            Err(error) => tally.failures.push(format!("a bot broke: {error}")),
        }
    }
    let failed = !tally.failures.is_empty();
    let summary = Summary {
        game: args.game.clone(),
        session,
        bots: count,
        seconds: start.elapsed().as_secs_f64(),
        view_gap_ms: Spread::of(std::mem::take(&mut tally.gaps_us)),
        round_trip_ms: Spread::of(std::mem::take(&mut tally.round_trips_us)),
        tally,
    };
    common.print(&summary, text);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn text(summary: &Summary) -> String {
    let spread = |spread: Option<Spread>| match spread {
        Some(Spread { p50, p99, max }) => format!("p50 {p50:.1} ms, p99 {p99:.1} ms, longest {max:.1} ms"),
        None => "none".to_owned(),
    };
    let tally = &summary.tally;
    let per_view = tally.view_bytes.checked_div(tally.views).unwrap_or(0);
    let mut facts = vec![
        ("session", summary.session.clone()),
        ("bots", format!("{} for {:.1} s", summary.bots, summary.seconds)),
        ("views", format!("{} of {per_view} B on average", tally.views)),
        ("between views", spread(summary.view_gap_ms)),
        ("messages", format!("{} sent, {} received, {} rejected", tally.sent, tally.received, tally.rejected)),
        ("round trip", spread(summary.round_trip_ms)),
        ("connections lost", tally.disconnects.to_string()),
    ];
    if tally.finished > 0 {
        facts.push(("finished", format!("the match came to its end for {} bots", tally.finished)));
    }
    for failure in &tally.failures {
        facts.push(("failed", failure.clone()));
    }
    table::facts(&facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_are_read_off_sorted_values() {
        assert_eq!(Spread::of(vec![]), None);
        let spread = Spread::of((1..=101).rev().map(|ms| ms * 1000).collect()).unwrap();
        assert_eq!(spread, Spread { p50: 51.0, p99: 100.0, max: 101.0 });
    }

    #[test]
    fn unknown_games_are_refused_with_what_is_known() {
        assert!(game("mahjong").unwrap_err().contains("pong, arena, arena60, chess, echo"));
    }
}
