//! A wall clock that is wrong, for one process: a small library, loaded before all others, that answers in the place of
//! the system's and adds to what that says. Clocks that only count (monotonic, boot time) stay as they are, as they do
//! where a machine's clock is set wrong. Needs a C compiler and a system that loads libraries dynamically.

use std::path::PathBuf;
use std::process::Command;

use crate::directory::Directory;

const SHIFT: &str = "CLOCK_SHIFT_S";
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long shift(void) { const char *text = getenv("CLOCK_SHIFT_S"); return text ? atol(text) : 0; }
int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += shift();
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
    _directory: Directory,
}

impl Clock {
    /// So many seconds ahead of the machine's, or behind it.
    ///
    /// # Errors
    /// Why this machine gives none.
    pub fn ahead_by(shift_s: i64) -> Result<Clock, String> {
        let directory = Directory::new();
        let (source, library) = (directory.path().join("clock.c"), directory.path().join("clock.so"));
        std::fs::write(&source, SOURCE).map_err(|error| error.to_string())?;
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source);
        let output = compile.output().map_err(|error| format!("no C compiler: {error}"))?;
        if !output.status.success() {
            return Err(format!("the C compiler: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        let clock = Clock { library, shift_s, _directory: directory };
        clock.works()?;
        Ok(clock)
    }

    /// What a process needs to go by it.
    pub fn environment(&self) -> [(&'static str, String); 2] {
        [("LD_PRELOAD", self.library.to_string_lossy().into_owned()), (SHIFT, self.shift_s.to_string())]
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
