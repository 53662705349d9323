//! `ringside token`: session tokens for players.

use std::process::ExitCode;

use clap::Args;
use reqwest::Method;

use super::connection::Connection;
use super::{CliError, CliResult, Common};
use crate::api::{IssueToken, IssuedToken};

/// `ringside token --help`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ringside token --player ada\n  ringside token --player ada --game pong --ttl 2h\n\n\
                        A token is a bearer token: whoever has it is that player until it expires."
)]
pub struct TokenArgs {
    /// The player's id: 1 to 64 printable characters without spaces.
    #[arg(long)]
    player: String,
    /// Good for this game only.
    #[arg(long)]
    game: Option<String>,
    /// Good for the session with this key only.
    #[arg(long, value_name = "KEY")]
    session: Option<String>,
    /// How long it is good: a number with s, m, h or d.
    #[arg(long, default_value = "24h", value_parser = ttl)]
    ttl: u64,
    /// Do not let its holder create sessions, only join them.
    #[arg(long)]
    join_only: bool,
}

pub async fn run(common: &Common, args: &TokenArgs) -> CliResult {
    let body = IssueToken {
        player: args.player.clone(),
        game: args.game.clone(),
        session: args.session.clone(),
        ttl_s: args.ttl,
        may_create: !args.join_only,
    };
    let issued = issue(&Connection::find(common)?, &body).await?;
    common.print(&issued, |issued| issued.token.clone());
    Ok(ExitCode::SUCCESS)
}

/// A token from the node.
pub async fn issue(node: &Connection, body: &IssueToken) -> Result<IssuedToken, CliError> {
    node.send(Method::POST, "/v1/tokens", body).await
}

fn ttl(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no duration: expected a number with s, m, h or d, such as 24h, at most 365d");
    seconds(text).filter(|total| (1..=crate::limits::TOKEN_LIFETIME_S).contains(total)).ok_or_else(wrong)
}

/// A number of seconds, minutes, hours or days, in seconds.
pub fn seconds(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1))?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_bounded() {
        assert_eq!([ttl("90s"), ttl("2h"), ttl("365d")], [Ok(90), Ok(7200), Ok(31_536_000)]);
        for bad in ["", "s", "0s", "12", "-1s", "366d", "1w", "99999999999999999999d", "1é"] {
            assert!(ttl(bad).is_err(), "{bad}");
        }
    }
}
