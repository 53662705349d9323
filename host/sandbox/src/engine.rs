//! The two engines and their limits: *live* with pooled instances for sessions that play, *offline* without a pool and
//! with twice the stack for followers, replays, queries and descriptions. Owns nothing that differs by game.

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmFeatures};

use ringside_core::limits;

use crate::error::SandboxError;
use crate::validate::features;

/// Kernel mappings that a warm session takes, measured (4.98): two memories, each with what is accessible and what is
/// not, and the image or the table between them.
pub const MAPPINGS_PER_SESSION: u64 = 5;
/// Instances beyond the warm sessions, for rebuilds, which take a second one for a while: so many, and one for so many
/// warm sessions.
const REBUILDS: u32 = 4;
const REBUILD_SHARE: u32 = 8;
/// The kernel's default of `vm.max_map_count`, used where it cannot be read.
const DEFAULT_MAP_COUNT: u64 = 65_530;
/// Most warm sessions of a process, whatever the kernel allows: two 4 GiB reservations each stay far below 47 bits.
const MOST_WARM_SESSIONS: u64 = 8_000;

/// Warm sessions that this process may hold: a third of the kernel's mappings, the rest is for rebuilds and the program.
pub(crate) fn warm_sessions() -> u32 {
    let count = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok();
    let count = count.and_then(|text| text.trim().parse().ok()).unwrap_or(DEFAULT_MAP_COUNT);
    (count / 3 / MAPPINGS_PER_SESSION).clamp(16, MOST_WARM_SESSIONS) as u32
}

fn config() -> Config {
    let mut config = Config::new();
    // Everything off that has a default, then the list that the validator accepts and the rewrite's second memory.
    config.wasm_features(WasmFeatures::all(), false);
    config.wasm_features(features::REWRITTEN, true);
    config.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(8));
    config.cranelift_nan_canonicalization(false);
    config.memory_init_cow(true);
    config.gc_support(false);
    config
}

/// The engine of sessions that play.
pub(crate) fn live(warm: u32) -> Result<Engine, SandboxError> {
    let mut pool = PoolingAllocationConfig::default();
    let slots = warm + warm / REBUILD_SHARE + REBUILDS;
    pool.total_core_instances(slots)
        .total_memories(slots * 2)
        .total_tables(slots)
        .max_memories_per_module(2)
        .max_tables_per_module(1)
        .table_elements(limits::TABLE_ELEMENTS as usize)
        .max_memory_size(limits::GUEST_MEMORY_BYTES)
        .max_core_instance_size(1 << 20);
    let mut config = config();
    config.max_wasm_stack(limits::GUEST_STACK_BYTES);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config).map_err(|error| SandboxError::Engine(format!("{error:#}")))
}

/// The engine of everything that nobody waits for tick by tick.
pub(crate) fn offline() -> Result<Engine, SandboxError> {
    let mut config = config();
    config.max_wasm_stack(limits::GUEST_STACK_BYTES * 2);
    Engine::new(&config).map_err(|error| SandboxError::Engine(format!("{error:#}")))
}
