//! Colyseus, from npm: installed into the scratch directory once, started as a measured process. Where npm is absent
//! or cannot install, the benchmark is skipped and says so.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::bench::{BenchError, Context};
use crate::child::Running;
use crate::machine::{LOAD_CORE, SERVER_CORE, keep};

/// The files that make the package.
const FILES: [(&str, &str); 3] = [
    ("package.json", include_str!("../colyseus/package.json")),
    ("server.mjs", include_str!("../colyseus/server.mjs")),
    ("bots.mjs", include_str!("../colyseus/bots.mjs")),
];

/// An installed package.
pub struct Colyseus {
    directory: PathBuf,
    version: String,
}

impl Colyseus {
    /// Writes the package, and installs what it needs unless that was done.
    pub fn install(context: &Context) -> Result<Colyseus, BenchError> {
        let directory = context.scratch("colyseus")?;
        let changed = FILES[0].1 != std::fs::read_to_string(directory.join(FILES[0].0)).unwrap_or_default();
        for (name, text) in FILES {
            std::fs::write(directory.join(name), text).map_err(BenchError::setup)?;
        }
        if changed || installed_version(&directory).is_none() {
            eprintln!("installing Colyseus from npm into {}", directory.display());
            npm(&directory)?;
        }
        let version = installed_version(&directory)
            .ok_or_else(|| BenchError::Skipped("npm installed no Colyseus that could be found".into()))?;
        Ok(Colyseus { directory, version })
    }

    /// Which Colyseus it is.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Starts the server on the server's core.
    pub fn serve(&self) -> Result<Running, BenchError> {
        // A port that was free a moment ago: Colyseus cannot be handed a socket.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.map_err(BenchError::setup)?.port().to_string();
        self.node(SERVER_CORE, &["server.mjs", &port])
    }

    /// Starts the bots on the load's core.
    pub fn load(&self, server: &str, matches: usize) -> Result<Running, BenchError> {
        self.node(LOAD_CORE, &["bots.mjs", server, &matches.to_string()])
    }

    fn node(&self, core: usize, arguments: &[&str]) -> Result<Running, BenchError> {
        let mut command = Command::new("node");
        command.args(arguments).current_dir(&self.directory).env("NODE_ENV", "production");
        keep(&mut command, core);
        Running::start_command(command)
    }
}

fn npm(directory: &Path) -> Result<(), BenchError> {
    let mut command = Command::new("npm");
    command
        .args(["install", "--legacy-peer-deps", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1"])
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(BenchError::Skipped(format!("npm cannot install Colyseus ({status})"))),
        Err(error) => Err(BenchError::Skipped(format!("npm is not there ({error})"))),
    }
}

fn installed_version(directory: &Path) -> Option<String> {
    let text = std::fs::read_to_string(directory.join("node_modules/@colyseus/core/package.json")).ok()?;
    let package: serde_json::Value = serde_json::from_str(&text).ok()?;
    package.get("version")?.as_str().map(str::to_owned)
}
