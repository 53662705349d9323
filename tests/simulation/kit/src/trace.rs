//! What happened in a run: lines of decoded events with their virtual time, never of ciphertext or of real time. The
//! digest tells two runs apart at the price of none of the lines; the last lines say how a run came to its end.

use std::collections::VecDeque;
use std::fmt::{Arguments, Write};

use crate::scheduler::Micros;

/// A trace.
#[derive(Debug)]
pub struct Trace {
    lines: VecDeque<String>,
    keep: usize,
    said: u64,
    digest: u64,
}

impl Trace {
    /// A trace that keeps so many of its last lines.
    pub fn keeping(lines: usize) -> Trace {
        Trace { lines: VecDeque::new(), keep: lines, said: 0, digest: 0xcbf2_9ce4_8422_2325 }
    }

    /// Adds a line: when, who, what.
    pub fn say(&mut self, now: Micros, who: &str, what: Arguments<'_>) {
        let mut line =
            if self.lines.len() >= self.keep { self.lines.pop_front().unwrap_or_default() } else { String::new() };
        line.clear();
        let (seconds, micros) = (now / 1_000_000, now % 1_000_000);
        // Writing to a string cannot fail.
        let _ = write!(line, "{seconds:>4}.{micros:06} {who:<10} {what}");
        self.said += 1;
        for byte in line.bytes().chain([b'\n']) {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if self.keep > 0 {
            self.lines.push_back(line);
        }
    }

    /// Lines so far, and a hash (FNV-1a) of all of them in order.
    pub fn digest(&self) -> (u64, u64) {
        (self.said, self.digest)
    }

    /// The lines that are kept, oldest first.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_the_digest_knows_all() {
        let run = |count: u64, keep| {
            let mut trace = Trace::keeping(keep);
            (0..count).for_each(|number| trace.say(number * 500_000, "ada", format_args!("says {number}")));
            trace
        };
        let trace = run(5, 2);
        assert_eq!(
            trace.lines().collect::<Vec<_>>(),
            ["   1.500000 ada        says 3", "   2.000000 ada        says 4"]
        );
        assert_eq!(trace.digest(), run(5, 0).digest());
        assert_ne!(trace.digest(), run(4, 9).digest());
        assert_eq!(run(3, 0).lines().count(), 0);
    }
}
