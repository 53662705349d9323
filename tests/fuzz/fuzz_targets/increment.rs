//! The decoder `increment` of `ringside_sandbox`, fed by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringside_sandbox::fuzz::fuzz_increment(bytes));
