//! Simulators on one scheduler: real code in virtual time, faults from a seed, conditions that must hold after every
//! step. A seed is a run: it can be repeated to the last event, and a failing one is its own report.

pub mod worker;

pub use ringside_simulation_kit::{checks, scheduler, trace};
