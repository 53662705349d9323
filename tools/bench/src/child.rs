//! A measured process or its load: started on its core, asked for its counters over its standard streams, ended when
//! dropped. Both ends of that small conversation are here.
//!
//! The child prints `ready TEXT`, then answers each line on its standard input with one line of JSON, and ends when
//! its input ends.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bench::BenchError;
use crate::machine;

/// What went through one end, as that end counted it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Datagrams that came in.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Datagrams that went out.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
}

impl Counts {
    /// What was counted since `earlier`.
    pub fn since(&self, earlier: &Counts) -> Counts {
        Counts {
            received: self.received - earlier.received,
            received_bytes: self.received_bytes - earlier.received_bytes,
            sent: self.sent - earlier.sent,
            sent_bytes: self.sent_bytes - earlier.sent_bytes,
        }
    }
}

/// The counters of this process.
#[derive(Debug, Default)]
pub struct Counters {
    received: AtomicU64,
    received_bytes: AtomicU64,
    sent: AtomicU64,
    sent_bytes: AtomicU64,
}

impl Counters {
    /// Counters from zero.
    pub const fn new() -> Counters {
        Counters {
            received: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
        }
    }

    /// A datagram came in.
    pub fn count_received(&self, bytes: usize) {
        self.received.fetch_add(1, Relaxed);
        self.received_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// A datagram went out.
    pub fn count_sent(&self, bytes: usize) {
        self.sent.fetch_add(1, Relaxed);
        self.sent_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// What was counted so far.
    pub fn read(&self) -> Counts {
        Counts {
            received: self.received.load(Relaxed),
            received_bytes: self.received_bytes.load(Relaxed),
            sent: self.sent.load(Relaxed),
            sent_bytes: self.sent_bytes.load(Relaxed),
        }
    }
}

/// In the child: says that it is ready, and answers questions from a thread of its own until the input ends; then
/// the process ends.
pub fn answer(ready: &str, read: impl Fn() -> Counts + Send + 'static) {
    println!("ready {ready}");
    std::thread::spawn(move || {
        for _ in std::io::stdin().lock().lines().map_while(Result::ok) {
            match serde_json::to_string(&read()) {
                Ok(line) => println!("{line}"),
                Err(_) => break,
            }
        }
        std::process::exit(0);
    });
}

/// In the parent: a started child.
pub struct Running {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    ready: String,
}

impl Running {
    /// Starts this program's own subcommand on a core and waits until it is ready.
    pub fn start(core: usize, arguments: &[&str]) -> Result<Running, BenchError> {
        let program = std::env::current_exe().map_err(BenchError::Process)?;
        let core = core.to_string();
        let mut command = Command::new(program);
        command.args(["--core", &core]).args(arguments);
        Running::start_command(command)
    }

    /// Starts any program that keeps to the conversation.
    pub fn start_command(mut command: Command) -> Result<Running, BenchError> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(BenchError::Process)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(BenchError::Child("has no standard streams".into()));
        };
        let mut running =
            Running { child, input: Some(input), output: BufReader::new(output).lines(), ready: String::new() };
        let line = running.line()?;
        match line.strip_prefix("ready") {
            Some(ready) => running.ready = ready.trim().to_owned(),
            None => return Err(BenchError::Child(format!("said {line:?} where \"ready\" was expected"))),
        }
        Ok(running)
    }

    /// What the child said with `ready`.
    pub fn ready(&self) -> &str {
        &self.ready
    }

    /// What the child has counted so far.
    pub fn counts(&mut self) -> Result<Counts, BenchError> {
        let line = self.ask("counts")?;
        serde_json::from_str(&line).map_err(|error| BenchError::Child(format!("said {line:?}: {error}")))
    }

    /// Asks something and hands back the line that comes.
    fn ask(&mut self, question: &str) -> Result<String, BenchError> {
        let input = self.input.as_mut().ok_or_else(|| BenchError::Child("is ending".into()))?;
        writeln!(input, "{question}").and_then(|()| input.flush()).map_err(BenchError::Process)?;
        self.line()
    }

    /// Lets a load that works in slices work for so long; answers what that brought.
    pub fn slice<T: serde::de::DeserializeOwned>(&mut self, length: Duration) -> Result<T, BenchError> {
        let line = self.ask(&format!("slice {}", length.as_millis()))?;
        serde_json::from_str(&line).map_err(|error| BenchError::Child(format!("said {line:?}: {error}")))
    }

    /// CPU time that the child has used so far.
    pub fn cpu_time(&self) -> Result<Duration, BenchError> {
        machine::cpu_time(self.child.id()).ok_or_else(|| BenchError::Child("has no CPU clock".into()))
    }

    fn line(&mut self) -> Result<String, BenchError> {
        match self.output.next() {
            Some(Ok(line)) => Ok(line),
            Some(Err(error)) => Err(BenchError::Process(error)),
            None => Err(BenchError::Child("ended early; its own message is above".into())),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.input.take());
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) {
            if std::time::Instant::now() > deadline {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
