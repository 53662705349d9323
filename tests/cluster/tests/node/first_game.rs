//! The first five minutes with a game of one's own: made, tested, uploaded, and played to its end by two people.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

use ringside_test_support::cluster::Cluster;
use ringside_test_support::directory::Directory;
use ringside_test_support::node::{Answer, Node, command};
use ringside_test_support::wait::PATIENCE;

/// Where games are built: a place that is kept, so that their dependencies are compiled once. Nothing is downloaded:
/// what a game needs was needed to build this repository.
fn in_kept_place(command: &mut Command) -> &mut Command {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("first-game");
    command.env("CARGO_TARGET_DIR", target).env("CARGO_NET_OFFLINE", "true").stdin(Stdio::null())
}

fn ringside(node: &Node, directory: &Path, arguments: &[&str]) -> Answer {
    Answer::of(in_kept_place(command(node.state()).current_dir(directory).args(arguments)))
}

fn cargo(directory: &Path, arguments: &[&str]) -> Answer {
    Answer::of(in_kept_place(ringside_guest_build::cargo().current_dir(directory).args(arguments)))
}

/// `ringside play`, with a script at its keyboard.
struct Player {
    name: &'static str,
    program: Child,
    keyboard: ChildStdin,
    lines: Receiver<String>,
    heard: Vec<String>,
}

impl Player {
    fn sit_down(node: &Node, name: &'static str) -> Player {
        let mut play = command(node.state());
        play.args(["play", "dice", "--name", name]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut program = play.spawn().expect("the program starts");
        let (keyboard, screen) = (program.stdin.take(), program.stdout.take());
        let (keyboard, screen) = (keyboard.expect("a keyboard"), screen.expect("a screen"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            BufReader::new(screen).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut player = Player { name, program, keyboard, lines, heard: Vec::new() };
        player.hear(&format!("You are {name} in dice/"));
        player
    }

    fn say(&mut self, line: &str) {
        writeln!(self.keyboard, "{line}").expect("the program listens");
    }

    /// The next line; none after the last.
    fn next(&mut self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => {
                self.heard.push(line.clone());
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("{} hears nothing more after {:#?}", self.name, self.heard),
        }
    }

    /// Waits for a line in which a text is.
    fn hear(&mut self, text: &str) {
        while let Some(line) = self.next() {
            if line.contains(text) {
                return;
            }
        }
        panic!("{} never heard {text:?}: {:#?}", self.name, self.heard);
    }

    /// Plays until the match is over: keeps whatever is in the pot once it is twelve. Goes by what is told reliably, for
    /// a view may be overtaken by the next.
    fn play_to_the_end(mut self) -> Vec<String> {
        let mut pot = 0;
        while let Some(line) = self.next() {
            let Some((who, did)) = line.split_once(' ') else { continue };
            let rolled = did.strip_prefix("rolls a ").and_then(|die| die.strip_suffix('.')?.parse::<u32>().ok());
            // One's turn goes on after a roll, and begins when the other's is over.
            let my_turn = match rolled {
                Some(die) => {
                    pot += die;
                    who == self.name
                }
                None if did.starts_with("rolls a 1: ") || did.starts_with("keeps ") => {
                    pot = 0;
                    who != self.name
                }
                None => continue,
            };
            if my_turn {
                // After the other's last "keeps" nobody listens any more.
                let _ = writeln!(self.keyboard, "{}", if pot < 12 { "roll" } else { "hold" });
            }
        }
        assert!(self.program.wait().is_ok_and(|status| status.success()));
        std::mem::take(&mut self.heard)
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// What a directory holds, as paths and contents.
fn content(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(content(&path));
        } else {
            found.push((path.clone(), std::fs::read(&path).expect("a file")));
        }
    }
    found.sort();
    found
}

#[test]
fn a_new_game_is_tested_uploaded_and_played() {
    let directory = Directory::new();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let cluster = runtime.block_on(Cluster::start(3));
    let node = cluster.node(1);
    let game = directory.path().join("dice");
    let said = ringside(node, directory.path(), &["new", "dice"]).succeeded();
    assert!(said.contains("  cd dice\n") && said.contains("  cargo test ") && said.contains(" play dice "), "{said}");

    let tested = cargo(&game, &["test"]).succeeded();
    assert!(tested.contains("two_players_play_to_the_end ... ok"), "{tested}");
    cargo(&game, &["fmt", "--check"]).succeeded();

    let pushed = ringside(node, &game, &["push", "--json"]).json();
    assert_eq!((&pushed["game"], &pushed["version"]), (&"dice".into(), &1.into()));
    let again = ringside(node, directory.path(), &["push", "dice", "--json"]).json();
    assert_eq!((&again["module"], &again["new"]), (&pushed["module"], &false.into()), "a build gives the same again");

    // She enters by one node, he by another that does not lead what she has begun.
    let mut ann = Player::sit_down(node, "ann");
    ann.hear("Waiting for a second player");
    let leader = cluster.sessions(1).remove(0).1;
    let door = (2..=3).find(|number| number.to_string() != leader).expect("another node");
    let mut bob = Player::sit_down(cluster.node(door), "bob");
    bob.hear("[ann 0, bob 0, pot 0] ann plays");
    ann.hear("[ann 0, bob 0, pot 0] your turn: roll or hold?");
    ann.say("roll");
    let (ann, bob) = std::thread::scope(|scope| {
        let ann = scope.spawn(|| ann.play_to_the_end());
        let bob = bob.play_to_the_end();
        (ann.join().unwrap(), bob)
    });
    let result = ann.last().unwrap();
    assert!(result.contains(" wins with ") && bob.last() == Some(result), "{ann:#?}\n{bob:#?}");
    let ended = cluster.node(door).ringside(&["session", "list", "--ended", "--json"]).json();
    assert_eq!(ended["sessions"].as_array().map(Vec::len), Some(1), "they met in one match: {ended}");
}

#[test]
fn who_is_alone_plays_against_the_computer_and_leaves() {
    let directory = Directory::new();
    let node = Node::start(&directory.path().join("state"), &[]);
    ringside(&node, directory.path(), &["new", "dice"]).succeeded();
    ringside(&node, directory.path(), &["push", "dice"]).succeeded();
    let mut ann = Player::sit_down(&node, "ann");
    ann.hear("Waiting for a second player");
    ann.say("bot");
    ann.hear("[ann 0, the computer 0, pot 0] your turn");
    ann.say("hold");
    ann.hear("the computer rolls a ");
    ann.say("/quit");
    ann.hear("You left.");
    assert!(ann.program.wait().unwrap().success());
    let error = node.ringside(&["play", "dice", "--bots", "1"]).failed();
    assert!(error.contains("only the sample games have bots") && error.contains("hint: "), "{error}");
}

#[test]
fn what_is_there_already_is_not_touched() {
    let directory = Directory::new();
    let node = Node::start(&directory.path().join("state"), &[]);
    let new = |arguments: &[&str]| ringside(&node, directory.path(), &[&["new"], arguments].concat());
    new(&["dice"]).succeeded();
    std::fs::write(directory.path().join("dice/src/mine.rs"), "precious").unwrap();
    std::fs::write(directory.path().join("notes"), "precious").unwrap();
    let before = (content(&directory.path().join("dice")), directory.path().join("notes"));
    for (name, why) in [("dice", "is not empty"), ("notes", "is a file"), ("Dice", "a-z"), ("match", "word of Rust")] {
        let error = new(&[name]).failed();
        assert!(error.contains(why) && error.contains("hint: "), "{name}: {error}");
    }
    assert_eq!(content(&directory.path().join("dice")), before.0);
    assert_eq!(std::fs::read_to_string(before.1).unwrap(), "precious");
    assert!(new(&["other", "--sdk", "dice/src"]).failed().contains("no SDK in dice/src"));
    new(&["other", "--sdk", "dice/vendor/guest-sdk"]).succeeded();
    assert!(!directory.path().join("other/vendor").exists());
}

#[test]
fn what_cannot_be_built_is_not_uploaded() {
    let directory = Directory::new();
    let node = Node::start(&directory.path().join("state"), &[]);
    let push = |path: &Path| ringside(&node, directory.path(), &["push", &path.to_string_lossy()]).failed();
    let empty = directory.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let error = push(&empty);
    assert!(error.contains("there is no Cargo.toml in") && error.contains("ringside new NAME"), "{error}");

    ringside(&node, directory.path(), &["new", "dice"]).succeeded();
    let game = directory.path().join("dice");
    let source = game.join("src/lib.rs");
    let whole = std::fs::read_to_string(&source).unwrap();
    std::fs::write(&source, whole.replace("const GOAL: u32 = 50;", "const GOAL: u32 = \"fifty\";")).unwrap();
    let error = push(&game);
    assert!(error.contains("mismatched types") && error.ends_with("error: cargo failed; see above\n"), "{error}");

    let manifest = std::fs::read_to_string(game.join("Cargo.toml")).unwrap();
    std::fs::write(game.join("Cargo.toml"), manifest.replace("\"cdylib\", ", "")).unwrap();
    let error = push(&game);
    assert!(error.contains("package dice has no library of type cdylib") && error.contains("crate-type"), "{error}");
    assert!(node.ringside(&["game", "list"]).succeeded().contains("No games yet"));
}

#[test]
fn a_game_that_does_not_speak_text_says_so() {
    let directory = Directory::new();
    let node = Node::start(directory.path(), &[]);
    node.push("bad-citizens");
    let mut play = command(node.state());
    play.args(["play", "bad-citizens"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut program = play.spawn().expect("the program starts");
    // Nobody types, and nobody hangs up.
    let keyboard = program.stdin.take();
    let error = Answer::from_output(program.wait_with_output().unwrap()).failed();
    drop(keyboard);
    assert!(error.contains("are not text") && error.contains("a client of its own"), "{error}");
}
