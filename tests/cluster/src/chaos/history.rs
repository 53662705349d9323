//! What a player of the echo game saw, given to the history checker, and kept in words for people.
//!
//! The player's part of the session's log is what it sees: its position is the number of the player's messages that were
//! applied, its hash the game's own over all of them.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::path::Path;
use std::time::Instant;

use ringside_simulation_kit::history::{Event, Heard, History, Promise};

/// Lines that are kept of a player.
const LINES: usize = 5000;

/// A promise that was broken.
#[derive(Debug)]
pub struct Violation {
    /// Whose, and where.
    pub player: String,
    /// What was seen.
    pub seen: String,
    lines: VecDeque<String>,
}

impl Violation {
    /// Writes the history to a file, and says what was broken and where the file is.
    pub fn kept_in(&self, directory: &Path, seed: u64) -> String {
        let path = directory.join(format!("chaos-{seed}-{}.txt", self.player.replace(['/', '?', '=', ' '], "-")));
        let text = self.lines.iter().map(|line| format!("{line}\n")).collect::<String>() + &self.seen + "\n";
        match std::fs::create_dir_all(directory).and_then(|()| std::fs::write(&path, text)) {
            Ok(()) => format!("{self}; history: {}", path.display()),
            Err(error) => format!("{self}; its history cannot be written to {}: {error}", path.display()),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.player, self.seen)
    }
}

/// A player's stay in a session.
pub struct Seen {
    player: String,
    began: Instant,
    history: History,
    /// Number and hash of what was applied last, as far as it was seen.
    last: (u64, u64),
    /// What was sent and has not come back, by the player's own number.
    bodies: BTreeMap<u64, Vec<u8>>,
    sent: u64,
    answered: u64,
    /// Whether a fork took some of it, so that the game's hash cannot be known ahead.
    is_forked: bool,
    lines: VecDeque<String>,
}

impl Seen {
    /// One that has seen nothing.
    pub fn new(player: &str, began: Instant) -> Seen {
        let player = player.to_owned();
        let (history, lines) = (History::default(), VecDeque::new());
        let last = (0, echo::EMPTY);
        Seen { player, began, history, last, bodies: BTreeMap::new(), sent: 0, answered: 0, is_forked: false, lines }
    }

    /// Another stay: nothing of the one before is promised.
    pub fn begin_again(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        *self = Seen { lines, ..Seen::new(&self.player, self.began) };
        self.note("another stay begins");
    }

    /// Words for people.
    pub fn note(&mut self, what: impl fmt::Display) {
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(format!("{:>8} ms  {what}", self.began.elapsed().as_millis()));
    }

    /// The number of the next message.
    pub fn next_number(&self) -> u64 {
        self.sent + 1
    }

    /// A message was sent.
    pub fn sent(&mut self, body: Vec<u8>) -> Result<(), Violation> {
        self.sent += 1;
        let number = self.sent;
        self.note(format_args!("sent {number}"));
        self.bodies.insert(number, body);
        self.check(&Event::Sent { number })
    }

    /// Messages that were not answered, nor are known not to be.
    pub fn outstanding(&self) -> u64 {
        self.sent - self.answered
    }

    /// A reply came: to which message. Reliable, so what it answers is as safe as the tier promises.
    pub fn reply(&mut self, reply: &echo::Reply) -> Result<u64, Violation> {
        let body = &reply.body.0;
        let number = body.first_chunk::<8>().map_or(0, |number| u64::from_le_bytes(*number));
        self.note(format_args!("reply {}, hash {:x}, to {number}", reply.number, reply.hash));
        if number <= self.answered || number > self.sent {
            let what = if number > self.sent { "was never sent" } else { "was answered before" };
            return Err(self.violation(Promise::ExactlyOnce, &format!("{number} is answered and {what}")));
        }
        if self.bodies.get(&number) != Some(body) {
            return Err(self.violation(Promise::ExactlyOnce, &format!("the answer to {number} has another body")));
        }
        let expected = (self.last.0 + 1, echo::extend(self.last.1, body));
        if !self.is_forked && (reply.number, reply.hash) != expected {
            let what = format!("message {number} was applied as {}, {} was due", reply.number, expected.0);
            return Err(self.violation(Promise::MonotonicWrites, &what));
        }
        self.last = (reply.number, reply.hash);
        self.is_forked = false;
        self.answered = number;
        self.bodies = self.bodies.split_off(&(number + 1));
        self.check(&Event::Heard(Heard {
            position: reply.number,
            hash: reply.hash,
            before: None,
            last: number,
            count: reply.number,
            committed: reply.number,
        }))?;
        self.check(&Event::Acknowledged { number })?;
        Ok(number)
    }

    /// The session went back to after so many outputs; whether a fork that it may have took what came after.
    pub fn rewound(&mut self, outputs: u64, may_fork: bool) -> Result<(), Violation> {
        self.note(format_args!("rewound to output {outputs}"));
        let to = outputs.min(self.last.0);
        if to >= self.last.0 {
            return self.check(&Event::Rewound { to });
        }
        if may_fork {
            self.is_forked = true;
            return self.check(&Event::Superseded { to });
        }
        self.check(&Event::Rewound { to })
    }

    /// At the end everything was answered.
    pub fn end(&mut self) -> Result<(), Violation> {
        let last = self.answered;
        self.check(&Event::Ended { last })
    }

    /// Something that is no promise's alone was broken.
    pub fn broken(&mut self, seen: &str) -> Violation {
        Violation { player: self.player.clone(), seen: seen.to_owned(), lines: std::mem::take(&mut self.lines) }
    }

    fn violation(&mut self, promise: Promise, seen: &str) -> Violation {
        self.broken(&format!("{promise:?}: {seen}"))
    }

    fn check(&mut self, event: &Event) -> Result<(), Violation> {
        let mut first = None;
        self.history.handle(event, &mut |promise, holds, seen| {
            if !holds && first.is_none() {
                first = Some((promise, seen));
            }
        });
        first.map_or(Ok(()), |(promise, seen)| Err(self.violation(promise, &seen)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringside_guest::Bytes;

    /// A bug by its name: what a game with it would answer.
    type Plant<'a> = (&'a str, &'a dyn Fn(&mut Game) -> Vec<echo::Reply>);

    /// What the game would answer.
    struct Game(u64, u64);

    impl Game {
        fn new() -> Game {
            Game(0, echo::EMPTY)
        }

        fn say(&mut self, number: u64) -> echo::Reply {
            let body = number.to_le_bytes().to_vec();
            self.0 += 1;
            self.1 = echo::extend(self.1, &body);
            echo::Reply { number: self.0, hash: self.1, body: Bytes(body) }
        }
    }

    fn seen(messages: u64) -> Seen {
        let mut seen = Seen::new("ada", Instant::now());
        for number in 1..=messages {
            seen.sent(number.to_le_bytes().to_vec()).expect("nothing wrong with that");
        }
        seen
    }

    fn kept(seen: &mut Seen, replies: &[echo::Reply]) -> Result<(), Violation> {
        replies.iter().try_for_each(|reply| seen.reply(reply).map(drop))
    }

    #[test]
    fn an_honest_history_passes_through_losses_of_what_nobody_was_told() {
        let (mut seen, mut game) = (seen(3), Game::new());
        kept(&mut seen, &[game.say(1), game.say(2)]).unwrap();
        seen.rewound(2, false).unwrap();
        kept(&mut seen, &[game.say(3)]).unwrap();
        assert_eq!(seen.outstanding(), 0);
        seen.end().unwrap();
    }

    #[test]
    fn what_is_lost_doubled_reordered_or_withdrawn_is_caught() {
        let lost = |game: &mut Game| {
            let first = game.say(1);
            vec![first, game.say(3)]
        };
        let forgotten = |game: &mut Game| {
            let first = game.say(1);
            *game = Game::new();
            vec![first, game.say(2)]
        };
        let doubled = |game: &mut Game| {
            let first = game.say(1);
            vec![first.clone(), first]
        };
        let applied_twice = |game: &mut Game| {
            game.say(1);
            vec![game.say(1)]
        };
        let reordered = |game: &mut Game| vec![game.say(2), game.say(1)];
        let foreign = |game: &mut Game| vec![game.say(9)];
        let plants: [Plant<'_>; 6] = [
            ("lost", &lost),
            ("forgotten", &forgotten),
            ("doubled", &doubled),
            ("applied twice", &applied_twice),
            ("reordered", &reordered),
            ("foreign", &foreign),
        ];
        for (name, plant) in plants {
            let replies = plant(&mut Game::new());
            assert!(kept(&mut seen(3), &replies).is_err(), "{name}");
        }
        let (mut seen, mut game) = (seen(3), Game::new());
        kept(&mut seen, &[game.say(1), game.say(2)]).unwrap();
        assert!(seen.rewound(1, false).unwrap_err().seen.starts_with("NothingWithdrawn"));
    }

    #[test]
    fn a_fork_may_take_what_its_side_said() {
        let (mut seen, mut game) = (seen(3), Game::new());
        kept(&mut seen, &[game.say(1)]).unwrap();
        let mut other = Game(game.0, game.1);
        kept(&mut seen, &[game.say(2)]).unwrap();
        seen.rewound(1, true).unwrap();
        kept(&mut seen, &[other.say(3)]).unwrap();
    }

    #[test]
    fn a_broken_promise_names_the_file_with_its_history() {
        let directory = ringside_test_support::directory::Directory::new();
        let violation = kept(&mut seen(1), &[Game::new().say(7)]).unwrap_err();
        let said = violation.kept_in(directory.path(), 5);
        let file = directory.path().join("chaos-5-ada.txt");
        assert!(said.contains(&*file.to_string_lossy()), "{said}");
        assert!(std::fs::read_to_string(file).unwrap().contains("sent 1"));
    }
}
