//! Clocks of one process that are not the machine's: a small library, loaded before all others, that answers in the place
//! of the system's and adds to what that says. A wall clock that is wrong leaves those alone that only count (monotonic,
//! boot time), as they are where a machine's clock is set wrong. Of a process that is to find that it has slept all clocks
//! leap. Needs a C compiler and a system that loads libraries dynamically.

use std::path::PathBuf;
use std::process::Command;

use crate::directory::Directory;

const SHIFT: &str = "CLOCK_SHIFT_S";
/// The file that is there when clocks are to leap, and by how much.
const LEAP: &str = "CLOCK_LEAP";
const LEAP_S: &str = "CLOCK_LEAP_S";
// Waits until a time on a clock that has leaped are passed on as the system's own clock has it.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long number(const char *name) { const char *text = getenv(name); return text ? atol(text) : 0; }
static long leap(void) {
    static int has_leaped = 0;
    if (!has_leaped) {
        const char *file = getenv("CLOCK_LEAP");
        int before = errno;
        has_leaped = file && access(file, F_OK) == 0;
        errno = before;
    }
    return has_leaped ? number("CLOCK_LEAP_S") : 0;
}
long syscall(long what, ...) {
    static long (*next)(long, ...) = NULL;
    va_list list;
    long at[6];
    struct timespec until;
    va_start(list, what);
    for (int each = 0; each < 6; each++) at[each] = va_arg(list, long);
    va_end(list);
    if (!next) next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    if (what == SYS_futex && at[3] && (at[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET && !(at[1] & FUTEX_CLOCK_REALTIME)) {
        until = *(const struct timespec *)at[3];
        until.tv_sec = until.tv_sec > leap() ? until.tv_sec - leap() : 0;
        at[3] = (long)&until;
    }
    return next(what, at[0], at[1], at[2], at[3], at[4], at[5]);
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result != 0) return result;
    switch (clock) {
    case CLOCK_REALTIME: case CLOCK_REALTIME_COARSE: now->tv_sec += number("CLOCK_SHIFT_S") + leap(); break;
    case CLOCK_MONOTONIC: case CLOCK_MONOTONIC_COARSE: case CLOCK_MONOTONIC_RAW: case CLOCK_BOOTTIME:
        now->tv_sec += leap();
    }
    return result;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec time;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &time);
    now->tv_sec = time.tv_sec;
    now->tv_usec = time.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *into) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into) *into = now.tv_sec;
    return now.tv_sec;
}
"#;

/// A clock that differs from the machine's.
pub struct Clock {
    library: PathBuf,
    shift_s: i64,
    leap_s: i64,
    directory: Directory,
}

impl Clock {
    /// So many seconds ahead of the machine's, or behind it.
    ///
    /// # Errors
    /// Why this machine gives none.
    pub fn ahead_by(shift_s: i64) -> Result<Clock, String> {
        Clock::new(shift_s, 0)
    }

    /// The machine's until it leaps by so many seconds, as for who has slept that long.
    ///
    /// # Errors
    /// Why this machine gives none.
    pub fn that_leaps_by(leap_s: i64) -> Result<Clock, String> {
        Clock::new(0, leap_s)
    }

    /// It leaps.
    ///
    /// # Panics
    /// If the file that says so cannot be written.
    pub fn leap(&self) {
        std::fs::write(self.leaped(), "").expect("a file that says so");
    }

    fn leaped(&self) -> PathBuf {
        self.directory.path().join("leaped")
    }

    fn new(shift_s: i64, leap_s: i64) -> Result<Clock, String> {
        let directory = Directory::new();
        let (source, library) = (directory.path().join("clock.c"), directory.path().join("clock.so"));
        std::fs::write(&source, SOURCE).map_err(|error| error.to_string())?;
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).arg("-ldl");
        let output = compile.output().map_err(|error| format!("no C compiler: {error}"))?;
        if !output.status.success() {
            return Err(format!("the C compiler: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        let clock = Clock { library, shift_s, leap_s, directory };
        clock.works()?;
        Ok(clock)
    }

    /// What a process needs to go by it.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("LD_PRELOAD", self.library.to_string_lossy().into_owned()),
            (SHIFT, self.shift_s.to_string()),
            (LEAP, self.leaped().to_string_lossy().into_owned()),
            (LEAP_S, self.leap_s.to_string()),
        ]
    }

    /// Whether programs go by it here.
    fn works(&self) -> Result<(), String> {
        let seconds = |command: &mut Command| {
            let output = command.arg("+%s").output().map_err(|error| format!("date: {error}"))?;
            String::from_utf8_lossy(&output.stdout).trim().parse::<i64>().map_err(|error| format!("date: {error}"))
        };
        let right = seconds(&mut Command::new("date"))?;
        let wrong = seconds(Command::new("date").envs(self.environment()))?;
        let is_shifted = wrong - right >= self.shift_s && wrong - right < self.shift_s + 600;
        is_shifted.then_some(()).ok_or_else(|| "programs here do not load a library before all others".to_owned())
    }
}
