//! What a worker's thread sleeps on: its bell, and whatever else may wake it.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

/// Wakes a sleeping worker: an eventfd that is written at most once until it is read.
pub(super) struct Bell {
    descriptor: OwnedFd,
    rung: AtomicBool,
}

impl Bell {
    pub(super) fn new() -> io::Result<Bell> {
        // SAFETY: no pointers; the result is checked.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor that was just made and is nobody else's.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Bell { descriptor, rung: AtomicBool::new(false) })
    }

    pub(super) fn ring(&self) {
        if !self.rung.swap(true, SeqCst) {
            let one = 1_u64;
            // SAFETY: eight bytes of a local number. A full counter wakes as well.
            unsafe { libc::write(self.descriptor.as_raw_fd(), (&raw const one).cast(), 8) };
        }
    }

    /// What is readable while it rings.
    pub(super) fn descriptor(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }

    /// Takes the ring back; commands sent from now on ring again. Those sent before are in the queue, to be looked at
    /// after this. The descriptor is emptied first: a ring in between must not be lost while it counts as rung. One that
    /// was heard is taken back though it does not count as rung: its ringer was slow to write.
    pub(super) fn hush(&self, heard: bool) {
        if heard || self.rung.load(SeqCst) {
            let mut count = 0_u64;
            // SAFETY: eight bytes of a local number.
            unsafe { libc::read(self.descriptor.as_raw_fd(), (&raw mut count).cast(), 8) };
            self.rung.swap(false, SeqCst);
        }
    }
}

/// Waits for one of these to be readable, or the timeout; answers which are.
pub(super) fn wait_for<const N: usize>(descriptors: [Option<RawFd>; N], timeout: Duration) -> [bool; N] {
    // A negative descriptor is passed over.
    let mut descriptors = descriptors.map(|fd| libc::pollfd { fd: fd.unwrap_or(-1), events: libc::POLLIN, revents: 0 });
    let timeout = libc::timespec {
        tv_sec: timeout.as_secs() as libc::time_t,
        tv_nsec: libc::c_long::from(timeout.subsec_nanos() as i32),
    };
    // SAFETY: the array and the timeout outlive the call; an interrupted wait is a short one.
    let ready = unsafe { libc::ppoll(descriptors.as_mut_ptr(), N as libc::nfds_t, &timeout, std::ptr::null()) };
    descriptors.map(|descriptor| ready > 0 && descriptor.revents != 0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::sync_channel;
    use std::time::Instant;

    use super::*;

    /// The worker was awake for another reason and took the ring back before its ringer wrote.
    #[test]
    fn a_ring_that_is_written_late_is_heard_once() {
        let bell = Bell::new().unwrap();
        assert!(!bell.rung.swap(true, SeqCst));
        bell.hush(false);
        let one = 1_u64;
        // SAFETY: eight bytes of a local number.
        unsafe { libc::write(bell.descriptor.as_raw_fd(), (&raw const one).cast(), 8) };
        let [heard] = wait_for([Some(bell.descriptor.as_raw_fd())], Duration::from_secs(20));
        assert!(heard);
        bell.hush(heard);
        let [rings] = wait_for([Some(bell.descriptor.as_raw_fd())], Duration::from_millis(1));
        assert!(!rings, "it rings on for ever");
    }

    #[test]
    fn no_ring_is_lost_between_two() {
        let patience = Duration::from_secs(20);
        let bell = Arc::new(Bell::new().unwrap());
        let (sender, queue) = sync_channel(1 << 20);
        let ringer = Arc::clone(&bell);
        let rings = 300_000;
        let thread = std::thread::spawn(move || {
            for number in 0..rings {
                sender.send(number).unwrap();
                ringer.ring();
            }
        });
        let mut taken = 0;
        while taken < rings {
            let began = Instant::now();
            let [heard] = wait_for([Some(bell.descriptor.as_raw_fd())], patience);
            assert!(began.elapsed() < patience, "the bell is rung and cannot be heard");
            bell.hush(heard);
            taken += queue.try_iter().count();
        }
        thread.join().unwrap();
    }
}
