//! A cluster of real nodes, each a process on the server's core, and the command line against them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ringside_node::cluster::secret::ClusterSecret;
use ringside_test_support::admin::Admin;
use ringside_test_support::network::{Cut, Network, Packets, Quality};
use serde_json::{Value, json};

use crate::bench::{BenchError, Context};
use crate::identity::Door;
use crate::machine::{SERVER_CORE, keep};
use crate::process::Process;

/// How long nodes may take to agree, and whatever else must happen.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two questions to a node.
pub const PAUSE: Duration = Duration::from_millis(5);
/// The same, where nobody measures how soon it is so.
const LOOK: Duration = Duration::from_millis(250);
/// Commands that are under way at a time.
const AT_ONCE: usize = 4;
/// What a node says in its error that has not come to it in time.
const BUSY: &str = "\"error\":\"busy\"";
/// What a network of hosts is like: a rack's.
const LAN: Quality = Quality { delay: Duration::from_micros(200), loss_permille: 0 };

/// A cluster with a store that its nodes share. Everything ends, and its directory is removed, when it is dropped.
pub struct Cluster {
    // Ended before the place is removed.
    nodes: BTreeMap<u64, Process>,
    /// Processes that came in place of others.
    orphans: Vec<i32>,
    /// Where players reached nodes that are started again.
    doors: BTreeMap<u64, String>,
    place: Place,
}

/// Where a cluster keeps its files, and how its nodes are started.
struct Place {
    directory: PathBuf,
    program: PathBuf,
    options: Vec<String>,
    /// The network whose hosts the nodes are on, one each; loopback if there is none.
    network: Option<Network>,
}

impl Cluster {
    /// So many nodes, numbered from 1, started with these options; returns when they agree on who is there.
    pub fn start(context: &Context, name: &str, count: u64, options: &[&str]) -> Result<Cluster, BenchError> {
        Cluster::found(context, name, count, options, None)
    }

    /// The same, each on a host of its own, whose link can be cut. Skipped on a machine that has no such hosts to give.
    pub fn start_on_hosts(context: &Context, name: &str, count: u64) -> Result<Cluster, BenchError> {
        let hosts = u8::try_from(count).map_err(BenchError::setup)?;
        let network = Network::new(hosts, LAN).map_err(BenchError::Skipped)?;
        Cluster::found(context, name, count, &[], Some(network))
    }

    fn found(
        context: &Context,
        name: &str,
        count: u64,
        options: &[&str],
        network: Option<Network>,
    ) -> Result<Cluster, BenchError> {
        let directory = context.scratch(&format!("{name}-{}", std::process::id()))?;
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let place = Place { directory, program: context.program().to_owned(), options, network };
        let (nodes, orphans, doors) = Default::default();
        let mut cluster = Cluster { nodes, orphans, doors, place };
        for number in 1..=count {
            cluster.prepare(number)?;
            cluster.add(number)?;
        }
        cluster.agreed()?;
        Ok(cluster)
    }

    /// Makes the state directory of a further node.
    pub fn prepare(&self, number: u64) -> Result<(), BenchError> {
        let (number_text, secret) = (format!("{number:x}"), self.place.secret());
        let secret_text = secret.to_string_lossy();
        let mut words = vec!["node", "init", "--number", &number_text];
        if secret.exists() {
            words.extend(["--secret", &*secret_text]);
        }
        succeed(self.place.command(number).args(words)).map(drop)
    }

    /// Starts a prepared node, which joins those that are there, and waits until it is ready.
    pub fn add(&mut self, number: u64) -> Result<&Process, BenchError> {
        let store = self.store();
        let mut command = self.place.command(number);
        let any = self.place.any_port(number);
        let door = self.doors.get(&number).unwrap_or(&any);
        command.args(["--json", "node", "--listen", door, "--admin", "127.0.0.1:0", "--workers", "1"]);
        if self.place.network.is_some() {
            command.args(["--links", &any, "--gossip", &any]);
        }
        // Nothing moves but what a benchmark moves.
        command.args(["--rebalance", "false"]);
        command.args(&self.place.options).arg("--store").arg(store);
        if let Some(other) = self.nodes.values().next() {
            command.args(["--join", other.said("/links")?]);
        }
        keep(&mut command, SERVER_CORE);
        let process = Process::start(command)?;
        Ok(self.nodes.entry(number).insert_entry(process).into_mut())
    }

    /// A node.
    pub fn node(&self, number: u64) -> Result<&Process, BenchError> {
        self.nodes.get(&number).ok_or_else(|| BenchError::Setup(format!("there is no node {number}")))
    }

    /// All nodes, by number.
    pub fn nodes(&self) -> impl Iterator<Item = (u64, &Process)> {
        self.nodes.iter().map(|(number, node)| (*number, node))
    }

    /// Ends a node as a crash would.
    pub fn kill(&mut self, number: u64) {
        drop(self.nodes.remove(&number));
    }

    /// From now on the nodes that are there have the same port for players whenever they are started again.
    pub fn keep_doors(&mut self) -> Result<(), BenchError> {
        for (number, node) in &self.nodes {
            self.doors.insert(*number, node.said("/workers/0")?.to_owned());
        }
        Ok(())
    }

    /// The directory that is the nodes' store.
    pub fn store(&self) -> PathBuf {
        self.place.directory.join("store")
    }

    /// Pulls the cable of a node's host, or plugs it in again.
    pub fn cut(&self, number: u64, is_cut: bool) -> Result<(), BenchError> {
        self.network()?.set_cut(Cut::Host(number as u8), is_cut);
        Ok(())
    }

    /// From now on so many of a thousand packets are lost, of nodes and of players.
    pub fn lose(&self, permille: u64) -> Result<(), BenchError> {
        self.network()?.set_loss(permille);
        Ok(())
    }

    /// Packets of nodes and of players so far.
    pub fn packets(&self) -> Result<Packets, BenchError> {
        Ok(self.network()?.packets())
    }

    fn network(&self) -> Result<&Network, BenchError> {
        self.place.network.as_ref().ok_or_else(|| BenchError::Setup("it is on loopback".into()))
    }

    /// Replaces a node's process by a run of a program, which ends with the cluster.
    pub async fn replace(&mut self, number: u64, program: &Path) -> Result<(), BenchError> {
        let mut command = self.place.command(number);
        command.args(["node", "upgrade", &format!("{number:x}"), "--json", "--binary"]).arg(program);
        let said = tokio::task::spawn_blocking(move || succeed(&mut command)).await.map_err(BenchError::setup)??;
        let said: Value = serde_json::from_str(&said).map_err(BenchError::setup)?;
        self.orphans.extend(said["to"].as_i64().and_then(|pid| i32::try_from(pid).ok()));
        Ok(())
    }

    /// Ends a node in order.
    pub fn stop(&mut self, number: u64) -> Result<(), BenchError> {
        self.nodes.remove(&number).map_or(Ok(()), Process::stop)
    }

    /// Where players reach a node's worker, and with what key their tokens are signed.
    pub fn door(&self, number: u64) -> Result<Door, BenchError> {
        let node = self.node(number)?;
        let address: SocketAddr = node.said("/workers/0")?.parse().map_err(BenchError::setup)?;
        let secret = ClusterSecret::read(&self.place.secret()).map_err(BenchError::setup)?;
        Door::of(address, secret.token_key(), node.said("/certificate_sha256")?)
    }

    /// Asks a node by the command line; the answer must be a document. A node that is busy is asked again, as it says.
    pub fn ask(&self, number: u64, words: &[&str]) -> Result<Value, BenchError> {
        document(|| succeed(self.place.command(number).args(words).arg("--json")))
    }

    /// Asks a node's admin API, which costs nothing beside what is asked; the answer must be a document. A node that is busy is
    /// asked again, as it says.
    pub fn request(&self, number: u64, method: &str, path: &str, body: &Value) -> Result<Value, BenchError> {
        let state = self.place.state(number);
        let namespace = self.place.network.as_ref().map(|network| network.namespace(number as u8));
        let admin = Admin { namespace: namespace.as_deref(), url: self.node(number)?.said("/admin")?, state: &state };
        document(|| admin.ask(method, path, body).map_err(|why| BenchError::Setup(format!("{method} {path}: {why}"))))
    }

    /// A session as a node shows it.
    pub fn show(&self, by: u64, session: &str) -> Result<Value, BenchError> {
        self.request(by, "GET", &format!("/v1/sessions/{session}"), &Value::Null)
    }

    /// Ends a session.
    pub fn end(&self, by: u64, session: &str) -> Result<(), BenchError> {
        let why = json!({ "reason": "it was measured" });
        self.request(by, "DELETE", &format!("/v1/sessions/{session}"), &why).map(drop)
    }

    /// Uploads a built sample game.
    pub fn push(&self, context: &Context, game: &str) -> Result<(), BenchError> {
        let path = context.guest_path(game);
        let path = path.to_str().ok_or_else(|| BenchError::Setup("the guests' directory is not UTF-8".into()))?;
        let (number, _) = self.nodes().next().ok_or_else(|| BenchError::Setup("there is no node".into()))?;
        self.ask(number, &["push", path]).map(drop)
    }

    /// Has node `by` create a session of the guest `echo` on node `on`.
    pub fn create(&self, by: u64, key: &str, on: u64) -> Result<(), BenchError> {
        self.create_of(by, "echo", key, on)
    }

    /// The same of any guest that was pushed.
    pub fn create_of(&self, by: u64, game: &str, key: &str, on: u64) -> Result<(), BenchError> {
        let what = json!({ "game": game, "key": key, "node": format!("{on:x}") });
        self.request(by, "POST", "/v1/sessions", &what).map(drop)
    }

    /// Waits until a session has a follower that counts.
    pub fn followed(&self, by: u64, session: &str) -> Result<(), BenchError> {
        let ask = || self.show(by, session);
        until(&format!("{session} has no follower"), PAUSE, ask, counts_somebody)
    }

    /// An error unless somebody follows a session and counts.
    pub fn is_followed(&self, by: u64, session: &str) -> Result<(), BenchError> {
        match counts_somebody(&self.show(by, session)?) {
            true => Ok(()),
            false => Err(BenchError::Child(format!("{session} has no follower any longer"))),
        }
    }

    /// Waits until so many connections of players stand at a node's first worker.
    pub fn connected(&self, number: u64, connections: u64) -> Result<(), BenchError> {
        let ask = || self.request(number, "GET", "/v1/node", &Value::Null);
        until(&format!("{connections} players did not come to node {number}"), LOOK, ask, |said| {
            let there = said.pointer("/workers/0/counters/connections").and_then(Value::as_u64);
            there.is_some_and(|there| there >= connections)
        })
    }

    /// Does something for each of these, a few at a time.
    pub fn for_all<T: Sync>(
        &self,
        all: &[T],
        each: impl Fn(&Cluster, &T) -> Result<(), BenchError> + Sync,
    ) -> Result<(), BenchError> {
        std::thread::scope(|scope| {
            let parts = all.chunks(all.len().div_ceil(AT_ONCE).max(1));
            let threads: Vec<_> =
                parts.map(|part| scope.spawn(|| part.iter().try_for_each(|one| each(self, one)))).collect();
            let ended =
                threads.into_iter().map(|thread| thread.join().map_err(|_| BenchError::Setup("panicked".into())));
            ended.collect::<Result<Result<(), BenchError>, BenchError>>()?
        })
    }

    /// Waits until every node says that exactly those that are there are there, active and settled.
    pub fn agreed(&self) -> Result<(), BenchError> {
        let deadline = Instant::now() + PATIENCE;
        for number in self.nodes.keys() {
            while !self.agrees(&self.request(*number, "GET", "/v1/cluster", &Value::Null)?) {
                if Instant::now() > deadline {
                    return Err(BenchError::Child(format!("{number} does not agree with the others")));
                }
                std::thread::sleep(PAUSE);
            }
        }
        Ok(())
    }

    fn agrees(&self, said: &Value) -> bool {
        let empty = Vec::new();
        let list = |value: &Value| value.as_array().unwrap_or(&empty).clone();
        let is_whole =
            |nodes: &[Value]| nodes.len() == self.nodes.len() && nodes.iter().all(|node| node["state"] == "active");
        let nodes = list(&said["nodes"]);
        let settled = nodes.iter().all(|node| node["settled"] == true && is_whole(&list(&node["sees"])));
        said["agree"] == true && is_whole(&nodes) && settled
    }
}

/// Asks a node until it is as it should be; `else_why` says what is not so when [`PATIENCE`] is over.
fn until(
    else_why: &str,
    pause: Duration,
    ask: impl Fn() -> Result<Value, BenchError>,
    is_so: impl Fn(&Value) -> bool,
) -> Result<(), BenchError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = ask()?;
        if is_so(&said) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(BenchError::Child(format!("{else_why}: {said}")));
        }
        std::thread::sleep(pause);
    }
}

/// What a node answers, asked again as long as it is busy.
fn document(ask: impl Fn() -> Result<String, BenchError>) -> Result<Value, BenchError> {
    let deadline = Instant::now() + PATIENCE;
    let said = loop {
        match ask() {
            Err(BenchError::Setup(why)) if why.contains(BUSY) && Instant::now() < deadline => std::thread::sleep(PAUSE),
            said => break said?,
        }
    };
    serde_json::from_str(&said).map_err(|error| BenchError::Child(format!("said {said:?}: {error}")))
}

impl Place {
    /// `ringside` for a node's state directory, without what the surroundings say about others.
    fn command(&self, number: u64) -> Command {
        let mut command = match &self.network {
            None => Command::new(&self.program),
            Some(network) => {
                // It becomes the program: signals reach that.
                let mut within = Command::new("ip");
                within.args(["netns", "exec", &network.namespace(number as u8)]).arg(&self.program);
                within
            }
        };
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("RINGSIDE_")) {
                command.env_remove(name);
            }
        }
        command.env("RINGSIDE_STATE", self.state(number));
        command
    }

    /// Where a node's sockets are bound, on any ports.
    fn any_port(&self, number: u64) -> String {
        let host = |network: &Network| network.address(number as u8);
        let address = self.network.as_ref().map_or(Ipv4Addr::LOCALHOST, host);
        SocketAddr::from((address, 0)).to_string()
    }

    fn state(&self, number: u64) -> PathBuf {
        self.directory.join(format!("node-{number}"))
    }

    /// The cluster's secret, in the first node's directory.
    fn secret(&self) -> PathBuf {
        self.state(1).join("cluster.json")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for pid in &self.orphans {
            // SAFETY: of two numbers; one that has ended cannot be signalled.
            unsafe { libc::kill(*pid, libc::SIGKILL) };
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Standard output of a command that must succeed.
fn succeed(command: &mut Command) -> Result<String, BenchError> {
    let output = command.stdin(Stdio::null()).output().map_err(BenchError::Process)?;
    if !output.status.success() {
        let program = Path::new(command.get_program()).display().to_string();
        let error = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(BenchError::Setup(format!("{program} ({}): {error}", output.status)));
    }
    String::from_utf8(output.stdout).map_err(BenchError::setup)
}

/// Whether a session, as it is shown, has a follower that counts.
fn counts_somebody(shown: &Value) -> bool {
    let followers = shown.pointer("/detail/replication/followers").and_then(Value::as_array);
    followers.is_some_and(|all| all.iter().any(|one| one["in_sync"] == true))
}
