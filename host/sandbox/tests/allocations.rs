//! A tick that changes no register's size allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use ringside_core::log::{Input, Outcome};

#[path = "support/play.rs"]
#[allow(dead_code)]
mod play;
#[path = "support/toy.rs"]
#[allow(dead_code)]
mod toy;

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: everything is the system allocator's; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn ticks_and_datagrams_in_steady_state() {
    let mut play = play::Play::with_players(4);
    let datagram = Input::Datagram { slot: ringside_core::ids::Slot(1), body: play::deed('v', b"a view").into() };
    let mut outputs = Vec::new();
    let mut run = |rounds: u32| {
        for _ in 0..rounds {
            outputs.clear();
            assert_eq!(play.fold.apply(0, &Input::Tick, &mut outputs), Ok(Outcome::Applied));
            assert_eq!(outputs.len(), 4, "a view for each");
            assert_eq!(play.fold.apply(0, &datagram, &mut outputs), Ok(Outcome::Applied));
        }
    };
    run(10);
    let before = COUNT.get();
    run(1000);
    assert_eq!(COUNT.get() - before, 0);
}
