//! One instance of a rewritten module: the contract's calls through the canonical ABI, each undone-or-whole for the
//! caller, watched where it is asked for. Knows nothing of logs.

use std::time::Duration;

use wasmtime::{Global, InstancePre, Memory, Store, Trap, TypedFunc, Val};

use ringside_core::log::{LeaveReason, SkipCause};

use crate::context::{Context, GuestFault};
use crate::error::FoldError;
use crate::rewrite;
use crate::validate::contract;
use crate::watchdog::Watchdog;

/// Why a call did not return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) cause: SkipCause,
    pub(crate) message: String,
}

/// What a guest answers where the contract says `result`.
pub(crate) type Verdict = Result<(), String>;

type Call<P, R> = TypedFunc<P, R>;

struct Exports {
    realloc: Call<(u32, u32, u32, u32), u32>,
    module_start: Option<Call<(), ()>>,
    initialize: Option<Call<(), ()>>,
    describe: Call<(), u32>,
    describe_followers: Option<Call<(), u32>>,
    start: Call<(u32, u32), u32>,
    join: Call<(u32, u32, u32), u32>,
    leave: Call<(u32, u32), ()>,
    message: Call<(u32, u32, u32), ()>,
    datagram: Call<(u32, u32, u32), ()>,
    tick: Call<u64, ()>,
    timer: Call<u64, ()>,
    signal: Call<(u32, u32, u32, u32), ()>,
    query: Call<(u32, u32), u32>,
    post_start: Option<Call<u32, ()>>,
    post_join: Option<Call<u32, ()>>,
}

/// An instance and its store.
pub(crate) struct Instance {
    store: Store<Context>,
    exports: Exports,
    memory: Memory,
    interrupt: Memory,
    globals: Vec<Global>,
}

/// How a call is watched.
#[derive(Clone, Copy)]
pub(crate) struct Watched<'a> {
    pub(crate) watchdog: &'a Watchdog,
    pub(crate) limit: Duration,
}

fn missing(what: &str) -> FoldError {
    FoldError::Instance(format!("the rewritten module lacks {what}"))
}

impl Instance {
    /// Makes an instance; nothing of the guest's runs.
    pub(crate) fn new(module: &InstancePre<Context>, globals: &[u32], context: Context) -> Result<Self, FoldError> {
        let mut store = Store::new(module.module().engine(), context);
        store.limiter(|context| context);
        let instance = module.instantiate(&mut store).map_err(|error| FoldError::Instance(format!("{error:#}")))?;
        let memory = |store: &mut Store<Context>, name| instance.get_memory(store, name).ok_or_else(|| missing(name));
        let guest = memory(&mut store, rewrite::GUEST_MEMORY)?;
        let interrupt = memory(&mut store, rewrite::INTERRUPT_MEMORY)?;
        let globals = globals.iter().map(|&index| {
            let name = rewrite::global_name(index);
            instance.get_global(&mut store, &name).ok_or_else(|| missing(&name))
        });
        let globals = globals.collect::<Result<Vec<_>, _>>()?;
        store.data_mut().memory = Some(guest);
        let exports =
            Exports::find(&mut store, &instance).map_err(|error| FoldError::Instance(format!("{error:#}")))?;
        Ok(Instance { store, exports, memory: guest, interrupt, globals })
    }

    pub(crate) fn context(&self) -> &Context {
        self.store.data()
    }

    pub(crate) fn context_mut(&mut self) -> &mut Context {
        self.store.data_mut()
    }

    pub(crate) fn memory(&self) -> &[u8] {
        self.memory.data(&self.store)
    }

    /// Guest memory, to be overwritten.
    pub(crate) fn memory_mut(&mut self) -> &mut [u8] {
        self.memory.data_mut(&mut self.store)
    }

    /// Guest memory of at least `bytes`, to be overwritten.
    pub(crate) fn grown_memory(&mut self, bytes: usize) -> Result<&mut [u8], FoldError> {
        let missing = bytes.saturating_sub(self.memory.data_size(&self.store));
        if missing > 0 {
            let pages = missing.div_ceil(64 << 10) as u64;
            let grown = self.memory.grow(&mut self.store, pages);
            grown.map_err(|error| FoldError::Instance(format!("the guest's memory cannot grow: {error:#}")))?;
        }
        Ok(self.memory.data_mut(&mut self.store))
    }

    /// The mutable globals' bits, in the order of their indices.
    pub(crate) fn globals(&mut self) -> impl Iterator<Item = u128> + '_ {
        let Instance { store, globals, .. } = self;
        globals.iter().map(move |global| match global.get(&mut *store) {
            Val::I32(value) => u128::from(value as u32),
            Val::I64(value) => u128::from(value as u64),
            Val::F32(bits) => u128::from(bits),
            Val::F64(bits) => u128::from(bits),
            Val::V128(bits) => bits.as_u128(),
            // Inspection refuses mutable globals that hold references.
            _ => 0,
        })
    }

    /// Overwrites the mutable globals.
    pub(crate) fn set_globals(&mut self, bits: &[u128]) -> Result<(), FoldError> {
        if bits.len() != self.globals.len() {
            return Err(FoldError::State("it has another number of globals"));
        }
        for (global, &bits) in self.globals.iter().zip(bits) {
            let value = match global.ty(&self.store).content() {
                wasmtime::ValType::I32 => Val::I32(bits as u32 as i32),
                wasmtime::ValType::I64 => Val::I64(bits as u64 as i64),
                wasmtime::ValType::F32 => Val::F32(bits as u32),
                wasmtime::ValType::F64 => Val::F64(bits as u64),
                wasmtime::ValType::V128 => Val::V128(bits.into()),
                wasmtime::ValType::Ref(_) => return Err(FoldError::State("a global holds a reference")),
            };
            global.set(&mut self.store, value).map_err(|_| FoldError::State("a global has another type"))?;
        }
        Ok(())
    }

    /// Runs a call with all that belongs to it (lowering, the export, its post-return) under one watch.
    fn run<R>(
        &mut self,
        watched: Option<Watched<'_>>,
        call: impl FnOnce(&mut Store<Context>, &Exports, Memory) -> wasmtime::Result<R>,
    ) -> Result<R, Fault> {
        self.store.data_mut().begin_call();
        let watch =
            watched.map(|Watched { watchdog, limit }| watchdog.begin(self.interrupt.data_ptr(&self.store), limit));
        let result = call(&mut self.store, &self.exports, self.memory);
        let stopped = watch.is_some_and(|watch| watch.end());
        result.map_err(|error| fault(&error, stopped))
    }

    pub(crate) fn describe(&mut self, watched: Option<Watched<'_>>) -> Result<u32, Fault> {
        self.run(watched, |store, exports, _| {
            run_start(store, exports)?;
            exports.describe.call(store, ())
        })
    }

    /// What it says of followers, if anything; after [`Instance::describe`].
    pub(crate) fn describe_followers(&mut self, watched: Option<Watched<'_>>) -> Result<Option<u32>, Fault> {
        self.run(watched, |store, exports, _| {
            exports.describe_followers.as_ref().map(|export| export.call(store, ())).transpose()
        })
    }

    /// Runs the module's start function, `_initialize` and the contract's `start`.
    pub(crate) fn start(&mut self, watched: Option<Watched<'_>>, config: &[u8]) -> Result<Verdict, Fault> {
        self.run(watched, |store, exports, memory| {
            run_start(store, exports)?;
            let (at, length) = lower(store, exports, memory, config)?;
            let answer = exports.start.call(&mut *store, (at, length))?;
            verdict(store, memory, answer, exports.post_start.as_ref())
        })
    }

    pub(crate) fn join(&mut self, watched: Option<Watched<'_>>, slot: u16, player: &str) -> Result<Verdict, Fault> {
        self.run(watched, |store, exports, memory| {
            let (at, length) = lower(store, exports, memory, player.as_bytes())?;
            let answer = exports.join.call(&mut *store, (u32::from(slot), at, length))?;
            verdict(store, memory, answer, exports.post_join.as_ref())
        })
    }

    pub(crate) fn leave(&mut self, watched: Option<Watched<'_>>, slot: u16, why: LeaveReason) -> Result<(), Fault> {
        let reason = match why {
            LeaveReason::Left => 0,
            LeaveReason::TimedOut => 1,
            LeaveReason::Kicked => 2,
            LeaveReason::TooSlow => 3,
            LeaveReason::Removed => 4,
        };
        self.run(watched, |store, exports, _| exports.leave.call(store, (u32::from(slot), reason)))
    }

    pub(crate) fn message(&mut self, watched: Option<Watched<'_>>, slot: u16, body: &[u8]) -> Result<(), Fault> {
        self.run(watched, |store, exports, memory| {
            let (at, length) = lower(store, exports, memory, body)?;
            exports.message.call(store, (u32::from(slot), at, length))
        })
    }

    pub(crate) fn datagram(&mut self, watched: Option<Watched<'_>>, slot: u16, body: &[u8]) -> Result<(), Fault> {
        self.run(watched, |store, exports, memory| {
            let (at, length) = lower(store, exports, memory, body)?;
            exports.datagram.call(store, (u32::from(slot), at, length))
        })
    }

    pub(crate) fn tick(&mut self, watched: Option<Watched<'_>>, number: u64) -> Result<(), Fault> {
        self.run(watched, |store, exports, _| exports.tick.call(store, number))
    }

    pub(crate) fn timer(&mut self, watched: Option<Watched<'_>>, id: u64) -> Result<(), Fault> {
        self.run(watched, |store, exports, _| exports.timer.call(store, id))
    }

    pub(crate) fn signal(&mut self, watched: Option<Watched<'_>>, source: &str, body: &[u8]) -> Result<(), Fault> {
        self.run(watched, |store, exports, memory| {
            let (source_at, source_length) = lower(store, exports, memory, source.as_bytes())?;
            let (at, length) = lower(store, exports, memory, body)?;
            exports.signal.call(store, (source_at, source_length, at, length))
        })
    }

    /// The instance is thrown away after a query, so nothing is given back to the guest's allocator.
    pub(crate) fn query(
        &mut self,
        watched: Option<Watched<'_>>,
        question: &[u8],
    ) -> Result<Result<Vec<u8>, String>, Fault> {
        self.run(watched, |store, exports, memory| {
            let (at, length) = lower(store, exports, memory, question)?;
            let answer = exports.query.call(&mut *store, (at, length))?;
            let (refused, bytes) = read_result(memory.data(&*store), answer)?;
            Ok(if refused { Err(String::from_utf8_lossy(bytes).into_owned()) } else { Ok(bytes.to_vec()) })
        })
    }
}

impl Exports {
    fn find(store: &mut Store<Context>, instance: &wasmtime::Instance) -> wasmtime::Result<Exports> {
        macro_rules! export {
            ($name:expr) => {
                instance.get_typed_func(&mut *store, $name)?
            };
        }
        macro_rules! optional {
            ($name:expr) => {
                match instance.get_func(&mut *store, $name) {
                    Some(function) => Some(function.typed(&*store)?),
                    None => None,
                }
            };
        }
        Ok(Exports {
            realloc: export!("cabi_realloc"),
            module_start: optional!(rewrite::START),
            initialize: optional!("_initialize"),
            describe: export!("describe"),
            describe_followers: optional!(contract::DESCRIBE_FOLLOWERS),
            start: export!("start"),
            join: export!("join"),
            leave: export!("leave"),
            message: export!("message"),
            datagram: export!("datagram"),
            tick: export!("tick"),
            timer: export!("timer"),
            signal: export!("signal"),
            query: export!("query"),
            post_start: optional!("cabi_post_start"),
            post_join: optional!("cabi_post_join"),
        })
    }
}

fn run_start(store: &mut Store<Context>, exports: &Exports) -> wasmtime::Result<()> {
    for function in [&exports.module_start, &exports.initialize].into_iter().flatten() {
        function.call(&mut *store, ())?;
    }
    Ok(())
}

/// Copies bytes to where the guest's allocator says.
fn lower(store: &mut Store<Context>, exports: &Exports, memory: Memory, bytes: &[u8]) -> wasmtime::Result<(u32, u32)> {
    if bytes.is_empty() {
        return Ok((1, 0));
    }
    let length = u32::try_from(bytes.len()).map_err(|_| GuestFault::contract("a value larger than 4 GiB"))?;
    let at = exports.realloc.call(&mut *store, (0, 0, 1, length))?;
    let place = memory.data_mut(&mut *store).get_mut(at as usize..).and_then(|rest| rest.get_mut(..bytes.len()));
    let place = place.ok_or_else(|| {
        GuestFault::contract(format!("cabi_realloc answers address {at} for {length} bytes, outside the memory"))
    })?;
    place.copy_from_slice(bytes);
    Ok((at, length))
}

/// Reads a `result` whose both sides are bytes, text or nothing: whether it is the error, and the bytes.
fn read_result(memory: &[u8], at: u32) -> Result<(bool, &[u8]), GuestFault> {
    let outside = || GuestFault::contract(format!("a result at address {at} is not within the memory"));
    let record = memory.get(at as usize..).and_then(|rest| rest.first_chunk::<12>()).ok_or_else(outside)?;
    let word = |o: usize| u32::from_le_bytes([record[o], record[o + 1], record[o + 2], record[o + 3]]) as usize;
    match record[0] {
        0 | 1 => {
            let bytes = memory.get(word(4)..).and_then(|rest| rest.get(..word(8)));
            Ok((record[0] == 1, bytes.ok_or_else(outside)?))
        }
        other => Err(GuestFault::contract(format!("a result has the discriminant {other}"))),
    }
}

/// Reads `result<_, string>` and calls the post-return.
fn verdict(
    store: &mut Store<Context>,
    memory: Memory,
    at: u32,
    post: Option<&TypedFunc<u32, ()>>,
) -> wasmtime::Result<Verdict> {
    let bytes = memory.data(&*store);
    // On success only the discriminant means anything.
    let verdict = match bytes.get(at as usize) {
        Some(0) => Ok(()),
        _ => {
            let (_, reason) = read_result(bytes, at)?;
            let reason = &reason[..reason.len().min(ringside_core::limits::LOG_LINE_BYTES)];
            Err(String::from_utf8_lossy(reason).into_owned())
        }
    };
    if let Some(post) = post {
        post.call(store, at)?;
    }
    Ok(verdict)
}

fn fault(error: &wasmtime::Error, stopped: bool) -> Fault {
    if stopped {
        return Fault { cause: SkipCause::Runaway, message: "the call used more than its limit of time".into() };
    }
    let cause = match error.downcast_ref::<GuestFault>() {
        Some(fault) => fault.cause,
        None => SkipCause::Trap,
    };
    let what = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    Fault { cause, message: what }
}
