//! What a bad citizen can be told to do.

use std::hint::black_box;
use std::time::Duration;

use ringside_guest::{Bytes, Context, LogLevel, Slot};
use serde::{Deserialize, Serialize};

use crate::BadCitizens;
use crate::raw::{self, RawCall};

/// A misdeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Nothing wrong: it only counts.
    Behave,
    /// An endless loop with nothing in it.
    Loop,
    /// An endless loop around endless loops, that writes to memory all the time.
    LoopStoring,
    /// An endless loop that calls functions through a table.
    LoopCalling,
    /// Calls itself for ever, until the stack is used up.
    Recurse,
    /// Panics: the module's `unreachable`.
    Panic,
    /// Reads far outside its memory.
    ReadOutside,
    /// Computes for so many steps (about a nanosecond each), then returns.
    Compute(u64),
    /// From now on each tick computes for so many steps.
    ComputeEachTick(u64),
    /// Puts something out and then panics: nothing of it may be seen.
    SendThenPanic,
    /// Broadcasts so many messages of so many bytes.
    FloodMessages(u32, u32),
    /// Sends so many datagrams of so many bytes to slot 0.
    FloodDatagrams(u32, u32),
    /// Emits so many events of so many bytes.
    FloodEvents(u32, u32),
    /// Writes so many log lines of so many bytes.
    FloodLog(u32, u32),
    /// Signals so many times to another session.
    FloodSignals(u32),
    /// Arms so many timers, due in so many microseconds.
    FloodTimers(u32, u64),
    /// Arms a timer that arms another when it fires, for ever; so many microseconds apart.
    TimerForEver(u64),
    /// From now on views have so many bytes more.
    BigView(u32),
    /// Writes so many bytes of statistics.
    BigStats(u32),
    /// Takes so many bytes of memory and keeps them.
    Hoard(u32),
    /// Takes memory until there is no more.
    HoardEverything,
    /// Kicks whoever is in this slot.
    Kick(u16),
    /// Sends something to this slot, which may not exist.
    SendTo(u16),
    /// Ends the match with an outcome of so many bytes.
    Finish(u32),
    /// Ends the match and then goes on putting things out.
    FinishTwice,
    /// Calls a host function with arguments that no binding would pass.
    Raw(RawCall),
    /// Puts bits of arithmetic NaNs into a message: they must be the same on every host. (Natively they are what the
    /// processor makes them.)
    ShowNans,
}

impl BadCitizens {
    /// Obeys a command.
    pub(crate) fn obey(&mut self, command: Command, context: &mut Context<Self>) {
        match command {
            Command::ComputeEachTick(steps) => self.busy = steps,
            Command::SendThenPanic => {
                context.broadcast(&Bytes(b"never to be seen".to_vec()));
                context.set_stats(&"never to be seen");
                context.random();
                context.set_timer(Duration::ZERO);
                panic!("after sending");
            }
            Command::TimerForEver(delay_us) => {
                self.re_arm = Some(delay_us);
                context.set_timer(Duration::from_micros(delay_us));
            }
            Command::BigView(bytes) => self.filling = bytes as usize,
            Command::BigStats(bytes) => context.set_stats(&filled(bytes)),
            Command::Hoard(bytes) => self.hoard.push(vec![1; bytes as usize]),
            Command::HoardEverything => loop {
                self.hoard.push(vec![1; 1 << 16]);
            },
            Command::Kick(slot) => context.kick(Slot(slot), "told to"),
            Command::SendTo(slot) => context.send(Slot(slot), &filled(4)),
            Command::Finish(bytes) => context.finish(&filled(bytes)),
            Command::FinishTwice => {
                context.finish(&filled(1));
                context.broadcast(&filled(2));
                context.finish(&filled(3));
            }
            Command::ShowNans => context.broadcast(&nans()),
            other => flood(&other, context),
        }
    }
}

fn flood(command: &Command, context: &mut Context<BadCitizens>) {
    match *command {
        Command::FloodMessages(count, bytes) => (0..count).for_each(|_| context.broadcast(&filled(bytes))),
        Command::FloodDatagrams(count, bytes) => {
            (0..count).for_each(|_| context.send_datagram(Slot(0), &filled(bytes)));
        }
        Command::FloodEvents(count, bytes) => (0..count).for_each(|_| context.emit(&filled(bytes))),
        Command::FloodLog(count, bytes) => {
            let line = "x".repeat(bytes as usize);
            (0..count).for_each(|_| context.log(LogLevel::Info, &line));
        }
        Command::FloodSignals(count) => (0..count).for_each(|_| context.signal("bad-citizens/other", b"hello")),
        Command::FloodTimers(count, delay_us) => {
            for _ in 0..count {
                context.set_timer(Duration::from_micros(delay_us));
            }
        }
        ref other => alone(other),
    }
}

/// Obeys a command that needs no match; others do nothing.
pub(crate) fn alone(command: &Command) {
    match command {
        Command::Loop => spin(),
        Command::LoopStoring => spin_storing(),
        Command::LoopCalling => spin_calling(),
        Command::Recurse => {
            black_box(recurse(1));
        }
        Command::Panic => panic!("told to"),
        // SAFETY: there is none, on purpose: in a module the address is beyond any memory that a host grants.
        Command::ReadOutside => {
            black_box(unsafe { std::ptr::read_volatile(OUTSIDE as *const u8) });
        }
        Command::Compute(steps) => compute(*steps),
        Command::Raw(call) => raw::call(call),
        _ => {}
    }
}

/// The last page but one of 32 bits' address space.
const OUTSIDE: usize = 0xffff_0000;

/// Computes for so many steps of about a nanosecond.
pub(crate) fn compute(steps: u64) {
    let mut state = 1u64;
    for _ in 0..steps {
        state = black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

fn spin() {
    #[allow(clippy::empty_loop)]
    loop {}
}

fn spin_storing() {
    let mut memory = [0u32; 64];
    loop {
        for cell in &mut memory {
            while *cell % 1000 != 999 {
                *cell = black_box(*cell + 1);
            }
            *cell = black_box(0);
        }
    }
}

fn spin_calling() {
    let functions: [fn(u32) -> u32; 2] = [|x| x.wrapping_mul(3), |x| x.wrapping_add(7)];
    let mut value = 1;
    loop {
        value = black_box(functions[black_box(value as usize) % 2])(value);
    }
}

#[allow(unconditional_recursion)]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 8]);
    recurse(depth + 1) + frame[0]
}

fn filled(bytes: u32) -> Bytes {
    Bytes(vec![0xbc; bytes as usize])
}

/// NaNs of several kinds of arithmetic, as bits.
fn nans() -> Bytes {
    let zero = || black_box(0.0f64);
    let infinity = || black_box(f64::INFINITY);
    let single = || black_box(0.0f32);
    let made =
        [zero() / zero(), infinity() - infinity(), infinity() * zero(), (zero() - 1.0).sqrt(), -(zero() / zero())];
    let mut bytes: Vec<u8> = made.iter().flat_map(|nan| nan.to_bits().to_le_bytes()).collect();
    bytes.extend((single() / single()).to_bits().to_le_bytes());
    bytes.extend(((zero() / zero()) as f32).to_bits().to_le_bytes());
    Bytes(bytes)
}
