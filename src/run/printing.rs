//! What subcommands print: a report as a table for people, or as JSON or YAML for programs.

use std::io::{self, IsTerminal as _, Write};

use anyhow::Context as _;
use serde::Serialize;

use super::Failure;
use crate::args::Format;
use crate::simulate::Style;

/// Prints a report; `table` writes it for people.
pub(super) fn report<T: Serialize>(
    report: &T,
    format: Format,
    table: impl FnOnce(&mut io::StdoutLock<'static>) -> io::Result<()>,
) -> Result<(), Failure> {
    print(|out| match format {
        Format::Table => table(out),
        Format::Json => json(report, out),
        Format::Yaml => {
            let text = serde_saphyr::to_string(report).map_err(io::Error::other)?;
            out.write_all(text.as_bytes())
        }
    })
}

/// Writes a report as JSON for programs and people.
pub(super) fn json<T: Serialize>(report: &T, out: &mut impl Write) -> io::Result<()> {
    let text = serde_json::to_string_pretty(report).map_err(io::Error::other)?;
    writeln!(out, "{text}")
}

/// Prints to standard output; whoever read enough of it may close the pipe.
pub(super) fn print(
    write: impl FnOnce(&mut io::StdoutLock<'static>) -> io::Result<()>,
) -> Result<(), Failure> {
    match write(&mut io::stdout().lock()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => Ok(printed.context("the result cannot be printed")?),
    }
}

/// In color on a terminal, unless the user does not want it.
pub(super) fn style() -> Style {
    if io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty()) {
        Style::Terminal
    } else {
        Style::Plain
    }
}
