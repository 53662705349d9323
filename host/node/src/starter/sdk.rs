//! The SDK's sources as part of this program, and its manifest as it must be outside this workspace.

use toml::{Table, Value};

macro_rules! sources {
    ($($path:literal)*) => {
        &[$(($path, include_str!(concat!("../../../../guest-sdk/", $path)))),*]
    };
}

/// The SDK's files but its manifest, by their paths in `guest-sdk`.
pub const FILES: &[(&str, &str)] = sources![
    "README.md"
    "rust/src/codec.rs"
    "rust/src/codec/reader.rs"
    "rust/src/codec/reader/tests.rs"
    "rust/src/context.rs"
    "rust/src/description.rs"
    "rust/src/export.rs"
    "rust/src/game.rs"
    "rust/src/harness.rs"
    "rust/src/harness/host.rs"
    "rust/src/harness/play.rs"
    "rust/src/imports.rs"
    "rust/src/lib.rs"
    "rust/src/math.rs"
    "rust/src/raw.rs"
    "rust/src/runner.rs"
    "rust/src/types.rs"
    "wit/game.wit"
];

const MANIFEST: &str = include_str!("../../../../guest-sdk/rust/Cargo.toml");
const WORKSPACE: &str = include_str!("../../../../Cargo.toml");

/// The SDK's manifest with everything that it inherits from its workspace written out, and without what only its own
/// tests need.
///
/// # Errors
/// If one of the two manifests is no TOML, which a test rules out.
pub fn manifest() -> Result<String, toml::de::Error> {
    let workspace: Table = WORKSPACE.parse()?;
    let workspace = workspace.get("workspace").and_then(Value::as_table).cloned().unwrap_or_default();
    let inherited = |section: &str| workspace.get(section).and_then(Value::as_table).cloned().unwrap_or_default();
    let (package, dependencies) = (inherited("package"), inherited("dependencies"));
    let mut manifest: Table = MANIFEST.parse()?;
    manifest.remove("lints");
    manifest.remove("dev-dependencies");
    if let Some(Value::Table(own)) = manifest.get_mut("package") {
        inherit(own, &package);
    }
    if let Some(Value::Table(own)) = manifest.get_mut("dependencies") {
        inherit(own, &dependencies);
    }
    for (_, target) in manifest.get_mut("target").and_then(Value::as_table_mut).into_iter().flatten() {
        if let Some(Value::Table(own)) = target.get_mut("dependencies") {
            inherit(own, &dependencies);
        }
    }
    Ok(format!("# A copy of Ringside's SDK {}, made by `ringside new`.\n\n{manifest}", env!("CARGO_PKG_VERSION")))
}

/// Puts what the workspace says in the place of `workspace = true`.
fn inherit(own: &mut Table, workspace: &Table) {
    for (name, value) in own.iter_mut() {
        let inherits = value.get("workspace").and_then(Value::as_bool) == Some(true);
        if let Some(inherited) = workspace.get(name).filter(|_| inherits) {
            *value = inherited.clone();
        }
    }
}
