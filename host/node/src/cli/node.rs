//! `ringside node`: run a node, or ask one how it and its cluster are.

mod cluster;
mod upgrade;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use ringside_core::ids::NodeId;

use super::connection::Connection;
use super::token::seconds;
use super::{CliError, CliResult, Common, table};
use crate::api::{ClusterInfo, NodeInfo};
use crate::config::{Config, unknown_variables};
use crate::node;
use crate::operator::here;

/// Heading of the options about other nodes.
const CLUSTER: &str = "Cluster";

/// `ringside node --help`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:\n  ringside node\n  ringside node --config ringside.toml --workers 3\n  \
                        RINGSIDE_LISTEN=0.0.0.0:7400 RINGSIDE_ADVERTISE=192.0.2.7 ringside node\n  \
                        ringside node --secret cluster.json --join 192.0.2.7:7390 --links 192.0.2.8:7390 \
                        --gossip 192.0.2.8:7391\n\n\
                        Every key of the configuration file is also a flag (seat_window_s is --seat-window-s) and an\n\
                        environment variable (RINGSIDE_SEAT_WINDOW_S). Flags win over variables, those over the file.")]
pub struct NodeArgs {
    /// What to do instead of running a node.
    #[command(subcommand)]
    pub command: Option<NodeCommand>,
    /// Configuration file (TOML).
    #[arg(long, env = "RINGSIDE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port of the first worker; the others, the penalty worker last, take the ports after it
    /// [default: 127.0.0.1:7400].
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Address that players are told, where it is not the one listened on.
    #[arg(long, value_name = "IP")]
    advertise: Option<String>,
    /// Address and port of the admin API, loopback only [default: 127.0.0.1:7401].
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// Address and TCP port where clients may ask by HTTPS where their session is [default: those of --listen].
    #[arg(long, value_name = "ADDR")]
    resolve: Option<String>,
    /// Address and port of the links to other nodes [default: 127.0.0.1, any free port].
    #[arg(long, value_name = "ADDR", help_heading = CLUSTER)]
    links: Option<String>,
    /// Address and port of gossip with other nodes [default: 127.0.0.1, any free port].
    #[arg(long, value_name = "ADDR", help_heading = CLUSTER)]
    gossip: Option<String>,
    /// Address and first port of the workers' links to workers of other nodes; each worker takes one, the penalty worker
    /// one more [default: any free ports at the address of --links].
    #[arg(long, value_name = "ADDR", help_heading = CLUSTER)]
    peers: Option<String>,
    /// Links of a node whose cluster to join; may be repeated. Without it the node begins a cluster.
    #[arg(long, value_name = "ADDR", help_heading = CLUSTER)]
    join: Vec<String>,
    /// The cluster's secret, cluster.json of a node's state directory, for a state directory that has none.
    #[arg(long, value_name = "FILE", help_heading = CLUSTER)]
    secret: Option<OsString>,
    /// How much of the cluster's load this node takes, in percent of an ordinary one [default: 100].
    #[arg(long, value_name = "N", help_heading = CLUSTER)]
    weight: Option<String>,
    /// What this node fails together with, such as a rack.
    #[arg(long, value_name = "NAME", help_heading = CLUSTER)]
    zone: Option<String>,
    /// Worker threads, each a core for sessions [default: cores - 1].
    #[arg(long, value_name = "N")]
    workers: Option<String>,
    /// Directory of the store, or s3://bucket/prefix [default: store in the state directory].
    #[arg(long, value_name = "DIR")]
    store: Option<OsString>,
    /// Seconds that a seat is kept without a connection [default: 30].
    #[arg(long, value_name = "N")]
    seat_window_s: Option<String>,
    /// Seconds without anything to do after which a session goes into the store, to go on when somebody asks for it; 0 for
    /// never [default: 300].
    #[arg(long, value_name = "N")]
    idle_after_s: Option<String>,
    /// Whether to record every session [default: false].
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    record: Option<String>,
    /// Whether sessions go to other nodes by themselves: to one that came, or from this one when it has too much to do
    /// [default: true].
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = CLUSTER)]
    rebalance: Option<String>,
    /// Most sessions at a time; 8000 at most, or a fifteenth of the kernel's vm.max_map_count [default: 16384].
    #[arg(long, value_name = "N")]
    sessions: Option<String>,
    /// Days that a certificate is good for, at most 14 [default: 14].
    #[arg(long, value_name = "N")]
    certificate_days: Option<String>,
    /// Take over from the process at the other end of standard input.
    #[arg(long, hide = true)]
    succeed: bool,
    /// Filter of the node's own log [default: info].
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

/// `ringside node show` and the like.
#[derive(Debug, Clone, Subcommand)]
pub enum NodeCommand {
    /// Addresses, certificate and workers of the running node.
    Show,
    /// The nodes of the cluster, and whom each of them sees.
    #[command(after_help = "Example:\n  ringside node list")]
    List,
    /// Have a node take no new sessions, give its matches to other nodes, where they go on, and leave the cluster. Those that no
    /// node takes have the grace to end.
    #[command(after_help = "Examples:\n  ringside node drain 2\n  ringside node drain 9f3a --grace 10m")]
    Drain(DrainArgs),
    /// End a node at once, as a crash or a power cut would: to try what becomes of its sessions. Those that are followed go on
    /// elsewhere within a second, durable ones in any case; all others of the node are lost.
    #[command(after_help = "Examples:\n  ringside node kill 2\n  ringside node kill 2 --yes")]
    Kill(KillArgs),
    /// Replace a node's process by a run of another program, while its matches go on: the new one is started beside the old
    /// one with the same arguments, takes its matches one by one, and then its addresses.
    #[command(after_help = "Examples:\n  ringside node upgrade 2 --binary /usr/local/bin/ringside\n\n\
                            A program that does not start, is of a release that cannot take the matches, hangs or crashes \n\
                            is abandoned, and the old process goes on.")]
    Upgrade(UpgradeArgs),
    /// Make a state directory for a node that is started later, with its number and the cluster's secret.
    #[command(after_help = "Examples:\n  ringside node init --state /var/lib/ringside\n  \
                            ringside node init --state /var/lib/ringside --secret cluster.json")]
    Init(InitArgs),
}

/// Which node, and how.
#[derive(Debug, Clone, Args)]
pub struct DrainArgs {
    /// The node's number, or the beginning of it, as `ringside node list` shows it.
    node: String,
    /// How long matches may go on; what is left then is ended: a number with s, m or h.
    #[arg(long, default_value = "60s", value_parser = grace)]
    grace: u64,
    /// Do not wait until it has left.
    #[arg(long)]
    no_wait: bool,
}

/// Which node, and what is to take over.
#[derive(Debug, Clone, Args)]
pub struct UpgradeArgs {
    /// The node's number, or the beginning of it, as `ringside node list` shows it.
    node: String,
    /// The program that is to take over, on the node's machine.
    #[arg(long, value_name = "PATH")]
    binary: PathBuf,
    /// Do not wait until it has.
    #[arg(long)]
    no_wait: bool,
}

/// Which node, and whether that is meant.
#[derive(Debug, Clone, Args)]
pub struct KillArgs {
    /// The node's number, or the beginning of it, as `ringside node list` shows it.
    node: String,
    /// Do not ask whether it is meant.
    #[arg(long)]
    yes: bool,
}

/// What the state directory is to hold.
#[derive(Debug, Clone, Args)]
pub struct InitArgs {
    /// The node's number, up to 16 hexadecimal digits, unlike all others' [default: drawn].
    #[arg(long, value_name = "N")]
    number: Option<NodeId>,
    /// The secret of the cluster that it is to join [default: a new cluster's].
    #[arg(long, value_name = "FILE")]
    secret: Option<PathBuf>,
}

fn grace(text: &str) -> Result<u64, String> {
    let longest = here::LONGEST_GRACE.as_secs();
    let wrong = || format!("{text:?} is no grace: expected a number with s, m or h, such as 60s, at most 24h");
    seconds(text).filter(|seconds| *seconds <= longest).ok_or_else(wrong)
}

impl NodeArgs {
    fn flags(&self, common: &Common) -> Vec<(&'static str, OsString)> {
        let text = |text: &Option<String>| text.as_ref().map(OsString::from);
        let join = Some(self.join.join(",")).filter(|join| !join.is_empty());
        [
            ("state", common.state.clone().map(PathBuf::into_os_string)),
            ("listen", text(&self.listen)),
            ("advertise", text(&self.advertise)),
            ("admin", text(&self.admin)),
            ("resolve", text(&self.resolve)),
            ("links", text(&self.links)),
            ("gossip", text(&self.gossip)),
            ("peers", text(&self.peers)),
            ("join", text(&join)),
            ("secret", self.secret.clone()),
            ("weight", text(&self.weight)),
            ("zone", text(&self.zone)),
            ("workers", text(&self.workers)),
            ("store", self.store.clone()),
            ("seat_window_s", text(&self.seat_window_s)),
            ("idle_after_s", text(&self.idle_after_s)),
            ("record", text(&self.record)),
            ("rebalance", text(&self.rebalance)),
            ("sessions", text(&self.sessions)),
            ("certificate_days", text(&self.certificate_days)),
            ("log", text(&self.log)),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
    }
}

pub fn run(common: &Common, args: &NodeArgs) -> CliResult {
    // A name that is no text is none of ours.
    let environment: Vec<(String, OsString)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with("RINGSIDE_"))
        .collect();
    let config = Config::load(args.config.as_deref(), &environment, &args.flags(common))
        .map_err(|error| CliError::new("configuration", error.to_string(), ""))?;
    start_log(&config.log, common.json);
    for name in unknown_variables(&environment) {
        tracing::warn!(name, "environment variable is no key of the configuration");
    }
    node::run(config, common.json, args.succeed)
        .map_err(|error| CliError::new("node", error.to_string(), error.hint()))?;
    Ok(ExitCode::SUCCESS)
}

/// Makes a state directory.
fn init(common: &Common, args: &InitArgs) -> CliResult {
    let made = node::init(&common.state(), args.number, args.secret.as_deref())
        .map_err(|error| CliError::new("node", error.to_string(), error.hint()))?;
    let (state, secret) = (made.state.display().to_string(), made.secret.display().to_string());
    let document = serde_json::json!({
        "state": state, "node": made.node.to_string(), "cluster": made.cluster, "secret": secret,
    });
    common.print(&document, |_| {
        let facts = table::facts(&[
            ("state", state.clone()),
            ("node", made.node.to_string()),
            ("cluster", made.cluster.clone()),
            ("secret", secret.clone()),
        ]);
        format!("{facts}\nOther nodes join with a copy of the secret: ringside node init --secret cluster.json")
    });
    Ok(ExitCode::SUCCESS)
}

/// Commands about nodes that run.
pub async fn talk(common: &Common, command: &NodeCommand) -> CliResult {
    match command {
        NodeCommand::Show => {
            let node: NodeInfo = Connection::find(common)?.get("/v1/node").await?;
            common.print(&node, show);
        }
        NodeCommand::List => {
            let cluster: ClusterInfo = Connection::find(common)?.get("/v1/cluster").await?;
            common.print(&cluster, cluster::list);
        }
        NodeCommand::Drain(args) => cluster::drain(common, &args.node, args.grace, args.no_wait).await?,
        NodeCommand::Kill(args) => cluster::kill(common, &args.node, args.yes).await?,
        NodeCommand::Upgrade(args) => upgrade::run(common, &args.node, &args.binary, args.no_wait).await?,
        NodeCommand::Init(args) => return init(common, args),
    }
    Ok(ExitCode::SUCCESS)
}

fn show(node: &NodeInfo) -> String {
    let facts = table::facts(&[
        ("node", format!("{} of cluster {}", node.node, node.cluster)),
        ("version", node.version.clone()),
        ("process", node.pid.to_string()),
        ("running", table::duration(node.uptime_s)),
        ("state", node.state.clone()),
        ("store", node.store.clone()),
        ("certificate", node.certificate_sha256.clone()),
        ("resolve", node.resolve.clone()),
        ("links", node.links.to_string()),
        ("gossip", node.gossip.to_string()),
        ("games", node.games.to_string()),
        ("sessions", format!("{}{}", node.sessions, if node.draining { " (takes no new ones)" } else { "" })),
    ]);
    let rows: Vec<Vec<String>> = node
        .workers
        .iter()
        .map(|worker| {
            vec![
                format!("{}{}", worker.worker, if worker.penalty { " (penalty)" } else { "" }),
                worker.address.to_string(),
                worker.ticking.to_string(),
                worker.prompt.to_string(),
                worker.counters.get("players").copied().unwrap_or(0).to_string(),
                format!("{:.1} %", worker.busy_permille as f64 / 10.0),
            ]
        })
        .collect();
    let workers = table::columns(&["worker", "address", "ticking", "prompt", "players", "busy"], &rows);
    format!("{facts}\n{workers}")
}

fn start_log(filter: &str, plain: bool) {
    use std::io::IsTerminal;

    use tracing_subscriber::filter::{LevelFilter, Targets};
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;

    // The configuration takes no filter that cannot be read.
    let filter = filter.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    let colours = !plain && std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        // A standard error that nobody reads is no reason to end.
        .log_internal_errors(false)
        .with_target(false);
    // A second subscriber in one process happens in tests only.
    let _ = tracing_subscriber::registry().with(lines).with(filter).try_init();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KEYS;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        node: NodeArgs,
    }

    #[test]
    fn every_key_is_a_flag() {
        for key in KEYS {
            let flag = format!("--{}", key.name.replace('_', "-"));
            let line = Line::try_parse_from(["node", &flag, "7"]).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(line.node.flags(&line.common), [(key.name, "7".into())]);
        }
    }
}
