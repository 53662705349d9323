//! Whether an upload is a game: one pass over untrusted bytes that refuses everything outside an explicit list and
//! says what the module has. Never changes the module, never compiles or runs it, and takes a bounded time.
//!
//! `features` has the list, `contract` the world's signatures, `items` checks everything outside function bodies,
//! `body` the bodies.

mod body;
pub mod contract;
pub mod features;
mod items;
mod names;

use ringside_core::limits;
use wasmparser::{Parser, ValType, ValidPayload, Validator};

use crate::upload_error::UploadError;
use body::Bodies;
use items::Items;

/// What a checked module has that the rewrite and the runtime must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The host's functions that the module imports, in its order; function indices begin with them.
    pub imports: Vec<String>,
    /// Functions that the module defines.
    pub functions: u32,
    /// Memory at instantiation, bytes.
    pub memory_bytes: u64,
    /// Mutable globals, in the order of their indices: part of every checkpoint.
    pub mutable_globals: Vec<MutableGlobal>,
    /// The start function's index.
    pub start: Option<u32>,
    /// Whether `_initialize` is exported (to be called once, after the start function).
    pub has_initialize: bool,
    /// Names of the exported `cabi_post_…` functions.
    pub post_returns: Vec<String>,
    /// Whether a body does floating-point arithmetic on vectors. For information: the rewrite makes their NaNs
    /// canonical too, so the engine's own option is not needed for them.
    pub uses_simd_floats: bool,
}

/// A mutable global of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MutableGlobal {
    /// Its index in the module.
    pub index: u32,
    /// Its type; never a reference.
    pub value_type: GlobalType,
}

/// What a mutable global may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GlobalType {
    /// 4 bytes.
    I32,
    /// 8 bytes.
    I64,
    /// 4 bytes.
    F32,
    /// 8 bytes.
    F64,
    /// 16 bytes.
    V128,
}

impl GlobalType {
    fn of(ty: ValType) -> Option<GlobalType> {
        match ty {
            ValType::I32 => Some(GlobalType::I32),
            ValType::I64 => Some(GlobalType::I64),
            ValType::F32 => Some(GlobalType::F32),
            ValType::F64 => Some(GlobalType::F64),
            ValType::V128 => Some(GlobalType::V128),
            ValType::Ref(_) => None,
        }
    }
}

/// Checks an upload against the contract, the list of accepted WebAssembly and the limits.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, UploadError> {
    check(bytes, World::Required)
}

/// [`inspect`] without the world's exports and without the demand that the memory be exported: for tests of the
/// rewrite on generated modules, which speak no contract.
///
/// # Errors
/// The first thing that is wrong with it.
#[doc(hidden)]
pub fn inspect_without_world(bytes: &[u8]) -> Result<Inspection, UploadError> {
    check(bytes, World::Ignored)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum World {
    Required,
    Ignored,
}

fn check(bytes: &[u8], world: World) -> Result<Inspection, UploadError> {
    if bytes.len() > limits::MODULE_BYTES {
        return Err(UploadError::TooLarge { bytes: bytes.len(), limit: limits::MODULE_BYTES });
    }
    if Parser::is_component(bytes) {
        return Err(UploadError::Component);
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(UploadError::NotWasm);
    }
    walk(bytes, world).map_err(|error| names::name_function(error, bytes))
}

fn walk(bytes: &[u8], world: World) -> Result<Inspection, UploadError> {
    let mut parser = Parser::new(0);
    parser.set_features(features::ACCEPTED);
    let mut validator = Validator::new_with_features(features::ACCEPTED);
    let mut items = Items::default();
    let mut bodies = Bodies::default();
    for payload in parser.parse_all(bytes) {
        let payload = payload.map_err(|error| features::explain(&error, None))?;
        items.look(&payload)?;
        match validator.payload(&payload).map_err(|error| features::explain(&error, None))? {
            ValidPayload::Func(function, body) => bodies.check(function, &body)?,
            ValidPayload::End(types) => {
                return items.finish(types.as_ref(), world == World::Required, bodies.uses_simd_floats());
            }
            ValidPayload::Ok | ValidPayload::Parser(_) => {}
        }
    }
    Err(UploadError::Internal("the parser stopped before the module's end".to_string()))
}
