//! The world `game` as core WebAssembly: names and canonical-ABI signatures of what a module imports and exports.
//! Says what is right; who looks at the module is `items`.
//!
//! The rules of the canonical ABI that occur here: a string or list is (address, length), an enum is an i32, and
//! results of more than one value are written to memory by the guest, which returns their address.

use std::fmt;

use wasmparser::{FuncType, ValType};

/// The module name of the host's functions: package, interface and version.
pub const HOST: &str = "ringside:game/host@0.1.0";
/// The same without the version.
pub(super) const HOST_UNVERSIONED: &str = "ringside:game/host";
/// What begins every name that the rewrite adds to a module's exports.
pub(super) const RESERVED_PREFIX: &str = "ringside:";

/// A core function type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// Parameters.
    pub params: &'static [ValType],
    /// Results.
    pub results: &'static [ValType],
}

impl Signature {
    /// Whether a module's type is this one.
    pub(super) fn is(&self, found: &FuncType) -> bool {
        found.params() == self.params && found.results() == self.results
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_type(f, self.params, self.results)
    }
}

/// A module's type, printed like a [`Signature`].
pub(super) fn describe_type(found: &FuncType) -> String {
    struct Found<'a>(&'a FuncType);
    impl fmt::Display for Found<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write_type(f, self.0.params(), self.0.results())
        }
    }
    Found(found).to_string()
}

fn write_type(f: &mut fmt::Formatter<'_>, params: &[ValType], results: &[ValType]) -> fmt::Result {
    let list = |types: &[ValType]| types.iter().map(ValType::to_string).collect::<Vec<_>>().join(", ");
    write!(f, "func({}) -> ({})", list(params), list(results))
}

const I: ValType = ValType::I32;
const L: ValType = ValType::I64;

const fn signature(params: &'static [ValType], results: &'static [ValType]) -> Signature {
    Signature { params, results }
}

/// The host's functions.
pub const IMPORTS: &[(&str, Signature)] = &[
    ("send", signature(&[I, I, I], &[])),
    ("broadcast", signature(&[I, I], &[])),
    ("send-datagram", signature(&[I, I, I], &[])),
    ("set-view", signature(&[I, I, I], &[])),
    ("set-view-all", signature(&[I, I], &[])),
    ("set-stats", signature(&[I, I], &[])),
    ("emit", signature(&[I, I], &[])),
    ("log", signature(&[I, I, I], &[])),
    ("now", signature(&[], &[L])),
    ("random", signature(&[], &[L])),
    ("set-timer", signature(&[L], &[L])),
    ("cancel-timer", signature(&[L], &[])),
    ("signal", signature(&[I, I, I, I], &[])),
    ("kick", signature(&[I, I, I], &[])),
    ("finish", signature(&[I, I], &[])),
];

/// The game's functions, and the allocator through which arguments reach it. All must be there.
pub const EXPORTS: &[(&str, Signature)] = &[
    ("describe", signature(&[], &[I])),
    ("start", signature(&[I, I], &[I])),
    ("join", signature(&[I, I, I], &[I])),
    ("leave", signature(&[I, I], &[])),
    ("message", signature(&[I, I, I], &[])),
    ("datagram", signature(&[I, I, I], &[])),
    ("tick", signature(&[L], &[])),
    ("timer", signature(&[L], &[])),
    ("signal", signature(&[I, I, I, I], &[])),
    ("query", signature(&[I, I], &[I])),
    ("save", signature(&[], &[I])),
    ("restore", signature(&[I, I], &[I])),
    (REALLOC, signature(&[I, I, I, I], &[I])),
];

/// What a game may say of its followers; without it they replay.
pub const DESCRIBE_FOLLOWERS: &str = "describe-followers";

/// What a game's function may be beside these. A module without one is as good as it was before there was one.
pub const OPTIONAL_EXPORTS: &[(&str, Signature)] = &[(DESCRIBE_FOLLOWERS, signature(&[], &[I]))];

/// The guest's allocator: (old address, old size, alignment, new size) → address.
pub const REALLOC: &str = "cabi_realloc";
/// Called once before anything else, if there.
pub const INITIALIZE: &str = "_initialize";
/// What begins the name of the function that frees an export's result.
pub(super) const POST_RETURN_PREFIX: &str = "cabi_post_";

/// The signature that an export of this name must have: the contract's own, or one that follows from it.
pub(super) fn exported(name: &str) -> Option<Signature> {
    let all = || EXPORTS.iter().chain(OPTIONAL_EXPORTS);
    let of = |name: &str| all().find(|(known, _)| *known == name).map(|(_, signature)| *signature);
    if name == INITIALIZE {
        return Some(signature(&[], &[]));
    }
    match name.strip_prefix(POST_RETURN_PREFIX) {
        Some(REALLOC) => None,
        Some(base) => of(base).map(|export| signature(export.results, &[])),
        None => of(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One function of the WIT file, flattened as the canonical ABI says.
    fn flatten(declaration: &str) -> (String, Vec<ValType>, Vec<ValType>) {
        let (name, function) = declaration.split_once(": func(").expect("a function");
        let (params, result) = function.trim_end_matches(';').split_once(')').expect("parameters");
        let flat = |ty: &str| match ty {
            "string" | "list<u8>" => vec![I, I],
            "u64" => vec![L],
            "u32" | "leave-reason" | "log-level" => vec![I],
            other => panic!("{other} is not flattened here"),
        };
        let params = params.split(", ").filter(|p| !p.is_empty());
        let params = params.flat_map(|p| flat(p.split_once(": ").expect("a type").1)).collect();
        let results = match result.trim().strip_prefix("-> ") {
            None => vec![],
            Some("u64") => vec![L],
            Some(ty) if ty.starts_with("result<") || ty == "description" || ty == "followers" => vec![I],
            Some(other) => panic!("{other} is not flattened here"),
        };
        (name.to_string(), params, results)
    }

    fn table(of: &[(&str, Signature)]) -> Vec<(String, Vec<ValType>, Vec<ValType>)> {
        of.iter().map(|(name, s)| (name.to_string(), s.params.to_vec(), s.results.to_vec())).collect()
    }

    #[test]
    fn tables_follow_the_wit_file() {
        let wit = include_str!("../../../../guest-sdk/wit/game.wit");
        let lines = || wit.lines().map(str::trim).filter(|line| !line.starts_with("///") && line.contains(": func("));
        let imports: Vec<_> = lines().filter(|line| !line.starts_with("export ")).map(flatten).collect();
        let exports: Vec<_> = lines().filter_map(|line| line.strip_prefix("export ")).map(flatten).collect();
        assert_eq!(imports, table(IMPORTS));
        let expected = [table(&EXPORTS[..EXPORTS.len() - 1]), table(OPTIONAL_EXPORTS)].concat();
        assert_eq!(exports, expected);
        let version = wit.lines().find_map(|line| line.strip_prefix("package ringside:game@")).expect("a package");
        assert_eq!(HOST, format!("{HOST_UNVERSIONED}@{}", version.trim_end_matches(';')));
    }

    #[test]
    fn post_returns_take_what_their_export_returns() {
        assert_eq!(exported("cabi_post_query"), Some(signature(&[I], &[])));
        assert_eq!(exported("cabi_post_leave"), Some(signature(&[], &[])));
        assert_eq!(exported("cabi_post_cabi_realloc"), None);
        assert_eq!(exported("anything"), None);
        assert_eq!(exported(DESCRIBE_FOLLOWERS), Some(signature(&[], &[I])));
    }
}
