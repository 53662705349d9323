//! The explicit list of accepted WebAssembly, and what to tell authors about the rest. Owns nothing else: operators
//! and items that are refused although their feature is on are in `body` and `items`.

use wasmparser::WasmFeatures;

use crate::upload_error::{Place, UploadError};

/// What an upload may use. Everything else is off, whatever the parser's or the engine's defaults become.
pub const ACCEPTED: WasmFeatures = WasmFeatures::FLOATS
    .union(WasmFeatures::MUTABLE_GLOBAL)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::REFERENCE_TYPES);

/// What the engine must accept: the list, and the one feature that the rewrite itself uses.
pub const REWRITTEN: WasmFeatures = ACCEPTED.union(WasmFeatures::MULTI_MEMORY);

/// Name and advice for each refused feature that a compiler's flag or an author's habit may bring in.
const REFUSED: &[(WasmFeatures, &str, &str)] = &[
    (WasmFeatures::RELAXED_SIMD, "relaxed SIMD", "its results differ between machines; build without `+relaxed-simd`"),
    (WasmFeatures::SHARED_EVERYTHING_THREADS, "shared-everything threads", "build without threads"),
    (WasmFeatures::THREADS, "shared memory or atomics", "build without `+atomics` and without threads"),
    (WasmFeatures::MULTI_MEMORY, "a second memory", "keep everything in one memory"),
    (WasmFeatures::MEMORY64, "64-bit memory", "build for wasm32"),
    (WasmFeatures::EXCEPTIONS, "exception handling", "build with panic = \"abort\", or without -fwasm-exceptions"),
    (
        WasmFeatures::LEGACY_EXCEPTIONS,
        "exception handling",
        "build with panic = \"abort\", or without -fwasm-exceptions",
    ),
    (
        WasmFeatures::GC_TYPES,
        "externref or garbage-collected types",
        "the host has no such objects; use integers as handles",
    ),
    (WasmFeatures::GC, "garbage collection", "choose a compiler that manages its own linear memory"),
    (WasmFeatures::FUNCTION_REFERENCES, "typed function references", "build without them; call through the table"),
    (WasmFeatures::CUSTOM_PAGE_SIZES, "a custom page size", "use pages of 64 KiB"),
    (WasmFeatures::MEMORY_CONTROL, "memory control", "build without it"),
    (WasmFeatures::STACK_SWITCHING, "stack switching", "build without it"),
    (WasmFeatures::WIDE_ARITHMETIC, "wide arithmetic", "build without `+wide-arithmetic`"),
    (WasmFeatures::COMPACT_IMPORTS, "compact imports", "build without them"),
    (WasmFeatures::CUSTOM_DESCRIPTORS, "custom descriptors", "build without them"),
];

/// What the validator's error means for the author: a refused feature, or plain damage.
pub(super) fn explain(error: &wasmparser::Error, function: Option<u32>) -> UploadError {
    let place = match function {
        Some(index) => Place::in_function(index, error.offset()),
        None => Place::at(error.offset()),
    };
    let refused = error.missing_wasm_feature().map(|missing| {
        let known = REFUSED.iter().find(|(feature, _, _)| missing.intersects(*feature));
        known.map_or(("a WebAssembly proposal that is not accepted", "build without it"), |(_, name, advice)| {
            (*name, *advice)
        })
    });
    match refused {
        Some((feature, advice)) => UploadError::Feature { feature, place, advice },
        None => UploadError::Invalid { message: error.message().to_string(), place },
    }
}
