//! The race between a call's end and its being stopped, on pages that stand for interrupt memories.

use std::time::Instant;

use super::*;

/// A page as an instance has it.
struct Page(*mut u8);

impl Page {
    fn new() -> Page {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping anywhere.
        let at = unsafe {
            libc::mmap(std::ptr::null_mut(), INTERRUPT_BYTES, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
        };
        assert_ne!(at, libc::MAP_FAILED);
        Page(at.cast())
    }

    /// Dies of a signal if the page is not accessible.
    fn touch(&self) {
        // SAFETY: the mapping is ours and large enough; whether it is accessible is what is tested.
        unsafe { self.0.write_volatile(self.0.read_volatile().wrapping_add(1)) };
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: nobody has the mapping any more.
        unsafe { libc::munmap(self.0.cast(), INTERRUPT_BYTES) };
    }
}

fn spin(time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        std::hint::spin_loop();
    }
}

fn stopped(post: &Post) -> bool {
    phase(post.state.load(SeqCst)) == STOPPED
}

/// Calls of random length round the limit; after each the page is accessible and stays so, and a call far below its
/// own limit is never stopped for the one before it.
fn race(watchdog: &Watchdog, seed: u64, calls: u32) -> (u32, u32) {
    let mut mutator = ringside_protocol::fuzz::Mutator::new(seed);
    let limit = Duration::from_micros(20);
    let mut counts = (0, 0);
    let mut page = Page::new();
    // On a busy machine the watchdog meets few calls: it goes on until it has met enough, and has let enough pass.
    while counts.0 + counts.1 < calls || counts.0.min(counts.1) <= ENOUGH {
        let watch = watchdog.begin(page.0, limit);
        spin(Duration::from_micros(mutator.below(160) as u64));
        if watch.end() {
            counts.0 += 1;
        } else {
            counts.1 += 1;
        }
        page.touch();
        let watch = watchdog.begin(page.0, Duration::from_secs(3600));
        page.touch();
        assert!(!watch.end(), "stopped for the call before it");
        page.touch();
        if mutator.below(8) == 0 {
            page = Page::new();
        }
    }
    counts
}

/// Calls of either kind that a thread must have met.
const ENOUGH: u32 = 100;

/// `RINGSIDE_CALLS_NEAR_LIMIT` says how many calls.
#[test]
fn calls_that_end_near_their_limit_on_several_threads() {
    let calls = std::env::var("RINGSIDE_CALLS_NEAR_LIMIT").map_or(30_000, |text| text.parse().expect("a number"));
    let watchdog = Watchdog::with_period(Duration::from_micros(5)).expect("a watchdog");
    let counts: Vec<(u32, u32)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|seed| {
                scope.spawn({
                    let watchdog = &watchdog;
                    move || race(watchdog, seed, calls / 3)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    println!("{counts:?}");
    assert!(counts.iter().all(|(stopped, whole)| stopped.min(whole) > &ENOUGH));
}

#[test]
fn a_call_that_does_not_end_is_stopped_also_after_the_watchdog_slept() {
    let watchdog = Watchdog::with_period(Duration::from_micros(20)).expect("a watchdog");
    let page = Page::new();
    for round in 0..200 {
        // Long enough, sometimes, for the thread to park; never awaited, so that it is met on its way there as well.
        spin(Duration::from_micros(round * 37 % 3000));
        let watch = watchdog.begin(page.0, Duration::from_micros(10));
        while !stopped(&watch.post) {
            std::hint::spin_loop();
        }
        assert!(watch.end());
        page.touch();
    }
}

#[test]
fn it_parks_when_nothing_runs_and_wakes_for_the_next_call() {
    let watchdog = Watchdog::with_period(Duration::from_micros(20)).expect("a watchdog");
    let page = Page::new();
    for _ in 0..20 {
        while !watchdog.shared.parked.load(SeqCst) {
            std::thread::yield_now();
        }
        let watch = watchdog.begin(page.0, Duration::ZERO);
        while !stopped(&watch.post) {
            std::hint::spin_loop();
        }
        drop(watch);
        page.touch();
    }
}

#[test]
fn threads_that_end_and_watchdogs_that_end_leave_nothing() {
    let watchdog = Watchdog::with_period(Duration::from_micros(20)).expect("a watchdog");
    for _ in 0..20 {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let page = Page::new();
                drop(watchdog.begin(page.0, Duration::from_secs(1)));
                page.touch();
            });
        });
    }
    let page = Page::new();
    let watch = watchdog.begin(page.0, Duration::from_secs(3600));
    // While a call runs the watchdog looks, and lets go of those that are gone.
    while watchdog.shared.posts.lock().expect("whole").len() > 1 {
        std::thread::yield_now();
    }
    assert!(!watch.end());
    drop(watchdog);

    for _ in 0..50 {
        let short = Watchdog::start().expect("a watchdog");
        assert!(!short.begin(page.0, Duration::from_secs(1)).end());
    }
    let last = Watchdog::start().expect("a watchdog");
    drop(last.begin(page.0, Duration::from_secs(1)));
    POSTS.with_borrow(|posts| assert!(posts.len() <= 2, "{}", posts.len()));
}

/// A running call whose processor clock has jumped over its limit since.
fn over_limit(page: &Page, number: u64, grace: Duration) -> Seen {
    let post = Post::of_this_thread();
    post.memory.store(page.0 as usize, SeqCst);
    post.stop_at_ns.store(1, SeqCst);
    post.grace_ns.store(nanoseconds(grace), SeqCst);
    post.state.store((number << PHASE_BITS) | RUNNING, SeqCst);
    Seen { post: Arc::new(post), call: 0, over: (0, 0) }
}

#[test]
fn a_clock_that_jumped_stops_nobody_who_does_not_go_on() {
    let page = Page::new();
    let mut seen = over_limit(&page, 7, Duration::from_secs(3600));
    for _ in 0..3 {
        assert!(look(&mut seen).expect("a running call") > Duration::from_secs(3000));
        assert_eq!(phase(seen.post.state.load(SeqCst)), RUNNING);
        page.touch();
    }
    // Found over its limit, the call has ended: what was found is not held against the next one.
    let mut seen = over_limit(&page, 7, Duration::ZERO);
    look(&mut seen).expect("a running call");
    seen.post.state.store((8 << PHASE_BITS) | RUNNING, SeqCst);
    look(&mut seen).expect("a running call");
    assert_eq!(phase(seen.post.state.load(SeqCst)), RUNNING, "the next call has its own grace");
    look(&mut seen).expect("a running call");
    assert!(stopped(&seen.post), "who goes on is stopped");
}
