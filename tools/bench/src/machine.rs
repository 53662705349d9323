//! The machine: which core a process runs on, and how much CPU time a process has used.

use std::net::UdpSocket;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

/// The core of whatever is measured.
pub const SERVER_CORE: usize = 0;
/// The core of whatever makes the load.
pub const LOAD_CORE: usize = 1;

/// Keeps the calling process, and what it starts afterwards, on one core. Says whether that worked: on a machine
/// with one core, or a system without affinity, it does not.
pub fn pin(core: usize) -> bool {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: the set is a plain bit mask that lives through the call; 0 is the calling thread.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(core, &mut set);
            libc::sched_setaffinity(0, std::mem::size_of_val(&set), &set) == 0
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = core;
        false
    }
}

/// Has a program that is about to be started stay on a core, and end with the thread that starts it, whatever happens to
/// that: a benchmark that is broken off leaves nothing running.
pub fn keep(command: &mut Command, core: usize) {
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt;
        // SAFETY: between fork and exec it makes two system calls and nothing else.
        unsafe {
            command.pre_exec(move || {
                pin(core);
                #[cfg(target_os = "linux")]
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
    }
    #[cfg(not(unix))]
    let _ = (command, core);
}

/// CPU time that a process has used so far, all its threads, user and system. `None` once it is gone.
pub fn cpu_time(process: u32) -> Option<Duration> {
    #[cfg(target_os = "linux")]
    {
        let mut clock: libc::clockid_t = 0;
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let process = libc::pid_t::try_from(process).ok()?;
        // SAFETY: both calls write to the locals they are given, and nothing else.
        let found = unsafe {
            libc::clock_getcpuclockid(process, &mut clock) == 0 && libc::clock_gettime(clock, &mut time) == 0
        };
        found.then(|| Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = process;
        None
    }
}

/// CPU time that the calling thread has used so far.
pub fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to the local that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Runs something on a thread of its own that stays on a core.
pub fn on_core<T: Send>(core: usize, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            pin(core);
            work()
        });
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A socket of a load on loopback, with a receive buffer for a second of traffic as far as the system grants it: what a
/// load that waits for its core would drop would be missing in the figures.
pub fn load_socket() -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_nonblocking(true)?;
    #[cfg(target_os = "linux")]
    for option in [libc::SO_RCVBUF, libc::SO_RCVBUFFORCE] {
        let size: libc::c_int = 8 << 20;
        // SAFETY: the pointer and the length describe `size`, which outlives the call. A refusal leaves what there is.
        unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const size).cast(),
                std::mem::size_of_val(&size) as libc::socklen_t,
            );
        }
    }
    Ok(socket)
}

/// Bytes that this process has allocated and not freed. 0 where the C library does not say.
pub fn allocated_bytes() -> usize {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: takes nothing and answers plain numbers.
        let counts = unsafe { libc::mallinfo2() };
        counts.uordblks + counts.hblkhd
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    0
}

/// Memory of this process that is in use (resident), bytes. 0 where the system does not say.
pub fn resident_bytes() -> usize {
    let Ok(text) = std::fs::read_to_string("/proc/self/smaps_rollup") else { return 0 };
    let kibibytes =
        text.lines().find_map(|line| line.strip_prefix("Rss:")?.trim().strip_suffix(" kB")?.parse::<usize>().ok());
    kibibytes.unwrap_or(0) << 10
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn work_shows_in_the_time_of_process_and_thread() {
        let (process, thread) = (cpu_time(std::process::id()).unwrap(), thread_time());
        let mut sum = 0u64;
        while thread_time() < thread + Duration::from_millis(5) {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(cpu_time(std::process::id()).unwrap() >= process + Duration::from_millis(4));
    }

    #[test]
    fn memory_in_use_shows_as_allocated_and_as_resident() {
        let (allocated, resident) = (allocated_bytes(), resident_bytes());
        let block = std::hint::black_box(vec![1u8; 64 << 20]);
        // Half of it: other tests free memory at the same time.
        assert!(allocated_bytes() >= allocated + block.len() / 2 || allocated == 0);
        assert!(resident_bytes() >= resident + block.len() / 2);
    }

    #[test]
    fn a_process_that_never_was_has_no_time() {
        assert_eq!(cpu_time(u32::MAX), None);
    }
}
