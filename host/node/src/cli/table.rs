//! Text for people: aligned columns, sizes, durations.

use std::io::Write;

use crate::api::Coverage;

/// Writes to standard output. A reader that has gone away (`| head`) is no error.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.trim_end_matches('\n').as_bytes()).and_then(|()| out.write_all(b"\n"));
}

/// Writes a line to standard error, as [`print`] does to standard output.
pub fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A text without control characters: what a guest or a player said may hold anything.
pub fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// Columns under their headings, as wide as they need to be.
pub fn columns(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = headings.iter().map(|heading| heading.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let headings: Vec<String> = headings.iter().map(|heading| heading.to_uppercase()).collect();
    std::iter::once(&headings).chain(rows).map(|row| line(row, &widths)).collect()
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let cells = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}  "));
    format!("{}\n", cells.collect::<String>().trim_end())
}

/// `name  value` lines.
pub fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    facts.iter().map(|(name, value)| format!("{name:<width$}  {value}\n")).collect()
}

/// A size in the unit that fits.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// A duration in the two units that matter.
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// The first half of a hash, enough to tell modules apart.
pub fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

/// How much of a cluster an answer covers; nothing where that is all of it.
pub fn covers(covers: &Coverage) -> String {
    if covers.silent.is_empty() {
        return String::new();
    }
    format!("\nOf {} of {} nodes (no answer: {}).", covers.answered, covers.nodes, covers.silent.join(", "))
}

/// CPU time a second, in percent of a core.
pub fn load(us: u64) -> String {
    format!("{:.1} %", us as f64 / 10_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align() {
        let rows = vec![vec!["pong".to_owned(), "1".to_owned()], vec!["arena".to_owned(), "12".to_owned()]];
        assert_eq!(columns(&["game", "version"], &rows), "GAME   VERSION\npong   1\narena  12\n");
    }

    #[test]
    fn units_fit() {
        let shown: Vec<String> = [59, 61, 3_661, 90_061].map(duration).into();
        assert_eq!(shown, ["59s", "1m01s", "1h01m", "1d01h"]);
        assert_eq!([1023, 1536, 3 << 20].map(size), ["1023 B", "1.5 KiB", "3.0 MiB"]);
    }
}
