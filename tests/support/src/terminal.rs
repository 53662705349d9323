//! A program as a person sees it, in a terminal of its own.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::node::{Node, command};
use crate::wait::PATIENCE;

/// `ringside` in a terminal of 80 × 24; ends with the value.
pub struct Terminal {
    program: Child,
    keyboard: File,
    written: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    /// Runs the command line against a node.
    ///
    /// # Panics
    /// If the machine gives no terminal, or the program does not start.
    pub fn start(node: &Node, arguments: &[&str]) -> Terminal {
        let (mut controller, mut terminal) = (0, 0);
        let size = libc::winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: both descriptors and the size are valid places; the name and the settings may be null.
        let made =
            unsafe { libc::openpty(&mut controller, &mut terminal, std::ptr::null_mut(), std::ptr::null(), &size) };
        assert_eq!(made, 0, "a terminal is to be had");
        // SAFETY: two descriptors that were just made and are nobody else's.
        let (controller, terminal) = unsafe { (OwnedFd::from_raw_fd(controller), OwnedFd::from_raw_fd(terminal)) };
        let end = || Stdio::from(terminal.try_clone().expect("a copy of the terminal"));
        let program = command(node.state()).args(arguments).stdin(end()).stdout(end()).stderr(end()).spawn();
        let program = program.expect("the program starts");
        let keyboard = File::from(controller);
        let mut screen = keyboard.try_clone().expect("a copy of the terminal");
        let (sender, written) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = screen.read(&mut buffer) {
                if sender.send(buffer[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Terminal { program, keyboard, written, seen: String::new() }
    }

    /// Reads until a text has been written to the screen.
    ///
    /// # Panics
    /// If it never is.
    pub fn wait_for(&mut self, text: &str) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while !self.seen.contains(text) {
            assert!(std::time::Instant::now() < deadline, "{text:?} never appeared in {:?}", self.seen);
            if let Ok(bytes) = self.written.recv_timeout(Duration::from_millis(100)) {
                self.see(&bytes);
            }
        }
    }

    /// What was written to the screen since this was asked last.
    pub fn take_seen(&mut self) -> String {
        while let Ok(bytes) = self.written.try_recv() {
            self.see(&bytes);
        }
        std::mem::take(&mut self.seen)
    }

    /// Presses keys.
    ///
    /// # Panics
    /// If the program is gone.
    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Waits until the program ends; answers what it had written that nobody has taken.
    ///
    /// # Panics
    /// If it fails.
    pub fn end(mut self) -> String {
        let status = self.program.wait().expect("the program ends");
        assert!(status.success(), "{status}: {}", self.seen);
        while let Ok(bytes) = self.written.recv_timeout(Duration::from_millis(100)) {
            self.see(&bytes);
        }
        std::mem::take(&mut self.seen)
    }

    fn see(&mut self, bytes: &[u8]) {
        self.seen.push_str(&String::from_utf8_lossy(bytes));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
