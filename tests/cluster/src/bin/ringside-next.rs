//! `ringside` as its next release may be: the same program, but that its checkpoints have a later version, with another
//! payload. It reads those of both. For tests of what two releases do to each other.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use ringside_sandbox::CHECKPOINT_VERSION;
use ringside_sandbox::checkpoint_versions::{self, For, Later};

/// Names a file; for as long as there is one the program writes its newest version, as one does that has not heard yet that an
/// older node has come.
const DEAF_WHILE: &str = "NEXT_IS_DEAF_WHILE";
/// What a payload begins with.
const MARK: &[u8] = b"next";

fn main() -> ExitCode {
    let later = Later {
        version: CHECKPOINT_VERSION + 1,
        // Whoever takes one for the other reads nothing that makes sense.
        write: |payload| MARK.iter().copied().chain(payload.into_iter().map(|byte| !byte)).collect(),
        read: |payload| Some(payload.strip_prefix(MARK)?.iter().map(|byte| !byte).collect()),
    };
    assert!(checkpoint_versions::adopt(later), "it is the first");
    if let Some(path) = std::env::var_os(DEAF_WHILE).map(PathBuf::from) {
        std::thread::spawn(move || {
            while path.exists() {
                checkpoint_versions::write_at_most(For::Cluster, None);
                std::thread::sleep(Duration::from_millis(1));
            }
            checkpoint_versions::write_at_most(For::Cluster, Some(CHECKPOINT_VERSION));
        });
    }
    ringside_node::cli::main()
}
