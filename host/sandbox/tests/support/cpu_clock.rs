//! Processor time of a thread: what a call used, however busy the machine is.

use std::time::Duration;

/// The clock of one thread, readable from another one.
#[derive(Clone, Copy)]
pub struct CpuClock(libc::clockid_t);

impl CpuClock {
    pub fn of_this_thread() -> CpuClock {
        let mut clock = 0;
        // SAFETY: asks for the clock of the running thread, and writes to a local.
        let result = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &mut clock) };
        assert_eq!(result, 0, "pthread_getcpuclockid");
        CpuClock(clock)
    }

    /// Processor time so far; none once the thread is gone.
    pub fn now(self) -> Option<Duration> {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: writes to a local.
        let result = unsafe { libc::clock_gettime(self.0, &mut time) };
        (result == 0).then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }
}
