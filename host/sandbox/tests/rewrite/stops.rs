//! Every loop and call shape can be stopped: each module here runs for ever (or longer than anyone waits) in the
//! plain engine, and ends in a trap once another thread takes its interrupt page away.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use ringside_protocol::fuzz::Mutator;
use ringside_sandbox::validate::contract::HOST;
use wasmtime::{Engine, Trap};

use crate::cpu_clock::CpuClock;
use crate::harness::{Guest, engine, rewritten};
use crate::shapes::{CALLS, CONTENTS, ITEMS, LOCALS, loops};

/// A shape that never stops fails after this, instead of hanging the test run.
const HANG_GUARD: Duration = Duration::from_secs(60);
/// Processor time that a guest runs before it is stopped: it must be deep in its loop by then.
const RUNS: Duration = Duration::from_millis(1);
/// Processor time that it may use after its page is gone.
const GRACE: Duration = Duration::from_millis(10);

/// A module around the body of `run`, which calls the host once before it loops.
fn module(items: &str, body: &str) -> String {
    format!(
        "(module
            (import \"{HOST}\" \"now\" (func $now (result i64)))
            (memory (export \"memory\") 16 256)
            (table 4 funcref) (elem (i32.const 0) $leaf $counted)
            {ITEMS}
            {items}
            (func (export \"run\") {LOCALS}
                (drop (call $now))
                {body}))"
    )
}

/// Runs `run`, stops it, and says how it ended and what processor time it used after that.
fn stop(engine: &Engine, text: &str) -> (Result<(), Trap>, Duration) {
    let bytes = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let mut guest = Guest::new(engine, &rewritten(&bytes)).expect("instantiates");
    let page = guest.interrupt_page();
    let (say_started, started) = mpsc::channel();
    let (say_ended, ended) = mpsc::channel();
    guest.store.data_mut().at_call = Some(Box::new(move |_| {
        let clock = CpuClock::of_this_thread();
        say_started.send((clock, clock.now())).expect("the test listens");
    }));
    let runner = thread::spawn(move || {
        let result = guest.call("run", &[]).map(|_| ());
        say_ended.send((result, CpuClock::of_this_thread().now())).expect("the test listens");
        guest
    });
    let (clock, begun) = started.recv().expect("the guest calls `now`");
    let used = |now: Option<Duration>| now.zip(begun).is_none_or(|(now, begun)| now - begun >= RUNS);
    while !used(clock.now()) && !runner.is_finished() {
        thread::yield_now();
    }
    page.take_away();
    let taken = clock.now();
    let (result, end) = match ended.recv_timeout(HANG_GUARD) {
        Ok(ended) => ended,
        Err(RecvTimeoutError::Timeout) => panic!("nothing stops this:\n{text}"),
        Err(RecvTimeoutError::Disconnected) => panic!("the guest's thread ended by itself"),
    };
    page.give_back();
    drop(runner.join().expect("the guest's thread ends"));
    (result, taken.zip(end).map_or(Duration::ZERO, |(taken, end)| end.saturating_sub(taken)))
}

/// How often a shape is tried: who shares the machine's memory bus and its caches makes an operator slow that is quick
/// alone, now and then. A hole would be one each time.
const TRIES: usize = 12;

#[track_caller]
fn assert_stops(engine: &Engine, text: &str) {
    let mut least = Duration::MAX;
    for _ in 0..TRIES {
        let (result, after) = stop(engine, text);
        assert_eq!(result, Err(Trap::MemoryOutOfBounds), "{text}");
        least = least.min(after);
        if least < GRACE {
            return;
        }
    }
    panic!("it ran on for {least:?} at least: {text}");
}

#[test]
fn every_loop_around_every_content() {
    let engine = engine(false);
    for content in CONTENTS {
        for body in loops(content) {
            assert_stops(&engine, &module("", &body));
        }
    }
}

#[test]
fn loops_after_others_that_end() {
    let engine = engine(false);
    let ends = "(local.set $i (i32.const 0))
        (loop $n (br_if $n (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3))))";
    let loads = "(drop (i32.load8_u (i32.const 0))) (drop (i32.load (i32.const 0))) (drop (i64.load (i32.const 0)))";
    for body in loops("") {
        assert_stops(&engine, &module("", &format!("{ends} {body}")));
        assert_stops(&engine, &module("", &format!("{loads} {body}")));
        assert_stops(&engine, &module("", &format!("{} {loads} {body}", ends.repeat(40))));
    }
}

#[test]
fn calls_that_never_return() {
    let engine = engine(false);
    for (items, body) in CALLS {
        assert_stops(&engine, &module(items, body));
    }
}

#[test]
fn recursion_ends_by_itself() {
    let engine = engine(false);
    let text = module("(func $f (result i32) (i32.add (call $f) (i32.const 1)))", "(drop (call $f))");
    assert_eq!(stop(&engine, &text).0, Err(Trap::StackOverflow));
}

#[test]
fn straight_lines_of_slow_operators() {
    let engine = engine(false);
    // 16 MiB each; all of them together would take minutes.
    let fill = "(memory.fill (i32.const 0) (i32.const 1) (i32.const 16777216))";
    let grow = "(drop (memory.grow (i32.const 240)))";
    assert_stops(&engine, &module("", &format!("{grow} {}", fill.repeat(10_000))));
    let copy = "(memory.copy (i32.const 0) (i32.const 8388608) (i32.const 8388608))";
    assert_stops(&engine, &module("", &format!("{grow} {}", copy.repeat(10_000))));
    let calls = "(call $fill)".repeat(10_000);
    assert_stops(&engine, &module(&format!("(func $fill {fill})"), &format!("{grow} {calls}")));
}

#[test]
fn many_loops_in_one_function() {
    let engine = engine(false);
    let ends = "(loop $n (br_if $n (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3))))";
    for (before, after) in [(0, 2_000), (2_000, 0), (1_000, 1_000)] {
        let body = format!("{} (loop $l (br $l)) {}", ends.repeat(before), ends.repeat(after));
        assert_stops(&engine, &module("", &body));
        let body = format!("(loop $all {} (br $all) {})", ends.repeat(before), ends.repeat(after));
        assert_stops(&engine, &module("", &body));
    }
    let deep = format!("{}(br 0){}", "(loop ".repeat(900), ")".repeat(900));
    assert_stops(&engine, &module("", &deep));
    let outermost = format!("{}(br 899){}", "(loop ".repeat(900), ")".repeat(900));
    assert_stops(&engine, &module("", &outermost));
    let middle = format!("(loop {} (br 450){})", "(loop ".repeat(899), ")".repeat(899));
    assert_stops(&engine, &module("", &middle));
}

/// A random nest of loops, blocks and branches that count down, but for one loop that does not.
struct Nest {
    random: Mutator,
    text: String,
    endless: bool,
    loops: usize,
}

impl Nest {
    fn statements(&mut self, depth: usize) {
        for _ in 0..self.random.below(3) + 1 {
            self.statement(depth);
        }
    }

    fn statement(&mut self, depth: usize) {
        if depth == 0 || self.random.below(4) == 0 {
            let content = CONTENTS[self.random.below(CONTENTS.len() - 7)];
            self.text.push_str(content);
            return;
        }
        match self.random.below(5) {
            0 => self.wrap("(block ", depth, ")"),
            1 => self.wrap("(if (i32.eqz (local.get $j)) (then ", depth, "))"),
            2 => self.wrap("(if (local.get $j) (then (nop)) (else ", depth, "))"),
            _ => {
                let number = self.loops;
                self.loops += 1;
                self.wrap(&format!("(loop $l{number} "), depth, "");
                if !self.endless && self.random.below(3) == 0 {
                    self.endless = true;
                    self.text.push_str(&format!("(br $l{number}))"));
                } else {
                    self.text.push_str(&format!(
                        "(global.set $g (i32.add (global.get $g) (i32.const 1)))
                         (br_if $l{number} (i32.rem_u (global.get $g) (i32.const 5))))"
                    ));
                }
            }
        }
    }

    fn wrap(&mut self, before: &str, depth: usize, after: &str) {
        self.text.push_str(before);
        self.statements(depth - 1);
        self.text.push_str(after);
    }
}

#[test]
fn random_nests() {
    let engine = engine(false);
    for seed in 0..300 {
        let mut nest = Nest { random: Mutator::new(seed), text: String::new(), endless: false, loops: 0 };
        nest.statements(5);
        if !nest.endless {
            nest.text.push_str("(loop $last (br $last))");
        }
        assert_stops(&engine, &module("", &nest.text));
    }
}

/// A call that leaves the module has no head of ours: it is poked before, so that a straight line of them stops at the
/// next one.
#[test]
fn straight_lines_of_host_calls() {
    let engine = engine(false);
    let direct = "(drop (call $now))".repeat(100);
    let indirect = "(drop (call_indirect (result i64) (i32.const 2)))".repeat(100);
    for body in [direct, indirect] {
        let bytes = wat::parse_str(module("(elem (i32.const 2) $now)", &body)).expect("text");
        let mut guest = Guest::new(&engine, &rewritten(&bytes)).expect("instantiates");
        let page = guest.interrupt_page();
        guest.store.data_mut().at_call = Some(Box::new(move |count| {
            if count == 50 {
                page.take_away();
            }
        }));
        assert_eq!(guest.call("run", &[]), Err(Trap::MemoryOutOfBounds));
        assert_eq!(guest.store.data().calls.len(), 50);
        page.give_back();
    }
}
