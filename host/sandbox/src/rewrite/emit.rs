//! Writes the rewritten module: sections are copied as they are, but for memories, exports, the start section and
//! the code. Decides nothing: `nan` and `poke` say what goes where.

use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{CodeSection, ExportKind, ExportSection, Function, Instruction, MemorySection, Module, RawSection};
use wasm_encoder::{SectionId, ValType};
use wasmparser::{FunctionBody, Operator, Parser, Payload};

use super::floats::{CANONICAL_F32, CANONICAL_F64, Shape};
use super::nan::Plan;
use super::poke::{self, Sites};
use super::{Fault, GUEST_MEMORY, INTERRUPT_MEMORY, START, global_name};
use crate::validate::{Inspection, features};

/// Writes the module. `plans` has one item for each defined function.
pub(super) fn emit(bytes: &[u8], inspection: &Inspection, plans: &[Plan]) -> Result<Vec<u8>, Fault> {
    let mut parser = Parser::new(0);
    parser.set_features(features::ACCEPTED);
    let mut writer = Writer { bytes, inspection, module: Module::new(), exported: false };
    let mut plans = plans.iter();
    let mut code = CodeSection::new();
    let mut bodies_left = 0;
    for payload in parser.parse_all(bytes) {
        match payload? {
            Payload::CodeSectionStart { count, .. } => bodies_left = count,
            Payload::CodeSectionEntry(body) => {
                let plan = plans.next().ok_or_else(|| Fault("more bodies than plans".to_string()))?;
                code.function(&rewrite_body(bytes, &body, plan, inspection)?);
                bodies_left -= 1;
                if bodies_left == 0 {
                    writer.ensure_exports();
                    writer.module.section(&code);
                }
            }
            other => writer.section(&other)?,
        }
    }
    writer.ensure_exports();
    Ok(writer.module.finish())
}

struct Writer<'a> {
    bytes: &'a [u8],
    inspection: &'a Inspection,
    module: Module,
    exported: bool,
}

impl Writer<'_> {
    fn section(&mut self, payload: &Payload<'_>) -> Result<(), Fault> {
        match payload {
            Payload::MemorySection(section) => {
                let mut memories = MemorySection::new();
                for memory in section.clone() {
                    memories.memory(RoundtripReencoder.memory_type(memory?)?);
                }
                memories.memory(poke::memory_type());
                self.module.section(&memories);
            }
            Payload::ExportSection(section) => {
                let mut exports = ExportSection::new();
                RoundtripReencoder.parse_export_section(&mut exports, section.clone())?;
                self.add_exports(exports);
            }
            Payload::StartSection { .. } => self.ensure_exports(),
            Payload::CustomSection(section) if section.name() != "name" => {}
            other => {
                if let Some((id, range)) = other.as_section() {
                    if id >= SectionId::Element as u8 {
                        self.ensure_exports();
                    }
                    let data = self.bytes.get(range).ok_or_else(|| Fault("a section beyond the end".to_string()))?;
                    self.module.section(&RawSection { id, data });
                }
            }
        }
        Ok(())
    }

    /// Called before whatever must come after the exports: a module may have had no such section.
    fn ensure_exports(&mut self) {
        if !self.exported {
            self.add_exports(ExportSection::new());
        }
    }

    fn add_exports(&mut self, mut exports: ExportSection) {
        exports.export(GUEST_MEMORY, ExportKind::Memory, 0);
        exports.export(INTERRUPT_MEMORY, ExportKind::Memory, poke::MEMORY);
        for global in &self.inspection.mutable_globals {
            exports.export(&global_name(global.index), ExportKind::Global, global.index);
        }
        if let Some(start) = self.inspection.start {
            exports.export(START, ExportKind::Func, start);
        }
        self.module.section(&exports);
        self.exported = true;
    }
}

fn rewrite_body(
    bytes: &[u8],
    body: &FunctionBody<'_>,
    plan: &Plan,
    inspection: &Inspection,
) -> Result<Function, Fault> {
    let imported_functions = u32::try_from(inspection.imports.len()).unwrap_or(u32::MAX);
    let (locals, scratch) = locals(body, plan)?;
    let mut function = Function::new(locals);
    let mut sites = Sites::default();
    sites.poke_head(&mut function);
    let mut canonicalized = plan.canonicalized().iter().peekable();
    let mut operators = body.get_operators_reader()?;
    for index in 0_u32.. {
        if operators.eof() {
            break;
        }
        let (operator, from) = operators.read_with_offset()?;
        let to = operators.original_position();
        if poke::is_long(&operator, imported_functions) {
            poke::poke_shared(&mut function);
        }
        match operator {
            Operator::DataDrop { .. } | Operator::ElemDrop { .. } => {}
            _ => {
                let raw = bytes.get(from..to).ok_or_else(|| Fault("an operator beyond the end".to_string()))?;
                function.raw(raw.iter().copied());
            }
        }
        if matches!(operator, Operator::Loop { .. }) {
            sites.poke_head(&mut function);
        }
        if let Some((_, shape)) = canonicalized.next_if(|(at, _)| *at == index) {
            scratch.canonicalize(&mut function, *shape);
        }
    }
    Ok(function)
}

/// Indices of the locals through which values pass to be made canonical.
struct Scratch {
    f32: u32,
    f64: u32,
    v128: u32,
}

/// The body's own locals and, after them, those that the plan needs.
fn locals(body: &FunctionBody<'_>, plan: &Plan) -> Result<(Vec<(u32, ValType)>, Scratch), Fault> {
    let mut locals = Vec::new();
    let mut next = plan.parameters();
    for group in body.get_locals_reader()? {
        let (count, ty) = group?;
        locals.push((count, RoundtripReencoder.val_type(ty)?));
        next += count;
    }
    let mut add = |ty, needed: &[Shape]| {
        let index = next;
        if plan.canonicalized().iter().any(|(_, shape)| needed.contains(shape)) {
            locals.push((1, ty));
            next += 1;
        }
        index
    };
    let scratch = Scratch {
        f32: add(ValType::F32, &[Shape::F32]),
        f64: add(ValType::F64, &[Shape::F64]),
        v128: add(ValType::V128, &[Shape::F32x4, Shape::F64x2]),
    };
    Ok((locals, scratch))
}

impl Scratch {
    /// Replaces the value on top of the stack by the canonical NaN if it is a NaN, lane by lane. A comparison and a
    /// branch that is never taken, for scalars; the value does not wait for it.
    fn canonicalize(&self, function: &mut Function, shape: Shape) {
        use Instruction as I;
        let f32x4 = || [CANONICAL_F32.to_le_bytes(); 4].concat();
        let f64x2 = || [CANONICAL_F64.to_le_bytes(); 2].concat();
        let vector = |lanes: Vec<u8>| I::V128Const(lanes.iter().rev().fold(0, |v, b| v << 8 | i128::from(*b)));
        let (local, canonical, same, choose) = match shape {
            Shape::F32 => (self.f32, I::F32Const(f32::from_bits(CANONICAL_F32).into()), I::F32Eq, I::Select),
            Shape::F64 => (self.f64, I::F64Const(f64::from_bits(CANONICAL_F64).into()), I::F64Eq, I::Select),
            Shape::F32x4 => (self.v128, vector(f32x4()), I::F32x4Eq, I::V128Bitselect),
            Shape::F64x2 => (self.v128, vector(f64x2()), I::F64x2Eq, I::V128Bitselect),
        };
        let sequence = [I::LocalTee(local), canonical, I::LocalGet(local), I::LocalGet(local), same, choose];
        for instruction in &sequence {
            function.instruction(instruction);
        }
    }
}
