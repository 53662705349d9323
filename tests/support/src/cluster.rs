//! A cluster of real nodes on one machine, with a store that they share.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::directory::Directory;
use crate::network::Network;
use crate::node::{Node, Place, ringside};
use crate::object_server::ObjectServer;
use crate::ports;
use crate::wait::{PATIENCE, until};

/// A store whose place something else has; it is back with the value's end.
pub struct WithoutStore {
    store: PathBuf,
    aside: PathBuf,
}

impl Drop for WithoutStore {
    fn drop(&mut self) {
        let moved = std::fs::remove_file(&self.store).and_then(|()| std::fs::rename(&self.aside, &self.store));
        moved.unwrap_or_else(|error| panic!("the store cannot be moved back: {error}"));
    }
}

/// Nodes by their numbers. They end with the value.
pub struct Cluster {
    nodes: BTreeMap<u64, Node>,
    shares_store: bool,
    directory: Directory,
    network: Option<Network>,
    server: Option<ObjectServer>,
    /// Ports for players that nodes have again when they are started again; without a network others have ports of the test's
    /// own all the same, so that nobody gets those that stay free in between.
    ports: BTreeMap<u64, u16>,
    /// Whether sessions stay where they are unless somebody moves them.
    is_at_rest: bool,
    /// What nodes run, if it is not the `ringside` program.
    program: Option<PathBuf>,
}

impl Cluster {
    /// So many nodes, from number 1 on; returns when they agree on who is there.
    ///
    /// # Panics
    /// If one does not come up.
    pub async fn start(count: u64) -> Cluster {
        Cluster::start_with(count, true).await
    }

    /// The same, each with a store of its own unless they share one.
    ///
    /// # Panics
    /// If one does not come up.
    pub async fn start_with(count: u64, shares_store: bool) -> Cluster {
        Cluster::found(count, shares_store, None, None, false).await
    }

    /// The same with a bucket for a store; no session goes to another node by itself.
    ///
    /// # Panics
    /// If one does not come up.
    pub async fn start_with_bucket(count: u64, server: ObjectServer) -> Cluster {
        Cluster::found(count, true, None, Some(server), true).await
    }

    /// The same on the hosts of a network, which share a disk.
    ///
    /// # Panics
    /// If one does not come up.
    pub async fn start_on(network: Network, count: u64) -> Cluster {
        Cluster::found(count, true, Some(network), None, false).await
    }

    /// The same with a bucket for a store, whose server is on a further host of it; no session goes to another node by itself.
    ///
    /// # Errors
    /// Why this machine has no such server.
    ///
    /// # Panics
    /// If one does not come up.
    pub async fn start_on_with_bucket(network: Network, count: u64) -> Result<Cluster, String> {
        let server = ObjectServer::start_at(&network, count as u8 + 1)?;
        Ok(Cluster::found(count, true, Some(network), Some(server), true).await)
    }

    /// The same on a network or on loopback, where no session goes to another node by itself: for tests in which nodes come
    /// back and that count who leads what then.
    ///
    /// # Panics
    /// If one does not come up.
    pub async fn start_at_rest(network: Option<Network>, count: u64) -> Cluster {
        Cluster::found(count, true, network, None, true).await
    }

    /// The same on loopback with another program in place of `ringside`.
    ///
    /// # Panics
    /// If one does not come up.
    pub async fn start_running(program: PathBuf, count: u64) -> Cluster {
        let mut cluster = Cluster::found(0, true, None, None, false).await;
        cluster.program = Some(program);
        (1..=count).for_each(|number| _ = cluster.add(number, &[]));
        cluster.agreed().await;
        cluster
    }

    async fn found(
        count: u64,
        shares_store: bool,
        network: Option<Network>,
        server: Option<ObjectServer>,
        is_at_rest: bool,
    ) -> Cluster {
        let mut cluster = Cluster {
            nodes: BTreeMap::new(),
            shares_store,
            directory: Directory::new(),
            network,
            server,
            ports: BTreeMap::new(),
            is_at_rest,
            program: None,
        };
        for number in 1..=count {
            cluster.add(number, &[]);
        }
        if count > 0 {
            cluster.agreed().await;
        }
        cluster
    }

    /// Whether it is on hosts of a network.
    pub fn has_network(&self) -> bool {
        self.network.is_some()
    }

    /// The network that it is on.
    ///
    /// # Panics
    /// If it is on loopback.
    pub fn network(&self) -> &Network {
        self.network.as_ref().unwrap_or_else(|| panic!("it is on loopback"))
    }

    /// The server that has its bucket.
    ///
    /// # Panics
    /// If its store is a directory.
    pub fn server(&self) -> &ObjectServer {
        self.server.as_ref().unwrap_or_else(|| panic!("its store is a directory"))
    }

    /// A node's state directory.
    pub fn state_of(&self, number: u64) -> PathBuf {
        self.directory.path().join(format!("node-{number}"))
    }

    /// Makes the state directory of a node.
    ///
    /// # Panics
    /// If that fails.
    pub fn init(&self, number: u64) {
        let state = self.state_of(number);
        let (number, secret) = (format!("{number:x}"), self.secret());
        let mut arguments = vec!["node", "init", "--number", &number];
        let secret_text = secret.to_string_lossy();
        if secret.exists() {
            arguments.extend(["--secret", &*secret_text]);
        }
        ringside(&state, &arguments).succeeded();
    }

    /// The cluster's secret, in the first node's directory.
    pub fn secret(&self) -> PathBuf {
        self.state_of(1).join("cluster.json")
    }

    /// Links of a node that runs, if there is any.
    pub fn links(&self) -> Option<String> {
        self.nodes.values().next().and_then(|node| node.ready()["links"].as_str().map(str::to_owned))
    }

    /// Starts a further node, or one again, and waits until it is ready.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn add(&mut self, number: u64, arguments: &[&str]) -> &Node {
        self.add_at(self.place_of(number), number, arguments)
    }

    /// The same, and what it runs is another program than the others.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn add_running(&mut self, program: PathBuf, number: u64, arguments: &[&str]) -> &Node {
        let place = self.place_of(number).running(Some(program));
        self.add_at(place, number, arguments)
    }

    /// The same at another place.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn add_at(&mut self, place: Place, number: u64, arguments: &[&str]) -> &Node {
        let links = self.links();
        let mut arguments = arguments.to_vec();
        if let Some(links) = &links {
            arguments.extend(["--join", links]);
        }
        self.begin_at(place, number, &arguments)
    }

    /// From now on the nodes that are there have the same port for players whenever they are started again.
    pub fn keep_ports(&mut self) {
        self.ports = self.nodes.iter().map(|(number, node)| (*number, node.address().port())).collect();
    }

    fn place_of(&self, number: u64) -> Place {
        let host = |network| Place::host(network, number as u8);
        let place = self.network.as_ref().map_or_else(Place::default, host).running(self.program.clone());
        let place = place.with_environment(self.server.as_ref().map(ObjectServer::environment).unwrap_or_default());
        let port = self.ports.get(&number).copied().or_else(|| self.network.is_none().then(ports::reserve));
        port.map_or(place.clone(), |port| place.on_port(port))
    }

    /// Starts a node with these arguments and no others that say where the cluster is, and waits until it is ready.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn begin(&mut self, number: u64, arguments: &[&str]) -> &Node {
        self.begin_at(self.place_of(number), number, arguments)
    }

    fn begin_at(&mut self, place: Place, number: u64, arguments: &[&str]) -> &Node {
        self.init(number);
        let store = self.store();
        let bucket = self.server.as_ref().map(|_| format!("s3://{}/cluster", ObjectServer::BUCKET).into());
        let store = bucket.unwrap_or_else(|| store.to_string_lossy());
        let mut arguments = arguments.to_vec();
        if self.shares_store {
            arguments.extend(["--store", &*store]);
        }
        if self.is_at_rest {
            arguments.extend(["--rebalance", "false"]);
        }
        let node = Node::start_at(place, &self.state_of(number), &arguments);
        self.nodes.insert(number, node);
        self.node(number)
    }

    /// A node.
    ///
    /// # Panics
    /// If there is none of that number.
    pub fn node(&self, number: u64) -> &Node {
        self.nodes.get(&number).unwrap_or_else(|| panic!("there is no node {number}"))
    }

    /// The store that its nodes share, if it is a directory.
    pub fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// Takes that away until the value's end.
    ///
    /// # Panics
    /// If it cannot be moved.
    pub fn without_store(&self) -> WithoutStore {
        let store = self.store();
        let aside = store.with_extension("away");
        let moved = std::fs::rename(&store, &aside).and_then(|()| std::fs::write(&store, "in the way"));
        moved.unwrap_or_else(|error| panic!("the store cannot be moved: {error}"));
        WithoutStore { store, aside }
    }

    /// A node, as another shows it.
    ///
    /// # Panics
    /// If there is no such other.
    pub fn status(&self, by: u64, node: u64) -> Option<Value> {
        let list = self.node(by).ringside(&["node", "list", "--json"]);
        let list = (list.code == Some(0)).then(|| list.json())?;
        let number = Value::from(node.to_string());
        list["nodes"].as_array()?.iter().find(|it| it["node"] == number).cloned()
    }

    /// Replaces a node's process by a run of a program, ordered by another node; the command's words if that fails.
    ///
    /// # Errors
    /// What the command wrote.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn upgrade(&mut self, by: u64, node: u64, program: &std::path::Path) -> Result<(), String> {
        let order = ["node", "upgrade", &node.to_string(), "--json", "--binary", &program.to_string_lossy()];
        let answer = self.node(by).ringside(&order);
        if answer.code != Some(0) {
            return Err(format!("{}{}", answer.out, answer.err));
        }
        // Others still show the old one for a while.
        let said = answer.json();
        let pid = said["to"].as_u64().ok_or_else(|| format!("no process: {said}"))?;
        let old = self.nodes.get_mut(&node).unwrap_or_else(|| panic!("there is no node {node}"));
        old.succeeded_by(pid as u32);
        Ok(())
    }

    /// All that are there.
    pub fn nodes(&self) -> impl Iterator<Item = (u64, &Node)> {
        self.nodes.iter().map(|(number, node)| (*number, node))
    }

    /// Takes a node out, to be ended.
    ///
    /// # Panics
    /// If there is none of that number.
    pub fn take(&mut self, number: u64) -> Node {
        self.nodes.remove(&number).unwrap_or_else(|| panic!("there is no node {number}"))
    }

    /// Waits until every node says that exactly those that are there are there, active, on one ring, and have told all
    /// that they lead. Answers what the first of them says.
    ///
    /// # Panics
    /// If that does not come to be.
    pub async fn agreed(&self) -> Value {
        until("all nodes to agree", async || {
            // All at a time: whoever waits for a node that does not answer keeps nobody else waiting.
            let said = self.get_of_all("/v1/cluster");
            said.iter().all(|cluster| self.agrees(cluster)).then(|| said.into_iter().next())?
        })
        .await
    }

    /// Waits until a node knows of so many, itself one of them.
    ///
    /// # Panics
    /// If that does not come to be.
    pub async fn knows_of(&self, by: u64, count: u64) {
        let knows = async || (self.node(by).get("/v1/cluster")["covers"]["nodes"] == count).then_some(());
        until("a node to know of as many as there are", knows).await;
    }

    /// What the admin APIs of all nodes say, in order of their numbers, asked at a time.
    ///
    /// # Panics
    /// If one has no answer.
    pub fn get_of_all(&self, path: &str) -> Vec<Value> {
        std::thread::scope(|scope| {
            let asked: Vec<_> = self.nodes.values().map(|node| scope.spawn(|| node.get(path))).collect();
            asked.into_iter().map(|asked| asked.join().unwrap_or_else(|_| panic!("no answer"))).collect()
        })
    }

    fn agrees(&self, cluster: &Value) -> bool {
        let wanted: Vec<String> = self.nodes.keys().map(|number| format!("{number:x}")).collect();
        let of = |list: &Value| {
            let items = list.as_array().cloned().unwrap_or_default();
            items.iter().map(|item| item["node"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        let nodes = cluster["nodes"].as_array().cloned().unwrap_or_default();
        let is_settled = |node: &Value| {
            let active = node["sees"].as_array().is_some_and(|sees| sees.iter().all(|seen| seen["state"] == "active"));
            of(&node["sees"]) == wanted && active && node["state"] == "active" && node["settled"] == true
        };
        cluster["agree"] == true && of(&cluster["nodes"]) == wanted && nodes.iter().all(is_settled)
    }

    /// Waits until the directories agree: whatever a node leads, one home keeps, as its leader says it, and homes keep
    /// nothing else. Answers where each session is.
    ///
    /// # Panics
    /// If that does not come to be.
    pub async fn directories_agree(&self) -> BTreeMap<String, (String, u64)> {
        let mut last = Vec::new();
        let agreed = tokio::time::timeout(PATIENCE, async {
            loop {
                last = self.get_of_all("/v1/directory");
                let of = |what: &str| {
                    let entries = last.iter().flat_map(|node| node[what].as_array().cloned().unwrap_or_default());
                    let entry = |entry: Value| {
                        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
                        (text("session"), (text("node"), entry["worker"].as_u64().unwrap_or(u64::MAX)))
                    };
                    let mut all: Vec<_> = entries.map(entry).collect();
                    all.sort();
                    all
                };
                let (leads, keeps) = (of("leads"), of("keeps"));
                let is_settled = last.iter().all(|node| node["settled"] == true && node["ring"] == last[0]["ring"]);
                let keys: BTreeSet<_> = leads.iter().filter_map(|(session, _)| session.split('@').next()).collect();
                if is_settled && leads == keeps && keys.len() == leads.len() {
                    return leads.into_iter().collect();
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        match agreed.await {
            Ok(places) => places,
            Err(_) => panic!("the directories do not agree: {last:#?}"),
        }
    }

    /// The live sessions as a node lists them: `game/key@incarnation` and the node that leads each.
    ///
    /// # Panics
    /// If the list is not of the whole cluster.
    pub fn sessions(&self, by: u64) -> Vec<(String, String)> {
        let list = self.node(by).ringside(&["session", "list", "--json"]).json();
        assert_eq!(list["covers"]["nodes"], list["covers"]["answered"], "{list}");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let sessions = list["sessions"].as_array().cloned().unwrap_or_default();
        sessions.iter().map(|session| (text(&session["session"]), text(&session["node"]))).collect()
    }
}
