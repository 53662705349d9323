//! Interrupt pokes: where they stand, and what they are.
//!
//! A poke is a load from the interrupt memory whose value is dropped. The compiler may not remove it, because it may
//! trap; but it may replace a load by the value of an earlier one from the same address with no write between
//! them. Then the poke in a loop would vanish in favour of the one before it. So each function head and loop head
//! of a function has **an address of its own**, numbered from 0; nothing executes one of them after another of the
//! same address but by passing the loop's own head again, whose poke no earlier load dominates.
//!
//! What takes long without a loop is poked too: bulk memory operations, growing, and calls that may leave the module
//! (a host function has no head of ours). These are calls for the compiler, after which it forgets what memory
//! holds; they can share one address.
//!
//! The memory can grow (to 2 pages, which nobody does): of a memory of fixed size the compiler would know that the
//! loads cannot trap, and remove them.

use wasm_encoder::{Function, Instruction, MemArg, MemoryType};
use wasmparser::Operator;

/// The interrupt memory's index in a rewritten module: the guest's own comes first.
pub(super) const MEMORY: u32 = 1;
/// The address that all pokes outside heads share: the page's last byte.
const SHARED: i32 = 0xffff;

/// The interrupt memory: one page.
pub(super) fn memory_type() -> MemoryType {
    MemoryType { minimum: 1, maximum: Some(2), memory64: false, shared: false, page_size_log2: None }
}

/// Hands out the addresses of one function's heads.
#[derive(Default)]
pub(super) struct Sites {
    next: i32,
}

impl Sites {
    /// A poke at an address of its own. Inspection bounds the loops of a function, so addresses do not run out.
    pub(super) fn poke_head(&mut self, function: &mut Function) {
        debug_assert!(self.next < SHARED);
        poke(function, self.next);
        self.next += 1;
    }
}

/// A poke before something that takes long.
pub(super) fn poke_shared(function: &mut Function) {
    poke(function, SHARED);
}

/// Whether an operator takes long, or may run something that does and has no poke of its own.
pub(super) fn is_long(operator: &Operator<'_>, imported_functions: u32) -> bool {
    use Operator as O;
    match operator {
        O::MemoryCopy { .. } | O::MemoryFill { .. } | O::MemoryInit { .. } | O::MemoryGrow { .. } => true,
        O::Call { function_index } | O::ReturnCall { function_index } => *function_index < imported_functions,
        O::CallIndirect { .. } | O::ReturnCallIndirect { .. } => imported_functions > 0,
        _ => false,
    }
}

/// Leaves the stack as it is. One byte at a time: 64 heads share a cache line.
fn poke(function: &mut Function, address: i32) {
    function.instruction(&Instruction::I32Const(address));
    function.instruction(&Instruction::I32Load8U(MemArg { offset: 0, align: 0, memory_index: MEMORY }));
    function.instruction(&Instruction::Drop);
}
