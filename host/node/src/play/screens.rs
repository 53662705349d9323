//! What pong and arena look like in a terminal, and what its keys do. Pure: views and keys in, pictures and inputs out.

use crossterm::event::KeyCode;
use ringside_guest::{decode, encode};
use ringside_protocol::ids::Slot;

use super::canvas::Canvas;

/// A game that is played with single keys.
pub trait Screen: Send {
    /// The player's slot.
    fn attached(&mut self, slot: Slot);
    /// A view came; false if it is not understood.
    fn view(&mut self, body: &[u8]) -> bool;
    /// A key was pressed; the answer is sent as a message.
    fn key(&mut self, key: KeyCode) -> Option<Vec<u8>>;
    /// What follows from the newest view without a key; the answer is sent as a message.
    fn follow_up(&mut self) -> Option<Vec<u8>> {
        None
    }
    /// Draws the newest view into everything below the first row.
    fn draw(&self, canvas: &mut Canvas);
    /// One line about the state.
    fn status(&self) -> String;
    /// One line about the keys.
    fn keys(&self) -> &'static str;
    /// What a result means.
    fn outcome(&self, outcome: &[u8]) -> String;
}

/// The screen of a game; `None` for a game that has none.
pub fn screen(game: &str) -> Option<Box<dyn Screen>> {
    match game {
        "pong" => Some(Box::new(Pong { slot: Slot(0), view: None, input: pong::Input::Still })),
        "arena" | "arena60" => Some(Box::new(Arena::default())),
        _ => None,
    }
}

struct Pong {
    slot: Slot,
    view: Option<pong::View>,
    input: pong::Input,
}

impl Screen for Pong {
    fn attached(&mut self, slot: Slot) {
        self.slot = slot;
    }

    fn view(&mut self, body: &[u8]) -> bool {
        let view = decode(body).ok();
        let understood = view.is_some();
        self.view = view.or(self.view.take());
        understood
    }

    fn key(&mut self, key: KeyCode) -> Option<Vec<u8>> {
        let input = match key {
            KeyCode::Up | KeyCode::Char('w' | 'k') => pong::Input::Up,
            KeyCode::Down | KeyCode::Char('s' | 'j') => pong::Input::Down,
            KeyCode::Char(' ') => pong::Input::Still,
            _ => return None,
        };
        let changed = input != self.input;
        self.input = input;
        changed.then(|| encode(&input))
    }

    fn draw(&self, canvas: &mut Canvas) {
        canvas.frame(1);
        let Some(view) = &self.view else { return canvas.centred(canvas.rows() / 2, "waiting for the first view") };
        let court = Court {
            left: 1,
            top: 2,
            columns: canvas.columns().saturating_sub(2),
            rows: canvas.rows().saturating_sub(3),
        };
        for row in (0..court.rows).step_by(2) {
            canvas.put(court.left + court.columns / 2, court.top + row, '┊');
        }
        let half = pong::PADDLE as f32 / 2.0;
        for (side, y) in view.paddles.iter().enumerate() {
            let column = if side == 0 { court.left } else { court.left + court.columns.saturating_sub(1) };
            for row in court.row(y - half)..=court.row(y + half - 0.001) {
                canvas.put(column, row, '█');
            }
        }
        canvas.put(court.column(view.ball.0 / pong::WIDTH as f32), court.row(view.ball.1), '●');
    }

    fn status(&self) -> String {
        let side = if self.slot.0 == 0 { "left" } else { "right" };
        let score = self.view.as_ref().map_or([0; 2], |view| view.score);
        format!("pong  {} : {}  you are on the {side}", score[0], score[1])
    }

    fn keys(&self) -> &'static str {
        "↑ up  ↓ down  space stop  q quit"
    }

    fn outcome(&self, outcome: &[u8]) -> String {
        match decode::<pong::Outcome>(outcome) {
            Ok(outcome) => {
                let won = if outcome.winner.0 == self.slot.0 { "You won" } else { "You lost" };
                format!("{won}, {} : {}.", outcome.score[0], outcome.score[1])
            }
            Err(_) => "The match is over.".to_owned(),
        }
    }
}

#[derive(Default)]
struct Arena {
    slot: u8,
    view: Option<arena::View>,
    go: (i8, i8),
    fire: bool,
    sent: arena::Input,
}

impl Arena {
    /// Towards the nearest enemy: the gun is aimed by the computer, the feet are the player's.
    fn aim(&self) -> (i8, i8) {
        let aimed = self.view.as_ref().map(|view| arena::bot::policy(ringside_guest::Slot(self.slot.into()), view).aim);
        aimed.filter(|aim| *aim != (0, 0)).unwrap_or(self.go)
    }

    fn me(&self) -> Option<&arena::PlayerView> {
        self.view.as_ref()?.players.iter().find(|player| player.slot == self.slot)
    }
}

impl Screen for Arena {
    fn attached(&mut self, slot: Slot) {
        self.slot = slot.0 as u8;
    }

    fn view(&mut self, body: &[u8]) -> bool {
        let view = decode(body).ok();
        let understood = view.is_some();
        self.view = view.or(self.view.take());
        understood
    }

    fn key(&mut self, key: KeyCode) -> Option<Vec<u8>> {
        match key {
            KeyCode::Up | KeyCode::Char('w') => self.go = (0, -127),
            KeyCode::Down | KeyCode::Char('s') => self.go = (0, 127),
            KeyCode::Left | KeyCode::Char('a') => self.go = (-127, 0),
            KeyCode::Right | KeyCode::Char('d') => self.go = (127, 0),
            KeyCode::Char('x') => self.go = (0, 0),
            KeyCode::Char(' ') => self.fire = !self.fire,
            _ => return None,
        }
        self.follow_up()
    }

    fn follow_up(&mut self) -> Option<Vec<u8>> {
        let input = arena::Input { go: self.go, aim: self.aim(), fire: self.fire };
        (std::mem::replace(&mut self.sent, input) != input).then(|| encode(&input))
    }

    fn draw(&self, canvas: &mut Canvas) {
        canvas.frame(1);
        let Some(view) = &self.view else { return canvas.centred(canvas.rows() / 2, "waiting for the first view") };
        let court = Court {
            left: 1,
            top: 2,
            columns: canvas.columns().saturating_sub(2),
            rows: canvas.rows().saturating_sub(3),
        };
        let place = |at: (u16, u16)| (court.column(f32::from(at.0) / 16_000.0), court.row(f32::from(at.1) / 16_000.0));
        for bullet in &view.bullets {
            let (column, row) = place(*bullet);
            canvas.put(column, row, '·');
        }
        for player in &view.players {
            let (column, row) = place(player.at);
            let mark = match (player.health, player.slot == self.slot) {
                (0, _) => '×',
                (_, true) => '@',
                _ => char::from_digit(u32::from(player.slot), 10).unwrap_or('?'),
            };
            canvas.put(column, row, mark);
        }
    }

    fn status(&self) -> String {
        let players = self.view.as_ref().map_or(0, |view| view.players.len());
        match self.me() {
            Some(me) if me.health == 0 => format!("arena  dead, back in a moment  score {}", me.score),
            Some(me) => {
                let bar: String = (0..10).map(|tenth| if tenth * 10 < me.health { '█' } else { '░' }).collect();
                let gun = if self.fire { "firing" } else { "gun down" };
                format!("arena  {bar} {}  score {}  {players} players  {gun}", me.health, me.score)
            }
            None => "arena".to_owned(),
        }
    }

    fn keys(&self) -> &'static str {
        "arrows walk  x stand  space fire on/off (the gun aims itself)  q quit"
    }

    fn outcome(&self, _: &[u8]) -> String {
        "The match is over.".to_owned()
    }
}

/// The part of the canvas where the game is.
struct Court {
    left: usize,
    top: usize,
    columns: usize,
    rows: usize,
}

impl Court {
    fn column(&self, share: f32) -> usize {
        self.left + cell(share, self.columns)
    }

    fn row(&self, share: f32) -> usize {
        self.top + cell(share, self.rows)
    }
}

fn cell(share: f32, cells: usize) -> usize {
    ((share.clamp(0.0, 1.0) * cells as f32) as usize).min(cells.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pong_is_drawn_with_ball_paddles_and_score() {
        let mut pong = screen("pong").unwrap();
        pong.attached(Slot(1));
        let view = pong::View { ball: (0.8, 0.5), paddles: [0.1, 0.9], score: [3, 4] };
        assert!(pong.view(&encode(&view)));
        assert!(!pong.view(b""), "what is not understood leaves the picture as it is");
        let mut canvas = Canvas::new(21, 13);
        pong.draw(&mut canvas);
        let text = canvas.to_text();
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows[1], "┌───────────────────┐");
        assert!(rows[2].starts_with("│█") && rows[11].ends_with("█│"), "{text}");
        assert!(rows[7].contains('●'), "{text}");
        assert_eq!(pong.status(), "pong  3 : 4  you are on the right");
        assert_eq!(pong.key(KeyCode::Up), Some(encode(&pong::Input::Up)));
        assert_eq!(pong.key(KeyCode::Up), None);
        let outcome = pong::Outcome { winner: ringside_guest::Slot(1), score: [3, 11] };
        assert_eq!(pong.outcome(&encode(&outcome)), "You won, 3 : 11.");
    }

    #[test]
    fn arena_is_drawn_and_the_gun_aims_itself() {
        let mut arena = screen("arena").unwrap();
        arena.attached(Slot(0));
        let player = |slot, at| arena::PlayerView { slot, at, aim: (127, 0), health: 70, score: 2 };
        let view = arena::View { players: vec![player(0, (0, 0)), player(5, (16_000, 0))], bullets: vec![(8000, 0)] };
        assert!(arena.view(&encode(&view)));
        let mut canvas = Canvas::new(22, 8);
        arena.draw(&mut canvas);
        let first = canvas.to_text().lines().nth(2).unwrap().to_owned();
        assert_eq!(first, "│@         ·        5│");
        assert_eq!(arena.status(), "arena  ███████░░░ 70  score 2  2 players  gun down");
        let sent: arena::Input = decode(&arena.key(KeyCode::Char(' ')).unwrap()).unwrap();
        assert_eq!((sent.fire, sent.aim), (true, (127, 0)));
    }

    #[test]
    fn tiny_terminals_do_no_harm() {
        for game in ["pong", "arena"] {
            let mut game = screen(game).unwrap();
            game.view(&encode(&pong::View { ball: (9.0, -9.0), paddles: [f32::NAN; 2], score: [0; 2] }));
            for size in 0..5 {
                game.draw(&mut Canvas::new(size, size));
            }
        }
    }
}
