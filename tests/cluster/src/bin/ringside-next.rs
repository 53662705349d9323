//! `ringside` as its next release may be: the same program, but that its checkpoints have a later version, with another
//! payload. It reads those of both. For tests of what two releases do to each other.

use std::process::ExitCode;

use ringside_sandbox::checkpoint_versions::{self, Later};

/// What a payload begins with.
const MARK: &[u8] = b"next";

fn main() -> ExitCode {
    let later = Later {
        version: ringside_sandbox::CHECKPOINT_VERSION + 1,
        // Whoever takes one for the other reads nothing that makes sense.
        write: |payload| MARK.iter().copied().chain(payload.into_iter().map(|byte| !byte)).collect(),
        read: |payload| Some(payload.strip_prefix(MARK)?.iter().map(|byte| !byte).collect()),
    };
    assert!(checkpoint_versions::adopt(later), "it is the first");
    ringside_node::cli::main()
}
