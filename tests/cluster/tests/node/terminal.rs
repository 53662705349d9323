//! `ringside play` as a person sees it, in a terminal of its own.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use ringside_test_support::directory::Directory;
use ringside_test_support::node::{Node, command};
use ringside_test_support::wait::{PATIENCE, until};

/// A program in a terminal of 80 × 24.
struct Terminal {
    program: Child,
    keyboard: File,
    written: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    fn start(node: &Node, arguments: &[&str]) -> Terminal {
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
    fn wait_for(&mut self, text: &str) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while !self.seen.contains(text) {
            assert!(std::time::Instant::now() < deadline, "{text:?} never appeared in {:?}", self.seen);
            if let Ok(bytes) = self.written.recv_timeout(Duration::from_millis(100)) {
                self.seen.push_str(&String::from_utf8_lossy(&bytes));
            }
        }
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    fn end(mut self) -> String {
        let status = self.program.wait().expect("the program ends");
        assert!(status.success(), "{status}: {}", self.seen);
        while let Ok(bytes) = self.written.recv_timeout(Duration::from_millis(100)) {
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        std::mem::take(&mut self.seen)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

#[tokio::test]
async fn a_person_plays_pong_against_a_bot_and_quits() {
    let directory = Directory::new();
    let node = Node::start(directory.path(), &[]);
    node.push("pong");
    let mut terminal = Terminal::start(&node, &["play", "pong", "--bots", "1"]);
    terminal.wait_for("0 : 0");
    terminal.wait_for("●");
    terminal.press("w");
    // The node hears of a player a little after the player is let in.
    until("both to be seated", async || {
        let sessions = node.ringside(&["session", "list", "--json"]).json();
        assert_eq!(sessions["sessions"][0]["game"], "pong", "{sessions}");
        (sessions["sessions"][0]["players"] == 2).then_some(())
    })
    .await;
    terminal.press("q");
    assert!(terminal.end().contains("You left."));
}

#[test]
fn a_person_walks_through_the_arena() {
    let directory = Directory::new();
    let node = Node::start(directory.path(), &[]);
    node.push("arena");
    let mut terminal = Terminal::start(&node, &["play", "arena", "--bots", "3"]);
    terminal.wait_for("4 players");
    terminal.press(" ");
    terminal.wait_for("firing");
    terminal.press("q");
    assert!(terminal.end().contains("You left."));
}

#[test]
fn a_match_that_ends_ends_the_program_without_another_key() {
    let directory = Directory::new();
    let node = Node::start(directory.path(), &[]);
    node.push("chess");
    let mut white = Terminal::start(&node, &["play", "chess"]);
    white.wait_for("You play white.");
    let mut black = Terminal::start(&node, &["play", "chess"]);
    black.wait_for("You play black.");
    white.press("resign\r");
    assert!(white.end().contains("You lost"));
    assert!(black.end().contains("You won"));
}
