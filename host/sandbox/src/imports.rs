//! The host functions that a guest may call. Every pointer, length, slot and text of the guest's is checked here; a bad
//! one ends the call with a named fault.

use wasmtime::{Caller, Engine, Linker};

use ringside_core::ids::Slot;
use ringside_core::limits;
use ringside_core::output::LogLevel;

use crate::context::{Allowed, Context, GuestFault, Range, Staged};
use crate::validate::contract::HOST as MODULE;

type Call<'a> = Caller<'a, Context>;
type Answer<T = ()> = wasmtime::Result<T>;

/// Links the host's functions.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Context>> {
    let mut linker = Linker::new(engine);
    link_outputs(&mut linker)?;
    link_values(&mut linker)?;
    Ok(linker)
}

fn link_outputs(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "send", |mut call: Call<'_>, slot: u32, at: u32, length: u32| -> Answer {
        let (slot, body) = addressed(&mut call, "send", slot, at, length)?;
        put(&mut call, Staged::Send { slot, body })
    })?;
    linker.func_wrap(MODULE, "broadcast", |mut call: Call<'_>, at: u32, length: u32| -> Answer {
        let body = value(&mut call, "broadcast", at, length, limits::GUEST_VALUE_BYTES)?;
        put(&mut call, Staged::Broadcast { body })
    })?;
    linker.func_wrap(MODULE, "send-datagram", |mut call: Call<'_>, slot: u32, at: u32, length: u32| -> Answer {
        let slot = checked_slot("send-datagram", slot)?;
        let body = value(&mut call, "send-datagram", at, length, limits::DATAGRAM_BYTES)?;
        put(&mut call, Staged::Datagram { slot, body })
    })?;
    linker.func_wrap(MODULE, "set-view", |mut call: Call<'_>, slot: u32, at: u32, length: u32| -> Answer {
        let (slot, view) = addressed(&mut call, "set-view", slot, at, length)?;
        put(&mut call, Staged::View { slot, view })
    })?;
    linker.func_wrap(MODULE, "set-view-all", |mut call: Call<'_>, at: u32, length: u32| -> Answer {
        let view = value(&mut call, "set-view-all", at, length, limits::GUEST_VALUE_BYTES)?;
        put(&mut call, Staged::ViewAll { view })
    })?;
    linker.func_wrap(MODULE, "set-stats", |mut call: Call<'_>, at: u32, length: u32| -> Answer {
        let row = value(&mut call, "set-stats", at, length, limits::STATS_BYTES)?;
        put(&mut call, Staged::Stats { row })
    })?;
    linker.func_wrap(MODULE, "emit", |mut call: Call<'_>, at: u32, length: u32| -> Answer {
        let body = value(&mut call, "emit", at, length, limits::GUEST_VALUE_BYTES)?;
        put(&mut call, Staged::Event { body })
    })?;
    linker.func_wrap(
        MODULE,
        "signal",
        |mut call: Call<'_>, to: u32, to_length: u32, at: u32, length: u32| -> Answer {
            let session = text(&mut call, "signal", to, to_length, 128)?;
            let body = value(&mut call, "signal", at, length, limits::GUEST_VALUE_BYTES)?;
            put(&mut call, Staged::Signal { session, body })
        },
    )?;
    linker.func_wrap(MODULE, "kick", |mut call: Call<'_>, slot: u32, at: u32, length: u32| -> Answer {
        let slot = checked_slot("kick", slot)?;
        let reason = text(&mut call, "kick", at, length, limits::LOG_LINE_BYTES)?;
        put(&mut call, Staged::Kick { slot, reason })
    })?;
    linker.func_wrap(MODULE, "finish", |mut call: Call<'_>, at: u32, length: u32| -> Answer {
        let outcome = value(&mut call, "finish", at, length, limits::GUEST_VALUE_BYTES)?;
        put(&mut call, Staged::Finish { outcome })
    })?;
    linker.func_wrap(MODULE, "log", |mut call: Call<'_>, level: u32, at: u32, length: u32| -> Answer {
        let level = match level {
            0 => LogLevel::Debug,
            1 => LogLevel::Info,
            2 => LogLevel::Warn,
            3 => LogLevel::Error,
            other => return Err(GuestFault::contract(format!("log: no level has the number {other}")).into()),
        };
        if !call.data_mut().may_log() {
            return Ok(());
        }
        let mut line = text(&mut call, "log", at, length, limits::GUEST_VALUE_BYTES)?;
        cut_line(call.data_mut(), &mut line);
        put_allowed(&mut call, Staged::Log { level, line })
    })?;
    Ok(())
}

fn link_values(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "now", |call: Call<'_>| -> Answer<u64> {
        may_read(call.data(), "now")?;
        Ok(call.data().host.time_us)
    })?;
    linker.func_wrap(MODULE, "random", |mut call: Call<'_>| -> Answer<u64> {
        may_read(call.data(), "random")?;
        Ok(call.data_mut().host.generator.draw())
    })?;
    linker.func_wrap(MODULE, "set-timer", |mut call: Call<'_>, delay_us: u64| -> Answer<u64> {
        may_change(call.data(), "set-timer")?;
        let host = &mut call.data_mut().host;
        let due = host.time_us.saturating_add(delay_us.max(limits::TIMER_DELAY_US));
        let armed = host.timers.arm(due);
        Ok(armed.ok_or_else(|| GuestFault::quota(format!("more than {} timers are armed", limits::TIMERS)))?)
    })?;
    linker.func_wrap(MODULE, "cancel-timer", |mut call: Call<'_>, id: u64| -> Answer {
        may_change(call.data(), "cancel-timer")?;
        call.data_mut().host.timers.disarm(id);
        Ok(())
    })?;
    Ok(())
}

fn may_change(context: &Context, function: &str) -> Result<(), GuestFault> {
    match context.allowed {
        Allowed::All => Ok(()),
        Allowed::Log => Err(GuestFault::contract(format!("describe must not use `{function}`, only `log`"))),
        Allowed::Read => Err(GuestFault::contract(format!("query must not use `{function}`"))),
    }
}

fn may_read(context: &Context, function: &str) -> Result<(), GuestFault> {
    if context.allowed == Allowed::Read { Ok(()) } else { may_change(context, function) }
}

fn put(call: &mut Call<'_>, staged: Staged) -> Answer {
    Ok(call.data_mut().push(staged)?)
}

/// The same for `log`, which `describe` and `query` may use: there the line is dropped.
fn put_allowed(call: &mut Call<'_>, staged: Staged) -> Answer {
    if call.data().allowed == Allowed::All { put(call, staged) } else { Ok(()) }
}

fn checked_slot(function: &str, slot: u32) -> Result<Slot, GuestFault> {
    match u16::try_from(slot) {
        Ok(small) if usize::from(small) < limits::SLOTS => Ok(Slot(small)),
        _ => Err(GuestFault::contract(format!("{function}: there is no slot {slot}"))),
    }
}

fn addressed(call: &mut Call<'_>, function: &str, slot: u32, at: u32, length: u32) -> Answer<(Slot, Range)> {
    let slot = checked_slot(function, slot)?;
    Ok((slot, value(call, function, at, length, limits::GUEST_VALUE_BYTES)?))
}

/// Stages bytes of the guest's memory; the function must be allowed.
fn value(call: &mut Call<'_>, function: &str, at: u32, length: u32, most: usize) -> Answer<Range> {
    if function != "log" {
        may_change(call.data(), function)?;
    }
    let length = length as usize;
    if length > most {
        return Err(GuestFault::quota(format!("{function}: {length} bytes, at most {most} are taken")).into());
    }
    let memory = call.data().memory.ok_or_else(|| GuestFault::contract("a host call before the memory exists"))?;
    let (memory, context) = memory.data_and_store_mut(call);
    let bytes = memory.get(at as usize..).and_then(|rest| rest.get(..length));
    let bytes = bytes.ok_or_else(|| {
        GuestFault::contract(format!("{function}: {length} bytes at address {at} are outside the memory"))
    })?;
    Ok(context.stage(bytes)?)
}

fn text(call: &mut Call<'_>, function: &str, at: u32, length: u32, most: usize) -> Answer<Range> {
    let range = value(call, function, at, length, most)?;
    match std::str::from_utf8(call.data().bytes(&range)) {
        Ok(_) => Ok(range),
        Err(error) => Err(GuestFault::contract(format!("{function}: text that is not UTF-8: {error}")).into()),
    }
}

/// Cuts a log line at the limit, between characters.
fn cut_line(context: &mut Context, line: &mut Range) {
    let text = std::str::from_utf8(context.bytes(line)).unwrap_or_default();
    let mut length = text.len().min(limits::LOG_LINE_BYTES);
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    line.end = line.start + length;
    context.arena.truncate(line.end);
}
