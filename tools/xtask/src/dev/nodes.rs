//! Node processes of `cargo xtask dev`: their directories, ports and logs. They end with this program, however it ends.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::interrupt;
use crate::workspace::Error;

/// How long a node may take to be ready.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long a node may take to end in order.
const END_PATIENCE: Duration = Duration::from_secs(15);
/// How often Ctrl-C is looked for while something is waited for.
const LOOK: Duration = Duration::from_millis(50);
/// How long after a process that has handed over the one in its place may take to hold the state directory.
pub const SUCCESSION: Duration = Duration::from_secs(1);
/// The first node's port; each further node has ten more.
const FIRST_PORT: u16 = 7400;

/// Where a cluster of nodes is to run.
pub struct Plan {
    /// The `ringside` program.
    pub program: PathBuf,
    /// The first node's state directory; the others' and the store are in it.
    pub state: PathBuf,
    /// How many nodes.
    pub count: u16,
    /// On any free ports instead of the fixed ones.
    pub any_port: bool,
}

/// A node that runs.
pub struct Node {
    process: Child,
    state: PathBuf,
    /// What it said when it was ready.
    pub ready: Value,
}

impl Plan {
    /// A node's state directory, counted from 1. The first has the one that the command line looks for.
    pub fn state_of(&self, number: u16) -> PathBuf {
        match number {
            1 => self.state.clone(),
            _ => self.state.join(format!("node-{number}")),
        }
    }

    /// The command line, for a node.
    pub fn command(&self, number: u16) -> Command {
        let mut command = Command::new(&self.program);
        // What the surroundings say is of other nodes, but for what is to be logged.
        let is_other = |name: &str| name.starts_with("RINGSIDE_") && name != "RINGSIDE_LOG";
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_other)) {
            command.env_remove(name);
        }
        command.env("RINGSIDE_STATE", self.state_of(number));
        command
    }

    /// Makes a node's state directory: with its number, and with the first one's secret.
    pub fn init(&self, number: u16) -> Result<(), Error> {
        let mut command = self.command(number);
        command.args(["node", "init"]);
        if !self.state_of(number).join("node.id").exists() {
            command.args(["--number", &number.to_string()]);
        }
        if number > 1 {
            command.arg("--secret").arg(self.state.join("cluster.json"));
        }
        let output = command.stdin(Stdio::null()).output().map_err(|source| self.cannot_start(source))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(Error::Node(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        }
    }

    /// Starts a node and waits until it is ready; `None` if somebody pressed Ctrl-C first. `join` is the links of another.
    pub fn start(&self, number: u16, join: Option<&str>) -> Result<Option<Node>, Error> {
        let base = FIRST_PORT + 10 * (number - 1);
        let address = |offset| format!("127.0.0.1:{}", if self.any_port { 0 } else { base + offset });
        let mut command = self.command(number);
        command.args(["--json", "node", "--workers", "1", "--listen", &address(0), "--admin", &address(1)]);
        command.args(["--links", &address(5), "--gossip", &address(6)]).arg("--store").arg(self.state.join("store"));
        if let Some(join) = join {
            command.args(["--join", join]);
        }
        let process = interrupt::tie(&mut command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| self.cannot_start(source))?;
        let mut node = Node { process, state: self.state_of(number), ready: Value::Null };
        let (Some(out), Some(err)) = (node.process.stdout.take(), node.process.stderr.take()) else {
            return Err(Error::Node("the node's output is not to be had".to_owned()));
        };
        pass_on(number, err);
        node.wait_until_ready(number, &first_line(out))
    }

    fn cannot_start(&self, source: std::io::Error) -> Error {
        Error::Start { program: self.program.display().to_string(), source }
    }
}

impl Node {
    fn wait_until_ready(mut self, number: u16, line: &Receiver<String>) -> Result<Option<Node>, Error> {
        let deadline = Instant::now() + START_PATIENCE;
        while !interrupt::wanted() {
            match line.recv_timeout(LOOK) {
                Ok(line) => {
                    let what = || Error::Node(format!("node {number} says {line:?} instead of where it is"));
                    self.ready = serde_json::from_str(&line).map_err(|_| what())?;
                    return Ok(Some(self));
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Error::Node(format!("node {number} is not ready after {START_PATIENCE:?}")));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let why = "its output above says why; where a port is in use, --any-port takes others";
                    return Err(Error::Node(format!("node {number} did not start: {why}")));
                }
            }
        }
        Ok(None)
    }

    /// A text that it said when it was ready.
    pub fn said(&self, name: &str) -> &str {
        self.ready[name].as_str().unwrap_or("-")
    }

    /// Where players connect.
    pub fn players(&self) -> &str {
        self.ready["workers"][0].as_str().unwrap_or("-")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Whether it has ended, and nobody came in its place.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(Some(_))) && self.successor().is_none()
    }

    /// The process that holds its state directory after it has ended: `ringside node upgrade` put it there. One that somebody
    /// else started since then is theirs.
    fn successor(&self) -> Option<libc::pid_t> {
        let is_there = is_locked(&self.state);
        let holder = is_there.then(|| std::fs::read_to_string(self.state.join("lock")).ok()?.trim().parse().ok());
        holder.flatten().filter(|holder| interrupt::is_child(*holder))
    }
}

/// However the program goes on, no node is left behind.
impl Drop for Node {
    fn drop(&mut self) {
        // One that has just handed over has a successor that is not seen yet.
        let has_ended = matches!(self.process.try_wait(), Ok(Some(_)));
        let seen = Instant::now() + if has_ended { SUCCESSION } else { Duration::ZERO };
        interrupt::end(&mut self.process, END_PATIENCE);
        let deadline = Instant::now() + END_PATIENCE;
        let mut asked = None;
        while Instant::now() < deadline {
            match self.successor() {
                // Another may have come in its place meanwhile.
                Some(successor) if asked.replace(successor) != Some(successor) => {
                    interrupt::end_adopted(successor, false);
                }
                None if asked.is_none_or(interrupt::has_ended) && Instant::now() >= seen => return,
                _ => std::thread::sleep(LOOK),
            }
        }
        self.successor().into_iter().for_each(|successor| interrupt::end_adopted(successor, true));
    }
}

/// Shows what a node logs, with its number before each line.
fn pass_on(number: u16, stream: impl Read + Send + 'static) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            eprintln!("node {number} | {line}");
        }
    });
}

/// The first line of a stream; what follows is read and dropped.
fn first_line(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, line) = channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        if let Some(first) = lines.next() {
            let _ = sender.send(first);
        }
        lines.for_each(drop);
    });
    line
}

/// Whether a node holds a state directory.
pub fn is_locked(state: &Path) -> bool {
    let lock = std::fs::File::open(state.join("lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(std::fs::TryLockError::WouldBlock)))
}
