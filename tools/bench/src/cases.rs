//! The benchmarks, by name.

mod room;

use crate::bench::{BenchError, Context};
use crate::figure::Figure;

/// A benchmark.
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// What it measures, against what.
    pub about: &'static str,
    /// Measures. The main figure comes last.
    pub measure: fn(&Context) -> Result<Vec<Figure>, BenchError>,
}

/// All benchmarks.
pub const ALL: &[Case] = &[Case {
    name: "reference_floor_vs_quinn",
    about: "CPU of bare UDP rooms against ordinary quinn rooms: what the comparison itself spans",
    measure: room::floor_vs_quinn,
}];

/// The benchmark of that name.
pub fn find(name: &str) -> Result<&'static Case, BenchError> {
    ALL.iter().find(|case| case.name == name).ok_or_else(|| BenchError::Unknown(name.to_owned()))
}
