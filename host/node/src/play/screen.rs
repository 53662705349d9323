//! The terminal while a game is played with single keys: raw mode, the other screen, restored whatever happens.

use std::io::{self, Write};
use std::time::Duration;

use crossterm::event::{self, Event as TerminalEvent, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::terminal::{self, EnterAlternateScreen, LeaveAlternateScreen};
use crossterm::{cursor, execute};
use ringside_client::{Client, Event};
use tokio::sync::mpsc;

use super::canvas::Canvas;
use super::screens::Screen;

/// How long the keyboard's thread waits for a key before it looks whether it should stop.
const KEY_WAIT: Duration = Duration::from_millis(100);

/// Raw mode and the other screen; given back when dropped.
struct Taken;

impl Taken {
    fn take() -> io::Result<Taken> {
        terminal::enable_raw_mode()?;
        let taken = Taken;
        execute!(io::stdout(), EnterAlternateScreen, cursor::Hide)?;
        Ok(taken)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let _ = execute!(io::stdout(), cursor::Show, LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }
}

/// Plays until the match is over or the player quits; answers how it ended.
///
/// # Errors
/// The terminal's.
pub async fn play(mut client: Client, mut screen: Box<dyn Screen>) -> io::Result<String> {
    let _taken = Taken::take()?;
    let mut keys = keyboard();
    let mut shown = None;
    let mut note = String::new();
    screen.attached(client.attachment().slot);
    loop {
        shown = Some(draw(screen.as_ref(), &note, shown.as_ref())?);
        let message = tokio::select! {
            key = keys.recv() => match key {
                Some(KeyCode::Char('q') | KeyCode::Esc) | None => {
                    client.leave().await;
                    return Ok("You left.".to_owned());
                }
                Some(key) => screen.key(key),
            },
            event = client.next() => match event {
                Some(event) => match see(screen.as_mut(), &mut note, event) {
                    Some(end) => return Ok(end),
                    None => screen.follow_up(),
                },
                None => return Ok("The match is over.".to_owned()),
            },
        };
        if let Some(body) = message {
            // What cannot be sent now is overtaken by the next key.
            let _ = client.send(body);
        }
    }
}

/// What an event means; the text ends the game.
fn see(screen: &mut dyn Screen, note: &mut String, event: Event) -> Option<String> {
    match event {
        Event::View(view) => {
            *note = if screen.view(&view.body) { String::new() } else { "this game is of another version".to_owned() };
        }
        Event::Attached(attachment) => {
            screen.attached(attachment.slot);
            note.clear();
        }
        Event::Disconnected { .. } => *note = "connection lost, trying again".to_owned(),
        Event::Paused => *note = "paused".to_owned(),
        Event::Resumed => note.clear(),
        Event::GoingAway { reason } => *note = format!("going away: {reason}"),
        Event::Finished { outcome } => return Some(screen.outcome(&outcome)),
        Event::Detached { reason, message } | Event::Failed { reason, message } => {
            return Some(super::out(reason, &message));
        }
        _ => {}
    }
    None
}

fn draw(screen: &dyn Screen, note: &str, shown: Option<&Canvas>) -> io::Result<Canvas> {
    let (columns, rows) = terminal::size()?;
    let mut canvas = Canvas::new(columns.into(), rows.saturating_sub(1).into());
    screen.draw(&mut canvas);
    canvas.text(1, 0, &screen.status());
    let right = if note.is_empty() { screen.keys() } else { note };
    let start = canvas.columns().saturating_sub(right.chars().count() + 1);
    canvas.text(start.max(screen.status().chars().count() + 3), 0, right);
    let mut out = io::stdout().lock();
    canvas.show(shown, &mut out)?;
    out.flush()?;
    Ok(canvas)
}

/// Keys, read on a thread of their own until nobody wants them.
fn keyboard() -> mpsc::Receiver<KeyCode> {
    let (sender, keys) = mpsc::channel(64);
    std::thread::spawn(move || {
        while !sender.is_closed() {
            match event::poll(KEY_WAIT) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(_) => return,
            }
            let Ok(TerminalEvent::Key(key)) = event::read() else { continue };
            let interrupt = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
            let code = if interrupt { KeyCode::Esc } else { key.code };
            if key.kind != KeyEventKind::Release && sender.blocking_send(code).is_err() {
                return;
            }
        }
    });
    keys
}
