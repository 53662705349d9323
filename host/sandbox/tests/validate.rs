//! What an upload is refused for, each with the words that its author needs.

#[path = "validate/world.rs"]
mod world;

use ringside_core::limits;
use ringside_sandbox::UploadError;
use ringside_sandbox::rewrite::rewrite;
use ringside_sandbox::validate::{GlobalType, Inspection, MutableGlobal, inspect};
use world::{world_with, world_without};

fn inspect_text(text: &str) -> Result<Inspection, UploadError> {
    inspect(&wat::parse_str(text).expect("text that assembles"))
}

/// The refusal's words.
fn refusal(text: &str) -> String {
    match inspect_text(text) {
        Ok(_) => panic!("accepted"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn assert_refused(text: &str, words: &[&str]) {
    let said = refusal(text);
    for word in words {
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }
}

#[test]
fn the_whole_world_is_accepted_and_described() {
    let inspection = inspect_text(&world_with(
        "(global $a (mut i32) (i32.const 0)) (global i64 (i64.const 1)) (global (mut v128) (v128.const i64x2 1 2))
         (func $run (drop (f32x4.add (v128.const i64x2 1 2) (v128.const i64x2 1 2)))) (start $run)
         (func (export \"_initialize\")) (func (export \"cabi_post_query\") (param i32)) (func (export \"cabi_post_x\"))",
    ))
    .expect("accepted");
    assert_eq!(inspection.imports.len(), 15);
    assert_eq!(inspection.imports[0], "send");
    assert_eq!(inspection.functions, 17);
    assert_eq!(inspection.memory_bytes, 64 << 10);
    assert_eq!(
        inspection.mutable_globals,
        [
            MutableGlobal { index: 0, value_type: GlobalType::I32 },
            MutableGlobal { index: 2, value_type: GlobalType::V128 }
        ]
    );
    assert_eq!(inspection.start, Some(15 + 13));
    assert!(inspection.has_initialize);
    assert!(inspection.uses_simd_floats);
    assert_eq!(inspection.post_returns, ["cabi_post_query"]);
}

#[test]
fn accepted_proposals_pass_and_can_be_rewritten() {
    let text = world_with(
        "(type $pair (func (param i32 f64) (result f64 i32)))
         (table 3 funcref) (elem (i32.const 0) $swap)
         (data $d \"abc\")
         (func $swap (type $pair) local.get 1 local.get 0)
         (func (param f32) (result i32) (i32.trunc_sat_f32_s (local.get 0)))
         (func (param i32) (result i32) (i32.extend8_s (local.get 0)))
         (func (memory.copy (i32.const 0) (i32.const 8) (i32.const 8)) (memory.init $d (i32.const 0) (i32.const 0) (i32.const 3)) data.drop $d)
         (func (param i32) (result i32) (i32x4.extract_lane 1 (i32x4.splat (local.get 0))))
         (global i32 (i32.add (i32.const 1) (i32.const 2)))
         (func (param i32 f64) (result f64 i32) (return_call $swap (local.get 0) (local.get 1)))
         (func (result i32) (ref.is_null (table.get (i32.const 0))))",
    );
    let bytes = wat::parse_str(text).expect("text");
    let inspection = inspect(&bytes).expect("accepted");
    rewrite(&bytes, &inspection).expect("rewritten");
}

#[test]
fn size_and_kind() {
    let huge = vec![0; limits::MODULE_BYTES + 1];
    assert_eq!(inspect(&huge), Err(UploadError::TooLarge { bytes: huge.len(), limit: limits::MODULE_BYTES }));
    assert_eq!(inspect(&vec![0; 100 << 20]).map_err(|e| e.to_string().contains("104857600 bytes")), Err(true));
    assert_eq!(inspect(b""), Err(UploadError::NotWasm));
    assert_eq!(inspect(b"#!/bin/sh\n"), Err(UploadError::NotWasm));
    assert_refused("(component)", &["component", "wasm32-unknown-unknown", "component new"]);
    assert!(matches!(inspect(b"\0asm\x02\0\0\0"), Err(UploadError::Invalid { .. })));
}

#[test]
fn imports() {
    let import = |import: &str| format!("(module (import {import}) (memory (export \"memory\") 1))");
    assert_refused(
        &import("\"wasi_snapshot_preview1\" \"fd_write\" (func (param i32 i32 i32 i32) (result i32))"),
        &["fd_write", "wasi_snapshot_preview1", "wasm32-unknown-unknown"],
    );
    assert_refused(
        &import("\"wasi:cli/stdout@0.2.0\" \"get-stdout\" (func (result i32))"),
        &["wasi:cli", "get-stdout"],
    );
    assert_refused(
        &import("\"ringside:game/host@0.2.0\" \"now\" (func (result i64))"),
        &["ringside:game/host@0.2.0", "ringside:game/host@0.1.0", "SDK"],
    );
    assert_refused(&import("\"ringside:game/host@0.1.0\" \"later\" (func)"), &["`later`", "game.wit"]);
    assert_refused(&import("\"env\" \"malloc\" (func (param i32) (result i32))"), &["`malloc`", "undefined"]);
    assert_refused(&import("\"__wbindgen_placeholder__\" \"x\" (func)"), &["wasm-bindgen"]);
    assert_refused(&import("\"elsewhere\" \"g\" (global i32)"), &["global `g` of `elsewhere`"]);
    assert_refused("(module (import \"env\" \"memory\" (memory 1)))", &["imports its memory", "--import-memory"]);
    assert_refused(
        "(module (import \"ringside:game/host@0.1.0\" \"now\" (func (result i32))) (memory (export \"memory\") 1))",
        &["import `now`", "func() -> (i32)", "func() -> (i64)"],
    );
    assert_refused(&import("\"\\1b[31m\" \"x\" (func)"), &["\\u{1b}[31m"]);
}

#[test]
fn exports() {
    for (name, signature) in ringside_sandbox::validate::contract::EXPORTS {
        assert_refused(&world_without(&[name], ""), &[&format!("`{name}`"), &signature.to_string()]);
    }
    assert_refused(
        &world_without(&["tick"], "(func (export \"tick\") (param i32))"),
        &["export `tick`", "func(i32) -> ()", "func(i64) -> ()"],
    );
    assert_refused(
        &world_without(&["tick"], "(global (export \"tick\") i32 (i32.const 0))"),
        &["export `tick`", "not a function"],
    );
    assert_refused(&world_with("(func (export \"cabi_post_save\"))"), &["cabi_post_save", "func(i32) -> ()"]);
    assert_refused(&world_with("(func (export \"_initialize\") (param i32))"), &["_initialize"]);
    assert_refused(&world_with("(func (export \"ringside:memory\"))"), &["ringside:memory", "rename"]);
    assert_refused(&world_without(&["memory"], "(memory 1)"), &["does not export its memory"]);
    assert_refused(
        &world_without(&["memory"], "(memory 1) (global (export \"memory\") i32 (i32.const 0))"),
        &["memory"],
    );
    assert_refused(&world_without(&["memory"], ""), &["has no memory"]);
}

#[test]
fn proposals_outside_the_list() {
    let cases: &[(&str, &[&str])] = &[
        ("(memory 1)", &["second memory"]),
        (
            "(func $f (drop (i8x16.relaxed_swizzle (v128.const i64x2 0 0) (v128.const i64x2 0 0))))",
            &["relaxed SIMD", "`f`"],
        ),
        ("(func $f (drop (i32.atomic.load (i32.const 0))))", &["atomics", "`f`"]),
        ("(tag) (func $f (throw 0))", &["exception handling", "panic"]),
        ("(func $f (param externref))", &["externref"]),
        ("(type (struct))", &["garbage"]),
        ("(func $f (param (ref func)))", &["function references"]),
        (
            "(func $f (drop (i64.add128 (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0))) drop)",
            &["wide arithmetic", "`f`"],
        ),
        ("(global (mut funcref) (ref.null func))", &["mutable global", "checkpoint"]),
        ("(table 1 funcref) (func $f (table.set (i32.const 0) (ref.null func)))", &["table.set", "`f`", "offset 0x"]),
        ("(table 1 funcref) (func $f (drop (table.grow (ref.null func) (i32.const 1))))", &["table.grow", "`f`"]),
        ("(table 1 funcref) (func $f (table.fill (i32.const 0) (ref.null func) (i32.const 1)))", &["table.fill"]),
        ("(table 1 funcref) (func $f (table.copy (i32.const 0) (i32.const 0) (i32.const 1)))", &["table.copy"]),
        (
            "(table 1 funcref) (elem $e func) (func $f (table.init $e (i32.const 0) (i32.const 0) (i32.const 1)))",
            &["table.init"],
        ),
    ];
    for (rest, words) in cases {
        assert_refused(&world_with(rest), words);
    }
    assert_refused(&world_without(&["memory"], "(memory (export \"memory\") i64 1)"), &["64-bit memory", "wasm32"]);
    assert_refused(&world_without(&["memory"], "(memory (export \"memory\") 1 1 shared)"), &["shared memory"]);
    assert_refused(&world_without(&["memory"], "(memory (export \"memory\") 1 (pagesize 1))"), &["page size"]);
}

#[test]
fn invalid_bodies_name_their_function() {
    let error = inspect_text(&world_with("(func $wrong (result i32) i64.const 1)")).expect_err("invalid");
    assert!(matches!(error, UploadError::Invalid { .. }), "{error}");
    assert!(error.to_string().contains("function 28 `wrong`"), "{error}");
}

#[test]
fn limits_are_reached() {
    let repeat = |what: &str, times: u64| what.repeat(usize::try_from(times).expect("fits"));
    let refused_at = |text: String, what: &str, limit: u64| match inspect_text(&text) {
        Err(UploadError::Limit { what: found_what, limit: found_limit, .. }) => {
            assert_eq!((found_what, found_limit), (what, limit));
        }
        other => panic!("{what}: {other:?}"),
    };
    let pages = (limits::GUEST_MEMORY_BYTES >> 16) as u64;
    let memory = |pages: u64| world_without(&["memory"], &format!("(memory (export \"memory\") {pages})"));
    assert!(inspect_text(&memory(pages)).is_ok());
    refused_at(memory(pages + 1), "bytes of initial memory", limits::GUEST_MEMORY_BYTES as u64);

    let elements = u64::from(limits::TABLE_ELEMENTS);
    assert!(inspect_text(&world_with(&format!("(table {elements} funcref)"))).is_ok());
    refused_at(world_with(&format!("(table {} funcref)", elements + 1)), "entries in a table", elements);
    refused_at(world_with("(table 1 funcref) (table 1 funcref)"), "tables", 1);

    let globals = |count: u64| world_with(&repeat("(global i32 (i32.const 0))", count));
    assert!(inspect_text(&globals(u64::from(limits::MODULE_GLOBALS))).is_ok());
    refused_at(globals(u64::from(limits::MODULE_GLOBALS) + 1), "globals", u64::from(limits::MODULE_GLOBALS));

    let functions = u64::from(limits::MODULE_FUNCTIONS);
    refused_at(world_with(&repeat("(func)", functions)), "functions", functions);
    let segments = u64::from(limits::MODULE_SEGMENTS);
    refused_at(world_with(&repeat("(data \"\")", segments + 1)), "data segments", segments);
    refused_at(world_with(&repeat("(elem func)", segments + 1)), "element segments", segments);
    let exports = u64::from(limits::MODULE_EXPORTS);
    let many: String = (0..exports).map(|index| format!("(export \"e{index}\" (func 0))")).collect();
    refused_at(world_with(&many), "exports", exports);
    let types: String = (0..=limits::MODULE_TYPES)
        .map(|index| format!("(type (func (param {})))", repeat("i32 ", u64::from(index % 100))))
        .collect();
    refused_at(world_with(&types), "types", u64::from(limits::MODULE_TYPES));

    let params = limits::FUNCTION_PARAMETERS as u64;
    refused_at(world_with(&format!("(func (param {}))", repeat("i32 ", params + 1))), "parameters in one type", params);
    let results = limits::FUNCTION_RESULTS as u64;
    let body = format!("(func (result {}) unreachable)", repeat("i32 ", results + 1));
    refused_at(world_with(&body), "results in one type", results);
    let block = format!("(func unreachable (block (param {}) unreachable))", repeat("i32 ", results + 1));
    refused_at(world_with(&block), "values into or out of a block", results);

    let locals = u64::from(limits::FUNCTION_LOCALS);
    let with_locals = |count: u64, body: &str| world_with(&format!("(func (local {}) {body})", repeat("i32 ", count)));
    assert!(inspect_text(&with_locals(locals, "")).is_ok());
    refused_at(with_locals(locals + 1, ""), "locals in one function", locals);
    refused_at(with_locals(locals, &repeat("block end ", 5_001)), "locals times blocks", limits::FUNCTION_JOINS);

    let nesting = u64::from(limits::FUNCTION_NESTING);
    let nest = |depth: u64| world_with(&format!("(func {} {})", repeat("block ", depth), repeat("end ", depth)));
    assert!(inspect_text(&nest(nesting - 1)).is_ok());
    refused_at(nest(nesting), "blocks inside one another", nesting);
    let loops = u64::from(limits::FUNCTION_LOOPS);
    refused_at(world_with(&format!("(func {})", repeat("loop end ", loops + 1))), "loops in one function", loops);

    let bytes = limits::FUNCTION_BYTES as u64;
    let long = |nops: u64| format!("(func {})", repeat("nop ", nops));
    assert!(inspect_text(&world_with(&long(bytes - 16))).is_ok());
    refused_at(world_with(&long(bytes + 1)), "bytes in one function", bytes);
    let code = limits::MODULE_CODE_BYTES as u64;
    refused_at(world_with(&repeat(&long(bytes - 16), code / bytes + 1)), "bytes of code", code);
}

#[test]
fn too_many_joins_in_a_module() {
    let one = format!("(func (local {}) {})", "i32 ".repeat(9_000), "block end ".repeat(5_000));
    let count = usize::try_from(limits::MODULE_JOINS / 45_000_000).expect("fits");
    assert!(inspect_text(&world_with(&one.repeat(count))).is_ok());
    match inspect_text(&world_with(&one.repeat(count + 1))) {
        Err(UploadError::Limit { what, limit, .. }) => {
            assert_eq!((what, limit), ("locals times blocks", limits::MODULE_JOINS))
        }
        other => panic!("{other:?}"),
    }
}
