//! The `ringside` binary: see [`ringside_node::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    ringside_node::cli::main()
}
