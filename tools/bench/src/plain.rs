//! A guest in plain wasmtime, as an embedder would write it without Ringside: typed calls, imports that copy bytes out.
//! No log, no quotas, no watchdog, nothing rewritten (unless the caller hands over rewritten bytes).

use std::error::Error;

use ringside_sandbox::validate::contract::HOST;
use wasmtime::{
    Caller, Config, Engine, InstancePre, Linker, Memory, Module, PoolingAllocationConfig, Store, TypedFunc,
};

use crate::bench::BenchError;
use crate::random::Random;

type Caught<T> = Result<T, BenchError>;

fn caught(error: wasmtime::Error) -> BenchError {
    // `Display` of the error alone hides its causes.
    BenchError::Setup(format!("{error:#}"))
}

/// What imports write to.
pub struct Sink {
    memory: Option<Memory>,
    random: Random,
    /// Whether imports copy bytes out of the guest.
    pub copies: bool,
    /// The newest view for all.
    pub view: Vec<u8>,
    /// The newest of everything else.
    pub other: Vec<u8>,
}

/// An engine as an embedder would set it up, with pooled instances or without.
pub fn engine(pool: Option<u32>) -> Caught<Engine> {
    let mut config = Config::new();
    config.wasm_multi_memory(true);
    if let Some(instances) = pool {
        let mut pool = PoolingAllocationConfig::default();
        pool.total_core_instances(instances).total_memories(instances).total_tables(instances);
        config.allocation_strategy(wasmtime::InstanceAllocationStrategy::Pooling(pool));
    }
    Engine::new(&config).map_err(caught)
}

/// Compiles, and nothing else.
pub fn compile(engine: &Engine, bytes: &[u8]) -> Caught<Module> {
    Module::new(engine, bytes).map_err(caught)
}

/// A module with its imports linked.
pub fn link(engine: &Engine, bytes: &[u8]) -> Caught<InstancePre<Sink>> {
    let mut linker = Linker::new(engine);
    link_host(&mut linker).and_then(|()| linker.instantiate_pre(&Module::new(engine, bytes)?)).map_err(caught)
}

/// A running guest.
pub struct Plain {
    store: Store<Sink>,
    memory: Memory,
    realloc: TypedFunc<(u32, u32, u32, u32), u32>,
    start: TypedFunc<(u32, u32), u32>,
    join: TypedFunc<(u32, u32, u32), u32>,
    message: TypedFunc<(u32, u32, u32), ()>,
    datagram: TypedFunc<(u32, u32, u32), ()>,
    tick: TypedFunc<u64, ()>,
}

impl Plain {
    /// An instance on which nothing has run.
    pub fn new(module: &InstancePre<Sink>) -> Caught<Plain> {
        let sink = Sink { memory: None, random: Random::new(1), copies: true, view: Vec::new(), other: Vec::new() };
        let mut store = Store::new(module.module().engine(), sink);
        let instance = module.instantiate(&mut store).map_err(caught)?;
        let memory = instance.get_memory(&mut store, "memory").ok_or("no memory");
        let memory = memory.map_err(|what: &str| BenchError::Setup(what.into()))?;
        store.data_mut().memory = Some(memory);
        macro_rules! export {
            ($name:literal) => {
                instance.get_typed_func(&mut store, $name).map_err(caught)?
            };
        }
        Ok(Plain {
            realloc: export!("cabi_realloc"),
            start: export!("start"),
            join: export!("join"),
            message: export!("message"),
            datagram: export!("datagram"),
            tick: export!("tick"),
            memory,
            store,
        })
    }

    /// What the imports wrote to.
    pub fn sink(&mut self) -> &mut Sink {
        self.store.data_mut()
    }

    /// Bytes in the guest's memory, for one call that takes them over.
    pub fn lower(&mut self, bytes: &[u8]) -> Caught<(u32, u32)> {
        if bytes.is_empty() {
            return Ok((1, 0));
        }
        let length = bytes.len() as u32;
        let at = self.realloc.call(&mut self.store, (0, 0, 1, length)).map_err(caught)?;
        self.memory.write(&mut self.store, at as usize, bytes).map_err(|error| BenchError::Setup(error.to_string()))?;
        Ok((at, length))
    }

    /// The contract's `start`.
    pub fn start(&mut self, config: &[u8]) -> Caught<()> {
        let (at, length) = self.lower(config)?;
        let answer = self.start.call(&mut self.store, (at, length)).map_err(caught)?;
        self.expect_ok(answer, "start")
    }

    /// The contract's `join`.
    pub fn join(&mut self, slot: u32, player: &str) -> Caught<()> {
        let (at, length) = self.lower(player.as_bytes())?;
        let answer = self.join.call(&mut self.store, (slot, at, length)).map_err(caught)?;
        self.expect_ok(answer, "join")
    }

    fn expect_ok(&self, answer: u32, call: &str) -> Caught<()> {
        match self.memory.data(&self.store).get(answer as usize) {
            Some(0) => Ok(()),
            _ => Err(BenchError::Setup(format!("the guest refuses `{call}`"))),
        }
    }

    /// The bare typed call of `message`, its bytes lowered before.
    pub fn message(&mut self, slot: u32, (at, length): (u32, u32)) -> Caught<()> {
        self.message.call(&mut self.store, (slot, at, length)).map_err(caught)
    }

    /// The contract's `datagram`.
    pub fn datagram(&mut self, slot: u32, bytes: &[u8]) -> Caught<()> {
        let (at, length) = self.lower(bytes)?;
        self.datagram.call(&mut self.store, (slot, at, length)).map_err(caught)
    }

    /// The bare typed call of `tick`.
    pub fn tick(&mut self, number: u64) -> Caught<()> {
        self.tick.call(&mut self.store, number).map_err(caught)
    }
}

/// Which buffer bytes go to.
#[derive(Clone, Copy)]
enum To {
    View,
    Other,
}

fn put(mut call: Caller<'_, Sink>, to: To, at: u32, length: u32) -> wasmtime::Result<()> {
    if !call.data().copies {
        return Ok(());
    }
    let outside = || wasmtime::Error::from_boxed(Box::<dyn Error + Send + Sync>::from("bytes outside the memory"));
    let memory = call.data().memory.ok_or_else(outside)?;
    let (memory, sink) = memory.data_and_store_mut(&mut call);
    let bytes = memory.get(at as usize..).and_then(|rest| rest.get(..length as usize)).ok_or_else(outside)?;
    let buffer = match to {
        To::View => &mut sink.view,
        To::Other => &mut sink.other,
    };
    buffer.clear();
    buffer.extend_from_slice(bytes);
    Ok(())
}

fn link_host(linker: &mut Linker<Sink>) -> wasmtime::Result<()> {
    for (name, to) in [("broadcast", To::Other), ("set-view-all", To::View)] {
        linker.func_wrap(HOST, name, move |call: Caller<'_, Sink>, at: u32, length: u32| put(call, to, at, length))?;
    }
    for name in ["set-stats", "emit", "finish"] {
        linker
            .func_wrap(HOST, name, |call: Caller<'_, Sink>, at: u32, length: u32| put(call, To::Other, at, length))?;
    }
    for (name, to) in [
        ("send", To::Other),
        ("send-datagram", To::Other),
        ("set-view", To::View),
        ("log", To::Other),
        ("kick", To::Other),
    ] {
        linker.func_wrap(HOST, name, move |call: Caller<'_, Sink>, _: u32, at: u32, length: u32| {
            put(call, to, at, length)
        })?;
    }
    linker.func_wrap(HOST, "signal", |call: Caller<'_, Sink>, _: u32, _: u32, at: u32, length: u32| {
        put(call, To::Other, at, length)
    })?;
    linker.func_wrap(HOST, "now", || 0u64)?;
    linker.func_wrap(HOST, "random", |mut call: Caller<'_, Sink>| call.data_mut().random.draw())?;
    linker.func_wrap(HOST, "set-timer", |_: u64| 0u64)?;
    linker.func_wrap(HOST, "cancel-timer", |_: u64| ())?;
    Ok(())
}
