//! The watchdog: one thread a process that stops calls which use more processor time than their limit, by making
//! the interrupt memory of the calling instance inaccessible. Owns the race between a call's end and its being stopped.
//!
//! ```text
//! IDLE ──begin──▶ RUNNING(n) ──end (the caller's swap wins)──────────▶ IDLE
//!                     │ claim (the watchdog's swap wins)
//!                     ▼
//!                 STOPPING(n) ──protected──▶ STOPPED(n) ──end──▶ unprotected, IDLE
//!                     │ the system refuses
//!                     ▼
//!                 RUNNING(n), to be tried again
//! ```
//! A call's number never repeats, so a late watchdog cannot claim the call after the one that it watched.
//!
//! **A thread's processor clock counts what the thread did not do**: interrupts served on its processor, and time that a
//! hypervisor took the processor away. So a call that is found over its limit is not stopped for that alone: its
//! processor is made to answer, and the call is stopped if it goes on for a [`GRACE_PART`]th of its limit after that.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use ringside_core::limits;

use crate::cost;

const IDLE: u64 = 0;
const RUNNING: u64 = 1;
const STOPPING: u64 = 2;
const STOPPED: u64 = 3;
const PHASE_BITS: u64 = 2;

/// How often new calls are looked for: no less often than the smallest limit, so that none runs past it unseen. A call
/// that was seen is looked at again when it may be over its limit.
const PERIOD: Duration = Duration::from_micros(limits::CALL_BUDGET_US * limits::CALL_LIMIT_FACTOR);
/// Shortest sleep: a call that waits for its processor uses no time, and is not waited for in a spin.
const SHORTEST: Duration = Duration::from_micros(50);
/// Niceness of the watchdog's thread: it does next to nothing, and must not wait behind what it watches, nor behind
/// whatever else keeps the machine busy.
const NICENESS: i32 = -20;
/// Looks in which no thread made a call, after which the watchdog parks.
const QUIET_LOOKS: u32 = 12;
/// What a call that is found over its limit may use further before it is stopped, as a part of its limit.
const GRACE_PART: u32 = 16;
/// Commands of `membarrier(2)`.
const MEMBARRIER_PRIVATE_EXPEDITED: libc::c_int = 1 << 3;
const MEMBARRIER_REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;
/// Size of the interrupt memory that is protected: one WebAssembly page.
pub(crate) const INTERRUPT_BYTES: usize = 64 << 10;

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn phase(state: u64) -> u64 {
    state & ((1 << PHASE_BITS) - 1)
}

/// What the watchdog sees of one calling thread.
struct Post {
    state: AtomicU64,
    memory: AtomicUsize,
    /// Reading of the thread's processor clock at which the call is stopped, ns.
    stop_at_ns: AtomicU64,
    /// What the call may use after it was found over its limit, ns.
    grace_ns: AtomicU64,
    /// Number of the last call; only the thread itself counts.
    calls: AtomicU64,
    clock: libc::clockid_t,
    /// Number of the last call that could not be stopped.
    refused: AtomicU64,
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
        let thread = std::thread::Builder::new().name("watchdog".into()).spawn(move || {
            go_first();
            register_answers();
            watch(&watching, period);
        })?;
        Ok(Watchdog { shared, thread: Some(thread) })
    }

    fn unpark(&self) {
        let thread: Option<&Thread> = self.thread.as_ref().map(JoinHandle::thread);
        if let Some(thread) = thread {
            thread.unpark();
        }
    }

    /// Watches the call that the current thread is about to make into the instance whose interrupt memory begins at
    /// `memory`, and stops it when it has used `limit` of processor time.
    pub(crate) fn begin(&self, memory: *mut u8, limit: Duration) -> Watch {
        let post = self.post();
        let number = post.calls.load(Relaxed) + 1;
        let state = (number << PHASE_BITS) | RUNNING;
        post.calls.store(number, Relaxed);
        post.memory.store(memory as usize, Relaxed);
        post.stop_at_ns.store(nanoseconds(cost::processor_time().saturating_add(limit)), Relaxed);
        post.grace_ns.store(nanoseconds(limit / GRACE_PART), Relaxed);
        // Publishes what was stored before, and comes before `parked` is read.
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
        let state = post.state.load(SeqCst);
        if phase(state) == RUNNING {
            // It could not be stopped and has ended by itself; the watchdog may try again at this moment.
            self.state = state;
            return self.finish();
        }
        if let Err(error) = protect(post.memory.load(SeqCst), libc::PROT_READ | libc::PROT_WRITE) {
            tracing::error!(%error, "an interrupt memory cannot be opened again: raise vm.max_map_count");
            // Whoever is given this memory next would be stopped at once.
            std::process::abort();
        }
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
        // SAFETY: the current thread exists, and `clock` is a valid place for the answer.
        let answer = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &mut clock) };
        debug_assert_eq!(answer, 0, "a thread has a processor clock");
        let [state, stop_at_ns, grace_ns, calls, refused] = [const { AtomicU64::new(0) }; 5];
        Post { state, memory: AtomicUsize::new(0), stop_at_ns, grace_ns, calls, clock, refused }
    }

    /// Processor time that the thread of this post has used, ns; `None` when it cannot be told.
    fn cpu_ns(&self) -> Option<u64> {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is a valid place for the answer; an ended thread's clock answers an error.
        let answer = unsafe { libc::clock_gettime(self.clock, &mut time) };
        (answer == 0).then_some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }
}

/// Raises the calling thread's priority. Where the system refuses, calls are stopped as soon as this thread's turn comes.
fn go_first() {
    // SAFETY: plain numbers; on Linux "process 0" means the calling thread.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
}

/// # Errors
/// The system refuses: a process has too many mappings.
fn protect(memory: usize, protection: libc::c_int) -> std::io::Result<()> {
    // SAFETY: `memory` is the base of an instance's interrupt memory, one page that only the rewrite's pokes touch;
    // the instance outlives the call, and the call's end waits for this.
    let answer = unsafe { libc::mprotect(memory as *mut libc::c_void, INTERRUPT_BYTES, protection) };
    if answer == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Asks the system that [`answered`] works.
fn register_answers() {
    // SAFETY: plain numbers; where the system does not know the call nothing happens.
    unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_REGISTER_PRIVATE_EXPEDITED, 0, 0) };
}

/// Waits until every processor that runs a thread of this process has answered an interrupt: one that the hypervisor has
/// taken away answers when it is back. Returns at once where the system has no such call.
fn answered() {
    // SAFETY: plain numbers, as above.
    unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_PRIVATE_EXPEDITED, 0, 0) };
}

/// A post and its last call as it was when it was last looked at.
struct Seen {
    post: Arc<Post>,
    call: u64,
    /// The call that was last found over its limit, and the reading of the processor clock at which it is stopped, ns.
    over: (u64, u64),
}

fn watch(shared: &Shared, period: Duration) {
    let mut posts: Vec<Seen> = Vec::new();
    let mut quiet = 0;
    while !shared.stop.load(SeqCst) {
        adopt(shared, &mut posts);
        let mut called = false;
        let mut sleep = period;
        for seen in &mut posts {
            let call = seen.post.calls.load(Relaxed);
            called |= std::mem::replace(&mut seen.call, call) != call;
            if let Some(remaining) = look(seen) {
                called = true;
                sleep = sleep.min(remaining);
            }
        }
        quiet = if called { 0 } else { quiet + 1 };
        if quiet < QUIET_LOOKS {
            std::thread::sleep(sleep.max(SHORTEST.min(period)));
            continue;
        }
        quiet = 0;
        posts.clear();
        shared.parked.store(true, SeqCst);
        // A call that began before `parked` was set did not unpark: look once more.
        adopt(shared, &mut posts);
        if !shared.stop.load(SeqCst) && posts.iter().all(|seen| phase(seen.post.state.load(SeqCst)) == IDLE) {
            posts.clear();
            std::thread::park();
        }
        shared.parked.store(false, SeqCst);
    }
}

/// Takes up the posts of new threads and lets go of those that are gone.
fn adopt(shared: &Shared, posts: &mut Vec<Seen>) {
    let mut all = shared.posts.lock().unwrap_or_else(PoisonError::into_inner);
    if all.len() == posts.len() && posts.iter().all(|seen| Arc::strong_count(&seen.post) > 1) {
        return;
    }
    let known = std::mem::take(posts);
    all.retain(|post| match post.upgrade() {
        // Our own copies are the only ones left of a thread that has ended.
        Some(post) => {
            let before = known.iter().find(|seen| Arc::ptr_eq(&seen.post, &post));
            let is_used = Arc::strong_count(&post) > 1 + usize::from(before.is_some());
            if is_used {
                let (call, over) = before.map_or((0, (0, 0)), |seen| (seen.call, seen.over));
                posts.push(Seen { post, call, over });
            }
            is_used
        }
        None => false,
    });
}

/// Looks at one post; stops its call if that was over its limit before and went on. Answers how much processor time a
/// running call has left until it must be looked at again.
fn look(seen: &mut Seen) -> Option<Duration> {
    let post = &*seen.post;
    let state = post.state.load(SeqCst);
    if phase(state) != RUNNING {
        return None;
    }
    // Of this call or, if it has ended meanwhile, of a later one: then the swap below fails.
    let stop_at_ns = post.stop_at_ns.load(SeqCst);
    let number = state & !((1 << PHASE_BITS) - 1);
    let stop_at_ns = if seen.over.0 == number { seen.over.1 } else { stop_at_ns };
    let mut left_ns = stop_at_ns.saturating_sub(post.cpu_ns()?);
    if left_ns == 0 && seen.over.0 != number {
        let grace_ns = post.grace_ns.load(SeqCst);
        answered();
        seen.over = (number, post.cpu_ns()? + grace_ns);
        left_ns = grace_ns;
    } else if left_ns == 0 && post.state.compare_exchange(state, number | STOPPING, SeqCst, SeqCst).is_ok() {
        let Err(error) = protect(post.memory.load(SeqCst), libc::PROT_NONE) else {
            post.state.store(number | STOPPED, SeqCst);
            return Some(Duration::ZERO);
        };
        post.state.store(number | RUNNING, SeqCst);
        if post.refused.swap(number, Relaxed) != number {
            tracing::error!(%error, "a call is over its limit and cannot be stopped: raise vm.max_map_count");
        }
        return Some(PERIOD);
    }
    Some(Duration::from_nanos(left_ns))
}

#[cfg(test)]
mod tests;
