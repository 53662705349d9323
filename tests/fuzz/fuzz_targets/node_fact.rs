//! The decoder `node_fact` of `ringside_node`, fed by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringside_node::fuzz::fuzz_node_fact(bytes));
