//! Why an upload is refused. Every variant names the offending item and says what to do about it; none of them
//! changes anything: a refused module leaves no trace.

use std::fmt;

/// A place in the uploaded bytes, for the author to find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The function around it, if any: index, and name where the module tells it.
    pub function: Option<(u32, Option<String>)>,
    /// Offset in the uploaded file, bytes.
    pub offset: usize,
}

impl Place {
    /// A place outside any function.
    pub fn at(offset: usize) -> Place {
        Place { function: None, offset }
    }

    /// A place in a function whose name is not known (yet).
    pub fn in_function(index: u32, offset: usize) -> Place {
        Place { function: Some((index, None)), offset }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.function {
            Some((index, Some(name))) => write!(f, "function {index} `{name}`, ")?,
            Some((index, None)) => write!(f, "function {index}, ")?,
            None => {}
        }
        write!(f, "offset 0x{:x}", self.offset)
    }
}

/// Why an upload is refused. The caller corrects the module; only [`UploadError::Internal`] is the host's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UploadError {
    /// More bytes than the limit; nothing was parsed.
    #[error(
        "the module has {bytes} bytes, the limit is {limit}: build it optimized and stripped, load assets elsewhere"
    )]
    TooLarge {
        /// Size of the upload.
        bytes: usize,
        /// Most that is accepted.
        limit: usize,
    },
    /// Not WebAssembly at all.
    #[error(
        "this is not a WebAssembly module: it does not begin with `\\0asm`; upload the .wasm file that the build produced"
    )]
    NotWasm,
    /// A component, not a core module.
    #[error(
        "this is a component; upload the core module that it wraps: build with `--target wasm32-unknown-unknown` \
         and leave out `wasm-tools component new` (with cargo-component or wasm32-wasip2, use plain `cargo build` \
         for wasm32-unknown-unknown instead)"
    )]
    Component,
    /// Broken or invalid WebAssembly.
    #[error("invalid module at {place}: {message}; the file is damaged, or its compiler has a fault: build it again")]
    Invalid {
        /// What the validator found.
        message: String,
        /// Where.
        place: Place,
    },
    /// Valid WebAssembly of a kind that is not accepted.
    #[error("{feature} is not accepted, at {place}: {advice}")]
    Feature {
        /// What it is.
        feature: &'static str,
        /// Where.
        place: Place,
        /// What to do.
        advice: &'static str,
    },
    /// An import from WASI.
    #[error(
        "imports `{name}` of `{module}`, but a game has no WASI: build for wasm32-unknown-unknown, and use the SDK's \
         `now`, `random` and `log` instead of clocks, random numbers and standard output"
    )]
    Wasi {
        /// The WASI module.
        module: String,
        /// The function.
        name: String,
    },
    /// An import of another version of the contract.
    #[error("speaks `{found}`, this host speaks `{expected}`: build against the SDK of the host's release")]
    AbiVersion {
        /// What the module imports.
        found: String,
        /// What the host offers.
        expected: &'static str,
    },
    /// An import that nobody offers.
    #[error("imports {kind} `{name}` of `{module}`, which no host offers: {advice}")]
    UnknownImport {
        /// Function, memory, table, global or tag.
        kind: &'static str,
        /// The import's module.
        module: String,
        /// The import's name.
        name: String,
        /// What to do.
        advice: &'static str,
    },
    /// An export of the contract is missing.
    #[error(
        "does not export `{name}` {signature}: implement the whole world `ringside:game/game`, or use the SDK's export macro"
    )]
    MissingExport {
        /// The export.
        name: &'static str,
        /// What it must be.
        signature: String,
    },
    /// An import or export of the contract has another type.
    #[error(
        "{direction} `{name}` is {found}, but the contract says {expected}: generate the bindings from the host's game.wit"
    )]
    Signature {
        /// `import` or `export`.
        direction: &'static str,
        /// Its name.
        name: String,
        /// What the module says.
        found: String,
        /// What the contract says.
        expected: String,
    },
    /// An export with a name that the host uses itself.
    #[error("exports `{name}`: names that begin with `ringside:` belong to the host; rename it")]
    ReservedExport {
        /// The export.
        name: String,
    },
    /// The module's memory is not as the contract wants it.
    #[error("{found}; a game has exactly one memory of its own, 32-bit, exported as `memory`: {advice}")]
    Memory {
        /// What is wrong.
        found: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// More of something than the limit.
    #[error("has {found} {what}, the limit is {limit}{}: {advice}", place.as_ref().map(|p| format!(", at {p}")).unwrap_or_default())]
    Limit {
        /// Of what.
        what: &'static str,
        /// How much the module has.
        found: u64,
        /// How much is accepted.
        limit: u64,
        /// Where, if that is one place.
        place: Option<Place>,
        /// What to do.
        advice: &'static str,
    },
    /// The compiler refused a valid module.
    #[error("the module cannot be compiled: {0}; report this with the module")]
    Compile(String),
    /// The module trapped, or answered nonsense, when it was asked to describe itself.
    #[error("`describe` failed: {0}")]
    Describe(String),
    /// A fault of the host; the module may be fine.
    #[error("internal error while preparing the module: {0}; report this with the module")]
    Internal(String),
}
