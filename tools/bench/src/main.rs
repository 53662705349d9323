//! Ringside.
fn main() {}
