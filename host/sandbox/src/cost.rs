//! What a call cost: wall time always, and whether it used more processor time than its budget. Reads the thread's
//! processor clock (a system call) only when the last reading is old or a call looks expensive.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// A reading of the processor clock is good for calls that begin this soon after it.
const FRESH: Duration = Duration::from_micros(200);

/// What the last call of a fold cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallCost {
    /// Real time from its begin to its end.
    pub wall: Duration,
    /// Processor time of the thread; where the call was short, the real time.
    pub cpu: Duration,
    /// Whether it used more of the thread's processor time than its budget.
    pub over_budget: bool,
}

#[derive(Clone, Copy)]
struct Reading {
    at: Instant,
    cpu: Duration,
}

thread_local! {
    static LAST: Cell<Option<Reading>> = const { Cell::new(None) };
}

fn read(at: Instant) -> Reading {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the answer; every thread has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    let reading = Reading { at, cpu: Duration::new(time.tv_sec as u64, time.tv_nsec as u32) };
    LAST.set(Some(reading));
    reading
}

/// Processor time that the current thread has used, or up to [`FRESH`] more: the last reading and the real time since.
pub(crate) fn processor_time() -> Duration {
    let (reading, now) = fresh_reading();
    reading.cpu + now.saturating_duration_since(reading.at)
}

/// A reading not older than [`FRESH`], and the time now.
fn fresh_reading() -> (Reading, Instant) {
    let now = Instant::now();
    let fresh = LAST.get().filter(|last| now.saturating_duration_since(last.at) < FRESH);
    (fresh.unwrap_or_else(|| read(now)), now)
}

/// Measures one call.
pub(crate) struct Meter {
    began: Instant,
    reading: Reading,
}

impl Meter {
    pub(crate) fn begin() -> Meter {
        let (reading, began) = fresh_reading();
        Meter { began, reading }
    }

    /// Processor time before the call that the reading does not cover is at most [`FRESH`] and is left out in the
    /// call's favour.
    pub(crate) fn end(self, budget: Duration) -> CallCost {
        let ended = Instant::now();
        let wall = ended - self.began;
        if wall <= budget {
            return CallCost { wall, cpu: wall, over_budget: false };
        }
        let used = read(ended).cpu.saturating_sub(self.reading.cpu);
        let cpu = used.saturating_sub(self.began.saturating_duration_since(self.reading.at)).min(wall);
        CallCost { wall, cpu, over_budget: cpu > budget }
    }
}
