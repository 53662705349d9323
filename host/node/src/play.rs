//! Playing the sample games from the command line: as a person in a terminal, or by bots. Everything here is an
//! ordinary client of a node; nothing reaches into one.

pub mod bot;
pub mod brains;
pub mod canvas;
mod chess_bot;
pub mod chess_table;
pub mod screen;
pub mod screens;

/// The games that can be played from here.
pub const GAMES: [&str; 5] = ["pong", "arena", "arena60", "chess", "echo"];

/// What a player is told whose stay was ended.
fn out(reason: ringside_protocol::reason::Reason, message: &str) -> String {
    if message.is_empty() { format!("Out: {reason}.") } else { format!("Out: {}.", crate::cli::plain(message)) }
}
