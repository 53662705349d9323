//! The sandbox at work: folding, capturing, rebuilding, replaying, stopping, refusing.

#[path = "support/cpu_clock.rs"]
mod cpu_clock;
#[path = "support/play.rs"]
mod play;
#[path = "support/shapes.rs"]
mod shapes;
#[path = "support/toy.rs"]
mod toy;

#[path = "runtime/artefacts.rs"]
mod artefacts;
#[path = "runtime/capture.rs"]
mod capture;
#[path = "runtime/citizens.rs"]
mod citizens;
#[path = "runtime/descriptions.rs"]
mod descriptions;
#[path = "runtime/effects.rs"]
mod effects;
#[path = "runtime/fuzz.rs"]
mod fuzz;
#[path = "runtime/pool.rs"]
mod pool;
#[path = "runtime/queries.rs"]
mod queries;
#[path = "runtime/recordings.rs"]
mod recordings;
#[path = "runtime/runaways.rs"]
mod runaways;
