//! `ringside` with a bug that ends the process: a message with a certain end is applied, and then the process is gone before
//! there is an entry of it. For tests of what becomes of the cluster.

use std::process::ExitCode;

use ringside_cluster_tests::POISON;
use ringside_core::log::Input;
use ringside_worker::shell;

fn main() -> ExitCode {
    let is_first = shell::reckon_by(|input, cost| {
        if matches!(input, Input::Message { body, .. } if body.ends_with(POISON)) {
            std::process::abort();
        }
        *cost
    });
    assert!(is_first, "it is the first");
    ringside_node::cli::main()
}
