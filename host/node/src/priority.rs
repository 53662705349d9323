//! Thread priorities: workers run at the ordinary one, everything else of the node below them.

/// Niceness of the threads that compile, store and serve the admin API.
pub const BACKGROUND: i32 = 5;
/// Niceness of the penalty worker.
pub const PENALTY: i32 = 10;

/// Lowers the priority of the calling thread. Where the system refuses, the thread runs as before.
pub fn lower(niceness: i32) {
    // SAFETY: plain numbers; on Linux "process 0" means the calling thread.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, niceness);
    }
}
