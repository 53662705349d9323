//! `cargo xtask dev`: from a fresh clone to a cluster with games on it, and the lines to type next. Whatever it starts
//! ends with it.

mod nodes;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::Args;

use self::nodes::{Node, Plan, is_locked};
use crate::workspace::{Error, Workspace};
use crate::{guests, interrupt, steps, steps::headline};

/// The sample games that are pushed, in the order in which a newcomer meets them.
const SAMPLES: [&str; 3] = ["pong", "arena", "chess"];

/// What can be said.
#[derive(Args)]
pub struct Options {
    /// Begin with an empty state directory.
    #[arg(long)]
    fresh: bool,
    /// How many nodes, each a process.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    nodes: u16,
    /// Where the nodes keep their state [default: .ringside in the repository].
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Take any free ports instead of 7400 and those after it.
    #[arg(long)]
    any_port: bool,
}

/// Builds, starts, pushes, explains, and waits for Ctrl-C.
pub fn run(workspace: &Workspace, options: Options) -> Result<ExitCode, Error> {
    let default_state = options.state.is_none();
    let state = options.state.unwrap_or_else(|| workspace.root().join(".ringside"));
    eprintln!("state directory: {}", state.display());
    build(workspace)?;
    prepare(&state, options.fresh)?;
    interrupt::watch();
    interrupt::adopt();
    headline("nodes");
    let plan = Plan { program: workspace.program("ringside"), state, count: options.nodes, any_port: options.any_port };
    let mut nodes = Vec::new();
    match begin(workspace, &plan, &mut nodes) {
        Ok(true) => {}
        Ok(false) => return Ok(ExitCode::SUCCESS),
        // What was under way heard the same Ctrl-C.
        Err(_) if interrupt::wanted() => return Ok(ExitCode::SUCCESS),
        Err(error) => return Err(error),
    }
    steps::say(&format!("\n{}", explain(&plan, &nodes, default_state)));
    wait(&mut nodes)
}

/// Starts all nodes and gives them the samples; false if somebody pressed Ctrl-C before they were ready.
fn begin(workspace: &Workspace, plan: &Plan, nodes: &mut Vec<Node>) -> Result<bool, Error> {
    if !start(plan, nodes)? {
        return Ok(false);
    }
    headline("games");
    for sample in SAMPLES {
        let module = guests::module(workspace.root(), sample);
        steps::require(&format!("push {sample}"), plan.command(1).arg("push").arg(module))?;
    }
    Ok(true)
}

/// Builds the program, and nothing that it does not need.
pub fn program(workspace: &Workspace) -> Command {
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--package", "ringside-node", "--bins"]);
    build
}

fn build(workspace: &Workspace) -> Result<(), Error> {
    steps::require("build", &mut program(workspace))?;
    headline("guests");
    guests::build(workspace.root()).map_err(|error| Error::Step(format!("building guests ({})", error.full())))?;
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
        let inner = std::fs::read_dir(state).map_err(failed)?.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        let held = std::iter::once(state.to_owned()).chain(inner).find(|directory| is_locked(directory));
        if let Some(held) = held {
            return Err(Error::Node(format!("a node runs on {}: stop it first", held.display())));
        }
        std::fs::remove_dir_all(state).map_err(failed)?;
    }
    std::fs::create_dir_all(state).map_err(failed)
}

/// Starts all nodes; false if somebody pressed Ctrl-C before they were ready.
fn start(plan: &Plan, nodes: &mut Vec<Node>) -> Result<bool, Error> {
    for number in 1..=plan.count {
        plan.init(number)?;
        let join = nodes.first().map(|first| first.said("links").to_owned());
        match plan.start(number, join.as_deref())? {
            Some(node) => nodes.push(node),
            None => return Ok(false),
        }
    }
    Ok(true)
}

/// Returns at Ctrl-C; the nodes end with the caller's hold on them.
fn wait(nodes: &mut [Node]) -> Result<ExitCode, Error> {
    let mut ended: Vec<Option<Instant>> = vec![None; nodes.len()];
    let mut said = BTreeSet::new();
    while !interrupt::wanted() {
        // Each is looked at, for one that nobody has waited for stays as a process that has ended; who comes in a process's place
        // is not seen at once.
        for (ended, node) in ended.iter_mut().zip(nodes.iter_mut()) {
            *ended = if node.has_ended() { ended.or_else(|| Some(Instant::now())) } else { None };
        }
        let are_over = ended.iter().map(|ended| ended.is_some_and(|ended| ended.elapsed() >= nodes::SUCCESSION));
        let over: BTreeSet<usize> =
            (1..).zip(are_over).filter_map(|(number, is_over)| is_over.then_some(number)).collect();
        over.difference(&said).for_each(|number| eprintln!("node {number} | its process has ended"));
        // One that was drained or killed is no reason to end the others.
        if over.len() == nodes.len() {
            return Err(Error::Node("all nodes have ended by themselves; their output above says why".to_owned()));
        }
        said = over;
        std::thread::sleep(Duration::from_millis(50));
    }
    eprintln!("\nending the nodes");
    Ok(ExitCode::SUCCESS)
}

fn explain(plan: &Plan, nodes: &[Node], default_state: bool) -> String {
    let bin = plan.program.parent().unwrap_or(Path::new(".")).display().to_string();
    let state =
        if default_state { String::new() } else { format!("\n  export RINGSIDE_STATE={}", plan.state.display()) };
    let games = SAMPLES.join(", ");
    let mut table = format!("{:<6}{:<9}{:<18}{:<24}{:<18}GAMES\n", "NODE", "PROCESS", "PLAYERS", "ADMIN", "LINKS");
    for (node, number) in nodes.iter().zip(1_u16..) {
        let (pid, players) = (node.pid(), node.players());
        let line = format!("{number:<6}{pid:<9}{players:<18}{:<24}{:<18}", node.said("admin"), node.said("links"));
        table.push_str(&format!("{line}{games}\n"));
    }
    let other = match nodes.len() {
        1 => String::new(),
        _ => format!("  ringside --state {} play arena   # enter by another node\n", plan.state_of(2).display()),
    };
    let last = plan.count;
    let leaving = match last {
        1 => String::new(),
        2 => format!(
            "  ringside node kill {last}              # end node {last} as a crash would: its matches go on at its follower\n"
        ),
        _ => format!(
            "  ringside node kill {before}              # end node {before} as a crash would: its matches go on at their followers\n\
             \x20 ringside node drain {last}             # node {last} gives its matches to the others and leaves\n",
            before = last - 1,
        ),
    };
    let join = nodes.first().map_or("-", |node| node.said("links"));
    format!(
        "{table}\n\
         Type in another terminal, in this directory:\n\
         \n\
         \x20 export PATH=\"{bin}:$PATH\"{state}\n\
         \x20 ringside play pong                # join or open a match; run it twice, or add --bots 1\n\
         \x20 ringside play arena --bots 7      # you and seven bots\n\
         {other}\
         \x20 ringside session list             # what runs, and on which node\n\
         \x20 ringside session explain GAME/KEY # why it runs there\n\
         \x20 ringside node list                # the cluster as each node sees it\n\
         {leaving}\
         \x20 ringside new mygame               # make a game of your own\n\
         \n\
         Another node joins with --join {join} and a copy of {secret}.\n\
         State is kept in {directory}; Ctrl-C here ends all nodes.",
        secret = plan.state.join("cluster.json").display(),
        directory = plan.state.display(),
    )
}
