//! `ringside replay`: fold a recording again, in this process, and compare the hashes.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ringside_core::ids::ModuleHash;
use ringside_core::recording::{About, Header};
use ringside_sandbox::{
    CheckpointResult, Module, OutputDifference, ReplayReport, Sandbox, SandboxConfig, StateDifference, read_header,
    replay_recording,
};
use serde::Serialize;

use super::{CliError, CliResult, Common, table};
use crate::store::Location;

/// `ringside replay --help`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ringside session recording pong/final --output final.recording\n  \
                        ringside replay final.recording\n  ringside replay final.recording --module pong.wasm\n\n\
                        Exits with 0 if the recording is complete and every hash the same, with 1 if one differs, with 3\n\
                        if every hash is the same as far as the recording goes, and it is not the whole session.\n\
                        No node needs to run.")]
pub struct ReplayArgs {
    /// The recording.
    file: PathBuf,
    /// The module that it was recorded with; looked up in the store by its hash if not given.
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// Directory of the store, or s3://bucket/prefix [default: store in the state directory].
    #[arg(long, value_name = "DIR")]
    store: Option<OsString>,
}

/// The exit code where nothing differs and the end is missing: neither a success nor a difference (1), and no mistake in
/// the command line (2).
const INCOMPLETE: u8 = 3;

/// What the replay found, as `--json` shows it.
#[derive(Debug, Serialize)]
struct Summary {
    session: String,
    module: String,
    /// Leaders whose parts were replayed.
    parts: usize,
    records: u64,
    session_time_us: u64,
    elapsed_ms: f64,
    speed: f64,
    checkpoints: Vec<Checkpoint>,
    outputs_differ: Vec<u64>,
    last: String,
    /// Why it was kept, if it is a part of a log that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    about: Option<String>,
    /// The first entry after which the outputs differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_difference: Option<Difference>,
    /// In what the first state that differs does.
    #[serde(skip_serializing_if = "Option::is_none")]
    state_difference: Option<InState>,
    /// Whether it is the whole session, to its end.
    complete: bool,
    /// Why not.
    incomplete: Option<String>,
    same: bool,
}

/// The first batch of entries after which the outputs differ: one entry, in what is kept of a divergence.
#[derive(Debug, Serialize)]
struct Difference {
    from: u64,
    to: u64,
    input: String,
    expected: String,
    got: String,
}

/// In what a state differs from that of the replay.
#[derive(Debug, Serialize)]
struct InState {
    position: u64,
    pages: Vec<u32>,
    first_byte: Option<u64>,
    globals: Vec<usize>,
    host: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Checkpoint {
    position: u64,
    session_time_us: u64,
    expected: String,
    got: String,
    same: bool,
}

pub fn run(common: &Common, args: &ReplayArgs) -> CliResult {
    let recording = std::fs::read(&args.file)
        .map_err(|error| CliError::new("bad_file", format!("cannot read {}: {error}", args.file.display()), ""))?;
    let broken = |error: ringside_sandbox::ReplayError| {
        CliError::new("bad_recording", format!("{}: {error}", args.file.display()), "")
    };
    let header = read_header(&recording).map_err(broken)?;
    let module = compile(&find_module(common, args, &header)?)?;
    let report = replay_recording(&module, &recording).map_err(broken)?;
    let summary = summary(&report);
    common.print(&summary, text);
    Ok(match (summary.same, summary.complete) {
        (false, _) => ExitCode::FAILURE,
        (true, false) => ExitCode::from(INCOMPLETE),
        (true, true) => ExitCode::SUCCESS,
    })
}

fn find_module(common: &Common, args: &ReplayArgs, header: &Header) -> Result<Vec<u8>, CliError> {
    if let Some(file) = &args.module {
        return std::fs::read(file)
            .map_err(|error| CliError::new("bad_file", format!("cannot read {}: {error}", file.display()), ""));
    }
    let location = match &args.store {
        Some(text) => Location::parse(text).ok_or_else(|| {
            let what = format!("--store {} is neither a directory nor s3://bucket/prefix", text.to_string_lossy());
            CliError::new("bad_request", what, "")
        })?,
        None => Location::Directory(common.state().join("store")),
    };
    let missing = |what: String| CliError::new("no_module", what, "name the module with --module FILE.wasm");
    if location.directory().is_some_and(|directory| !directory.is_dir()) {
        let what = format!("module {} is wanted, and there is no store at {location}", header.module);
        return Err(missing(what));
    }
    stored(&location, header.module).map_err(|error| missing(error.to_string()))
}

fn stored(location: &Location, hash: ModuleHash) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let store = location.open_to_read()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(store.module(hash))?.to_vec())
}

fn compile(bytes: &[u8]) -> Result<Module, CliError> {
    let failed = |error: String| CliError::new("module_refused", error, "");
    let config = SandboxConfig { cache_directory: None, warm_sessions: Some(1) };
    let sandbox = Sandbox::new(config).map_err(|error| failed(error.to_string()))?;
    sandbox.upload(bytes).map_err(|error| failed(error.to_string()))
}

fn summary(report: &ReplayReport) -> Summary {
    let elapsed = report.elapsed.as_secs_f64();
    Summary {
        session: report.header.session.to_string(),
        module: report.header.module.to_string(),
        parts: report.parts,
        records: report.records,
        session_time_us: report.time_us,
        elapsed_ms: elapsed * 1e3,
        speed: report.time_us as f64 / 1e6 / elapsed.max(1e-9),
        checkpoints: report.checkpoints.iter().map(checkpoint).collect(),
        outputs_differ: report.outputs_differ.clone(),
        last: report.last.to_string(),
        about: report.about.map(about),
        first_difference: report.first_difference.as_ref().map(difference),
        state_difference: report.state_difference.as_ref().map(in_state),
        complete: report.incomplete.is_none(),
        incomplete: report.incomplete.clone(),
        same: report.agrees(),
    }
}

fn about(about: About) -> String {
    match about {
        About::Fork { fork, by, leader } => {
            format!(
                "a branch that lost: it left the log after position {fork}; epoch {} of {leader} went on",
                by.number
            )
        }
        About::Diverged { position, is_leader, .. } => {
            let side = if is_leader { "leader" } else { "follower" };
            format!("the {side}'s side of a divergence that was seen at position {position}")
        }
    }
}

fn difference(difference: &OutputDifference) -> Difference {
    let OutputDifference { from, to, input, expected, got } = difference;
    let (expected, got) = (expected.to_string(), got.to_string());
    Difference { from: *from, to: *to, input: shortened(&format!("{input:?}")), expected, got }
}

/// An input as it is shown: its first bytes are enough to know it by.
fn shortened(input: &str) -> String {
    const SHOWN: usize = 160;
    let shown: String = input.chars().take(SHOWN).collect();
    if shown.len() < input.len() { format!("{shown}...") } else { shown }
}

fn in_state((position, difference): &(u64, StateDifference)) -> InState {
    let StateDifference { pages, first_byte, globals, host } = difference.clone();
    InState { position: *position, pages, first_byte, globals, host }
}

fn checkpoint(result: &CheckpointResult) -> Checkpoint {
    Checkpoint {
        position: result.position,
        session_time_us: result.time_us,
        expected: result.expected.to_string(),
        got: result.got.to_string(),
        same: result.agrees(),
    }
}

fn text(summary: &Summary) -> String {
    let rows: Vec<Vec<String>> = summary
        .checkpoints
        .iter()
        .map(|checkpoint| {
            vec![
                checkpoint.position.to_string(),
                format!("{:.3} s", checkpoint.session_time_us as f64 / 1e6),
                checkpoint.expected.chars().take(32).collect(),
                checkpoint.got.chars().take(32).collect(),
                if checkpoint.same { "OK" } else { "DIFFERENT" }.to_owned(),
            ]
        })
        .collect();
    let mut facts = vec![
        ("session", summary.session.clone()),
        ("module", summary.module.clone()),
        ("records", summary.records.to_string()),
        ("session time", format!("{:.3} s", summary.session_time_us as f64 / 1e6)),
        ("folded in", format!("{:.1} ms, {:.0} x real time", summary.elapsed_ms, summary.speed)),
        ("state at the end", summary.last.clone()),
    ];
    facts.extend(summary.about.clone().map(|about| ("kept as", about)));
    facts.extend((summary.parts > 1).then(|| ("leaders", format!("{}, one after another", summary.parts))));
    if let Some(first) = &summary.first_difference {
        let at = if first.from == first.to { first.to.to_string() } else { format!("{} to {}", first.from, first.to) };
        facts.push(("first different", format!("entry {at}: {}", table::plain(&first.input))));
        facts.push(("recorded, replayed", format!("{}, {}", first.expected, first.got)));
    }
    if let Some(state) = &summary.state_difference {
        let InState { position, pages, first_byte, globals, host } = state;
        let byte = first_byte.map(|byte| format!(", first at byte {byte:#x}")).unwrap_or_default();
        let what = format!("pages {pages:?}{byte}; globals {globals:?}; host: {}", host.join(", "));
        facts.push(("state differs", format!("at position {position}: {what}")));
    }
    if let Some(position) = summary.outputs_differ.first() {
        facts.push(("outputs", format!("DIFFERENT first in the batch that ends at position {position}")));
    }
    facts.push(("recording", summary.incomplete.clone().unwrap_or_else(|| "complete".to_owned())));
    let table = table::columns(&["position", "session time", "expected", "got", ""], &rows);
    format!("{table}\n{}\n{}", table::facts(&facts), verdict(summary))
}

/// A recording that is not the whole session is never OK, whatever is the same.
fn verdict(summary: &Summary) -> String {
    if !summary.same {
        return "DIFFERENT".to_owned();
    }
    let same = match summary.checkpoints.len() {
        0 => "every batch put out the same (no checkpoint to compare)".to_owned(),
        count => format!("the same state at {count} checkpoints, the same outputs in every batch"),
    };
    match &summary.incomplete {
        None => format!("OK: {same}, complete"),
        Some(why) => format!("INCOMPLETE: {why}; as far as it goes, {same}"),
    }
}
