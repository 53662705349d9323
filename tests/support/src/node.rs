//! A real node in a process of its own, and the command line against it. Ends with the value: nothing is left running.

use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::admin::Admin;
use crate::clock::Clock;
use crate::guests;
use crate::network::Network;
use crate::wait::PATIENCE;

/// What a command line answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub out: String,
    /// What it wrote to standard error.
    pub err: String,
}

impl Answer {
    /// Runs a program to its end.
    ///
    /// # Panics
    /// If it cannot be run.
    #[track_caller]
    pub fn of(command: &mut Command) -> Answer {
        let output = command.output();
        Answer::from_output(output.unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program())))
    }

    /// What a program has written, which ended.
    ///
    /// # Panics
    /// If that is not UTF-8.
    pub fn from_output(output: Output) -> Answer {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap_or_else(|error| panic!("not UTF-8: {error}"));
        Answer { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Standard output of a command that must have succeeded.
    ///
    /// # Panics
    /// If it did not.
    #[track_caller]
    pub fn succeeded(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.out
    }

    /// Standard error of a command that must have failed with code 1: an error of its own, not a crash.
    ///
    /// # Panics
    /// If it did not.
    #[track_caller]
    pub fn failed(self) -> String {
        assert_eq!(self.code, Some(1), "{self:#?}");
        self.err
    }

    /// The document of a command that was given `--json`.
    ///
    /// # Panics
    /// If it failed, or printed anything else.
    #[track_caller]
    pub fn json(self) -> Value {
        self.clone().succeeded();
        self.parsed()
    }

    /// The document that it printed, however it ended.
    ///
    /// # Panics
    /// If it printed anything else.
    #[track_caller]
    pub fn parsed(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// Where a node runs.
#[derive(Debug, Clone)]
pub struct Place {
    /// The network namespace, if it is not the test's own.
    namespace: Option<String>,
    /// Where its sockets are bound, on any ports.
    address: IpAddr,
    /// The port for players; 0 for any.
    port: u16,
    /// What others are told instead.
    advertised: Option<IpAddr>,
    /// What runs there, if it is not the `ringside` program.
    program: Option<PathBuf>,
    /// Further variables of its environment.
    environment: Vec<(&'static str, String)>,
}

impl Default for Place {
    /// On loopback.
    fn default() -> Place {
        Place {
            namespace: None,
            address: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            advertised: None,
            program: None,
            environment: Vec::new(),
        }
    }
}

impl Place {
    /// A host of a network.
    pub fn host(network: &Network, host: u8) -> Place {
        let namespace = Some(network.namespace(host));
        Place { namespace, address: network.address(host).into(), ..Place::default() }
    }

    /// All addresses of this machine, of which others are told one.
    pub fn advertised(address: IpAddr) -> Place {
        Place { address: Ipv4Addr::UNSPECIFIED.into(), advertised: Some(address), ..Place::default() }
    }

    /// The same, with this port for players.
    #[must_use]
    pub fn on_port(self, port: u16) -> Place {
        Place { port, ..self }
    }

    /// The same with another program in place of `ringside`.
    #[must_use]
    pub fn running(self, program: Option<PathBuf>) -> Place {
        Place { program, ..self }
    }

    /// The same where the clock is another one.
    #[must_use]
    pub fn with_clock(mut self, clock: &Clock) -> Place {
        self.environment.extend(clock.environment());
        self
    }

    /// The same with further variables in its environment.
    #[must_use]
    pub fn with_environment(mut self, variables: Vec<(&'static str, String)>) -> Place {
        self.environment.extend(variables);
        self
    }

    /// `ringside` there.
    fn command(&self, state: &Path) -> Command {
        let program = self.program.clone().unwrap_or_else(guests::program);
        let mut command = match &self.namespace {
            None => Command::new(program),
            Some(namespace) => {
                let mut within = Command::new("ip");
                // It becomes the program: signals reach that.
                within.args(["netns", "exec", namespace]).arg(program);
                within
            }
        };
        surround(&mut command, state);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn any_port(&self) -> String {
        SocketAddr::new(self.address, 0).to_string()
    }
}

/// Runs `ringside` against a state directory.
pub fn ringside(state: &Path, arguments: &[&str]) -> Answer {
    Answer::of(command(state).args(arguments).stdin(Stdio::null()))
}

/// `ringside` for a state directory, without what the surroundings say about others.
pub fn command(state: &Path) -> Command {
    let mut command = Command::new(guests::program());
    surround(&mut command, state);
    command
}

fn surround(command: &mut Command, state: &Path) {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("RINGSIDE_")) {
            command.env_remove(name);
        }
    }
    command.env("RINGSIDE_STATE", state);
}

/// A node that runs.
pub struct Node {
    place: Place,
    state: PathBuf,
    process: Child,
    /// The process that came after it, on the same pipes.
    successor: Option<u32>,
    lines: Mutex<Receiver<String>>,
    ready: Value,
}

impl Node {
    /// Starts a node on a state directory, on ports that are free, and waits until it is ready.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start(state: &Path, arguments: &[&str]) -> Node {
        Node::start_at(Place::default(), state, arguments)
    }

    /// The same at a place, where its links and gossip are bound as well.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start_at(place: Place, state: &Path, arguments: &[&str]) -> Node {
        let any = place.any_port();
        let listen = SocketAddr::new(place.address, place.port).to_string();
        let mut ports = vec!["--admin", "127.0.0.1:0", "--workers", "1"];
        if !arguments.contains(&"--listen") {
            ports.extend(["--listen", &*listen]);
        }
        if place.namespace.is_some() || place.advertised.is_some() {
            ports.extend(["--links", &*any, "--gossip", &*any]);
        }
        let advertised = place.advertised.map(|address| address.to_string());
        if let Some(advertised) = &advertised {
            ports.extend(["--advertise", advertised]);
        }
        let mut process = place
            .command(state)
            .args(["--json", "node"])
            .args(ports)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", guests::program().display()));
        let (out, err) = (process.stdout.take(), process.stderr.take());
        let (Some(out), Some(err)) = (out, err) else { panic!("the node's output is piped") };
        // Its log belongs to the test's own output.
        let lines = pass_on(err);
        let mut first = String::new();
        let read = BufReader::new(out).read_line(&mut first);
        let ready = read.ok().and_then(|_| serde_json::from_str(&first).ok());
        let Some(ready) = ready else {
            let status = process.wait();
            panic!("the node did not come up ({status:?}): {first}{}", lines.iter().collect::<Vec<_>>().join("\n"));
        };
        Node { place, state: state.to_owned(), process, successor: None, lines: Mutex::new(lines), ready }
    }

    /// What it said when it was ready.
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    /// Its state directory.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.successor.unwrap_or_else(|| self.process.id())
    }

    /// Its process has handed over to another, which is the node from now on and ends with the value.
    ///
    /// # Panics
    /// If the process does not end.
    pub fn succeeded_by(&mut self, pid: u32) {
        self.wait_until_gone();
        self.successor = Some(pid);
    }

    /// Where players connect, the first worker.
    ///
    /// # Panics
    /// If it did not say so.
    pub fn address(&self) -> SocketAddr {
        let text = self.ready["workers"][0].as_str().unwrap_or_default();
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// SHA-256 of the certificate that players expect.
    ///
    /// # Panics
    /// If it did not say so.
    pub fn certificate(&self) -> [u8; 32] {
        let text = self.ready["certificate_sha256"].as_str().unwrap_or_default();
        let byte = |at: usize| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..32).map(byte).collect();
        bytes.and_then(|bytes| bytes.try_into().ok()).unwrap_or_else(|| panic!("no hash: {text:?}"))
    }

    /// Runs the command line against it.
    pub fn ringside(&self, arguments: &[&str]) -> Answer {
        Answer::of(&mut self.command(arguments))
    }

    /// The command line against it, to be run beside the test.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.place.command(&self.state);
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// What its admin API answers to a request with this body, which must succeed.
    ///
    /// # Panics
    /// If it does not.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> String {
        self.try_ask(method, path, body).unwrap_or_else(|answer| panic!("{method} {path}: {answer}"))
    }

    fn try_ask(&self, method: &str, path: &str, body: &Value) -> Result<String, String> {
        let url = self.ready["admin"].as_str().unwrap_or_default();
        Admin { namespace: self.place.namespace.as_deref(), url, state: &self.state }.ask(method, path, body)
    }

    /// A document of its admin API, if it has one to give at the moment.
    pub fn try_get(&self, path: &str) -> Option<Value> {
        let text = self.try_ask("GET", path, &Value::Null).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// A document of its admin API.
    ///
    /// # Panics
    /// As [`Node::ask`].
    pub fn get(&self, path: &str) -> Value {
        let text = self.ask("GET", path, &Value::Null);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }

    /// A figure of its metrics page.
    ///
    /// # Panics
    /// If there is none of that name.
    pub fn metric(&self, name: &str) -> u64 {
        let page = self.ask("GET", "/metrics", &Value::Null);
        let figure = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        figure.unwrap_or_else(|| panic!("no {name} in\n{page}"))
    }

    /// Bytes of memory that it has in use.
    ///
    /// # Panics
    /// If it is gone.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let kilobytes =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
        kilobytes.map_or_else(|| panic!("the node is there: {status}"), |kilobytes: u64| kilobytes << 10)
    }

    /// Waits for a line of its log in which a text is.
    ///
    /// # Panics
    /// If there is none.
    pub fn logged(&self, text: &str) -> String {
        let deadline = std::time::Instant::now() + PATIENCE;
        let left = || deadline.saturating_duration_since(std::time::Instant::now());
        let lines = self.lines();
        while let Ok(line) = lines.recv_timeout(left()) {
            if line.contains(text) {
                return line;
            }
        }
        panic!("the node never logged {text:?}");
    }

    /// The lines of its log that nobody has asked for, up to now.
    pub fn log_so_far(&self) -> Vec<String> {
        self.lines().try_iter().collect()
    }

    /// Uploads a built sample game.
    ///
    /// # Panics
    /// If it is refused.
    pub fn push(&self, game: &str) -> Value {
        let path = guests::module_path(game);
        self.ringside(&["push", &path.to_string_lossy(), "--json"]).json()
    }

    /// A session token for a player.
    ///
    /// # Panics
    /// If the node gives none.
    pub fn token(&self, player: &str) -> String {
        self.ringside(&["token", "--player", player]).succeeded().trim().to_owned()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// If it is gone.
    pub fn signal(&self, signal: &str) {
        let number = match signal {
            "-KILL" => libc::SIGKILL,
            "-STOP" => libc::SIGSTOP,
            "-CONT" => libc::SIGCONT,
            "-TERM" => libc::SIGTERM,
            "-INT" => libc::SIGINT,
            other => panic!("{other} is no signal that tests send"),
        };
        // SAFETY: no memory is touched. A child that nobody has waited for has its number still.
        let sent = unsafe { libc::kill(self.pid() as libc::pid_t, number) };
        assert_eq!(sent, 0, "the node is there to get {signal}");
    }

    /// Ends it in order; answers how it ended and what it had logged.
    ///
    /// # Panics
    /// If it does not end.
    pub fn stop(mut self) -> (ExitStatus, Vec<String>) {
        self.signal("-TERM");
        let status = self.wait();
        let logged = self.lines().iter().collect();
        (status, logged)
    }

    /// Ends it as a crash would.
    ///
    /// # Panics
    /// If it is gone already.
    pub fn kill(mut self) {
        self.signal("-KILL");
        self.wait_until_gone();
    }

    /// Waits until its process, or the one that came after it, has ended.
    ///
    /// # Panics
    /// If it does not end.
    pub fn ended(mut self) {
        self.wait_until_gone();
    }

    /// Waits until it ends by itself; answers how.
    ///
    /// # Panics
    /// If it does not end.
    pub fn wait_for_end(mut self) -> ExitStatus {
        self.wait()
    }

    fn lines(&self) -> MutexGuard<'_, Receiver<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_until_gone(&mut self) {
        let Some(pid) = self.successor else {
            self.wait();
            return;
        };
        let deadline = std::time::Instant::now() + PATIENCE;
        // It is nobody's child here: whether it is there is all that can be asked.
        while is_there(pid) {
            assert!(std::time::Instant::now() < deadline, "the node did not end within {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = std::time::Instant::now() + PATIENCE;
        while std::time::Instant::now() < deadline {
            match self.process.try_wait() {
                Ok(Some(status)) => return status,
                Ok(None) => std::thread::sleep(Duration::from_millis(10)),
                Err(error) => panic!("waiting for the node: {error}"),
            }
        }
        panic!("the node did not end within {PATIENCE:?}");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(pid) = self.successor.filter(|pid| is_there(*pid)) {
            // SAFETY: no memory is touched.
            unsafe { libc::kill(pid as libc::pid_t, libc::SIGKILL) };
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether a process is there that has not ended. One that nobody waits for stays as a zombie; while it has other threads
/// its files are still open, and locked.
fn is_there(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    // The name, in brackets, may be anything; the state comes after it.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| threads > 1 || !rest.starts_with(['Z', 'X']))
}

/// Reads lines on a thread of its own, so that the writer never waits.
fn pass_on(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            eprintln!("node: {line}");
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}
