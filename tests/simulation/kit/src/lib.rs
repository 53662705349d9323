//! What both simulators stand on: virtual time, traces, counted checks, random numbers from a seed. Depends on nothing,
//! so that the cluster's simulator builds in seconds, without the engine that the worker's needs.

pub mod checks;
pub mod history;
pub mod random;
pub mod scheduler;
pub mod trace;
