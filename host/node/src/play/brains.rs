//! The bots of the sample games: the games' own policies, fed with views that came over the network.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ringside_guest::{Bytes, decode, encode};
use ringside_protocol::ids::Slot;

use super::bot::Brain;
use super::chess_bot;

/// The bot of a game; `None` for a game that has none.
pub fn brain(game: &str) -> Option<Box<dyn Brain>> {
    Some(match game {
        "pong" => Box::new(Steering::new(pong::bot::policy)),
        "arena" | "arena60" => Box::new(Steering::new(arena::bot::policy)),
        "chess" => Box::new(Chess::default()),
        "echo" => Box::new(Echo::default()),
        _ => return None,
    })
}

fn guest(slot: Slot) -> ringside_guest::Slot {
    ringside_guest::Slot(slot.0)
}

/// A player whose input holds until the next: sends one whenever the policy changes its mind.
struct Steering<V, I> {
    slot: Slot,
    last: Option<I>,
    policy: fn(ringside_guest::Slot, &V) -> I,
}

impl<V, I> Steering<V, I> {
    fn new(policy: fn(ringside_guest::Slot, &V) -> I) -> Self {
        Steering { slot: Slot(0), last: None, policy }
    }
}

impl<V, I> Brain for Steering<V, I>
where
    V: serde::de::DeserializeOwned,
    I: serde::Serialize + PartialEq + Copy + Send,
{
    fn attached(&mut self, slot: Slot) {
        self.slot = slot;
        self.last = None;
    }

    fn view(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        let view: V = decode(body).ok()?;
        let input = (self.policy)(guest(self.slot), &view);
        (self.last.replace(input) != Some(input)).then(|| encode(&input))
    }
}

/// Answers each position once, after a moment's thought.
#[derive(Default)]
struct Chess {
    slot: Slot0,
    position: Option<String>,
}

/// A slot that begins as 0.
struct Slot0(Slot);

impl Default for Slot0 {
    fn default() -> Self {
        Slot0(Slot(0))
    }
}

impl Brain for Chess {
    fn attached(&mut self, slot: Slot) {
        self.slot = Slot0(slot);
        self.position = None;
    }

    fn view(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        let view: chess::View = decode(body).ok()?;
        self.position = view.result.is_none().then_some(view.fen);
        None
    }

    fn idle(&mut self, _: Instant) -> Option<Vec<u8>> {
        let fen = self.position.take()?;
        let san = chess_bot::choose(&fen, self.slot.0)?;
        Some(encode(&chess::Input::Move(san)))
    }
}

/// Says something fifty times a second and measures how long the echo takes.
#[derive(Default)]
struct Echo {
    said: HashMap<u64, Instant>,
    next: u64,
}

impl Brain for Echo {
    fn attached(&mut self, _: Slot) {}

    fn message(&mut self, body: &[u8], now: Instant) -> Option<Duration> {
        let reply: echo::Reply = decode(body).ok()?;
        let number = u64::from_le_bytes(reply.body.0.get(..8)?.try_into().ok()?);
        self.said.remove(&number).map(|said| now.duration_since(said))
    }

    fn idle(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.said.len() >= 64 {
            return None;
        }
        self.next += 1;
        self.said.insert(self.next, now);
        let mut body = self.next.to_le_bytes().to_vec();
        body.resize(32, 0);
        Some(encode(&Bytes(body)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_game_that_can_be_played_has_a_bot() {
        assert!(crate::play::GAMES.iter().all(|game| brain(game).is_some()));
        assert!(brain("mahjong").is_none());
    }

    #[test]
    fn a_steering_bot_speaks_only_when_it_changes_its_mind() {
        let mut bot = brain("pong").unwrap();
        bot.attached(Slot(0));
        let view = |y: f32| encode(&pong::View { ball: (0.8, y), paddles: [0.5; 2], score: [0; 2] });
        assert_eq!(bot.view(&view(0.1)), Some(encode(&pong::Input::Up)));
        assert_eq!(bot.view(&view(0.1)), None);
        assert_eq!(bot.view(&view(0.9)), Some(encode(&pong::Input::Down)));
        assert_eq!(bot.view(b""), None, "a view of another version is no reason to stop");
    }

    #[test]
    fn the_chess_bot_moves_when_it_is_its_turn() {
        let mut bot = brain("chess").unwrap();
        bot.attached(Slot(1));
        let start = "rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR w KQkq - 0 1".to_owned();
        let view = |fen| chess::View { fen, last: None, clocks_ms: [0; 2], clock_at_ms: 0, result: None };
        bot.view(&encode(&view(start.clone())));
        assert_eq!(bot.idle(Instant::now()), None);
        bot.view(&encode(&view(start.replace(" w ", " b "))));
        assert!(bot.idle(Instant::now()).is_some());
        assert_eq!(bot.idle(Instant::now()), None, "one move a position");
    }

    #[test]
    fn the_echo_bot_measures_its_own_words() {
        let mut bot = brain("echo").unwrap();
        let now = Instant::now();
        let body: Bytes = decode(&bot.idle(now).unwrap()).unwrap();
        let reply = encode(&echo::Reply { number: 1, hash: 0, body });
        assert_eq!(bot.message(&reply, now + Duration::from_millis(3)), Some(Duration::from_millis(3)));
        assert_eq!(bot.message(&reply, now), None);
    }
}
