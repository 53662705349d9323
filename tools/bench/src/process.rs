//! A process with a log: it says in its first line of standard output how it is reached (a JSON document), and logs to
//! standard error, which is read as it comes. Can be made to stand still. Ends when dropped.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bench::BenchError;
use crate::machine;

/// How long a process may take to end in order.
const ENDING: Duration = Duration::from_secs(20);
/// Last lines of a log that are shown where a process did not come up.
const SHOWN: usize = 5;

/// A line of a log.
pub struct Line {
    /// When it was read.
    pub at: Instant,
    /// What it says.
    pub text: String,
}

/// A process.
pub struct Process {
    child: Child,
    ready: Value,
    // Behind a lock, so that several threads may ask the nodes of a cluster.
    log: Mutex<Receiver<Line>>,
    // Held open: a process that ends with its input lives as long as this.
    _input: Option<ChildStdin>,
}

impl Process {
    /// Starts it and waits until it is ready.
    pub fn start(mut command: Command) -> Result<Process, BenchError> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(BenchError::Process)?;
        let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(output), Some(errors)) = (output, errors) else {
            return Err(BenchError::Child("has no standard streams".into()));
        };
        let (sender, log) = channel();
        std::thread::spawn(move || {
            for text in BufReader::new(errors).lines().map_while(Result::ok) {
                if sender.send(Line { at: Instant::now(), text }).is_err() {
                    return;
                }
            }
        });
        let mut process = Process { child, ready: Value::Null, log: Mutex::new(log), _input: input };
        let mut first = String::new();
        BufReader::new(output).read_line(&mut first).map_err(BenchError::Process)?;
        match serde_json::from_str(&first) {
            Ok(ready) => process.ready = ready,
            Err(_) => return Err(process.never_came_up(&first)),
        }
        Ok(process)
    }

    fn never_came_up(mut self, said: &str) -> BenchError {
        let _ = self.child.kill();
        let lines: Vec<String> = self.log().iter().map(|line| line.text).collect();
        let last = lines[lines.len().saturating_sub(SHOWN)..].join("\n");
        BenchError::Child(format!("did not come up; it said {said:?} and logged:\n{last}"))
    }

    /// A text of what it said when it was ready.
    pub fn said(&self, pointer: &str) -> Result<&str, BenchError> {
        let text = self.ready.pointer(pointer).and_then(Value::as_str);
        text.ok_or_else(|| BenchError::Child(format!("said no {pointer}: {}", self.ready)))
    }

    /// Lines that it logged since the last call.
    pub fn logged(&self) -> impl Iterator<Item = Line> {
        self.log().try_iter().collect::<Vec<Line>>().into_iter()
    }

    /// What it logs until it has ended, which it is about to.
    pub fn last_logged(&self) -> impl Iterator<Item = Line> {
        std::iter::from_fn(|| self.log().recv_timeout(ENDING).ok())
    }

    fn log(&self) -> MutexGuard<'_, Receiver<Line>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// CPU time that it has used so far.
    pub fn cpu_time(&self) -> Result<Duration, BenchError> {
        machine::cpu_time(self.child.id()).ok_or_else(|| BenchError::Child("has no CPU clock".into()))
    }

    /// It stands still until [`Process::go_on`].
    pub fn stand_still(&self) -> Result<(), BenchError> {
        self.signal(libc::SIGSTOP)
    }

    /// It goes on.
    pub fn go_on(&self) -> Result<(), BenchError> {
        self.signal(libc::SIGCONT)
    }

    /// Ends it in order.
    pub fn stop(mut self) -> Result<(), BenchError> {
        self.signal(libc::SIGTERM)?;
        let deadline = Instant::now() + ENDING;
        while self.child.try_wait().map_err(BenchError::Process)?.is_none() {
            if Instant::now() > deadline {
                return Err(BenchError::Child(format!("did not end within {ENDING:?}")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn signal(&self, signal: libc::c_int) -> Result<(), BenchError> {
        let process = libc::pid_t::try_from(self.child.id()).map_err(BenchError::setup)?;
        // SAFETY: takes plain numbers; the child was not waited for, so that the number is still its own.
        match unsafe { libc::kill(process, signal) } {
            0 => Ok(()),
            _ => Err(BenchError::Process(std::io::Error::last_os_error())),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<Process, BenchError> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start(command)
    }

    #[test]
    fn what_a_process_says_and_logs_is_read_and_it_ends_in_order() {
        let process = shell(r#"echo '{"at":"here"}'; echo one >&2; read line"#).unwrap();
        assert_eq!(process.said("/at").unwrap(), "here");
        assert!(process.said("/there").is_err());
        assert_eq!(process.log().recv().unwrap().text, "one");
        process.stand_still().unwrap();
        process.go_on().unwrap();
        process.stop().unwrap();
    }

    #[test]
    fn one_that_does_not_come_up_shows_its_log() {
        let error = shell("echo why >&2").err().unwrap().to_string();
        assert!(error.contains("why"), "{error}");
    }
}
