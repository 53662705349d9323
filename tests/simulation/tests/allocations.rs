//! No allocation in Ringside's own code in a steady turn: a real worker, an arena of eight, real QUIC in virtual time.
//!
//! Every allocation of the worker's turns is attributed by its call stack: to the innermost function that is of a host
//! crate or of a library that it called (QUIC, the engine). What the simulated socket copies is counted beside, and so are
//! checkpoints, each of which is a new copy of the state by its nature: one in 5 s.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use ringside_simulation::worker::Guests;
use ringside_simulation::worker::quiet::{INTERVAL, Match};
use ringside_test_support::members::{Authority, peer};

struct Attributing;

thread_local! {
    static ARMED: Cell<bool> = const { Cell::new(false) };
    static STACKS: RefCell<Vec<Backtrace>> = const { RefCell::new(Vec::new()) };
}

/// Notes the call stack, without noting what that allocates itself.
fn note() {
    if ARMED.replace(false) {
        let stack = Backtrace::force_capture();
        STACKS.with_borrow_mut(|stacks| stacks.push(stack));
        ARMED.set(true);
    }
}

// SAFETY: everything is the system allocator's; what noting allocates is not noted.
unsafe impl GlobalAlloc for Attributing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: as the caller promises.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Attributing = Attributing;

/// Whose an allocation is: the innermost function that is Ringside's or a known library's.
fn owner(stack: &Backtrace) -> (bool, String) {
    let text = stack.to_string();
    if text.contains("checkpoint_now") {
        return (false, "a checkpoint".to_owned());
    }
    // A frame is a line "  12: path::to::function".
    let frames = text.lines().filter_map(|line| line.trim().split_once(": ").map(|(_, name)| name));
    const OURS: [&str; 4] = ["ringside_worker", "ringside_sandbox", "ringside_core", "ringside_protocol"];
    const LIBRARIES: [&str; 6] = ["quinn_proto", "quinn_plaintext", "wasmtime", "rustls", "ring::", "tracing"];
    for frame in frames.filter(|frame| !frame.contains("allocations::")) {
        if frame.contains("ringside_simulation") {
            return (false, "the simulated socket".to_owned());
        }
        if OURS.iter().any(|ours| frame.contains(ours)) {
            return (true, frame.to_owned());
        }
        if LIBRARIES.iter().any(|library| frame.contains(library)) {
            return (false, frame.to_owned());
        }
    }
    (false, "the test's surroundings".to_owned())
}

#[test]
fn a_steady_turn_allocates_nothing_of_its_own() {
    let guests = Guests::load();
    let mut game = Match::start(&guests, 8);
    // Workers of other nodes may link it, and none does.
    let peers = Authority::new().member(1).configure(peer(1, 1), &[1; 32], true);
    game.host.worker.open_to_peers(peers.expect("a member"));
    // Everybody sends, one after the other.
    game.phases = (0..8).map(|number| Some(number * INTERVAL / 10)).collect();
    // Buffers find their sizes, and every chunk that takes turns has served.
    game.pass(120_000);
    let views = game.views;
    game.pass_with(20_000, |host, now| {
        ARMED.set(true);
        let done = host.turn(now);
        ARMED.set(false);
        done
    });
    assert!(game.views - views > 8 * 350, "the match went on: {} views", game.views - views);
    let (mut ours, mut others) = (BTreeMap::new(), BTreeMap::new());
    for stack in STACKS.take() {
        let (is_ours, name) = owner(&stack);
        *(if is_ours { &mut ours } else { &mut others }).entry(name).or_insert(0) += 1;
    }
    println!("in twenty seconds; others: {others:?}, ours: {ours:?}");
    assert!(others.values().sum::<i32>() > 3_200, "the simulated socket copies every packet, which is seen");
    assert_eq!(ours, BTreeMap::new());
    // What is ours would be found.
    ARMED.set(true);
    game.host.worker.held();
    ARMED.set(false);
    assert!(STACKS.take().iter().any(|stack| owner(stack).0));
}
