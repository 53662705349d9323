//! A measured figure and how it is written down: one JSON line, or a row for people.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::statistics::Paired;

/// One figure: ours beside its reference.
#[derive(Debug, Clone)]
pub struct Figure {
    /// The benchmark.
    pub name: &'static str,
    /// Which case of it; the main one is printed last.
    pub case: String,
    /// Ours, in `unit`.
    pub value: f64,
    /// Of value and reference.
    pub unit: &'static str,
    /// The reference, measured in the same run.
    pub reference: f64,
    /// Ours divided by the reference (median of the pairs where there are pairs).
    pub ratio: f64,
    /// Distance between the quartiles of the pairs' ratios.
    pub spread: f64,
    /// What else belongs to it: target, control, counts.
    pub extra: Map<String, Value>,
}

impl Figure {
    /// A figure from pairs of measurements: medians of both sides, the median of the pairs' ratios, and its spread.
    /// Half the spread of our own side against itself is beside it as `control`.
    pub fn paired(name: &'static str, case: impl Into<String>, unit: &'static str, pairs: &Paired) -> Figure {
        let figure = Figure {
            name,
            case: case.into(),
            value: pairs.ours(),
            unit,
            reference: pairs.reference(),
            ratio: pairs.ratio(),
            spread: pairs.spread(),
            extra: Map::new(),
        };
        let figure = figure.with("pairs", pairs.len());
        match pairs.control() {
            Some(control) => figure.with("control", rounded(control)),
            None => figure,
        }
    }

    /// A figure that is counted once, not measured in pairs. Where nothing was counted beside it, it is its own ratio.
    pub fn counted(
        name: &'static str,
        case: impl Into<String>,
        unit: &'static str,
        (value, reference): (u64, u64),
    ) -> Figure {
        let (value, reference) = (value as f64, reference as f64);
        let (ratio, case) = (value / reference.max(1.0), case.into());
        Figure { name, case, value, unit, reference, ratio, spread: 0.0, extra: Map::new() }
    }

    /// Adds a field.
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Figure {
        self.extra.insert(field.to_owned(), value.into());
        self
    }

    /// Adds the target for the ratio, and whether it is met. `at_most` false means that more is better.
    pub fn with_target(self, target: f64, at_most: bool) -> Figure {
        let met = if at_most { self.ratio <= target } else { self.ratio >= target };
        self.with("target", format!("{} {target}", if at_most { "<=" } else { ">=" })).with("met", met)
    }

    /// Adds the most that the value itself, a 99th percentile, may be, and whether it is met.
    pub fn with_p99_target(self, most: f64) -> Figure {
        let met = self.value <= most;
        self.with("target", format!("p99 <= {most}")).with("met", met)
    }

    /// The figure as one JSON line.
    pub fn json(&self) -> String {
        let line = Line {
            name: self.name,
            case: &self.case,
            value: rounded(self.value),
            unit: self.unit,
            reference: rounded(self.reference),
            ratio: rounded(self.ratio),
            spread: rounded(self.spread),
            extra: &self.extra,
        };
        serde_json::to_string(&line).unwrap_or_default()
    }

    /// The figure as a row for people.
    pub fn row(&self) -> String {
        let extra: Vec<String> = self.extra.iter().map(|(field, value)| format!("{field} {value}")).collect();
        format!(
            "{:<22} {:<26} {:>12} {:<10} reference {:>12}  ratio {:>8} ± {:<7} {}",
            self.name,
            self.case,
            rounded(self.value),
            self.unit,
            rounded(self.reference),
            rounded(self.ratio),
            rounded(self.spread / 2.0),
            extra.join(", ")
        )
    }
}

/// The order of a line's fields.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    case: &'a str,
    value: f64,
    unit: &'a str,
    reference: f64,
    ratio: f64,
    spread: f64,
    #[serde(flatten)]
    extra: &'a Map<String, Value>,
}

/// Four significant digits: more would pretend.
pub fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10f64.powi(3 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_agreed_fields_in_order() {
        let mut pairs = Paired::default();
        pairs.push(1.0, 2.0);
        let line = Figure::paired("dispatch", "echo", "ns", &pairs).with_target(5.0, true).json();
        let value: Value = serde_json::from_str(&line).unwrap();
        for field in ["name", "case", "value", "unit", "reference", "ratio", "spread", "target", "met", "pairs"] {
            assert!(value.get(field).is_some(), "{field} is missing in {line}");
        }
        assert!(line.starts_with(r#"{"name":"dispatch","case":"echo","value":1.0,"unit":"ns","reference":2.0,"#));
        assert_eq!(value["ratio"], 0.5);
        assert_eq!(value["met"], true);
    }

    #[test]
    fn a_target_is_for_the_ratio_or_for_the_value() {
        let figure = Figure::counted("false_promotions", "stalls", "sessions", (3, 4));
        assert_eq!((figure.value, figure.reference, figure.ratio), (3.0, 4.0, 0.75));
        for (most, met) in [(0.75, true), (0.5, false)] {
            assert_eq!(figure.clone().with_target(most, true).extra["met"], met);
        }
        for (most, met) in [(3.0, true), (2.5, false)] {
            assert_eq!(figure.clone().with_p99_target(most).extra["met"], met);
        }
        assert_eq!(Figure::counted("migration_lost", "none", "messages", (2, 0)).ratio, 2.0);
    }

    #[test]
    fn rounding_keeps_four_digits() {
        assert_eq!(rounded(123_456.0), 123_500.0);
        assert_eq!(rounded(0.001_234_56), 0.001_235);
        assert_eq!(rounded(0.0), 0.0);
    }
}
