//! Everything of a module outside its function bodies: imports, memory, tables, globals, exports, counts. Counts are
//! checked before the validator walks the section; types once it has.

use ringside_core::limits;
use wasmparser::types::{EntityType, TypesRef};
use wasmparser::{Encoding, Import, ImportSectionReader, Payload, TypeRef, TypeSectionReader};

use super::body::at_most;
use super::contract::{self, Signature};
use super::features;
use super::names::printable;
use super::{GlobalType, Inspection, MutableGlobal};
use crate::upload_error::{Place, UploadError};

/// What was seen so far.
#[derive(Default)]
pub(super) struct Items {
    imports: Vec<String>,
    functions: u32,
    start: Option<u32>,
}

impl Items {
    /// Looks at the next payload, before the validator does.
    pub(super) fn look(&mut self, payload: &Payload<'_>) -> Result<(), UploadError> {
        match payload {
            Payload::Version { encoding: Encoding::Component, .. } => return Err(UploadError::Component),
            Payload::TypeSection(section) => types(section)?,
            Payload::ImportSection(section) => self.imports(section)?,
            Payload::FunctionSection(section) => {
                self.functions = section.count();
                counted("functions", section.count(), limits::MODULE_FUNCTIONS, section.range().start)?;
            }
            Payload::MemorySection(section) if section.count() > 1 => {
                let advice = "keep everything in one memory";
                return Err(UploadError::Memory { found: "has a second memory", advice });
            }
            Payload::TableSection(section) => {
                counted("tables", section.count(), limits::MODULE_TABLES, section.range().start)?;
            }
            Payload::GlobalSection(section) => {
                counted("globals", section.count(), limits::MODULE_GLOBALS, section.range().start)?;
            }
            Payload::ExportSection(section) => {
                counted("exports", section.count(), limits::MODULE_EXPORTS, section.range().start)?;
            }
            Payload::ElementSection(section) => {
                counted("element segments", section.count(), limits::MODULE_SEGMENTS, section.range().start)?;
            }
            Payload::DataSection(section) => {
                counted("data segments", section.count(), limits::MODULE_SEGMENTS, section.range().start)?;
            }
            Payload::StartSection { func, .. } => self.start = Some(*func),
            _ => {}
        }
        Ok(())
    }

    fn imports(&mut self, section: &ImportSectionReader<'_>) -> Result<(), UploadError> {
        let most = u32::try_from(contract::IMPORTS.len()).unwrap_or(u32::MAX);
        for import in section.clone().into_imports() {
            let import = import.map_err(|error| features::explain(&error, None))?;
            self.imports.push(import_name(&import)?);
        }
        let found = u32::try_from(self.imports.len()).unwrap_or(u32::MAX);
        // The same function may be imported twice; a module that does so often has no good reason.
        counted("imports", found, 2 * most, section.range().start)
    }

    /// Checks what needs types, now that all are known, and sums up.
    pub(super) fn finish(
        self,
        types: TypesRef<'_>,
        world: bool,
        uses_simd_floats: bool,
    ) -> Result<Inspection, UploadError> {
        imported_signatures(&self.imports, types)?;
        let memory_bytes = memory(types)?;
        tables(types)?;
        let mutable_globals = mutable_globals(types)?;
        let mut post_returns = Vec::new();
        let mut has_initialize = false;
        let mut exported = Exported::default();
        for (name, entity) in types.core_exports().into_iter().flatten() {
            exported.check(name, entity, types, world)?;
            has_initialize |= name == contract::INITIALIZE;
            if name.starts_with(contract::POST_RETURN_PREFIX) && contract::exported(name).is_some() {
                post_returns.push(name.to_string());
            }
        }
        if world {
            exported.complete()?;
        }
        Ok(Inspection {
            imports: self.imports,
            functions: self.functions,
            memory_bytes,
            mutable_globals,
            start: self.start,
            has_initialize,
            post_returns,
            uses_simd_floats,
        })
    }
}

fn counted(what: &'static str, found: u32, limit: u32, offset: usize) -> Result<(), UploadError> {
    let advice = "build it optimized, and split what remains";
    at_most(what, u64::from(found), u64::from(limit), Some(Place::at(offset)), advice)
}

fn types(section: &TypeSectionReader<'_>) -> Result<(), UploadError> {
    counted("types", section.count(), limits::MODULE_TYPES, section.range().start)?;
    for group in section.clone() {
        let group = group.map_err(|error| features::explain(&error, None))?;
        for (offset, ty) in group.into_types_and_offsets() {
            let wasmparser::CompositeInnerType::Func(function) = &ty.composite_type.inner else { continue };
            let (params, results) = (function.params().len() as u64, function.results().len() as u64);
            let advice = "pass a structure in memory";
            let place = Some(Place::at(offset));
            at_most("parameters in one type", params, limits::FUNCTION_PARAMETERS as u64, place.clone(), advice)?;
            at_most("results in one type", results, limits::FUNCTION_RESULTS as u64, place, advice)?;
        }
    }
    Ok(())
}

/// Accepts the name of one of the host's functions, and explains every other import.
fn import_name(import: &Import<'_>) -> Result<String, UploadError> {
    let (module, name) = (printable(import.module), printable(import.name));
    let kind = match import.ty {
        TypeRef::Func(_) | TypeRef::FuncExact(_) => "function",
        TypeRef::Table(_) => "table",
        TypeRef::Memory(_) => "memory",
        TypeRef::Global(_) => "global",
        TypeRef::Tag(_) => "tag",
    };
    let unknown = |advice| UploadError::UnknownImport { kind, module: module.clone(), name: name.clone(), advice };
    if import.module == contract::HOST && kind == "function" {
        let known = contract::IMPORTS.iter().any(|(known, _)| *known == import.name);
        return if known { Ok(name) } else { Err(unknown("see game.wit for the functions that there are")) };
    }
    if import.module.split('@').next() == Some(contract::HOST_UNVERSIONED) && import.module != contract::HOST {
        return Err(UploadError::AbiVersion { found: module, expected: contract::HOST });
    }
    if import.module.starts_with("wasi") {
        return Err(UploadError::Wasi { module, name });
    }
    Err(match import.ty {
        TypeRef::Memory(_) => {
            UploadError::Memory { found: "imports its memory", advice: "link without --import-memory" }
        }
        _ if import.module.contains("wbindgen") => unknown(
            "there is no JavaScript here; build without wasm-bindgen (of crates like getrandom, without their \"js\" features)",
        ),
        _ if import.module == "env" => unknown(
            "a symbol was left undefined when it was linked; link the library that defines it, or drop what uses it",
        ),
        _ => unknown("only the functions of game.wit's interface `host` may be imported"),
    })
}

fn imported_signatures(imports: &[String], types: TypesRef<'_>) -> Result<(), UploadError> {
    for (index, name) in (0_u32..).zip(imports) {
        let Some((_, expected)) = contract::IMPORTS.iter().find(|(known, _)| known == name) else { continue };
        check_signature("import", name, *expected, function_type(types, index))?;
    }
    Ok(())
}

fn function_type<'a>(types: TypesRef<'a>, index: u32) -> Option<&'a wasmparser::FuncType> {
    let id = types.core_function_at(index);
    types.get(id).map(|ty| ty.unwrap_func())
}

fn check_signature(
    direction: &'static str,
    name: &str,
    expected: Signature,
    found: Option<&wasmparser::FuncType>,
) -> Result<(), UploadError> {
    if found.is_some_and(|found| expected.is(found)) {
        return Ok(());
    }
    Err(UploadError::Signature {
        direction,
        name: printable(name),
        found: found.map_or_else(|| "not a function".to_string(), contract::describe_type),
        expected: expected.to_string(),
    })
}

fn memory(types: TypesRef<'_>) -> Result<u64, UploadError> {
    if types.memory_count() == 0 {
        return Err(UploadError::Memory { found: "has no memory", advice: "define one" });
    }
    let bytes = types.memory_at(0).initial.saturating_mul(64 << 10);
    let advice = "start smaller (a smaller stack, less static data) and grow";
    at_most("bytes of initial memory", bytes, limits::GUEST_MEMORY_BYTES as u64, None, advice)?;
    Ok(bytes)
}

fn tables(types: TypesRef<'_>) -> Result<(), UploadError> {
    for index in 0..types.table_count() {
        let advice = "fewer functions whose address is taken";
        let entries = types.table_at(index).initial;
        at_most("entries in a table", entries, u64::from(limits::TABLE_ELEMENTS), None, advice)?;
    }
    Ok(())
}

fn mutable_globals(types: TypesRef<'_>) -> Result<Vec<MutableGlobal>, UploadError> {
    let all = (0..types.global_count()).map(|index| (index, types.global_at(index)));
    let mutable = all.filter(|(_, global)| global.mutable);
    mutable
        .map(|(index, global)| match GlobalType::of(global.content_type) {
            Some(value_type) => Ok(MutableGlobal { index, value_type }),
            None => Err(UploadError::Feature {
                feature: "a mutable global that holds a reference",
                place: Place::at(0),
                advice: "references cannot be part of a checkpoint; keep an index into the table instead",
            }),
        })
        .collect()
}

/// Which of the contract's exports were there.
#[derive(Default)]
struct Exported {
    seen: Vec<String>,
    memory: bool,
}

impl Exported {
    fn check(&mut self, name: &str, entity: EntityType, types: TypesRef<'_>, world: bool) -> Result<(), UploadError> {
        if name.starts_with(contract::RESERVED_PREFIX) {
            return Err(UploadError::ReservedExport { name: printable(name) });
        }
        if name == "memory" {
            self.memory = matches!(entity, EntityType::Memory(_));
        }
        let Some(expected) = contract::exported(name).filter(|_| world) else { return Ok(()) };
        let found = match entity {
            EntityType::Func(id) | EntityType::FuncExact(id) => types.get(id).map(|ty| ty.unwrap_func()),
            _ => None,
        };
        check_signature("export", name, expected, found)?;
        self.seen.push(name.to_string());
        Ok(())
    }

    fn complete(&self) -> Result<(), UploadError> {
        if !self.memory {
            return Err(UploadError::Memory {
                found: "does not export its memory",
                advice: "link with --export-memory",
            });
        }
        let missing = contract::EXPORTS.iter().find(|(name, _)| !self.seen.iter().any(|seen| seen == name));
        match missing {
            Some((name, signature)) => Err(UploadError::MissingExport { name, signature: signature.to_string() }),
            None => Ok(()),
        }
    }
}
