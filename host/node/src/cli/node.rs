//! `ringside node`: run a node, or ask one how it is.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::connection::Connection;
use super::{CliError, CliResult, Common, table};
use crate::api::NodeInfo;
use crate::config::{Config, unknown_variables};
use crate::node;

/// `ringside node --help`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:\n  ringside node\n  ringside node --config ringside.toml --workers 3\n  \
                        RINGSIDE_LISTEN=0.0.0.0:7400 RINGSIDE_ADVERTISE=192.0.2.7 ringside node\n\n\
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
    /// Worker threads, each a core for sessions [default: cores - 1].
    #[arg(long, value_name = "N")]
    workers: Option<String>,
    /// Directory of the store [default: store in the state directory].
    #[arg(long, value_name = "DIR")]
    store: Option<OsString>,
    /// Seconds that a seat is kept without a connection [default: 30].
    #[arg(long, value_name = "N")]
    seat_window_s: Option<String>,
    /// Whether to record every session [default: false].
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    record: Option<String>,
    /// Most sessions at a time; the kernel's vm.max_map_count may allow fewer [default: 16384].
    #[arg(long, value_name = "N")]
    sessions: Option<String>,
    /// Days that a certificate is good for, at most 14 [default: 14].
    #[arg(long, value_name = "N")]
    certificate_days: Option<String>,
    /// Filter of the node's own log [default: info].
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

/// `ringside node show` and the like.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum NodeCommand {
    /// Addresses, certificate and workers of the running node.
    Show,
}

impl NodeArgs {
    fn flags(&self, common: &Common) -> Vec<(&'static str, OsString)> {
        let text = |text: &Option<String>| text.as_ref().map(OsString::from);
        [
            ("state", common.state.clone().map(PathBuf::into_os_string)),
            ("listen", text(&self.listen)),
            ("advertise", text(&self.advertise)),
            ("admin", text(&self.admin)),
            ("workers", text(&self.workers)),
            ("store", self.store.clone()),
            ("seat_window_s", text(&self.seat_window_s)),
            ("record", text(&self.record)),
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
    node::run(config, common.json).map_err(|error| CliError::new("node", error.to_string(), error.hint()))?;
    Ok(ExitCode::SUCCESS)
}

/// Commands about a node that runs.
pub async fn talk(common: &Common, command: NodeCommand) -> CliResult {
    match command {
        NodeCommand::Show => {
            let node: NodeInfo = Connection::find(common)?.get("/v1/node").await?;
            common.print(&node, show);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(node: &NodeInfo) -> String {
    let facts = table::facts(&[
        ("version", node.version.clone()),
        ("process", node.pid.to_string()),
        ("running", table::duration(node.uptime_s)),
        ("state", node.state.clone()),
        ("store", node.store.clone()),
        ("certificate", node.certificate_sha256.clone()),
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
    let colours = !plain && std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        // A standard error that nobody reads is no reason to end.
        .log_internal_errors(false)
        .with_target(false);
    // A second subscriber in one process happens in tests only.
    let _ = log.try_init();
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
