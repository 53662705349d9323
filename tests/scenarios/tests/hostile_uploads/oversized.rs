//! Uploads that are too much, each in another way: refused before they cost anything, with what is too much.

use ringside_core::limits;
use ringside_sandbox::UploadError;
use ringside_test_support::guests;

use crate::trial::refusal;

/// A custom section of so many zeros.
fn padding(bytes: u32) -> Vec<u8> {
    let name = b"\x07padding";
    let mut section = vec![0];
    let mut length = bytes + name.len() as u32;
    while length >= 0x80 {
        section.push(length as u8 | 0x80);
        length >>= 7;
    }
    section.push(length as u8);
    section.extend_from_slice(name);
    section.resize(section.len() + bytes as usize, 0);
    section
}

#[test]
fn a_module_of_a_hundred_megabytes_is_not_even_parsed() {
    let module = [guests::module("echo"), padding(100 << 20)].concat();
    let UploadError::TooLarge { bytes, limit } = refusal(&module) else { panic!("it is too large") };
    assert_eq!((bytes, limit), (module.len(), limits::MODULE_BYTES));
    // The size is judged before anything else: of the same size, this is no WebAssembly at all.
    assert!(matches!(refusal(&vec![b'x'; module.len()]), UploadError::TooLarge { .. }));
    assert!(refusal(&module).to_string().contains("optimized and stripped"));
}

/// Lengths and counts that the file does not have: refused at the place that claims them, and nothing is allocated.
#[test]
fn counts_that_lie() {
    let claims: [(&str, &[u8]); 7] = [
        ("types", &[1, 5, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        ("functions", &[3, 5, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        ("globals", &[6, 5, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        ("exports", &[7, 5, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        ("element segments", &[9, 5, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        ("data segments", &[11, 5, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        ("a section", &[1, 0xff, 0xff, 0xff, 0xff, 0x0f]),
    ];
    for (what, section) in claims {
        let words = refusal(&[b"\0asm\x01\0\0\0", section].concat()).to_string();
        assert!(words.contains("offset 0x"), "{what}: {words}");
        assert!(what == "a section" || words.contains(what), "{what}: {words}");
    }
}

fn game(items: &str) -> Vec<u8> {
    wat::parse_str(format!("(module {items})")).expect("text that assembles")
}

/// What would not fit the memory or the table that the module itself asks for.
#[test]
fn segments_that_do_not_fit() {
    let exports: String = ringside_sandbox::validate::contract::EXPORTS
        .iter()
        .map(|(name, ty)| {
            let params: String = ty.params.iter().map(|ty| format!("(param {ty})")).collect();
            let results: String = ty.results.iter().map(|ty| format!("(result {ty})")).collect();
            format!("(func (export \"{name}\") {params} {results} unreachable)")
        })
        .collect();
    let world = |rest: &str| game(&format!("{exports} (memory (export \"memory\") 1) {rest}"));
    for (rest, word) in [
        ("(data (i32.const 65535) \"two\")", "memory"),
        ("(data (i32.const -1) \"two\")", "memory"),
        ("(table 1 funcref) (elem (i32.const 1) 0)", "table"),
    ] {
        let words = refusal(&world(rest)).to_string();
        assert!(words.contains(word) && words.contains("out of bounds"), "{rest}: {words}");
    }
}
