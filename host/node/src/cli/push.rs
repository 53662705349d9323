//! `ringside push`: build a game if need be, and upload its module.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use ringside_core::limits::MODULE_BYTES;
use ringside_guest_build::{BuildError, Project, toolchain};

use super::connection::Connection;
use super::{CliError, CliResult, Common, table};
use crate::api::{NodeInfo, Pushed};

/// `ringside push --help`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ringside push                         build the game in this directory, and upload it\n  \
                        ringside push ../tug                  the game in that one\n  \
                        ringside push pong.wasm --json        upload a module that is built already"
)]
pub struct PushArgs {
    /// A game's directory (with its Cargo.toml), which is built for WebAssembly; or a module that is built already.
    #[arg(default_value = ".")]
    path: PathBuf,
}

pub async fn run(common: &Common, args: &PushArgs) -> CliResult {
    let metadata = std::fs::metadata(&args.path).map_err(|error| unreadable(&args.path, &error))?;
    let (node, bytes) = if metadata.is_dir() {
        let project = Project::find(&args.path).map_err(not_built)?;
        let node = Connection::find(common)?;
        // Whether the node answers is better known before a build than after it.
        node.get::<NodeInfo>("/v1/node").await?;
        let built = tokio::task::spawn_blocking(move || build(&project)).await;
        let module = built.map_err(|error| CliError::new("internal", error.to_string(), ""))??;
        (node, module_bytes(&module)?)
    } else {
        let bytes = module_bytes(&args.path)?;
        (Connection::find(common)?, bytes)
    };
    let pushed: Pushed = node.upload("/v1/modules", bytes).await?;
    common.print(&pushed, text);
    Ok(ExitCode::SUCCESS)
}

/// Builds a game; what happens is seen on standard error.
fn build(project: &Project) -> Result<PathBuf, CliError> {
    let toolchain = toolchain::find().map_err(not_built)?;
    eprintln!("building {} for WebAssembly with {toolchain}", project.package());
    project.build(&toolchain).map_err(not_built)
}

fn not_built(error: BuildError) -> CliError {
    let code = match error {
        BuildError::NoToolchain(_) => "no_toolchain",
        BuildError::Start { .. } | BuildError::Failed(_) => "build_failed",
        _ => "no_game",
    };
    CliError::new(code, error.to_string(), error.advice())
}

fn module_bytes(path: &Path) -> Result<Vec<u8>, CliError> {
    let size = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?.len();
    if size > MODULE_BYTES as u64 {
        let (size, limit) = (table::size(size), table::size(MODULE_BYTES as u64));
        return Err(CliError::new(
            "too_large",
            format!("{} has {size}, a module may have {limit}", path.display()),
            "build with optimizations and strip names and debug sections",
        ));
    }
    std::fs::read(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> CliError {
    CliError::new(
        "bad_file",
        format!("cannot read {}: {error}", path.display()),
        "name a game's directory, or the .wasm file that a build made",
    )
}

fn text(pushed: &Pushed) -> String {
    let news = if pushed.new { "new" } else { "unchanged: it was the newest version already" };
    let facts = table::facts(&[
        ("game", pushed.game.clone()),
        ("version", format!("{} ({news})", pushed.version)),
        ("module", pushed.module.clone()),
        ("size", table::size(pushed.size_bytes)),
        ("compiled in", format!("{:.1} ms", pushed.compile_ms)),
        ("imports", pushed.imports.join("\n             ")),
    ]);
    let covers = &pushed.covers;
    let others = match covers.silent.as_slice() {
        [] => String::new(),
        silent => {
            format!("\n{} of {} nodes serve it; these follow: {}", covers.answered, covers.nodes, silent.join(", "))
        }
    };
    format!("{facts}{others}\nNew sessions run it. Try: ringside play {}", pushed.game)
}
