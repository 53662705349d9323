//! A module that speaks the whole contract and does nothing: what tests bend.

use ringside_sandbox::validate::contract::{EXPORTS, HOST, IMPORTS, Signature};

fn header(signature: &Signature) -> String {
    let list = |word: &str, types: &[_]| -> String {
        let types: &[wasmparser::ValType] = types;
        types.iter().map(|ty| format!("({word} {ty})")).collect()
    };
    format!("{} {}", list("param", signature.params), list("result", signature.results))
}

/// The text of a module that imports every host function and exports every function of the world but those in
/// `without`, followed by `rest`.
pub fn world_without(without: &[&str], rest: &str) -> String {
    let imports = IMPORTS
        .iter()
        .map(|(name, signature)| format!("(import \"{HOST}\" \"{name}\" (func $host-{name} {}))\n", header(signature)));
    let exports = EXPORTS.iter().filter(|(name, _)| !without.contains(name)).map(|(name, signature)| {
        let body = if signature.results.is_empty() { "" } else { "i32.const 1024" };
        format!("(func ${name} (export \"{name}\") {} {body})\n", header(signature))
    });
    let memory = if without.contains(&"memory") { "" } else { "(memory (export \"memory\") 1)\n" };
    format!("(module\n{}{memory}{}{rest})", imports.collect::<String>(), exports.collect::<String>())
}

/// The same with everything, followed by `rest`.
pub fn world_with(rest: &str) -> String {
    world_without(&[], rest)
}
