//! `cargo xtask dev`: from a fresh clone to a node with games on it, and the lines to type next. Whatever it starts
//! ends with it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use crate::workspace::{Error, Workspace};
use crate::{guests, interrupt, steps, steps::headline};

/// The sample games that are pushed, in the order in which a newcomer meets them.
const SAMPLES: [&str; 3] = ["pong", "arena", "chess"];
/// How long a node may take to answer its first question.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How long a node may take to end in order.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// Builds, starts, pushes, explains, and waits for Ctrl-C.
pub fn run(workspace: &Workspace, fresh: bool, state: Option<PathBuf>) -> Result<ExitCode, Error> {
    let default_state = state.is_none();
    let state = state.unwrap_or_else(|| workspace.root().join(".ringside"));
    eprintln!("state directory: {}", state.display());
    build(workspace)?;
    prepare(&state, fresh)?;
    interrupt::watch();
    headline("node");
    let ringside = Ringside { program: workspace.program("ringside"), state };
    let mut node = ringside.start()?;
    let result = serve(workspace, &ringside, &mut node, default_state);
    interrupt::end(&mut node, END_PATIENCE);
    result
}

fn build(workspace: &Workspace) -> Result<(), Error> {
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--package", "ringside-node", "--bins"]);
    steps::require("build", &mut build)?;
    headline("guests");
    guests::build(workspace.root()).map_err(|error| Error::Step(format!("building guests ({error})")))?;
    Ok(())
}

fn prepare(state: &Path, fresh: bool) -> Result<(), Error> {
    let failed = |source| Error::File { path: state.to_owned(), source };
    // Only a state directory is ever removed: a slip of the keyboard must not cost a home directory.
    if fresh && state.exists() {
        let ours = std::fs::read(state.join("version")).is_ok_and(|version| version.starts_with(b"ringside state"));
        if !ours && std::fs::read_dir(state).map_err(failed)?.count() > 0 {
            let text = format!("{} is no state directory of a node and not empty: not removed", state.display());
            return Err(Error::Node(text));
        }
        if is_locked(state) {
            return Err(Error::Node(format!("a node runs on {}: stop it first", state.display())));
        }
        std::fs::remove_dir_all(state).map_err(failed)?;
    }
    std::fs::create_dir_all(state).map_err(failed)
}

/// Whether a node holds the state directory.
fn is_locked(state: &Path) -> bool {
    let lock = std::fs::File::open(state.join("lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(std::fs::TryLockError::WouldBlock)))
}

fn serve(workspace: &Workspace, ringside: &Ringside, node: &mut Child, default_state: bool) -> Result<ExitCode, Error> {
    if !ringside.wait_until_up(node)? {
        return Ok(ExitCode::SUCCESS);
    }
    headline("games");
    for sample in SAMPLES {
        let module = guests::module(workspace.root(), sample);
        steps::require(&format!("push {sample}"), ringside.command().arg("push").arg(module))?;
    }
    let shown = ringside.shown().ok_or_else(|| Error::Node("the node does not answer any more".into()))?;
    steps::say(&format!("\n{}", explain(ringside, &shown, default_state)));
    while !interrupt::wanted() {
        if let Ok(Some(status)) = node.try_wait() {
            return Err(Error::Node(format!("the node ended by itself ({status}); its output above says why")));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    eprintln!("\nending the node");
    Ok(ExitCode::SUCCESS)
}

fn explain(ringside: &Ringside, shown: &str, default_state: bool) -> String {
    let program = ringside.program.display();
    let state = if default_state { String::new() } else { format!(" --state {}", ringside.state.display()) };
    format!(
        "{shown}\n\
         Type in another terminal, in this directory:\n\
         \n\
         \x20 export PATH=\"{bin}:$PATH\"{export}\n\
         \x20 ringside play pong                # join or open a match; run it twice, or add --bots 1\n\
         \x20 ringside play arena --bots 7      # you and seven bots\n\
         \x20 ringside session list             # what runs\n\
         \x20 ringside session create chess     # a match that waits for two players\n\
         \x20 ringside game list                # what can be played\n\
         \n\
         State is kept in {directory}; Ctrl-C here ends the node.",
        bin = Path::new(&program.to_string()).parent().unwrap_or(Path::new(".")).display(),
        export = if state.is_empty() {
            String::new()
        } else {
            format!("\n  export RINGSIDE_STATE={}", ringside.state.display())
        },
        directory = ringside.state.display(),
    )
}

/// The `ringside` program with a state directory.
struct Ringside {
    program: PathBuf,
    state: PathBuf,
}

impl Ringside {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("RINGSIDE_STATE", &self.state);
        command
    }

    fn start(&self) -> Result<Child, Error> {
        let mut command = self.command();
        interrupt::tie(command.arg("node"))
            .stdin(Stdio::null())
            .spawn()
            .map_err(|source| Error::Start { program: self.program.display().to_string(), source })
    }

    /// What the node says about itself, if it answers.
    fn shown(&self) -> Option<String> {
        let output = self.command().args(["node", "show"]).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until the node answers; answers whether it does, or somebody pressed Ctrl-C first.
    fn wait_until_up(&self, node: &mut Child) -> Result<bool, Error> {
        let deadline = Instant::now() + START_PATIENCE;
        while !interrupt::wanted() {
            if let Ok(Some(status)) = node.try_wait() {
                return Err(Error::Node(format!("the node did not start ({status}); its output above says why")));
            }
            if self.shown().is_some() {
                return Ok(true);
            }
            if Instant::now() > deadline {
                return Err(Error::Node(format!("the node does not answer after {START_PATIENCE:?}")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(false)
    }
}
