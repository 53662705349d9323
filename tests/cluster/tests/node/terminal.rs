//! `ringside play` as a person sees it, in a terminal of its own.

use ringside_test_support::directory::Directory;
use ringside_test_support::node::Node;
use ringside_test_support::terminal::Terminal;
use ringside_test_support::wait::until;

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
