//! Games that a machine made up: every export of the world is there, and what it does nobody knows.

use arbitrary::Unstructured;
use ringside_protocol::fuzz::Mutator;
use ringside_sandbox::fuzz::fuzz_upload;
use ringside_sandbox::validate::contract::{EXPORTS, HOST, IMPORTS, Signature};
use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{CodeSection, Function, Instruction, MemArg};

use crate::trial::Tally;

fn header(signature: &Signature) -> String {
    let params = signature.params.iter().map(|ty| format!("(param {ty})"));
    params.chain(signature.results.iter().map(|ty| format!("(result {ty})"))).collect()
}

fn assembled(items: &str) -> Vec<u8> {
    wat::parse_str(format!("(module {items})")).expect("text that assembles")
}

/// What a generated module may import and must export.
fn world() -> (Vec<u8>, Vec<u8>) {
    let imports: String =
        IMPORTS.iter().map(|(name, ty)| format!("(import \"{HOST}\" \"{name}\" (func {}))", header(ty))).collect();
    let exports: String =
        EXPORTS.iter().map(|(name, ty)| format!("(func (export \"{name}\") {} unreachable)", header(ty))).collect();
    (assembled(&imports), assembled(&format!("{exports} (memory (export \"memory\") 2 20)")))
}

/// A module with the world's exports; with any of the generator's features, or none that is refused anyway.
fn generate(seed: u64, any_feature: bool) -> Option<Vec<u8>> {
    let mut mutator = Mutator::new(seed);
    let (imports, exports) = world();
    let restricted = !any_feature;
    let config = wasm_smith::Config {
        available_imports: Some(imports),
        exports: Some(exports),
        bulk_memory_enabled: true,
        custom_page_sizes_enabled: !restricted,
        exceptions_enabled: !restricted,
        gc_enabled: !restricted,
        memory64_enabled: !restricted,
        max_memories: if restricted { 1 } else { 3 },
        max_imports: 10,
        max_instructions: 200,
        max_table_elements: 1_000,
        max_tables: if restricted { 1 } else { 2 },
        reference_types_enabled: !restricted,
        relaxed_simd_enabled: !restricted,
        simd_enabled: true,
        tail_call_enabled: true,
        threads_enabled: !restricted,
        wide_arithmetic_enabled: !restricted,
        ..Default::default()
    };
    let bytes: Vec<u8> = (0..8_000).map(|_| mutator.draw() as u8).collect();
    Some(wasm_smith::Module::new(config, &mut Unstructured::new(&bytes)).ok()?.to_bytes())
}

/// Gives a module a `describe` that answers an honest record.
struct Describe {
    function: u32,
    next: u32,
}

impl Reencode for Describe {
    type Error = std::convert::Infallible;

    fn parse_import_section(
        &mut self,
        imports: &mut wasm_encoder::ImportSection,
        section: wasmparser::ImportSectionReader<'_>,
    ) -> Result<(), reencode::Error<Self::Error>> {
        // Indices begin with the imported functions.
        self.next = section.clone().into_imports().count() as u32;
        reencode::utils::parse_import_section(self, imports, section)
    }

    fn parse_export(
        &mut self,
        exports: &mut wasm_encoder::ExportSection,
        export: wasmparser::Export<'_>,
    ) -> Result<(), reencode::Error<Self::Error>> {
        if export.name == "describe" {
            self.function = export.index;
        }
        reencode::utils::parse_export(self, exports, export)
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: wasmparser::FunctionBody<'_>,
    ) -> Result<(), reencode::Error<Self::Error>> {
        self.next += 1;
        if self.next - 1 != self.function {
            return reencode::utils::parse_function_body(self, code, body);
        }
        // Name at 32 and five bytes long, 20 ticks, 1 to 8 players, 100 inputs and 20 views a second; the rest 0.
        let record = [32, 5, 20, 1, 8, 100, 20, 0, i32::from_le_bytes(*b"smit"), i32::from(b'h')];
        let mut describe = Function::new([]);
        for (at, word) in (0_u64..).step_by(4).zip(record) {
            let place = MemArg { offset: at, align: 2, memory_index: 0 };
            describe.instructions().i32_const(0).i32_const(word).i32_store(place);
        }
        describe.instruction(&Instruction::I32Const(0)).instruction(&Instruction::End);
        code.function(&describe);
        Ok(())
    }
}

fn described(module: &[u8]) -> Option<Vec<u8>> {
    let mut changed = wasm_encoder::Module::new();
    Describe { function: u32::MAX, next: 0 }
        .parse_core_module(&mut changed, wasmparser::Parser::new(0), module)
        .ok()?;
    Some(changed.finish())
}

#[test]
fn games_that_make_no_sense() {
    let mut tally = Tally::default();
    for seed in 0..400 {
        let Some(module) = generate(seed, false) else { continue };
        if let Some(game) = described(&module) {
            tally.try_out(&format!("seed {seed}, described"), &game);
        }
        // Nearly all describe themselves by nonsense.
        tally.try_out(&format!("seed {seed}"), &module);
    }
    println!("{tally:?}");
    assert!(tally.accepted > 50 && tally.refused > 100 && tally.skipped > 100, "{tally:?}");
}

#[test]
fn games_of_every_proposal() {
    let mut tally = Tally::default();
    for seed in 0..300 {
        if let Some(module) = generate(seed, true) {
            tally.try_out(&format!("seed {seed}, any feature"), &module);
        }
    }
    println!("{tally:?}");
    assert!(tally.refused > 100, "{tally:?}");
}

/// Thousands more, as far as the rewrite.
#[test]
fn generated_modules_are_checked_and_rewritten() {
    let mut tried = 0;
    for seed in 1_000..2_500 {
        let Some(module) = generate(seed, seed % 2 == 0) else { continue };
        fuzz_upload(&module);
        tried += 1;
    }
    assert!(tried > 1_200, "{tried}");
}
