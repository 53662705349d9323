//! The sandbox of a process and the modules that it has accepted: check, rewrite, compile (or take the own compiled
//! artefact), describe.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use wasmtime::{Engine, InstancePre, Linker};

use ringside_core::ids::ModuleHash;
use ringside_core::limits;

use crate::artefacts::Artefacts;
use crate::context::{Allowed, Context};
use crate::description::{self, Description, Followers};
use crate::engine;
use crate::error::{FoldError, SandboxError};
use crate::host_state::HostState;
use crate::imports;
use crate::instance::{Instance, Watched};
use crate::rewrite;
use crate::upload_error::UploadError;
use crate::validate::{self, contract};
use crate::watchdog::Watchdog;

/// Processor time that `describe` may take.
const DESCRIBE_LIMIT: Duration = Duration::from_millis(50);

/// How a sandbox is set up.
#[derive(Debug, Clone, Default)]
pub struct SandboxConfig {
    /// Where compiled modules are kept, this process's own directory; `None` compiles each upload anew.
    pub cache_directory: Option<PathBuf>,
    /// Sessions that may be in memory at a time; `None` derives the number from `vm.max_map_count`.
    pub warm_sessions: Option<u32>,
}

pub(crate) struct Inner {
    live: Engine,
    live_linker: Linker<Context>,
    offline: Engine,
    offline_linker: Linker<Context>,
    artefacts: Artefacts,
    pub(crate) watchdog: Watchdog,
    warm_sessions: u32,
}

/// Everything that accepted modules share: engines, pool, watchdog, compiled artefacts. One a process; cheap to clone.
#[derive(Clone)]
pub struct Sandbox {
    inner: Arc<Inner>,
}

impl Sandbox {
    /// Sets up engines, pool and watchdog.
    ///
    /// # Errors
    /// An unusable cache directory, or an operating system that refuses the pool's address space or a thread.
    pub fn new(config: SandboxConfig) -> Result<Sandbox, SandboxError> {
        let warm_sessions = config.warm_sessions.unwrap_or_else(engine::warm_sessions);
        let live = engine::live(warm_sessions)?;
        let offline = engine::offline()?;
        let link = |engine| imports::linker(engine).map_err(|error| SandboxError::Engine(format!("{error:#}")));
        Ok(Sandbox {
            inner: Arc::new(Inner {
                live_linker: link(&live)?,
                offline_linker: link(&offline)?,
                artefacts: Artefacts::new(config.cache_directory, &live).map_err(SandboxError::Cache)?,
                watchdog: Watchdog::start().map_err(SandboxError::Watchdog)?,
                live,
                offline,
                warm_sessions,
            }),
        })
    }

    /// Sessions that may be in memory at a time.
    pub fn warm_sessions(&self) -> u32 {
        self.inner.warm_sessions
    }

    /// Checks, rewrites, compiles and describes an upload.
    ///
    /// # Errors
    /// What is wrong with the module; a refused module leaves no trace.
    pub fn upload(&self, bytes: &[u8]) -> Result<Module, UploadError> {
        let begun = Instant::now();
        let inspection = validate::inspect(bytes)?;
        let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
        let mut hash = ModuleHash([0; 32]);
        hash.0.copy_from_slice(digest.as_ref());
        let compile_error = |error: wasmtime::Error| UploadError::Compile(format!("{error:#}"));
        let load = |artefact: &[u8]| prepare(&self.inner.live, &self.inner.live_linker, artefact);
        let kept = self.inner.artefacts.read(hash).and_then(|artefact| Some((load(&artefact).ok()?, artefact)));
        let is_new = kept.is_none();
        let (live, artefact) = match kept {
            Some(kept) => kept,
            None => {
                let rewritten = rewrite::rewrite(bytes, &inspection)?;
                let compiled = self.inner.live.precompile_module(&rewritten).map_err(compile_error)?;
                (load(&compiled).map_err(compile_error)?, compiled)
            }
        };
        let globals = inspection.mutable_globals.iter().map(|global| global.index).collect();
        let parts = Parts {
            sandbox: Arc::clone(&self.inner),
            hash,
            imports: inspection.imports,
            globals,
            initial_memory_bytes: inspection.memory_bytes as usize,
            size_bytes: bytes.len(),
            live,
            offline: OnceLock::new(),
            artefact,
        };
        let description = parts.describe().map_err(UploadError::Describe)?;
        if is_new {
            self.inner.artefacts.write(hash, &parts.artefact);
        }
        let compile_time = begun.elapsed();
        Ok(Module { inner: Arc::new(ModuleInner { parts, description, compile_time }) })
    }
}

fn prepare(engine: &Engine, linker: &Linker<Context>, artefact: &[u8]) -> wasmtime::Result<InstancePre<Context>> {
    // SAFETY: the artefact was compiled by this process, or read from its own directory with its checksum verified;
    // it never comes from a store or a peer.
    let module = unsafe { wasmtime::Module::deserialize(engine, artefact)? };
    linker.instantiate_pre(&module)
}

/// A module without its description.
struct Parts {
    sandbox: Arc<Inner>,
    hash: ModuleHash,
    imports: Vec<String>,
    globals: Vec<u32>,
    initial_memory_bytes: usize,
    size_bytes: usize,
    live: InstancePre<Context>,
    offline: OnceLock<InstancePre<Context>>,
    artefact: Vec<u8>,
}

impl Parts {
    fn offline(&self) -> Result<&InstancePre<Context>, FoldError> {
        if let Some(ready) = self.offline.get() {
            return Ok(ready);
        }
        let prepared = prepare(&self.sandbox.offline, &self.sandbox.offline_linker, &self.artefact);
        let prepared = prepared.map_err(|error| FoldError::Instance(format!("{error:#}")))?;
        Ok(self.offline.get_or_init(|| prepared))
    }

    fn describe(&self) -> Result<Description, String> {
        let context = Context::new(HostState::new(), Allowed::Log, limits::GUEST_MEMORY_BYTES);
        let module = self.offline().map_err(|error| error.to_string())?;
        let mut scratch = Instance::new(module, &self.globals, context).map_err(|error| error.to_string())?;
        let watched = Watched { watchdog: &self.sandbox.watchdog, limit: DESCRIBE_LIMIT };
        let at = scratch.describe(Some(watched)).map_err(|fault| format!("describe fails: {}", fault.message))?;
        let mut description = description::read(scratch.memory(), at)?;
        let said = scratch.describe_followers(Some(watched));
        let said = said.map_err(|fault| format!("{} fails: {}", contract::DESCRIBE_FOLLOWERS, fault.message))?;
        description.followers = said.map(Followers::read).transpose()?.unwrap_or_default();
        Ok(description)
    }
}

struct ModuleInner {
    parts: Parts,
    description: Description,
    compile_time: Duration,
}

/// An accepted module, compiled and described. Cheap to clone.
#[derive(Clone)]
pub struct Module {
    inner: Arc<ModuleInner>,
}

impl Module {
    /// SHA-256 of the upload.
    pub fn hash(&self) -> ModuleHash {
        self.inner.parts.hash
    }

    /// Version of the rewrite that it went through.
    pub fn rewriter_version(&self) -> u32 {
        rewrite::VERSION
    }

    /// What the game declares about itself.
    pub fn description(&self) -> &Description {
        &self.inner.description
    }

    /// The host's functions that it imports.
    pub fn imports(&self) -> &[String] {
        &self.inner.parts.imports
    }

    /// Size of the upload, bytes.
    pub fn size_bytes(&self) -> usize {
        self.inner.parts.size_bytes
    }

    /// Time from the upload's bytes to the description.
    pub fn compile_time(&self) -> Duration {
        self.inner.compile_time
    }

    /// Guest memory before anything ran, bytes; above it a fresh instance has nothing.
    pub(crate) fn initial_memory_bytes(&self) -> usize {
        self.inner.parts.initial_memory_bytes
    }

    pub(crate) fn sandbox(&self) -> &Inner {
        &self.inner.parts.sandbox
    }

    pub(crate) fn live(&self, context: Context) -> Result<Instance, FoldError> {
        Instance::new(&self.inner.parts.live, &self.inner.parts.globals, context)
    }

    pub(crate) fn offline(&self, context: Context) -> Result<Instance, FoldError> {
        Instance::new(self.inner.parts.offline()?, &self.inner.parts.globals, context)
    }
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Module({} {})", self.description().name, self.hash())
    }
}
