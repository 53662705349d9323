//! What passed, failed and was skipped. Knows how the test runners say it; runs nothing.

use std::fmt::Write as _;

/// The counts of one run of a test runner.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Tests that passed.
    pub passed: usize,
    /// Tests that failed, timed out or could not run.
    pub failed: usize,
    /// Tests that are marked to be ignored.
    pub ignored: usize,
}

impl Counts {
    /// Reads the counts out of what `cargo nextest` or `cargo test` printed. Other lines count nothing.
    pub fn read(output: &str) -> Counts {
        output.lines().map(|line| Counts::read_line(&without_colour(line))).fold(Counts::default(), Counts::plus)
    }

    fn read_line(line: &str) -> Counts {
        let nextest = line.trim_start().starts_with("Summary [");
        // What nextest shows of a test that failed is indented, and counted in its summary.
        let Some(rest) = line.strip_prefix("test result:").or(nextest.then_some(line)) else {
            return Counts::default();
        };
        // "Summary [ 1.2s] 5 tests run: 3 passed (1 slow), 1 failed, 1 timed out, 2 skipped"
        // "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out"
        let rest = rest.rsplit_once("run: ").map_or(rest, |(_, counts)| counts);
        let mut counts = Counts::default();
        for part in rest.split([',', ';', '.']) {
            let mut words = part.split_whitespace();
            let (Some(Ok(number)), Some(what)) = (words.next().map(str::parse::<usize>), words.next()) else {
                continue;
            };
            match what {
                "passed" => counts.passed += number,
                "failed" | "timed" | "exec" => counts.failed += number,
                "ignored" | "skipped" => counts.ignored += number,
                _ => {}
            }
        }
        counts
    }

    /// Whether no test ran.
    pub fn is_nothing(self) -> bool {
        self.passed + self.failed == 0
    }

    fn plus(self, other: Counts) -> Counts {
        Counts {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            ignored: self.ignored + other.ignored,
        }
    }
}

fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            characters.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(character);
        }
    }
    plain
}

/// Everything that one `cargo xtask test` found out.
#[derive(Debug, Default)]
pub struct Tally {
    passed: usize,
    failed: Vec<String>,
    failed_tests: usize,
    skipped: Vec<(String, String)>,
}

impl Tally {
    /// One check came out well or badly.
    pub fn check(&mut self, name: &str, passed: bool) {
        if passed {
            self.passed += 1;
        } else {
            self.failed.push(name.to_owned());
        }
    }

    /// One check or test was not made, for a reason.
    pub fn skip(&mut self, name: &str, reason: &str) {
        self.skipped.push((name.to_owned(), reason.to_owned()));
    }

    /// A test runner finished with these counts. `skips` are the lines that its tests left behind, `name<TAB>reason`:
    /// the runner believes that those passed. A runner that failed without a failed test (it did not build) counts as one.
    pub fn tests(&mut self, runner: &str, counts: Counts, succeeded: bool, skips: &str) {
        let before = self.skipped.len();
        for line in skips.lines() {
            let (name, reason) = line.split_once('\t').unwrap_or((line, "no reason given"));
            self.skip(name, reason);
        }
        let skipped = self.skipped.len() - before;
        self.passed += counts.passed.saturating_sub(skipped);
        self.failed_tests += counts.failed;
        for _ in 0..counts.ignored {
            self.skip(runner, "marked #[ignore] in the source");
        }
        if !succeeded && counts.failed == 0 {
            self.failed.push(format!("{runner} (did not run)"));
        }
    }

    /// Whether nothing failed.
    pub fn is_good(&self) -> bool {
        self.failed.is_empty() && self.failed_tests == 0
    }

    /// The closing lines: reasons of what was skipped, names of what failed, and last the counts.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        for (name, reason) in &self.skipped {
            let _ = writeln!(text, "skipped: {name}: {reason}");
        }
        for name in &self.failed {
            let _ = writeln!(text, "failed: {name}");
        }
        let failed = self.failed.len() + self.failed_tests;
        let _ = write!(text, "{} passed, {failed} failed, {} skipped", self.passed, self.skipped.len());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nextest_summaries_are_counted() {
        let output =
            "   Compiling x\n     Summary [   3.1s] 7 tests run: 4 passed (2 slow), 2 failed, 1 timed out, 3 skipped\n";
        assert_eq!(Counts::read(output), Counts { passed: 4, failed: 3, ignored: 3 });
    }

    #[test]
    fn colours_do_not_hide_a_summary() {
        let output = "\u{1b}[32;1m     Summary\u{1b}[0m [   0.1s] \u{1b}[1m2\u{1b}[0m tests run: \u{1b}[1m2\u{1b}[0m \u{1b}[32;1mpassed\u{1b}[0m, 0 skipped";
        assert_eq!(Counts::read(output), Counts { passed: 2, failed: 0, ignored: 0 });
    }

    #[test]
    fn a_run_of_nothing_is_told_from_one_of_something() {
        for nothing in [
            "     Summary [   0.000s] 0 tests run: 0 passed, 533 skipped",
            "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0.00s",
            "error: could not compile",
        ] {
            assert!(Counts::read(nothing).is_nothing(), "{nothing}");
        }
        assert!(!Counts::read("     Summary [   0.1s] 1 test run: 1 passed, 532 skipped").is_nothing());
    }

    #[test]
    fn a_test_that_failed_counts_once_however_often_it_is_shown() {
        let output = "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0.23s\n\
                           Summary [   1.2s] 3 tests run: 2 passed, 1 failed, 0 skipped\n\
                      \x20   test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0.23s";
        assert_eq!(Counts::read(output), Counts { passed: 2, failed: 1, ignored: 0 });
    }

    #[test]
    fn results_of_several_test_programs_add_up() {
        let output = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 9 filtered out; finished in 0.00s\n\
                      test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(Counts::read(output), Counts { passed: 4, failed: 2, ignored: 1 });
    }

    #[test]
    fn a_test_that_skipped_itself_is_not_a_pass() {
        let mut tally = Tally::default();
        tally.tests("tests", Counts { passed: 5, failed: 0, ignored: 0 }, true, "netns\tno ip program\n");
        assert!(tally.is_good());
        assert_eq!(tally.summary(), "skipped: netns: no ip program\n4 passed, 0 failed, 1 skipped");
    }

    #[test]
    fn a_runner_that_did_not_build_fails_the_run() {
        let mut tally = Tally::default();
        tally.check("format", true);
        tally.tests("tests", Counts::default(), false, "");
        assert!(!tally.is_good());
        assert_eq!(tally.summary(), "failed: tests (did not run)\n1 passed, 1 failed, 0 skipped");
    }
}
