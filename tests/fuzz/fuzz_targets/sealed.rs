//! The decoder `sealed` of `ringside_worker`, fed by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringside_worker::fuzz::fuzz_sealed(bytes));
