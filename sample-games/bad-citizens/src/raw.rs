//! Host functions called by hand, with pointers, lengths and texts that no binding would pass. In modules only;
//! natively there is no host to lie to, and nothing happens.

use serde::{Deserialize, Serialize};

/// A call of a host function with any arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RawCall {
    /// `send(slot, pointer, length)`.
    Send(u32, u32, u32),
    /// `broadcast(pointer, length)`.
    Broadcast(u32, u32),
    /// `send-datagram(slot, pointer, length)`.
    SendDatagram(u32, u32, u32),
    /// `set-view(slot, pointer, length)`.
    SetView(u32, u32, u32),
    /// `set-view-all(pointer, length)`.
    SetViewAll(u32, u32),
    /// `set-stats(pointer, length)`.
    SetStats(u32, u32),
    /// `emit(pointer, length)`.
    Emit(u32, u32),
    /// `log(level, pointer, length)`: any level, any text.
    Log(u32, u32, u32),
    /// `log` with bytes that are no UTF-8.
    LogBadText,
    /// `set-timer(delay)`.
    SetTimer(u64),
    /// `cancel-timer(id)`.
    CancelTimer(u64),
    /// `signal(session pointer, length, pointer, length)`.
    Signal(u32, u32, u32, u32),
    /// `signal` to a session whose name is no UTF-8.
    SignalBadText,
    /// `signal` to a session of this name.
    SignalTo(String),
    /// `kick(slot, pointer, length)`.
    Kick(u32, u32, u32),
    /// `kick` with a reason that is no UTF-8.
    KickBadText(u32),
    /// `finish(pointer, length)`.
    Finish(u32, u32),
    /// `now` so many times.
    Now(u32),
    /// `random` so many times.
    Random(u32),
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn call(_: &RawCall) {}

#[cfg(target_arch = "wasm32")]
mod imports {
    #[link(wasm_import_module = "ringside:game/host@0.1.0")]
    unsafe extern "C" {
        pub fn send(slot: u32, pointer: u32, length: u32);
        pub fn broadcast(pointer: u32, length: u32);
        #[link_name = "send-datagram"]
        pub fn send_datagram(slot: u32, pointer: u32, length: u32);
        #[link_name = "set-view"]
        pub fn set_view(slot: u32, pointer: u32, length: u32);
        #[link_name = "set-view-all"]
        pub fn set_view_all(pointer: u32, length: u32);
        #[link_name = "set-stats"]
        pub fn set_stats(pointer: u32, length: u32);
        pub fn emit(pointer: u32, length: u32);
        pub fn log(level: u32, pointer: u32, length: u32);
        pub fn now() -> u64;
        pub fn random() -> u64;
        #[link_name = "set-timer"]
        pub fn set_timer(delay: u64) -> u64;
        #[link_name = "cancel-timer"]
        pub fn cancel_timer(id: u64);
        pub fn signal(session: u32, session_length: u32, pointer: u32, length: u32);
        pub fn kick(slot: u32, pointer: u32, length: u32);
        pub fn finish(pointer: u32, length: u32);
    }
}

#[cfg(target_arch = "wasm32")]
pub(crate) fn call(call: &RawCall) {
    /// Bytes that are no UTF-8 anywhere.
    static BAD_TEXT: [u8; 4] = [0xff, 0xfe, 0xc0, 0x80];
    let bad = (BAD_TEXT.as_ptr() as u32, BAD_TEXT.len() as u32);

    // SAFETY: the host is expected to check every argument; that is what these calls are for. None of the functions
    // writes to this module's memory.
    unsafe {
        match *call {
            RawCall::Send(slot, pointer, length) => imports::send(slot, pointer, length),
            RawCall::Broadcast(pointer, length) => imports::broadcast(pointer, length),
            RawCall::SendDatagram(slot, pointer, length) => imports::send_datagram(slot, pointer, length),
            RawCall::SetView(slot, pointer, length) => imports::set_view(slot, pointer, length),
            RawCall::SetViewAll(pointer, length) => imports::set_view_all(pointer, length),
            RawCall::SetStats(pointer, length) => imports::set_stats(pointer, length),
            RawCall::Emit(pointer, length) => imports::emit(pointer, length),
            RawCall::Log(level, pointer, length) => imports::log(level, pointer, length),
            RawCall::LogBadText => imports::log(1, bad.0, bad.1),
            RawCall::SetTimer(delay) => {
                imports::set_timer(delay);
            }
            RawCall::CancelTimer(id) => imports::cancel_timer(id),
            RawCall::Signal(name, name_length, pointer, length) => {
                imports::signal(name, name_length, pointer, length);
            }
            RawCall::SignalBadText => imports::signal(bad.0, bad.1, bad.0, bad.1),
            RawCall::SignalTo(ref name) => imports::signal(name.as_ptr() as u32, name.len() as u32, bad.0, bad.1),
            RawCall::Kick(slot, pointer, length) => imports::kick(slot, pointer, length),
            RawCall::KickBadText(slot) => imports::kick(slot, bad.0, bad.1),
            RawCall::Finish(pointer, length) => imports::finish(pointer, length),
            RawCall::Now(count) => (0..count).for_each(|_| {
                imports::now();
            }),
            RawCall::Random(count) => (0..count).for_each(|_| {
                imports::random();
            }),
        }
    }
}
