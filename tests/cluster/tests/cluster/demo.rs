//! What the front page promises: a match is played in a terminal while it is moved, while its node's program is replaced and
//! while its node is killed, and goes on with the scores that it had.

use arena::PLAYERS;
use ringside_core::ids::Position;
use ringside_test_support::cluster::Cluster;
use ringside_test_support::guests;
use ringside_test_support::node::Node;
use ringside_test_support::terminal::Terminal;
use ringside_test_support::wait::until;
use serde_json::Value;

use crate::failover::{create, led_and_followed, shown, third};
use crate::upgrade::{Orphans, upgrade};

const MATCH: &str = "arena/hall";

/// Everybody's score, by slot.
type Scores = [u16; PLAYERS];

fn total(scores: &Scores) -> u32 {
    scores.iter().copied().map(u32::from).sum()
}

/// The scores in the match's own memory, and where in its log that is.
fn scores(shown: &Value) -> Option<(Scores, Position)> {
    let row = ringside_node::hex::decode(shown["detail"]["stats_hex"].as_str()?)?;
    // Nobody has shot anybody yet where there is none.
    let scores = if row.is_empty() { Scores::default() } else { postcard::from_bytes(&row).expect("a row of scores") };
    Some((scores, shown["detail"]["position"].as_u64()?))
}

/// A person and seven bots, and what they have scored.
struct Demo {
    terminal: Terminal,
    person: usize,
    scores: Scores,
}

impl Demo {
    /// They enter by a node.
    async fn begin(door: &Node) -> Demo {
        let mut terminal =
            Terminal::start(door, &["play", "arena", "--session", "hall", "--bots", "7", "--name", "ann"]);
        terminal.wait_for("8 players");
        terminal.press(" ");
        terminal.wait_for("firing");
        let person = until("the person to be seated", async || {
            let shown = door.ringside(&["session", "show", MATCH, "--json"]).json();
            let players = shown["detail"]["players"].as_array()?;
            players.iter().find(|player| player["player"] == "ann")?["slot"].as_u64()
        })
        .await;
        Demo { terminal, person: person as usize, scores: Scores::default() }
    }

    fn take(&mut self, scores: Scores) {
        let is_lower = self.scores.iter().zip(&scores).any(|(before, after)| after < before);
        assert!(!is_lower, "{scores:?} after {:?}", self.scores);
        self.scores = scores;
    }

    /// Waits until more was scored, on the screen and in the match as a node shows it, and notes what cannot get lost any more
    /// of that: what its follower has as well. No score is ever less than it was.
    async fn goes_on(&mut self, cluster: &Cluster, by: u64) {
        let least = self.scores[self.person];
        self.terminal.take_seen();
        self.terminal.wait_for("score ");
        let goal = total(&self.scores) + 3;
        let (scores, position) = until("more to be scored", async || {
            let (scores, position) = scores(&shown(cluster, by, MATCH)?)?;
            (total(&scores) >= goal).then_some((scores, position))
        })
        .await;
        until("its follower to have that", async || {
            let shown = shown(cluster, by, MATCH)?;
            (shown["detail"]["replication"]["committed"].as_u64()? >= position).then_some(())
        })
        .await;
        self.take(scores);
        let seen = self.terminal.take_seen();
        let on_screen = seen.split("score ").skip(1).filter_map(|rest| rest.split(' ').next()?.parse::<u16>().ok());
        let lowest = on_screen.min().expect("a score on the screen");
        assert!(lowest >= least, "{lowest} on the screen after {least}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_match_in_a_terminal_goes_on_while_it_is_moved_its_program_replaced_and_its_node_killed() {
    let mut orphans = Orphans::default();
    let mut cluster = Cluster::start_at_rest(None, 3).await;
    cluster.node(1).push("arena");
    cluster.agreed().await;
    create(cluster.node(1), "arena", "hall");
    let (leader, follower) = led_and_followed(&cluster, 1, MATCH).await;
    let door = third(leader, follower);
    let mut demo = Demo::begin(cluster.node(door)).await;
    demo.goes_on(&cluster, door).await;

    let to = follower.to_string();
    cluster.node(door).ringside(&["session", "move", MATCH, "--to", &to]).succeeded();
    let leader = follower;
    let led = shown(&cluster, door, MATCH).expect("it is shown");
    assert_eq!(led["node"], to, "{led:#}");
    demo.goes_on(&cluster, door).await;

    let before = cluster.status(door, leader).expect("the node");
    upgrade(&cluster, door, leader, guests::program()).await.succeeded();
    let after = cluster.status(door, leader).expect("the node");
    orphans.0.extend(after["pid"].as_u64());
    assert_ne!(before["pid"], after["pid"]);
    demo.goes_on(&cluster, door).await;

    assert_eq!(led_and_followed(&cluster, door, MATCH).await.0, leader);
    let killed = cluster.node(door).ringside(&["node", "kill", &to, "--yes", "--json"]).json();
    assert_eq!(killed["pid"], after["pid"], "{killed}");
    drop(cluster.take(leader));
    until("another leader", async || {
        let shown = shown(&cluster, door, MATCH)?;
        (shown["state"] == "live" && shown["node"] != to).then_some(())
    })
    .await;
    demo.goes_on(&cluster, door).await;

    demo.terminal.press("q");
    assert!(demo.terminal.end().contains("You left."));
}
