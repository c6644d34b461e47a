//! Tables for people: columns without lines between them, and what is counted in words.

use std::io::{self, Write};

use comfy_table::{Attribute, Cell, ContentArrangement, Table, presets};

/// How a report is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// For a pipe or a file: no colors, and lines as long as they are.
    Plain,
    /// In color, and no wider than the terminal.
    Terminal,
}

/// A table in the house's form.
#[must_use]
pub fn table(style: Style, heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    match style {
        Style::Plain => table.force_no_tty(),
        Style::Terminal => table.set_content_arrangement(ContentArrangement::Dynamic),
    };
    table.set_header(
        heads
            .iter()
            .map(|head| Cell::new(head).add_attribute(Attribute::Bold)),
    );
    table
}

/// Writes a table without the blanks that fill its last column.
///
/// # Errors
/// When `out` cannot be written to.
pub fn write_lines(table: &Table, out: &mut impl Write) -> io::Result<()> {
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// `1 node`, `2 nodes`.
#[must_use]
pub fn plural(count: usize, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{ending}")
}
