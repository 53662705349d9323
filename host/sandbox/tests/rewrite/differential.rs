//! Random modules compute the same before and after the rewrite: the original on an engine that makes every arithmetic
//! NaN canonical itself, the rewritten one on an engine that does not. Results, traps, host calls, memory and
//! globals are compared by their bits.

use std::collections::BTreeMap;

use arbitrary::Unstructured;
use ringside_protocol::fuzz::Mutator;
use ringside_sandbox::UploadError;
use ringside_sandbox::rewrite::{self, rewrite};
use ringside_sandbox::validate::contract::{HOST, IMPORTS};
use ringside_sandbox::validate::inspect_without_world;
use wasm_smith::{InstructionKind, InstructionKinds};
use wasmparser::{Operator, Parser, Payload};
use wasmtime::{Engine, Trap, Val};

use crate::harness::{Guest, Value, argument, engine};

/// Modules that are generated.
const SEEDS: u64 = 2_000;

/// The two engines of a comparison.
pub struct Pair {
    canonical: Engine,
    plain: Engine,
}

/// How a comparison ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Compared {
    /// Everything was equal; this many calls returned.
    Equal(usize),
    /// Neither instantiates.
    NoInstance,
}

impl Pair {
    pub fn new() -> Pair {
        Pair { canonical: engine(true), plain: engine(false) }
    }

    /// Calls every exported function of the original and of its rewritten form, with the same arguments.
    pub fn compare(&self, original: &[u8], rewritten: &[u8], random: &mut Mutator) -> Compared {
        let first = Guest::new(&self.canonical, original);
        let second = Guest::new(&self.plain, rewritten).and_then(|mut guest| {
            let start = guest.instance.get_func(&mut guest.store, rewrite::START);
            start.map_or(Ok(()), |start| guest.call_function(start, &[]).map(|_| ()).map_err(Some))?;
            Ok(guest)
        });
        let (mut first, mut second) = match (first, second) {
            (Ok(first), Ok(second)) => (first, second),
            (Err(first), Err(second)) => {
                assert_eq!(first, second, "other reasons not to start");
                return Compared::NoInstance;
            }
            (first, second) => panic!("original starts: {}, rewritten: {}", first.is_ok(), second.is_ok()),
        };
        let mut returned = 0;
        for (name, arguments) in exported_functions(&mut first, random) {
            let (a, b) = (first.call(&name, &arguments), second.call(&name, &arguments));
            // Frames differ in size, so how deep a recursion gets may differ.
            if a == Err(Trap::StackOverflow) || b == Err(Trap::StackOverflow) {
                break;
            }
            assert_eq!(a, b, "results of {name}{arguments:?}");
            returned += usize::from(a.is_ok());
            assert_state(&mut first, &mut second, &name);
        }
        Compared::Equal(returned)
    }
}

fn exported_functions(guest: &mut Guest, random: &mut Mutator) -> Vec<(String, Vec<Val>)> {
    let mut functions = Vec::new();
    let names: Vec<_> = guest.instance.exports(&mut guest.store).map(|export| export.name().to_string()).collect();
    for name in names {
        if let Some(function) = guest.instance.get_func(&mut guest.store, &name) {
            let ty = function.ty(&guest.store);
            functions.push((name, ty.params().map(|ty| argument(random, &ty)).collect()));
        }
    }
    functions
}

fn assert_state(first: &mut Guest, second: &mut Guest, after: &str) {
    assert_eq!(first.store.data().calls, second.store.data().calls, "host calls after {after}");
    let name = memory_name(first);
    let (a, b) = (first.memory(&name), second.memory(rewrite::GUEST_MEMORY));
    let (a, b) = (a.data(&first.store), b.data(&second.store));
    let differs = a.iter().zip(b).position(|(a, b)| a != b);
    assert_eq!((a.len(), differs), (b.len(), None), "memory after {after}");
    let globals = first.globals("");
    let same: Vec<(String, Value)> =
        second.globals("").into_iter().filter(|(name, _)| !name.starts_with(rewrite::GLOBAL_PREFIX)).collect();
    assert_eq!(globals, same, "globals after {after}");
}

fn memory_name(guest: &mut Guest) -> String {
    let mut exports = guest.instance.exports(&mut guest.store);
    let memory = exports.find_map(|export| {
        let name = export.name().to_string();
        export.into_memory().map(|_| name)
    });
    memory.expect("the memory is exported")
}

/// A module that imports every host function: what wasm-smith may choose from.
fn available_imports() -> Vec<u8> {
    let list = |word: &str, types: &[wasmparser::ValType]| -> String {
        types.iter().map(|ty| format!("({word} {ty})")).collect()
    };
    let imports: String = IMPORTS
        .iter()
        .map(|(name, s)| {
            format!("(import \"{HOST}\" \"{name}\" (func {} {}))", list("param", s.params), list("result", s.results))
        })
        .collect();
    wat::parse_str(format!("(module {imports})")).expect("text")
}

fn config(random: &mut Mutator) -> wasm_smith::Config {
    // Everything but what writes to tables, which is refused.
    let kinds = [
        InstructionKind::Numeric,
        InstructionKind::Vector,
        InstructionKind::Reference,
        InstructionKind::Parametric,
        InstructionKind::Variable,
        InstructionKind::Memory,
        InstructionKind::Control,
    ];
    wasm_smith::Config {
        allowed_instructions: InstructionKinds::new(&kinds),
        available_imports: Some(available_imports()),
        bulk_memory_enabled: random.below(2) == 0,
        custom_page_sizes_enabled: false,
        exceptions_enabled: false,
        export_everything: true,
        gc_enabled: false,
        max_funcs: 12,
        max_imports: 6,
        max_instructions: 400,
        max_memories: 1,
        max_memory32_bytes: 1 << 20,
        max_table_elements: 1000,
        max_tables: 1,
        max_type_size: 200,
        memory64_enabled: false,
        memory_max_size_required: true,
        min_data_segments: 1,
        min_funcs: 2,
        min_memories: 1,
        multi_value_enabled: random.below(4) != 0,
        reference_types_enabled: random.below(2) == 0,
        relaxed_simd_enabled: false,
        simd_enabled: random.below(2) == 0,
        tail_call_enabled: random.below(2) == 0,
        threads_enabled: false,
        ..Default::default()
    }
}

/// A module from wasm-smith that ends by itself.
pub fn random_module(seed: u64) -> Option<Vec<u8>> {
    let mut random = Mutator::new(seed);
    let config = config(&mut random);
    let bytes: Vec<u8> = (0..6000).map(|_| random.draw() as u8).collect();
    let mut module = wasm_smith::Module::new(config, &mut Unstructured::new(&bytes)).ok()?;
    module.ensure_termination(20_000).ok()?;
    Some(module.to_bytes())
}

/// Whether a module uses a segment that it may have dropped, which the rewrite changes on purpose.
fn drops_segments(bytes: &[u8]) -> bool {
    Parser::new(0).parse_all(bytes).any(|payload| match payload {
        Ok(Payload::CodeSectionEntry(body)) => {
            let operators = body.get_operators_reader().expect("operators");
            operators.into_iter().any(|operator| matches!(operator, Ok(Operator::DataDrop { .. })))
        }
        _ => false,
    })
}

#[test]
fn random_modules_compute_the_same() {
    let pair = Pair::new();
    let (mut compared, mut returned) = (0, 0);
    let mut left_out = BTreeMap::new();
    let mut leave_out = |why: &str| *left_out.entry(why.to_string()).or_insert(0) += 1;
    for seed in 0..SEEDS {
        let Some(bytes) = random_module(seed) else {
            leave_out("not generated");
            continue;
        };
        if drops_segments(&bytes) {
            leave_out("drops segments");
            continue;
        }
        let inspection = match inspect_without_world(&bytes) {
            Ok(inspection) => inspection,
            // What the generator cannot be kept from.
            Err(UploadError::Feature { feature, .. }) => {
                leave_out(feature);
                continue;
            }
            Err(UploadError::Limit { what, .. }) => {
                leave_out(what);
                continue;
            }
            Err(error) => panic!("seed {seed}: {error}"),
        };
        let rewritten = rewrite(&bytes, &inspection).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        match pair.compare(&bytes, &rewritten, &mut Mutator::new(seed)) {
            Compared::Equal(calls) => {
                compared += 1;
                returned += calls;
            }
            Compared::NoInstance => leave_out("no instance"),
        }
    }
    println!("{compared} compared, {returned} calls returned, left out: {left_out:?}");
    assert!(compared > 250, "only {compared} modules were compared");
    assert!(returned > 500, "only {returned} calls returned");
}
