//! What outlives a whole cluster: the logs of durable sessions in the store. No I/O: the shell asks the store and hands in
//! what it said.
//!
//! **A run of a node has one log**: a chain of numbered objects without gaps, each made by conditional create, one at a
//! time; what comes while one is on its way is the next ([`writer`]). Durable output leaves when the object that holds its
//! entries exists. Whoever takes a run's sessions over makes the next number as a *seal*: from then on the run can write
//! nothing, and so can release nothing durable.
//!
//! ```text
//!   1 entries of a, b │ 2 checkpoint of a, entries of b │ 3 list of all, entries │ … │ n seal
//!     └── may be deleted when a list and a checkpoint of every session came after it ──┘
//! ```
//!
//! | file | owns |
//! |---|---|
//! | [`object`] | what an object holds, and its bytes |
//! | [`writer`] | the chain of this run: what is written when, what is stored, what may be deleted |
//! | [`recovery`] | what a sealed chain holds: from where each session goes on, or why it is lost |
//!
//! **What it keeps.** A session's track in a chain is a checkpoint and the entries after it, of one epoch; one that began
//! in this run needs no checkpoint. A leader that was promoted begins its track with a checkpoint: what came before is in
//! the chain of who led before. So a session that was led by several runs is found by going back along the lineage of its
//! newest record ([`recovery::start`]): the newest track that can be used holds everything that was released as durable,
//! for a leader releases nothing of its own before its checkpoint is stored.

pub mod object;
pub mod recovery;
pub mod writer;

#[cfg(test)]
mod model;
