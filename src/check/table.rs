//! The checklist for people.

use std::io::{self, Write};

use comfy_table::{Cell, Color, Table};

use super::{Answer, Report};
use crate::simulate::columns::{Style, table, write_lines};

/// Writes the rows, then what to do about each that is not answered yes.
///
/// # Errors
/// When `out` cannot be written to.
pub fn write_table(report: &Report, style: Style, out: &mut impl Write) -> io::Result<()> {
    write_lines(&rows(report, style), out)?;
    write_remedies(report, Answer::No, "What to do", out)?;
    write_remedies(report, Answer::Unknown, "How to find out", out)?;
    let count = |answer| report.rows.iter().filter(|row| row.answer == answer).count();
    writeln!(
        out,
        "\n{} rows: {} yes, {} no, {} unknown.",
        report.rows.len(),
        count(Answer::Yes),
        count(Answer::No),
        count(Answer::Unknown),
    )
}

fn rows(report: &Report, style: Style) -> Table {
    let mut table = table(style, &["ANSWER", "CHECK", "SUBJECT", "EVIDENCE"]);
    for row in &report.rows {
        let color = match row.answer {
            Answer::Yes => Color::Green,
            Answer::No => Color::Red,
            Answer::Unknown => Color::Yellow,
        };
        table.add_row([
            Cell::new(row.answer.as_str()).fg(color),
            Cell::new(row.id),
            Cell::new(&row.subject),
            Cell::new(&row.evidence),
        ]);
    }
    table
}

fn write_remedies(report: &Report, answer: Answer, heading: &str, out: &mut impl Write) -> io::Result<()> {
    // Rows that lack the same thing share what helps.
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for row in report.rows.iter().filter(|row| row.answer == answer) {
        match groups.iter_mut().find(|(remedy, _)| *remedy == row.remedy) {
            Some((_, ids)) => ids.push(row.id),
            None => groups.push((&row.remedy, vec![row.id])),
        }
    }
    if !groups.is_empty() {
        writeln!(out, "\n{heading}:")?;
    }
    for (remedy, ids) in groups {
        // Not indented, so that it can be copied as it stands.
        writeln!(out, "\n# --- {}\n{remedy}", ids.join(", "))?;
    }
    Ok(())
}
