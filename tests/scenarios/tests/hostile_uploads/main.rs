//! Uploads that mean harm, or were damaged on their way: each is refused in words, or is a game like any other, which
//! can be started, played, rebuilt and replayed.

mod citizens;
mod damaged;
mod generated;
mod mutated;
mod oversized;
mod trial;
