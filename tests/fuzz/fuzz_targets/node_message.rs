//! The decoder `node_message` of `ringside_node`, fed by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringside_node::fuzz::fuzz_node_message(bytes));
