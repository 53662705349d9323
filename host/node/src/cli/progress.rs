//! How far something is that takes a while: a bar that is drawn over itself on a terminal, else a line now and then.

use std::io::{IsTerminal, Write};

/// Width of the bar, characters.
const WIDTH: usize = 32;

/// What is shown of something that takes a while. Goes to standard error, so that what a script reads stays as it is.
pub struct Progress {
    what: String,
    is_terminal: bool,
    is_silent: bool,
    /// What was shown last.
    last: Option<String>,
    /// In tenths of the whole, where lines are printed.
    tenths: usize,
}

impl Progress {
    /// Of what; `is_silent` shows nothing at all.
    pub fn new(what: impl Into<String>, is_silent: bool) -> Progress {
        let is_terminal = std::io::stderr().is_terminal();
        Progress { what: what.into(), is_terminal, is_silent, last: None, tenths: 0 }
    }

    /// So many of all are done.
    pub fn show(&mut self, done: usize, all: usize) {
        let line = bar(&self.what, done, all);
        let tenths = (done.min(all) * 10).checked_div(all).unwrap_or(10);
        let is_new = match self.is_terminal {
            true => self.last.as_ref() != Some(&line),
            // A log has no use for each of a thousand sessions.
            false => self.last.is_none() || tenths > self.tenths,
        };
        if self.is_silent || !is_new {
            return;
        }
        self.tenths = tenths;
        let mut out = std::io::stderr().lock();
        // Nobody may be reading; then nothing is lost.
        let _ = match self.is_terminal {
            true => write!(out, "\r\x1b[K{line}").and_then(|()| out.flush()),
            false => writeln!(out, "{line}"),
        };
        self.last = Some(line);
    }

    /// Something else is to be said: on a line of its own, the bar after it.
    pub fn say(&mut self, text: &str) {
        if self.is_silent {
            return;
        }
        let mut out = std::io::stderr().lock();
        let _ = match (self.is_terminal, &self.last) {
            (true, Some(line)) => write!(out, "\r\x1b[K{text}\n{line}").and_then(|()| out.flush()),
            _ => writeln!(out, "{text}"),
        };
    }

    /// It is over: what follows begins on a line of its own.
    pub fn end(self) {
        if self.is_terminal && !self.is_silent && self.last.is_some() {
            let _ = writeln!(std::io::stderr());
        }
    }
}

fn bar(what: &str, done: usize, all: usize) -> String {
    let done = done.min(all);
    let filled = (done * WIDTH).checked_div(all).unwrap_or(WIDTH);
    format!("{what} [{}{}] {done} of {all}", "#".repeat(filled), "-".repeat(WIDTH - filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_says_how_far_it_is() {
        assert_eq!(bar("sessions", 0, 4), format!("sessions [{}] 0 of 4", "-".repeat(32)));
        assert_eq!(bar("sessions", 1, 4), format!("sessions [{}{}] 1 of 4", "#".repeat(8), "-".repeat(24)));
        assert_eq!(bar("sessions", 9, 4), format!("sessions [{}] 4 of 4", "#".repeat(32)));
        assert_eq!(bar("sessions", 0, 0), format!("sessions [{}] 0 of 0", "#".repeat(32)));
    }
}
