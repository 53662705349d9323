//! Skipping: a test that cannot run here says why, and `cargo xtask test` counts and prints it.

use std::fs::OpenOptions;
use std::io::Write;

/// The variable that names the file in which skips are collected.
pub const FILE_VARIABLE: &str = "RINGSIDE_SKIPS";

/// Ends the test that calls it, as skipped, with a reason.
///
/// ```
/// fn needs_network_namespaces() {
///     if !std::path::Path::new("/proc/self/ns/net").exists() {
///         ringside_test_support::skip!("this system has no network namespaces");
///     }
/// }
/// needs_network_namespaces();
/// ```
#[macro_export]
macro_rules! skip {
    ($($reason:tt)*) => {{
        $crate::skip::record(&format!($($reason)*));
        return;
    }};
}

/// A network of so many hosts, of this quality; where the machine gives none the test is skipped.
#[macro_export]
macro_rules! network {
    ($hosts:expr, $quality:expr) => {
        match $crate::network::Network::new($hosts, $quality) {
            Ok(network) => network,
            Err(why) => $crate::skip!("no network of namespaces: {why}"),
        }
    };
}

/// A disk of so many bytes in place of a directory; where the machine gives none the test is skipped.
#[macro_export]
macro_rules! disk {
    ($directory:expr, $bytes:expr) => {
        match $crate::disk::Disk::mount($directory, $bytes) {
            Ok(disk) => disk,
            Err(why) => $crate::skip!("{why}"),
        }
    };
}

/// Notes that the test of this thread is skipped. Use [`skip!`](crate::skip!), which also ends it.
pub fn record(reason: &str) {
    let thread = std::thread::current();
    // A runner that gives each test a process of its own may run it on the main thread.
    let runner = std::env::var("NEXTEST_TEST_NAME").ok();
    let name = runner.as_deref().or(thread.name()).unwrap_or("a test");
    eprintln!("skipped: {name}: {reason}");
    let Some(path) = std::env::var_os(FILE_VARIABLE) else { return };
    let line = format!("{name}\t{}\n", reason.replace(['\n', '\t'], " "));
    // One write of one line to a file opened for appending: lines of processes that run in parallel do not mix.
    let written =
        OpenOptions::new().create(true).append(true).open(&path).and_then(|mut file| file.write_all(line.as_bytes()));
    if let Err(error) = written {
        panic!("cannot note the skip in {}: {error}", path.to_string_lossy());
    }
}
