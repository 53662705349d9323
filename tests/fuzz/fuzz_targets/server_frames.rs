//! The decoder `server_frames` of `ringside_protocol`, fed by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringside_protocol::fuzz::fuzz_server_frames(bytes));
