//! Runs modules in the plain engine, set up as the sandbox sets it up, with host functions that record their calls.

use ringside_protocol::fuzz::Mutator;
use ringside_sandbox::rewrite::rewrite;
use ringside_sandbox::validate::contract::{HOST, IMPORTS};
use ringside_sandbox::validate::inspect_without_world;
use wasmtime::{
    Caller, Config, Engine, Extern, Func, Global, Instance, Linker, Memory, Module, Store, Trap, V128, Val,
};

/// What the host functions keep: every call with its arguments, and what to do at some of them.
#[derive(Default)]
pub struct Host {
    pub calls: Vec<(&'static str, Vec<Value>)>,
    pub at_call: Option<Box<dyn FnMut(usize) + Send>>,
}

/// A value as bits, so that NaNs compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    I32(i32),
    I64(i64),
    F32(u32),
    F64(u64),
    V128(u128),
    Reference(bool),
}

impl Value {
    pub fn of(value: &Val) -> Value {
        match value {
            Val::I32(v) => Value::I32(*v),
            Val::I64(v) => Value::I64(*v),
            Val::F32(bits) => Value::F32(*bits),
            Val::F64(bits) => Value::F64(*bits),
            Val::V128(v) => Value::V128(v.as_u128()),
            Val::FuncRef(f) => Value::Reference(f.is_some()),
            other => panic!("{other:?} cannot occur"),
        }
    }
}

/// The engine, with or without its own canonicalization of NaNs.
pub fn engine(canonical_nans: bool) -> Engine {
    let mut config = Config::new();
    config.wasm_multi_memory(true).wasm_relaxed_simd(false).cranelift_nan_canonicalization(canonical_nans);
    config.max_wasm_stack(256 << 10);
    Engine::new(&config).expect("an engine")
}

/// The rewritten form of a module that speaks no contract.
pub fn rewritten(bytes: &[u8]) -> Vec<u8> {
    let inspection = inspect_without_world(bytes).expect("accepted");
    rewrite(bytes, &inspection).expect("rewritten")
}

/// An instance with its store.
pub struct Guest {
    pub store: Store<Host>,
    pub instance: Instance,
}

impl Guest {
    pub fn new(engine: &Engine, bytes: &[u8]) -> Result<Guest, Option<Trap>> {
        let module = Module::new(engine, bytes).expect("compiles");
        let mut linker = Linker::new(engine);
        for (name, signature) in IMPORTS {
            let module_type = |types: &[wasmparser::ValType]| -> Vec<wasmtime::ValType> {
                types
                    .iter()
                    .map(|ty| match ty {
                        wasmparser::ValType::I32 => wasmtime::ValType::I32,
                        _ => wasmtime::ValType::I64,
                    })
                    .collect()
            };
            let ty = wasmtime::FuncType::new(engine, module_type(signature.params), module_type(signature.results));
            let function = move |mut caller: Caller<'_, Host>, params: &[Val], results: &mut [Val]| {
                let host = caller.data_mut();
                host.calls.push((name, params.iter().map(Value::of).collect()));
                let count = host.calls.len();
                if let Some(at_call) = &mut host.at_call {
                    at_call(count);
                }
                if let [result] = results {
                    *result = Val::I64(count as i64);
                }
                Ok(())
            };
            linker.func_new(HOST, name, ty, function).expect("a new name");
        }
        let mut store = Store::new(engine, Host::default());
        let instance = linker.instantiate(&mut store, &module);
        let instance = instance.map_err(|error| error.downcast_ref::<Trap>().copied())?;
        Ok(Guest { store, instance })
    }

    pub fn memory(&mut self, name: &str) -> Memory {
        self.instance.get_memory(&mut self.store, name).expect("a memory")
    }

    pub fn function(&mut self, name: &str) -> Func {
        self.instance.get_func(&mut self.store, name).expect("a function")
    }

    /// Calls an export with these arguments.
    pub fn call(&mut self, name: &str, arguments: &[Val]) -> Result<Vec<Value>, Trap> {
        let function = self.function(name);
        self.call_function(function, arguments)
    }

    pub fn call_function(&mut self, function: Func, arguments: &[Val]) -> Result<Vec<Value>, Trap> {
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        match function.call(&mut self.store, arguments, &mut results) {
            Ok(()) => Ok(results.iter().map(Value::of).collect()),
            Err(error) => Err(*error.downcast_ref::<Trap>().expect("only traps end a call")),
        }
    }

    /// The first page of the interrupt memory, as an address that another thread can take away.
    pub fn interrupt_page(&mut self) -> Page {
        let memory = self.memory("ringside:interrupt");
        Page(memory.data_ptr(&self.store) as usize)
    }

    /// All exported globals whose name begins with `prefix`, with their bits.
    pub fn globals(&mut self, prefix: &str) -> Vec<(String, Value)> {
        let found: Vec<(String, Global)> = self
            .instance
            .exports(&mut self.store)
            .filter_map(|export| {
                let name = export.name().to_string();
                match export.into_extern() {
                    Extern::Global(global) if name.starts_with(prefix) => Some((name, global)),
                    _ => None,
                }
            })
            .collect();
        found.into_iter().map(|(name, global)| (name, Value::of(&global.get(&mut self.store)))).collect()
    }
}

/// The interrupt page of an instance.
#[derive(Clone, Copy)]
pub struct Page(usize);

impl Page {
    /// What the watchdog does to a call beyond its limit.
    pub fn take_away(self) {
        self.protect(libc::PROT_NONE);
    }

    /// What must follow before the instance is dropped.
    pub fn give_back(self) {
        self.protect(libc::PROT_READ | libc::PROT_WRITE);
    }

    fn protect(self, protection: i32) {
        // SAFETY: the page belongs to an instance that outlives every use of this value, and nothing but pokes
        // touches it.
        let result = unsafe { libc::mprotect(self.0 as *mut libc::c_void, 64 << 10, protection) };
        assert_eq!(result, 0, "mprotect");
    }
}

/// A value for a parameter: NaNs with payloads among the floats.
pub fn argument(random: &mut Mutator, ty: &wasmtime::ValType) -> Val {
    match ty {
        wasmtime::ValType::I32 => Val::I32(random.draw() as i32 >> random.below(32)),
        wasmtime::ValType::I64 => Val::I64(random.draw() as i64 >> random.below(64)),
        wasmtime::ValType::F32 => Val::F32(float32(random)),
        wasmtime::ValType::F64 => Val::F64(float64(random)),
        wasmtime::ValType::V128 => {
            Val::V128(V128::from(u128::from(float64(random)) << 64 | u128::from(float32(random)) << 32))
        }
        wasmtime::ValType::Ref(_) => Val::FuncRef(None),
    }
}

pub fn float32(random: &mut Mutator) -> u32 {
    const SPECIAL: [u32; 10] = [
        0,
        0x8000_0000,
        0x3f80_0000,
        0x7f80_0000,
        0xff80_0000,
        0x7fc0_0000,
        0xffc0_0000,
        0x7fc1_2345,
        0x7fa0_0001,
        0xffff_ffff,
    ];
    if random.below(3) == 0 { (random.below(1000) as f32 - 500.0).to_bits() } else { SPECIAL[random.below(10)] }
}

pub fn float64(random: &mut Mutator) -> u64 {
    const SPECIAL: [u64; 10] = [
        0,
        0x8000_0000_0000_0000,
        0x3ff0_0000_0000_0000,
        0x7ff0_0000_0000_0000,
        0xfff0_0000_0000_0000,
        0x7ff8_0000_0000_0000,
        0xfff8_0000_0000_0000,
        0x7ff8_0000_1234_5678,
        0x7ff4_0000_0000_0001,
        0xffff_ffff_ffff_ffff,
    ];
    if random.below(3) == 0 { (random.below(1000) as f64 - 500.0).to_bits() } else { SPECIAL[random.below(10)] }
}
