//! The decoder `peer_frames` of `ringside_worker`, fed by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringside_worker::fuzz::fuzz_peer_frames(bytes));
