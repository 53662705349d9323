//! The decoder `server_datagram` of `ringside_protocol`, fed by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringside_protocol::fuzz::fuzz_server_datagram(bytes));
