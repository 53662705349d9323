//! What the rewrite does to a module: it can be stopped, captured, and computes what it computed before, bit for bit.

#[path = "support/cpu_clock.rs"]
mod cpu_clock;
#[path = "rewrite/differential.rs"]
mod differential;
#[path = "rewrite/harness.rs"]
mod harness;
#[path = "rewrite/nan.rs"]
mod nan;
#[path = "support/shapes.rs"]
mod shapes;
#[path = "rewrite/stops.rs"]
mod stops;
