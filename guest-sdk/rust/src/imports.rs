//! The host's functions, one signature for both worlds: in a module the raw bindings, natively the harness.

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::raw::ringside::game::host::{
    broadcast, cancel_timer, emit, finish, kick, now, random, send, send_datagram, set_stats, set_timer, set_view,
    set_view_all, signal,
};

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::harness::host::{
    broadcast, cancel_timer, emit, finish, kick, log, now, random, send, send_datagram, set_stats, set_timer, set_view,
    set_view_all, signal,
};

#[cfg(target_arch = "wasm32")]
pub(crate) fn log(level: crate::types::LogLevel, line: &str) {
    use crate::raw::ringside::game::{host, types};
    use crate::types::LogLevel;

    let level = match level {
        LogLevel::Debug => types::LogLevel::Debug,
        LogLevel::Info => types::LogLevel::Info,
        LogLevel::Warn => types::LogLevel::Warn,
        LogLevel::Error => types::LogLevel::Error,
    };
    host::log(level, line);
}
