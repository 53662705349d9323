//! The watchdog: one thread a process that stops calls which use more processor time than their limit, by making
//! the interrupt memory of the calling instance inaccessible. Owns the race between a call's end and its being stopped.
//!
//! ```text
//! IDLE ──begin──▶ RUNNING(n) ──end (the caller's swap wins)──────────▶ IDLE
//!                     │ claim (the watchdog's swap wins)
//!                     ▼
//!                 STOPPING(n) ──protected──▶ STOPPED(n) ──end──▶ unprotected, IDLE
//! ```
//! A call's number never repeats, so a late watchdog cannot claim the call after the one that it watched.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

const IDLE: u64 = 0;
const RUNNING: u64 = 1;
const STOPPING: u64 = 2;
const STOPPED: u64 = 3;
const PHASE_BITS: u64 = 2;

/// How often running calls are looked at, so how much longer than its limit a call may run.
const PERIOD: Duration = Duration::from_millis(1);
/// Looks without a running call after which the thread parks.
const QUIET_LOOKS: u32 = 50;
/// Size of the interrupt memory that is protected: one WebAssembly page.
pub(crate) const INTERRUPT_BYTES: usize = 64 << 10;

fn phase(state: u64) -> u64 {
    state & ((1 << PHASE_BITS) - 1)
}

/// What the watchdog sees of one calling thread.
struct Post {
    state: AtomicU64,
    memory: AtomicUsize,
    limit_ns: AtomicU64,
    clock: libc::clockid_t,
}

#[derive(Default)]
struct Shared {
    posts: Mutex<Vec<Weak<Post>>>,
    parked: AtomicBool,
    stop: AtomicBool,
}

/// The watchdog of a process; its thread ends when this is dropped.
pub(crate) struct Watchdog {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    number: AtomicU64,
}

thread_local! {
    /// This thread's post at each watchdog that it has called under (one, outside tests).
    static POSTS: RefCell<Vec<(Weak<Shared>, Arc<Post>)>> = const { RefCell::new(Vec::new()) };
}

/// A call that the watchdog watches, until this is ended or dropped, on the thread that began it.
pub(crate) struct Watch {
    post: Arc<Post>,
    state: u64,
    _stays_on_its_thread: PhantomData<*const ()>,
}

impl Watchdog {
    pub(crate) fn start() -> std::io::Result<Watchdog> {
        Watchdog::with_period(PERIOD)
    }

    fn with_period(period: Duration) -> std::io::Result<Watchdog> {
        let shared = Arc::new(Shared::default());
        let watching = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("watchdog".into()).spawn(move || watch(&watching, period))?;
        Ok(Watchdog { shared, thread: Some(thread), number: AtomicU64::new(1) })
    }

    fn unpark(&self) {
        let thread: Option<&Thread> = self.thread.as_ref().map(JoinHandle::thread);
        if let Some(thread) = thread {
            thread.unpark();
        }
    }

    /// Watches the call that the current thread is about to make into the instance whose interrupt memory begins at
    /// `memory`.
    pub(crate) fn begin(&self, memory: *mut u8, limit: Duration) -> Watch {
        let post = self.post();
        let number = self.number.fetch_add(1, SeqCst);
        let state = (number << PHASE_BITS) | RUNNING;
        post.memory.store(memory as usize, SeqCst);
        post.limit_ns.store(limit.as_nanos().min(u128::from(u64::MAX)) as u64, SeqCst);
        post.state.store(state, SeqCst);
        if self.shared.parked.load(SeqCst) {
            self.unpark();
        }
        Watch { post, state, _stays_on_its_thread: PhantomData }
    }

    /// The current thread's post here; its first call sets one up.
    fn post(&self) -> Arc<Post> {
        let here = Arc::as_ptr(&self.shared);
        POSTS.with_borrow_mut(|posts| match posts.iter().find(|(watchdog, _)| watchdog.as_ptr() == here) {
            Some((_, post)) => Arc::clone(post),
            None => {
                posts.retain(|(watchdog, _)| watchdog.strong_count() > 0);
                let post = Arc::new(Post::of_this_thread());
                posts.push((Arc::downgrade(&self.shared), Arc::clone(&post)));
                let mut all = self.shared.posts.lock().unwrap_or_else(PoisonError::into_inner);
                all.push(Arc::downgrade(&post));
                post
            }
        })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        self.unpark();
        if let Some(thread) = self.thread.take() {
            // The thread runs no code that panics; a failed join would only say so.
            let _ = thread.join();
        }
    }
}

impl Watch {
    /// Ends the call; answers whether the watchdog had claimed it. The interrupt memory is accessible afterwards.
    pub(crate) fn end(mut self) -> bool {
        self.finish()
    }

    /// Ends the call if that has not been done.
    fn finish(&mut self) -> bool {
        let state = std::mem::replace(&mut self.state, IDLE);
        if state == IDLE {
            return false;
        }
        let post = &self.post;
        if post.state.compare_exchange(state, IDLE, SeqCst, SeqCst).is_ok() {
            return false;
        }
        while phase(post.state.load(SeqCst)) == STOPPING {
            std::hint::spin_loop();
            std::thread::yield_now();
        }
        protect(post.memory.load(SeqCst), libc::PROT_READ | libc::PROT_WRITE);
        post.state.store(IDLE, SeqCst);
        true
    }
}

impl Drop for Watch {
    /// A call that panicked is over too.
    fn drop(&mut self) {
        self.finish();
    }
}

impl Post {
    fn of_this_thread() -> Post {
        let mut clock: libc::clockid_t = libc::CLOCK_MONOTONIC;
        // SAFETY: the current thread exists, and `clock` is a valid place for the answer. Where there is no such
        // clock the monotonic one stands in: then the limit is on real time.
        unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &mut clock) };
        Post { state: AtomicU64::new(IDLE), memory: AtomicUsize::new(0), limit_ns: AtomicU64::new(0), clock }
    }

    /// Processor time that the thread of this post has used, ns; `None` when it cannot be told.
    fn cpu_ns(&self) -> Option<u64> {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is a valid place for the answer; an ended thread's clock answers an error.
        let answer = unsafe { libc::clock_gettime(self.clock, &mut time) };
        (answer == 0).then_some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }
}

fn protect(memory: usize, protection: libc::c_int) {
    // SAFETY: `memory` is the base of an instance's interrupt memory, one page that only the rewrite's pokes touch;
    // the instance outlives the call, and the call's end waits for this.
    let answer = unsafe { libc::mprotect(memory as *mut libc::c_void, INTERRUPT_BYTES, protection) };
    debug_assert_eq!(answer, 0, "mprotect of an interrupt memory");
}

/// A call as it was first seen running.
#[derive(Clone, Copy)]
struct Seen {
    state: u64,
    cpu_ns: u64,
}

fn watch(shared: &Shared, period: Duration) {
    let mut posts: Vec<(Arc<Post>, Seen)> = Vec::new();
    let mut quiet = 0;
    while !shared.stop.load(SeqCst) {
        adopt(shared, &mut posts);
        let running = posts.iter_mut().fold(false, |any, (post, seen)| look(post, seen) || any);
        quiet = if running { 0 } else { quiet + 1 };
        if quiet < QUIET_LOOKS {
            std::thread::sleep(period);
            continue;
        }
        quiet = 0;
        posts.clear();
        shared.parked.store(true, SeqCst);
        // A call that began before `parked` was set did not unpark: look once more.
        adopt(shared, &mut posts);
        if !shared.stop.load(SeqCst) && posts.iter().all(|(post, _)| phase(post.state.load(SeqCst)) == IDLE) {
            posts.clear();
            std::thread::park();
        }
        shared.parked.store(false, SeqCst);
    }
}

/// Takes up the posts of new threads and lets go of those that are gone.
fn adopt(shared: &Shared, posts: &mut Vec<(Arc<Post>, Seen)>) {
    let mut all = shared.posts.lock().unwrap_or_else(PoisonError::into_inner);
    if all.len() == posts.len() && posts.iter().all(|(post, _)| Arc::strong_count(post) > 1) {
        return;
    }
    let known = std::mem::take(posts);
    all.retain(|post| match post.upgrade() {
        // Our own copies are the only ones left of a thread that has ended.
        Some(post) if Arc::strong_count(&post) > 1 + usize::from(known.iter().any(|(k, _)| Arc::ptr_eq(k, &post))) => {
            let seen = known.iter().find(|(k, _)| Arc::ptr_eq(k, &post)).map(|(_, seen)| *seen);
            posts.push((post, seen.unwrap_or(Seen { state: IDLE, cpu_ns: 0 })));
            true
        }
        _ => false,
    });
}

/// Looks at one post; stops its call if that is over its limit. Answers whether a call is running.
fn look(post: &Post, seen: &mut Seen) -> bool {
    let state = post.state.load(SeqCst);
    if phase(state) != RUNNING {
        return phase(state) != IDLE;
    }
    let Some(cpu_ns) = post.cpu_ns() else { return true };
    if seen.state != state {
        *seen = Seen { state, cpu_ns };
        return true;
    }
    let over = cpu_ns.saturating_sub(seen.cpu_ns) > post.limit_ns.load(SeqCst);
    if over {
        let stopping = (state & !((1 << PHASE_BITS) - 1)) | STOPPING;
        if post.state.compare_exchange(state, stopping, SeqCst, SeqCst).is_ok() {
            protect(post.memory.load(SeqCst), libc::PROT_NONE);
            post.state.store((stopping & !((1 << PHASE_BITS) - 1)) | STOPPED, SeqCst);
        }
    }
    true
}

#[cfg(test)]
mod tests;
