//! The bare contract, generated from `game.wit`: each import and export as the canonical ABI has it. In modules only.
//!
//! The safe layer above calls these with checked arguments. An import traps on a slot beyond the game's limit, on
//! values beyond the host's limits and, during `query`, unless it is `log`, `now` or `random`.
#![allow(missing_docs, clippy::all, rust_2018_idioms, unsafe_op_in_unsafe_fn)]

wit_bindgen::generate!({
    path: "../wit",
    world: "described-game",
    pub_export_macro: true,
    export_macro_name: "export_raw",
    default_bindings_module: "ringside_guest::raw",
});
