//! `ringside play`: a person in a terminal, bots, or both.

mod summary;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use ringside_client::{Arrival, Attachment, Client, ConnectError, Options, Trust};
use ringside_core::ids::{GameName, NodeId};
use ringside_protocol::frame::Target;
use ringside_protocol::reason::Reason;

use super::connection::Connection;
use super::{CliError, CliResult, Common, table, token};
use crate::api::{FULL_HINT, IssueToken, NodeInfo};
use crate::hex;
use crate::play::bot::{self, Tally};
use crate::play::{GAMES, brains, chess_table, console, lines, screen, screens};
use summary::{Spread, Summary};

/// How long a player's token is good.
const TOKEN_TTL_S: u64 = 86_400;

/// `ringside play --help`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ringside play pong                    play, with whoever comes\n  \
                        ringside play pong --bots 1           play against a bot\n  \
                        ringside play arena --bots 7          play with seven bots\n  \
                        ringside play arena --bots 8 --headless --seconds 30 --json\n  \
                        ringside play mygame --name ann       play a game of your own that speaks text\n\n\
                        Without a terminal only bots play the sample games, and a summary is printed. Games that \
                        speak text\nare played line by line, from a terminal or not; /quit leaves.")]
pub struct PlayArgs {
    /// pong, arena, arena60, chess or echo (bots only); or any game that speaks text.
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
    /// Have the node pass everything on, instead of connecting to the one that leads the match.
    #[arg(long)]
    relay: bool,
    /// Ask the node by HTTPS where the match is, and go straight there.
    #[arg(long, conflicts_with = "relay")]
    resolve: bool,
    /// Let only bots play, and print a summary.
    #[arg(long)]
    headless: bool,
    /// How long bots play without you, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
}

fn game(text: &str) -> Result<String, String> {
    let name: Result<GameName, _> = text.parse();
    name.map(|name| name.to_string()).map_err(|error| error.to_string())
}

pub async fn run(common: &Common, args: PlayArgs) -> CliResult {
    let drawn = GAMES.contains(&args.game.as_str());
    if !drawn && (args.headless || common.json || args.bots > 0) {
        return Err(no_bots(&args.game));
    }
    let connection = Connection::find(common)?;
    let door = Door::open(connection, &args).await?;
    if !drawn {
        return by_text(&door, &args).await;
    }
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if args.headless || common.json || !terminal || args.game == "echo" {
        return headless(common, &door, &args).await;
    }
    let name = args.name.clone().unwrap_or_else(|| drawn_name("player"));
    let client = door.connect(&name, door.target.clone()).await?;
    let bots = door.bots(&client, &args, None).await?;
    let place = place(client.attachment());
    let ended = match screens::screen(&args.game) {
        Some(screen) => screen::play(client, screen).await,
        None => chess_table::play(client).await,
    };
    for bot in bots {
        bot.abort();
    }
    let ended = ended.map_err(|error| CliError::new("terminal", format!("the terminal failed: {error}"), ""))?;
    table::print(&format!("{ended}\nThe match was on {place}."));
    Ok(ExitCode::SUCCESS)
}

/// Where a match is, and how the player came there.
fn place(attachment: &Attachment) -> String {
    let how = match attachment.arrival {
        Arrival::Direct => "direct".to_owned(),
        Arrival::Resolved => "direct, resolved".to_owned(),
        Arrival::Redirected(1) => "redirected".to_owned(),
        Arrival::Redirected(times) => format!("redirected {times} times"),
        Arrival::Relayed => "relayed".to_owned(),
    };
    format!("node {}, worker {} ({how})", NodeId(attachment.node), attachment.worker)
}

/// A game that this program does not know, line by line.
async fn by_text(door: &Door, args: &PlayArgs) -> CliResult {
    let name = args.name.clone().unwrap_or_else(|| drawn_name("player"));
    let client = door.connect(&name, door.target.clone()).await?;
    let session = &client.attachment().session;
    table::print(&format!(
        "You are {name} in {}/{} on {}. What you type goes to the game; /quit leaves.",
        session.game,
        session.key,
        place(client.attachment())
    ));
    let ended = console::play(client, lines::typed(), table::print).await.map_err(|error| {
        let hint = "the game needs a client of its own, such as one made with the crate ringside-client; the console \
                    plays games whose Input, Output and View are String";
        CliError::new("not_text", format!("{} cannot be played here: {error}", args.game), hint)
    })?;
    table::print(&ended);
    Ok(ExitCode::SUCCESS)
}

fn no_bots(game: &str) -> CliError {
    CliError::new(
        "no_bots",
        format!("only the sample games have bots ({}), and {game} is none of them", GAMES.join(", ")),
        format!(
            "play it yourself, in as many terminals as it needs players: ringside play {game}; or let the game itself \
             play for who is missing, as a new one of `ringside new` does"
        ),
    )
}

/// What it takes to connect players to a node.
struct Door {
    connection: Connection,
    node: NodeInfo,
    certificate: [u8; 32],
    target: Target,
    relay: bool,
    resolve: bool,
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
        Ok(Door { connection, node, certificate, target, relay: args.relay, resolve: args.resolve })
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
        // This node's first; should it end, the others know what became of the match.
        let own = self.node.workers.iter().filter(|worker| !worker.penalty).map(|worker| worker.address);
        let addresses = own.chain(self.node.other_doors.iter().map(|door| door.address));
        let others = self.node.other_doors.iter().filter_map(|door| hex::decode32(&door.certificate_sha256));
        let trust = Trust::CertificateSha256([self.certificate].into_iter().chain(others).collect());
        let mut options = Options::new(addresses, trust, issued.token, &format!("{}/any", target.game()))
            .map_err(|error| CliError::new("bad_request", error.to_string(), ""))?;
        options.target = target;
        options.relay = self.relay;
        if self.resolve {
            options = options.resolve(&self.node.resolve);
        }
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
            "ringside game list shows what is served; ringside push adds a game"
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

async fn headless(common: &Common, door: &Door, args: &PlayArgs) -> CliResult {
    let start = Instant::now();
    let until = start + Duration::from_secs(args.seconds);
    let first = door.connect(&drawn_name("bot"), door.target.clone()).await?;
    let attachment = first.attachment();
    let (session, place) = (attachment.session.to_string(), place(attachment));
    let (node, worker) = (NodeId(attachment.node).to_string(), attachment.worker.0);
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
        place,
        node,
        worker,
        bots: count,
        seconds: start.elapsed().as_secs_f64(),
        view_gap_ms: Spread::of(std::mem::take(&mut tally.gaps_us)),
        round_trip_ms: Spread::of(std::mem::take(&mut tally.round_trips_us)),
        tally,
    };
    common.print(&summary, summary::text);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_game_may_be_played_but_must_be_called_like_one() {
        assert_eq!(game("mahjong"), Ok("mahjong".to_owned()));
        assert!(game("Mah Jong").unwrap_err().contains("a-z"));
    }

    #[test]
    fn unknown_games_have_no_bots() {
        let CliError(failure) = no_bots("mahjong");
        assert!(failure.what.contains("pong, arena, arena60, chess, echo"), "{failure:?}");
        assert!(failure.hint.contains("ringside play mahjong"), "{failure:?}");
    }
}
