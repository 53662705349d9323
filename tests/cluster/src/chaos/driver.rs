//! Does things to a cluster, one after another, and waits in between until it has healed.

use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use ringside_test_support::cluster::Cluster;
use ringside_test_support::guests;
use ringside_test_support::network::Cut;
use ringside_test_support::random::Random;
use ringside_test_support::wait::{PATIENCE, until};
use serde_json::Value;

use super::{Happened, NODES};

/// Sessions that are moved in one go.
const MOVED: u64 = 5;
/// How long a drained node waits for sessions that cannot leave.
const GRACE: &str = "2s";

/// What was done, and what came of it.
#[derive(Debug, Default, Clone)]
pub struct Faults {
    /// Nodes that were killed and started again.
    pub kills: u64,
    /// How many of them while sessions moved there.
    pub kills_in_moves: u64,
    /// Nodes that stood still for a while.
    pub stops: u64,
    /// Nodes that were drained and started again.
    pub drains: u64,
    /// Nodes whose process was replaced.
    pub upgrades: u64,
    /// How often the store was away for a while.
    pub without_store: u64,
    /// How often packets were lost for a while.
    pub losses: u64,
    /// Nodes that were cut off, in one direction or both.
    pub cuts: u64,
    /// Sessions that were moved.
    pub moves: u64,
    /// Moves that were asked for and refused, or given up.
    pub not_moved: u64,
    /// Sessions' changes of leader in all, by the numbers of their epochs.
    pub epochs: u64,
}

impl Faults {
    /// All that was done, moves included.
    pub fn total(&self) -> u64 {
        let Faults { kills, stops, drains, upgrades, without_store, losses, cuts, moves, .. } = self;
        kills + stops + drains + upgrades + without_store + losses + cuts + moves
    }
}

/// Sessions, by game and key.
type Promised = Vec<(&'static str, String)>;

/// What does it.
pub struct Driver {
    cluster: Cluster,
    random: Random,
    /// Sessions that outlive a node: game and key.
    promised: Promised,
    happened: Arc<Happened>,
    length: Duration,
    faults: Faults,
    /// Whether a volatile session need not survive the fault that was last.
    is_deadly: bool,
}

impl Driver {
    /// One that draws from a seed.
    pub fn new(
        cluster: Cluster,
        seed: u64,
        (promised, happened): (Promised, Arc<Happened>),
        length: Duration,
    ) -> Driver {
        Driver {
            cluster,
            random: Random::new(seed),
            promised,
            happened,
            length,
            faults: Faults::default(),
            is_deadly: false,
        }
    }

    /// Does things for as long as it is to; then waits until everything is whole. Answers what does not become so.
    ///
    /// # Panics
    /// If the nodes do not agree again.
    pub async fn run(mut self) -> (Cluster, Faults, Option<String>) {
        let end = Instant::now() + self.length;
        let mut failure = self.is_whole().await;
        while failure.is_none() && Instant::now() < end {
            failure = self.fault().await;
            if failure.is_none() {
                self.cluster.agreed().await;
                failure = self.is_whole().await;
                self.cluster.directories_agree().await;
                self.note_deadly();
            }
        }
        (self.cluster, self.faults, failure)
    }

    /// Does something; answers what must not come of it.
    async fn fault(&mut self) -> Option<String> {
        let node = self.random.below(NODES) + 1;
        let kinds = if self.cluster.has_network() { 8 } else { 6 };
        let kind = self.random.below(kinds);
        // Moves, upgrades and a store that is away lose nothing of any tier.
        self.is_deadly = !(3..=5).contains(&kind);
        self.note_deadly();
        match kind {
            0 => {
                let away = self.pause(3000);
                self.say(format_args!("kill node {node}, start it after {away:?}"));
                let moving = self.random.happens(0.5).then(|| self.begin_moves(node));
                self.faults.kills_in_moves += u64::from(moving.is_some());
                self.cluster.take(node).kill();
                // Whatever becomes of those: what they were to move to is gone.
                moving.into_iter().flatten().for_each(|order| drop(order.wait_with_output()));
                tokio::time::sleep(away).await;
                self.cluster.add(node, &[]);
                self.faults.kills += 1;
            }
            1 => {
                // Longer than links between workers live without a word, too.
                let length = self.pause(7000);
                self.say(format_args!("node {node} stands still for {length:?}"));
                self.cluster.node(node).signal("-STOP");
                tokio::time::sleep(length).await;
                self.cluster.node(node).signal("-CONT");
                self.faults.stops += 1;
            }
            2 => {
                self.say(format_args!("drain node {node}, start it again"));
                let by = node % NODES + 1;
                let order = ["node", "drain", &node.to_string(), "--grace", GRACE, "--no-wait"];
                self.cluster.node(by).ringside(&order).succeeded();
                let leaving = self.cluster.take(node);
                leaving.ended();
                self.cluster.add(node, &[]);
                self.faults.drains += 1;
            }
            3 => self.move_some(node),
            4 => {
                self.say(format_args!("upgrade node {node}"));
                let upgraded = self.cluster.upgrade(node % NODES + 1, node, &guests::program());
                if let Err(said) = upgraded {
                    return Some(format!("node {node} is not upgraded: {said}"));
                }
                self.faults.upgrades += 1;
            }
            5 => {
                let length = self.pause(5000);
                self.say(format_args!("the store is away for {length:?}"));
                let away = self.cluster.without_store();
                tokio::time::sleep(length).await;
                drop(away);
                self.faults.without_store += 1;
            }
            6 => {
                let (permille, length) = (50 + self.random.below(151), self.pause(6000));
                self.say(format_args!("of 1000 packets {permille} are lost for {length:?}"));
                self.cluster.network().set_loss(permille);
                tokio::time::sleep(length).await;
                self.cluster.network().set_loss(0);
                self.faults.losses += 1;
            }
            _ => {
                let length = self.pause(6000);
                let is_one_way = self.random.happens(0.4);
                let way = if is_one_way { "one way" } else { "both ways" };
                self.say(format_args!("node {node} is cut off for {length:?}, {way}"));
                self.happened.was_cut.store(true, Relaxed);
                self.cut(node, is_one_way, true);
                tokio::time::sleep(length).await;
                self.cut(node, is_one_way, false);
                self.faults.cuts += 1;
            }
        }
        None
    }

    /// Has some sessions begin to move to a node, and does not wait for them.
    fn begin_moves(&mut self, to: u64) -> Vec<Child> {
        let by = to % NODES + 1;
        let moves = (0..MOVED).filter_map(|_| {
            let (game, key) = &self.promised[self.random.below(self.promised.len() as u64) as usize];
            let session = format!("{game}/{key}");
            let mut order = self.cluster.node(by).command(&["session", "move", &session, "--to", &to.to_string()]);
            order.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()
        });
        let moves = moves.collect();
        // Time for one of them to be under way, be it little.
        std::thread::sleep(Duration::from_millis(self.random.below(300)));
        moves
    }

    fn move_some(&mut self, to: u64) {
        self.say(format_args!("move {MOVED} sessions to node {to}"));
        for _ in 0..MOVED {
            let (game, key) = &self.promised[self.random.below(self.promised.len() as u64) as usize];
            let order = ["session", "move", &format!("{game}/{key}"), "--to", &to.to_string()];
            let answer = self.cluster.node(to).ringside(&order);
            if answer.code == Some(0) {
                self.faults.moves += 1;
            } else {
                self.say(format_args!("{game}/{key} is not moved: {}", answer.err.trim()));
                self.faults.not_moved += 1;
            }
        }
    }

    /// From the others, not from players.
    fn cut(&self, node: u64, is_one_way: bool, is_cut: bool) {
        for other in (1..=NODES).filter(|other| *other != node) {
            let (node, other) = (node as u8, other as u8);
            self.cluster.network().set_cut(Cut::OneWay { from: node, to: other }, is_cut);
            if !is_one_way {
                self.cluster.network().set_cut(Cut::OneWay { from: other, to: node }, is_cut);
            }
        }
    }

    /// Waits until every session that outlives a node is led and has a follower that counts, so that the next fault is
    /// one that it must survive. Answers one that does not come to be so.
    async fn is_whole(&mut self) -> Option<String> {
        let (mut epochs, mut bad) = (0, String::new());
        for (at, (game, key)) in self.promised.iter().enumerate() {
            let by = self.cluster.node(at as u64 % NODES + 1);
            let followed = until("a follower that counts", async || {
                let shown = by.try_get(&format!("/v1/sessions/{game}/{key}"))?;
                let replication = &shown["detail"]["replication"];
                let in_sync = |follower: &Value| follower["in_sync"] == true;
                bad = format!("{game}/{key}: {shown}");
                replication["followers"]
                    .as_array()?
                    .iter()
                    .any(in_sync)
                    .then(|| replication["epoch"]["number"].as_u64())?
            });
            match tokio::time::timeout(PATIENCE - Duration::from_secs(1), followed).await {
                Ok(epoch) => epochs += epoch - 1,
                Err(_) => return Some(format!("a session is not whole again within {PATIENCE:?}: {bad}")),
            }
        }
        self.faults.epochs = epochs;
        None
    }

    fn note_deadly(&self) {
        if self.is_deadly {
            self.happened.deadly.fetch_add(1, Relaxed);
        }
    }

    fn pause(&mut self, most_ms: u64) -> Duration {
        Duration::from_millis(100 + self.random.below(most_ms))
    }

    fn say(&self, what: std::fmt::Arguments<'_>) {
        eprintln!("chaos: {what}");
    }
}
