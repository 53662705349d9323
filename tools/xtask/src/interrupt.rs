//! Ctrl-C: noted instead of fatal, so that what was started can be ended in order. Also ties the life of started
//! programs to this one's.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_signal: libc::c_int) {
    INTERRUPTED.store(true, Ordering::SeqCst);
}

/// From now on, SIGINT and SIGTERM are noted.
pub fn watch() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only stores to an atomic, which a signal handler may do.
        unsafe { libc::signal(signal, note as *const () as libc::sighandler_t) };
    }
}

/// Processes of programs that were started come to be this one's children when those end: a node's successor does.
pub fn adopt() {
    #[cfg(target_os = "linux")]
    // SAFETY: plain numbers; it is this process's own attribute.
    unsafe {
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
    }
}

/// Whether a process is this one's child, by birth or because it was adopted.
pub fn is_child(id: libc::pid_t) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // Behind the name, which may hold anything: the state, the parent.
    let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
    parent == Some(std::process::id())
}

/// Asks a process that was adopted to end, or ends it. One that is not this one's child is left alone.
pub fn end_adopted(id: libc::pid_t, at_once: bool) {
    if is_child(id) {
        let signal = if at_once { libc::SIGKILL } else { libc::SIGTERM };
        // SAFETY: plain numbers; nobody else waits for a child of this process, so the id is still its own.
        unsafe { libc::kill(id, signal) };
    }
}

/// Whether a process that was adopted has ended, or is none.
pub fn has_ended(id: libc::pid_t) -> bool {
    // SAFETY: plain numbers; no status is asked for.
    unsafe { libc::waitpid(id, std::ptr::null_mut(), libc::WNOHANG) != 0 }
}

/// Whether somebody wants this to end.
pub fn wanted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Lets the command's process get SIGTERM when this one is gone, however it went, and no signal of the terminal's: Ctrl-C
/// goes to a whole process group, and a node that hears it beside our SIGTERM takes the two for an order to end at once.
pub fn tie(command: &mut Command) -> &mut Command {
    command.process_group(0);
    #[cfg(target_os = "linux")]
    // SAFETY: prctl is async-signal-safe, and touches only the new process.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            Ok(())
        });
    }
    command
}

/// Whether a process runs. Of one that was waited for the number may be somebody else's by now.
fn runs(child: &mut Child) -> bool {
    matches!(child.try_wait(), Ok(None))
}

/// Asks a process to end, and ends it after `grace`. One that has ended is left alone.
pub fn end(child: &mut Child, grace: Duration) {
    if !runs(child) {
        return;
    }
    if let Ok(id) = libc::pid_t::try_from(child.id()) {
        // SAFETY: the child has not been waited for, so the id is still its own.
        unsafe { libc::kill(id, libc::SIGTERM) };
    }
    let deadline = Instant::now() + grace;
    while Instant::now() < deadline {
        if !runs(child) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_is_left_alone_and_what_runs_ends() {
        let start =
            |program: &str| Command::new(program).arg("60").stderr(std::process::Stdio::null()).spawn().unwrap();
        let mut over = start("true");
        over.wait().unwrap();
        assert!(!runs(&mut over), "its number must not be signalled");
        end(&mut over, Duration::ZERO);
        let mut asleep = start("sleep");
        assert!(runs(&mut asleep));
        end(&mut asleep, Duration::from_secs(60));
        assert!(!runs(&mut asleep));
    }
}
