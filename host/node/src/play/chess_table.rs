//! Chess in a terminal: the board as text, moves as lines.

use std::io::{self, Write};
use std::time::Duration;

use ringside_client::{Client, Event};
use ringside_guest::{decode, encode};
use ringside_protocol::ids::Slot;

use super::lines;

const HELP: &str = "Moves: e4, Nf3, O-O, exd8=Q, or e2e4. Also: draw, claim, resign, quit.";

/// Plays until the game is over or the player quits; answers how it ended.
///
/// # Errors
/// The terminal's.
pub async fn play(mut client: Client) -> io::Result<String> {
    let slot = client.attachment().slot;
    let mut lines = lines::typed();
    let mut last_position = String::new();
    println!("You play {}. {HELP}", colour(slot));
    loop {
        tokio::select! {
            line = lines.recv() => {
                let line = line.unwrap_or_else(|| "quit".to_owned());
                match input(&line) {
                    Said::Quit => {
                        client.leave().await;
                        return Ok("You left.".to_owned());
                    }
                    Said::Nothing => println!("{HELP}"),
                    Said::Input(input) => {
                        if let Err(error) = client.send(encode(&input)) {
                            println!("not sent: {error}");
                        }
                    }
                }
            }
            event = client.next() => {
                let Some(event) = event else { return Ok("The game is over.".to_owned()) };
                if let Some(end) = see(event, slot, &mut last_position) {
                    return Ok(end);
                }
            }
        }
        io::stdout().flush()?;
    }
}

enum Said {
    Input(chess::Input),
    Quit,
    Nothing,
}

fn input(line: &str) -> Said {
    match line.trim() {
        "" | "help" | "?" => Said::Nothing,
        "quit" | "q" | "exit" => Said::Quit,
        "resign" => Said::Input(chess::Input::Resign),
        "draw" => Said::Input(chess::Input::OfferDraw),
        "claim" => Said::Input(chess::Input::ClaimDraw),
        san => Said::Input(chess::Input::Move(san.chars().take(16).collect())),
    }
}

/// What an event means; the text ends the game.
fn see(event: Event, slot: Slot, last_position: &mut String) -> Option<String> {
    match event {
        Event::View(view) => {
            let view: chess::View = decode(&view.body).ok()?;
            if *last_position != view.fen {
                println!("\n{}", table(&view, slot));
                last_position.clone_from(&view.fen);
            }
        }
        Event::Message { body, .. } => match decode::<chess::Output>(&body).ok()? {
            chess::Output::Rejected { reason } => println!("no: {reason}"),
            chess::Output::DrawOffered => println!("a draw is offered: `draw` accepts it"),
            chess::Output::Played { .. } => {}
        },
        Event::Finished { outcome } => {
            return Some(match decode::<chess::Outcome>(&outcome) {
                Ok(outcome) => end(&outcome, slot),
                Err(_) => "The game is over.".to_owned(),
            });
        }
        Event::Detached { reason, message } | Event::Failed { reason, message } => {
            return Some(super::out(reason, &message));
        }
        Event::Disconnected { .. } => println!("connection lost, trying again"),
        _ => {}
    }
    None
}

fn end(outcome: &chess::Outcome, slot: Slot) -> String {
    let how = format!("{:?}", outcome.reason).to_lowercase();
    match outcome.winner {
        Some(winner) if winner.0 == slot.0 => format!("You won ({how})."),
        Some(_) => format!("You lost ({how})."),
        None => format!("A draw ({how})."),
    }
}

fn colour(slot: Slot) -> &'static str {
    if slot.0 == 0 { "white" } else { "black" }
}

/// The board from the player's side, clocks, and whose turn it is.
fn table(view: &chess::View, slot: Slot) -> String {
    let board = view.fen.split(' ').next().unwrap_or_default();
    let mut ranks: Vec<String> = board.split('/').map(squares).collect();
    let mut files: String = "a b c d e f g h".to_owned();
    let mut numbers: Vec<u32> = (1..=8).rev().collect();
    if slot.0 == 1 {
        ranks = ranks.iter().rev().map(|rank| rank.chars().rev().collect()).collect();
        files = files.chars().rev().collect();
        numbers.reverse();
    }
    let rows: String = ranks.iter().zip(numbers).map(|(rank, number)| format!("  {number}  {rank}\n")).collect();
    let whose = if view.fen.contains(" w ") { "white" } else { "black" };
    let turn = if whose == colour(slot) { "your move" } else { "their move" };
    let clock = |slot: usize| {
        let left = Duration::from_millis(view.clocks_ms[slot]).as_secs();
        format!("{}:{:02}", left / 60, left % 60)
    };
    let last = view.last.as_ref().map(|san| format!("last {san}, ")).unwrap_or_default();
    format!("{rows}\n     {files}\n{last}{whose} to move ({turn})  white {}  black {}", clock(0), clock(1))
}

fn squares(rank: &str) -> String {
    let mut squares = Vec::new();
    for piece in rank.chars() {
        match piece.to_digit(10) {
            Some(empty) => squares.extend((0..empty).map(|_| "·".to_owned())),
            None => squares.push(piece.to_string()),
        }
    }
    squares.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_board_is_seen_from_the_players_side() {
        let view = chess::View {
            fen: "r3k3/8/8/8/8/8/P7/4K3 w - - 0 1".to_owned(),
            last: Some("Kf1".to_owned()),
            clocks_ms: [61_000, 9_000],
            clock_at_ms: 0,
            result: None,
        };
        let white = table(&view, Slot(0));
        assert!(white.starts_with("  8  r · · · k · · ·\n") && white.contains("  2  P · · · · · · ·\n"), "{white}");
        assert!(white.ends_with("last Kf1, white to move (your move)  white 1:01  black 0:09"), "{white}");
        let black = table(&view, Slot(1));
        assert!(black.starts_with("  1  · · · K · · · ·\n") && black.contains("h g f e d c b a"), "{black}");
    }
}
