//! What headless bots did, in figures.

use serde::Serialize;

use super::super::table;
use crate::play::bot::Tally;

/// What headless bots did.
#[derive(Debug, Serialize)]
pub struct Summary {
    pub game: String,
    pub session: String,
    /// Where it is, for the first bot.
    pub place: String,
    pub node: String,
    pub worker: u8,
    pub bots: u16,
    pub seconds: f64,
    #[serde(flatten)]
    pub tally: Tally,
    pub view_gap_ms: Option<Spread>,
    pub round_trip_ms: Option<Spread>,
}

/// Half, 99 of 100 and all values are at most this.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

impl Spread {
    /// Of values in µs; none has none.
    pub fn of(mut values_us: Vec<u64>) -> Option<Spread> {
        values_us.sort_unstable();
        let last = values_us.len().checked_sub(1)?;
        let at = |percent: usize| values_us[last * percent / 100] as f64 / 1000.0;
        Some(Spread { p50: at(50), p99: at(99), max: at(100) })
    }
}

/// As people read it.
pub fn text(summary: &Summary) -> String {
    let spread = |spread: Option<Spread>| match spread {
        Some(Spread { p50, p99, max }) => format!("p50 {p50:.1} ms, p99 {p99:.1} ms, longest {max:.1} ms"),
        None => "none".to_owned(),
    };
    let tally = &summary.tally;
    let per_view = tally.view_bytes.checked_div(tally.views).unwrap_or(0);
    let mut facts = vec![
        ("session", summary.session.clone()),
        ("on", summary.place.clone()),
        ("bots", format!("{} for {:.1} s", summary.bots, summary.seconds)),
        ("views", format!("{} of {per_view} B on average", tally.views)),
        ("between views", spread(summary.view_gap_ms)),
        ("messages", format!("{} sent, {} received, {} rejected", tally.sent, tally.received, tally.rejected)),
        ("round trip", spread(summary.round_trip_ms)),
        ("connections lost", tally.disconnects.to_string()),
    ];
    if tally.finished > 0 {
        facts.push(("finished", format!("the match came to its end for {} bots", tally.finished)));
    }
    for failure in &tally.failures {
        facts.push(("failed", failure.clone()));
    }
    table::facts(&facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_are_read_off_sorted_values() {
        assert_eq!(Spread::of(vec![]), None);
        let spread = Spread::of((1..=101).rev().map(|ms| ms * 1000).collect()).unwrap();
        assert_eq!(spread, Spread { p50: 51.0, p99: 100.0, max: 101.0 });
    }
}
