//! The decoder `node_log` of `ringside_core`, fed by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringside_core::fuzz::fuzz_node_log(bytes));
