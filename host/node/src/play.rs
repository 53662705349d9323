//! Playing from the command line: the sample games as a person in a terminal or by bots, and games that speak text.
//! Everything here is an ordinary client of a node; nothing reaches into one.

pub mod bot;
pub mod brains;
pub mod canvas;
mod chess_bot;
pub mod chess_table;
pub mod console;
pub mod lines;
pub mod screen;
pub mod screens;

/// The games that this program draws, and has bots for.
pub const GAMES: [&str; 5] = ["pong", "arena", "arena60", "chess", "echo"];

/// What a player is told whose stay was ended.
fn out(reason: ringside_protocol::reason::Reason, message: &str) -> String {
    if message.is_empty() { format!("Out: {reason}.") } else { format!("Out: {}.", crate::cli::plain(message)) }
}
