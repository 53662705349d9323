//! What a player of the echo game saw, given to the history checker, and kept in words for people. Its messages have
//! bodies that only it could have sent.
//!
//! The player's part of the session's log is what it sees: its position is the number of the player's messages that were
//! applied, its hash the game's own over all of them.

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::time::Instant;

use ringside_simulation_kit::history::{Event, Heard, History, Promise};

use crate::random::Random;

/// Lines that are kept of a player.
const LINES: usize = 5000;
/// Lines that a test which fails shows of them.
const SHOWN: usize = 40;

/// A promise that was broken. Its `Debug` shows the last of what the player saw.
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

impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}; what it saw last:")?;
        let hidden = self.lines.len().saturating_sub(SHOWN);
        self.lines.iter().skip(hidden).try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// A message that was answered.
#[derive(Debug, Clone, Copy)]
struct Answer {
    /// Its number.
    number: u64,
    /// As which of the player's messages it was applied.
    applied: u64,
    /// The game's hash with it.
    hash: u64,
}

/// A player's stay in a session of the echo game.
pub struct EchoHistory {
    player: String,
    /// What its bodies are made of.
    seed: Random,
    began: Instant,
    history: History,
    /// The same over ticks, of the views that it saw.
    views: History,
    /// Number and hash of what was applied last, as far as it was seen.
    last: (u64, u64),
    sent: u64,
    /// The highest of its messages that was ever answered.
    answered: u64,
    /// What was answered on this branch of the session.
    answers: Vec<Answer>,
    /// Whether a fork took some of it, and nothing was answered since: what it had said on this branch before it came to the
    /// other one may be there.
    is_forked: bool,
    /// Whether a fork ever did.
    was_forked: bool,
    lines: VecDeque<String>,
}

impl EchoHistory {
    /// One that has seen nothing. Times are told from `began` on; bodies depend on player and seed.
    pub fn new(player: &str, seed: u64, began: Instant) -> EchoHistory {
        let label = player.bytes().fold(0u64, |label, byte| label.wrapping_mul(31).wrapping_add(u64::from(byte)));
        EchoHistory::of(player.to_owned(), Random::new(seed).fork(label), began)
    }

    fn of(player: String, seed: Random, began: Instant) -> EchoHistory {
        let (history, views) = (History::default(), History::default());
        let (lines, last) = (VecDeque::new(), (0, echo::EMPTY));
        let answers = Vec::new();
        EchoHistory {
            player,
            seed,
            began,
            history,
            views,
            last,
            sent: 0,
            answered: 0,
            answers,
            is_forked: false,
            was_forked: false,
            lines,
        }
    }

    /// Another stay: nothing of the one before is promised.
    pub fn begin_again(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        let player = std::mem::take(&mut self.player);
        *self = EchoHistory { lines, ..EchoHistory::of(player, self.seed.clone(), self.began) };
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

    /// The next message, as the game wants it: its body is its number, then bytes that depend on seed, player and number,
    /// 8 to 200 in all.
    pub fn next_message(&self) -> Vec<u8> {
        ringside_guest::encode(&ringside_guest::Bytes(self.body(self.next_number())))
    }

    /// The next message was sent.
    ///
    /// # Errors
    /// A promise is broken.
    pub fn sent(&mut self) -> Result<(), Violation> {
        self.sent += 1;
        let number = self.sent;
        self.note(format_args!("sent {number}"));
        self.check(&Event::Sent { number })
    }

    /// Messages that were answered, or are known not to be.
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// The game's own hash over all of the player's messages that it applied, as the player last heard.
    pub fn hash(&self) -> u64 {
        self.last.1
    }

    /// Messages that were not answered, nor are known not to be.
    pub fn outstanding(&self) -> u64 {
        self.sent - self.answered
    }

    /// A reply came: to which message. Reliable, so what it answers is as safe as the tier promises.
    ///
    /// # Errors
    /// It breaks a promise.
    pub fn reply(&mut self, reply: &echo::Reply) -> Result<u64, Violation> {
        let body = &reply.body.0;
        let number = body.first_chunk::<8>().map_or(0, |number| u64::from_le_bytes(*number));
        self.note(format_args!("reply {}, hash {:x}, to {number}", reply.number, reply.hash));
        let before = self.answers.last().map_or(0, |answer| answer.number);
        if number <= before || number > self.sent {
            let what = if number > self.sent { "was never sent" } else { "was answered before" };
            return Err(self.violation(Promise::ExactlyOnce, &format!("{number} is answered and {what}")));
        }
        if self.body(number) != *body {
            return Err(self.violation(Promise::ExactlyOnce, &format!("the answer to {number} has another body")));
        }
        let expected = (self.last.0 + 1, echo::extend(self.last.1, body));
        let may_have_more = self.is_forked && reply.number > expected.0;
        if !may_have_more && (reply.number, reply.hash) != expected {
            let what = format!("message {number} was applied as {}, {} was due", reply.number, expected.0);
            return Err(self.violation(Promise::MonotonicWrites, &what));
        }
        self.last = (reply.number, reply.hash);
        self.is_forked = false;
        self.answered = self.answered.max(number);
        self.answers.push(Answer { number, applied: reply.number, hash: reply.hash });
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

    /// A view came: of a tick, and of which one it says that nothing up to there is ever withdrawn.
    ///
    /// # Errors
    /// It breaks a promise.
    pub fn view(&mut self, tick: u64, committed: u64) -> Result<(), Violation> {
        if committed > tick {
            return Err(self.violation(Promise::MonotonicReads, &format!("tick {committed} is committed at {tick}")));
        }
        self.check_views(&Event::Heard(Heard { position: tick, committed, ..Heard::default() }))
    }

    /// The session went back to a tick, after so many outputs; whether a fork took what was promised after that.
    ///
    /// # Errors
    /// It may not go back that far.
    pub fn rewound(&mut self, tick: u64, outputs: u64, superseded: bool) -> Result<(), Violation> {
        self.note(format_args!("rewound to tick {tick}, output {outputs}, superseded: {superseded}"));
        let back = if superseded { Event::Superseded { to: tick } } else { Event::Rewound { to: tick } };
        self.check_views(&back)?;
        let to = outputs.min(self.last.0);
        if superseded {
            // What was not acknowledged as safe is sent again, and answered again; the rest is lost with its branch.
            self.answers.retain(|answer| answer.applied <= to);
            let last = self.answers.last().map_or((0, echo::EMPTY), |answer| (answer.applied, answer.hash));
            self.last = last;
            (self.is_forked, self.was_forked) = (true, true);
            return self.check(&Event::Superseded { to });
        }
        self.check(&Event::Rewound { to })
    }

    /// At the end everything was answered. The last answer shows what the game has of the player: how many of its messages, and
    /// a hash over all of them, which are those that it has sent, if no fork took any.
    ///
    /// # Errors
    /// Something that was safe is lost, or what is there is not what was sent.
    pub fn end(&mut self) -> Result<(), Violation> {
        for Answer { number, applied, .. } in self.answers.clone() {
            self.check(&Event::Settled { number, position: applied })?;
        }
        if self.was_forked {
            let last = self.answers.last().map_or(0, |answer| answer.number);
            return self.check(&Event::Ended { last });
        }
        self.check(&Event::Ended { last: self.last.0 })?;
        let all = (1..=self.sent).fold(echo::EMPTY, |hash, number| echo::extend(hash, &self.body(number)));
        if self.last != (self.sent, all) {
            let what = format!("the game has {} messages, {} were sent", self.last.0, self.sent);
            return Err(self.violation(Promise::ExactlyOnce, &what));
        }
        Ok(())
    }

    /// Something that is no promise's alone was broken.
    pub fn broken(&mut self, seen: &str) -> Violation {
        Violation { player: self.player.clone(), seen: seen.to_owned(), lines: std::mem::take(&mut self.lines) }
    }

    fn body(&self, number: u64) -> Vec<u8> {
        let mut random = self.seed.fork(number);
        let length = random.below(193) as usize;
        let mut body = number.to_le_bytes().to_vec();
        body.extend(random.bytes(length));
        body
    }

    fn violation(&mut self, promise: Promise, seen: &str) -> Violation {
        self.broken(&format!("{promise:?}: {seen}"))
    }

    fn check(&mut self, event: &Event) -> Result<(), Violation> {
        let broken = first_broken(&mut self.history, event);
        broken.map_or(Ok(()), |(promise, seen)| Err(self.violation(promise, &seen)))
    }

    fn check_views(&mut self, event: &Event) -> Result<(), Violation> {
        let broken = first_broken(&mut self.views, event);
        broken.map_or(Ok(()), |(promise, seen)| Err(self.violation(promise, &format!("views: {seen}"))))
    }
}

fn first_broken(history: &mut History, event: &Event) -> Option<(Promise, String)> {
    let mut first = None;
    history.handle(event, &mut |promise, holds, seen| {
        if !holds && first.is_none() {
            first = Some((promise, seen));
        }
    });
    first
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
            let body = EchoHistory::new("ada", 7, Instant::now()).body(number);
            self.0 += 1;
            self.1 = echo::extend(self.1, &body);
            echo::Reply { number: self.0, hash: self.1, body: Bytes(body) }
        }
    }

    fn seen(messages: u64) -> EchoHistory {
        let mut seen = EchoHistory::new("ada", 7, Instant::now());
        for _ in 0..messages {
            seen.sent().expect("nothing wrong with that");
        }
        seen
    }

    fn kept(seen: &mut EchoHistory, replies: &[echo::Reply]) -> Result<(), Violation> {
        replies.iter().try_for_each(|reply| seen.reply(reply).map(drop))
    }

    #[test]
    fn an_honest_history_passes_through_losses_of_what_nobody_was_told() {
        let (mut seen, mut game) = (seen(3), Game::new());
        kept(&mut seen, &[game.say(1), game.say(2)]).unwrap();
        seen.rewound(0, 2, false).unwrap();
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
        assert!(seen.rewound(0, 1, false).unwrap_err().seen.starts_with("NothingWithdrawn"));
    }

    #[test]
    fn at_the_end_the_game_has_what_was_sent() {
        let (mut seen, mut game) = (seen(3), Game::new());
        kept(&mut seen, &[game.say(1), game.say(2)]).unwrap();
        assert!(seen.end().unwrap_err().seen.contains("the game has 2 messages, 3 were sent"));
        // What was said to be safe, and is gone.
        let (mut seen, mut game) = (super::tests::seen(2), Game::new());
        kept(&mut seen, &[game.say(1), game.say(2)]).unwrap();
        seen.last = (1, seen.answers[0].hash);
        assert!(seen.end().unwrap_err().seen.starts_with("NothingLost"));
        // Another order than that in which it was said.
        let (mut seen, mut game) = (super::tests::seen(2), Game::new());
        kept(&mut seen, &[game.say(1), game.say(2)]).unwrap();
        seen.answers.swap(0, 1);
        assert!(seen.end().unwrap_err().seen.starts_with("MonotonicWrites"));
        // Said after something was seen, and before it in the log.
        let (mut seen, mut game) = (super::tests::seen(1), Game::new());
        kept(&mut seen, &[game.say(1)]).unwrap();
        seen.sent().unwrap();
        seen.answers = vec![Answer { number: 2, applied: 1, hash: 0 }];
        assert!(seen.end().unwrap_err().seen.starts_with("WritesFollowReads"));
    }

    #[test]
    fn after_a_fork_what_both_branches_have_is_there() {
        for (goes_on_from, is_kept) in [(1, true), (0, false)] {
            let (mut seen, mut game) = (seen(3), Game::new());
            let mut branches = vec![Game(game.0, game.1)];
            kept(&mut seen, &[game.say(1)]).unwrap();
            branches.push(Game(game.0, game.1));
            kept(&mut seen, &[game.say(2)]).unwrap();
            seen.rewound(0, 1, true).unwrap();
            let other = &mut branches[goes_on_from];
            assert_eq!(kept(&mut seen, &[other.say(3)]).is_ok(), is_kept, "from {goes_on_from}");
        }
    }

    #[test]
    fn committed_ticks_are_not_withdrawn_but_by_a_fork() {
        let mut seen = seen(0);
        for (tick, committed) in [(1, 0), (5, 3), (5, 3), (9, 4)] {
            seen.view(tick, committed).unwrap();
        }
        assert!(seen.view(8, 4).is_err(), "an older one");
        seen.rewound(4, 0, false).unwrap();
        seen.view(6, 4).unwrap();
        assert!(seen.rewound(3, 0, false).is_err());
        seen.rewound(3, 0, true).unwrap();
        seen.view(4, 4).unwrap();
        assert!(seen.view(6, 7).is_err(), "committed before it was");
    }

    #[test]
    fn what_was_said_again_on_the_branch_that_goes_on_is_answered_again() {
        let (mut seen, mut game) = (seen(3), Game::new());
        kept(&mut seen, &[game.say(1)]).unwrap();
        let mut other = Game(game.0, game.1);
        kept(&mut seen, &[game.say(2), game.say(3)]).unwrap();
        seen.rewound(0, 1, true).unwrap();
        kept(&mut seen, &[other.say(2), other.say(3)]).unwrap();
        assert_eq!((seen.answered(), seen.outstanding()), (3, 0));
    }

    #[test]
    fn a_fork_may_take_what_its_side_said() {
        let (mut seen, mut game) = (seen(3), Game::new());
        kept(&mut seen, &[game.say(1)]).unwrap();
        let mut other = Game(game.0, game.1);
        kept(&mut seen, &[game.say(2)]).unwrap();
        seen.rewound(0, 1, true).unwrap();
        kept(&mut seen, &[other.say(3)]).unwrap();
        assert!(kept(&mut seen, &[other.say(3)]).is_err(), "once on each branch");
    }

    #[test]
    fn a_broken_promise_names_the_file_with_its_history() {
        let directory = crate::directory::Directory::new();
        let violation = kept(&mut seen(1), &[Game::new().say(7)]).unwrap_err();
        let said = violation.kept_in(directory.path(), 5);
        let file = directory.path().join("chaos-5-ada.txt");
        assert!(said.contains(&*file.to_string_lossy()), "{said}");
        assert!(std::fs::read_to_string(file).unwrap().contains("sent 1"));
    }
}
