//! A grid of characters that is drawn into and then shown at once: only rows that changed are written.

use std::io::{self, Write};

use crossterm::cursor::MoveTo;
use crossterm::queue;
use crossterm::style::Print;
use crossterm::terminal::{Clear, ClearType};

/// The grid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canvas {
    columns: usize,
    rows: Vec<Vec<char>>,
}

impl Canvas {
    /// A blank grid.
    pub fn new(columns: usize, rows: usize) -> Canvas {
        Canvas { columns, rows: vec![vec![' '; columns]; rows] }
    }

    /// Its width.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Its height.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Puts a character; outside the grid nothing happens.
    pub fn put(&mut self, column: usize, row: usize, character: char) {
        if let Some(cell) = self.rows.get_mut(row).and_then(|row| row.get_mut(column)) {
            *cell = character;
        }
    }

    /// Puts a text, from left to right.
    pub fn text(&mut self, column: usize, row: usize, text: &str) {
        for (offset, character) in text.chars().enumerate() {
            self.put(column + offset, row, character);
        }
    }

    /// Puts a text in the middle of a row.
    pub fn centred(&mut self, row: usize, text: &str) {
        self.text(self.columns.saturating_sub(text.chars().count()) / 2, row, text);
    }

    /// Draws a frame round the rows from `top` on.
    pub fn frame(&mut self, top: usize) {
        let (right, bottom) = (self.columns.saturating_sub(1), self.rows().saturating_sub(1));
        for column in 0..self.columns {
            self.put(column, top, '─');
            self.put(column, bottom, '─');
        }
        for row in top..=bottom {
            self.put(0, row, '│');
            self.put(right, row, '│');
        }
        for (column, row, corner) in [(0, top, '┌'), (right, top, '┐'), (0, bottom, '└'), (right, bottom, '┘')]
        {
            self.put(column, row, corner);
        }
    }

    /// Writes the rows in which it differs from what is shown.
    ///
    /// # Errors
    /// The terminal's.
    pub fn show(&self, shown: Option<&Canvas>, out: &mut impl Write) -> io::Result<()> {
        let shown = shown.filter(|shown| shown.columns == self.columns && shown.rows() == self.rows());
        if shown.is_none() {
            queue!(out, Clear(ClearType::All))?;
        }
        for (number, row) in self.rows.iter().enumerate() {
            if shown.is_none_or(|shown| shown.rows[number] != *row) {
                queue!(out, MoveTo(0, number as u16), Print(row.iter().collect::<String>()))?;
            }
        }
        out.flush()
    }

    #[cfg(test)]
    pub(super) fn to_text(&self) -> String {
        self.rows.iter().map(|row| format!("{}\n", row.iter().collect::<String>().trim_end())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_is_there_and_what_is_outside_is_not() {
        let mut canvas = Canvas::new(7, 4);
        canvas.frame(1);
        canvas.centred(0, "abc");
        canvas.put(99, 1, 'x');
        canvas.text(5, 2, "xyz");
        assert_eq!(canvas.to_text(), "  abc\n┌─────┐\n│    xy\n└─────┘\n");
    }

    #[test]
    fn only_changed_rows_are_written() {
        let (mut first, mut out) = (Canvas::new(3, 2), Vec::new());
        first.text(0, 0, "abc");
        let mut second = first.clone();
        second.put(0, 1, 'x');
        second.show(Some(&first), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains('x') && !text.contains("abc"), "{text:?}");
    }
}
