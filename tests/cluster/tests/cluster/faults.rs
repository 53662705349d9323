//! What happens to followed sessions when a process stands still, comes back late, or comes back twice.

use std::time::{Duration, Instant};

use ringside_client::Options;
use ringside_test_support::clock::Clock;
use ringside_test_support::cluster::Cluster;
use ringside_test_support::directory::Directory;
use ringside_test_support::node::{Place, ringside};
use ringside_test_support::skip;
use ringside_test_support::wait::until;
use serde_json::Value;

use crate::failover::{create, last_change, led_and_followed, shown, third};
use crate::player::{Player, options};

/// The longest time that a leader may stand still without being deposed.
const SHORT: Duration = Duration::from_millis(300);
/// What a node sleeps by its clocks.
const HOUR_S: i64 = 3600;
/// A round in which the machine, not the test, kept the leader from running for so long shows nothing.
const SPOILT: Duration = Duration::from_millis(380);

/// Three nodes, a session that one leads and another follows, and two players: one who keeps a connection at the follower,
/// and one who does not.
pub struct Scene {
    pub cluster: Cluster,
    pub name: String,
    pub session: String,
    pub leader: u64,
    pub follower: u64,
    pub third: u64,
    pub waiting: Player,
    pub asking: Player,
}

impl Scene {
    pub async fn begin(cluster: Cluster, game: &str) -> Scene {
        let name = format!("{game}/final");
        cluster.node(1).push(game);
        cluster.agreed().await;
        let session = create(cluster.node(1), game, "final");
        let (leader, follower) = led_and_followed(&cluster, 1, &name).await;
        let third = third(leader, follower);
        let door = cluster.node(third);
        let waiting = Player::join(door, "ada", &name).await;
        let alone = Options { standby: false, ..options(door, &door.token("bob"), &name) };
        let asking = Player::join_with(alone, "bob").await;
        let mut scene = Scene { cluster, name, session, leader, follower, third, waiting, asking };
        scene.play().await;
        scene
    }

    /// The leader stands still; the others believe it gone, and its session goes on among them.
    async fn without_its_leader() -> Scene {
        let mut scene = Scene::begin(Cluster::start_at_rest(None, 3).await, "echo-replicated").await;
        let (leader, follower, third) = (scene.leader, scene.follower, scene.third);
        scene.cluster.node(leader).signal("-STOP");
        scene.play().await;
        scene.cluster.knows_of(third, 2).await;
        assert_eq!(led_and_followed(&scene.cluster, third, &scene.session).await, (follower, third));
        scene
    }

    /// Both players say something and are answered, each word once and in order.
    pub async fn play(&mut self) {
        self.waiting.exchange(20).await;
        self.asking.exchange(20).await;
    }

    /// How a node shows the session's replication.
    pub fn replication(&self, by: u64) -> Option<Value> {
        Some(shown(&self.cluster, by, &self.session)?["detail"]["replication"].clone())
    }

    /// In which epoch it is led.
    pub fn epoch(&self, by: u64) -> Option<u64> {
        self.replication(by)?["epoch"]["number"].as_u64()
    }

    /// Waits until all nodes are back and say the same: one leader, this one, in this epoch.
    pub async fn is_led_by(&self, node: u64, epoch: u64) {
        self.cluster.agreed().await;
        let places = self.cluster.directories_agree().await;
        assert_eq!(places.get(&self.session).map(|(node, _)| node.clone()), Some(node.to_string()), "{places:?}");
        for (by, _) in self.cluster.nodes() {
            let shown = self.replication(by).expect("the session is shown");
            assert_eq!(
                (&shown["leader"]["node"], &shown["epoch"]["number"]),
                (&node.to_string().into(), &epoch.into())
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stands_still_is_followed_by_another_and_is_fenced_when_it_wakes() {
    wakes_fenced("echo-replicated").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consistent_sessions_leader_that_stands_still_is_fenced_when_it_wakes() {
    wakes_fenced("echo-consistent").await;
}

async fn wakes_fenced(game: &str) {
    let mut scene = Scene::begin(Cluster::start_at_rest(None, 3).await, game).await;
    let (leader, follower) = (scene.leader, scene.follower);
    // It stands still until both players are answered elsewhere.
    scene.cluster.node(leader).signal("-STOP");
    scene.play().await;
    scene.cluster.node(leader).signal("-CONT");
    let said = scene.cluster.node(leader).logged("the session is led by another worker");
    assert!(said.contains(&scene.session), "the operator is told: {said}");
    scene.play().await;
    scene.is_led_by(follower, 2).await;
    let replication = scene.replication(leader).expect("it is shown");
    assert_eq!(last_change(&replication)["cause"], "promoted", "{replication:#}");
    scene.play().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_deposed_for_standing_still_a_short_while() {
    let mut scene = Scene::begin(Cluster::start_at_rest(None, 3).await, "echo-replicated").await;
    let (leader, third) = (scene.leader, scene.third);
    let (mut counted, mut epoch) = (0, 1);
    for _ in 0..40 {
        let began = Instant::now();
        scene.cluster.node(leader).signal("-STOP");
        // The length of the fault, not a wait for anything.
        tokio::time::sleep_until((began + SHORT).into()).await;
        scene.cluster.node(leader).signal("-CONT");
        scene.waiting.exchange(1).await;
        let is_spoilt = began.elapsed() > SPOILT;
        scene.play().await;
        let after = scene.epoch(third).expect("it is shown");
        assert!(is_spoilt || after == epoch, "it was deposed");
        if after != epoch {
            // The machine stood still for longer: what was asked for cannot be shown with this leader any more.
            epoch = after;
            let led = led_and_followed(&scene.cluster, third, &scene.session).await;
            if led.0 != leader {
                let back = leader.to_string();
                scene.cluster.node(third).ringside(&["session", "move", &scene.name, "--to", &back]).succeeded();
                epoch = scene.epoch(third).expect("it is shown");
            }
        }
        counted += usize::from(!is_spoilt);
        if counted == 10 {
            return;
        }
    }
    ringside_test_support::skip!("this machine is too busy: {counted} of 10 stalls were as short as was asked for");
}

/// It was away for so long that the cluster believes it gone; it comes back with all that it had in memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_wakes_after_its_sessions_went_on_elsewhere_leads_none_of_them() {
    let mut scene = Scene::without_its_leader().await;
    let (leader, follower) = (scene.leader, scene.follower);
    scene.play().await;
    scene.cluster.node(leader).signal("-CONT");
    scene.play().await;
    scene.is_led_by(follower, 2).await;
    scene.play().await;
}

/// By all of its clocks: what it had of others is long over for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_slept_for_an_hour_leads_nothing_that_went_on_and_is_one_of_the_cluster_again() {
    let clocks = match (0..3).map(|_| Clock::that_leaps_by(HOUR_S)).collect::<Result<Vec<_>, _>>() {
        Ok(clocks) => clocks,
        Err(why) => skip!("no clocks that leap: {why}"),
    };
    let mut cluster = Cluster::start_at_rest(None, 0).await;
    for (number, clock) in (1..).zip(&clocks) {
        cluster.add_at(Place::default().with_clock(clock), number, &[]);
    }
    let mut scene = Scene::begin(cluster, "echo-replicated").await;
    let (leader, follower, third) = (scene.leader, scene.follower, scene.third);
    let uptime = |scene: &Scene| scene.cluster.node(leader).get("/v1/node")["uptime_s"].as_i64();
    scene.cluster.node(leader).signal("-STOP");
    scene.play().await;
    scene.cluster.knows_of(third, 2).await;
    clocks[leader as usize - 1].leap();
    scene.cluster.node(leader).signal("-CONT");
    let said =
        tokio::task::block_in_place(|| scene.cluster.node(leader).logged("the session is led by another worker"));
    assert!(said.contains(&scene.session), "the operator is told: {said}");
    assert!(uptime(&scene) >= Some(HOUR_S), "it has slept");
    scene.play().await;
    scene.is_led_by(follower, 2).await;
    scene.play().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_wakes_after_its_session_ended_elsewhere_does_not_go_on_with_it() {
    let scene = Scene::without_its_leader().await;
    let (leader, third) = (scene.leader, scene.third);
    scene.cluster.node(third).ringside(&["session", "end", &scene.name]).succeeded();
    scene.cluster.node(leader).signal("-CONT");
    let said = scene.cluster.node(leader).logged("the session is led by another worker");
    assert!(said.contains(&scene.session), "the operator is told: {said}");
    scene.cluster.agreed().await;
    // Nobody leads it, and no home believes so: its key is another session's.
    until("nobody to know of it", async || {
        let places = scene.cluster.directories_agree().await;
        (!places.contains_key(&scene.session)).then_some(())
    })
    .await;
    let anew = create(scene.cluster.node(leader), "echo-replicated", "final");
    assert_ne!(anew, scene.session);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_started_again_with_its_old_state_leads_nothing_that_went_on() {
    let mut scene = Scene::begin(Cluster::start_at_rest(None, 3).await, "echo-replicated").await;
    let (leader, follower) = (scene.leader, scene.follower);
    scene.cluster.take(leader).kill();
    scene.play().await;
    scene.cluster.add(leader, &[]);
    scene.play().await;
    scene.is_led_by(follower, 2).await;
    scene.play().await;
}

/// A copy of its state directory was taken; the process of the copy comes while it leads.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_with_a_leaders_identity_is_kept_out_and_the_session_goes_on() {
    let mut scene = Scene::begin(Cluster::start_at_rest(None, 3).await, "echo-replicated").await;
    let (leader, third) = (scene.leader, scene.third);
    let copy = Directory::new();
    for file in ["version", "node.id", "cluster.json", "admin.token"] {
        std::fs::copy(scene.cluster.state_of(leader).join(file), copy.path().join(file)).expect("a file of the state");
    }
    let links = scene.cluster.node(third).ready()["links"].as_str().expect("its links").to_owned();
    let node = ["node", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "1", "--join", &links];
    let refused = tokio::task::block_in_place(|| ringside(copy.path(), &node)).failed();
    assert!(refused.contains("two nodes must not share a state directory"), "{refused}");
    scene.play().await;
    let leader = scene.leader;
    scene.is_led_by(leader, 1).await;
}

/// Nobody follows it. While its node stands still its player waits; when the others believe the node gone it is lost, and its key
/// is another session's. What the node that wakes has of it gives way, for more was said in the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_volatile_session_whose_node_stands_still_is_lost_and_what_wakes_gives_way_to_the_next_of_its_key() {
    const NODE: u64 = 2;
    let cluster = Cluster::start_at_rest(None, 3).await;
    cluster.node(1).push("echo");
    cluster.agreed().await;
    let create = |at: &str| {
        let made = cluster.node(1).ringside(&["session", "create", "echo", "--key", "k", "--node", at, "--json"]);
        made.json()["session"].as_str().expect("a session").to_owned()
    };
    let first = create("2");
    let mut ada = Player::join(cluster.node(1), "ada", "echo/k").await;
    ada.exchange(5).await;
    cluster.node(NODE).signal("-STOP");
    assert!(ada.is_lost().await);
    cluster.knows_of(1, 2).await;
    let next = create("3");
    let mut bob = Player::join(cluster.node(1), "bob", "echo/k").await;
    bob.exchange(30).await;
    cluster.node(NODE).signal("-CONT");
    cluster.agreed().await;
    until("one session of the key", async || {
        let places = cluster.directories_agree().await;
        (places.contains_key(&next) && !places.contains_key(&first)).then_some(())
    })
    .await;
    bob.exchange(10).await;
}
