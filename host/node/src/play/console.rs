//! A console for games that speak text: lines that are typed are sent, and what the game says and shows is printed.
//! Whether a game's views and outputs are text is seen when they come.

use std::time::{Duration, Instant};

use ringside_client::{Client, Event, SendError};
use ringside_guest::{decode, encode};
use tokio::sync::mpsc;

/// How long a line waits that cannot be sent yet, before it is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// How long a view waits for what was said at the same moment: what is true now stands below it, though a view may
/// arrive first.
const VIEW_WAITS: Duration = Duration::from_millis(30);

/// The game speaks something that is not text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its {what} are not text (a postcard `String`), so the text console cannot show them")]
pub struct NotText {
    what: &'static str,
}

/// Plays until the match is over, the player types `/quit`, or `lines` end; answers how it ended. What is to be shown
/// is given to `print`, in pieces of one or several lines.
///
/// # Errors
/// If the game does not speak text; the player has left then.
pub async fn play(
    mut client: Client,
    mut lines: mpsc::Receiver<String>,
    print: impl Fn(&str),
) -> Result<String, NotText> {
    let mut console = Console::default();
    let mut unsent: Option<Vec<u8>> = None;
    loop {
        if let Some(body) = unsent.take() {
            match client.send(body.clone()) {
                Err(SendError::Full | SendError::NotAttached) => unsent = Some(body),
                Err(error @ SendError::TooLong(_)) => print(&format!("not sent: {error}")),
                Ok(_) | Err(SendError::Done) => {}
            }
        }
        tokio::select! {
            line = lines.recv(), if unsent.is_none() => match line {
                Some(line) if line.trim() != "/quit" => unsent = Some(encode(&line)),
                _ => {
                    client.leave().await;
                    return Ok("You left.".to_owned());
                }
            },
            event = client.next() => match event.map(|event| console.see(event, Instant::now())) {
                Some(Seen::Text(text)) => print(&text),
                Some(Seen::Nothing) => {}
                Some(Seen::End(end)) => {
                    console.take_view().iter().for_each(|view| print(view));
                    return Ok(end);
                }
                Some(Seen::NotText(error)) => {
                    client.leave().await;
                    return Err(error);
                }
                None => return Ok("The match is over.".to_owned()),
            },
            () = until(console.due) => console.take_view().iter().for_each(|view| print(view)),
            () = tokio::time::sleep(TRY_AGAIN), if unsent.is_some() => {}
        }
    }
}

/// Until that moment; for ever if there is none.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// What has been shown, and what is to be.
#[derive(Debug, Default)]
struct Console {
    /// The newest view.
    view: Option<String>,
    /// When it is to be shown: it is not what stands last on the screen.
    due: Option<Instant>,
    lost: bool,
}

/// What an event means to the player.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Text(String),
    Nothing,
    /// The last word.
    End(String),
    NotText(NotText),
}

impl Console {
    /// The newest view, to be shown now.
    fn take_view(&mut self) -> Option<String> {
        self.due.take()?;
        self.view.clone()
    }

    fn see(&mut self, event: Event, now: Instant) -> Seen {
        let note = |text: &str| Seen::Text(format!("({text})"));
        match event {
            Event::View(view) => {
                let Some(text) = text(&view.body) else { return Seen::NotText(NotText { what: "views" }) };
                if self.view.as_ref() != Some(&text) {
                    self.view = Some(text);
                    self.due.get_or_insert(now + VIEW_WAITS);
                }
                Seen::Nothing
            }
            Event::Message { body, .. } => {
                if self.view.is_some() {
                    self.due.get_or_insert(now + VIEW_WAITS);
                }
                text(&body).map_or(Seen::NotText(NotText { what: "outputs" }), Seen::Text)
            }
            // Nobody promised a datagram.
            Event::Datagram { body } => text(&body).map_or(Seen::Nothing, Seen::Text),
            Event::Attached(_) if std::mem::take(&mut self.lost) => note("connected again"),
            Event::Disconnected { .. } if !std::mem::replace(&mut self.lost, true) => {
                note("connection lost, trying again")
            }
            Event::Rejected { cause, .. } => note(&format!("that line had no effect: {cause}")),
            Event::Rewound { superseded: false, .. } => note("the match goes on from an earlier moment"),
            Event::Rewound { superseded: true, .. } => {
                note("the match goes on from an earlier moment: what you saw since then is lost")
            }
            Event::Paused => note("paused"),
            Event::Resumed => note("going on"),
            Event::GoingAway { reason } => note(&format!("going away: {reason}")),
            Event::Finished { outcome } => Seen::End(text(&outcome).unwrap_or_else(|| "The match is over.".to_owned())),
            Event::Detached { reason, message } | Event::Failed { reason, message } => {
                let why = if message.is_empty() { reason.to_string() } else { clean(&message) };
                Seen::End(format!("Out: {why}."))
            }
            Event::Attached(_) | Event::Disconnected { .. } | Event::Moved { .. } => Seen::Nothing,
        }
    }
}

fn text(body: &[u8]) -> Option<String> {
    decode::<String>(body).ok().map(|text| clean(&text))
}

/// A text without what would give orders to the terminal: other players' words may be in it.
fn clean(text: &str) -> String {
    let harmless = |character: char| !character.is_control() || matches!(character, '\n' | '\t');
    text.chars().map(|character| if harmless(character) { character } else { '\u{fffd}' }).collect()
}

#[cfg(test)]
mod tests {
    use ringside_protocol::reason::Reason;
    use ringside_protocol::view::View;

    use super::*;

    fn view(body: Vec<u8>) -> Event {
        Event::View(View { number: 1, tick: 1, committed_tick: 1, body: body.into() })
    }

    fn message(body: Vec<u8>) -> Event {
        Event::Message { number: 1, body: body.into() }
    }

    #[test]
    fn a_view_is_shown_below_what_was_said_and_again_only_if_something_was() {
        let (mut console, now) = (Console::default(), Instant::now());
        let shown = |text: &str| Seen::Text(text.to_owned());
        assert_eq!(console.see(view(encode("pot 3")), now), Seen::Nothing);
        assert_eq!(console.due, Some(now + VIEW_WAITS));
        assert_eq!(console.see(message(encode("ann rolls a 3.")), now + VIEW_WAITS / 2), shown("ann rolls a 3."));
        assert_eq!(console.due, Some(now + VIEW_WAITS), "what comes meanwhile does not keep it back");
        assert_eq!(console.take_view().as_deref(), Some("pot 3"));
        console.see(view(encode("pot 3")), now);
        assert_eq!(console.take_view(), None, "nothing has changed");
        console.see(message(encode("It is not your turn.")), now);
        assert_eq!(console.take_view().as_deref(), Some("pot 3"));
        for pot in ["pot 7", "pot 9"] {
            console.see(view(encode(pot)), now);
        }
        assert_eq!(console.take_view().as_deref(), Some("pot 9"));
        let end = console.see(Event::Finished { outcome: encode("ann wins").into() }, now);
        assert_eq!(end, Seen::End("ann wins".into()));
    }

    #[test]
    fn what_is_no_text_is_said_to_be_none() {
        let mut console = Console::default();
        for (event, what) in [(view(encode(&7u32)), "views"), (message(vec![2, 0xff, 0xff]), "outputs")] {
            let Seen::NotText(error) = console.see(event, Instant::now()) else { panic!("{what}") };
            assert!(error.to_string().starts_with(&format!("its {what} are not text")), "{error}");
        }
        assert_eq!(console.see(Event::Datagram { body: vec![9].into() }, Instant::now()), Seen::Nothing);
        let end = console.see(Event::Finished { outcome: vec![9].into() }, Instant::now());
        assert_eq!(end, Seen::End("The match is over.".into()));
    }

    #[test]
    fn a_lost_connection_is_said_once() {
        let mut console = Console::default();
        let lost = || Event::Disconnected { cause: "timed out".to_owned() };
        assert_eq!(console.see(lost(), Instant::now()), Seen::Text("(connection lost, trying again)".into()));
        assert_eq!(console.see(lost(), Instant::now()), Seen::Nothing);
    }

    #[test]
    fn words_of_others_give_no_orders_to_the_terminal() {
        let mut console = Console::default();
        let seen = console.see(message(encode("\x1b[2Jgone\r\nline\ttab\u{9b}")), Instant::now());
        assert_eq!(seen, Seen::Text("\u{fffd}[2Jgone\u{fffd}\nline\ttab\u{fffd}".into()));
        let kicked = Event::Detached { reason: Reason::Kicked, message: "\x1bout".to_owned() };
        assert_eq!(console.see(kicked, Instant::now()), Seen::End("Out: \u{fffd}out.".into()));
    }
}
