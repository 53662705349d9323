//! `ringside push`: upload a module.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ringside_core::limits::MODULE_BYTES;

use super::connection::Connection;
use super::{CliError, CliResult, Common, table};
use crate::api::Pushed;
use crate::play::GAMES;

/// `ringside push --help`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ringside push target/wasm32-unknown-unknown/release/tug.wasm\n  \
                        ringside push pong.wasm --json | jq .version")]
pub struct PushArgs {
    /// The module: a core WebAssembly module that speaks the world `ringside:game`.
    file: PathBuf,
}

pub async fn run(common: &Common, args: &PushArgs) -> CliResult {
    let shown = args.file.display();
    let unreadable = |error: std::io::Error| {
        CliError::new("bad_file", format!("cannot read {shown}: {error}"), "name the .wasm file that your build made")
    };
    let metadata = std::fs::metadata(&args.file).map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(CliError::new("bad_file", format!("{shown} is a directory"), "name the .wasm file in it"));
    }
    if metadata.len() > MODULE_BYTES as u64 {
        return Err(CliError::new(
            "too_large",
            format!(
                "{shown} has {}, a module may have {}",
                table::size(metadata.len()),
                table::size(MODULE_BYTES as u64)
            ),
            "build with optimizations and strip names and debug sections",
        ));
    }
    let bytes = std::fs::read(&args.file).map_err(unreadable)?;
    let pushed: Pushed = Connection::find(common)?.upload("/v1/modules", bytes).await?;
    common.print(&pushed, text);
    Ok(ExitCode::SUCCESS)
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
    let game = &pushed.game;
    let next = if GAMES.contains(&game.as_str()) { "play" } else { "session create" };
    format!("{facts}\nNew sessions run it. Try: ringside {next} {game}")
}
