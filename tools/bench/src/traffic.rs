//! The shape of a room's traffic, the same for every server that is compared.

use std::time::Duration;

use clap::Args;

/// Players of a match.
pub const PLAYERS: usize = 8;
/// Inputs a player sends and views a player gets, a second.
pub const RATE: u64 = 20;
/// Time between two of them.
pub const INTERVAL: Duration = Duration::from_millis(1000 / RATE);
/// Into how many phases of one interval a load spreads its players.
pub const PHASES: usize = 20;
/// Players that share a socket of the load.
pub const PLAYERS_A_SOCKET: usize = 100;
/// How much, and how large.
#[derive(Args, Debug, Clone, Copy)]
pub struct Traffic {
    /// Matches of eight players.
    #[arg(long, default_value_t = 50)]
    pub matches: usize,
    /// Bytes of a datagram to the server.
    #[arg(long, default_value_t = 24)]
    pub up: usize,
    /// Bytes of a datagram to a player.
    #[arg(long, default_value_t = 100)]
    pub down: usize,
}

impl Traffic {
    /// Players of all matches.
    pub fn players(&self) -> usize {
        self.matches * PLAYERS
    }

    /// The same as command line arguments.
    pub fn arguments(&self) -> Vec<String> {
        [("--matches", self.matches), ("--up", self.up), ("--down", self.down)]
            .iter()
            .flat_map(|(name, value)| [(*name).to_owned(), value.to_string()])
            .collect()
    }
}
